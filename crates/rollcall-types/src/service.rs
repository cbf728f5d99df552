//! What a service says about itself, apart from its instances.

use serde::{Deserialize, Serialize};

use crate::{CapabilityName, JsonText, Label, Millis, SelectionPolicy, SortedMap, SortedSet, Tags, Text, Version};

/// Most capabilities that a service may offer, and most that it may require.
pub const CAPABILITIES_MAX: usize = 64;

/// Longest slow start, one hour: an instance that is still cold then will not get warm by waiting.
pub const SLOW_START_MAX: Millis = Millis::new(3_600_000);

/// Resources that one instance of a service needs, for planners and people; nothing is enforced.
pub type Resources = SortedMap<Label, Text>;

/// The definition of a service. Every field is optional: a service exists as soon as an instance registers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceDefinition {
    /// Version of the contract the service offers.
    pub version: Option<Version>,
    /// For people.
    pub description: Option<Text>,
    /// What the service can do.
    pub capabilities: SortedSet<CapabilityName>,
    /// What other services must be able to do for this one to work.
    pub required_capabilities: SortedSet<CapabilityName>,
    /// How long a usual request takes.
    pub expected_response_time: Option<Millis>,
    /// Requests that one instance can work on at once, at least 1.
    pub max_concurrent_requests: Option<u32>,
    /// Resources that one instance needs: `memory` → `2Gi`.
    pub resources: Resources,
    /// Cost of one request in millionths of whatever unit the operators count in.
    pub cost_micros: Option<u64>,
    /// Words to select by.
    pub tags: Tags,
    /// Who answers for the service.
    pub owner: Option<Text>,
    /// Where its documentation is.
    pub docs_url: Option<Text>,
    /// JSON Schema (as JSON text) that its configuration document must satisfy.
    pub config_schema: Option<JsonText>,
    /// How long an instance that became passing is warming up, at most [`SLOW_START_MAX`]: it gets a share of traffic that
    /// grows until then. `None`: it gets all of its share at once.
    pub slow_start: Option<Millis>,
    /// How its instances are to be chosen.
    pub selection: SelectionPolicy,
}
