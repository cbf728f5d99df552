//! What this node holds of every instance: the agreement of all observers, ready to be read.
//!
//! ```text
//! digests of all observers, lookers of each chunk, tenants of each slot → View::refresh → HealthSnapshot ← HealthReader
//! ```
//! The agreement on an instance is computed when something about it changed, and not when it is read: a reader takes one
//! atomic load and an index. Only chunks whose digests, lookers or tenants changed are computed again, some 20 µs each.
//!
//! Snapshots are persistent vectors of chunks, so publishing one copies a path and not the table.
//!
//! Limits: a snapshot is as old as the gossip that it is made of; a catalogue may be newer than the snapshot beside which it
//! is read, and then an instance that is not in the snapshot is `unknown`.

mod outlooks;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::{OrdMap, Vector};
use rollcall_catalog::{Catalog, Instance, Journaled};
use rollcall_health::agreement::{Agreed, Cause, agree, is_told_by_check};
use rollcall_health::assignment::Watch;
use rollcall_health::forecast::{CommonCause, Forecasts, common_cause};
use rollcall_health::{CHUNK_SLOTS, ChunkId, Flap, HealthView, ScoreStep, Slot, Status, Tenancy, TimeToFailure, Trend};
use rollcall_types::{CheckKind, CheckSpec, CheckStatuses, Revision, ServiceKey, UnixMillis};
use tokio::sync::watch;

use super::checks::{self, SeenPage};
use super::duties::Duties;
use super::forecasts::{Told, told};
use super::inbox::Inbox;
use super::slots::{Tenants, is_watched, slot_of, tenancy_of};

pub(crate) use self::outlooks::OutlookChange;

/// Health as this node sees it, for readers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct HealthReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<HealthSnapshot>,
    /// Told after a new snapshot is there.
    changed: watch::Sender<()>,
}

/// The health of all instances at one moment. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct HealthSnapshot {
    chunks: Vector<Arc<Chunk>>,
    tenants: Tenants,
    /// Of instances of which something is expected, what.
    told: OrdMap<Slot, Told>,
    /// Services most of whose instances degrade.
    common: OrdMap<ServiceKey, CommonCause>,
}

/// The health of an instance: what the log has of it joined with what is observed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct InstanceHealth {
    /// The status.
    pub(crate) status: Status,
    /// Why.
    pub(crate) cause: Cause,
    /// Since when it has this status: as the log has it when the log has the same status, else when this node saw the change.
    pub(crate) since: UnixMillis,
    /// How well it does, in [0, 1]; `None` when nobody looks.
    pub(crate) score: Option<f64>,
    /// Where it is heading.
    pub(crate) trend: Trend,
    /// When it is predicted to fail.
    pub(crate) time_to_failure: TimeToFailure,
    /// The numbers behind that.
    pub(crate) told: Option<Told>,
    /// Its checks, one by one; nothing of those that are as it is.
    pub(crate) checks: CheckStatuses,
    /// Most of its service degrades, and so does it.
    pub(crate) common_cause: Option<CommonCause>,
    /// How often it has changed lately.
    pub(crate) flap: Flap,
    /// How many observers count.
    pub(crate) looking: u16,
    /// How many of them see it failing.
    pub(crate) failing: u16,
}

impl InstanceHealth {
    /// The status of a check of `instance`, of which this is the health: its own as far as that is known, else the instance's.
    pub(crate) fn of_check(&self, instance: &Instance, check: &CheckSpec) -> Status {
        let own = self.checks.of_check(&instance.spec.checks, &check.id);
        match check.kind {
            CheckKind::Fixed { status } => status,
            _ => own.unwrap_or(self.status),
        }
    }

    /// What the journal says, where nothing else is known any more.
    pub(crate) fn journaled(Journaled { status, cause, since, .. }: Journaled) -> Self {
        Self {
            status,
            cause,
            since,
            score: None,
            trend: Trend::Unknown,
            time_to_failure: TimeToFailure::NotPredicted,
            told: None,
            checks: CheckStatuses::default(),
            common_cause: None,
            flap: Flap::Calm,
            looking: 0,
            failing: 0,
        }
    }
}

/// What all observers agree on about the instance of one slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    /// Which of the tenants of the slot it is about.
    pub(crate) tenancy: Tenancy,
    /// What they agree on.
    pub(crate) agreed: Agreed,
    /// When this node saw the status change.
    pub(crate) since: UnixMillis,
    /// What they agree on of each check; nothing of an instance whose status says all.
    pub(crate) checks: CheckStatuses,
    /// When this node saw that of a check change.
    pub(crate) checks_since: UnixMillis,
    /// The write of its registration, if its checks are told one by one: the log may have changed with it what it has of them.
    pub(crate) registered: Revision,
}

type Chunk = [Option<Entry>; CHUNK_SLOTS as usize];

impl HealthReader {
    /// The health of all instances now: one atomic load.
    pub(crate) fn load(&self) -> Arc<HealthSnapshot> {
        self.shared.snapshot.load_full()
    }

