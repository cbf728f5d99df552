//! What clients wrote and read, and whether that keeps the promises.
//!
//! Each register has one writer, which counts up and never goes on after a write whose outcome it does not know. So whatever is
//! read lies between what was acknowledged and what was attempted, and no search for an order is needed (`jepsen-lite` has
//! one, for registers with many writers).

use std::collections::BTreeMap;
use std::time::Duration;

/// A stale read says in whole milliseconds how old it may be, and hosts of the simulation take turns within one.
const STALENESS_SLACK: Duration = Duration::from_millis(5);

/// One register: an instance whose metadata holds a number.
#[derive(Debug, Default)]
struct Register {
    attempted: u64,
    /// What was acknowledged, and when; both rise.
    acknowledged: Vec<(Duration, u64)>,
    /// The highest number that is known to be in force, from acknowledgements and linearizable reads.
    floor: u64,
}

/// All registers.
#[derive(Debug, Default)]
pub(crate) struct History {
    registers: BTreeMap<String, Register>,
    pub(crate) writes: u64,
    pub(crate) unknown: u64,
    pub(crate) reads: u64,
    pub(crate) stale_reads: u64,
    /// What broke a promise.
    pub(crate) findings: Vec<String>,
}

impl History {
    /// The writer of `id` begins to write the number that this answers.
    pub(crate) fn begin_write(&mut self, id: &str) -> u64 {
        let register = self.registers.entry(id.to_owned()).or_default();
        register.attempted += 1;
        register.attempted
    }

    /// The write surely did not happen.
    pub(crate) fn not_sent(&mut self, id: &str) {
        if let Some(register) = self.registers.get_mut(id) {
            register.attempted -= 1;
        }
    }

    /// The write was acknowledged.
    pub(crate) fn acknowledge(&mut self, id: &str, number: u64, now: Duration) {
        self.writes += 1;
        if let Some(register) = self.registers.get_mut(id) {
            register.acknowledged.push((now, number));
            register.floor = register.floor.max(number);
        }
    }

    /// The ids of all registers.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.registers.keys().cloned().collect()
    }

    /// What a linearizable read that begins now must see at least.
    pub(crate) fn floor(&self, id: &str) -> u64 {
        self.registers.get(id).map_or(0, |register| register.floor)
    }

    /// A linearizable read on `node` ended, which had to see `floor`.
    pub(crate) fn linearizable_read(&mut self, node: &str, id: &str, floor: u64, seen: u64, now: Duration) {
        self.reads += 1;
        let Some(register) = self.registers.get_mut(id) else { return };
        if seen < floor {
            self.findings.push(format!("at {now:?} a linearizable read of {id} on {node} shows {seen}, below {floor}"));
        }
        register.floor = register.floor.max(seen);
        self.check_attempted(node, id, seen, now);
    }

    /// A stale read on `node` ended, which began at `began` and says how old it may be.
    pub(crate) fn stale_read(&mut self, node: &str, id: &str, began: Duration, staleness: Option<Duration>, seen: u64) {
        self.stale_reads += 1;
        let Some(register) = self.registers.get(id) else { return };
        if let Some(horizon) = staleness.and_then(|age| began.checked_sub(age + STALENESS_SLACK)) {
            let due = register.acknowledged.iter().take_while(|(at, _)| *at <= horizon).last();
            if let Some((at, number)) = due.filter(|(_, number)| *number > seen) {
                self.findings.push(format!(
                    "at {began:?} a stale read of {id} on {node} shows {seen} and says that it is at most {staleness:?} old, \
                     but {number} was acknowledged at {at:?}"
                ));
            }
        }
        self.check_attempted(node, id, seen, began);
    }

    fn check_attempted(&mut self, node: &str, id: &str, seen: u64, now: Duration) {
        let attempted = self.registers.get(id).map_or(0, |register| register.attempted);
        if seen > attempted {
            self.findings
                .push(format!("at {now:?} a read of {id} on {node} shows {seen}; nobody wrote more than {attempted}"));
        }
    }
}
