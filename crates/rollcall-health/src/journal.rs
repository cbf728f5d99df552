//! What the leader writes to the log of what all observers agree on: transitions in batches, and reaps.
//!
//! ```text
//! Agreed → Journal::note … next_entry → one log entry → critical_since in the catalogue → decide → Deregister
//! ```
//! The log has the order of history; serving does not wait for it. So a transition may be late, and one that is undone before
//! it was written is not written at all.
//!
//! **Few entries.** At most one entry is under way, with up to [`ENTRY_TRANSITIONS_MAX`] transitions. After one, the next waits
//! for [`ENTRY_GAP_MIN`]; while transitions keep coming that gap doubles, up to [`ENTRY_GAP_MAX`], and a quiet gap ends
//! it. A failure of 10,000 instances that is noticed over 15 seconds is 15 entries at most, one noticed at once is three.
//!
//! Limits: who is leader, and what the log holds at that moment, is the shell's to say ([`Journal::resume`]).

mod pacing;
mod reap;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use rollcall_types::{CheckStatuses, MonoTime};
pub use rollcall_types::{ENTRY_TRANSITIONS_MAX, critical_since};

use self::pacing::Pacing;
pub use self::pacing::{ENTRY_GAP_MAX, ENTRY_GAP_MIN};
pub use self::reap::{AT_ONCE, Case, Census, Decision, Protection, Scope, Votes, decide};
use crate::agreement::Cause;
use crate::{Slot, Status, Tenancy};

/// A change of an instance's status, or of one of its checks', to be written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The instance's slot.
    pub slot: Slot,
    /// Which of its tenants.
    pub tenancy: Tenancy,
    /// The last status that the log is known to have had; `Unknown` of an instance that it has none of.
    pub from: Status,
    /// The status that all observers agree on.
    pub to: Status,
    /// Why.
    pub cause: Cause,
    /// What they agree on of each of its checks.
    pub checks: CheckStatuses,
}

/// What is to be written to the log, at the leader. Some 80 bytes for each instance, at most
/// [`SLOTS_MAX`](crate::SLOTS_MAX).
///
/// Invariants:
/// - `changed` holds the slots of which what is written is not what is agreed on, or is uncertain, and no others.
/// - `in_flight` counts as written until [`Self::failed`] takes it back.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    instances: BTreeMap<Slot, Known>,
    changed: BTreeSet<Slot>,
    in_flight: Vec<Transition>,
    /// The last slot of the last entry: the next one begins after it, so that none waits for ever.
    last_slot: Option<Slot>,
    pacing: Pacing,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    tenancy: Tenancy,
    written: Status,
    written_checks: CheckStatuses,
    /// An entry about it may be in the log or not, so it is written whatever is agreed on.
    is_uncertain: bool,
    agreed: Agreed,
}

#[derive(Debug, Clone, Copy)]
struct Agreed {
    status: Status,
    cause: Cause,
    checks: CheckStatuses,
}

impl Known {
    fn new(tenancy: Tenancy, written: Status, written_checks: CheckStatuses) -> Self {
        let agreed = Agreed { status: written, cause: Cause::Observed, checks: written_checks };
        Self { tenancy, written, written_checks, is_uncertain: false, agreed }
    }

    fn is_to_be_written(&self) -> bool {
        let written = (self.written, self.written_checks);
        self.is_uncertain || written != (self.agreed.status, self.agreed.checks)
    }
}

impl Journal {
    /// The journal of a node that has become leader; `written` is what the log has.
    pub fn resume(written: impl IntoIterator<Item = (Slot, Tenancy, Status, CheckStatuses)>) -> Self {
        let known = |(slot, tenancy, status, checks)| (slot, Known::new(tenancy, status, checks));
        Self { instances: written.into_iter().map(known).collect(), ..Self::default() }
    }

