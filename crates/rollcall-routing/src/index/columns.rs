//! How requests went, by context key: evidence weighed when the index is built, so that a request only lets it age.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_types::{Label, UnixMillis};

use super::CONTEXTS_MAX;
use crate::candidate::{Candidate, Performance};
use crate::factor::{LATENCY_ASSUMED, PERFORMANCE_NEUTRAL, measured, strength};
use crate::names::Names;

/// How requests to one instance went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Past {
    /// Whether there is any evidence.
    pub(crate) is_seen: bool,
    /// What fresh evidence adds to the neutral value: strength × (measured − neutral); 0 without evidence.
    pub(crate) gain: f64,
    /// When the latest request ended.
    pub(crate) at: UnixMillis,
    /// Mean latency in milliseconds, above 0; where none is known, that of the others.
    pub(crate) latency: f64,
    /// Response time that was expected, in milliseconds, above 0.
    pub(crate) expected: f64,
}

/// The past of all instances, for one context or for all together.
#[derive(Debug, Clone)]
pub(super) struct Column(Box<[Past]>);

impl Column {
    /// Of an instance that has not seen `context`, what is known of all contexts.
    pub(super) fn of(candidates: &[Candidate], context: Option<&Label>) -> Self {
        let seen: Vec<Option<Performance>> =
            candidates.iter().map(|candidate| performance(candidate, context)).collect();
        let latencies = || seen.iter().flatten().map(|seen| millis(seen.latency));
        let mut sorted: Vec<f64> = latencies().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (count, middle) = (sorted.len(), sorted.get(sorted.len().saturating_sub(1) / 2).copied());
        let mean = if count == 0 { LATENCY_ASSUMED } else { latencies().sum::<f64>() / count as f64 };
        let rows = candidates.iter().zip(&seen).map(|(candidate, seen)| {
            let declared = candidate.expected_response.filter(|expected| !expected.is_zero()).map(millis);
            let expected = declared.or(middle).unwrap_or(LATENCY_ASSUMED);
            let Some(seen) = seen else {
                return Past { is_seen: false, gain: 0.0, at: UnixMillis::default(), latency: mean, expected };
            };
            let gain =
                strength(seen.samples) * (measured(seen.success, millis(seen.latency), expected) - PERFORMANCE_NEUTRAL);
            Past { is_seen: true, gain, at: seen.at, latency: millis(seen.latency), expected }
        });
        Self(rows.collect())
    }

    pub(super) fn rows(&self) -> &[Past] {
        &self.0
    }
}

/// What is known of requests of `context` to an instance, or of all; nothing when it is no evidence.
pub(crate) fn performance(candidate: &Candidate, context: Option<&Label>) -> Option<Performance> {
    let of_context = context.and_then(|context| candidate.contexts.iter().find(|(key, _)| key == context));
    let usable = |seen: &Performance| seen.samples > 0.0 && seen.samples.is_finite() && seen.success.is_finite();
    let seen = of_context.map(|(_, seen)| *seen).filter(usable).or(candidate.performance.filter(usable))?;
    Some(Performance { success: seen.success.clamp(0.0, 1.0), ..seen })
}

/// Above 0, so that it can divide.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).max(1e-3)
}

/// The context keys that most evidence is about.
pub(super) fn most_seen(candidates: &[Candidate]) -> Names<Label> {
    let mut samples: BTreeMap<&Label, f64> = BTreeMap::new();
    for (context, seen) in candidates.iter().flat_map(|candidate| &candidate.contexts) {
        *samples.entry(context).or_default() += seen.samples.max(0.0);
    }
    let mut ranked: Vec<(&Label, f64)> = samples.into_iter().collect();
    // Stable, so that of equals the first by name stay.
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    ranked.truncate(CONTEXTS_MAX);
    Names::of(ranked.into_iter().map(|(context, _)| context))
}
