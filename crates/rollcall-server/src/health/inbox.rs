//! What all observers say in gossip beside their digests: one value for each observer and chunk, as it was heard last.
//!
//! Whose word counts is decided beside the digests: of an observer whose sighting of an instance does not count, what it says
//! here does not either. Bounded by what gossip takes from each member.

use std::collections::BTreeMap;

use rollcall_gossip::{Handle as Gossip, Update};
use rollcall_health::ChunkId;
use rollcall_types::{NodeName, UnixMillis};

/// What one observer says of the instances of one chunk.
pub(super) trait Page: Sized {
    /// What begins the keys.
    const PREFIX: &str;

    /// The chunk that a key is about; `None` when it is no key of this kind.
    fn chunk_of_key(key: &str) -> Option<ChunkId>;

    /// Reads a value; the error is the reason in one word.
    fn read(text: &str) -> Result<Self, &'static str>;

    /// Counts a value that was not taken.
    fn refused(reason: &'static str);
}

#[derive(Debug)]
struct Heard<P> {
    version: (u64, u64),
    page: P,
    at: UnixMillis,
}

/// What all observers say.
#[derive(Debug)]
pub(super) struct Inbox<P> {
    chunks: BTreeMap<ChunkId, BTreeMap<NodeName, Heard<P>>>,
}

impl<P> Default for Inbox<P> {
    fn default() -> Self {
        Self { chunks: BTreeMap::new() }
    }
}

impl<P: Page> Inbox<P> {
    /// Takes in a change of a value; the chunk about which something else is said now.
    pub(super) fn receive(&mut self, update: &Update, at: UnixMillis) -> Option<ChunkId> {
        if !update.key.starts_with(P::PREFIX) {
            return None;
        }
        let Some(chunk) = P::chunk_of_key(&update.key) else {
            P::refused("no_chunk");
            return None;
        };
        let observers = self.chunks.entry(chunk).or_default();
        let version = (update.generation, update.version);
        let is_older = observers.get(&update.member).is_some_and(|known| known.version > version);
        let page = update.value.as_deref().and_then(|text| P::read(text).inspect_err(|reason| P::refused(reason)).ok());
        let has_changed = match page {
            _ if is_older => false,
            Some(page) => {
                observers.insert(update.member.clone(), Heard { version, page, at });
                true
            }
            // Of what is unreadable, what was there before is dropped.
            None => observers.remove(&update.member).is_some(),
        };
        if observers.is_empty() {
            self.chunks.remove(&chunk);
        }
        has_changed.then_some(chunk)
    }

    /// Reads everything there is, and forgets what there was. Returns the chunks about which something was or is said.
    pub(super) fn begin_anew(&mut self, gossip: &Gossip, at: UnixMillis) -> Vec<ChunkId> {
        let mut chunks: Vec<_> = std::mem::take(&mut self.chunks).into_keys().collect();
        for value in gossip.values(P::PREFIX) {
            let update = Update {
                member: value.member,
                generation: value.generation,
                key: value.key,
                version: value.version,
                value: Some(value.value),
            };
            chunks.extend(self.receive(&update, at));
        }
        chunks
    }

    /// What whoever sent this change said before of what it is about.
    pub(super) fn of_key(&self, update: &Update) -> Option<P>
    where
        P: Clone,
    {
        let chunk = P::chunk_of_key(&update.key)?;
        self.of(chunk, &update.member).map(|(page, _)| page.clone())
    }

    /// What an observer says of a chunk, and when that was heard.
    pub(super) fn of(&self, chunk: ChunkId, observer: &NodeName) -> Option<(&P, UnixMillis)> {
        let heard = self.chunks.get(&chunk)?.get(observer)?;
        Some((&heard.page, heard.at))
    }
}
