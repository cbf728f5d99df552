//! The five factors of a score: a formula for each, its unit, its source, and what a missing signal counts for.
//!
//! Each is in [0, 1], 1 is best, and is never NaN. A missing signal counts for its **neutral** value: less than a good one, so that
//! silence is no advantage, and more than a bad one, so that a new instance gets requests at all and can prove itself.

use std::fmt;

use rollcall_types::UnixMillis;

/// Load of which nothing is known counts as a half.
pub const LOAD_NEUTRAL: f64 = 0.5;
/// Requests at once that an instance is taken for when nobody declares it.
pub const CONCURRENCY_ASSUMED: f64 = 100.0;
/// Performance without evidence. Hopeful, or a new instance among good ones would stay out of the tie band and never get the
/// requests that show what it is worth: it loses 0.25 × 0.25 of the score, less than the band.
pub const PERFORMANCE_NEUTRAL: f64 = 0.75;
/// Requests that count as much as the neutral value does.
pub const PERFORMANCE_PRIOR: f64 = 5.0;
/// Age at which evidence of performance counts for a half, in milliseconds. An instance that was bad gets another chance.
pub const PERFORMANCE_HALF_AGE: f64 = 60_000.0;
/// Latency that is assumed where none is known, in milliseconds.
pub const LATENCY_ASSUMED: f64 = 100.0;
/// Proximity of an instance, or a caller, that does not say where it is.
pub const PROXIMITY_NEUTRAL: f64 = 0.5;
/// Proximity on the same host.
pub const SAME_HOST: f64 = 1.0;
/// Proximity in the same zone; a round trip of 0.56 ms.
pub const SAME_ZONE: f64 = 0.9;
/// Proximity in the same region; a round trip of 3.3 ms.
pub const SAME_REGION: f64 = 0.6;
/// Proximity in another region; a round trip of 20 ms.
pub const ELSEWHERE: f64 = 0.2;
/// Round trip that counts for a half, in milliseconds.
pub const ROUND_TRIP_HALF: f64 = 5.0;
/// Cost that is not declared where other costs are.
pub const COST_NEUTRAL: f64 = 0.5;

/// What goes into a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factor {
    /// How much room it has: [`load`].
    Load,
    /// How well it served requests like this one: [`performance`].
    Performance,
    /// How near it is: [`Distance`].
    Proximity,
    /// How much of what is preferred it has: [`specialization`].
    Specialization,
    /// What a request costs there: [`cost`].
    Cost,
}

impl Factor {
    /// All of them, in the order in which weights are written.
    pub const ALL: [Self; 5] = [Self::Load, Self::Performance, Self::Proximity, Self::Specialization, Self::Cost];

