//! One check of one instance, as one observer sees it.

use std::time::Duration;

use rollcall_types::{CheckKind, CheckSpec, MonoTime};

use super::answers::Answers;
use super::cause::Cause;
use super::damping::Damping;
use super::ewma::Ewma;
use super::outcome::{Answer, Failure, Outcome, Report};
use super::timing::{Purpose, Timing, VALID_INTERVALS};
use crate::run_clock::{Reading, RunTime};
use crate::{Flap, Status};

/// Time after its registration in which an instance that has not passed yet is `starting` and not `critical`. Enough for a
/// large process to load; one that starts faster is in service at its first success.
pub const STARTUP_MAX: Duration = Duration::from_secs(30);

/// Where a check stands in the life of its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// No verdict yet.
    Startup,
    /// It has a verdict, and is not fit for traffic.
    Live,
    /// Fit for traffic.
    Ready,
}

/// What is held of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The status.
    pub status: Status,
    /// When it came to have this status.
    pub since: MonoTime,
    /// Why.
    pub cause: Cause,
}

/// A change of status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The status before.
    pub from: Status,
    /// The status after.
    pub to: Status,
    /// Why it has the status after.
    pub cause: Cause,
    /// When it changed.
    pub at: MonoTime,
}

/// One check of one instance, as one observer sees it. Some 200 bytes.
///
/// `now` must not go backwards; an older `now` is treated as the latest seen. An input that is not the check's kind (an
/// outcome for an alias) changes nothing.
///
/// Invariants:
/// - `judged` is what the answers say; `verdict` is that or, while it flaps, the worst of late.
/// - `answers` is empty unless the check is probed.
#[derive(Debug, Clone)]
pub struct CheckRecord {
    input: Input,
    failures_needed: u8,
    successes_needed: u8,
    answers: Answers,
    judged: Status,
    judged_by: Cause,
    /// Why the last answer that was a warning was one.
    warned_by: Cause,
    damping: Damping,
    verdict: Verdict,
    startup_until: MonoTime,
    latest: MonoTime,
    latency: Ewma,
    errors: Ewma,
}

/// Where the answers come from.
#[derive(Debug, Clone, Copy)]
enum Input {
    Probed { timing: Timing, due: MonoTime },
    Heartbeats { ttl: Duration, heard_at: Option<RunTime> },
    Alias,
    Fixed,
}

impl CheckRecord {
    /// A check that was not run yet.
    ///
    /// `startup_left` is what is left of [`STARTUP_MAX`] since the instance was registered; zero when it is only probed to
    /// confirm another observer. `draw` is 64 random bits, here as everywhere.
    pub fn new(spec: &CheckSpec, startup_left: Duration, now: MonoTime, draw: u64) -> Self {
        let is_new = startup_left > Duration::ZERO;
        let (status, cause) = match spec.kind {
            CheckKind::Fixed { status } => (status, Cause::Reported),
            _ if is_new => (Status::Starting, Cause::Starting),
            _ => (Status::Unknown, Cause::NotSeen),
        };
        let input = match &spec.kind {
            CheckKind::Http { .. } | CheckKind::Tcp { .. } | CheckKind::Grpc { .. } => {
                let timing = Timing::of(spec);
                Input::Probed { timing, due: timing.first(is_new, now, draw) }
            }
            CheckKind::Ttl { ttl, .. } => Input::Heartbeats { ttl: ttl.duration(), heard_at: None },
            CheckKind::Alias { .. } => Input::Alias,
            CheckKind::Fixed { .. } => Input::Fixed,
        };
        Self {
            input,
            failures_needed: spec.failures_before_critical,
            successes_needed: spec.successes_before_passing,
            answers: Answers::default(),
            judged: status,
            judged_by: cause,
            warned_by: cause,
            damping: Damping::default(),
            verdict: Verdict { status, since: now, cause },
            startup_until: now.plus(startup_left),
            latest: now,
            latency: Ewma::default(),
            errors: Ewma::default(),
        }
    }

