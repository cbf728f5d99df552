//! All checks of one instance at one observer, rolled up.

use std::time::Duration;

use rollcall_types::{CapabilityName, CheckId, CheckSpec, MonoTime};

use super::cause::Cause;
use super::load::Load;
use super::outcome::{Outcome, Report};
use super::record::{CheckRecord, Transition, Verdict};
use super::score::{Score, Signals};
use crate::run_clock::Reading;
use crate::{Flap, Observation, ScoreStep, Status};

/// For how long an observation holds that rests on no probe, but on heartbeats and aliases, which are looked at every second.
const VALID_UNPROBED: Duration = Duration::from_secs(180);

/// What is held of an instance at one observer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceState {
    /// The status of the worst check.
    pub status: Status,
    /// When it came to have this status.
    pub since: MonoTime,
    /// Why.
    pub cause: Cause,
    /// The check that decides; `None` when it is the lease, or there is nothing to check.
    pub check: Option<CheckId>,
}

/// All checks of one instance at one observer.
///
/// The instance is as bad as the worst check that stands for all of it, in the order critical, starting, unknown, warning,
/// passing: an instance of which one check has no verdict has none. A capability that fails makes it `warning`. With neither
/// checks nor a lease it passes.
///
/// `now` must not go backwards; an older `now` is treated as the latest seen.
///
/// Invariant: `state` is what `checks` and `lease` add up to.
#[derive(Debug, Clone)]
pub struct InstanceRecord {
    checks: Vec<Entry>,
    lease: Option<Verdict>,
    expected: Option<Duration>,
    load: Option<(Load, MonoTime)>,
    reported: Option<f64>,
    state: InstanceState,
    latest: MonoTime,
}

#[derive(Debug, Clone)]
struct Entry {
    id: CheckId,
    capability: Option<CapabilityName>,
    record: CheckRecord,
}

