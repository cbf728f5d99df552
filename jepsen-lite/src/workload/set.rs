//! Many instances: each is registered once, perhaps deregistered once, and listed over and over.
//!
//! Writes are tried again at other nodes under the same idempotency key, and some are sent twice on purpose.

use std::sync::Arc;

use rollcall_api::query::Consistency;

use super::comings::{self, Comings};
use super::{Generator, Shared, Step};
use crate::client::Insistence;
use crate::dice::Dice;
use crate::history::{Call, OpId, Outcome};

const PREFIX: &str = "set";

/// One client.
pub(super) struct Set(Comings);

/// All services that were used when `begun` operations were begun.
pub(super) fn services(begun: u64) -> Vec<String> {
    comings::services(PREFIX, begun)
}

impl Set {
    pub(super) fn new(shared: Arc<Shared>, client: usize) -> Self {
        Self(Comings::new(shared, PREFIX, client))
    }
}

impl Generator for Set {
    fn next(&mut self, dice: &mut Dice) -> Step {
        let (service, written) = (self.0.service(), self.0.written);
        let list = |consistency, min_revision| Call::List { service, consistency, min_revision };
        let call = match dice.below(100) {
            0..25 => self.0.remove(dice),
            25..29 => list(Consistency::Linearizable, None),
            29..31 => list(Consistency::Leader, None),
            31..33 => list(Consistency::Stale, None),
            33..35 => list(Consistency::Stale, Some(written)),
            _ => self.0.put(),
        };
        let is_write = call.write().is_some();
        let insistence = Insistence { retries: if is_write { 3 } else { 0 }, again: is_write && dice.chance(5) };
        Step { call, insistence }
    }

    fn observe(&mut self, _: OpId, call: &Call, outcome: &Outcome) {
        self.0.observe(call, outcome);
    }
}
