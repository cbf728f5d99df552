//! What one node knows from the digests of all observers.
//!
//! For each chunk, the newest digest of each observer. Newest is decided by what the writer said (generation, then gossip's
//! version), never by when or from whom it arrived, so merging is a join: the same digests give the same view in any order,
//! however often each arrives.
//!
//! A view is made of persistent maps: cloning one is O(1), and a merge copies the digest list of one chunk and a path of
//! the map, not the rest. So a writer keeps one view, and publishes a clone after each batch of merges.
//!
//! Memory: an observer's digest of a chunk takes 80 bytes and 4 for each instance in it. At 100,000 instances with two
//! observers each among 10 nodes, where every node observes some 13 instances of every chunk, that is 21 bytes per
//! instance; resident memory was measured at 31, the allocator's share included.
//!
//! Limits: at most [`OBSERVERS_MAX`] observers and [`DIGESTS_MAX`] digests, 90 MB if all of them were full; what is beyond is
//! refused, and then two views need not agree.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use rollcall_types::{MonoTime, NodeName, Status};

use super::format::{Digest, DigestError};
use super::observation::Observation;
use super::slot::{ChunkId, Slot, Tenancy};

/// Most observers in one view.
pub const OBSERVERS_MAX: usize = 1024;
/// Most digests in one view: 8 observers of each chunk there can be.
pub const DIGESTS_MAX: usize = 262_144;

/// A node that publishes digests, in one of its lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observer {
    /// The node.
    pub name: NodeName,
    /// Counts its starts, as gossip does. What an older generation said is void once a newer one is known.
    pub generation: u64,
}

/// Whether an observer's evidence counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The observer is alive, so it would have withdrawn what holds no longer.
    Fresh,
    /// It is dead, suspected, or was never seen alive.
    Stale,
}

/// A digest that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Who wrote it.
    pub observer: Observer,
    /// What it is about.
    pub chunk: ChunkId,
    /// Gossip's version of the value; rises with every write of the observer's generation.
    pub version: u64,
    /// What it says; empty when the value was deleted.
    pub digest: Digest,
    /// When it arrived here. Shown, and no part of the join.
    pub received_at: MonoTime,
}

/// Why a digest was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its text is no digest. What the observer said about the chunk before is void.
    #[error("a value that is no digest")]
    Unreadable(#[source] DigestError),
    /// There are [`OBSERVERS_MAX`] others.
    #[error("more than {OBSERVERS_MAX} observers")]
    TooManyObservers,
    /// There are [`DIGESTS_MAX`] others.
    #[error("more than {DIGESTS_MAX} digests")]
    TooManyDigests,
}

impl Refused {
    /// The reason in one word, for metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unreadable(error) => error.reason(),
            Self::TooManyObservers => "too_many_observers",
            Self::TooManyDigests => "too_many_digests",
        }
    }
}

/// What one observer says about one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting<'a> {
    /// Who.
    pub observer: &'a NodeName,
    /// What, as it counts: when the observer is [`Freshness::Stale`], the status is [`Status::Unknown`].
    pub observation: Observation,
    /// The status that the observer gave, whether it counts or not.
    pub said: Status,
    /// Whether it counts.
    pub freshness: Freshness,
    /// When the newest digest of the chunk by this observer arrived. Not an age: a living observer vouches for what it
    /// has published.
    pub received_at: MonoTime,
}

/// The newest digests of all observers. Cheap to clone.
///
/// Invariants:
/// - Every digest in `chunks` is of the generation that `observers` has for its writer.
/// - The digests of a chunk are sorted by observer; `digest_count` counts them all.
#[derive(Debug, Clone, Default)]
pub struct HealthView {
    observers: OrdMap<NodeName, Known>,
    chunks: OrdMap<ChunkId, Arc<[Held]>>,
    digest_count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    generation: u64,
    freshness: Freshness,
}

#[derive(Debug, Clone)]
struct Held {
    observer: NodeName,
    version: u64,
    received_at: MonoTime,
    digest: Digest,
}

