//! The key-value space: its entries, who holds which, and what was removed.
//!
//! A removed key leaves a tombstone, so that the index of a key or of a prefix (the revision of its last change) goes on rising
//! when something under it is removed, and so that whoever locks the key when it is made anew gets a higher number than every
//! holder before. The last [`TOMBSTONES_MAX`] are kept. What was removed before them counts as removed at the floor, which is
//! at or after its true revision, and as locked as often as any of them: an index never falls, nor does a number of holders.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use rollcall_types::{KvKey, Millis, Revision, SessionId};
use serde::{Deserialize, Serialize};

use crate::KvEntry;

/// Most bytes of keys and values together, 256 MiB.
pub const KV_BYTES_MAX: u64 = 256 << 20;
/// Removed keys that are remembered one by one.
pub const TOMBSTONES_MAX: usize = 16_384;

/// A key that cannot be locked for a while, since the session that held it ended. The leader measures the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockDelay {
    /// When the session ended.
    pub since: Revision,
    /// For how long from then on.
    pub delay: Millis,
}

/// What is remembered of a removed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    /// When it was removed.
    pub(crate) removed: Revision,
    /// How often it had been locked.
    pub(crate) lock_index: u64,
}

/// The key-value space.
///
/// Invariants:
/// - `bytes` counts what `entries` hold, and is at most [`KV_BYTES_MAX`] after each request.
/// - `held` holds exactly the keys whose entries name a session; no set in it is empty.
/// - A key in `graveyard` is not in `entries`.
/// - `modified` is the last change to any key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    entries: OrdMap<KvKey, Arc<KvEntry>>,
    bytes: u64,
    held: OrdMap<SessionId, OrdSet<KvKey>>,
    delays: OrdMap<KvKey, LockDelay>,
    graveyard: Graveyard,
    modified: Revision,
}

