//! One instance that this node looks at: its checks, its lease, and what is under way.

use std::sync::Arc;
use std::time::Duration;

use rollcall_catalog::Instance;
use rollcall_health::agreement::is_told_by_check;
use rollcall_health::check::{
    Answer, Cause, Failure, InstanceRecord, Load, Outcome, STARTUP_MAX, VALID_INTERVALS, worst_of,
};
use rollcall_health::forecast::Forecast;
use rollcall_health::lease::{LeaseState, LeaseWatch, TtlWatch, Word};
use rollcall_health::{Freshness, Observation, Reading, Slot, Status, Tenancy};
use rollcall_types::{CheckId, CheckKind, CheckSpec, CheckStatuses, InstanceSpec, MonoTime, UnixMillis};

use super::checks::{Vouchers, all_pass};
use super::doubt::Doubt;
use super::duties::Duty;
use super::slots::tenancy_of;
use super::trends::{Checked, Forecasting, News, Trends};
use crate::probe::scrape::metrics_url;

/// How often an observation is said again that rests on no probe. It holds three times as long.
const RESAY: Duration = Duration::from_secs(60);
/// How long such an observation holds after this node has looked away: long enough for the next node to have looked.
const LAST_WORD: Duration = Duration::from_secs(30);
/// How long a doubt about an instance takes to become a verdict when nothing of it is probed.
const CALM_UNPROBED: Duration = Duration::from_secs(10);
/// Least time until a lease is looked at again whose time of grace is over, but not yet counted so.
const GRACE_LOOK: Duration = Duration::from_millis(100);

/// Moments by which a record is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// For what expires.
    pub(crate) at: Reading,
    /// For what is compared with the catalogue.
    pub(crate) wall: UnixMillis,
}

/// An instance as the catalogue has it.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    pub(crate) instance: Arc<Instance>,
    /// The expected response time of its service.
    pub(crate) expected: Option<Duration>,
    /// What is known of it: that it is critical, when that is agreed on, else what the journal has.
    pub(crate) known: Status,
    /// What is known of each of its checks, in the same way.
    pub(crate) checks: CheckStatuses,
    /// Nobody has a verdict on it yet, so it may still be starting.
    pub(crate) is_new: bool,
}

/// One run of a check.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// What came.
    pub(crate) outcome: Outcome,
    /// What it said, shortened.
    pub(crate) output: Box<str>,
    /// When it ended.
    pub(crate) at: UnixMillis,
}

/// Bytes that are kept of what a check said that passed, and of any when there is no room for more.
const OUTPUT_SHORT: usize = 256;

impl Run {
    /// The run with no more than the beginning of what it said.
    fn shortened(mut self) -> Self {
        if self.output.len() > OUTPUT_SHORT {
            let end = self.output.floor_char_boundary(OUTPUT_SHORT);
            self.output = self.output[..end].into();
        }
        self
    }
}

/// What this node says of an instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Report {
    pub(crate) slot: Slot,
    pub(crate) tenancy: Tenancy,
    /// What it sees; `None` takes back what it said.
    pub(crate) observation: Option<Observation>,
    /// What it expects of it, in numbers.
    pub(crate) forecast: Option<Forecast>,
    /// What it makes of each check.
    pub(crate) checks: Checks,
    /// What it expects has changed just now.
    pub(crate) news: Option<News>,
    /// For how long that holds.
    pub(crate) valid_for: Duration,
}

/// What a report says of each check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checks {
    /// Nothing: it says nothing of the instance, or its status says all.
    Untold,
    /// That all pass, as the instance does.
    Pass(CheckStatuses),
    /// These.
    Told(CheckStatuses),
}

/// An instance that this node looks at.
///
/// Invariants:
/// - `under_way` has bit n set while check n of the record runs; `last` has one place for each check of the record.
pub(crate) struct Tracked {
    instance: Arc<Instance>,
    duty: Duty,
    record: InstanceRecord,
    lease: Option<LeaseWatch>,
    /// Its checks by heartbeats, by their place in the registration, when heartbeats have more to say than one of them.
    by_heartbeats: Box<[(usize, TtlWatch)]>,
    /// What was known of its checks when this node began to look, for those of which it has no verdict yet; nothing of one that it
    /// is to confirm, since what others made of that is what is in doubt.
    known_checks: CheckStatuses,
    under_way: u16,
    /// Its metrics page is being read.
    is_scraped: bool,
    last: Box<[Option<Run>]>,
    trends: Trends,
    /// Share of failures that its metrics page said last.
    reported_errors: Option<f64>,
    /// When what it amounts to is said again, if it rests on no probe.
    resay_at: Option<MonoTime>,
    /// When it is looked at because of its lease.
    lease_at: Option<MonoTime>,
    /// Another looker holds it for failing.
    doubt_stands: bool,
    /// When another looker last showed a new doubt.
    doubted_at: MonoTime,
    /// When it is next probed; kept here by the schedule.
    pub(crate) queued_at: Option<MonoTime>,
    /// When it is next looked at without a probe.
    pub(crate) upkept_at: Option<MonoTime>,
    /// Tells the probes of this record from those of another one of the slot.
    pub(crate) ticket: u64,
}

