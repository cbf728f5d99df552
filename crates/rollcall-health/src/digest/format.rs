//! The text of a digest.
//!
//! ```text
//! base64url without padding of:
//!   1 byte   version, 1
//!   8 bytes  which of the 64 slots are filled; bit n of the little-endian number is slot n of the chunk
//!   4 bytes  for each filled slot, in order: observation, tenancy; two little-endian numbers of 16 bits
//! ```
//! One instance is 18 characters, a full chunk 354. One form serves few slots and many: a list of (slot, entry) would save
//! 6 characters at three instances and cost a second form. The same content has exactly one text, so texts can be
//! compared. There is no checksum: what gossip delivers is authenticated.
//!
//! A reader refuses a version it does not know and a status that version 1 does not have; either needs a new version.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::observation::Observation;
use super::slot::{CHUNK_SLOTS, Slot, Tenancy};

/// The only version so far.
const VERSION: u8 = 1;
/// Bytes before the entries.
const HEADER: usize = 1 + 8;
/// Bytes of an entry.
const ENTRY: usize = 4;
/// Longest text of a digest, in bytes: all slots filled.
pub const DIGEST_TEXT_MAX: usize = ((HEADER + ENTRY * CHUNK_SLOTS as usize) * 4).div_ceil(3);

/// What one observer says about the instances of one chunk. Cheap to clone.
///
/// Invariants:
/// - `entries` holds one entry for each bit of `filled`, in order.
/// - Every entry holds a verdict.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Digest {
    filled: u64,
    entries: Arc<[u32]>,
}

/// Why a text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It is longer than any digest.
    #[error("a digest of {0} bytes is too long")]
    TooLong(usize),
    /// It is not base64url without padding, written in the one way there is.
    #[error("a digest that is not base64url")]
    NotBase64,
    /// It was written in another version.
    #[error("a digest of the unknown version {0}")]
    UnknownVersion(u8),
    /// It does not have one entry for each filled slot.
    #[error("a digest whose length does not fit its slots")]
    WrongLength,
    /// An entry holds no verdict.
    #[error("a digest with an unknown status")]
    UnknownStatus,
}

impl DigestError {
    /// The reason in one word, for metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong(_) => "too_long",
            Self::NotBase64 => "not_base64",
            Self::UnknownVersion(_) => "unknown_version",
            Self::WrongLength => "wrong_length",
            Self::UnknownStatus => "unknown_status",
        }
    }
}

impl Digest {
    /// Reads a text. Total, and never takes more memory than a full digest needs.
    ///
    /// # Errors
    /// [`DigestError`] when it is no digest.
    pub fn decode(text: &str) -> Result<Self, DigestError> {
        if text.len() > DIGEST_TEXT_MAX {
            return Err(DigestError::TooLong(text.len()));
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| DigestError::NotBase64)?;
        let (&version, rest) = bytes.split_first().ok_or(DigestError::WrongLength)?;
        if version != VERSION {
            return Err(DigestError::UnknownVersion(version));
        }
        let (filled, rest) = rest.split_first_chunk().ok_or(DigestError::WrongLength)?;
        let filled = u64::from_le_bytes(*filled);
        let (entries, []) = rest.as_chunks::<ENTRY>() else { return Err(DigestError::WrongLength) };
        if entries.len() != filled.count_ones() as usize {
            return Err(DigestError::WrongLength);
        }
        let entries: Arc<[u32]> = entries.iter().map(|entry| u32::from_le_bytes(*entry)).collect();
        if entries.iter().any(|entry| unpack(*entry).is_none()) {
            return Err(DigestError::UnknownStatus);
        }
        Ok(Self { filled, entries })
    }

    /// Writes the text.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(HEADER + ENTRY * self.entries.len());
        bytes.push(VERSION);
        bytes.extend(self.filled.to_le_bytes());
        bytes.extend(self.entries.iter().flat_map(|entry| entry.to_le_bytes()));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What it says about an instance; `slot` must lie in its chunk. `None` when it says nothing about it, or about
    /// another that had the slot.
    pub fn get(&self, slot: Slot, tenancy: Tenancy) -> Option<Observation> {
        let (found, observation) = unpack(self.entry(slot.place())?)?;
        (found == tenancy).then_some(observation)
    }

    /// Instances that it says something about.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The digest of these entries by place; places rise.
    pub(super) fn of(entries: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut filled = 0;
        let entries = entries.into_iter().map(|(place, entry)| {
            debug_assert!(place < CHUNK_SLOTS && filled >> place == 0, "places rise within a chunk");
            filled |= 1_u64 << place;
            entry
        });
        let entries = entries.collect();
        Self { filled, entries }
    }

    /// The entry at a place below [`CHUNK_SLOTS`].
    pub(super) fn entry(&self, place: u32) -> Option<u32> {
        let bit = 1_u64 << place;
        let before = (self.filled & (bit - 1)).count_ones() as usize;
        if self.filled & bit == 0 { None } else { self.entries.get(before).copied() }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = (0..CHUNK_SLOTS).filter_map(|place| Some((place, unpack(self.entry(place)?)?)));
        f.debug_map().entries(places).finish()
    }
}