    /// Told when [`Self::load`] is another one; many changes at once are told once.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }
}

impl HealthSnapshot {
    /// The health of an instance of `catalog`.
    pub(crate) fn of(&self, catalog: &Catalog, instance: &Instance) -> InstanceHealth {
        let entry = slot_of(instance).and_then(|slot| self.entry(slot));
        let entry = entry.filter(|entry| entry.tenancy == tenancy_of(instance));
        let (agreed, seen_since) = match entry {
            Some(entry) => (entry.agreed, entry.since),
            None => (agree(is_watched(instance).then(Watch::default).as_ref(), []), instance.registered_at),
        };
        let Agreed { status, cause, score, trend, time_to_failure, flap, looking, failing } = agreed;
        let journaled = catalog.journaled(instance);
        let since = match status {
            // Nobody looks, so nothing was seen or written.
            _ if !is_watched(instance) => instance.registered_at,
            _ if journaled.status == status => journaled.since,
            _ => seen_since,
        };
        let score = score.map(ScoreStep::score);
        let told = entry.and_then(|_| self.told.get(&slot_of(instance)?)).copied();
        let agreed_checks = entry.map(|entry| entry.checks.about(&instance.spec.checks)).unwrap_or_default();
        // Of checks that have just come to their instance, only the log knows how they begin.
        let is_journaled = agreed_checks.is_empty() && journaled.status == status;
        let checks = if is_journaled { journaled.checks.about(&instance.spec.checks) } else { agreed_checks };
        let degrades = told.is_some() || trend == Trend::Degrading;
        let is_common = degrades && !self.common.is_empty();
        let common_cause = is_common.then(|| self.common.get(&ServiceKey::from(&instance.service)).copied()).flatten();
        InstanceHealth {
            status,
            cause,
            since,
            score,
            trend,
            time_to_failure,
            told,
            checks,
            common_cause,
            flap,
            looking,
            failing,
        }
    }

    /// Whether it says of `instance` what `older` said. Chunks that did not change are told by their place in memory.
    pub(crate) fn says_the_same(&self, older: &Self, instance: &Instance) -> bool {
        let Some(slot) = slot_of(instance) else { return true };
        let chunk = |snapshot: &Self| snapshot.chunks.get(slot.chunk().get() as usize).map(Arc::as_ptr);
        (chunk(self) == chunk(older) || self.entry(slot) == older.entry(slot))
            && (self.told.ptr_eq(&older.told) || self.told.get(&slot) == older.told.get(&slot))
    }

    /// Whether most of a service degrades for the same cause as in `older`.
    pub(crate) fn has_same_cause(&self, older: &Self, service: &ServiceKey) -> bool {
        self.common.ptr_eq(&older.common) || self.common.get(service) == older.common.get(service)
    }

    /// What is agreed on about the instance of a slot.
    pub(crate) fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.chunks.get(slot.chunk().get() as usize)?[slot.place() as usize].as_ref()
    }

    /// The instance of a slot, by the catalogue that this snapshot was made beside.
    pub(crate) fn tenant(&self, slot: Slot) -> Option<&Arc<Instance>> {
        self.tenants.get(slot.get() as usize)?.as_ref()
    }

    /// The slots about which this snapshot says something else than `older`, in order, with what it says; `None` of those that
    /// are free now. Compares chunks by their place in memory, so it costs next to nothing where nothing changed.
    pub(crate) fn changed_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = (Slot, Option<&'a Entry>)> + 'a {
        let count = self.chunks.len().max(older.chunks.len());
        let changed = (0..count).filter(|index| match (self.chunks.get(*index), older.chunks.get(*index)) {
            (Some(here), Some(there)) => !Arc::ptr_eq(here, there),
            _ => true,
        });
        let slots = changed.filter_map(|index| ChunkId::new(u32::try_from(index).ok()?)).flat_map(ChunkId::slots);
        slots.map(|slot| (slot, self.entry(slot))).filter(|(slot, entry)| *entry != older.entry(*slot))
    }
}

/// What has to be computed again: of each chunk the places, one bit for each.
#[derive(Debug, Default)]
pub(crate) struct Stale(BTreeMap<ChunkId, u64>);

impl Stale {
    /// The whole chunk.
    pub(crate) fn chunk(&mut self, chunk: ChunkId) {
        self.0.insert(chunk, u64::MAX);
    }

    /// One slot of it.
    pub(crate) fn slot(&mut self, slot: Slot) {
        *self.0.entry(slot.chunk()).or_default() |= 1 << slot.place();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What all observers say.
#[derive(Clone, Copy)]
pub(crate) struct Evidence<'a> {
    /// What they see.
    pub(crate) sightings: &'a HealthView,
    /// What they expect.
    pub(crate) forecasts: &'a Inbox<Forecasts>,
    /// What they see of each check.
    pub(crate) checks: &'a Inbox<SeenPage>,
}

/// The one writer of the snapshots.
pub(crate) struct View {
    reader: HealthReader,
    snapshot: HealthSnapshot,
}

impl View {
    /// A view of nothing.
    pub(crate) fn new() -> Self {
        let shared = Shared { snapshot: ArcSwap::default(), changed: watch::Sender::new(()) };
        Self { reader: HealthReader { shared: Arc::new(shared) }, snapshot: HealthSnapshot::default() }
    }

