//! The score of an instance for a question.
//!
//! ```text
//! sum   = Σ weight × factor                        load, performance, proximity, specialization, cost
//! rank  = sum × health                             decides who is near the best
//! score = rank × forecast × ramp                   what is shown; the share of the draw is score × weight of the registration
//! ```
//! See [`factor`](crate::factor) and [`multiplier`](crate::multiplier) for the parts.

use rollcall_types::{Label, Status};

use crate::asked::Asked;
use crate::factor::{
    Distance, Factor, LATENCY_ASSUMED, PERFORMANCE_NEUTRAL, age, freshness, load, own_in_flight, specialization,
};
use crate::index::{Entry, Past, ServiceIndex};
use crate::multiplier::ramp;
use crate::policy::Weights;
use crate::query::{Moment, Query};
use crate::reason::{Reason, Reasons};

/// A score and its parts. Each is in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The factors, in the order of [`Factor::ALL`].
    pub factors: [f64; Factor::ALL.len()],
    /// The factors, each times its weight, added up.
    pub sum: f64,
    /// The multiplier health.
    pub health: f64,
    /// The multiplier forecast.
    pub forecast: f64,
    /// The multiplier slow start.
    pub ramp: f64,
}

impl Score {
    /// What decides who is near the best.
    pub fn rank(&self) -> f64 {
        self.sum * self.health
    }

    /// The score.
    pub fn value(&self) -> f64 {
        self.rank() * self.forecast * self.ramp
    }

    /// What the instance is multiplied by in strategies that ask for nothing else.
    pub fn multiplier(&self) -> f64 {
        self.health * self.forecast * self.ramp
    }

    /// The factor that takes most away from the score.
    pub fn weakest(&self, weights: &Weights) -> Factor {
        let lost = |factor: &Factor| weights.of(*factor) * (1.0 - self.factors[*factor as usize]);
        Factor::ALL.into_iter().max_by(|a, b| lost(a).total_cmp(&lost(b))).unwrap_or(Factor::Load)
    }
}

/// Everything that the scores of one question have in common.
pub(crate) struct Scorer<'a> {
    pub(crate) index: &'a ServiceIndex,
    pub(crate) asked: Asked<'a>,
    pub(crate) weights: Weights,
    past: &'a [Past],
    moment: Moment<'a>,
}

impl<'a> Scorer<'a> {
    pub(crate) fn new(index: &'a ServiceIndex, query: &Query<'a>, moment: Moment<'a>) -> Self {
        let context: Option<&Label> = query.caller.context;
        Self {
            index,
            asked: Asked::of(index, query, moment.now),
            weights: query.weights.unwrap_or(index.policy().weights),
            past: index.past(context),
            moment,
        }
    }

    /// The score of the instance at `position`.
    #[inline]
    pub(crate) fn score(&self, position: usize) -> Score {
        let entry = &self.index.entries[position];
        let (met, preferred) = self.asked.preferences(self.index, position);
        let factors = [
            load(self.in_flight(position), entry.concurrency, entry.used, entry.is_load_reported),
            self.performance(position),
            self.distance(entry).value(),
            specialization(met, preferred),
            entry.cost,
        ];
        let sum: f64 = Factor::ALL.into_iter().map(|factor| self.weights.of(factor) * factors[factor as usize]).sum();
        // Weights add up to 1 but for rounding.
        Score { factors, sum: sum.min(1.0), health: entry.health, forecast: entry.forecast, ramp: self.ramp(entry) }
    }

    /// Health, forecast and slow start together: what strategies without a score ask for.
    #[inline]
    pub(crate) fn multiplier(&self, entry: &Entry) -> f64 {
        entry.health * entry.forecast * self.ramp(entry)
    }

    /// Requests in flight: as it reported, or as this node's picks since let expect, whichever is more.
    #[inline]
    pub(crate) fn in_flight(&self, position: usize) -> f64 {
        let reported = self.index.entries[position].in_flight;
        let Some((picks, since)) = self.moment.tally.and_then(|tally| tally.get(position)) else { return reported };
        if picks == 0.0 {
            return reported;
        }
        reported.max(own_in_flight(picks, age(self.moment.now, since), self.past[position].latency))
    }

    /// Room that is left, in [0, 1].
    #[inline]
    pub(crate) fn room(&self, position: usize) -> f64 {
        let entry = &self.index.entries[position];
        load(self.in_flight(position), entry.concurrency, entry.used, true)
    }

    /// Mean latency in milliseconds, above 0; where none is known, that of the others.
    #[inline]
    pub(crate) fn latency(&self, position: usize) -> f64 {
        self.past.get(position).map_or(LATENCY_ASSUMED, |past| past.latency)
    }

    pub(crate) fn past(&self, position: usize) -> &Past {
        &self.past[position]
    }

    /// Age of the latest evidence, in milliseconds.
    #[inline]
    pub(crate) fn age_of(&self, past: &Past) -> f64 {
        age(self.moment.now, past.at)
    }

    pub(crate) fn distance(&self, entry: &Entry) -> Distance {
        self.asked.distance(entry)
    }

    /// What is to be said of an instance, in or out.
    pub(crate) fn notes(&self, position: usize) -> Reasons {
        let (entry, candidate) = (&self.index.entries[position], &self.index.candidates()[position]);
        let forecast = candidate.forecast;
        let notes = [
            (entry.status == Status::Warning, Reason::Warning),
            (entry.status == Status::Unknown, Reason::UnknownStatus),
            (entry.forecast < 1.0 && forecast.time_to_failure.is_some(), Reason::FailurePredicted),
            (entry.forecast < 1.0 && forecast.time_to_failure.is_none(), Reason::Degrading),
            (self.ramp(entry) < 1.0, Reason::Warming),
            (!entry.is_load_reported, Reason::LoadUnknown),
            (!self.past[position].is_seen, Reason::PerformanceUnknown),
            (self.distance(entry) == Distance::Unknown, Reason::ProximityUnknown),
            (candidate.cost_micros.is_none() && self.index.lowest_cost.is_some(), Reason::CostUnknown),
        ];
        notes.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect()
    }

    #[inline]
    fn performance(&self, position: usize) -> f64 {
        let past = &self.past[position];
        if !past.is_seen {
            return PERFORMANCE_NEUTRAL;
        }
        PERFORMANCE_NEUTRAL + freshness(self.age_of(past)) * past.gain
    }

    #[inline]
    fn ramp(&self, entry: &Entry) -> f64 {
        ramp(entry.warming_since, self.index.policy().slow_start, self.moment.now)
    }
}
