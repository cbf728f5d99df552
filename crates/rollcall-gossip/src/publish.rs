//! What this node publishes: the values as they shall be, and which of them gossip does not know yet.
//!
//! A caller changes what shall be and is done; the shell brings it to chitchat, many changes at once, and all of it again
//! when chitchat begins a new life.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::error::Error;

/// Values of one node at most, this crate's own included. A node that alone observes 100,000 instances publishes 1,563; one
/// of ten that observe a million, two for each and chosen per chunk, 3,125.
pub const KEYS_MAX: usize = 4_096;
/// Longest key.
pub const KEY_BYTES_MAX: usize = 64;
/// Longest value. Beyond about 65 KB chitchat would silently never send it, nor any later value of the node.
pub const VALUE_BYTES_MAX: usize = 8 << 10;
/// All values of one node together, with their keys. [`KEYS_MAX`] full health digests make 1.5 MB. Every node keeps every
/// other's.
pub const TOTAL_BYTES_MAX: usize = 2 << 20;

/// Places that are kept for values of this crate.
const OWN_KEYS: usize = 8;
/// What begins the keys of this crate.
pub(crate) const OWN_PREFIX: &str = "n/";

/// Whether any node may publish under `key`. Every byte is ASCII: chitchat cuts keys at byte positions.
pub(crate) fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/'))
}

#[derive(Debug, Default)]
pub(crate) struct Published {
    state: Mutex<State>,
    /// Told when there is something for the shell to do.
    pub(crate) changed: Notify,
}

/// Invariant: `bytes` is the sum over `values` of the lengths of key and value.
#[derive(Debug, Default)]
struct State {
    values: BTreeMap<String, String>,
    /// Keys whose value gossip does not know as it is here.
    dirty: BTreeSet<String>,
    bytes: usize,
}

impl Published {
    /// Publishes on behalf of a caller.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), Error> {
        if !is_key(key) || key.starts_with(OWN_PREFIX) {
            return Err(Error::Key(key.chars().take(2 * KEY_BYTES_MAX).collect()));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::ValueTooLarge(value.len()));
        }
        let state = self.state();
        let freed = state.values.get(key).map_or(0, |present| key.len() + present.len());
        let is_one_more = freed == 0 && state.values.len() >= KEYS_MAX - OWN_KEYS;
        if is_one_more || state.bytes - freed + key.len() + value.len() > TOTAL_BYTES_MAX {
            return Err(Error::TooMuch);
        }
        self.change(state, key, Some(value));
        Ok(())
    }

    /// Publishes what this crate says itself, which is small and never refused.
    pub(crate) fn put(&self, key: &str, value: &str) {
        self.change(self.state(), key, Some(value));
    }

    fn change(&self, mut state: MutexGuard<'_, State>, key: &str, value: Option<&str>) {
        let size = |value: &str| key.len() + value.len();
        let before = match value {
            Some(value) => state.values.insert(key.to_owned(), value.to_owned()),
            None => state.values.remove(key),
        };
        if before.as_deref() == value {
            return;
        }
        state.bytes = state.bytes + value.map_or(0, size) - before.as_deref().map_or(0, size);
        state.dirty.insert(key.to_owned());
        drop(state);
        self.changed.notify_one();
    }

    /// Takes a value back.
    pub(crate) fn remove(&self, key: &str) {
        self.change(self.state(), key, None);
    }

    /// What changed since the last call; `None` for what was taken back.
    pub(crate) fn take_changes(&self) -> Vec<(String, Option<String>)> {
        let mut state = self.state();
        let dirty = std::mem::take(&mut state.dirty);
        dirty
            .into_iter()
            .map(|key| {
                let value = state.values.get(&key).cloned();
                (key, value)
            })
            .collect()
    }

    /// Everything, for a new life of chitchat, which then knows it all.
    pub(crate) fn take_all(&self) -> Vec<(String, String)> {
        let mut state = self.state();
        state.dirty.clear();
        state.values.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_every_version_of_chitchat_survives() {
        let published = Published::default();
        for key in ["h/0", "a", "x.y_z-0/1", &"k".repeat(64)] {
            published.set(key, "v").unwrap();
        }
        for key in ["", "établi", "A", "a b", "n/meta", &"k".repeat(65)] {
            assert!(matches!(published.set(key, "v"), Err(Error::Key(_))), "{key}");
        }
    }

    #[test]
    fn a_node_publishes_only_so_much() {
        let published = Published::default();
        assert!(matches!(published.set("a", &"v".repeat(8_193)), Err(Error::ValueTooLarge(8_193))));
        let large = "v".repeat(VALUE_BYTES_MAX);
        let fitting = TOTAL_BYTES_MAX / (VALUE_BYTES_MAX + 5);
        for n in 0..fitting {
            published.set(&format!("k{n:04}"), &large).unwrap();
        }
        assert!(matches!(published.set("k9999", &large), Err(Error::TooMuch)));
        published.set("k0000", "small").unwrap();
        published.remove("k0001");
        published.set("k9999", &large).unwrap();

        let many = Published::default();
        for n in 0..KEYS_MAX - OWN_KEYS {
            many.set(&format!("k{n}"), "").unwrap();
        }
        assert!(matches!(many.set("one-more", ""), Err(Error::TooMuch)));
        many.set("k0", "present keys change freely").unwrap();
        many.put("n/meta", "and this crate's own find room");
        assert_eq!(many.take_all().len(), KEYS_MAX - OWN_KEYS + 1);
    }

    #[test]
    fn changes_are_handed_out_once_and_equal_values_are_none() {
        let published = Published::default();
        published.set("a", "1").unwrap();
        published.set("b", "1").unwrap();
        published.set("a", "2").unwrap();
        published.remove("b");
        assert_eq!(published.take_changes(), [("a".to_owned(), Some("2".to_owned())), ("b".to_owned(), None)]);
        published.set("a", "2").unwrap();
        published.remove("absent");
        assert_eq!(published.take_changes(), []);
        assert_eq!(published.take_all(), [("a".to_owned(), "2".to_owned())]);
    }
}
