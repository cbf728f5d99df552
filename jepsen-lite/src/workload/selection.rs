//! Instances that come and go, and callers who ask any node whom of them to send requests to.
//!
//! An answer names the revision of the registrations that it was picked from, so whoever was gone at that revision must not be in
//! it, on whatever node and under whatever fault.

use std::sync::Arc;

use rollcall_api::query::Consistency;

use super::comings::{self, Comings};
use super::{Generator, Shared, Step};
use crate::client::Insistence;
use crate::dice::Dice;
use crate::history::{Call, OpId, Outcome};

const PREFIX: &str = "pick";
/// Most instances that are asked for at once.
const PICKS_MAX: usize = 4;

/// One client.
pub(super) struct Selection(Comings);

/// All services that were used when `begun` operations were begun.
pub(super) fn services(begun: u64) -> Vec<String> {
    comings::services(PREFIX, begun)
}

impl Selection {
    pub(super) fn new(shared: Arc<Shared>, client: usize) -> Self {
        Self(Comings::new(shared, PREFIX, client))
    }
}

impl Generator for Selection {
    fn next(&mut self, dice: &mut Dice) -> Step {
        let (service, written, n) = (self.0.service(), self.0.written, 1 + dice.below(PICKS_MAX));
        let select = |consistency, min_revision| Call::Select { service, n, consistency, min_revision };
        let call = match dice.below(100) {
            0..20 => self.0.remove(dice),
            20..40 => self.0.put(),
            40..50 => select(Consistency::Linearizable, None),
            50..65 => select(Consistency::Stale, Some(written)),
            _ => select(Consistency::Stale, None),
        };
        let insistence = Insistence { retries: if call.write().is_some() { 3 } else { 0 }, again: false };
        Step { call, insistence }
    }

    fn observe(&mut self, _: OpId, call: &Call, outcome: &Outcome) {
        self.0.observe(call, outcome);
    }
}
