//! What an instance says of its load, in a heartbeat or at its metrics endpoint.

use std::time::Duration;

/// Use of a resource up to which nothing is lost.
pub const LOAD_FREE: f64 = 0.70;
/// Use of a resource from which on the instance counts as exhausted.
pub const LOAD_DAMAGING: f64 = 0.95;

/// What an instance says of its load. What is missing, no number, or below 0 is taken for not said.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Processor time used, as a part of what it may use, 0 to 1.
    pub cpu: Option<f64>,
    /// Memory used, as a part of what it may use, 0 to 1.
    pub memory: Option<f64>,
    /// Requests that it works on.
    pub in_flight: Option<u32>,
    /// Requests that it can work on at once; needed for `in_flight` to mean anything.
    pub capacity: Option<u32>,
    /// 95th percentile of its response times.
    pub p95: Option<Duration>,
    /// Share of requests that failed, 0 to 1.
    pub error_rate: Option<f64>,
}

impl Load {
    /// How much of its resources is left, in [0, 1], by the one that is used most: 1 up to [`LOAD_FREE`], then falling evenly
    /// to 0 at [`LOAD_DAMAGING`]. `None` when it says nothing of resources.
    pub fn resources(&self) -> Option<f64> {
        let used = [self.cpu, self.memory, self.in_use()].into_iter().flatten().filter_map(at_least_zero);
        let most = used.max_by(f64::total_cmp)?;
        Some(((LOAD_DAMAGING - most) / (LOAD_DAMAGING - LOAD_FREE)).clamp(0.0, 1.0))
    }

    /// Share of requests that failed, in [0, 1].
    pub fn errors(&self) -> Option<f64> {
        self.error_rate.and_then(at_least_zero).map(|rate| rate.min(1.0))
    }

    /// Requests that it works on, as a share of those that it can work on at once; `None` when it does not say both.
    pub fn in_use(&self) -> Option<f64> {
        let capacity = self.capacity.filter(|capacity| *capacity > 0)?;
        Some(f64::from(self.in_flight?) / f64::from(capacity))
    }
}

/// `None` for what is no number or below 0.
fn at_least_zero(value: f64) -> Option<f64> {
    (value >= 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_that_is_used_most_decides() {
        let load = Load { cpu: Some(0.2), memory: Some(0.825), ..Load::default() };
        assert!((load.resources().unwrap() - 0.5).abs() < 1e-9);
        let full = Load { in_flight: Some(64), capacity: Some(64), ..load };
        assert_eq!(full.resources(), Some(0.0));
    }

    #[test]
    fn what_is_no_use_of_anything_is_taken_for_not_said() {
        for strange in [f64::NAN, -0.5, f64::NEG_INFINITY] {
            let load = Load { cpu: Some(strange), error_rate: Some(strange), ..Load::default() };
            assert_eq!((load.resources(), load.errors()), (None, None), "{strange}");
        }
        assert_eq!(Load { in_flight: Some(9), ..Load::default() }.resources(), None, "of how many?");
        assert_eq!(Load { in_flight: Some(9), capacity: Some(0), ..Load::default() }.resources(), None);
        assert_eq!(Load { cpu: Some(f64::INFINITY), ..Load::default() }.resources(), Some(0.0));
    }
}
