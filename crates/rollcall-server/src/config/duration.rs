//! Durations as people type them: `250ms`, `60s`, `5m`, `1h`.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, Serializer, de};

/// Units, from long to short, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a whole number with a unit: `250ms`, `60s`, `5m`, `1h`.
///
/// # Errors
/// In words, when the unit is missing or unknown, or the value does not fit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let rule = || format!("must be a whole number with a unit, such as 250ms, 60s, 5m or 1h; got {text:?}");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| rule())?;
    let (_, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(rule)?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(rule)
}

pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, unit_ms) =
        UNITS.into_iter().find(|(_, it)| millis > 0 && millis.is_multiple_of(*it)).unwrap_or(("ms", 1));
    serializer.collect_str(&format_args!("{}{unit}", millis / unit_ms))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, expected_ms) in [("0ms", 0), ("250ms", 250), ("60s", 60_000), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(expected_ms)), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
