//! What is worth writing, and what is not yet.
//!
//! What nobody sees for a moment is no news: a node that starts, or takes over from one that died, sees nothing at first. So
//! `unknown` is written when it has stood for [`UNKNOWN_STANDS`]; everything else at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall_catalog::{Catalog, StatusChange};
use rollcall_health::journal::Journal;
use rollcall_health::{Slot, Status};
use rollcall_types::{Millis, MonoTime, UnixMillis};

use super::Entry;
use crate::health::slots::{is_watched, slot_of, tenancy_of};
use crate::health::view::{self, HealthSnapshot};

/// How long an instance must be unknown before that is written: longer than a restart of the cluster takes to see it again
/// at a check interval of 10 s.
pub(super) const UNKNOWN_STANDS: Millis = Millis::new(15_000);

/// The leader's view of what the log lacks.
///
/// Invariants:
/// - `unsettled` holds the slots that are unknown for less than [`UNKNOWN_STANDS`]; the journal has of them what was before.
/// - `critical` holds the slots that all observers agree to be critical.
pub(super) struct Desk {
    journal: Journal,
    seen: Arc<HealthSnapshot>,
    unsettled: BTreeSet<Slot>,
    critical: BTreeSet<Slot>,
}

impl Desk {
    /// The desk of a node that has become leader, whose log says what `catalog` holds.
    pub(super) fn resume(catalog: &Catalog) -> Self {
        let watched = catalog.services().flat_map(|service| service.instances.values()).filter(|it| is_watched(it));
        let written = watched.filter_map(|it| Some((slot_of(it)?, tenancy_of(it), catalog.journaled(it).status)));
        Self {
            journal: Journal::resume(written),
            seen: Arc::default(),
            unsettled: BTreeSet::new(),
            critical: BTreeSet::new(),
        }
    }

    /// Takes in what all observers agree on now.
    pub(super) fn follow(&mut self, snapshot: Arc<HealthSnapshot>, now: UnixMillis) {
        let before = std::mem::replace(&mut self.seen, snapshot.clone());
        for (slot, entry) in snapshot.changed_since(&before) {
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
        let Some(entry) = entry.filter(|_| watched) else { return self.journal.forget(slot) };
        let stands = now.get().saturating_sub(entry.since.get());
        match entry.agreed.status {
            Status::Unknown if stands < UNKNOWN_STANDS.get() => {
                self.unsettled.insert(slot);
                return;
            }
            Status::Critical => {
                self.critical.insert(slot);
            }
            _ => {}
        }
        self.journal.note(slot, entry.tenancy, entry.agreed.status, entry.agreed.cause);
    }
}

#[cfg(test)]
mod tests;