/// The entry of an observation that has a verdict.
pub(super) fn pack(tenancy: Tenancy, observation: Observation) -> u32 {
    u32::from(observation.bits()) | u32::from(tenancy.bits()) << 16
}

/// What an entry says; `None` when it holds no verdict.
pub(super) fn unpack(entry: u32) -> Option<(Tenancy, Observation)> {
    let observation = Observation::from_bits((entry & 0xffff) as u16)?;
    Some((Tenancy::from_bits((entry >> 16) as u16), observation))
}

#[cfg(test)]
mod tests {
    use rollcall_types::Revision;

    use super::*;
    use crate::digest::{Flap, ScoreStep, Status, TimeToFailure, Trend};

    fn tenancy(raw: u64) -> Tenancy {
        Tenancy::began_at(Revision::new(raw))
    }

    fn slot(raw: u32) -> Slot {
        Slot::new(raw).unwrap()
    }

    fn degrading() -> Observation {
        Observation {
            status: Status::Warning,
            score: ScoreStep::nearest(0.5),
            trend: Trend::Degrading,
            time_to_failure: TimeToFailure::Within5Min,
            flap: Flap::Changed,
        }
    }

    /// The text of bytes, whatever they are.
    fn text(bytes: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn the_bytes_of_version_1_never_change() {
        let digest = Digest::of([
            (0, pack(tenancy(0x0005_1234), Observation::of(Status::Passing))),
            (63, pack(tenancy(0xbeef), degrading())),
        ]);
        // Passing 2, score 63 << 3; Warning 3, score 32 << 3, Degrading 3 << 9, Within5Min 3 << 11, Changed 1 << 14.
        let bytes = [1, 1, 0, 0, 0, 0, 0, 0, 0x80, 0xfa, 0x01, 0x34, 0x12, 0x03, 0x5f, 0xef, 0xbe];
        assert_eq!(digest.encode(), text(&bytes));
        assert_eq!(digest.encode(), "AQEAAAAAAACA-gE0EgNf774");
        let read = Digest::decode("AQEAAAAAAACA-gE0EgNf774").unwrap();
        assert_eq!(read, digest);
        assert_eq!(read.get(slot(63), tenancy(0xbeef)), Some(degrading()));
        assert_eq!(read.get(slot(0), tenancy(0x1234)), Some(Observation::of(Status::Passing)));
    }

    #[test]
    fn an_empty_digest_is_12_characters() {
        assert_eq!(Digest::default().encode(), "AQAAAAAAAAAA");
        assert_eq!(Digest::decode("AQAAAAAAAAAA"), Ok(Digest::default()));
    }

    #[test]
    fn a_full_chunk_fits_354_characters_and_three_instances_fit_28() {
        let entry = pack(tenancy(1), degrading());
        let length = |count| Digest::of((0..count).map(|place| (place, entry))).encode().len();
        assert_eq!((length(CHUNK_SLOTS), length(3), length(1)), (354, 28, 18));
        assert_eq!(DIGEST_TEXT_MAX, 354);
    }

    #[test]
    fn another_tenant_of_the_slot_is_not_spoken_of() {
        let digest = Digest::of([(5, pack(tenancy(7), degrading()))]);
        assert_eq!(digest.get(slot(5), tenancy(8)), None);
        assert_eq!(digest.get(slot(6), tenancy(7)), None);
    }

    #[test]
    fn what_is_no_digest_is_refused_and_named() {
        let good = Digest::of([(5, pack(tenancy(7), degrading()))]).encode();
        for (bad, error) in [
            (String::new(), DigestError::WrongLength),
            ("A".repeat(355), DigestError::TooLong(355)),
            ("A".repeat(8192), DigestError::TooLong(8192)),
            (format!("{good}=="), DigestError::NotBase64),
            (good.replace('A', "+"), DigestError::NotBase64),
            ("naïve".to_owned(), DigestError::NotBase64),
            (text(&[0; 9]), DigestError::UnknownVersion(0)),
            (text(&[2; 13]), DigestError::UnknownVersion(2)),
            (text(&[1, 1, 0]), DigestError::WrongLength),
            (text(&[1, 1, 0, 0, 0, 0, 0, 0, 0]), DigestError::WrongLength),
            (text(&[1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0]), DigestError::WrongLength),
            (text(&[1, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]), DigestError::WrongLength),
            (text(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]), DigestError::WrongLength),
            (text(&[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), DigestError::UnknownStatus),
            (text(&[1, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0]), DigestError::UnknownStatus),
        ] {
            assert_eq!(Digest::decode(&bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn a_text_with_stray_bits_at_its_end_is_refused() {
        let good = Digest::of([(5, pack(tenancy(7), degrading()))]).encode();
        assert!(good.ends_with('A'), "{good}: the last of 18 characters has four bits to spare");
        assert_eq!(Digest::decode(&format!("{}B", &good[..17])), Err(DigestError::NotBase64));
    }
}