impl HealthView {
    /// A view of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a value as gossip delivers it; `None` when it was deleted. Returns whether the view changed.
    ///
    /// # Errors
    /// [`Refused`]. When the text is no digest, what its writer said before about the chunk is dropped all the same: it
    /// was replaced by something, and the instances read as unknown until that is understood.
    pub fn receive(
        &mut self,
        observer: Observer,
        chunk: ChunkId,
        version: u64,
        text: Option<&str>,
        received_at: MonoTime,
    ) -> Result<bool, Refused> {
        let decoded = text.map_or(Ok(Digest::default()), Digest::decode);
        let digest = decoded.clone().unwrap_or_default();
        let changed = self.merge(Received { observer, chunk, version, digest, received_at });
        decoded.map_err(Refused::Unreadable).and(changed)
    }

    /// Takes in a digest if it is newer than the one held. Returns whether the view changed.
    ///
    /// Of two with the same version, which no honest writer makes, the greater is kept, so that all nodes keep the same.
    /// Deletions are held like digests, so that an older digest cannot come back after one.
    ///
    /// # Errors
    /// [`Refused`] when the view is full.
    pub fn merge(&mut self, received: Received) -> Result<bool, Refused> {
        let Received { observer, chunk, version, digest, received_at } = received;
        if !self.admit(&observer)? {
            return Ok(false);
        }
        let new = Held { observer: observer.name, version, received_at, digest };
        let place = self.chunks.get(&chunk).map_or(Err(0), |held| find(held, &new.observer));
        match place {
            Ok(place) => {
                let Some(list) = self.chunks.get_mut(&chunk) else { return Ok(false) };
                let old = &list[place];
                if (new.version, &new.digest) <= (old.version, &old.digest) {
                    return Ok(false);
                }
                Arc::make_mut(list)[place] = new;
            }
            Err(place) => {
                if self.digest_count >= DIGESTS_MAX {
                    return Err(Refused::TooManyDigests);
                }
                let list = self.chunks.get(&chunk).map_or(&[][..], |list| &**list);
                let (before, after) = list.split_at(place);
                let list = before.iter().cloned().chain([new]).chain(after.iter().cloned()).collect();
                self.chunks.insert(chunk, list);
                self.digest_count += 1;
            }
        }
        Ok(true)
    }

    /// Drops what an observer said about a chunk, if it is of this version: not because the observer took that back, but because
    /// gossip here has lost it, and may give it out again as it was. Returns whether the view changed.
    pub fn lose(&mut self, observer: &Observer, chunk: ChunkId, version: u64) -> bool {
        if self.observers.get(&observer.name).is_none_or(|known| known.generation != observer.generation) {
            return false;
        }
        let Some(list) = self.chunks.get(&chunk) else { return false };
        let Ok(place) = find(list, &observer.name) else { return false };
        if list[place].version != version {
            return false;
        }
        let kept: Arc<[Held]> = list.iter().filter(|held| held.observer != observer.name).cloned().collect();
        self.digest_count -= 1;
        if kept.is_empty() {
            self.chunks.remove(&chunk);
        } else {
            self.chunks.insert(chunk, kept);
        }
        true
    }

    /// Says whether an observer's evidence counts; until this says so, it does not.
    ///
    /// About an older generation than the one known it says nothing; with a newer one, what the older said is void.
    ///
    /// # Errors
    /// [`Refused::TooManyObservers`].
    pub fn mark_observer(&mut self, observer: &Observer, freshness: Freshness) -> Result<(), Refused> {
        if self.admit(observer)? {
            let known = Known { generation: observer.generation, freshness };
            self.observers.insert(observer.name.clone(), known);
        }
        Ok(())
    }

    /// Forgets an observer and all it said.
    pub fn remove_observer(&mut self, name: &NodeName) {
        if self.observers.remove(name).is_some() {
            self.drop_digests_of(name);
        }
    }

