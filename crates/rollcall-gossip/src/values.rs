//! What all members publish: a lock-free table for readers, and each change for subscribers.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use rollcall_types::NodeName;

use crate::metrics;
use crate::publish::{KEYS_MAX, OWN_PREFIX, VALUE_BYTES_MAX, is_key};

/// Updates that a subscriber may be behind; one that is further behind is told so, and reads all values again.
pub const UPDATES_KEPT: usize = 4_096;

/// A value that a member publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Who publishes it.
    pub member: NodeName,
    /// The generation of that member.
    pub generation: u64,
    /// Its key.
    pub key: Arc<str>,
    /// Which of that member's changes it was: a later one of the same generation has a higher version.
    pub version: u64,
    /// Its text, at most [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX).
    pub value: Arc<str>,
}

/// A value changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Who publishes it.
    pub member: NodeName,
    /// The generation of that member.
    pub generation: u64,
    /// Its key.
    pub key: Arc<str>,
    /// Which of that member's changes it was.
    pub version: u64,
    /// The new text; `None` when the member took it back, started anew without it, or was forgotten.
    pub value: Option<Arc<str>>,
}

/// A value, and the version that chitchat gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    version: u64,
    value: Arc<str>,
}

/// A change of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Arc<str>,
    pub(crate) version: u64,
    pub(crate) value: Option<Arc<str>>,
}

/// All values of one member.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemberValues {
    pub(crate) generation: u64,
    values: BTreeMap<Arc<str>, Stored>,
}

impl MemberValues {
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.values.get(key).map(|stored| &stored.value)
    }

    /// The values as they are now, sharing what did not change, and the changes from these to those. `present` holds key,
    /// version and value, `None` when it was taken back, in the order of keys; `version` is that of the member's latest
    /// change. A new generation is told in full, since readers may keep apart what each life of a member said. What breaks
    /// the rules is skipped.
    ///
    /// Both are walked side by side: a member with thousands of values changes some of them many times a second.
    pub(crate) fn follow<'a>(
        &self,
        generation: u64,
        version: u64,
        present: impl Iterator<Item = (&'a str, u64, Option<&'a str>)>,
    ) -> (Self, Vec<Change>) {
        let mut next = Self { generation, values: self.values.clone() };
        let (mut changes, mut gone, mut count) = (Vec::new(), Vec::new(), 0);
        let mut known = self.values.iter().peekable();
        for (key, version, value) in present {
            while let Some((passed, _)) = known.next_if(|(known, _)| &***known < key) {
                gone.push(passed);
            }
            let before = known.next_if(|(known, _)| &***known == key);
            let Some(value) = value else {
                if let Some((key, _)) = before {
                    next.values.remove(key);
                    changes.push(Change { key: key.clone(), version, value: None });
                }
                continue;
            };
            if before.is_some_and(|(_, stored)| (self.generation, stored.version) == (generation, version)) {
                count += 1;
                continue;
            }
            if !is_key(key) || value.len() > VALUE_BYTES_MAX || count >= KEYS_MAX {
                metrics::value_skipped();
                gone.extend(before.map(|(key, _)| key));
                continue;
            }
            count += 1;
            let (key, value): (Arc<str>, Arc<str>) =
                (before.map_or_else(|| key.into(), |(key, _)| key.clone()), value.into());
            changes.push(Change { key: key.clone(), version, value: Some(value.clone()) });
            next.values.insert(key, Stored { version, value });
        }
        for key in gone.into_iter().chain(known.map(|(key, _)| key)) {
            next.values.remove(key);
            changes.push(Change { key: key.clone(), version, value: None });
        }
        (next, changes)
    }

    /// The changes that take all of it away.
    pub(crate) fn vanish(&self) -> Vec<Change> {
        let gone = self.values.iter();
        gone.map(|(key, stored)| Change { key: key.clone(), version: stored.version, value: None }).collect()
    }
}

/// All values of all members.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values(pub(crate) BTreeMap<NodeName, Arc<MemberValues>>);

