//! Flap damping in the shape of RFC 2439 §2.3 (route flap damping): a penalty that each change raises and time halves.
//!
//! ```text
//! penalty(t) = penalty(t₀) · 2^(−(t − t₀) / PENALTY_HALF_LIFE);   + 1 for each change between verdicts, at most PENALTY_MAX
//! held from penalty > PENALTY_SUPPRESS  until  penalty < PENALTY_REUSE
//! ```
//! While it is held, the status shown is the worst that was seen since then. A change from `unknown` or `starting` is no flap
//! and costs nothing.

use std::time::Duration;

use rollcall_types::MonoTime;

use crate::{Flap, Status};

/// Time in which the penalty halves. A failure and its recovery (2) are forgiven down to 0.5 in ten minutes.
pub const PENALTY_HALF_LIFE: Duration = Duration::from_secs(300);
/// Penalty above which the status is held: the fifth change within minutes, so two whole failures are told as they are.
pub const PENALTY_SUPPRESS: f64 = 4.0;
/// Penalty below which it is free again: 9 minutes after the fifth of five quick changes.
pub const PENALTY_REUSE: f64 = 1.5;
/// Highest penalty, however often it changes: it is free again at most ten minutes after the last change.
pub const PENALTY_MAX: f64 = 6.0;
/// Penalty from which on it counts as having changed at all.
const PENALTY_CHANGED: f64 = 0.5;

/// Invariant: `penalty` is in 0.0..=[`PENALTY_MAX`], as it was at `at`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Damping {
    penalty: f64,
    at: MonoTime,
    /// The worst status since it is held.
    held: Option<Status>,
}

impl Damping {
    /// The verdict changed between two verdicts.
    pub(super) fn changed(&mut self, from: Status, to: Status, now: MonoTime) {
        self.penalty = (self.penalty(now) + 1.0).min(PENALTY_MAX);
        self.at = now;
        if self.penalty > PENALTY_SUPPRESS {
            let worse = from.max(to);
            self.held = Some(self.held.map_or(worse, |held| held.max(worse)));
        }
    }

    /// The status to show for a verdict.
    pub(super) fn shown(&mut self, verdict: Status, now: MonoTime) -> Status {
        if self.penalty(now) < PENALTY_REUSE {
            self.held = None;
        }
        self.held.map_or(verdict, |held| held.max(verdict))
    }

    /// How often it has changed lately.
    pub(super) fn flap(&self, now: MonoTime) -> Flap {
        match self.penalty(now) {
            _ if self.held.is_some() => Flap::Flapping,
            penalty if penalty > 1.0 => Flap::Unsteady,
            penalty if penalty >= PENALTY_CHANGED => Flap::Changed,
            _ => Flap::Calm,
        }
    }

    fn penalty(&self, now: MonoTime) -> f64 {
        self.penalty * (-now.since(self.at).div_duration_f64(PENALTY_HALF_LIFE)).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::new(Duration::from_secs(seconds))
    }

    fn flapped(times: u64) -> Damping {
        let mut damping = Damping::default();
        for second in 0..times {
            damping.changed(Status::Passing, Status::Critical, at(second));
        }
        damping
    }

    #[test]
    fn four_changes_are_told_and_the_fifth_is_held() {
        assert_eq!(flapped(4).shown(Status::Passing, at(4)), Status::Passing);
        assert_eq!(flapped(5).shown(Status::Passing, at(5)), Status::Critical);
        assert_eq!(flapped(5).flap(at(5)), Flap::Flapping);
    }

    #[test]
    fn after_the_fifth_change_it_is_free_within_8_to_9_minutes() {
        let mut damping = flapped(5);
        assert_eq!(damping.shown(Status::Passing, at(4 + 8 * 60)), Status::Critical);
        assert_eq!(damping.shown(Status::Passing, at(4 + 9 * 60)), Status::Passing);
    }

    #[test]
    fn however_often_it_changed_it_is_free_ten_minutes_later() {
        let mut damping = flapped(1_000);
        assert_eq!(damping.shown(Status::Passing, at(999 + 599)), Status::Critical);
        assert_eq!(damping.shown(Status::Passing, at(999 + 601)), Status::Passing);
    }

    #[test]
    fn a_failure_is_changed_a_recovery_too_makes_it_unsteady_and_time_makes_it_calm() {
        assert_eq!(flapped(1).flap(at(0)), Flap::Changed);
        assert_eq!(flapped(2).flap(at(1)), Flap::Unsteady);
        assert_eq!(flapped(2).flap(at(301)), Flap::Changed);
        assert_eq!(flapped(2).flap(at(701)), Flap::Calm);
    }
}
