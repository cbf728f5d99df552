//! What one observer makes of each check of the instances of one chunk, as one gossip value beside its digest.
//!
//! ```text
//! base64url without padding of:
//!   1 byte    version, 2
//!   for each instance of which checks are told, in order of slot, 9 bytes, numbers little-endian:
//!     1 byte    place in the chunk, 0 to 63
//!     2 bytes   tenancy
//!     2 bytes   digest of the ids of its checks
//!     4 bytes   statuses of its checks, of at least one: see [`CheckStatuses`]
//! ```
//! A digest has one status for an instance. That is all there is to say of an instance that has one check, and of one that passes:
//! so does each of its checks. Of the others, pages tell each check. There are two kinds, as there are of digests: what those see
//! who look (`c/<chunk>`), and what those hear of checks by heartbeats to whom they are sent (`w/<chunk>`).
//!
//! The same content has exactly one text. There is no checksum: what gossip delivers is authenticated.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rollcall_types::CheckStatuses;

use crate::digest::{CHUNK_SLOTS, ChunkId, DigestKind, Slot, Tenancy};

const VERSION: u8 = 2;
const ENTRY: usize = 9;
/// Longest text, in bytes: every instance of a chunk is told.
pub const CHECK_PAGE_TEXT_MAX: usize = ((1 + ENTRY * CHUNK_SLOTS as usize) * 4).div_ceil(3);

/// What begins the keys of the pages beside the digests of this kind.
pub const fn prefix(kind: DigestKind) -> &'static str {
    match kind {
        DigestKind::Health => "c/",
        DigestKind::Leases => "w/",
    }
}

/// The key of a page in gossip.
pub fn key(kind: DigestKind, chunk: ChunkId) -> String {
    format!("{}{chunk}", prefix(kind))
}

/// The chunk whose key this is; `None` when it is no such key, or not written as [`key`] writes it.
pub fn chunk_of_key(kind: DigestKind, key: &str) -> Option<ChunkId> {
    ChunkId::from_digits(key.strip_prefix(prefix(kind))?)
}

/// What one observer makes of each check of the instances of one chunk.
///
/// Invariant: places lie within a chunk, and of none nothing is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckPage(BTreeMap<u8, (Tenancy, CheckStatuses)>);

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckPageError {
    /// It is longer than any.
    #[error("statuses of checks of {0} bytes are too long")]
    TooLong(usize),
    /// It is not base64url without padding, written in the one way there is.
    #[error("statuses of checks that are not base64url")]
    NotBase64,
    /// It was written in another version.
    #[error("statuses of checks of the unknown version {0}")]
    UnknownVersion(u8),
    /// It does not consist of whole entries.
    #[error("statuses of checks whose length fits no number of entries")]
    WrongLength,
    /// Places do not rise, or lie outside the chunk.
    #[error("statuses of checks that are out of order")]
    OutOfOrder,
    /// An entry that says nothing.
    #[error("an instance of which no check is told")]
    Empty,
}

impl CheckPageError {
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

impl CheckPage {
    /// Of the instances of `chunk`; slots of another chunk and those of which nothing is told are left out, of two for one slot
    /// the later counts.
    pub fn of(chunk: ChunkId, all: impl IntoIterator<Item = (Slot, Tenancy, CheckStatuses)>) -> Self {
        let of_chunk = all.into_iter().filter(|(slot, _, told)| slot.chunk() == chunk && !told.is_empty());
        Self(of_chunk.map(|(slot, tenancy, told)| (slot.place() as u8, (tenancy, told))).collect())
    }

    /// What is told of an instance; `slot` must lie in the chunk. Nothing when it is about another that had the slot.
    pub fn get(&self, slot: Slot, tenancy: Tenancy) -> CheckStatuses {
        let found = self.0.get(&(slot.place() as u8)).filter(|(of, _)| *of == tenancy);
        found.map_or_else(CheckStatuses::default, |(_, told)| *told)
    }