impl Values {
    /// Values whose keys begin with `prefix`, by member and then by key. Those of this crate are not among them.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Vec<Value> {
        let mut found = Vec::new();
        for (member, all) in &self.0 {
            let from = all.values.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
            let matching = from.take_while(|(key, _)| key.starts_with(prefix)).filter(|(key, _)| is_public(key));
            found.extend(matching.map(|(key, stored)| Value {
                member: member.clone(),
                generation: all.generation,
                key: key.clone(),
                version: stored.version,
                value: stored.value.clone(),
            }));
        }
        found
    }
}

/// Whether subscribers see it.
pub(crate) fn is_public(key: &str) -> bool {
    !key.starts_with(OWN_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty text stands for "taken back".
    fn changes(from: &MemberValues, generation: u64, present: &[(&str, u64, &str)]) -> (MemberValues, Vec<String>) {
        let present =
            present.iter().map(|(key, version, value)| (*key, *version, (!value.is_empty()).then_some(*value)));
        let (next, changes) = from.follow(generation, 99, present);
        let shown = changes.iter().map(|change| match &change.value {
            Some(value) => format!("{}={value}@{}", change.key, change.version),
            None => format!("{} gone@{}", change.key, change.version),
        });
        (next, shown.collect())
    }

    #[test]
    fn each_change_is_told_once() {
        let (first, told) = changes(&MemberValues::default(), 1, &[("a", 1, "x"), ("b", 2, "y")]);
        assert_eq!(told, ["a=x@1", "b=y@2"]);
        let (second, told) = changes(&first, 1, &[("a", 1, "x"), ("b", 3, "z")]);
        assert_eq!(told, ["b=z@3"]);
        let (third, told) = changes(&second, 1, &[("a", 4, ""), ("b", 3, "z")]);
        assert_eq!(told, ["a gone@4"]);
        let (fourth, told) = changes(&third, 1, &[("a", 4, "")]);
        assert_eq!(told, ["b gone@99"], "also when gossip forgot that it was taken back");
        assert!(fourth.values.is_empty());
    }

    #[test]
    fn a_new_life_is_told_in_full() {
        let (first, _) = changes(&MemberValues::default(), 1, &[("a", 1, "x"), ("b", 2, "y")]);
        let (second, told) = changes(&first, 2, &[("b", 2, "y"), ("c", 3, "z")]);
        assert_eq!(told, ["b=y@2", "c=z@3", "a gone@99"]);
        assert_eq!(second.generation, 2);
        assert_eq!(second.vanish().len(), 2);
    }

    #[test]
    fn what_breaks_the_rules_is_skipped() {
        let long = "v".repeat(VALUE_BYTES_MAX + 1);
        let (_, told) =
            changes(&MemberValues::default(), 1, &[("ok", 1, "x"), ("zlong", 2, &long), ("établi", 3, "x")]);
        assert_eq!(told, ["ok=x@1"]);
        let (first, _) = changes(&MemberValues::default(), 1, &[("a", 1, "x"), ("b", 2, "y")]);
        let (second, told) = changes(&first, 1, &[("a", 3, &long), ("b", 2, "y")]);
        assert_eq!(told, ["a gone@99"], "and what it replaces is gone");
        assert!(second.get("a").is_none() && second.get("b").is_some());
    }

    #[test]
    fn a_prefix_finds_its_keys_and_never_those_of_this_crate() {
        let (own, _) = changes(&MemberValues::default(), 1, &[("h/1", 1, "a"), ("i", 2, "b"), ("n/meta", 3, "c")]);
        let member = NodeName::try_from("m").unwrap();
        let values = Values(BTreeMap::from([(member, Arc::new(own))]));
        let keys = |prefix| values.with_prefix(prefix).iter().map(|value| value.key.to_string()).collect::<Vec<_>>();
        assert_eq!(keys("h/"), ["h/1"]);
        assert_eq!(keys(""), ["h/1", "i"]);
        assert_eq!(keys("n/"), Vec::<String>::new());
    }
}
