//! Configuration documents and keys: compare-and-set by many writers, and reading one's own writes anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_api::query::Consistency;

use super::{Generator, Shared, Step};
use crate::client::Insistence;
use crate::dice::Dice;
use crate::history::{Answer, Call, Expect, Held, OpId, Outcome, Thing};

/// Things of each kind in use at the same time.
const ACTIVE: usize = 3;
/// Operations after which other things are used.
const OPS_PER_GROUP: u64 = 1800;

/// Documents and keys of one client.
pub(super) struct Documents {
    shared: Arc<Shared>,
    seen: BTreeMap<Thing, Option<Held>>,
    written: u64,
}

impl Documents {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, seen: BTreeMap::new(), written: 0 }
    }

    fn thing(&self, dice: &mut Dice) -> Thing {
        let name = format!("doc-{}-{}", self.shared.begun() / OPS_PER_GROUP, dice.below(ACTIVE));
        if dice.chance(50) { Thing::Config { service: name } } else { Thing::Key { key: name } }
    }

    fn expect(&self, thing: &Thing) -> Expect {
        match self.seen.get(thing) {
            Some(Some(held)) => Expect::At { revision: held.modified, by: held.op },
            Some(None) => Expect::Absent,
            None => Expect::Exists,
        }
    }
}

impl Generator for Documents {
    fn next(&mut self, dice: &mut Dice) -> Step {
        let thing = self.thing(dice);
        let get = |consistency, min_revision| Call::Get { thing: thing.clone(), consistency, min_revision };
        let call = match dice.below(100) {
            0..30 => get(Consistency::Linearizable, None),
            30..50 => get(Consistency::Stale, Some(self.written)),
            50..55 => get(Consistency::Stale, None),
            55..65 => Call::Put { thing, expect: Expect::Any },
            65..70 if matches!(thing, Thing::Key { .. }) => Call::Remove { expect: self.expect(&thing), thing },
            _ => Call::Put { expect: self.expect(&thing), thing },
        };
        let (retries, again) = (if dice.chance(30) { 2 } else { 0 }, dice.chance(3));
        // A read tells of the node that was asked.
        let retries = if call.write().is_some() { retries } else { 0 };
        Step { call, insistence: Insistence { retries, again } }
    }

    fn observe(&mut self, op: OpId, call: &Call, outcome: &Outcome) {
        let thing = match call {
            Call::Put { thing, .. } | Call::Remove { thing, .. } | Call::Get { thing, .. } => thing,
            _ => return,
        };
        match outcome {
            Outcome::Ok(answer) => {
                let held = match answer {
                    Answer::Written { modified, .. } => Some(Held { op, modified: *modified }),
                    Answer::Found { held, .. } => *held,
                    _ => None,
                };
                if call.write().is_some() {
                    self.written = self.written.max(answer.revision().unwrap_or_default());
                }
                self.seen.insert(thing.clone(), held);
            }
            _ if call.write().is_some() => {
                self.seen.remove(thing);
            }
            _ => {}
        }
    }
}
