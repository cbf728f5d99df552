//! Means that forget: an exponentially weighted moving average over uneven gaps.
//!
//! ```text
//! mean ← mean + (1 − e^(−Δt/τ)) · (value − mean),   τ = EWMA_INTERVALS × interval of the check
//! ```
//! The weight follows the time between two values, so the quick retries around a failure do not count for more than the
//! regular probes.

use std::time::Duration;

use rollcall_types::MonoTime;

/// Time constant of the means of latency and error rate, in intervals of the check: a step is followed to 63 % after 6
/// probes, to 95 % after 18. At 10 s that is a minute and three.
pub const EWMA_INTERVALS: u32 = 6;

/// Invariant: `value` is between the smallest and the greatest value added.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ewma {
    mean: Option<(f64, MonoTime)>,
}

impl Ewma {
    /// Adds a value; the first one is the mean.
    pub(super) fn add(&mut self, value: f64, interval: Duration, now: MonoTime) {
        let mean = match self.mean {
            None => value,
            Some((mean, at)) => {
                let tau = interval * EWMA_INTERVALS;
                let weight = 1.0 - (-now.since(at).as_secs_f64() / tau.as_secs_f64().max(f64::MIN_POSITIVE)).exp();
                mean + weight * (value - mean)
            }
        };
        self.mean = Some((mean, now));
    }

    /// The mean; `None` before the first value.
    pub(super) fn get(&self) -> Option<f64> {
        self.mean.map(|(mean, _)| mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_followed_to_63_percent_after_six_intervals_however_many_values_tell_of_it() {
        let interval = Duration::from_secs(10);
        for gap in [1_000, 10_000] {
            let mut mean = Ewma::default();
            mean.add(0.0, interval, MonoTime::default());
            for millis in (gap..=60_000).step_by(gap as usize) {
                mean.add(1.0, interval, MonoTime::new(Duration::from_millis(millis)));
            }
            assert!((mean.get().unwrap() - 0.632).abs() < 0.001, "{gap} ms: {:?}", mean.get());
        }
    }

    #[test]
    fn two_values_of_one_moment_leave_the_first() {
        let mut mean = Ewma::default();
        mean.add(3.0, Duration::from_secs(1), MonoTime::default());
        mean.add(9.0, Duration::from_secs(1), MonoTime::default());
        assert_eq!(mean.get(), Some(3.0));
    }
}
