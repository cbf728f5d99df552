//! How well an instance does, as one number in [0, 1] that a person can add up.
//!
//! [`Score`] has the formula.
//!
//! Rejected: a product of all signals, in which two moderate doubts look like a failure, and a mean over the signals that
//! there are, in which one more good signal hides a bad one.

/// Weight of latency: what callers feel, on every request.
pub const WEIGHT_LATENCY: f64 = 0.35;
/// Weight of the error rate: what callers feel, as much as latency.
pub const WEIGHT_ERRORS: f64 = 0.35;
/// Weight of resources: trouble that is coming, and that nobody feels yet.
pub const WEIGHT_RESOURCES: f64 = 0.15;
/// Weight of capabilities: felt by the callers of those alone, and selection leaves the instance out for them anyway.
pub const WEIGHT_CAPABILITIES: f64 = 0.15;
/// Mean latency as a multiple of the expected response time at which nothing is left of the signal. Half of it is left at
/// [`LATE_FACTOR`](super::LATE_FACTOR).
pub const LATENCY_WORST: f64 = 2.0;
/// Error rate at which nothing is left of the signal: when every other request fails, callers see no difference to more.
pub const ERROR_RATE_WORST: f64 = 0.5;

/// What goes into a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Whether it is reached.
    Connectivity,
    /// Latency against the expected response time.
    Latency,
    /// Share of failures.
    Errors,
    /// Resources left.
    Resources,
    /// Capabilities that work.
    Capabilities,
}

impl Signal {
    /// The word for it in logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connectivity => "connectivity",
            Self::Latency => "latency",
            Self::Errors => "errors",
            Self::Resources => "resources",
            Self::Capabilities => "capabilities",
        }
    }

    /// Most that it can take away from the score.
    pub const fn weight(self) -> f64 {
        match self {
            Self::Connectivity => 1.0,
            Self::Latency => WEIGHT_LATENCY,
            Self::Errors => WEIGHT_ERRORS,
            Self::Resources => WEIGHT_RESOURCES,
            Self::Capabilities => WEIGHT_CAPABILITIES,
        }
    }
}

/// One signal of a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// Which.
    pub signal: Signal,
    /// How well, in [0, 1]; `None` when it is missing, which counts as 1.
    pub value: Option<f64>,
}

/// A score, and how it came about.
///
/// ```text
/// score = connectivity × (1 − 0.35·(1 − latency) − 0.35·(1 − errors) − 0.15·(1 − resources) − 0.15·(1 − capabilities))
///
/// connectivity   0 when critical, else 1 − failures in a row / failures_before_critical; of the check reached worst
/// latency        2 − mean / expected response time, within [0, 1]: 1 up to the expected time, 0.5 when late (× 1.5), 0 at × 2
/// errors         1 − error rate / 0.5, within [0, 1]
/// resources      1 up to 70 % use of the resource used most, 0 from 95 %; no more than what its heartbeats amount to
/// capabilities   share of the capabilities with a check that work
/// ```
/// Connectivity multiplies, since nothing else matters of what cannot be reached. A signal that is missing takes nothing
/// away, and says that it is missing: an instance is not worse for telling less.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The score in [0, 1]; 1 is well.
    pub value: f64,
    /// The signals: connectivity, then the others.
    pub terms: [Term; 5],
}

/// The signals as they were measured; `None` is missing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Signals {
    pub(super) connectivity: Option<f64>,
    /// Mean latency as a multiple of the expected response time.
    pub(super) lateness: Option<f64>,
    pub(super) error_rate: Option<f64>,
    pub(super) resources: Option<f64>,
    pub(super) capabilities: Option<f64>,
}

impl Signals {
    pub(super) fn score(self) -> Score {
        let within = |value: f64| value.clamp(0.0, 1.0);
        let values = [
            (Signal::Connectivity, self.connectivity),
            (Signal::Latency, self.lateness.map(|lateness| LATENCY_WORST - lateness)),
            (Signal::Errors, self.error_rate.map(|rate| 1.0 - rate / ERROR_RATE_WORST)),
            (Signal::Resources, self.resources),
            (Signal::Capabilities, self.capabilities),
        ];
        let terms = values.map(|(signal, value)| Term { signal, value: value.map(within) });
        let [connectivity, others @ ..] = &terms;
        let lost: f64 = others.iter().map(|term| term.signal.weight() * (1.0 - term.value.unwrap_or(1.0))).sum();
        Score { value: within(connectivity.value.unwrap_or(1.0) * (1.0 - lost)), terms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(signals: Signals, expected: f64) {
        let score = signals.score();
        assert!((score.value - expected).abs() < 1e-9, "{score:?}");
    }

    #[test]
    fn what_is_missing_takes_nothing_away_and_says_so() {
        check(Signals::default(), 1.0);
        assert!(Signals::default().score().terms.iter().all(|term| term.value.is_none()));
    }

    #[test]
    fn weights_beside_connectivity_add_up_to_one() {
        check(
            Signals {
                lateness: Some(9.0),
                error_rate: Some(1.0),
                resources: Some(0.0),
                capabilities: Some(0.0),
                ..Signals::default()
            },
            0.0,
        );
    }

    #[test]
    fn each_signal_takes_away_its_weight() {
        check(Signals { lateness: Some(1.5), ..Signals::default() }, 1.0 - 0.35 * 0.5);
        check(Signals { lateness: Some(0.2), ..Signals::default() }, 1.0);
        check(Signals { error_rate: Some(0.1), ..Signals::default() }, 1.0 - 0.35 * 0.2);
        check(Signals { resources: Some(0.5), capabilities: Some(0.5), ..Signals::default() }, 1.0 - 0.15);
    }

    #[test]
    fn what_is_not_reached_scores_nothing_however_fast_it_was() {
        check(Signals { connectivity: Some(0.0), lateness: Some(0.1), ..Signals::default() }, 0.0);
        check(Signals { connectivity: Some(2.0 / 3.0), error_rate: Some(0.1), ..Signals::default() }, 2.0 / 3.0 * 0.93);
    }

    #[test]
    fn a_signal_that_is_no_number_makes_no_score_that_is_none() {
        let score = Signals { lateness: Some(f64::INFINITY), ..Signals::default() }.score();
        assert!((score.value - 0.65).abs() < 1e-9);
    }
}
