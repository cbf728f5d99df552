//! A history as checkers see it: events put together to operations, faults, watches and logs.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::event::{Event, FaultPhase, LogEntry, RunInfo, Seen};
use super::op::{Call, OpId, Outcome};

/// An operation from its call to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) id: OpId,
    pub(crate) client: u64,
    pub(crate) node: String,
    pub(crate) call: Call,
    pub(crate) invoked: u64,
    /// When it ended; `u64::MAX` for one that is still open, or whose outcome nobody knows: it may happen at any time.
    pub(crate) returned: u64,
    /// When its client went on, with an answer or without; `u64::MAX` for one that is still open.
    pub(crate) left: u64,
    pub(crate) outcome: Outcome,
}

impl Operation {
    /// The log index of its answer: of the write, that a read shows, or at which a precondition did not hold.
    pub(crate) fn revision(&self) -> Option<u64> {
        match &self.outcome {
            Outcome::Ok(answer) => answer.revision(),
            Outcome::Fail { revision, .. } => *revision,
            Outcome::Info { .. } => None,
        }
    }
}

/// A fault from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) name: String,
    pub(crate) note: String,
    pub(crate) begun: u64,
    /// `None`: it lasted until the heal.
    pub(crate) ended: Option<u64>,
    /// It could not be made, or hit nothing.
    pub(crate) skipped: bool,
    /// The nodes that it was made of; none of what is made of links, or where nobody says.
    pub(crate) hit: Vec<String>,
    /// Where packets between nodes were lost: longest time in which no gossip of a node, or none for one, arrived, milliseconds.
    pub(crate) unheard_ms: Option<u64>,
}

impl Fault {
    /// Whether something was wrong because of it: also one that could not be made may have hit nodes until then.
    pub(crate) fn has_touched(&self) -> bool {
        !self.skipped || !self.hit.is_empty()
    }
}

/// Everything one watch saw, with times.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Watch {
    pub(crate) seen: Vec<(u64, Seen)>,
}

/// The log as a node told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) node: String,
    pub(crate) complete: bool,
    pub(crate) entries: Vec<LogEntry>,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct History {
    pub(crate) run: RunInfo,
    /// By id.
    pub(crate) operations: BTreeMap<OpId, Operation>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) watches: BTreeMap<u64, Watch>,
    pub(crate) logs: Vec<Log>,
    /// Node and what happened to it that must not.
    pub(crate) troubles: Vec<(u64, String, String)>,
    pub(crate) healed: Option<u64>,
    pub(crate) recovered: Option<u64>,
    /// After the heal nodes were not run so often that nothing can be said of when something expires.
    pub(crate) starved: bool,
    /// From when to when the harness was not run.
    pub(crate) stalls: Vec<(u64, u64)>,
    /// The run ended in order.
    pub(crate) ended: bool,
    /// The time of the last event.
    pub(crate) until: u64,
}

impl History {
    /// Puts events together.
    ///
    /// # Errors
    /// When they cannot come from one run: an end without a beginning, two of either, a client with two operations under
    /// way.
    pub(crate) fn of(events: Vec<Event>) -> Result<Self> {
        let mut history = Self::default();
        let mut busy: BTreeMap<u64, OpId> = BTreeMap::new();
        for event in events {
            history.add(event, &mut busy)?;
        }
        Ok(history)
    }

