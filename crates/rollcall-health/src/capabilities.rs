//! Which capabilities an observer sees failing, of the instances of one chunk, as one gossip value beside its digest, with the
//! key `c/<chunk>`.
//!
//! ```text
//! base64url without padding of:
//!   1 byte    version, 1
//!   for each instance of which a check of a capability fails, in order of slot, 5 bytes, numbers little-endian:
//!     1 byte    place in the chunk, 0 to 63
//!     2 bytes   tenancy
//!     2 bytes   bit n: check n of the registration stands for a capability and is critical; not 0
//! ```
//! A digest has no room for it, and few instances need it. The same content has exactly one text. There is no checksum: what
//! gossip delivers is authenticated.
//!
//! Limits: checks are told by their place in the registration. Of an instance that was registered anew with other checks, a
//! reader may take one for the other until its observers have followed, which takes some hundred milliseconds.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rollcall_types::{CapabilityName, CheckSpec};

use crate::digest::{CHUNK_SLOTS, ChunkId, Slot, Tenancy};

const VERSION: u8 = 1;
const ENTRY: usize = 5;
const KEY_PREFIX: &str = "c/";
/// Longest text, in bytes: of every instance of a chunk a capability fails.
pub const CAPABILITY_FAILURES_TEXT_MAX: usize = ((1 + ENTRY * CHUNK_SLOTS as usize) * 4).div_ceil(3);

/// Checks of capabilities that fail, by their place in the registration of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailedChecks(u16);

impl FailedChecks {
    /// Those of `checks`, in the order of the registration, that stand for a capability and of which `is_critical`.
    pub fn of(checks: &[CheckSpec], is_critical: impl Fn(&CheckSpec) -> bool) -> Self {
        let fails = |check: &CheckSpec| check.capability.is_some() && is_critical(check);
        let numbered = checks.iter().take(u16::BITS as usize).enumerate();
        Self(numbered.filter(|(_, check)| fails(check)).fold(0, |bits, (place, _)| bits | 1 << place))
    }

    /// Whether none fails.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Bit n for check n of the registration.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Those that fail by both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The capabilities that these take away, of a registration with these checks; one may be named twice.
    pub fn capabilities(self, checks: &[CheckSpec]) -> impl Iterator<Item = &CapabilityName> {
        let numbered = checks.iter().take(u16::BITS as usize).enumerate();
        numbered.filter(move |(place, _)| self.0 >> place & 1 == 1).filter_map(|(_, check)| check.capability.as_ref())
    }
}

/// The key of the failed capabilities of a chunk in gossip.
pub fn key(chunk: ChunkId) -> String {
    format!("{KEY_PREFIX}{chunk}")
}

/// The chunk whose key this is; `None` when it is no such key, or not written as [`key`] writes it.
pub fn chunk_of_key(key: &str) -> Option<ChunkId> {
    ChunkId::from_digits(key.strip_prefix(KEY_PREFIX)?)
}

/// What one observer sees failing of the instances of one chunk.
///
/// Invariant: places lie within a chunk, and none is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CapabilityFailures(BTreeMap<u8, (Tenancy, FailedChecks)>);

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityFailuresError {
    /// It is longer than any.
    #[error("failed capabilities of {0} bytes are too long")]
    TooLong(usize),
    /// It is not base64url without padding, written in the one way there is.
    #[error("failed capabilities that are not base64url")]
    NotBase64,
    /// It was written in another version.
    #[error("failed capabilities of the unknown version {0}")]
    UnknownVersion(u8),
    /// It does not consist of whole entries.
    #[error("failed capabilities whose length fits no number of entries")]
    WrongLength,
    /// Places do not rise, or lie outside the chunk.
    #[error("failed capabilities that are out of order")]
    OutOfOrder,
    /// An entry that says nothing.
    #[error("an instance of which no capability fails")]
    Empty,
}

impl CapabilityFailuresError {
    /// The reason in one word, for metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::NotBase64 => "not_base64",
            Self::UnknownVersion(_) => "unknown_version",
            Self::WrongLength => "wrong_length",
            Self::OutOfOrder => "out_of_order",
            Self::Empty => "not_sound",
        }
    }
}

impl CapabilityFailures {
    /// Those of the instances of `chunk`; slots of another chunk and what does not fail are left out, of two for one slot the
    /// later counts.
    pub fn of(chunk: ChunkId, all: impl IntoIterator<Item = (Slot, Tenancy, FailedChecks)>) -> Self {
        let of_chunk = all.into_iter().filter(|(slot, _, failed)| slot.chunk() == chunk && !failed.is_empty());
        Self(of_chunk.map(|(slot, tenancy, failed)| (slot.place() as u8, (tenancy, failed))).collect())
    }

    /// What fails of an instance; `slot` must lie in the chunk. Nothing when it is about another that had the slot.
    pub fn get(&self, slot: Slot, tenancy: Tenancy) -> FailedChecks {
        let found = self.0.get(&(slot.place() as u8)).filter(|(of, _)| *of == tenancy);
        found.map_or_else(FailedChecks::default, |(_, failed)| *failed)
    }

