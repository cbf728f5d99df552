//! Single instances as registers: put, compare-and-set, remove, read at every consistency.
//!
//! Five registers are in use at a time and each for some hundred operations, as the run's options say, so that what the
//! linearizability checker looks at stays short.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_api::query::Consistency;

use super::{Generator, Shared, Step};
use crate::client::Insistence;
use crate::dice::Dice;
use crate::history::{Answer, Call, Expect, Held, OpId, Outcome, Thing};

/// Registers in use at the same time.
const ACTIVE: u64 = 5;
/// Instance id of every register.
const ID: &str = "register";

/// Registers of one client.
pub(super) struct Registers {
    shared: Arc<Shared>,
    /// What this client last saw of a register.
    seen: BTreeMap<Thing, Option<Held>>,
    /// The revision of this client's last acknowledged write.
    written: u64,
}

/// The first of the registers in use when `begun` operations were begun, of which each takes so many.
fn first_active(begun: u64, operations: u64) -> u64 {
    begun / (ACTIVE * operations) * ACTIVE
}

fn service(register: u64) -> String {
    format!("register-{register}")
}

/// All services that were used when `begun` operations were begun.
pub(super) fn services(begun: u64, operations: u64) -> Vec<String> {
    (0..first_active(begun, operations) + ACTIVE).map(service).collect()
}

impl Registers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, seen: BTreeMap::new(), written: 0 }
    }

    fn draw(&self, dice: &mut Dice) -> Call {
        let register = first_active(self.shared.begun(), self.shared.per_register) + dice.below(ACTIVE as usize) as u64;
        let thing = Thing::instance(&service(register), ID);
        let get = |consistency, min_revision| Call::Get { thing: thing.clone(), consistency, min_revision };
        match dice.below(100) {
            0..30 => get(Consistency::Linearizable, None),
            30..38 => get(Consistency::Leader, None),
            38..46 => get(Consistency::Stale, None),
            46..52 => get(Consistency::Stale, Some(self.written)),
            52..72 => Call::Put { thing, expect: Expect::Any },
            72..92 => Call::Put { expect: self.expect(&thing), thing },
            92..96 => Call::Remove { thing, expect: Expect::Any },
            _ => Call::Remove { expect: self.expect(&thing), thing },
        }
    }

    /// The condition that nothing changed since this client looked.
    fn expect(&self, thing: &Thing) -> Expect {
        match self.seen.get(thing) {
            Some(Some(held)) => Expect::At { revision: held.modified, by: held.op },
            Some(None) => Expect::Absent,
            None => Expect::Exists,
        }
    }
}

impl Generator for Registers {
    fn next(&mut self, dice: &mut Dice) -> Step {
        let call = self.draw(dice);
        let (retries, again) = (if dice.chance(20) { 2 } else { 0 }, dice.chance(3));
        // A read tells of the node that was asked.
        let retries = if call.write().is_some() { retries } else { 0 };
        Step { call, insistence: Insistence { retries, again } }
    }

    fn observe(&mut self, op: OpId, call: &Call, outcome: &Outcome) {
        let Outcome::Ok(answer) = outcome else {
            // A refusal says that somebody else was there: look again before the next condition.
            if let Some((thing, _)) = call.write() {
                self.seen.remove(thing);
            }
            return;
        };
        let held = match answer {
            Answer::Written { modified, .. } => Some(Held { op, modified: *modified }),
            Answer::Found { held, .. } => *held,
            _ => None,
        };
        match call {
            Call::Put { thing, .. } | Call::Remove { thing, .. } => {
                self.written = self.written.max(answer.revision().unwrap_or_default());
                self.seen.insert(thing.clone(), held);
            }
            Call::Get { thing, .. } => {
                self.seen.insert(thing.clone(), held);
            }
            _ => {}
        }
    }
}
