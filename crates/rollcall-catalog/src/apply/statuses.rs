//! Writing down what all observers agreed on.

use std::sync::Arc;

use rollcall_types::{ENTRY_TRANSITIONS_MAX, Revision};

use crate::catalog::Done;
use crate::{Catalog, Change, Refusal, Reply, StatusChange, Transition};

impl Catalog {
    /// Journals transitions. The proposer's catalogue may have been older than this one, so what fits no longer is passed over.
    ///
    /// Neither the instances nor their services count as changed: nothing that was registered is different.
    pub(super) fn record_statuses(&mut self, revision: Revision, changes: &[StatusChange]) -> Result<Done, Refusal> {
        if changes.len() > ENTRY_TRANSITIONS_MAX {
            return Err(Refusal::TooManyTransitions { count: changes.len() as u64, max: ENTRY_TRANSITIONS_MAX as u64 });
        }
        let transitions: Arc<[Transition]> =
            changes.iter().filter_map(|change| self.record_status(revision, change)).collect();
        if !transitions.is_empty() {
            self.indexes.statuses = revision;
        }
        let reply = Reply::StatusesRecorded { transitions: transitions.len() as u64 };
        Ok(Done::new(reply, (!transitions.is_empty()).then_some(Change::StatusesChanged { transitions })))
    }

    fn record_status(&mut self, revision: Revision, change: &StatusChange) -> Option<Transition> {
        let instance = self.instance(&change.service, &change.id).filter(|found| found.created == change.created)?;
        let before = self.journaled(instance);
        if (before.status, before.checks) == (change.to, change.checks) {
            return None;
        }
        let transition = Transition {
            service: instance.service.clone(),
            id: instance.id.clone(),
            slot: instance.slot,
            from: before.status,
            to: change.to,
            cause: change.cause,
        };
        self.slots.record(transition.slot, before.turned(change, self.clock, revision));
        Some(transition)
    }
}
