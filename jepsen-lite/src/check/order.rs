//! The one order of all writes, put together from every place where somebody told a log index.
//!
//! Sources are the replies to writes, the values that reads show with the revision that wrote them, the frames of watches,
//! and the log that nodes tell when the run is over. They must agree: an operation has one place, a place one operation,
//! and nothing is in the log that nobody asked for or that was said not to have happened.

use std::collections::BTreeMap;

use super::Finding;
use crate::history::{Answer, Held, History, OpId, Outcome, Seen};

/// Where each operation is in the log.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Operations that changed something, by log index.
    pub(super) changes: BTreeMap<u64, OpId>,
    /// The same the other way round.
    pub(super) places: BTreeMap<OpId, u64>,
    /// `changes` is all that happened.
    pub(super) is_complete: bool,
    pub(super) findings: Vec<Finding>,
}

impl Order {
    pub(super) fn of(history: &History) -> Self {
        let mut order = Self { is_complete: history.logs.iter().any(|log| log.complete), ..Self::default() };
        for log in &history.logs {
            for entry in &log.entries {
                match entry.op {
                    Some(op) => order.place(history, op, entry.revision, &format!("the log of {}", log.node)),
                    None => order.findings.push(Finding::invalid(
                        "phantom change",
                        format!("the log of {} holds a change at {} that nobody asked for", log.node, entry.revision),
                        [],
                    )),
                }
            }
        }
        order.compare_logs(history);
        for operation in history.operations.values() {
            match &operation.outcome {
                Outcome::Ok(Answer::Written { revision, changed: true, .. }) => {
                    order.place(history, operation.id, *revision, "the reply");
                }
                Outcome::Ok(Answer::Found { held: Some(held), .. }) => order.place_held(history, *held, operation.id),
                Outcome::Ok(Answer::Listed { items, .. }) => {
                    items.iter().for_each(|(_, held)| order.place_held(history, *held, operation.id));
                }
                _ => {}
            }
        }
        for (id, watch) in &history.watches {
            for (_, seen) in &watch.seen {
                match seen {
                    Seen::Put { revision, op, .. } | Seen::Removed { revision, op: Some(op), .. } => {
                        order.place(history, *op, *revision, &format!("watch {id}"));
                    }
                    _ => {}
                }
            }
        }
        order
    }

    fn place_held(&mut self, history: &History, held: Held, reader: OpId) {
        if self.places.get(&held.op) != Some(&held.modified) {
            self.place(history, held.op, held.modified, &format!("what operation {reader} read"));
        }
    }

    /// Notes that `op` is at `revision`, as `source` says.
    fn place(&mut self, history: &History, op: OpId, revision: u64, source: &str) {
        let Some(operation) = history.operations.get(&op) else {
            let what = format!("{source} shows operation {op} at {revision}, which no client ever began");
            return self.findings.push(Finding::invalid("phantom change", what, []));
        };
        if let Outcome::Fail { why, .. } = &operation.outcome
            && !self.places.contains_key(&op)
        {
            let what = format!(
                "{source} shows operation {op} at {revision}, whose client was told that it did not happen ({why})"
            );
            self.findings.push(Finding::invalid("failed write happened", what, [op]));
        }
        match self.places.get(&op) {
            Some(&known) if known == revision => return,
            Some(&known) => {
                let what = format!("{source} shows operation {op} at {revision}, and it is at {known} already");
                self.findings.push(Finding::invalid("applied twice", what, [op]));
            }
            None => {
                self.places.insert(op, revision);
            }
        }
        if let Some(&other) = self.changes.get(&revision)
            && other != op
        {
            let what = format!("{source} shows operation {op} at {revision}, where operation {other} is");
            self.findings.push(Finding::invalid("two writes at one revision", what, [other, op]));
        }
        self.changes.entry(revision).or_insert(op);
    }

    /// Logs of different nodes must be the same as far as both tell.
    fn compare_logs(&mut self, history: &History) {
        let complete: Vec<_> = history.logs.iter().filter(|log| log.complete).collect();
        let Some((first, others)) = complete.split_first() else { return };
        for other in others {
            let differs = first.entries.iter().zip(&other.entries).find(|(a, b)| a != b);
            let shorter = first.entries.len().min(other.entries.len());
            let at = differs.map(|(a, _)| a.revision).or_else(|| {
                let longer = if first.entries.len() > shorter { *first } else { *other };
                longer.entries.get(shorter).map(|entry| entry.revision)
            });
            if let Some(at) = at {
                let what = format!("the logs of {} and {} differ from revision {at} on", first.node, other.node);
                self.findings.push(Finding::invalid("diverged logs", what, []));
            }
        }
    }
}