impl Tracked {
    /// An instance that this node begins to look at.
    pub(crate) fn new(registered: &Registered, duty: Duty, moment: Moment, draw: impl FnMut() -> u64) -> Self {
        let Registered { instance, expected, known, checks, is_new } = registered.clone();
        let now = moment.at.now;
        let may_be_starting = duty == Duty::Probe && is_new;
        let startup_left = if may_be_starting { startup_left(&instance, moment.wall) } else { Duration::ZERO };
        let spec = &instance.spec;
        let probed = spec.checks.iter().filter(|check| !matches!(check.kind, CheckKind::Ttl { .. }));
        // Whoever confirms is asked because others see it expired, and has no time of grace to give.
        let begins = |place, check: &CheckSpec| {
            let initial = check.kind.initial().unwrap_or_default();
            match checks.about(&spec.checks).get(place) {
                Some(Status::Warning) if duty == Duty::Confirm => Status::Critical,
                // It may be that those who look differ.
                Some(Status::Warning) => initial.max(Status::Warning),
                Some(known) => known,
                None => initial,
            }
        };
        let by_heartbeats = if is_heard_as_one(spec) { Box::default() } else { watches(spec, begins, moment.at) };
        let known = match (spec.lease, ttl_checks(spec).next()) {
            _ if duty == Duty::Confirm => Status::Critical,
            // Each check counts by itself.
            (None, Some(_)) if !by_heartbeats.is_empty() => Status::Passing,
            (None, Some((place, check))) if !has_verdict(known) || is_told_by_check(&spec.checks) => {
                begins(place, check)
            }
            _ => known,
        };
        let lease = ttl_of(&instance).map(|ttl| LeaseWatch::new(ttl, known, moment.at));
        let record = InstanceRecord::new(probed, lease.is_some(), expected, startup_left, now, draw);
        let rests_on_no_probe = record.due().is_none();
        Self {
            last: vec![None; record.checks().count()].into(),
            resay_at: rests_on_no_probe.then_some(now),
            lease_at: lease.is_some().then_some(now),
            trends: Trends::default(),
            reported_errors: None,
            instance,
            duty,
            record,
            lease,
            by_heartbeats,
            known_checks: if duty == Duty::Probe { checks } else { CheckStatuses::default() },
            under_way: 0,
            is_scraped: false,
            doubt_stands: false,
            doubted_at: now,
            queued_at: None,
            upkept_at: None,
            ticket: 0,
        }
    }

    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    pub(crate) fn duty(&self) -> Duty {
        self.duty
    }

    pub(crate) fn record(&self) -> &InstanceRecord {
        &self.record
    }

    pub(crate) fn record_mut(&mut self) -> &mut InstanceRecord {
        &mut self.record
    }

    pub(crate) fn lease(&self) -> Option<&LeaseWatch> {
        self.lease.as_ref()
    }

    /// The last run of each check, in the order of the record.
    pub(crate) fn last(&self) -> &[Option<Run>] {
        &self.last
    }

    /// Takes another record of the same tenant, if the duty is the same, and it asks for the same checks and lease; `false` when
    /// it does not.
    pub(crate) fn adopt(&mut self, instance: &Arc<Instance>, duty: Duty) -> bool {
        let (before, after) = (&self.instance.spec, &instance.spec);
        let is_same = tenancy_of(&self.instance) == tenancy_of(instance)
            && (Arc::ptr_eq(before, after) || (before.checks == after.checks && before.lease == after.lease));
        if is_same && self.duty == duty {
            self.instance = instance.clone();
        }
        is_same && self.duty == duty
    }

    /// The moment at which there is something to probe.
    pub(crate) fn probe_at(&self) -> Option<MonoTime> {
        let idle = self.record.checks().enumerate().filter(|(index, _)| self.under_way >> index & 1 == 0);
        idle.filter_map(|(_, (_, _, check))| check.due()).min()
    }

    /// The moment at which there is a lease to look at, or something to say again.
    pub(crate) fn upkeep_at(&self) -> Option<MonoTime> {
        self.resay_at.into_iter().chain(self.lease_at).min()
    }

