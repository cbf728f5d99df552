//! Instances that live by heartbeats, which go to whatever node answers; some fall silent for good.
//!
//! Whoever sends its heartbeats in time is never `critical` on any node; who is silent is, on every node, soon after its TTL.

use std::time::Duration;

use tokio::time::Instant;

use super::{Generator, Step};
use crate::client::Insistence;
use crate::dice::Dice;
use crate::history::{Call, Expect, OpId, Outcome, Thing};

/// The one service whose instances have a lease.
pub(crate) const SERVICE: &str = "leases";
/// Longest silence of an instance, milliseconds.
pub(crate) const TTL_MS: u64 = 3_000;
/// Longest time until all nodes know that the silent are silent: a node may have to be found dead, and give a TTL of grace.
pub(crate) const LATE: Duration = Duration::from_millis(2 * TTL_MS + 10_000);
/// Instances that are looked at when all is over.
pub(crate) const LOOKED_AT_MAX: usize = 24;
/// Between two heartbeats of an instance, milliseconds.
const BEAT_MS: u128 = 800;
/// Instances that a client keeps alive.
const KEPT: usize = 4;
/// Silent instances that a client still looks at.
const SILENT_MAX: usize = 4;

/// Whether instances of a service are registered with a lease.
pub(crate) fn is_leased(service: &str) -> bool {
    service == SERVICE
}

/// An instance that was registered, and its last heartbeat.
struct Kept {
    thing: Thing,
    beaten: Instant,
}

/// Instances of one client.
pub(super) struct Leases {
    client: usize,
    serial: u64,
    kept: Vec<Kept>,
    silent: Vec<Thing>,
}

impl Leases {
    pub(super) fn new(client: usize) -> Self {
        Self { client, serial: 0, kept: Vec::new(), silent: Vec::new() }
    }

    fn look(&self, dice: &mut Dice) -> Option<Call> {
        let all = self.kept.iter().map(|kept| &kept.thing).chain(&self.silent).collect::<Vec<_>>();
        dice.pick(&all).map(|thing| Call::Look { thing: (*thing).clone() })
    }
}

impl Generator for Leases {
    fn next(&mut self, dice: &mut Dice) -> Step {
        let retry = |call| Step { call, insistence: Insistence { retries: 4, again: false } };
        // Heartbeats that are due come before everything else, the longest silent first.
        let due = self.kept.iter_mut().max_by_key(|kept| kept.beaten.elapsed());
        if let Some(kept) = due.filter(|kept| kept.beaten.elapsed().as_millis() >= BEAT_MS) {
            kept.beaten = Instant::now();
            return retry(Call::Beat { thing: kept.thing.clone() });
        }
        if self.kept.len() >= KEPT && dice.chance(2) {
            let fallen = dice.below(self.kept.len());
            self.silent.push(self.kept.swap_remove(fallen).thing);
            if self.silent.len() > SILENT_MAX {
                self.silent.remove(0);
            }
        }
        match self.look(dice) {
            Some(call) if self.kept.len() >= KEPT => Step { call, insistence: Insistence::default() },
            _ => {
                self.serial += 1;
                let thing = Thing::instance(SERVICE, &format!("i-{}-{}", self.client, self.serial));
                retry(Call::Put { thing, expect: Expect::Any })
            }
        }
    }

    fn observe(&mut self, _: OpId, call: &Call, outcome: &Outcome) {
        if let (Call::Put { thing, .. }, Outcome::Ok(_)) = (call, outcome) {
            self.kept.push(Kept { thing: thing.clone(), beaten: Instant::now() });
        }
    }
}