    /// What each observer says about the instance that has `slot` since `tenancy`, in the order of their names. Nothing when
    /// nobody says anything about that instance: then its status is unknown.
    pub fn sightings(&self, slot: Slot, tenancy: Tenancy) -> impl Iterator<Item = Sighting<'_>> {
        let list = self.chunks.get(&slot.chunk()).map_or(&[][..], |list| &**list);
        list.iter().filter_map(move |held| {
            let said = held.digest.get(slot, tenancy)?;
            let freshness = self.observers.get(&held.observer)?.freshness;
            let status = match freshness {
                Freshness::Fresh => said.status,
                Freshness::Stale => Status::Unknown,
            };
            Some(Sighting {
                observer: &held.observer,
                observation: Observation { status, ..said },
                said: said.status,
                freshness,
                received_at: held.received_at,
            })
        })
    }

    /// The chunks of which this view may say something else than `older` does, in order. Compares places and not what lies
    /// there, so it takes microseconds for a thousand chunks; one that is not named is the same.
    pub fn changed_since(&self, older: &Self) -> Vec<ChunkId> {
        let revalued = self.revalued_since(older);
        let concerns =
            |list: &[Held]| !revalued.is_empty() && list.iter().any(|held| revalued.contains(&held.observer));
        let is_new = |(chunk, list): (&ChunkId, &Arc<[Held]>)| match older.chunks.get(chunk) {
            Some(before) if Arc::ptr_eq(before, list) => concerns(list),
            _ => true,
        };
        let here = self.chunks.iter().filter(|entry| is_new(*entry)).map(|(chunk, _)| *chunk);
        let gone = older.chunks.keys().filter(|chunk| !self.chunks.contains_key(*chunk)).copied();
        let mut changed: Vec<ChunkId> = here.chain(gone).collect();
        changed.sort_unstable();
        changed
    }

    /// The generation of an observer whose evidence counts; `None` of every other.
    pub fn fresh_generation(&self, name: &NodeName) -> Option<u64> {
        let known = self.observers.get(name)?;
        (known.freshness == Freshness::Fresh).then_some(known.generation)
    }

    /// Observers whose evidence counts otherwise than in `older`.
    fn revalued_since<'a>(&'a self, older: &'a Self) -> BTreeSet<&'a NodeName> {
        let here = self.observers.iter().filter(|(name, known)| older.observers.get(*name) != Some(*known));
        let gone = older.observers.keys().filter(|name| !self.observers.contains_key(*name));
        here.map(|(name, _)| name).chain(gone).collect()
    }

    /// Observers that are known.
    pub fn observer_count(&self) -> usize {
        self.observers.len()
    }

    /// Digests that are held, deletions included.
    pub fn digest_count(&self) -> usize {
        self.digest_count
    }

    /// Makes the observer known. `false` when a newer generation of it is known already.
    fn admit(&mut self, observer: &Observer) -> Result<bool, Refused> {
        match self.observers.get(&observer.name).map(|known| known.generation) {
            Some(known) if known == observer.generation => return Ok(true),
            Some(known) if known > observer.generation => return Ok(false),
            Some(_) => self.drop_digests_of(&observer.name),
            None if self.observers.len() >= OBSERVERS_MAX => return Err(Refused::TooManyObservers),
            None => {}
        }
        let known = Known { generation: observer.generation, freshness: Freshness::Stale };
        self.observers.insert(observer.name.clone(), known);
        Ok(true)
    }

    /// Walks all chunks, so it is for rare events: a restart, a removal.
    fn drop_digests_of(&mut self, name: &NodeName) {
        let concerned: Vec<ChunkId> =
            self.chunks.iter().filter(|(_, list)| find(list, name).is_ok()).map(|(chunk, _)| *chunk).collect();
        for chunk in concerned {
            let Some(list) = self.chunks.remove(&chunk) else { continue };
            let kept: Arc<[Held]> = list.iter().filter(|held| held.observer != *name).cloned().collect();
            self.digest_count -= list.len() - kept.len();
            if !kept.is_empty() {
                self.chunks.insert(chunk, kept);
            }
        }
    }
}