    /// Begins the checks that are due, `room` of them at most, and returns their ids.
    pub(crate) fn begin(&mut self, room: usize, now: MonoTime) -> Vec<CheckId> {
        let is_due = |(index, (_, _, check)): &(usize, (_, _, &rollcall_health::check::CheckRecord))| {
            self.under_way >> index & 1 == 0 && check.due().is_some_and(|due| due <= now)
        };
        let due: Vec<(usize, CheckId)> = self
            .record
            .checks()
            .enumerate()
            .filter(is_due)
            .take(room)
            .map(|(index, (id, ..))| (index, id.clone()))
            .collect();
        for (index, _) in &due {
            self.under_way |= 1 << index;
        }
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// Begins to read its metrics page, if it declares one and nobody reads it: its address, and the longest wait for it. To be
    /// called when `check` begins; the page is read as often as the first check runs.
    pub(crate) fn begin_scrape(&mut self, check: &CheckId) -> Option<(String, Duration)> {
        let is_first = self.record.checks().next().is_some_and(|(id, ..)| id == check);
        if self.is_scraped || !is_first || self.duty != Duty::Probe {
            return None;
        }
        let timeout = self.instance.spec.checks.iter().find(|it| it.id == *check)?.timeout.duration();
        let url = metrics_url(&self.instance.spec)?;
        self.is_scraped = true;
        Some((url, timeout))
    }

    /// Takes in what the metrics page said.
    pub(crate) fn end_scrape(&mut self, load: Option<Load>, all: &mut Forecasting, now: MonoTime) {
        self.is_scraped = false;
        if let Some(load) = load {
            let valid_for = self.record.valid_for();
            self.record.load(load, valid_for, now);
            self.reported_errors = load.errors();
            self.trends.load(&load, valid_for / VALID_INTERVALS, all, now);
        }
    }

    /// Takes in what the outcome of a check says about where the instance is heading; to be called after [`Self::end`].
    /// Returns what changed of what is expected of it.
    pub(crate) fn follow_trends(
        &mut self,
        check: &CheckId,
        outcome: Outcome,
        all: &mut Forecasting,
        now: MonoTime,
    ) -> Option<News> {
        // Who only confirms looks when something fails, which is no series.
        if self.duty != Duty::Probe || outcome.answer == Answer::Failed(Failure::Forbidden) {
            return None;
        }
        let index = self.record.checks().position(|(id, ..)| id == check)?;
        let spec = self.instance.spec.checks.iter().find(|spec| spec.id == *check)?;
        let (timeout, interval) = (spec.timeout.duration(), spec.interval.duration());
        self.trends.latency(Checked { index, timeout, interval }, outcome, all, now);
        let errors = self.record.checks().filter_map(|(_, _, check)| check.error_rate()).chain(self.reported_errors);
        if let Some(worst) = errors.max_by(f64::total_cmp) {
            self.trends.errors(worst, interval, all, now);
        }
        self.trends.evaluate(all, now)
    }

    pub(crate) fn trends(&self) -> &Trends {
        &self.trends
    }

    /// Takes in the outcome of a check that was begun. What it said is kept in full when it did not pass and `has_room`.
    pub(crate) fn end(&mut self, check: &CheckId, run: Run, has_room: bool, now: MonoTime, draw: u64) {
        let Some(index) = self.record.checks().position(|(id, ..)| id == check) else { return };
        self.under_way &= !(1 << index);
        self.record.observe(check, run.outcome, now, draw);
        let is_short = run.outcome.answer == Answer::Passed || !has_room;
        self.last[index] = Some(if is_short { run.shortened() } else { run });
    }

    /// A check that was begun was put off: it is due again later, and all else is as it was.
    pub(crate) fn put_off(&mut self, check: &CheckId, outcome: Outcome, now: MonoTime, draw: u64) {
        let Some(index) = self.record.checks().position(|(id, ..)| id == check) else { return };
        self.under_way &= !(1 << index);
        self.record.observe(check, outcome, now, draw);
    }

    /// Bytes of what its checks said last.
    pub(crate) fn output_bytes(&self) -> usize {
        self.last.iter().flatten().map(|run| run.output.len()).sum()
    }

    /// Looks at who vouches for the lease.
    pub(crate) fn look_at_lease(&mut self, slot: Slot, vouchers: Vouchers<'_>, at: Reading) {
        let Some(lease) = &mut self.lease else { return };
        let place = (slot, tenancy_of(&self.instance));
        let vouching = vouchers.view.sightings(place.0, place.1);
        let before = lease.state();
        let state = lease.observe(vouching, |name| vouchers.view.fresh_generation(name), at);
        let left = lease.left(at);
        if !self.by_heartbeats.is_empty() {
            let words = vouchers.words(place, &self.instance.spec.checks, Freshness::Fresh, None);
            // Who hears it found no room to tell its checks one by one, so each of them is as the worst.
            let is_told = || vouchers.is_told_by_check(place);
            let whole = (state == LeaseState::Held && words.is_empty() && !is_told()).then(|| lease.status());
            for (place, check) in &mut self.by_heartbeats {
                let word = match (words.get(*place), whole) {
                    (Some(status), _) => Word::Told(status),
                    (None, Some(status)) => Word::Whole(status),
                    (None, None) if state == LeaseState::Held => Word::Omitted,
                    (None, None) => Word::Silence,
                };
                check.observe(word, at);
                // Who heard them is alive and does not hear them any more.
                if state == LeaseState::Expired && before != state {
                    check.expire();
                }
            }
        }
        let checks = self.by_heartbeats.iter().map(|(_, check)| check.status());
        let status = worst_of(checks.chain([lease.status()]));
        let why_critical = match state {
            LeaseState::Held if self.by_heartbeats.is_empty() => Cause::Reported,
            LeaseState::Held => Cause::ByHeartbeats,
            LeaseState::Grace | LeaseState::Expired => Cause::HeartbeatMissed,
        };
        self.record.lease(status, why_critical, lease.score(), at.now);
        // Who vouches is looked at when that changes; nothing else happens before the first of these times is over.
        let left = self.by_heartbeats.iter().filter_map(|(_, check)| check.left(at)).chain(left).min();
        self.lease_at = left.map(|left| at.now.plus(left.max(GRACE_LOOK)));
    }

    /// What it makes of each check now; of those of an instance whose status says all, nothing.
    pub(crate) fn checks(&self) -> CheckStatuses {
        if is_told_by_check(&self.instance.spec.checks) { self.each_check() } else { CheckStatuses::default() }
    }

    /// What it makes now of those of the checks of another registration that are among its own.
    pub(crate) fn checks_for(&self, spec: &InstanceSpec) -> CheckStatuses {
        let (own, each) = (&self.instance.spec.checks, self.each_check());
        CheckStatuses::of(&spec.checks, |_, check| each.of_check(own, &check.id))
    }

    fn each_check(&self) -> CheckStatuses {
        let (spec, mut records) = (&self.instance.spec, self.record.checks());
        // The records are those of the checks that are not by heartbeats, in the same order.
        let probed: Vec<_> =
            spec.checks.iter().map(|check| check.kind.initial().is_none().then(|| records.next())).collect();
        let known = self.known_checks.about(&spec.checks);
        CheckStatuses::of(&spec.checks, |place, _| match probed[place] {
            Some(record) => {
                let verdict = record.map(|(_, _, record)| record.verdict().status);
                verdict.filter(|status| has_verdict(*status)).or(known.get(place))
            }
            None => {
                let lease = self.lease.as_ref()?;
                // When nobody hears the instance, nobody hears any of its checks.
                let is_expired = lease.state() == LeaseState::Expired;
                let own = self.by_heartbeats.iter().find(|(of, _)| *of == place && !is_expired);
                Some(own.map_or_else(|| lease.status(), |(_, check)| check.status()))
            }
        })
    }

    /// What to say of it now; `None` while it has no verdict. It is not taken back then: what was said before the record was made
    /// anew stands until it runs out.
    pub(crate) fn report(&mut self, slot: Slot, now: MonoTime) -> Option<Report> {
        if let Some(resay_at) = &mut self.resay_at {
            // Who confirms looks away when the doubt is over.
            *resay_at = now.plus(if self.duty == Duty::Confirm { CALM_UNPROBED } else { RESAY });
        }
        let state = self.record.state();
        let has_nothing_to_say = state.status == Status::Unknown && state.cause == Cause::NotSeen;
        let is_seen = state.status != Status::Unknown;
        (!has_nothing_to_say).then(|| Report {
            slot,
            tenancy: tenancy_of(&self.instance),
            observation: is_seen.then(|| self.observation(now)),
            forecast: self.trends.forecast().filter(|_| is_seen),
            checks: if is_seen { self.told_checks() } else { Checks::Untold },
            news: None,
            valid_for: self.record.valid_for(),
        })
    }

    fn observation(&self, now: MonoTime) -> Observation {
        let (trend, time_to_failure) = (self.trends.trend(), self.trends.time_to_failure());
        Observation { trend, time_to_failure, ..self.record.observation(now) }
    }

    fn told_checks(&self) -> Checks {
        let checks = &self.instance.spec.checks;
        if !is_told_by_check(checks) {
            return Checks::Untold;
        }
        let told = self.each_check();
        let is_plain = self.record.state().status == Status::Passing && all_pass(told, checks);
        if is_plain { Checks::Pass(told) } else { Checks::Told(told) }
    }

    /// Takes back what was said of it.
    pub(crate) fn withdrawal(&self, slot: Slot) -> Report {
        Report {
            slot,
            tenancy: tenancy_of(&self.instance),
            observation: None,
            forecast: None,
            checks: Checks::Untold,
            news: None,
            valid_for: Duration::ZERO,
        }
    }

    /// What to say of it when this node looks away: the same, until others have looked. Nothing of what rests on probes, which
    /// does not hold for long.
    pub(crate) fn last_word(&mut self, slot: Slot, now: MonoTime) -> Option<Report> {
        let report = self.resay_at.is_some().then(|| self.report(slot, now))??;
        Some(Report { valid_for: LAST_WORD, ..report })
    }

    /// Takes in what other lookers show of it. Returns whether it is probed at once. Whoever has a doubt of its own settles it
    /// at its own pace: nodes that hurried each other on would find three failures within the time of one.
    pub(crate) fn heed(&mut self, doubt: Doubt, is_new_here: bool, now: MonoTime) -> bool {
        self.doubt_stands = doubt.stands;
        if doubt.is_failing {
            self.doubted_at = now;
        }
        let is_sure = self.record.checks().all(|(_, _, check)| check.connectivity().is_none_or(|value| value >= 1.0));
        let is_to_look = match self.record.state().status {
            Status::Critical => doubt.is_recovering,
            _ => doubt.is_failing && is_sure,
        };
        let is_challenged = is_to_look || is_new_here;
        if is_challenged {
            self.record.challenge(now);
        }
        is_challenged
    }

    /// Whether nobody doubts any more, for as long as a doubt may take to become a verdict: one interval.
    pub(crate) fn is_calm(&self, now: MonoTime) -> bool {
        let has_seen = matches!(self.record.state().status, Status::Passing | Status::Warning);
        let is_unprobed = self.resay_at.is_some();
        let interval = if is_unprobed { CALM_UNPROBED } else { self.record.valid_for() / VALID_INTERVALS };
        has_seen && !self.doubt_stands && now.since(self.doubted_at) >= interval
    }

    /// Whether something is due that is no probe.
    pub(crate) fn is_lease_due(&self, now: MonoTime) -> bool {
        self.lease_at.is_some_and(|at| at <= now)
    }
}

/// The longest silence that the heartbeats of an instance may have: that of its lease, or the longest of its checks by
/// heartbeats. `None` when it is not to send any.
pub(crate) fn ttl_of(instance: &Instance) -> Option<Duration> {
    let by_checks = instance.spec.checks.iter().filter_map(|check| match check.kind {
        CheckKind::Ttl { ttl, .. } => Some(ttl),
        _ => None,
    });
    let ttl = instance.spec.lease.map(|lease| lease.ttl).or_else(|| by_checks.max())?;
    Some(ttl.duration())
}

/// The checks by heartbeats, with their places in the registration.
pub(crate) fn ttl_checks(spec: &InstanceSpec) -> impl Iterator<Item = (usize, &CheckSpec)> {
    spec.checks.iter().enumerate().filter(|(_, check)| matches!(check.kind, CheckKind::Ttl { .. }))
}

/// Whether a heartbeat says all that heartbeats have to say of an instance: that its lease is kept, or what one check is.
pub(crate) fn is_heard_as_one(spec: &InstanceSpec) -> bool {
    ttl_checks(spec).count() + usize::from(spec.lease.is_some()) <= 1
}

fn watches(spec: &InstanceSpec, begins: impl Fn(usize, &CheckSpec) -> Status, at: Reading) -> Box<[(usize, TtlWatch)]> {
    let watch = |(place, check): (usize, &CheckSpec)| match check.kind {
        CheckKind::Ttl { ttl, .. } => Some((place, TtlWatch::new(ttl.duration(), begins(place, check), at))),
        _ => None,
    };
    ttl_checks(spec).filter_map(watch).collect()
}

/// Whether somebody made up their mind.
pub(super) fn has_verdict(status: Status) -> bool {
    !matches!(status, Status::Unknown | Status::Starting)
}

/// What is left of the time in which an instance that was just registered may take to start.
fn startup_left(instance: &Instance, wall: UnixMillis) -> Duration {
    let age = wall.get().saturating_sub(instance.registered_at.get());
    STARTUP_MAX.saturating_sub(Duration::from_millis(age))
}
