//! Instances of one client that come and go: each is registered once under an id of its own and perhaps deregistered once.
//!
//! Ids are never used again, so an instance that is there after its removal was acknowledged came back from the dead. The service
//! changes as the run goes on: what a listing of one shows stays short.

use std::sync::Arc;

use super::Shared;
use crate::dice::Dice;
use crate::history::{Call, Expect, Outcome, Thing};

/// Operations after which another service is used.
const OPS_PER_SERVICE: u64 = 500;

/// Instances of one client.
pub(super) struct Comings {
    shared: Arc<Shared>,
    prefix: &'static str,
    client: usize,
    serial: u64,
    /// Instances of this client that were acknowledged and may be removed.
    removable: Vec<Thing>,
    /// The revision of this client's last acknowledged write.
    pub(super) written: u64,
}

fn service(prefix: &str, begun: u64) -> String {
    format!("{prefix}-{}", begun / OPS_PER_SERVICE)
}

/// All services with this prefix that were used when `begun` operations were begun.
pub(super) fn services(prefix: &str, begun: u64) -> Vec<String> {
    (0..=begun / OPS_PER_SERVICE).map(|number| service(prefix, number * OPS_PER_SERVICE)).collect()
}

impl Comings {
    pub(super) fn new(shared: Arc<Shared>, prefix: &'static str, client: usize) -> Self {
        Self { shared, prefix, client, serial: 0, removable: Vec::new(), written: 0 }
    }

    /// The service of now.
    pub(super) fn service(&self) -> String {
        service(self.prefix, self.shared.begun())
    }

    /// Registers one more.
    pub(super) fn put(&mut self) -> Call {
        self.serial += 1;
        let thing = Thing::instance(&self.service(), &format!("i-{}-{}", self.client, self.serial));
        Call::Put { thing, expect: Expect::Any }
    }

    /// Deregisters one of those that are there, or registers one more when there is none.
    pub(super) fn remove(&mut self, dice: &mut Dice) -> Call {
        let chosen = dice.below(self.removable.len());
        match self.removable.is_empty() {
            true => self.put(),
            false => Call::Remove { thing: self.removable.swap_remove(chosen), expect: Expect::Any },
        }
    }

    /// Takes note of how an operation ended.
    pub(super) fn observe(&mut self, call: &Call, outcome: &Outcome) {
        let Outcome::Ok(answer) = outcome else { return };
        if call.write().is_some() {
            self.written = self.written.max(answer.revision().unwrap_or_default());
        }
        if let Call::Put { thing, .. } = call {
            self.removable.push(thing.clone());
        }
    }
}
