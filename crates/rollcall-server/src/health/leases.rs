//! The heartbeats that arrive at this node.
//!
//! A heartbeat is a look-up in the catalogue and two in here, under one short lock: it is neither written to the log nor sent on.
//! What goes out through gossip is that this node vouches for an instance, once, and that it does so no more.
//!
//! Limits: checks by heartbeats are looked at one by one every second, a microsecond each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollcall_catalog::Instance;
use rollcall_gossip::{Digests, Handle as Gossip};
use rollcall_health::check::{InstanceRecord, Load, Report, Signal};
use rollcall_health::lease::{Grant, HEARTBEATS_PER_TTL, LeaseTable};
use rollcall_health::{Observation, Reading, RunClock, ScoreStep, Slot, Status};
use rollcall_raft::planted::{Bug, is_planted};
use rollcall_types::{CheckId, CheckKind, InstanceSpec, MonoTime};

use super::metrics;
use super::slots::{slot_of, tenancy_of};
use super::tracked::ttl_of;

/// Between two looks at checks by heartbeats.
const CHECKS_INTERVAL: Duration = Duration::from_secs(1);

/// What an instance says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heartbeat {
    /// Of all of it.
    pub(crate) status: Report,
    /// Of its load.
    pub(crate) load: Option<Load>,
    /// Of its checks by heartbeats; `None` says `status` of all of them.
    pub(crate) checks: Option<Vec<(CheckId, Report)>>,
}

/// What a heartbeat is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// Longest silence from now on.
    pub(crate) ttl: Duration,
    /// When to send the next one.
    pub(crate) next_heartbeat: Duration,
}

/// Why a heartbeat was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRenewed {
    /// The registration has neither a lease nor a check by heartbeats.
    #[error("this instance has neither a lease nor a check of type ttl; register it with one to send heartbeats")]
    NoLease,
    /// It has no such check.
    #[error("'{0}' is no check of type ttl of this instance")]
    NoSuchCheck(CheckId),
}

/// The leases whose heartbeats arrive at this node.
pub(crate) struct Leases {
    digests: Digests,
    gossip: Gossip,
    book: Mutex<Book>,
}

struct Book {
    clock: RunClock,
    table: LeaseTable,
    said: HashMap<Slot, Said>,
    checks_at: MonoTime,
}

/// What this node says of an instance, and why.
struct Said {
    observation: Observation,
    /// Kept when the instance says more than that it is there.
    record: Option<Box<Record>>,
}

struct Record {
    spec: Arc<InstanceSpec>,
    checks: InstanceRecord,
}

impl Leases {
    pub(super) fn new(gossip: Gossip) -> Self {
        let now = gossip.now();
        let book = Book { clock: RunClock::new(now), table: LeaseTable::new(), said: HashMap::new(), checks_at: now };
        Self { digests: gossip.leases(), gossip, book: Mutex::new(book) }
    }

    /// Takes a heartbeat of an instance, as the catalogue has it now.
    ///
    /// # Errors
    /// [`NotRenewed`].
    pub(crate) fn renew(&self, instance: &Instance, heartbeat: &Heartbeat) -> Result<Renewed, NotRenewed> {
        let (Some(slot), Some(ttl)) = (slot_of(instance), ttl_of(instance)) else { return Err(NotRenewed::NoLease) };
        let ttl = if is_planted(Bug::EarlyExpiry) { ttl / 3 } else { ttl };
        let strange =
            heartbeat.checks.iter().flatten().find(|(id, _)| !ttl_checks(&instance.spec).any(|it| it.id == *id));
        if let Some((id, _)) = strange {
            return Err(NotRenewed::NoSuchCheck(id.clone()));
        }
        let tenancy = tenancy_of(instance);
        let mut book = self.book();
        let at = book.clock.read(self.gossip.now());
        let renewal = book.table.renew(slot, Some(Grant { tenancy, ttl }), at, rand::random());
        let renewal = renewal.map_err(|_| NotRenewed::NoLease)?;
        let before = book.said.remove(&slot).filter(|_| !renewal.is_new);
        let known = before.as_ref().map(|said| said.observation);
        let said = Said::by(before, instance, heartbeat, ttl, at);
        if known != Some(said.observation) {
            // What finds no room in gossip is held, counted and logged there.
            drop(self.digests.observe(slot, tenancy, said.observation, Duration::MAX));
        }
        book.said.insert(slot, said);
        metrics::heartbeat();
        let shortest = ttl_checks(&instance.spec).filter_map(ttl_of_check).min();
        let soonest = shortest.map_or(Duration::MAX, |ttl| ttl / HEARTBEATS_PER_TTL);
        Ok(Renewed { ttl: renewal.ttl, next_heartbeat: renewal.next_heartbeat.min(soonest) })
    }

