//! The watch checker: no gap, no double, in order, whatever node the watcher comes back to.
//!
//! It holds what each watch saw against the one order of all changes. A watch covers everything from where it began to the last
//! revision that it was told, and must have seen exactly the changes of its services in between.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::order::Order;
use super::{Finding, Judgement};
use crate::history::{History, OpId, Seen, Thing, Watch};

const FINDINGS_MAX: usize = 10;

pub(super) fn check(history: &History) -> Judgement {
    let mut judgement = Judgement::new("watch");
    let order = Order::of(history);
    let changes = Changes::of(history, &order);
    let (mut frames, mut connections) = (0_usize, 0_usize);
    for (id, watch) in &history.watches {
        let mut follower = Follower { id: *id, changes: &changes, services: &[], cursor: None, findings: Vec::new() };
        for (_, seen) in &watch.seen {
            frames += usize::from(matches!(seen, Seen::Put { .. } | Seen::Removed { .. }));
            connections += usize::from(matches!(seen, Seen::Opened { .. }));
            follower.follow(seen);
        }
        if history.recovered.is_some() && history.ended {
            follower.finish(watch);
        }
        judgement.findings.extend(follower.findings);
    }
    judgement.findings.truncate(FINDINGS_MAX);
    judgement.figure("watches", history.watches.len());
    judgement.figure("connections", connections);
    judgement.figure("changes seen", frames);
    judgement
}

/// All changes that a watch can show.
struct Changes<'h> {
    /// By revision: the operation, and what it changed.
    by_revision: BTreeMap<u64, (OpId, &'h Thing)>,
    /// By instance and revision: the operation that wrote it, or `None` for a removal.
    of_instances: BTreeMap<&'h Thing, BTreeMap<u64, Option<OpId>>>,
}

impl<'h> Changes<'h> {
    fn of(history: &'h History, order: &Order) -> Self {
        let mut changes = Self { by_revision: BTreeMap::new(), of_instances: BTreeMap::new() };
        for (&revision, op) in &order.changes {
            let Some(operation) = history.operations.get(op) else { continue };
            let Some((thing, _)) = operation.call.write() else { continue };
            if matches!(thing, Thing::Key { .. }) {
                continue;
            }
            changes.by_revision.insert(revision, (*op, thing));
            if matches!(thing, Thing::Instance { .. }) {
                let left = matches!(operation.call, crate::history::Call::Put { .. }).then_some(*op);
                changes.of_instances.entry(thing).or_default().insert(revision, left);
            }
        }
        changes
    }

    /// The instances that there are at a revision, each with who wrote it.
    fn snapshot(&self, revision: u64, services: &[String]) -> BTreeMap<&'h Thing, OpId> {
        let instances = self.of_instances.iter().filter(|(thing, _)| is_about(thing, services));
        let present =
            instances.filter_map(|(thing, writes)| Some((*thing, (*writes.range(..=revision).next_back()?.1)?)));
        present.collect()
    }
}

fn is_about(thing: &Thing, services: &[String]) -> bool {
    match thing {
        Thing::Instance { service, .. } | Thing::Config { service } => {
            services.is_empty() || services.contains(service)
        }
        Thing::Key { .. } => false,
    }
}

/// One watch, frame by frame.
struct Follower<'h> {
    id: u64,
    changes: &'h Changes<'h>,
    services: &'h [String],
    /// Everything up to here was told; `None` before a snapshot.
    cursor: Option<u64>,
    findings: Vec<Finding>,
}

impl<'h> Follower<'h> {
    fn follow(&mut self, seen: &'h Seen) {
        match seen {
            Seen::Opened { since, services, .. } => {
                self.services = services;
                self.cursor = *since;
            }
            Seen::Snapshot { revision, items } => self.snapshot(*revision, items),
            Seen::Put { revision, thing, op } => self.change(*revision, thing, Some(*op)),
            Seen::Removed { revision, thing, op } => self.change(*revision, thing, *op),
            Seen::Bookmark { revision } => {
                if self.cursor.is_some_and(|cursor| *revision < cursor) {
                    self.add(
                        "bookmark in the past",
                        format!("a bookmark at {revision} comes after {:?}", self.cursor),
                        [],
                    );
                }
                self.skip_to(revision + 1, "a bookmark", *revision);
                self.cursor = self.cursor.max(Some(*revision));
            }
            Seen::Compacted => self.cursor = None,
            Seen::Closed { .. } => {}
        }
    }

    fn snapshot(&mut self, revision: u64, items: &[(Thing, OpId)]) {
        let expected = self.changes.snapshot(revision, self.services);
        let shown: BTreeMap<&Thing, OpId> = items.iter().map(|(thing, op)| (thing, *op)).collect();
        let differing = expected
            .keys()
            .chain(shown.keys())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter(|thing| expected.get(**thing) != shown.get(**thing));
        let differing: Vec<String> = differing
            .take(3)
            .map(|thing| format!("{thing}: {:?} instead of {:?}", shown.get(*thing), expected.get(*thing)))
            .collect();
        if !differing.is_empty() {
            self.add("wrong snapshot", format!("the snapshot at {revision} shows {}", differing.join(", ")), []);
        }
        self.cursor = Some(revision);
    }

    fn change(&mut self, revision: u64, thing: &Thing, op: Option<OpId>) {
        let ops: Vec<OpId> = op.into_iter().collect();
        if self.cursor.is_some_and(|cursor| revision <= cursor) {
            self.add(
                "double or disorder",
                format!("the change of {thing} at {revision} comes after {:?}", self.cursor),
                ops.clone(),
            );
        }
        if !is_about(thing, self.services) {
            self.add("wrong service", format!("the change of {thing} at {revision} was not asked for"), ops.clone());
        }
        match self.changes.by_revision.get(&revision) {
            Some((expected, at)) if op.is_some_and(|op| op != *expected) || *at != thing => {
                self.add(
                    "wrong event",
                    format!("at {revision} it shows {thing} by {op:?}, and that was {at} by {expected}"),
                    ops,
                );
            }
            _ => {}
        }
        self.skip_to(revision, "an event", revision);
        self.cursor = self.cursor.max(Some(revision));
    }

    /// Nothing of the watch's services may lie after the cursor and before `end`.
    fn skip_to(&mut self, end: u64, what: &str, told: u64) {
        let Some(cursor) = self.cursor.filter(|cursor| *cursor < end) else { return };
        let range = (Bound::Excluded(cursor), Bound::Excluded(end));
        let missed = self.changes.by_revision.range(range).find(|(_, (_, thing))| is_about(thing, self.services));
        if let Some((revision, (op, thing))) = missed {
            let text = format!("the change of {thing} at {revision} is missing: {what} at {told} follows {cursor}");
            self.add("gap", text, [*op]);
        }
    }

    /// In the end every watch must have come to the last change.
    fn finish(&mut self, watch: &Watch) {
        let last = self.changes.by_revision.iter().rev().find(|(_, (_, thing))| is_about(thing, self.services));
        if let Some((revision, (op, thing))) = last
            && self.cursor.is_none_or(|cursor| cursor < *revision)
        {
            let frames = watch.seen.len();
            let text = format!(
                "it never came to the last change, of {thing} at {revision}; it is at {:?} after {frames} frames",
                self.cursor
            );
            self.add("stuck", text, [*op]);
        }
    }

    fn add(&mut self, kind: &'static str, what: String, ops: impl Into<Vec<OpId>>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding::invalid(kind, format!("watch {}: {what}", self.id), ops));
        }
    }
}
