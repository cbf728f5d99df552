//! What a score is multiplied by: health, forecast and slow start. Lifecycle multiplies by 1 or keeps an instance out.
//!
//! Health counts for the rank. Forecast and slow start count for the share of the draw and for the score that is shown, not
//! for the rank: through the rank, a warming instance would stay below the tie band and get nothing until it is nearly warm,
//! and a prediction would take an instance out, which no prediction may.

use std::time::Duration;

use rollcall_types::{Millis, Status, UnixMillis};

use crate::candidate::Forecast;
use crate::factor::age;

/// Health of a `warning` instance without a score.
pub const WARNING_NEUTRAL: f64 = 0.6;
/// Health of an `unknown` instance, and most that an old score of it counts for.
pub const UNKNOWN_NEUTRAL: f64 = 0.5;
/// Least that a forecast leaves: advice never takes an instance out.
pub const FORECAST_MIN: f64 = 0.1;
/// A failure that is this near or nearer counts in full; see [`forecast`].
pub const FORECAST_NEAR: Duration = Duration::from_secs(60);
/// A failure that is this far or farther does not count.
pub const FORECAST_FAR: Duration = Duration::from_secs(600);
/// What an instance that is degrading without a time to failure gives away, times confidence.
pub const DEGRADING_LOSS: f64 = 0.2;
/// Share that a new instance begins with.
pub const RAMP_MIN: f64 = 0.1;

/// The multiplier `health`, in [0, 1]: the health score, else 1 for `passing`, 0.6 for `warning`, 0.5 for `unknown`, whose
/// score cannot be fresh and counts for 0.5 at most. `critical` and `starting` are only selected when failing open, where health cannot
/// tell any more: then they count as `unknown`.
pub fn health(status: Status, score: Option<f64>) -> f64 {
    let score = score.filter(|score| score.is_finite()).map(|score| score.clamp(0.0, 1.0));
    match status {
        Status::Passing => score.unwrap_or(1.0),
        Status::Warning => score.unwrap_or(WARNING_NEUTRAL),
        Status::Unknown | Status::Starting | Status::Critical => score.unwrap_or(UNKNOWN_NEUTRAL).min(UNKNOWN_NEUTRAL),
    }
}

/// The multiplier `forecast`, in [0.1, 1].
///
/// ```text
/// nearness = 1 at 60 s or less, falling evenly to 0 at 600 s
/// forecast = max(0.1, 1 − confidence · nearness)          a failure is predicted
///          = 1 − confidence · 0.2                         degrading, no failure predicted
///          = 1                                            otherwise
/// ```
pub fn forecast(forecast: Forecast) -> f64 {
    let confidence = if forecast.confidence.is_finite() { forecast.confidence.clamp(0.0, 1.0) } else { 0.0 };
    let loss = match forecast.time_to_failure {
        Some(time) => {
            let left = FORECAST_FAR.as_secs_f64() - time.as_secs_f64();
            (left / (FORECAST_FAR - FORECAST_NEAR).as_secs_f64()).clamp(0.0, 1.0)
        }
        None if forecast.is_degrading => DEGRADING_LOSS,
        None => 0.0,
    };
    (1.0 - confidence * loss).max(FORECAST_MIN)
}

/// The multiplier `ramp`, in [0.1, 1]: the part of the slow start that is over, at least [`RAMP_MIN`]; 1 without one. Evenly
/// rising, as Envoy's slow start with aggression 1.
#[inline]
pub fn ramp(warming_since: Option<UnixMillis>, slow_start: Millis, now: UnixMillis) -> f64 {
    match warming_since {
        Some(since) if slow_start.get() > 0 => (age(now, since) / slow_start.get() as f64).clamp(RAMP_MIN, 1.0),
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_lowers_and_never_removes() {
        let predicted = |secs, confidence| {
            forecast(Forecast { is_degrading: true, time_to_failure: Some(Duration::from_secs(secs)), confidence })
        };
        assert_eq!(predicted(0, 1.0), FORECAST_MIN);
        assert_eq!(predicted(330, 1.0), 0.5);
        assert_eq!(predicted(330, 0.5), 0.75);
        assert_eq!(predicted(3_600, 1.0), 1.0);
        assert_eq!(predicted(0, f64::NAN), 1.0);
        assert_eq!(forecast(Forecast { is_degrading: true, time_to_failure: None, confidence: 1.0 }), 0.8);
        assert_eq!(forecast(Forecast::default()), 1.0);
    }

    #[test]
    fn a_slow_start_rises_evenly_and_ends() {
        let at = |millis| ramp(Some(UnixMillis::new(1_000)), Millis::new(10_000), UnixMillis::new(millis));
        assert_eq!([at(0), at(1_000), at(6_000), at(11_000), at(99_000)], [0.1, 0.1, 0.5, 1.0, 1.0]);
        assert_eq!(ramp(Some(UnixMillis::new(1_000)), Millis::default(), UnixMillis::new(1_000)), 1.0);
        assert_eq!(ramp(None, Millis::new(10_000), UnixMillis::new(1_000)), 1.0);
    }

    #[test]
    fn no_score_is_better_than_its_status_allows() {
        assert_eq!(health(Status::Unknown, Some(1.0)), 0.5);
        assert_eq!(health(Status::Passing, Some(f64::NAN)), 1.0);
        assert_eq!(health(Status::Warning, None), 0.6);
        assert_eq!(health(Status::Passing, Some(7.0)), 1.0);
    }
}