    /// Records the outcome of a probe that ended `now`, and returns the change of status that it caused, if any.
    /// `expected` is the expected response time of the service, if it has one. The next probe is due at [`Self::due`].
    pub fn observe(
        &mut self,
        outcome: Outcome,
        expected: Option<Duration>,
        now: MonoTime,
        draw: u64,
    ) -> Option<Transition> {
        let Input::Probed { timing, .. } = self.input else { return None };
        self.latest = self.latest.max(now);
        let Some((said, cause)) = read(outcome, expected) else {
            let due = timing.next(Purpose::Regular, outcome.latency, self.latest, draw);
            self.input = Input::Probed { timing, due };
            return None;
        };
        if said == Status::Unknown {
            self.answers.clear();
            self.turn(said, cause);
        } else {
            self.answers.push(said);
            self.average(outcome, timing.interval);
            self.judge(said, cause);
        }
        let purpose = if said == self.judged { Purpose::Regular } else { Purpose::Doubt };
        let due = timing.next(purpose, outcome.latency, self.latest, draw);
        self.input = Input::Probed { timing, due };
        self.settle()
    }

    /// Records a heartbeat. It counts at once: an instance that speaks for itself is not second-guessed.
    pub fn heartbeat(&mut self, report: Report, at: Reading) -> Option<Transition> {
        let Input::Heartbeats { heard_at, .. } = &mut self.input else { return None };
        *heard_at = Some(at.run);
        self.latest = self.latest.max(at.now);
        self.turn(report.status(), Cause::Reported);
        self.settle()
    }

    /// Lets time pass for a check by heartbeats: silence for longer than its time to live is critical. Time in which this
    /// process did not run is not held against it, and a check that never heard any counts from its first tick.
    pub fn tick(&mut self, at: Reading) -> Option<Transition> {
        let Input::Heartbeats { ttl, heard_at } = &mut self.input else { return None };
        let silence = at.run.since(*heard_at.get_or_insert(at.run));
        if silence <= *ttl || at.is_settling {
            return None;
        }
        self.latest = self.latest.max(at.now);
        self.turn(Status::Critical, Cause::HeartbeatMissed);
        self.settle()
    }

    /// Records the status of what an alias names.
    pub fn follow(&mut self, status: Status, now: MonoTime) -> Option<Transition> {
        let Input::Alias = self.input else { return None };
        self.latest = self.latest.max(now);
        self.turn(status, Cause::Alias);
        self.settle()
    }

    /// Probes now: another observer saw it fail and asks what is seen from here.
    pub fn challenge(&mut self, now: MonoTime) {
        if let Input::Probed { due, .. } = &mut self.input {
            *due = (*due).min(now);
        }
    }

    /// Probes twice as often as defined from the next probe on, or no longer: for an instance whose failure is predicted.
    pub fn hasten(&mut self, is_hastened: bool) {
        if let Input::Probed { timing, .. } = &mut self.input {
            timing.is_hastened = is_hastened;
        }
    }

    /// When the next probe is due; `None` when it is not a check that is probed.
    pub fn due(&self) -> Option<MonoTime> {
        match self.input {
            Input::Probed { due, .. } => Some(due),
            Input::Heartbeats { .. } | Input::Alias | Input::Fixed => None,
        }
    }

    /// What is held of it.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Where it stands in the life of its instance.
    pub fn phase(&self) -> Phase {
        match self.verdict.status {
            Status::Unknown | Status::Starting => Phase::Startup,
            Status::Critical => Phase::Live,
            Status::Passing | Status::Warning => Phase::Ready,
        }
    }

    /// How often it has changed lately.
    pub fn flap(&self, now: MonoTime) -> Flap {
        self.damping.flap(now)
    }

