//! Who needs whom: the dependency graph that follows from what services offer and require.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who needs whom: the answer of `GET /v1/graph`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DependencyGraph {
    /// The services, by name.
    pub nodes: Vec<GraphNode>,
    /// Who requires what of whom, by caller, callee and capability.
    pub edges: Vec<GraphEdge>,
    /// Services that need each other in a circle, each group by name; a service that needs itself is a group of one.
    pub cycles: Vec<Vec<String>>,
    /// Capabilities that are required and that nobody can offer now.
    pub missing: Vec<MissingProvider>,
    /// What a failure takes with it; only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blast: Option<BlastRadius>,
    /// The revision of the catalogue that is shown.
    pub revision: u64,
}

/// A service in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GraphNode {
    /// The service, in lower case.
    pub service: String,
    /// Capabilities that it offers.
    pub offers: Vec<String>,
    /// Capabilities that it requires of others.
    pub requires: Vec<String>,
    /// Registered instances.
    pub instances: u64,
    /// Instances that can take traffic.
    pub healthy: u64,
}

/// A caller that requires a capability, and a callee that offers it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GraphEdge {
    /// Who requires it.
    pub caller: String,
    /// Who offers it.
    pub callee: String,
    /// What.
    pub capability: String,
}

/// A capability that is required and that nobody can offer now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct MissingProvider {
    /// What.
    pub capability: String,
    /// Who requires it.
    pub callers: Vec<String>,
    /// Services that offer it and have no instance that can take traffic; empty: nobody offers it at all.
    pub sick: Vec<String>,
}

/// What a failure takes with it. What was broken before is in neither list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BlastRadius {
    /// What fails: `service:NAME` or `node:NAME`.
    pub of: String,
    /// Services that cannot work any more, nearest first.
    pub lost: Vec<Blasted>,
    /// Services that go on with less, by name.
    pub weakened: Vec<Blasted>,
}

/// A service that a failure reaches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Blasted {
    /// Which.
    pub service: String,
    /// Why.
    pub cause: BlastCause,
    /// How many steps from what fails; 0 for itself.
    pub distance: u32,
    /// The capability that it lacks, or has fewer providers of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Services that still offer that capability.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers_left: Vec<String>,
    /// Its own instances that are left, of those that can take traffic now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances_left: Option<u64>,
    /// Its own instances that can take traffic now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances_before: Option<u64>,
}

/// Why a failure reaches a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlastCause {
    /// It is what fails, or all its healthy instances are on what fails.
    #[default]
    Itself,
    /// Some of its healthy instances are on what fails.
    FewerInstances,
    /// A capability that it requires has no provider left.
    NoProvider,
    /// A capability that it requires has fewer providers.
    FewerProviders,
}
