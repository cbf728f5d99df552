//! Times as the API writes them: RFC 3339, UTC, milliseconds, `2026-11-21T03:59:10.000Z`.

use std::fmt;

use rollcall_types::UnixMillis;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Length of every written time: `YYYY-MM-DDTHH:MM:SS.mmmZ`.
const WRITTEN_LEN: usize = 24;

/// A point in time on the wire.
///
/// Written with exactly three decimals and `Z`, so that times sort as text. Read with any offset and any number of
/// decimals (cut to milliseconds), from 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub UnixMillis);

impl Timestamp {
    /// The time so many milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(raw: u64) -> Self {
        Self(UnixMillis::new(raw))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(self) -> u64 {
        self.0.get()
    }

    /// Reads an RFC 3339 time; `None` when it is not one or lies before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
        let millis = u64::try_from(nanos.div_euclid(1_000_000)).ok()?;
        (millis <= UnixMillis::MAX.get()).then(|| Self(UnixMillis::new(millis)))
    }

    /// The text, without allocation: answers hold three times per instance.
    fn written(self) -> [u8; WRITTEN_LEN] {
        let nanos = i128::from(self.0.get()) * 1_000_000;
        let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("UnixMillis ends with the year 9999");
        let (hour, minute, second, milli) = moment.time().as_hms_milli();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |start: usize, digits: usize, mut value: u32| {
            for at in (start..start + digits).rev() {
                text[at] = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(0, 4, moment.year().unsigned_abs());
        put(5, 2, u8::from(moment.month()).into());
        put(8, 2, moment.day().into());
        put(11, 2, hour.into());
        put(14, 2, minute.into());
        put(17, 2, second.into());
        put(20, 3, milli.into());
        text
    }
}

impl From<UnixMillis> for Timestamp {
    fn from(at: UnixMillis) -> Self {
        Self(at)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.written()).expect("digits and punctuation are ASCII"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.written()).expect("digits and punctuation are ASCII"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time from 1970 to 9999")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_007, "2000-02-29T00:00:00.007Z"),
            (1_795_233_550_123, "2026-11-21T03:59:10.123Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(UnixMillis::new(millis)).to_string(), text);
        }
    }

    #[test]
    fn offsets_and_other_precisions_are_read() {
        let noon = Timestamp::parse("2026-11-21T12:00:00Z");
        assert!(noon.is_some());
        assert_eq!(Timestamp::parse("2026-11-21T13:30:00.000999+01:30"), noon);
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in
            ["", "yesterday", "2026-11-21", "2026-11-21T12:00:00", "1969-12-31T23:59:59Z", "2026-02-30T00:00:00Z"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0..=UnixMillis::MAX.get()) {
            let at = Timestamp(UnixMillis::new(millis));
            prop_assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
        }
    }
}