/// Where the observer's digest is, or would be.
fn find(list: &[Held], observer: &NodeName) -> Result<usize, usize> {
    list.binary_search_by(|held| held.observer.cmp(observer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::CHUNKS_MAX;

    /// The two counts of an `Arc`.
    const COUNTS: usize = 2 * size_of::<usize>();

    fn observer(number: usize) -> Observer {
        Observer { name: format!("n{number}").parse().unwrap(), generation: 1 }
    }

    fn received(number: usize, chunk: u32) -> Received {
        let chunk = ChunkId::new(chunk).unwrap();
        let digest = Digest::decode("AQEAAAAAAAAA-gE0Eg").unwrap();
        Received { observer: observer(number), chunk, version: 1, digest, received_at: MonoTime::default() }
    }

    #[test]
    fn one_observer_more_than_the_bound_is_refused_until_another_is_removed() {
        let mut view = HealthView::new();
        for number in 0..OBSERVERS_MAX {
            view.mark_observer(&observer(number), Freshness::Fresh).unwrap();
        }
        assert_eq!(view.merge(received(OBSERVERS_MAX, 0)), Err(Refused::TooManyObservers));
        assert_eq!(view.merge(received(0, 0)), Ok(true), "who is known still speaks");
        view.remove_observer(&observer(1).name);
        assert_eq!(view.merge(received(OBSERVERS_MAX, 0)), Ok(true));
    }

    #[test]
    fn one_digest_more_than_the_bound_is_refused_and_known_ones_are_still_replaced() {
        let mut view = HealthView::new();
        let per_observer = CHUNKS_MAX;
        let observers = DIGESTS_MAX / per_observer as usize;
        for number in 0..observers {
            (0..per_observer).for_each(|chunk| assert_eq!(view.merge(received(number, chunk)), Ok(true)));
        }
        assert_eq!(view.merge(received(observers, 0)), Err(Refused::TooManyDigests));
        assert_eq!(view.merge(Received { version: 2, ..received(0, 7) }), Ok(true));
        view.remove_observer(&observer(0).name);
        assert_eq!(view.digest_count(), DIGESTS_MAX - per_observer as usize);
        assert_eq!(view.merge(received(observers, 0)), Ok(true));
    }

    fn chunk(number: u32) -> ChunkId {
        ChunkId::new(number).unwrap()
    }

    #[test]
    fn a_view_names_the_chunks_that_changed_since_an_older_one() {
        let mut view = HealthView::new();
        (0..3).for_each(|number| assert_eq!(view.merge(received(1, number)), Ok(true)));
        assert_eq!(view.merge(received(2, 2)), Ok(true));
        let older = view.clone();
        assert_eq!(view.changed_since(&older), []);
        view.merge(Received { version: 2, ..received(1, 1) }).unwrap();
        view.merge(received(2, 9)).unwrap();
        assert_eq!(view.changed_since(&older), [chunk(1), chunk(9)]);
        let older = view.clone();
        view.mark_observer(&observer(2), Freshness::Fresh).unwrap();
        assert_eq!(view.changed_since(&older), [chunk(2), chunk(9)], "all that an observer speaks of");
        let older = view.clone();
        view.remove_observer(&observer(2).name);
        assert_eq!(view.changed_since(&older), [chunk(2), chunk(9)]);
    }

    #[test]
    fn only_who_is_fresh_has_a_generation_that_counts() {
        let mut view = HealthView::new();
        view.mark_observer(&observer(1), Freshness::Fresh).unwrap();
        view.mark_observer(&observer(2), Freshness::Stale).unwrap();
        let generation = |number| view.fresh_generation(&observer(number).name);
        assert_eq!([1, 2, 3].map(generation), [Some(1), None, None]);
    }

    #[test]
    fn an_observers_digest_of_a_chunk_takes_80_bytes_and_4_per_instance() {
        assert_eq!(size_of::<Held>() + COUNTS, 80);
        let instances_per_digest = 2.0 * 64.0 / 10.0;
        let per_instance = 10.0 * (80.0 + 4.0 * instances_per_digest) / 64.0;
        assert!(per_instance <= 21.0, "{per_instance} bytes, without the allocator's own");
    }
}