    /// Whether nothing fails.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a text. Total, and never takes more memory than a full chunk needs.
    ///
    /// # Errors
    /// [`CapabilityFailuresError`] when it is none.
    pub fn decode(text: &str) -> Result<Self, CapabilityFailuresError> {
        type Error = CapabilityFailuresError;
        if text.len() > CAPABILITY_FAILURES_TEXT_MAX {
            return Err(Error::TooLong(text.len()));
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::NotBase64)?;
        let (&version, rest) = bytes.split_first().ok_or(Error::WrongLength)?;
        if version != VERSION {
            return Err(Error::UnknownVersion(version));
        }
        let (entries, []) = rest.as_chunks::<ENTRY>() else { return Err(Error::WrongLength) };
        let is_rising = entries.windows(2).all(|two| two[0][0] < two[1][0]);
        if !is_rising || entries.iter().any(|entry| u32::from(entry[0]) >= CHUNK_SLOTS) {
            return Err(Error::OutOfOrder);
        }
        let read = |&[place, low, high, checks @ ..]: &[u8; ENTRY]| {
            let failed = FailedChecks(u16::from_le_bytes(checks));
            let entry = (place, (Tenancy::from_bits(u16::from_le_bytes([low, high])), failed));
            if failed.is_empty() { Err(Error::Empty) } else { Ok(entry) }
        };
        Ok(Self(entries.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Writes the text.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(1 + ENTRY * self.0.len());
        bytes.push(VERSION);
        for (place, (tenancy, failed)) in &self.0 {
            bytes.push(*place);
            bytes.extend(tenancy.bits().to_le_bytes());
            bytes.extend(failed.0.to_le_bytes());
        }
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use rollcall_types::{CheckKind, Millis};

    use super::*;

    fn check(capability: Option<&str>) -> CheckSpec {
        CheckSpec {
            id: "tcp".parse().unwrap(),
            capability: capability.map(|name| name.parse().unwrap()),
            kind: CheckKind::Tcp { host: "localhost".try_into().unwrap(), port: 80_u64.try_into().unwrap() },
            interval: Millis::new(1_000),
            timeout: Millis::new(100),
            failures_before_critical: 3,
            successes_before_passing: 2,
        }
    }

    fn slot(number: u32) -> Slot {
        Slot::new(number).unwrap()
    }

    #[test]
    fn checks_that_stand_for_the_whole_instance_take_no_capability_away() {
        let checks = [check(Some("a")), check(None), check(Some("b"))];
        let failed = FailedChecks::of(&checks, |_| true);
        assert_eq!(failed.capabilities(&checks).map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(FailedChecks::of(&checks, |check| check.capability.is_none()).is_empty());
        let first = FailedChecks::of(&checks, |check| check.capability.as_deref() == Some("a"));
        assert_eq!(failed.and(first), first);
    }

    #[test]
    fn what_is_written_is_read_and_has_its_place() {
        let (chunk, tenancy) = (slot(0).chunk(), Tenancy::from_bits(0x1234));
        let failed = FailedChecks(0b1000_0000_0000_0001);
        let all = CapabilityFailures::of(chunk, [(slot(3), tenancy, failed), (slot(64), tenancy, failed)]);
        // Golden: who changes it changes what nodes of two versions say to each other.
        assert_eq!(all.encode(), "AQM0EgGA");
        assert_eq!(CapabilityFailures::decode("AQM0EgGA"), Ok(all.clone()));
        assert_eq!(all.get(slot(3), tenancy), failed);
        assert!(all.get(slot(3), Tenancy::from_bits(1)).is_empty(), "about another that had the slot");
        let full = (0..64).map(|number| (slot(number), tenancy, failed));
        assert_eq!(CapabilityFailures::of(chunk, full).encode().len(), CAPABILITY_FAILURES_TEXT_MAX);
        assert_eq!(chunk_of_key(&key(chunk)), Some(chunk));
        assert_eq!(chunk_of_key("c/01"), None);
    }

    #[test]
    fn a_text_that_is_none_is_refused() {
        use CapabilityFailuresError as Error;
        let long = "A".repeat(CAPABILITY_FAILURES_TEXT_MAX + 1);
        for (text, error) in [
            ("", Error::WrongLength),
            ("AQ==", Error::NotBase64),
            ("Ag", Error::UnknownVersion(2)),
            ("AQM0Eg", Error::WrongLength),
            ("AQM0EgAA", Error::Empty),
            ("AUA0EgEA", Error::OutOfOrder),
            (long.as_str(), Error::TooLong(long.len())),
        ] {
            assert_eq!(CapabilityFailures::decode(text), Err(error), "{text}");
        }
        let twice = BASE64_URL_SAFE_NO_PAD.encode([1, 3, 0, 0, 1, 0, 3, 0, 0, 1, 0]);
        assert_eq!(CapabilityFailures::decode(&twice), Err(Error::OutOfOrder));
    }
}
