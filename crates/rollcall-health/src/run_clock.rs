//! A clock that stops while this process is stopped.
//!
//! A heartbeat that arrived while the process was paused was not missed, only unread. So silence is measured on a clock that
//! does not count the time in which nothing here ran: it expects to be ticked every [`RUN_TICK`], and what comes later than
//! that by [`LATE`] or more is taken for time lost. After a loss it says for [`SETTLE`] that it is settling: what waits in
//! the sockets is read first, and nothing expires meanwhile. A process that stalls again and again would so let nothing
//! expire for ever; when it has run for [`SETTLE_MAX`] since the first of such stalls, it settles no more until it was calm for [`SETTLE`].
//!
//! Limits: lateness below [`LATE`] is not subtracted, or a timer that is always a millisecond late would slow the clock.

use std::time::Duration;

use rollcall_types::MonoTime;

/// How often the shell calls [`RunClock::tick`].
pub const RUN_TICK: Duration = Duration::from_millis(200);
/// Lateness of a reading that shows a stall.
const LATE: Duration = Duration::from_millis(100);
/// Time after a stall in which nothing expires: enough to read what arrived during it.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest time run in which stalls that follow each other within [`SETTLE`] keep everything from expiring.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// Time that this process spent running, since an arbitrary start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RunTime(Duration);

impl RunTime {
    /// Time run since `earlier`; zero when it was not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The time at which `span` more was run.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

/// One look at the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The monotonic time: for what is shown.
    pub now: MonoTime,
    /// The time run: for what expires.
    pub run: RunTime,
    /// A stall ended just now, so nothing expires.
    pub is_settling: bool,
}

/// The clock. Its first reading starts it.
///
/// Invariant: `latest`, and with it the time run, never goes back.
#[derive(Debug, Clone)]
pub struct RunClock {
    started: MonoTime,
    latest: MonoTime,
    due: MonoTime,
    lost: Duration,
    /// The last stall, and the first of those that led to it with less than [`SETTLE`] between them.
    stalls: Option<(RunTime, RunTime)>,
    settled_at: RunTime,
}

impl RunClock {
    /// A clock that has run for no time.
    pub const fn new(now: MonoTime) -> Self {
        let due = now.plus(RUN_TICK);
        Self { started: now, latest: now, due, lost: Duration::ZERO, stalls: None, settled_at: RunTime(Duration::ZERO) }
    }

    /// Looks at the clock: for every input, so that a stall is noticed before the input is judged. `now` must not go
    /// backwards; an older `now` is treated as the latest seen.
    pub fn read(&mut self, now: MonoTime) -> Reading {
        self.latest = self.latest.max(now);
        let late = self.latest.since(self.due);
        if late >= LATE {
            self.lost += late;
            self.due = self.latest.plus(RUN_TICK);
            self.settle();
        }
        let run = self.run();
        Reading { now: self.latest, run, is_settling: run < self.settled_at }
    }

    /// Looks at the clock, and expects the next tick in [`RUN_TICK`].
    pub fn tick(&mut self, now: MonoTime) -> Reading {
        let reading = self.read(now);
        self.due = self.latest.plus(RUN_TICK);
        reading
    }

    /// The sum of all stalls.
    pub const fn lost(&self) -> Duration {
        self.lost
    }

    fn settle(&mut self) {
        let run = self.run();
        let first = self.stalls.filter(|(last, _)| run < last.plus(SETTLE)).map_or(run, |(_, first)| first);
        self.stalls = Some((run, first));
        self.settled_at = run.plus(SETTLE).min(first.plus(SETTLE_MAX));
    }

    fn run(&self) -> RunTime {
        RunTime(self.latest.since(self.started).saturating_sub(self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonoTime {
        MonoTime::new(Duration::from_millis(millis))
    }

    fn run_for(clock: &mut RunClock, from: u64, to: u64) -> Reading {
        (from..=to).step_by(200).map(|millis| clock.tick(at(millis))).last().unwrap()
    }

    #[test]
    fn a_process_that_runs_loses_no_time() {
        let mut clock = RunClock::new(at(1_000));
        let reading = run_for(&mut clock, 1_200, 11_000);
        assert_eq!((reading.run, reading.is_settling), (RunTime(Duration::from_secs(10)), false));
        assert_eq!(clock.lost(), Duration::ZERO);
    }

    #[test]
    fn a_stall_is_not_counted_and_nothing_expires_for_a_second_after_it() {
        let mut clock = RunClock::new(at(0));
        let before = run_for(&mut clock, 0, 1_000);
        let woken = clock.read(at(31_200));
        assert_eq!(woken.run.since(before.run), RUN_TICK, "the tick that was due, and not the 30 s after it");
        assert!(woken.is_settling);
        assert!(run_for(&mut clock, 31_200, 32_000).is_settling);
        assert!(!clock.tick(at(32_200)).is_settling);
    }

    #[test]
    fn stalls_without_end_put_off_what_expires_for_ten_seconds_and_again_after_a_calm_second() {
        let mut clock = RunClock::new(at(0));
        // Half a second lost at each tick.
        let readings: Vec<Reading> = (1..=100).map(|tick| clock.tick(at(700 * tick))).collect();
        let ran = |reading: &Reading| reading.run.since(readings[0].run);
        assert!(readings.iter().all(|reading| reading.is_settling == (ran(reading) < SETTLE_MAX)), "{readings:?}");
        assert!(!run_for(&mut clock, 70_200, 71_000).is_settling);
        assert!(clock.tick(at(71_700)).is_settling, "a new one, after a second without any");
    }

    #[test]
    fn a_reading_that_goes_back_is_the_latest_again() {
        let mut clock = RunClock::new(at(5_000));
        assert_eq!(clock.tick(at(5_100)), clock.read(at(0)));
    }
}