    /// The word for it in configuration and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Performance => "performance",
            Self::Proximity => "proximity",
            Self::Specialization => "specialization",
            Self::Cost => "cost",
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How far an instance is from its caller.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distance {
    /// On the host of the caller.
    SameHost,
    /// Measured from the zone of the caller, in milliseconds.
    RoundTrip(f64),
    /// In the zone of the caller.
    SameZone,
    /// In its region.
    SameRegion,
    /// In another region.
    Elsewhere,
    /// Nobody says; or in another zone, with a region missing.
    Unknown,
}

impl Distance {
    /// The factor `proximity`. The steps are what the formula for a round trip gives for usual ones:
    ///
    /// ```text
    /// same host                   1
    /// round trip of t measured    1 / (1 + t / 5 ms)
    /// same zone, region, neither  0.9, 0.6, 0.2
    /// unknown                     0.5
    /// ```
    pub fn value(self) -> f64 {
        match self {
            Self::SameHost => SAME_HOST,
            Self::RoundTrip(millis) => 1.0 / (1.0 + millis / ROUND_TRIP_HALF),
            Self::SameZone => SAME_ZONE,
            Self::SameRegion => SAME_REGION,
            Self::Elsewhere => ELSEWHERE,
            Self::Unknown => PROXIMITY_NEUTRAL,
        }
    }
}

/// The factor `load`: what is left of the resource used most.
///
/// ```text
/// used = max(in flight / concurrency, resource used most)     load = 1 − min(1, used)
/// ```
/// `concurrency` is what is declared, else [`CONCURRENCY_ASSUMED`]. `in_flight` is the greater of what the instance reported
/// and what this node expects of its own picks ([`own_in_flight`]): the greater and not the sum, since the report tells of
/// those picks too. Of an instance that reports nothing (`is_reported`), the load is at most [`LOAD_NEUTRAL`].
#[inline]
pub fn load(in_flight: f64, concurrency: f64, used: f64, is_reported: bool) -> f64 {
    let left = 1.0 - (in_flight / concurrency).max(used).min(1.0);
    if is_reported { left } else { left.min(LOAD_NEUTRAL) }
}

/// Requests that are expected in flight from `picks` made within `elapsed`, when one takes `latency` (Little 1961, L = λ·W).
/// Both times in milliseconds; while less than one latency has passed, none has come back.
#[inline]
pub fn own_in_flight(picks: f64, elapsed: f64, latency: f64) -> f64 {
    if elapsed <= latency { picks } else { picks * latency / elapsed }
}

/// The factor `performance` as measured: share of successes, times how much of the expected response time is kept.
///
/// ```text
/// measured = success · min(1, expected / latency)
/// ```
/// Both times in milliseconds. `expected` is what the service declares, else the median of the means of its instances: one
/// that takes twice as long as most gets 0.5. Not the lowest mean: a lucky run would make one instance look better than its equals,
/// draw all requests, and lose them to the next lucky one when its mean has caught up (simulated: twice the mean latency).
pub fn measured(success: f64, latency: f64, expected: f64) -> f64 {
    success * if latency <= expected { 1.0 } else { expected / latency }
}

/// How much `samples` count against the neutral value, in [0, 1): n / (n + 5).
pub fn strength(samples: f64) -> f64 {
    samples / (samples + PERFORMANCE_PRIOR)
}

/// What evidence still counts for at `age` milliseconds, in (0, 1]: 60 s / (60 s + age).
#[inline]
pub fn freshness(age: f64) -> f64 {
    PERFORMANCE_HALF_AGE / (PERFORMANCE_HALF_AGE + age)
}

/// The factor `performance`: what was measured, as far as it rests on evidence that is fresh.
///
/// ```text
/// performance = 0.75 + n / (n + 5) · 60 s / (60 s + age) · (measured − 0.75)
/// ```
/// For the context key of the request; where that context was not seen at an instance, for all contexts together.
pub fn performance(measured: f64, samples: f64, age: f64) -> f64 {
    PERFORMANCE_NEUTRAL + strength(samples) * freshness(age) * (measured - PERFORMANCE_NEUTRAL)
}

/// The factor `specialization`: share of the preferred tags, capabilities and version that the instance has, 1 when nothing
/// is preferred. What is required is no matter of degree: it decides who takes part.
#[inline]
pub fn specialization(met: u32, preferred: u32) -> f64 {
    if preferred == 0 { 1.0 } else { f64::from(met) / f64::from(preferred) }
}

/// The factor `cost`: the lowest cost among the candidates over this one, in millionths, with 1 added so that free is possible.
///
/// ```text
/// cost = (lowest + 1) / (own + 1)
/// ```
/// 1 for all when nobody declares a cost; [`COST_NEUTRAL`] for who does not when others do.
pub fn cost(own: Option<u64>, lowest: Option<u64>) -> f64 {
    match (own, lowest) {
        (_, None) => 1.0,
        (None, Some(_)) => COST_NEUTRAL,
        (Some(own), Some(lowest)) => (lowest as f64 + 1.0) / (own as f64 + 1.0),
    }
}

/// Milliseconds from `earlier` to `now`; 0 when the clock was set back.
#[inline]
pub(crate) fn age(now: UnixMillis, earlier: UnixMillis) -> f64 {
    now.get().saturating_sub(earlier.get()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_proximity_are_those_of_usual_round_trips() {
        for (step, millis) in [(SAME_ZONE, 0.56), (SAME_REGION, 3.33), (ELSEWHERE, 20.0)] {
            assert!((Distance::RoundTrip(millis).value() - step).abs() < 0.005, "{step}");
        }
    }

    #[test]
    fn a_new_instance_among_good_ones_stays_within_the_tie_band() {
        let lost = crate::Weights::default().of(Factor::Performance) * (1.0 - PERFORMANCE_NEUTRAL);
        assert!(lost < crate::policy::TIE_BAND, "{lost}");
    }

    #[test]
    fn what_is_not_reported_is_no_better_than_neutral() {
        assert_eq!(load(0.0, 10.0, 0.0, false), LOAD_NEUTRAL);
        assert_eq!(load(8.0, 10.0, 0.0, false), 1.0 - 0.8);
        assert_eq!(load(8.0, 10.0, 0.9, true), 1.0 - 0.9);
        assert_eq!(load(80.0, 10.0, 0.9, true), 0.0);
    }

    #[test]
    fn old_evidence_returns_to_neutral() {
        let (fresh, later, long_ago) =
            (performance(0.2, 100.0, 0.0), performance(0.2, 100.0, 60_000.0), performance(0.2, 100.0, 1e9));
        assert!(fresh < 0.25 && (0.45..0.5).contains(&later) && long_ago > 0.749, "{fresh} {later} {long_ago}");
    }

    #[test]
    fn the_cheapest_gets_one_and_silence_about_cost_costs_a_half() {
        assert_eq!(cost(None, None), 1.0);
        assert_eq!(cost(Some(7), Some(7)), 1.0);
        assert_eq!(cost(Some(0), Some(0)), 1.0);
        assert_eq!(cost(Some(19), Some(9)), 0.5);
        assert_eq!(cost(None, Some(9)), COST_NEUTRAL);
    }
}