impl Keys {
    pub(crate) fn get(&self, key: &KvKey) -> Option<&Arc<KvEntry>> {
        self.entries.get(key)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&KvKey, &Arc<KvEntry>)> + '_ {
        self.entries.iter()
    }

    pub(crate) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a KvKey, &'a Arc<KvEntry>)> + 'a {
        under(&self.entries, prefix)
    }

    /// The keys of [`Self::under`] that come after `after`.
    pub(crate) fn under_after<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
    ) -> impl Iterator<Item = (&'a KvKey, &'a Arc<KvEntry>)> + 'a {
        let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let rest = self.entries.range::<_, str>((from, Bound::Unbounded));
        rest.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Sets a key to an entry that was modified now.
    pub(crate) fn put(&mut self, key: &KvKey, entry: Arc<KvEntry>) {
        self.modified = entry.modified;
        self.bytes += size(key, &entry);
        if let Some(session) = entry.session {
            self.held.entry(session).or_default().insert(key.clone());
        }
        self.graveyard.forget(key);
        let holder = entry.session;
        if let Some(old) = self.entries.insert(key.clone(), entry) {
            self.bytes -= size(key, &old);
            if old.session != holder {
                self.let_go(key, old.session);
            }
        }
    }

    /// Removes a key at `revision`; false when it is not there.
    pub(crate) fn remove(&mut self, key: &KvKey, revision: Revision) -> bool {
        let Some(old) = self.entries.remove(key) else { return false };
        self.modified = revision;
        self.bytes -= size(key, &old);
        self.let_go(key, old.session);
        self.graveyard.bury(key, Tombstone { removed: revision, lock_index: old.lock_index });
        true
    }

    /// Removes every key that begins with `prefix`; how many there were.
    pub(crate) fn remove_under(&mut self, prefix: &str, revision: Revision) -> u64 {
        let keys: Vec<KvKey> = self.under(prefix).map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.remove(key, revision);
        }
        keys.len() as u64
    }

    fn let_go(&mut self, key: &KvKey, session: Option<SessionId>) {
        let Some(session) = session else { return };
        if let Some(keys) = self.held.get_mut(&session) {
            keys.remove(key);
            if keys.is_empty() {
                self.held.remove(&session);
            }
        }
    }

    /// The keys that a session holds.
    pub(crate) fn held_by(&self, session: SessionId) -> impl Iterator<Item = &KvKey> + '_ {
        self.held.get(&session).into_iter().flatten()
    }

    pub(crate) fn delays(&self) -> &OrdMap<KvKey, LockDelay> {
        &self.delays
    }

    pub(crate) fn delay(&mut self, key: &KvKey, delay: LockDelay) {
        self.delays.insert(key.clone(), delay);
    }

    /// Ends the delay of a key that began at `since`; false when there is none, or another one.
    pub(crate) fn end_delay(&mut self, key: &KvKey, since: Revision) -> bool {
        let is_it = self.delays.get(key).is_some_and(|delay| delay.since == since);
        is_it && self.delays.remove(key).is_some()
    }

    /// When the key was last set or removed, as far as that is known.
    pub(crate) fn index(&self, key: &KvKey) -> Revision {
        self.entries.get(key).map_or_else(|| self.graveyard.of(key).removed, |entry| entry.modified)
    }

    /// How often the key was locked, before it was last removed too; rather too many than too few.
    pub(crate) fn lock_index(&self, key: &KvKey) -> u64 {
        self.entries.get(key).map_or_else(|| self.graveyard.of(key).lock_index, |entry| entry.lock_index)
    }

    /// When any key that begins with `prefix` was last set or removed.
    pub(crate) fn index_under(&self, prefix: &str) -> Revision {
        if prefix.is_empty() {
            return self.modified;
        }
        let present = self.under(prefix).map(|(_, entry)| entry.modified).max();
        let removed = under(&self.graveyard.removed, prefix).map(|(_, tombstone)| tombstone.removed).max();
        present.into_iter().chain(removed).max().unwrap_or_default().max(self.graveyard.floor.removed)
    }

    pub(crate) fn tombstones(&self) -> impl Iterator<Item = (&KvKey, &Tombstone)> + '_ {
        self.graveyard.removed.iter()
    }

    pub(crate) fn tombstones_floor(&self) -> Tombstone {
        self.graveyard.floor
    }

    pub(crate) fn modified(&self) -> Revision {
        self.modified
    }

    /// Begins to take back what was exported.
    pub(crate) fn restoring(modified: Revision, tombstones_floor: Tombstone) -> Self {
        let graveyard = Graveyard { floor: tombstones_floor, ..Graveyard::default() };
        Self { modified, graveyard, ..Self::default() }
    }

    /// Takes back an entry; entries come in the order of their keys. False when this cannot be the next.
    pub(crate) fn restore(&mut self, key: &KvKey, entry: Arc<KvEntry>) -> bool {
        let follows = self.entries.get_max().is_none_or(|(last, _)| last < key);
        let modified = self.modified;
        let is_possible = entry.created <= entry.modified && entry.modified <= modified;
        self.put(key, entry);
        self.modified = modified;
        follows && is_possible && self.bytes <= KV_BYTES_MAX
    }

    /// As [`Self::restore`], for the delay of a key.
    pub(crate) fn restore_delay(&mut self, key: KvKey, delay: LockDelay) -> bool {
        let follows = self.delays.get_max().is_none_or(|(last, _)| *last < key);
        self.delays.insert(key, delay);
        follows
    }

    /// As [`Self::restore`], for a removed key.
    pub(crate) fn restore_tombstone(&mut self, key: &KvKey, tombstone: Tombstone) -> bool {
        let (removed, graveyard) = (tombstone.removed, &mut self.graveyard);
        let follows = graveyard.removed.get_max().is_none_or(|(last, _)| last < key);
        let is_after_floor = removed > graveyard.floor.removed;
        let is_possible = is_after_floor && removed <= self.modified && !self.entries.contains_key(key);
        graveyard.removed.insert(key.clone(), tombstone);
        graveyard.order.insert((removed, key.clone()));
        follows && is_possible && graveyard.removed.len() <= TOMBSTONES_MAX
    }
}

/// Which keys were removed, and when.
///
/// Invariants:
/// - `order` holds `(revision, key)` for every entry of `removed`; all of them were removed after `floor`.
/// - No key that was forgotten was removed after `floor`, or locked more often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Graveyard {
    removed: OrdMap<KvKey, Tombstone>,
    order: OrdSet<(Revision, KvKey)>,
    floor: Tombstone,
}

impl Graveyard {
    /// What is known of a key that is not there.
    fn of(&self, key: &KvKey) -> Tombstone {
        self.removed.get(key).copied().unwrap_or(self.floor)
    }

    fn bury(&mut self, key: &KvKey, tombstone: Tombstone) {
        if tombstone.removed <= self.floor.removed {
            return self.raise_floor(tombstone);
        }
        self.removed.insert(key.clone(), tombstone);
        self.order.insert((tombstone.removed, key.clone()));
        while self.removed.len() > TOMBSTONES_MAX {
            let Some((oldest, _)) = self.order.get_min().cloned() else { return };
            // What was removed by one request is forgotten together: the floor is at all of it.
            while let Some(forgotten) = self.order.get_min().filter(|(removed, _)| *removed <= oldest).cloned() {
                self.order.remove(&forgotten);
                if let Some(tombstone) = self.removed.remove(&forgotten.1) {
                    self.raise_floor(tombstone);
                }
            }
        }
    }

    fn raise_floor(&mut self, forgotten: Tombstone) {
        self.floor.removed = self.floor.removed.max(forgotten.removed);
        self.floor.lock_index = self.floor.lock_index.max(forgotten.lock_index);
    }