impl InstanceRecord {
    /// An instance that was not looked at yet. Checks by heartbeats are for the node that hears them, the others for who
    /// probes: see [`lease`](crate::lease). `expected` is the expected response time of its service, `startup_left` as in
    /// [`CheckRecord::new`]. Each check takes 64 random bits from `draw`. At most [`CHECKS_MAX`](rollcall_types::CHECKS_MAX)
    /// are kept.
    pub fn new<'c>(
        checks: impl IntoIterator<Item = &'c CheckSpec>,
        has_lease: bool,
        expected: Option<Duration>,
        startup_left: Duration,
        now: MonoTime,
        mut draw: impl FnMut() -> u64,
    ) -> Self {
        let entry = |spec: &CheckSpec| Entry {
            id: spec.id.clone(),
            capability: spec.capability.clone(),
            record: CheckRecord::new(spec, startup_left, now, draw()),
        };
        let (status, cause) = match startup_left {
            Duration::ZERO => (Status::Unknown, Cause::NotSeen),
            _ => (Status::Starting, Cause::Starting),
        };
        let mut record = Self {
            checks: checks.into_iter().take(rollcall_types::CHECKS_MAX).map(entry).collect(),
            lease: has_lease.then_some(Verdict { status, since: now, cause }),
            expected,
            load: None,
            reported: None,
            state: InstanceState { status, since: now, cause, check: None },
            latest: now,
        };
        record.settle();
        record
    }

    /// Records the outcome of a probe; see [`CheckRecord::observe`]. Returns the change of the instance's status, if any.
    pub fn observe(&mut self, check: &CheckId, outcome: Outcome, now: MonoTime, draw: u64) -> Option<Transition> {
        let expected = self.expected;
        self.change(check, now, |record| record.observe(outcome, expected, now, draw))
    }

    /// Records a heartbeat for a check; see [`CheckRecord::heartbeat`].
    pub fn heartbeat(&mut self, check: &CheckId, report: Report, at: Reading) -> Option<Transition> {
        self.change(check, at.now, |record| record.heartbeat(report, at))
    }

    /// Records the status of what an alias names; see [`CheckRecord::follow`]. [`worst_of`] makes one of a whole service.
    pub fn follow(&mut self, check: &CheckId, status: Status, now: MonoTime) -> Option<Transition> {
        self.change(check, now, |record| record.follow(status, now))
    }

    /// Lets time pass for checks by heartbeats; see [`CheckRecord::tick`].
    pub fn tick(&mut self, at: Reading) -> Option<Transition> {
        self.latest = self.latest.max(at.now);
        for entry in &mut self.checks {
            entry.record.tick(at);
        }
        self.settle()
    }

    /// Records what is known of the lease; see [`LeaseWatch`](crate::lease::LeaseWatch). `why_critical` is the cause when that is
    /// critical; `score` is what its heartbeats amount to, in [0, 1]. Does nothing when the instance has no lease.
    pub fn lease(
        &mut self,
        status: Status,
        why_critical: Cause,
        score: Option<f64>,
        now: MonoTime,
    ) -> Option<Transition> {
        self.latest = self.latest.max(now);
        let lease = self.lease.as_mut()?;
        let cause = match status {
            Status::Unknown => Cause::NotSeen,
            Status::Starting => Cause::Starting,
            Status::Passing | Status::Warning => Cause::Reported,
            Status::Critical => why_critical,
        };
        (lease.status, lease.cause) = (status, cause);
        self.reported = score;
        self.settle()
    }

    /// Records what the instance says of its load; it counts for `valid_for`, three of its usual gaps.
    pub fn load(&mut self, load: Load, valid_for: Duration, now: MonoTime) {
        self.load = Some((load, now.plus(valid_for)));
    }

    /// The expected response time of the service changed.
    pub fn expect(&mut self, expected: Option<Duration>) {
        self.expected = expected;
    }

    /// Probes everything now; see [`CheckRecord::challenge`].
    pub fn challenge(&mut self, now: MonoTime) {
        self.checks.iter_mut().for_each(|entry| entry.record.challenge(now));
    }

    /// Probes twice as often as defined, or no longer; see [`CheckRecord::hasten`].
    pub fn hasten(&mut self, is_hastened: bool) {
        self.checks.iter_mut().for_each(|entry| entry.record.hasten(is_hastened));
    }

    /// The next probe that is due: when, and of which check.
    pub fn due(&self) -> Option<(MonoTime, &CheckId)> {
        self.checks.iter().filter_map(|entry| Some((entry.record.due()?, &entry.id))).min()
    }

    /// What is held of the instance.
    pub fn state(&self) -> &InstanceState {
        &self.state
    }

    /// Its checks, in the order of the registration.
    pub fn checks(&self) -> impl Iterator<Item = (&CheckId, Option<&CapabilityName>, &CheckRecord)> {
        self.checks.iter().map(|entry| (&entry.id, entry.capability.as_ref(), &entry.record))
    }

    /// Capabilities with a check that is critical: the instance does not offer them now.
    pub fn failed_capabilities(&self) -> impl Iterator<Item = &CapabilityName> {
        let failed = self.checks.iter().filter(|entry| entry.record.verdict().status == Status::Critical);
        failed.filter_map(|entry| entry.capability.as_ref())
    }

    /// How often it has changed lately: the worst of its checks.
    pub fn flap(&self, now: MonoTime) -> Flap {
        self.checks.iter().map(|entry| entry.record.flap(now)).max().unwrap_or_default()
    }

    /// How well it does, and why: see [`Score`].
    pub fn score(&self, now: MonoTime) -> Score {
        let load = self.load.filter(|(_, until)| now < *until).map(|(load, _)| load).unwrap_or_default();
        let largest = |one: Option<f64>, other: Option<f64>| one.into_iter().chain(other).max_by(f64::total_cmp);
        let smallest = |one: Option<f64>, other: Option<f64>| one.into_iter().chain(other).min_by(f64::total_cmp);
        let lease = self.lease.filter(|lease| lease.status == Status::Critical).map(|_| 0.0);
        let slowest = self.whole().filter_map(CheckRecord::latency).chain(load.p95).max();
        let expected = self.expected.filter(|expected| *expected > Duration::ZERO);
        let errors = self.whole().filter_map(CheckRecord::error_rate).max_by(f64::total_cmp);
        Signals {
            connectivity: smallest(self.whole().filter_map(CheckRecord::connectivity).min_by(f64::total_cmp), lease),
            lateness: slowest.zip(expected).map(|(slowest, expected)| slowest.div_duration_f64(expected)),
            error_rate: largest(errors, load.errors()),
            resources: smallest(load.resources(), self.reported),
            capabilities: self.working_capabilities(),
        }
        .score()
    }

    /// What to publish of it; trend and time to failure are the forecast's to add.
    pub fn observation(&self, now: MonoTime) -> Observation {
        let score = ScoreStep::nearest(self.score(now).value);
        Observation { score, flap: self.flap(now), ..Observation::of(self.state.status) }
    }

    /// For how long an observation holds: three intervals of the check that is probed most often.
    pub fn valid_for(&self) -> Duration {
        let probed = self.checks.iter().filter_map(|entry| entry.record.valid_for());
        probed.min().unwrap_or(VALID_UNPROBED)
    }

    /// The checks that stand for the whole instance.
    fn whole(&self) -> impl Iterator<Item = &CheckRecord> {
        self.checks.iter().filter(|entry| entry.capability.is_none()).map(|entry| &entry.record)
    }

    fn working_capabilities(&self) -> Option<f64> {
        let (mut working, mut all) = (0_u32, 0_u32);
        for entry in self.checks.iter().filter(|entry| entry.capability.is_some()) {
            match entry.record.verdict().status {
                Status::Unknown | Status::Starting => {}
                Status::Critical => all += 1,
                Status::Passing | Status::Warning => (working, all) = (working + 1, all + 1),
            }
        }
        (all > 0).then(|| f64::from(working) / f64::from(all))
    }

    fn change(
        &mut self,
        check: &CheckId,
        now: MonoTime,
        change: impl FnOnce(&mut CheckRecord) -> Option<Transition>,
    ) -> Option<Transition> {
        self.latest = self.latest.max(now);
        let entry = self.checks.iter_mut().find(|entry| entry.id == *check)?;
        change(&mut entry.record);
        self.settle()
    }

    /// Brings the state up to date with the checks.
    fn settle(&mut self) -> Option<Transition> {
        let (status, cause, check) = self.add_up();
        let from = self.state.status;
        (self.state.cause, self.state.check) = (cause, check);
        if status == from {
            return None;
        }
        (self.state.status, self.state.since) = (status, self.latest);
        Some(Transition { from, to: status, cause, at: self.latest })
    }

    fn add_up(&self) -> (Status, Cause, Option<CheckId>) {
        let whole = self.checks.iter().filter(|entry| entry.capability.is_none());
        let whole = whole.map(|entry| (entry.record.verdict(), Some(&entry.id)));
        let all = whole.chain(self.lease.map(|lease| (lease, None)));
        // Of several that are equally bad the first decides: `min_by_key` keeps it.
        let worst = all.min_by_key(|(verdict, _)| std::cmp::Reverse(badness(verdict.status)));
        let (status, cause, check) = match worst {
            Some((verdict, id)) => (verdict.status, verdict.cause, id.cloned()),
            None => (Status::Passing, Cause::Unchecked, None),
        };
        let is_failed =
            |entry: &&Entry| entry.capability.is_some() && entry.record.verdict().status == Status::Critical;
        match self.checks.iter().find(is_failed) {
            Some(failed) if status == Status::Passing => {
                (Status::Warning, Cause::CapabilityFailed, Some(failed.id.clone()))
            }
            _ => (status, cause, check),
        }
    }
}

