//! Why each instance would be picked or not, in numbers that a person can add up.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{State, Timestamp};

/// Most instances that one explanation tells of; the others are counted.
pub const EXPLAINED_MAX: usize = 1_000;

/// Why each instance is in or out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// How instances are chosen.
    pub strategy: String,
    /// Who says how.
    #[serde(default)]
    pub decided_by: DecidedBy,
    /// Whether health is not asked, since too few are healthy.
    pub fail_open: bool,
    /// Every instance, those first that may be picked, then by score; at most 1000.
    pub instances: Vec<ExplainedInstance>,
    /// Instances that are left out here because there are more than 1000.
    pub omitted: u64,
    /// The revision that it is about.
    pub revision: u64,
    /// Whether that revision is past: then states are those of the journal, and nothing is known of load, performance and
    /// forecasts.
    #[serde(default)]
    pub is_past: bool,
}

/// Who says how instances are chosen, for each value: `request`, `service` (its definition; of several services, all of them) or
/// `default`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DecidedBy {
    /// The strategy.
    pub strategy: String,
    /// What the factors of a score count for.
    pub weights: String,
    /// How far below the best a rank may be.
    pub tie_band: String,
    /// When health is not asked.
    pub fail_open: String,
    /// How many instances one client sees.
    pub subset: String,
}

/// One instance, in or out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedInstance {
    /// Name of its service.
    pub service: String,
    /// Id within the service.
    pub id: String,
    /// Whether it may be picked; beside an answer, whether it was.
    pub is_in: bool,
    /// Why, and what else is to be said of it.
    pub reasons: Vec<ExplainedReason>,
    /// What the cluster believes about it.
    pub state: State,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Its weight: among those near the best, shares are as `score × weight`.
    pub weight: u16,
    /// Part of the requests like this one that it would get as first pick, 0 to 1.
    pub share: f64,
    /// `rank × forecast × ramp`, also of those that are out, as it would be.
    pub score: f64,
    /// `sum × health`: decides who is near the best.
    pub rank: f64,
    /// The products of the terms, added up.
    pub sum: f64,
    /// Its factors.
    pub terms: Vec<FactorTerm>,
    /// What the sum is multiplied by for its health, 0 to 1.
    pub health: f64,
    /// What its share is multiplied by for what is expected of it, 0.1 to 1.
    pub forecast: f64,
    /// What its share is multiplied by during its slow start, 0.1 to 1.
    pub ramp: f64,
    /// What its rank lacks to be near the best; 0 when it is, or when ranks are not asked for.
    pub gap: f64,
    /// The factor that takes most away from its score.
    pub weakest: String,
    /// When a quarantine or an ejection that keeps it out ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// When it is predicted to fail, from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_failure_ms: Option<u64>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedReason {
    /// A word of a closed list.
    pub code: String,
    /// `in`, `out` or `note`: what it says.
    pub side: String,
    /// The same for people.
    pub why: String,
    /// What would change it.
    pub change: String,
}

/// One factor of the score of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FactorTerm {
    /// `load`, `performance`, `proximity`, `specialization` or `cost`.
    pub factor: String,
    /// What was measured or declared, for people.
    pub signal: String,
    /// What that is worth, 0 to 1.
    pub value: f64,
    /// What the factor counts for, 0 to 1.
    pub weight: f64,
    /// What it adds to the score.
    pub product: f64,
}
