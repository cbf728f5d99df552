//! When an observer publishes what: as soon as it matters, as seldom as possible, at most once per chunk and tick.
//!
//! Bad news and verdicts go out in the next tick. Everything else, a score that moves a little, a prediction that is taken
//! back, waits until its chunk is published anyway, at the latest [`SCORE_PUBLISH_EVERY`] after the last time. That
//! damps what trembles: a value that swings between two classes is published once, at the worse one.
//!
//! Limits: it holds what it is given, at most [`SLOTS_MAX`](super::SLOTS_MAX) slots at some 80 bytes each. A tick can
//! publish every chunk that it holds, since a failure of everything must not be told in instalments.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_types::{MonoTime, Status};

use super::format::{Digest, pack, unpack};
use super::observation::{Observation, Trend};
use super::slot::{CHUNK_SLOTS, ChunkId, Slot, Tenancy};

/// A score that has moved by this many steps of 1/63 is published in the next tick.
pub const SCORE_PUBLISH_STEPS: u8 = 8;
/// Longest time that a smaller change waits, from the last publication of its chunk on.
pub const SCORE_PUBLISH_EVERY: Duration = Duration::from_secs(60);

/// What is to be done to a gossip value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publication {
    /// Set the value of [`ChunkId::key`] to this text.
    Put {
        /// The chunk.
        chunk: ChunkId,
        /// What the value says.
        digest: Digest,
    },
    /// Delete the value of [`ChunkId::key`].
    Delete {
        /// The chunk.
        chunk: ChunkId,
    },
}

/// What one node observes, and how much of that it has published.
#[derive(Debug, Clone, Default)]
pub struct Publisher {
    chunks: BTreeMap<ChunkId, Chunk>,
}

/// Invariants:
/// - Nothing has to be done before `due`.
/// - A chunk without `held` has a `published` that is not empty: otherwise it is dropped.
#[derive(Debug, Clone, Default)]
struct Chunk {
    held: BTreeMap<u32, Held>,
    published: Digest,
    published_at: MonoTime,
    due: MonoTime,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    entry: u32,
    expires_at: MonoTime,
}

impl Publisher {
    /// A publisher that holds nothing and has published nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what was seen of an instance. It holds for `valid_for`, three check intervals, and is then withdrawn
    /// unless it was seen again. [`Status::Unknown`] withdraws it now.
    ///
    /// The last call about a slot decides whose it is, so a probe that was cancelled must not report any more.
    pub fn observe(
        &mut self,
        slot: Slot,
        tenancy: Tenancy,
        observation: Observation,
        valid_for: Duration,
        now: MonoTime,
    ) {
        if observation.status == Status::Unknown {
            return self.withdraw(slot, tenancy, now);
        }
        let held = Held { entry: pack(tenancy, observation), expires_at: now.plus(valid_for) };
        let chunk = self.chunks.entry(slot.chunk()).or_default();
        let before = chunk.held.insert(slot.place(), held);
        let is_same = before.is_some_and(|before| before.entry == held.entry);
        // Seen again, it expires later, which makes nothing due earlier unless the interval became shorter.
        chunk.due = chunk.due.min(if is_same { held.expires_at } else { now });
    }

    /// Forgets what was seen of an instance: it is gone, or others watch it now. Does nothing when the slot is another's.
    pub fn withdraw(&mut self, slot: Slot, tenancy: Tenancy, now: MonoTime) {
        let Some(chunk) = self.chunks.get_mut(&slot.chunk()) else { return };
        let is_its = |held: &Held| unpack(held.entry).is_some_and(|(found, _)| found == tenancy);
        if chunk.held.get(&slot.place()).is_some_and(is_its) {
            chunk.held.remove(&slot.place());
            chunk.due = chunk.due.min(now);
        }
    }

    /// What to publish now, in the order of chunks. To be called once per gossip round.
    pub fn tick(&mut self, now: MonoTime) -> Vec<Publication> {
        let mut publications = Vec::new();
        self.chunks.retain(|id, chunk| {
            if chunk.due <= now {
                publications.extend(chunk.publish(*id, now));
            }
            !(chunk.held.is_empty() && chunk.published.is_empty())
        });
        publications
    }

    /// Forgets what was published, so that the next tick publishes everything: for a new generation, whose values are
    /// all gone.
    pub fn restart(&mut self) {
        self.chunks.retain(|_, chunk| !chunk.held.is_empty());
        for chunk in self.chunks.values_mut() {
            chunk.published = Digest::default();
            chunk.due = MonoTime::default();
        }
    }

    /// Slots that are held.
    pub fn len(&self) -> usize {
        self.chunks.values().map(|chunk| chunk.held.len()).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.chunks.values().all(|chunk| chunk.held.is_empty())
    }
}

impl Chunk {
    fn publish(&mut self, id: ChunkId, now: MonoTime) -> Option<Publication> {
        self.held.retain(|_, held| held.expires_at > now);
        let wait_ends = self.published_at.plus(SCORE_PUBLISH_EVERY);
        let publication = match self.news() {
            None => None,
            Some(News::Minor) if now < wait_ends => {
                self.due = wait_ends.min(self.first_expiry());
                return None;
            }
            Some(_) => {
                let digest = Digest::of(self.held.iter().map(|(place, held)| (*place, held.entry)));
                self.published = digest.clone();
                self.published_at = now;
                Some(match digest.is_empty() {
                    true => Publication::Delete { chunk: id },
                    false => Publication::Put { chunk: id, digest },
                })
            }
        };
        self.due = self.first_expiry();
        publication
    }

    fn first_expiry(&self) -> MonoTime {
        let never = MonoTime::new(Duration::MAX);
        self.held.values().map(|held| held.expires_at).min().unwrap_or(never)
    }

    /// The greatest difference between what is held and what was published.
    fn news(&self) -> Option<News> {
        let held = |place| self.held.get(&place).map(|held| held.entry);
        (0..CHUNK_SLOTS).filter_map(|place| News::of(self.published.entry(place), held(place))).max()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    /// It may wait.
    Minor,
    /// It goes out in the next tick.
    Urgent,
}

impl News {
    fn of(published: Option<u32>, held: Option<u32>) -> Option<Self> {
        if published == held {
            return None;
        }
        let before = published.and_then(unpack);
        let after = held.and_then(unpack);
        let (Some((tenant_before, before)), Some((tenant, after))) = (before, after) else { return Some(Self::Urgent) };
        let is_urgent = tenant != tenant_before
            || after.status != before.status
            || after.score.distance(before.score) >= SCORE_PUBLISH_STEPS
            || (after.trend != before.trend && after.trend == Trend::Degrading)
            || after.time_to_failure > before.time_to_failure
            || after.flap > before.flap;
        Some(if is_urgent { Self::Urgent } else { Self::Minor })
    }
}