    /// Takes in what all observers agree on. To be called when it may have changed; the same again changes nothing.
    pub fn note(&mut self, slot: Slot, tenancy: Tenancy, status: Status, cause: Cause, checks: CheckStatuses) {
        let new = Known::new(tenancy, Status::Unknown, CheckStatuses::default());
        let known = self.instances.entry(slot).or_insert(new);
        if known.tenancy != tenancy {
            *known = new;
        }
        known.agreed = Agreed { status, cause, checks };
        self.mark(slot);
    }

    /// The log may have something else of an instance than what was written: it is written again, with what is agreed on.
    pub fn doubt(&mut self, slot: Slot) {
        if let Some(known) = self.instances.get_mut(&slot) {
            known.is_uncertain = true;
        }
        self.mark(slot);
    }

    /// What the log has of the checks of an instance beside this status of it; `None` when it does not have that, or perhaps not.
    pub fn checks_beside(&self, slot: Slot, tenancy: Tenancy, status: Status) -> Option<CheckStatuses> {
        let known = self.instances.get(&slot).filter(|known| known.tenancy == tenancy && !known.is_uncertain);
        known.filter(|known| known.written == status).map(|known| known.written_checks)
    }

    /// Forgets an instance that was removed.
    pub fn forget(&mut self, slot: Slot) {
        self.instances.remove(&slot);
        self.changed.remove(&slot);
    }

    /// The transitions to write now as one entry; `None` when there are none, an entry is under way, or the last was a short
    /// while ago. To be followed by [`Self::written`] or [`Self::failed`].
    pub fn next_entry(&mut self, now: MonoTime) -> Option<&[Transition]> {
        if self.due()? > now {
            return None;
        }
        let from = self.last_slot.map_or(Bound::Unbounded, Bound::Excluded);
        let to = self.last_slot.map_or(Bound::Unbounded, Bound::Included);
        let after = self.changed.range((from, Bound::Unbounded));
        let before = self.changed.range((Bound::Unbounded, to)).take_while(|_| self.last_slot.is_some());
        let slots: Vec<Slot> = after.chain(before).copied().take(ENTRY_TRANSITIONS_MAX).collect();
        self.last_slot = slots.last().copied();
        self.pacing.wrote(slots.len() == ENTRY_TRANSITIONS_MAX, now);
        for slot in slots {
            let Some(known) = self.instances.get_mut(&slot) else { continue };
            let Agreed { status: to, cause, checks } = known.agreed;
            self.in_flight.push(Transition { slot, tenancy: known.tenancy, from: known.written, to, cause, checks });
            (known.written, known.written_checks, known.is_uncertain) = (to, checks, false);
            self.changed.remove(&slot);
        }
        Some(&self.in_flight)
    }

    /// When the next entry may be written; `None` when there is nothing to write or an entry is under way.
    pub fn due(&self) -> Option<MonoTime> {
        let may_write = self.in_flight.is_empty() && !self.changed.is_empty();
        may_write.then(|| self.pacing.ready_at())
    }

    /// The entry under way is in the log.
    pub fn written(&mut self) {
        self.in_flight.clear();
    }

    /// The entry under way is not in the log, or perhaps it is: its instances are written again, with what is agreed on by then,
    /// even if that is what the log had before. A transition written twice changes nothing.
    pub fn failed(&mut self) {
        for transition in std::mem::take(&mut self.in_flight) {
            let known = self.instances.get_mut(&transition.slot).filter(|known| known.tenancy == transition.tenancy);
            if let Some(known) = known {
                (known.written, known.is_uncertain) = (transition.from, true);
                self.mark(transition.slot);
            }
        }
    }

    /// Transitions that wait to be written.
    pub fn waiting(&self) -> usize {
        self.changed.len()
    }

    fn mark(&mut self, slot: Slot) {
        match self.instances.get(&slot) {
            Some(known) if known.is_to_be_written() => self.changed.insert(slot),
            _ => self.changed.remove(&slot),
        };
    }
}
