//! The clock by which silence is measured: it stops while this process is stopped.
//!
//! Every input brings the time. One that comes more than [`Lateness::THRESHOLD`] after the next tick was due shows that the
//! process did not run: the excess is a stall, and observed time does not contain it. That holds for whatever input comes
//! first after a stall; a message from a full receive buffer that were judged before the late tick would find everyone silent.

use std::time::Duration;

use rollcall_types::MonoTime;

use super::TICK;
use super::evidence::Lateness;

/// Invariants:
/// - `lost` is at most `now`, and both only grow, so observed time never runs backwards.
/// - `abstains_until` is in observed time.
#[derive(Debug)]
pub(super) struct Clock {
    now: MonoTime,
    due: MonoTime,
    lost: Duration,
    stalls: u64,
    abstains_until: MonoTime,
    worst: Lateness,
}

impl Clock {
    pub(super) fn new(now: MonoTime) -> Self {
        let abstains_until = MonoTime::default();
        Self { now, due: now.plus(TICK), lost: Duration::ZERO, stalls: 0, abstains_until, worst: Lateness::OnTime }
    }

    /// Takes a reading; returns the length of the stall that it shows, if any.
    pub(super) fn arrive(&mut self, now: MonoTime) -> Option<Duration> {
        self.now = self.now.max(now);
        let late = self.now.since(self.due);
        if late < Lateness::THRESHOLD {
            return None;
        }
        self.worst = self.lateness().max(Lateness::of(late));
        self.lost += late;
        self.due = self.now.plus(TICK);
        self.stalls += 1;
        Some(late)
    }

    /// The tick came.
    pub(super) fn ticked(&mut self) {
        self.due = self.now.plus(TICK);
    }

    /// Judge nobody for `span` of observed time from now, or longer if that was decided before.
    pub(super) fn abstain(&mut self, span: Duration) {
        self.abstains_until = self.abstains_until.max(self.observed().plus(span));
    }

    pub(super) fn is_abstaining(&self) -> bool {
        self.observed() < self.abstains_until
    }

    /// The worst stall of the present abstention.
    pub(super) fn lateness(&self) -> Lateness {
        if self.is_abstaining() { self.worst } else { Lateness::OnTime }
    }

    /// The latest reading.
    pub(super) fn now(&self) -> MonoTime {
        self.now
    }

    /// Time during which this process ran.
    pub(super) fn observed(&self) -> MonoTime {
        MonoTime::new(self.now.since(MonoTime::default()).saturating_sub(self.lost))
    }

    pub(super) fn stalls(&self) -> u64 {
        self.stalls
    }

    pub(super) fn stalled(&self) -> Duration {
        self.lost
    }
}
