//! What is worth writing, and what is not yet.
//!
//! What nobody sees for a moment is no news: a node that starts, or takes over from one that died, sees nothing at first. So
//! `unknown` is written when it has stood for [`UNKNOWN_STANDS`]. What observers do not agree on is mostly on its way to what they
//! will: a warning because of that is written when it has stood for [`DISAGREEMENT_STANDS`]; when thousands fail at once, it would
//! double what is written. Of a check that changes while its instance does not likewise, for [`CHECKS_STAND`]. Everything else is
//! written at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall_catalog::{Catalog, StatusChange};
use rollcall_health::agreement::Cause;
use rollcall_health::journal::Journal;
use rollcall_health::{Slot, Status};
use rollcall_types::{CheckStatuses, Millis, MonoTime, UnixMillis};

use super::Entry;
use crate::health::slots::{is_watched, slot_of, tenancy_of};
use crate::health::view::{self, HealthSnapshot};

/// How long an instance must be unknown before that is written: longer than a restart of the cluster takes to see it again
/// at a check interval of 10 s.
pub(super) const UNKNOWN_STANDS: Millis = Millis::new(15_000);

/// How long observers must differ on an instance before that is written: the others look at once when one sees a failure, and
/// have then to see as many.
pub(super) const DISAGREEMENT_STANDS: Millis = Millis::new(5_000);

/// How long a check must be what it is before that is written, when its instance is what it was: the others who look say so too
/// within some rounds of gossip, and mostly the status of the instance follows.
pub(super) const CHECKS_STAND: Millis = Millis::new(500);

/// How long a status must stand before it is written.
const fn stands(status: Status, cause: Cause) -> Millis {
    match (status, cause) {
        (Status::Unknown, _) => UNKNOWN_STANDS,
        (Status::Warning, Cause::Unconfirmed | Cause::Path) => DISAGREEMENT_STANDS,
        _ => Millis::new(0),
    }
}

/// The leader's view of what the log lacks.
///
/// Invariants:
/// - `unsettled` holds the slots whose status, or what is agreed on of their checks, has not stood for long enough; the journal has of
///   that what was before.
/// - `critical` holds the slots that all observers agree to be critical.
/// - `registered_anew` holds the slots of whose checks the log may have something else than what the journal wrote, as a registration
///   with other checks brings that along. It is written again when something is agreed on of them.
pub(super) struct Desk {
    journal: Journal,
    seen: Arc<HealthSnapshot>,
    unsettled: BTreeSet<Slot>,
    critical: BTreeSet<Slot>,
    registered_anew: BTreeSet<Slot>,
}

impl Desk {
    /// The desk of a node that has become leader, whose log says what `catalog` holds.
    pub(super) fn resume(catalog: &Catalog) -> Self {
        let watched = catalog.services().flat_map(|service| service.instances.values()).filter(|it| is_watched(it));
        let written = watched.filter_map(|it| {
            let journaled = catalog.journaled(it);
            Some((slot_of(it)?, tenancy_of(it), journaled.status, journaled.checks))
        });
        Self {
            journal: Journal::resume(written),
            seen: Arc::default(),
            unsettled: BTreeSet::new(),
            critical: BTreeSet::new(),
            registered_anew: BTreeSet::new(),
        }
    }

    /// Takes in what all observers agree on now.
    pub(super) fn follow(&mut self, snapshot: Arc<HealthSnapshot>, now: UnixMillis) {
        let before = std::mem::replace(&mut self.seen, snapshot.clone());
        for (slot, entry) in snapshot.changed_since(&before) {
            let known = before.entry(slot).filter(|known| Some(known.tenancy) == entry.map(|entry| entry.tenancy));
            if known.map(|known| known.registered) != entry.map(|entry| entry.registered) && known.is_some() {
                self.registered_anew.insert(slot);
            }
            self.note(slot, entry, now);
        }
    }

    /// Looks again at what had not stood for long enough.
    pub(super) fn settle(&mut self, now: UnixMillis) {
        let snapshot = self.seen.clone();
        for slot in std::mem::take(&mut self.unsettled) {
            self.note(slot, snapshot.entry(slot), now);
        }
    }

    /// What to write now; to be followed by [`Self::written`] or [`Self::failed`].
    pub(super) fn next_entry(&mut self, now: MonoTime) -> Option<Entry> {
        let snapshot = &self.seen;
        let entry: Entry = self
            .journal
            .next_entry(now)?
            .iter()
            .filter_map(|transition| {
                let instance = snapshot.tenant(transition.slot)?;
                (tenancy_of(instance) == transition.tenancy).then(|| StatusChange {
                    service: instance.service.clone(),
                    id: instance.id.clone(),
                    created: instance.created,
                    to: transition.to,
                    cause: transition.cause,
                    checks: transition.checks,
                })
            })
            .collect();
        if entry.is_empty() {
            self.written();
            return None;
        }
        Some(entry)
    }

    /// The entry is in the log.
    pub(super) fn written(&mut self) {
        self.journal.written();
    }

    /// The entry is not in the log, or perhaps it is.
    pub(super) fn failed(&mut self) {
        self.journal.failed();
    }

    /// When the next entry may be written; `None` when there is nothing to write.
    pub(super) fn due(&self) -> Option<MonoTime> {
        self.journal.due()
    }

    /// Transitions that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.journal.waiting()
    }

    /// The slots that all observers agree to be critical.
    pub(super) fn critical(&self) -> &BTreeSet<Slot> {
        &self.critical
    }

    fn note(&mut self, slot: Slot, entry: Option<&view::Entry>, now: UnixMillis) {
        self.unsettled.remove(&slot);
        self.critical.remove(&slot);
        let watched = self.seen.tenant(slot).is_some_and(|tenant| is_watched(tenant));
        let Some(entry) = entry.filter(|_| watched) else {
            self.registered_anew.remove(&slot);
            return self.journal.forget(slot);
        };
        let (status, cause) = (entry.agreed.status, entry.agreed.cause);
        if now.get().saturating_sub(entry.since.get()) < stands(status, cause).get() {
            self.unsettled.insert(slot);
            return;
        }
        if status == Status::Critical {
            self.critical.insert(slot);
        }
        let checks = self.settled_checks(slot, entry, now);
        self.journal.note(slot, entry.tenancy, status, cause, checks);
        if checks == entry.checks && !checks.is_empty() && self.registered_anew.remove(&slot) {
            self.journal.doubt(slot);
        }
    }

    /// What is worth writing of the checks of an instance now.
    fn settled_checks(&mut self, slot: Slot, entry: &view::Entry, now: UnixMillis) -> CheckStatuses {
        // That nothing is agreed on is no news for as long: those who look may have to begin anew with other checks.
        let stand = if entry.checks.is_empty() { UNKNOWN_STANDS } else { CHECKS_STAND };
        let has_stood = now.get().saturating_sub(entry.checks_since.get()) >= stand.get();
        match self.journal.checks_beside(slot, entry.tenancy, entry.agreed.status) {
            Some(written) if written != entry.checks && !has_stood => {
                self.unsettled.insert(slot);
                written
            }
            _ => entry.checks,
        }
    }
}

#[cfg(test)]
mod tests;