    /// Whether nothing is told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a text. Total, and never takes more memory than a full chunk needs.
    ///
    /// # Errors
    /// [`CheckPageError`] when it is none.
    pub fn decode(text: &str) -> Result<Self, CheckPageError> {
        type Error = CheckPageError;
        if text.len() > CHECK_PAGE_TEXT_MAX {
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
        let read = |&[place, t0, t1, i0, i1, statuses @ ..]: &[u8; ENTRY]| {
            let [tenancy, ids] = [[t0, t1], [i0, i1]].map(u16::from_le_bytes);
            let told = CheckStatuses::from_parts(ids, u32::from_le_bytes(statuses));
            if told.is_empty() { Err(Error::Empty) } else { Ok((place, (Tenancy::from_bits(tenancy), told))) }
        };
        Ok(Self(entries.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Writes the text.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(1 + ENTRY * self.0.len());
        bytes.push(VERSION);
        for (place, (tenancy, told)) in &self.0 {
            let (ids, statuses) = told.to_parts();
            bytes.push(*place);
            bytes.extend(tenancy.bits().to_le_bytes());
            bytes.extend(ids.to_le_bytes());
            bytes.extend(statuses.to_le_bytes());
        }
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn slot(number: u32) -> Slot {
        Slot::new(number).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_has_its_place() {
        let (chunk, tenancy) = (slot(0).chunk(), Tenancy::from_bits(0x1234));
        let told = CheckStatuses::from_parts(0xABCD, 0xC000_0001);
        let nothing = CheckStatuses::from_parts(0xABCD, 0);
        let all = [(slot(3), tenancy, told), (slot(4), tenancy, nothing), (slot(64), tenancy, told)];
        let page = CheckPage::of(chunk, all);
        // Golden: who changes it changes what nodes of two versions say to each other.
        assert_eq!(page.encode(), "AgM0Es2rAQAAwA");
        assert_eq!(CheckPage::decode("AgM0Es2rAQAAwA"), Ok(page.clone()));
        assert_eq!((page.get(slot(3), tenancy), page.get(slot(4), tenancy)), (told, CheckStatuses::default()));
        assert!(page.get(slot(3), Tenancy::from_bits(1)).is_empty(), "about another that had the slot");
        let full = (0..64).map(|number| (slot(number), tenancy, told));
        assert_eq!(CheckPage::of(chunk, full).encode().len(), CHECK_PAGE_TEXT_MAX);
    }

    #[test]
    fn pages_of_the_two_kinds_have_keys_of_their_own() {
        for (kind, written) in [(DigestKind::Health, "c/2"), (DigestKind::Leases, "w/2")] {
            assert_eq!(key(kind, slot(130).chunk()), written);
            assert_eq!(chunk_of_key(kind, written), Some(slot(130).chunk()));
        }
        assert_eq!((chunk_of_key(DigestKind::Health, "w/2"), chunk_of_key(DigestKind::Health, "c/02")), (None, None));
    }

    #[test]
    fn a_text_that_is_none_is_refused() {
        use CheckPageError as Error;
        let long = "A".repeat(CHECK_PAGE_TEXT_MAX + 1);
        for (text, error) in [
            ("", Error::WrongLength),
            ("Ag==", Error::NotBase64),
            ("AQ", Error::UnknownVersion(1)),
            ("AgM0Eg", Error::WrongLength),
            ("AgM0Es2rAAAAAA", Error::Empty),
            ("AkA0Es2rAQAAwA", Error::OutOfOrder),
            (long.as_str(), Error::TooLong(long.len())),
        ] {
            assert_eq!(CheckPage::decode(text), Err(error), "{text}");
        }
        let entry = [3, 0, 0, 0, 0, 1, 0, 0, 0];
        let twice = BASE64_URL_SAFE_NO_PAD.encode([&[2][..], &entry, &entry].concat());
        assert_eq!(CheckPage::decode(&twice), Err(Error::OutOfOrder));
    }

    proptest! {
        #[test]
        fn a_text_is_a_page_only_if_that_page_is_written_so(bytes in vec(any::<u8>(), 0..40), is_marked in any::<bool>()) {
            let bytes = if is_marked { [&[VERSION][..], &bytes].concat() } else { bytes };
            let text = BASE64_URL_SAFE_NO_PAD.encode(&bytes);
            if let Ok(page) = CheckPage::decode(&text) {
                prop_assert_eq!(page.encode(), text);
            }
        }

        #[test]
        fn any_text_at_all_is_read_or_refused(text in "\\PC{0,60}") {
            drop(CheckPage::decode(&text));
        }
    }
}
