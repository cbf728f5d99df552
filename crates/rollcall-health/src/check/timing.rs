//! When a check is probed next.

use std::time::Duration;

use rollcall_types::{CheckSpec, MonoTime};

/// Part of the interval after which a check is probed again while its newest answer disagrees with its status.
pub const RETRY_DIVISOR: u32 = 5;
/// How far a gap between two probes is shortened or lengthened at random, as a part of it. Probes that once fell together
/// drift apart, and nobody can time a fault between them.
pub const JITTER: f64 = 0.1;
/// Longest wait for the first probe by an observer, whatever the interval: an instance about which nobody says anything is out of
/// service. It is no shorter so that what thousands of instances need after a restart is spread.
pub const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// Intervals that what was seen holds for without being seen again.
pub const VALID_INTERVALS: u32 = 3;

/// How often a check is probed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) interval: Duration,
    /// Failure is predicted: probed twice as often.
    pub(super) is_hastened: bool,
}

/// What the next probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether all is as it was.
    Regular,
    /// To settle a doubt.
    Doubt,
}

impl Timing {
    pub(super) fn of(spec: &CheckSpec) -> Self {
        Self { interval: spec.interval.duration(), is_hastened: false }
    }

    /// When a check is probed for the first time: a new instance soon, one that was taken over at any moment of its
    /// interval or of [`FIRST_WITHIN`], so that a thousand of them do not come at once.
    pub(super) fn first(&self, is_new: bool, now: MonoTime, draw: u64) -> MonoTime {
        let within = if is_new { self.interval / RETRY_DIVISOR } else { self.interval };
        now.plus(within.min(FIRST_WITHIN).mul_f64(unit(draw)))
    }

    /// When a check is probed after a probe that took `latency` and ended `now`. Regular gaps run from start to start.
    pub(super) fn next(&self, purpose: Purpose, latency: Duration, now: MonoTime, draw: u64) -> MonoTime {
        let jitter = 1.0 - JITTER + 2.0 * JITTER * unit(draw);
        match purpose {
            Purpose::Doubt => now.plus((self.interval / RETRY_DIVISOR).mul_f64(jitter)),
            Purpose::Regular => {
                let gap = if self.is_hastened { self.interval / 2 } else { self.interval };
                now.plus(gap.mul_f64(jitter).saturating_sub(latency))
            }
        }
    }
}

/// A random number in [0, 1) from 64 random bits.
fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing { interval: Duration::from_secs(10), is_hastened: false };

    fn gap(timing: Timing, purpose: Purpose, latency: u64, draw: u64) -> Duration {
        timing.next(purpose, Duration::from_secs(latency), MonoTime::default(), draw).since(MonoTime::default())
    }

    #[test]
    fn gaps_are_jittered_by_a_tenth_either_way_and_run_from_start_to_start() {
        assert_eq!(gap(TIMING, Purpose::Regular, 0, 0), Duration::from_secs(9));
        assert_eq!(gap(TIMING, Purpose::Regular, 0, 1 << 63), Duration::from_secs(10));
        assert!(gap(TIMING, Purpose::Regular, 0, u64::MAX) <= Duration::from_secs(11));
        assert_eq!(gap(TIMING, Purpose::Regular, 2, 1 << 63), Duration::from_secs(8));
        assert_eq!(gap(TIMING, Purpose::Regular, 60, 0), Duration::ZERO);
    }

    #[test]
    fn a_doubt_is_settled_after_a_fifth_and_a_predicted_failure_watched_twice_as_often() {
        assert_eq!(gap(TIMING, Purpose::Doubt, 2, 1 << 63), Duration::from_secs(2));
        let hastened = Timing { is_hastened: true, ..TIMING };
        assert_eq!(gap(hastened, Purpose::Regular, 0, 1 << 63), Duration::from_secs(5));
        assert_eq!(gap(hastened, Purpose::Doubt, 0, 1 << 63), Duration::from_secs(2));
    }

    #[test]
    fn a_check_taken_over_is_probed_within_its_interval_and_a_new_one_within_a_fifth() {
        for draw in [0, 1 << 62, u64::MAX] {
            assert!(TIMING.first(false, MonoTime::default(), draw) <= MonoTime::new(Duration::from_secs(10)));
            assert!(TIMING.first(true, MonoTime::default(), draw) <= MonoTime::new(Duration::from_secs(2)));
            let rare = Timing { interval: Duration::from_secs(86_400), ..TIMING };
            for is_new in [false, true] {
                assert!(rare.first(is_new, MonoTime::default(), draw) <= MonoTime::new(FIRST_WITHIN));
            }
        }
    }
}
