//! Small sorted collections that cost what they hold.
//!
//! A `BTreeSet` of one tag allocates a leaf of eleven; a catalogue holds a hundred thousand of them. These are sorted
//! boxed slices: never changed in place, found by binary search, iterated in order, empty without an allocation.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most entries for which a decoded map makes room before it sees them.
const CLAIM_MAX: usize = 64;

/// A sorted set without doubles.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SortedSet<T>(Box<[T]>);

impl<T> SortedSet<T> {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The values in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `value` is one of them. O(log n).
    pub fn contains<Q: Ord + ?Sized>(&self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.0.binary_search_by(|held| held.borrow().cmp(value)).is_ok()
    }
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T: Ord> FromIterator<T> for SortedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::from(Vec::from_iter(values))
    }
}

impl<T: Ord> From<Vec<T>> for SortedSet<T> {
    fn from(mut values: Vec<T>) -> Self {
        values.sort();
        values.dedup();
        Self(values.into_boxed_slice())
    }
}

impl<'a, T> IntoIterator for &'a SortedSet<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for SortedSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T: Serialize> Serialize for SortedSet<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Deserialize<'de> + Ord> Deserialize<'de> for SortedSet<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

/// A map sorted by key. Of entries with the same key the last one given stays.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SortedMap<K, V>(Box<[(K, V)]>);

impl<K, V> SortedMap<K, V> {
    /// The empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entries in key order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V)> + '_ {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `key`. O(log n).
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let found = self.0.binary_search_by(|(held, _)| held.borrow().cmp(key)).ok()?;
        self.0.get(found).map(|(_, value)| value)
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        // What was encoded from such a map comes in order.
        if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            // Stable, and reversed first, so that of equal keys the last one given leads its run.
            entries.reverse();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries.dedup_by(|(a, _), (b, _)| a == b);
        }
        Self(entries.into_boxed_slice())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Serialize, V: Serialize> Serialize for SortedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for SortedMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<K, V>(PhantomData<(K, V)>);

        impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> de::Visitor<'de> for Visitor<K, V> {
            type Value = SortedMap<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // The claimed length is not trusted with more than a small allocation.
                let mut entries = Vec::with_capacity(map.size_hint().unwrap_or(0).min(CLAIM_MAX));
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sorted_set_holds_what_a_tree_set_holds(values: Vec<u8>) {
            let (ours, model): (SortedSet<u8>, BTreeSet<u8>) =
                (values.iter().copied().collect(), values.iter().copied().collect());
            prop_assert!(ours.iter().eq(model.iter()));
            for value in 0..=u8::MAX {
                prop_assert_eq!(ours.contains(&value), model.contains(&value));
            }
            let text = serde_json::to_string(&ours).unwrap();
            prop_assert_eq!(serde_json::from_str::<SortedSet<u8>>(&text).unwrap(), ours);
        }

        #[test]
        fn a_sorted_map_holds_what_a_tree_map_holds(entries: Vec<(u8, u16)>) {
            let (ours, model): (SortedMap<u8, u16>, BTreeMap<u8, u16>) =
                (entries.iter().copied().collect(), entries.iter().copied().collect());
            prop_assert!(ours.iter().eq(model.iter()));
            for key in 0..=u8::MAX {
                prop_assert_eq!(ours.get(&key), model.get(&key));
            }
            let text = serde_json::to_string(&ours).unwrap();
            prop_assert_eq!(serde_json::from_str::<SortedMap<u8, u16>>(&text).unwrap(), ours);
        }
    }
}
