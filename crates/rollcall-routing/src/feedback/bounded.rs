//! A map with room for so many, that forgets what is used least.

use std::collections::{BTreeMap, BTreeSet};

/// How much an entry is used: greater is more. Only compared.
pub(super) type Usage = u64;

/// Invariants:
/// - `order` has one entry for each in `entries`, with the same usage.
/// - There are at most `max` entries.
#[derive(Debug, Clone)]
pub(super) struct Bounded<K, V> {
    max: usize,
    entries: BTreeMap<K, (V, Usage)>,
    order: BTreeSet<(Usage, K)>,
    evicted: u64,
}

impl<K: Ord + Clone, V: Default> Bounded<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, entries: BTreeMap::new(), order: BTreeSet::new(), evicted: 0 }
    }

    /// Changes the entry of `key`, a new one if there is none; `change` says how much it is used now. O(log n).
    pub(super) fn update(&mut self, key: K, change: impl FnOnce(&mut V) -> Usage) {
        if !self.entries.contains_key(&key) {
            self.make_room();
        }
        let (value, usage) = self.entries.entry(key.clone()).or_default();
        let before = *usage;
        *usage = change(value);
        let after = *usage;
        self.order.remove(&(before, key.clone()));
        self.order.insert((after, key));
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(value, _)| value)
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some((_, usage)) = self.entries.remove(key) {
            self.order.remove(&(usage, key.clone()));
        }
    }

    /// What is used most, first.
    pub(super) fn most_used(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.iter().rev().filter_map(|(_, key)| Some((key, self.get(key)?)))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    fn make_room(&mut self) {
        while self.entries.len() >= self.max {
            let Some((_, key)) = self.order.pop_first() else { return };
            self.entries.remove(&key);
            self.evicted += 1;
        }
    }
}
