//! What is expected of a subject with several quantities: the worst of them decides, and says so in numbers.
//!
//! ```text
//! level damage   way from where damage begins to the threshold, in the logarithm, within [0, 1]
//! trend damage   confidence · e^(−T/W) while an alarm stands: T likely time to the threshold, W the window; else 0
//! damage         the greatest of all quantities
//! score          1 − damage
//! weight         max(0.1, score), 1 when the cause is common
//! ```
//! A mean was rejected: a disk that is full is not half as bad because memory is free. Trend damage waits for the alarm, so that
//! weights do not tremble with each evaluation.

use super::Series;
use super::alarm::Outlook;
use super::assess::Assessment;
use super::numbers::Forecast;
use super::peers::CommonCause;
use super::quantity::{Quantity, Watched};

/// Least weight of an instance by its forecast: it still serves one request where a healthy one serves ten, since a prediction
/// may be wrong and only traffic can show it.
pub const WEIGHT_MIN: f64 = 0.1;

/// A quantity that is watched, with its series.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What is measured, with its limits.
    pub watched: Watched,
    /// Its series.
    pub series: &'a Series,
}

/// The quantity that decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decisive {
    /// Which.
    pub quantity: Quantity,
    /// What is expected of it.
    pub outlook: Outlook,
    /// What it loses, in [0, 1].
    pub damage: f64,
    /// Its numbers.
    pub assessment: Assessment,
}

/// What is expected of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Prospect {
    /// The worst outlook of all its quantities.
    pub outlook: Outlook,
    /// The quantity with the most damage among those of the worst outlook; `None` when none has numbers yet.
    pub decisive: Option<Decisive>,
    /// The greatest damage of all, in [0, 1].
    pub damage: f64,
}

impl Prospect {
    /// Weighs the quantities of one subject. Of equals the first decides.
    pub fn of<'a>(seen: impl IntoIterator<Item = Seen<'a>>) -> Self {
        let mut prospect = Self::default();
        for Seen { watched, series } in seen {
            let Some(assessment) = series.assessment() else { continue };
            let (outlook, damage) = (series.outlook(), damage(watched, series, assessment));
            let one = Decisive { quantity: watched.quantity(), outlook, damage, assessment: *assessment };
            let rank = |it: &Decisive| (it.outlook, it.damage);
            if prospect.decisive.is_none_or(|other| rank(&one) > rank(&other)) {
                prospect.decisive = Some(one);
            }
            prospect.outlook = prospect.outlook.max(outlook);
            prospect.damage = prospect.damage.max(damage);
        }
        prospect
    }

    /// How well it will do, in [0, 1]; 1 is well.
    pub fn score(&self) -> f64 {
        1.0 - self.damage
    }

    /// Its share of traffic beside others that are alike, from [`WEIGHT_MIN`] to 1. When most instances of the service degrade
    /// together, none loses weight to the others for it.
    pub fn weight(&self, common_cause: Option<CommonCause>) -> f64 {
        if common_cause.is_some() { 1.0 } else { self.score().max(WEIGHT_MIN) }
    }

    /// Whether it is to be probed twice as often: its failure is predicted, so each minute counts.
    pub fn hastens(&self) -> bool {
        self.outlook == Outlook::FailurePredicted
    }
}

fn damage(watched: Watched, series: &Series, assessment: &Assessment) -> f64 {
    let level = watched.damage_at(assessment.level);
    let Some(time) = assessment.time_to_threshold.filter(|_| series.outlook() > Outlook::Calm) else { return level };
    let options = series.options();
    let window = options.bucket().as_secs_f64() * options.window() as f64;
    level.max(assessment.confidence * (-time.likely.as_secs_f64() / window).exp())
}

impl Decisive {
    /// Its numbers as they travel to others; `None` while nothing is expected.
    pub fn forecast(&self) -> Option<Forecast> {
        Forecast::of(self.quantity, self.outlook, &self.assessment)
    }
}