/// The status of several together: the worst, in the order critical, starting, unknown, warning, passing. `Unknown` for none.
pub fn worst_of(statuses: impl IntoIterator<Item = Status>) -> Status {
    statuses.into_iter().max_by_key(|status| badness(*status)).unwrap_or(Status::Unknown)
}

/// What keeps an instance from taking traffic is worse than what does not.
fn badness(status: Status) -> u8 {
    match status {
        Status::Passing => 0,
        Status::Warning => 1,
        Status::Unknown => 2,
        Status::Starting => 3,
        Status::Critical => 4,
    }
}

#[cfg(test)]
mod tests {
    use rollcall_types::{CHECKS_MAX, CheckKind, Millis, Text};

    use super::*;

    fn spec(number: usize, interval: u64) -> CheckSpec {
        CheckSpec {
            id: format!("check-{number}").parse().unwrap(),
            name: Text::default(),
            notes: Text::default(),
            capability: None,
            kind: CheckKind::Tcp { host: "localhost".try_into().unwrap(), port: 80_u64.try_into().unwrap() },
            interval: Millis::new(interval),
            timeout: Millis::new(100),
            failures_before_critical: 3,
            successes_before_passing: 2,
        }
    }

    fn record(checks: &[CheckSpec]) -> InstanceRecord {
        InstanceRecord::new(checks, false, None, Duration::ZERO, MonoTime::default(), || 0)
    }

    #[test]
    fn an_instance_with_ten_thousand_checks_is_watched_by_as_many_as_there_may_be() {
        let checks: Vec<CheckSpec> = (0..10_000).map(|number| spec(number, 1_000)).collect();
        assert_eq!(record(&checks).checks().count(), CHECKS_MAX);
    }

    #[test]
    fn what_was_seen_holds_for_three_intervals_of_the_check_that_is_probed_most_often() {
        let record = record(&[spec(1, 10_000), spec(2, 1_000)]);
        assert_eq!(record.valid_for(), Duration::from_secs(3));
        assert_eq!(self::record(&[]).valid_for(), VALID_UNPROBED);
    }

    #[test]
    fn an_outcome_of_a_check_that_is_not_there_changes_nothing() {
        let mut record = record(&[spec(1, 1_000)]);
        let outcome = Outcome { answer: crate::check::Answer::Passed, latency: Duration::ZERO };
        assert_eq!(record.observe(&"other".parse().unwrap(), outcome, MonoTime::default(), 0), None);
        assert_eq!(record.state().status, Status::Unknown);
    }

    #[test]
    fn the_worst_of_none_is_unknown_and_of_several_the_one_that_keeps_it_from_traffic() {
        assert_eq!(worst_of([]), Status::Unknown);
        assert_eq!(worst_of([Status::Passing, Status::Warning]), Status::Warning);
        assert_eq!(worst_of([Status::Warning, Status::Unknown]), Status::Unknown);
        assert_eq!(worst_of([Status::Critical, Status::Starting]), Status::Critical);
    }
}