    /// For readers.
    pub(crate) fn reader(&self) -> HealthReader {
        self.reader.clone()
    }

    /// The snapshot that readers have.
    pub(crate) fn snapshot(&self) -> &HealthSnapshot {
        &self.snapshot
    }

    /// Computes again what is `stale`, and publishes a snapshot. Returns whether it says anything else than the last one.
    pub(crate) fn refresh(
        &mut self,
        stale: Stale,
        tenants: &Tenants,
        duties: &Duties,
        Evidence { sightings, forecasts, checks }: Evidence<'_>,
        now: UnixMillis,
    ) -> bool {
        let mut has_changed = false;
        for (chunk, places) in stale.0 {
            let before = self.snapshot.chunks.get(chunk.get() as usize).cloned();
            let mut after = before.as_deref().copied().unwrap_or([None; CHUNK_SLOTS as usize]);
            for slot in chunk.slots().filter(|slot| places >> slot.place() & 1 == 1) {
                let known = &mut after[slot.place() as usize];
                let tenant = tenants.get(slot.get() as usize).and_then(Option::as_ref);
                *known = tenant.map(|tenant| {
                    let tenancy = tenancy_of(tenant);
                    let watch = is_watched(tenant).then(|| duties.watch(chunk));
                    let agreed = agree(watch, sightings.sightings(slot, tenancy));
                    let place = (slot, tenancy);
                    let checks = checks::agreed(checks, duties.watch(chunk), place, &tenant.spec.checks, sightings);
                    let before = known.filter(|known| known.tenancy == tenancy);
                    let same = before.filter(|known| known.agreed.status == agreed.status);
                    let same_checks = before.filter(|known| known.checks == checks);
                    Entry {
                        tenancy,
                        agreed,
                        since: same.map_or(now, |before| before.since),
                        checks,
                        checks_since: same_checks.map_or(now, |before| before.checks_since),
                        registered: if is_told_by_check(&tenant.spec.checks) {
                            tenant.modified
                        } else {
                            Revision::ZERO
                        },
                    }
                });
                let told = known.and_then(|known| told(forecasts, slot, known.tenancy, sightings));
                has_changed |= self.expect(slot, told);
            }
            if before.is_none_or(|before| *before != after) {
                self.put(chunk, Arc::new(after));
                has_changed = true;
            }
        }
        self.snapshot.tenants = tenants.clone();
        self.publish(has_changed);
        has_changed
    }

    /// Something is expected of the instance of a slot, or nothing any more. Returns whether that is another thing.
    fn expect(&mut self, slot: Slot, told: Option<Told>) -> bool {
        if self.snapshot.told.get(&slot) == told.as_ref() {
            return false;
        }
        match told {
            Some(told) => self.snapshot.told.insert(slot, told),
            None => self.snapshot.told.remove(&slot),
        };
        true
    }

    /// Finds out of which services most instances degrade. It looks at those of which failures of two instances are expected:
    /// a cause is common only when more than half of three at least degrade.
    pub(crate) fn compare_peers(&mut self, catalog: &Catalog) {
        let tenants = self.snapshot.told.keys().filter_map(|slot| self.snapshot.tenant(*slot));
        let mut expected: BTreeMap<ServiceKey, usize> = BTreeMap::new();
        for tenant in tenants {
            *expected.entry(ServiceKey::from(&tenant.service)).or_default() += 1;
        }
        let several = expected.into_iter().filter(|(_, count)| *count >= 2);
        let common: OrdMap<_, _> = several
            .filter_map(|(key, _)| {
                let (_, service) = catalog.services_from(key.as_str()).next().filter(|(found, _)| **found == key)?;
                let entries = service.instances.values().filter_map(|instance| self.snapshot.entry(slot_of(instance)?));
                let common = common_cause(entries.map(|entry| entry.agreed.trend))?;
                Some((key, common))
            })
            .collect();
        if common != self.snapshot.common {
            self.snapshot.common = common;
            self.publish(true);
        }
    }

    /// Gives readers the snapshot, and tells them if it `has_changed`.
    fn publish(&self, has_changed: bool) {
        self.reader.shared.snapshot.store(Arc::new(self.snapshot.clone()));
        if has_changed {
            self.reader.shared.changed.send_replace(());
        }
    }

    fn put(&mut self, chunk: ChunkId, content: Arc<Chunk>) {
        let (chunks, index) = (&mut self.snapshot.chunks, chunk.get() as usize);
        let empty: Arc<Chunk> = Arc::new([None; CHUNK_SLOTS as usize]);
        while chunks.len() <= index {
            chunks.push_back(empty.clone());
        }
        chunks.set(index, content);
    }
}

#[cfg(test)]
mod tests;