    /// Lets time pass: to be called every [`RUN_TICK`](rollcall_health::RUN_TICK).
    pub(super) fn tick(&self) {
        let mut book = self.book();
        let at = book.clock.tick(self.gossip.now());
        for lost in book.table.tick(at) {
            book.said.remove(&lost.slot);
            self.digests.withdraw(lost.slot, lost.tenancy);
            metrics::lease_expired();
        }
        metrics::leases(book.table.len());
        if at.now.since(book.checks_at) >= CHECKS_INTERVAL {
            book.checks_at = at.now;
            self.look_at_checks(&mut book, at);
        }
    }

    /// The instance at `slot` was removed.
    pub(super) fn revoke(&self, slot: Slot) {
        let mut book = self.book();
        book.said.remove(&slot);
        if let Some(lost) = book.table.revoke(slot) {
            self.digests.withdraw(lost.slot, lost.tenancy);
        }
    }

    fn look_at_checks(&self, book: &mut Book, at: Reading) {
        let Book { table, said, .. } = book;
        for (slot, said) in said {
            let Some(record) = &mut said.record else { continue };
            if record.checks.tick(at).is_none() {
                continue;
            }
            let observation = observation(&record.checks, at.now);
            if let Some(tenancy) = table.tenancy(*slot)
                && observation != said.observation
            {
                said.observation = observation;
                drop(self.digests.observe(*slot, tenancy, observation, Duration::MAX));
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// What is said after a heartbeat; `before` is what was said of the same instance.
    fn by(before: Option<Self>, instance: &Instance, heartbeat: &Heartbeat, ttl: Duration, at: Reading) -> Self {
        let spec = &instance.spec;
        let is_plain = heartbeat.load.is_none() && ttl_checks(spec).next().is_none();
        let known = before.and_then(|said| said.record);
        if is_plain && known.is_none() {
            return Self { observation: Observation::of(heartbeat.status.status()), record: None };
        }
        let same = known.filter(|known| Arc::ptr_eq(&known.spec, spec) || known.spec.checks == spec.checks);
        let mut record = same.unwrap_or_else(|| Box::new(Record::new(spec, at)));
        record.take(heartbeat, ttl, at);
        Self { observation: observation(&record.checks, at.now), record: Some(record) }
    }
}

impl Record {
    fn new(spec: &Arc<InstanceSpec>, at: Reading) -> Self {
        let checks = InstanceRecord::new(ttl_checks(spec), true, None, Duration::ZERO, at.now, rand::random::<u64>);
        Self { spec: spec.clone(), checks }
    }

    fn take(&mut self, heartbeat: &Heartbeat, ttl: Duration, at: Reading) {
        self.checks.lease(heartbeat.status.status(), None, at.now);
        match &heartbeat.checks {
            Some(checks) => {
                for (id, report) in checks {
                    self.checks.heartbeat(id, *report, at);
                }
            }
            None => {
                for check in ttl_checks(&self.spec) {
                    self.checks.heartbeat(&check.id, heartbeat.status, at);
                }
            }
        }
        if let Some(load) = heartbeat.load {
            self.checks.load(load, ttl, at.now);
        }
    }
}

/// What to say of an instance by its heartbeats: it is there, so a check that was not heard of yet is not held against it. The
/// score is the worst of what it says of its load; whoever probes it weighs that against the rest.
fn observation(record: &InstanceRecord, now: MonoTime) -> Observation {
    let observation = record.observation(now);
    let status = if observation.status == Status::Unknown { Status::Passing } else { observation.status };
    let load = record.score(now).terms.into_iter().filter(|term| term.signal != Signal::Connectivity);
    let worst = load.filter_map(|term| term.value).min_by(f64::total_cmp);
    Observation { status, score: worst.map_or(ScoreStep::BEST, ScoreStep::nearest), ..observation }
}

fn ttl_checks(spec: &InstanceSpec) -> impl Iterator<Item = &rollcall_types::CheckSpec> {
    spec.checks.iter().filter(|check| matches!(check.kind, CheckKind::Ttl { .. }))
}

fn ttl_of_check(check: &rollcall_types::CheckSpec) -> Option<Duration> {
    match check.kind {
        CheckKind::Ttl { ttl } => Some(ttl.duration()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rollcall_catalog::Actor;
    use rollcall_types::{
        CheckSpec, InstanceId, LeaseSpec, Lifecycle, Metadata, Millis, Revision, Tags, UnixMillis, Weight,
    };

    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    /// An instance with a lease, and a check by heartbeats for each of these.
    fn instance(checks: &[&str]) -> Instance {
        let check = |id: &&str| CheckSpec {
            id: id.parse().unwrap(),
            capability: None,
            kind: CheckKind::Ttl { ttl: Millis::new(9_000) },
            interval: Millis::new(10_000),
            timeout: Millis::new(1_000),
            failures_before_critical: 3,
            successes_before_passing: 2,
        };
        let spec = InstanceSpec {
            endpoints: Box::default(),
            zone: None,
            region: None,
            version: None,
            tags: Tags::new(),
            metadata: Metadata::new(),
            weight: Weight::default(),
            lease: Some(LeaseSpec { ttl: Millis::new(60_000) }),
            checks: checks.iter().map(check).collect(),
            deregister_after: None,
        };
        Instance {
            service: "web".parse().unwrap(),
            id: InstanceId::try_from("web-1").unwrap(),
            slot: 0,
            spec: Arc::new(spec),
            lifecycle: Lifecycle::Active,
            registered_by: Actor { name: "ann".parse().unwrap(), via: "n1".parse().unwrap() },
            registered_at: UnixMillis::new(0),
            modified_at: UnixMillis::new(0),
            created: Revision::new(1),
            modified: Revision::new(1),
        }
    }

    fn at(seconds: u64) -> Reading {
        RunClock::new(MonoTime::new(Duration::from_secs(seconds))).read(MonoTime::new(Duration::from_secs(seconds)))
    }

    fn seen(said: &Said) -> (Status, f64) {
        (said.observation.status, said.observation.score.score())
    }

    #[test]
    fn a_plain_heartbeat_says_its_status_and_keeps_nothing() {
        let said = Said::by(None, &instance(&[]), &Heartbeat::default(), TTL, at(0));
        assert_eq!((seen(&said), said.record.is_none()), ((Status::Passing, 1.0), true));
        let warned = Heartbeat { status: Report::Warning, ..Heartbeat::default() };
        assert_eq!(seen(&Said::by(Some(said), &instance(&[]), &warned, TTL, at(1))).0, Status::Warning);
    }

    #[test]
    fn a_load_counts_until_it_is_older_than_the_lease_allows() {
        let load = Load { cpu: Some(0.95), ..Load::default() };
        let loaded = Heartbeat { load: Some(load), ..Heartbeat::default() };
        let said = Said::by(None, &instance(&[]), &loaded, TTL, at(0));
        assert_eq!(seen(&said), (Status::Passing, 0.0), "exhausted, and alive");
        let said = Said::by(Some(said), &instance(&[]), &Heartbeat::default(), TTL, at(30));
        assert_eq!(seen(&said).1, 0.0);
        let said = Said::by(Some(said), &instance(&[]), &Heartbeat::default(), TTL, at(61));
        assert_eq!(seen(&said).1, 1.0);
    }

    #[test]
    fn checks_by_heartbeats_are_all_renewed_or_those_that_are_named() {
        let it = instance(&["db", "queue"]);
        let said = Said::by(None, &it, &Heartbeat::default(), TTL, at(0));
        assert_eq!(seen(&said).0, Status::Passing);
        let one = |status| Heartbeat { checks: Some(vec![("db".parse().unwrap(), status)]), ..Heartbeat::default() };
        let said = Said::by(Some(said), &it, &one(Report::Critical), TTL, at(1));
        assert_eq!(seen(&said).0, Status::Critical);
        let said = Said::by(Some(said), &it, &one(Report::Passing), TTL, at(2));
        assert_eq!(seen(&said).0, Status::Passing);
        let first = Said::by(None, &it, &one(Report::Passing), TTL, at(0));
        assert_eq!(seen(&first).0, Status::Passing, "of the queue nothing was heard yet");
    }

    #[test]
    fn the_lease_decides_how_long_the_silence_may_be_and_without_one_the_longest_check() {
        assert_eq!(ttl_of(&instance(&["db"])), Some(TTL));
        let mut by_checks = instance(&["db"]);
        Arc::make_mut(&mut by_checks.spec).lease = None;
        assert_eq!(ttl_of(&by_checks), Some(Duration::from_secs(9)));
        Arc::make_mut(&mut by_checks.spec).checks = Box::default();
        assert_eq!(ttl_of(&by_checks), None);
    }
}
