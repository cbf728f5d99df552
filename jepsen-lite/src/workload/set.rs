//! Many instances: each is registered once under an id of its own, perhaps deregistered once, and listed over and over.
//!
//! Ids are never used again, so an instance that is there after its removal was acknowledged came back from the dead.
//! Writes are tried again at other nodes under the same idempotency key, and some are sent twice on purpose.

use std::sync::Arc;

use rollcall_api::query::Consistency;

use super::{Generator, Shared, Step};
use crate::client::Insistence;
use crate::dice::Dice;
use crate::history::{Call, Expect, OpId, Outcome, Thing};

/// Operations after which another service is used: what a listing shows stays short.
const OPS_PER_SERVICE: u64 = 500;

/// Instances of one client.
pub(super) struct Set {
    shared: Arc<Shared>,
    client: usize,
    serial: u64,
    /// Instances of this client that were acknowledged and may be removed.
    removable: Vec<Thing>,
    /// The revision of this client's last acknowledged write.
    written: u64,
}

fn service(begun: u64) -> String {
    format!("set-{}", begun / OPS_PER_SERVICE)
}

/// All services that were used when `begun` operations were begun.
pub(super) fn services(begun: u64) -> Vec<String> {
    (0..=begun / OPS_PER_SERVICE).map(|number| format!("set-{number}")).collect()
}

impl Set {
    pub(super) fn new(shared: Arc<Shared>, client: usize) -> Self {
        Self { shared, client, serial: 0, removable: Vec::new(), written: 0 }
    }
}

impl Generator for Set {
    fn next(&mut self, dice: &mut Dice) -> Step {
        let service = service(self.shared.begun());
        let list = |consistency, min_revision| Call::List { service: service.clone(), consistency, min_revision };
        let choice = dice.below(100);
        let removable = if choice < 25 { dice.below(self.removable.len()) } else { 0 };
        let call = match choice {
            0..25 if !self.removable.is_empty() => {
                Call::Remove { thing: self.removable.swap_remove(removable), expect: Expect::Any }
            }
            25..29 => list(Consistency::Linearizable, None),
            29..31 => list(Consistency::Leader, None),
            31..33 => list(Consistency::Stale, None),
            33..35 => list(Consistency::Stale, Some(self.written)),
            _ => {
                self.serial += 1;
                let thing = Thing::instance(&service, &format!("i-{}-{}", self.client, self.serial));
                Call::Put { thing, expect: Expect::Any }
            }
        };
        let is_write = call.write().is_some();
        let insistence = Insistence { retries: if is_write { 3 } else { 0 }, again: is_write && dice.chance(5) };
        Step { call, insistence }
    }

    fn observe(&mut self, _: OpId, call: &Call, outcome: &Outcome) {
        let Outcome::Ok(answer) = outcome else { return };
        match call {
            Call::Put { thing, .. } => {
                self.written = self.written.max(answer.revision().unwrap_or_default());
                self.removable.push(thing.clone());
            }
            Call::Remove { .. } => self.written = self.written.max(answer.revision().unwrap_or_default()),
            _ => {}
        }
    }
}
