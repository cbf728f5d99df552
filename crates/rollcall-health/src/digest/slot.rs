//! Numbers that instances have in digests.

use std::fmt;

use rollcall_types::Revision;

/// Slots of a chunk.
pub const CHUNK_SLOTS: u32 = 64;
/// Slots there can be: as many instances as the catalogue takes, and some. Bounds what a peer can make another node hold.
pub const SLOTS_MAX: u32 = 1 << 21;
/// Chunks there can be.
pub const CHUNKS_MAX: u32 = SLOTS_MAX / CHUNK_SLOTS;

/// What a digest is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestKind {
    /// What probers see of instances.
    Health,
    /// What nodes say of the instances whose heartbeats they hear.
    Leases,
}

impl DigestKind {
    /// What the key of every such digest begins with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Health => "h/",
            Self::Leases => "l/",
        }
    }

    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Leases => "leases",
        }
    }
}

/// The number of an instance: given by the catalogue when it is registered, its own for its life, then given to another.
///
/// The catalogue gives the lowest free number, so that slots in use stay close together and chunks full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The slot with this number; `None` from [`SLOTS_MAX`] on.
    pub const fn new(raw: u32) -> Option<Self> {
        if raw < SLOTS_MAX { Some(Self(raw)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The chunk it lies in.
    pub const fn chunk(self) -> ChunkId {
        ChunkId(self.0 / CHUNK_SLOTS)
    }

    /// Its place within the chunk, below [`CHUNK_SLOTS`].
    pub const fn place(self) -> u32 {
        self.0 % CHUNK_SLOTS
    }
}

/// 64 neighbouring slots: what one gossip value is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(u32);

impl ChunkId {
    /// The chunk with this number; `None` from [`CHUNKS_MAX`] on.
    pub const fn new(raw: u32) -> Option<Self> {
        if raw < CHUNKS_MAX { Some(Self(raw)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The slots that lie in it.
    pub fn slots(self) -> impl Iterator<Item = Slot> {
        let first = self.0 * CHUNK_SLOTS;
        (first..first + CHUNK_SLOTS).map(Slot)
    }

    /// The key of its value in gossip: the prefix of the kind and the number.
    pub fn key(self, kind: DigestKind) -> String {
        format!("{}{}", kind.prefix(), self.0)
    }

    /// The chunk whose key this is; `None` when it is no such key, or not written as [`Self::key`] writes it.
    pub fn from_key(kind: DigestKind, key: &str) -> Option<Self> {
        Self::from_digits(key.strip_prefix(kind.prefix())?)
    }

    /// The chunk of this number in decimal; `None` when it is not written as a number is displayed.
    pub(crate) fn from_digits(digits: &str) -> Option<Self> {
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        if is_plain { Self::new(digits.parse().ok()?) } else { None }
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of the instances that had a slot one after the other: the low 16 bits of the revision that gave it the slot.
///
/// Without it, evidence about a removed instance would count for its successor on every node whose catalogue and gossip
/// are not at the same moment. Two tenancies of one slot look alike only when they began a multiple of 65,536 revisions
/// apart, and do harm only while evidence about the older still stands, which an observer withdraws within three check
/// intervals: one chance in 65,536 for a slot that is given away at once. A counter per slot would never collide, and
/// would have to be kept for slots that nobody has; the revision is in the instance's record anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenancy(u16);

impl Tenancy {
    /// The tenancy that began at `revision`.
    pub const fn began_at(revision: Revision) -> Self {
        Self((revision.get() & 0xffff) as u16)
    }

    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_found_again_by_its_key() {
        for raw in [0, 1, 10, CHUNKS_MAX - 1] {
            let chunk = ChunkId::new(raw).unwrap();
            for kind in [DigestKind::Health, DigestKind::Leases] {
                assert_eq!(ChunkId::from_key(kind, &chunk.key(kind)), Some(chunk));
            }
        }
        let chunk = Slot::new(130).unwrap().chunk();
        assert_eq!([DigestKind::Health, DigestKind::Leases].map(|kind| chunk.key(kind)), ["h/2", "l/2"]);
        assert_eq!(ChunkId::from_key(DigestKind::Leases, "h/2"), None);
    }

    #[test]
    fn a_key_that_was_written_by_nobody_is_no_chunk() {
        for key in ["", "h/", "h/+1", "h/01", "h/00", "h/-1", "h/32768", "h/99999999999", "h/1 ", "n/1", "h/１", "1"] {
            assert_eq!(ChunkId::from_key(DigestKind::Health, key), None, "{key}");
        }
    }

    #[test]
    fn slots_end_where_chunks_end() {
        assert_eq!(Slot::new(SLOTS_MAX), None);
        assert_eq!(Slot::new(SLOTS_MAX - 1).unwrap().chunk().get(), CHUNKS_MAX - 1);
    }

    #[test]
    fn tenancies_of_a_slot_less_than_65536_revisions_apart_differ() {
        let [first, next, lap] = [7, 7 + 65_535, 7 + 65_536].map(|raw| Tenancy::began_at(Revision::new(raw)));
        assert_ne!(first, next);
        assert_eq!(first, lap, "the documented limit");
    }
}