    fn add(&mut self, event: Event, busy: &mut BTreeMap<u64, OpId>) -> Result<()> {
        match event {
            Event::Run(run) => self.run = run,
            Event::Invoke { at, op, client, node, call } => {
                self.until = self.until.max(at);
                if let Some(other) = busy.insert(client, op) {
                    bail!("client {client} began operation {op} while {other} was under way");
                }
                let outcome = Outcome::Info { why: "still open when the history ends".to_owned() };
                let operation =
                    Operation { id: op, client, node, call, invoked: at, returned: u64::MAX, left: u64::MAX, outcome };
                if self.operations.insert(op, operation).is_some() {
                    bail!("operation {op} begins twice");
                }
            }
            Event::Return { at, op, outcome } => {
                self.until = self.until.max(at);
                let Some(operation) = self.operations.get_mut(&op) else {
                    bail!("operation {op} ends and never began")
                };
                if busy.remove(&operation.client) != Some(op) {
                    bail!("operation {op} ends twice");
                }
                operation.left = at;
                operation.returned = if matches!(outcome, Outcome::Info { .. }) { u64::MAX } else { at };
                operation.outcome = outcome;
            }
            Event::Fault { at, id, fault, phase, note, hit, unheard_ms } => {
                self.until = self.until.max(at);
                match phase {
                    FaultPhase::Begun | FaultPhase::Skipped => {
                        let skipped = phase == FaultPhase::Skipped;
                        let (name, begun, ended) = (fault, at, None);
                        self.begin_fault(id, Fault { name, note, begun, ended, skipped, hit, unheard_ms })?;
                    }
                    FaultPhase::Ended => {
                        self.end_fault(at, id, unheard_ms)?;
                    }
                    FaultPhase::Missed => {
                        let fault = self.end_fault(at, id, unheard_ms)?;
                        (fault.skipped, fault.note) = (true, format!("it hit nothing: {note}"));
                    }
                }
            }
            Event::Seen { at, watch, seen } => {
                self.until = self.until.max(at);
                self.watches.entry(watch).or_default().seen.push((at, seen));
            }
            Event::Log { at, node, complete, entries } => {
                self.until = self.until.max(at);
                self.logs.push(Log { node, complete, entries });
            }
            Event::Trouble { at, node, what } => self.troubles.push((at, node, what)),
            Event::Healed { at } => self.healed = Some(at),
            Event::Recovered { at } => self.recovered = Some(at),
            Event::Stalled { at, ms } => {
                self.stalls.push((at.saturating_sub(ms.saturating_mul(1_000_000)), at));
            }
            Event::Starved { .. } => self.starved = true,
            Event::End { at } => {
                self.until = self.until.max(at);
                self.ended = true;
            }
        }
        Ok(())
    }

    /// Faults are numbered in the order in which they begin.
    fn begin_fault(&mut self, id: u64, fault: Fault) -> Result<()> {
        if u64::try_from(self.faults.len())? != id {
            bail!("fault {id} is out of order");
        }
        self.faults.push(fault);
        Ok(())
    }

    fn end_fault(&mut self, at: u64, id: u64, unheard_ms: Option<u64>) -> Result<&mut Fault> {
        let Some(fault) = self.faults.get_mut(usize::try_from(id)?) else { bail!("fault {id} ends and never began") };
        (fault.ended, fault.unheard_ms) = (Some(at), unheard_ms);
        Ok(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Answer, Expect, Thing};

    fn put(op: OpId, client: u64) -> Event {
        let call = Call::Put { thing: Thing::instance("web", "1"), expect: Expect::Any };
        Event::Invoke { at: op * 10, op, client, node: "n1".to_owned(), call }
    }

    fn returned(op: OpId) -> Event {
        let answer = Answer::Removed { revision: op, again: None };
        Event::Return { at: op * 10 + 5, op, outcome: Outcome::Ok(answer) }
    }

    #[test]
    fn an_operation_under_way_at_the_end_is_open_for_ever() {
        let history = History::of(vec![put(1, 0), put(2, 1), returned(2)]).unwrap();
        assert_eq!(history.operations[&1].returned, u64::MAX);
        assert!(matches!(history.operations[&1].outcome, Outcome::Info { .. }));
        assert_eq!(history.operations[&2].revision(), Some(2));
    }

    #[test]
    fn a_history_that_no_run_can_have_is_refused() {
        for events in [
            vec![put(1, 0), put(2, 0)],
            vec![put(1, 0), put(1, 1)],
            vec![returned(1)],
            vec![put(1, 0), returned(1), returned(1)],
        ] {
            assert!(History::of(events.clone()).is_err(), "{events:?}");
        }
    }

    #[test]
    fn a_fault_that_hit_nothing_counts_as_skipped() {
        let fault = |at, phase, note: &str| {
            let (fault, note) = ("duplication".to_owned(), note.to_owned());
            Event::Fault { at, id: 0, fault, phase, note, hit: Vec::new(), unheard_ms: None }
        };
        let begun = fault(10, FaultPhase::Begun, "20 links: doubled 30–30 %");
        let history = |end| History::of(vec![begun.clone(), end]).unwrap().faults.remove(0);
        let missed = history(fault(20, FaultPhase::Missed, "of 0 packets 0 doubled"));
        assert_eq!((missed.skipped, missed.ended), (true, Some(20)));
        assert_eq!(missed.note, "it hit nothing: of 0 packets 0 doubled");
        assert!(!history(fault(20, FaultPhase::Ended, "")).skipped);
        assert!(History::of(vec![fault(20, FaultPhase::Missed, "")]).is_err());
    }

    #[test]
    fn events_read_back_as_they_were_written() {
        for event in [put(1, 0), returned(1), Event::End { at: 7 }] {
            let line = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event, "{line}");
        }
    }
}