    /// How well it is reached, in [0, 1]: 0 when critical, else 1 less the share of the needed failures that were seen in a
    /// row. `None` without a verdict.
    pub fn connectivity(&self) -> Option<f64> {
        match self.judged {
            Status::Unknown | Status::Starting => None,
            Status::Critical => Some(0.0),
            Status::Passing | Status::Warning => {
                let seen = f64::from(self.answers.failures()) / f64::from(self.failures_needed.max(1));
                Some(1.0 - seen.min(1.0))
            }
        }
    }

    /// Mean time to an answer; failures are not counted. `None` before the first. See [`EWMA_INTERVALS`](super::EWMA_INTERVALS).
    pub fn latency(&self) -> Option<Duration> {
        self.latency.get().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// Mean share of failed probes, in [0, 1]. `None` before the first.
    pub fn error_rate(&self) -> Option<f64> {
        self.errors.get()
    }

    /// For how long what was seen holds without being seen again; `None` when the check is not probed.
    pub fn valid_for(&self) -> Option<Duration> {
        match self.input {
            Input::Probed { timing, .. } => Some(timing.interval * VALID_INTERVALS),
            Input::Heartbeats { .. } | Input::Alias | Input::Fixed => None,
        }
    }

    fn average(&mut self, outcome: Outcome, interval: Duration) {
        let is_failure = matches!(outcome.answer, Answer::Failed(_));
        self.errors.add(f64::from(u8::from(is_failure)), interval, self.latest);
        if !is_failure {
            self.latency.add(outcome.latency.as_secs_f64(), interval, self.latest);
        }
    }

    /// What the answers say now that the newest says `said`.
    fn judge(&mut self, said: Status, cause: Cause) {
        let worse = self.answers.mildest(self.failures_needed);
        let better = self.answers.worst(self.successes_needed);
        let before = self.judged;
        let judged = match before {
            Status::Unknown | Status::Starting => match worse {
                _ if said != Status::Critical => said,
                Some(Status::Critical) if self.latest >= self.startup_until => Status::Critical,
                _ => before,
            },
            // Both include the newest answer, so they never contradict each other.
            _ => worse.filter(|worse| *worse > before).or(better.filter(|better| *better < before)).unwrap_or(before),
        };
        if said == Status::Warning {
            self.warned_by = cause;
        }
        let cause = match judged {
            _ if said == judged => cause,
            // Of several answers together: the newest was better or worse.
            Status::Warning => self.warned_by,
            _ => self.judged_by,
        };
        self.turn(judged, cause);
    }

    fn turn(&mut self, judged: Status, cause: Cause) {
        let before = std::mem::replace(&mut self.judged, judged);
        self.judged_by = cause;
        if before != judged && has_verdict(before) && has_verdict(judged) {
            self.damping.changed(before, judged, self.latest);
        }
    }

    /// Brings the verdict up to date with what is judged.
    fn settle(&mut self) -> Option<Transition> {
        let (now, before) = (self.latest, self.verdict);
        let status = if has_verdict(self.judged) { self.damping.shown(self.judged, now) } else { self.judged };
        let cause = if status == self.judged { self.judged_by } else { Cause::Flapping };
        self.verdict.cause = cause;
        if status == before.status {
            return None;
        }
        (self.verdict.status, self.verdict.since) = (status, now);
        Some(Transition { from: before.status, to: status, cause, at: now })
    }
}

fn has_verdict(status: Status) -> bool {
    status > Status::Starting
}

/// The status that an outcome speaks for, and why; `None` when it says nothing.
fn read(outcome: Outcome, expected: Option<Duration>) -> Option<(Status, Cause)> {
    Some(match outcome.answer {
        Answer::PutOff => return None,
        Answer::Failed(Failure::Forbidden) => (Status::Unknown, Cause::Forbidden),
        Answer::Failed(failure) => (Status::Critical, failure.into()),
        Answer::Strained => (Status::Warning, Cause::Strained),
        Answer::Passed if outcome.is_late(expected) => (Status::Warning, Cause::Slow),
        Answer::Passed => (Status::Passing, Cause::Answers),
    })
}
