//! The health of one instance in full: what all observers agree on, what each of them says, and what the asked ones see.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Forecast, State, Timestamp};

/// The health of one instance, as the answering node knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceHealth {
    /// Name of its service.
    pub service: String,
    /// Id within the service.
    pub id: String,
    /// The node that answers.
    pub node: String,
    /// What all observers agree on.
    pub state: State,
    /// Why: `unchecked`, `unseen`, `stale`, `observed`, `confirmed`, `only_observer`, `unconfirmed` or `path`.
    pub cause: String,
    /// The same as a phrase.
    pub explanation: String,
    /// Since when it is in this state.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// How well it does, in [0, 1]; `null` when nobody looks.
    pub score: Option<f64>,
    /// `unknown`, `improving`, `stable` or `degrading`.
    pub trend: String,
    /// Longest time until the failure that is predicted; `null` when none is, or only in more than ten minutes.
    pub time_to_failure_ms: Option<u64>,
    /// What is expected of it, in numbers; left out when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// Why it is not deregistered though it is due for it, in numbers; left out when it is not, or nothing keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<String>,
    /// How often it has changed lately: `calm`, `changed`, `unsteady` or `flapping`.
    pub flap: String,
    /// Observers whose evidence counts.
    pub looking: u16,
    /// How many of them see it failing.
    pub failing: u16,
    /// Who looks, and who else has something to say.
    pub observers: Vec<HealthObserver>,
    /// Nodes that hear its heartbeats, and what it says of itself.
    #[serde(default)]
    pub vouching: Vec<HealthVoucher>,
}

/// A node that hears the heartbeats of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthVoucher {
    /// Name of the node.
    pub node: String,
    /// What the instance says of itself.
    pub says: HealthSighting,
}

/// One observer of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthObserver {
    /// Name of the node.
    pub node: String,
    /// `prober`: it probes all the time. `confirmer`: it probes when another sees a failure. `former`: others look now.
    pub duty: String,
    /// What it says; `null` when it says nothing.
    pub says: Option<HealthSighting>,
    /// What it sees in detail, when it was asked and looks at the instance.
    pub sees: Option<HealthSeen>,
    /// Why it is not known what it sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What an observer says through gossip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthSighting {
    /// The state.
    pub state: State,
    /// Whether it counts; what a node says that is not known to be alive does not.
    pub counts: bool,
    /// How well the instance does, in [0, 1].
    pub score: f64,
    /// As in [`InstanceHealth`].
    pub trend: String,
    /// As in [`InstanceHealth`].
    pub time_to_failure_ms: Option<u64>,
    /// As in [`InstanceHealth`].
    pub flap: String,
}

/// What an observer sees itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthSeen {
    /// What its checks and its lease add up to.
    pub state: State,
    /// Why.
    pub cause: String,
    /// The same as a phrase.
    pub explanation: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The check that decides; `null` when none does.
    pub check: Option<String>,
    /// How well it does, in [0, 1].
    pub score: f64,
    /// What the score is made of.
    pub terms: Vec<ScoreTerm>,
    /// How its lease stands: `held`, `grace` or `expired`; `null` when it has none.
    pub lease: Option<String>,
    /// Its checks.
    pub checks: Vec<CheckSeen>,
}

/// A part of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScoreTerm {
    /// `connectivity`, `latency`, `errors`, `resources` or `capabilities`.
    pub signal: String,
    /// How well, in [0, 1]; `null` when it is missing, which counts as 1.
    pub value: Option<f64>,
    /// Most that it can take away from the score.
    pub weight: f64,
}

/// What an observer sees of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckSeen {
    /// The check.
    pub id: String,
    /// The capability that it stands for.
    pub capability: Option<String>,
    /// Its state.
    pub state: State,
    /// Why.
    pub cause: String,
    /// The same as a phrase.
    pub explanation: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Mean time to an answer, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Mean share of failures, in [0, 1].
    pub error_rate: Option<f64>,
    /// Time until the next probe; `null` of a check that is not probed.
    pub next_probe_in_ms: Option<u64>,
    /// The last run; `null` before the first.
    pub last: Option<ProbeRun>,
}

/// One run of a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProbeRun {
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `passed`, `strained`, or how it failed.
    pub outcome: String,
    /// Time to the answer, or to giving up.
    pub latency_ms: f64,
    /// What it said, at most 4 KiB.
    pub output: String,
}