    /// The key is there again.
    fn forget(&mut self, key: &KvKey) {
        if let Some(Tombstone { removed, .. }) = self.removed.remove(key) {
            self.order.remove(&(removed, key.clone()));
        }
    }
}

fn under<'a, V: Clone>(map: &'a OrdMap<KvKey, V>, prefix: &'a str) -> impl Iterator<Item = (&'a KvKey, &'a V)> + 'a {
    let from = (Bound::Included(prefix), Bound::Unbounded);
    map.range::<_, str>(from).take_while(move |(key, _)| key.starts_with(prefix))
}

/// What a key counts against [`KV_BYTES_MAX`].
fn size(key: &KvKey, entry: &KvEntry) -> u64 {
    (key.len() + entry.value.len()) as u64
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn key(text: &str) -> KvKey {
        text.parse().unwrap()
    }

    fn entry(at: u64, session: Option<u128>) -> Arc<KvEntry> {
        let at = Revision::new(at);
        let session = session.map(SessionId::new);
        Arc::new(KvEntry {
            value: Bytes::from_static(b"v"),
            flags: 0,
            created: at,
            modified: at,
            lock_index: 0,
            session,
        })
    }

    #[test]
    fn an_index_goes_on_rising_when_keys_are_removed_and_forgotten() {
        let mut keys = Keys::default();
        keys.put(&key("a/1"), entry(1, None));
        keys.put(&key("b"), entry(2, None));
        assert_eq!(
            (keys.index(&key("a/1")).get(), keys.index_under("a/").get(), keys.index_under("").get()),
            (1, 1, 2)
        );
        assert!(keys.remove(&key("a/1"), Revision::new(3)));
        assert_eq!((keys.index(&key("a/1")).get(), keys.index_under("a/").get()), (3, 3));
        for count in 0..=TOMBSTONES_MAX as u64 {
            let other = key(&format!("c/{count}"));
            keys.put(&other, entry(10 + count, None));
            keys.remove(&other, Revision::new(10 + count));
        }
        assert!(keys.index(&key("a/1")).get() >= 3 && keys.index_under("a/").get() >= 3);
        assert!(keys.graveyard.removed.len() <= TOMBSTONES_MAX);
        assert_eq!(keys.graveyard.removed.len(), keys.graveyard.order.len());
    }

    #[test]
    fn a_key_that_was_removed_is_known_to_have_been_locked_and_of_forgotten_ones_the_most_is_assumed() {
        let mut keys = Keys::default();
        let locked = |at, times| Arc::new(KvEntry { lock_index: times, ..(*entry(at, None)).clone() });
        keys.put(&key("often"), locked(1, 7));
        keys.put(&key("once"), locked(2, 1));
        assert!(keys.remove(&key("often"), Revision::new(3)) && keys.remove(&key("once"), Revision::new(4)));
        let known = |keys: &Keys| ["often", "once", "never"].map(|name| keys.lock_index(&key(name)));
        assert_eq!(known(&keys), [7, 1, 0]);
        // More than are remembered, in one request.
        for count in 0..=TOMBSTONES_MAX {
            keys.put(&key(&format!("c/{count:05}")), locked(5, 2));
        }
        keys.put(&key("c/99999"), locked(5, 9));
        keys.remove_under("c/", Revision::new(6));
        assert_eq!(known(&keys), [9; 3], "whatever was forgotten was locked nine times at most");
    }

    #[test]
    fn keys_under_a_prefix_go_on_after_any_place() {
        let mut keys = Keys::default();
        ["a", "b/1", "b/2", "b/3", "c"].iter().for_each(|it| keys.put(&key(it), entry(1, None)));
        let rest = |prefix, after| keys.under_after(prefix, after).map(|(key, _)| key.to_string()).collect::<Vec<_>>();
        assert_eq!(rest("b/", ""), ["b/1", "b/2", "b/3"]);
        assert_eq!(rest("b/", "b/1"), ["b/2", "b/3"]);
        assert_eq!(rest("b/", "b/1x"), ["b/2", "b/3"]);
        assert_eq!(rest("b/", "z"), Vec::<String>::new());
        assert_eq!(rest("", "b/3"), ["c"]);
    }

    #[test]
    fn who_holds_a_key_changes_with_its_entry() {
        let mut keys = Keys::default();
        let held = |keys: &Keys, id| keys.held_by(SessionId::new(id)).map(ToString::to_string).collect::<Vec<_>>();
        keys.put(&key("a"), entry(1, Some(7)));
        keys.put(&key("b"), entry(2, Some(7)));
        assert_eq!(held(&keys, 7), ["a", "b"]);
        keys.put(&key("a"), entry(3, Some(8)));
        keys.remove(&key("b"), Revision::new(4));
        assert_eq!((held(&keys, 7), held(&keys, 8)), (vec![], vec!["a".to_owned()]));
        assert_eq!(keys.held.len(), 1, "no empty set is kept");
    }
}
