//! What the health of instances amounts to: for a service, and for everything.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Instance, State};

/// How many are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StateCounts {
    /// Checks pass.
    pub passing: u64,
    /// It works, and something is not as it should be.
    pub warning: u64,
    /// Checks fail.
    pub critical: u64,
    /// Registered, not yet passing.
    pub starting: u64,
    /// Nobody knows.
    pub unknown: u64,
}

impl StateCounts {
    /// One more in this state.
    pub fn add(&mut self, state: State) {
        *match state {
            State::Passing => &mut self.passing,
            State::Warning => &mut self.warning,
            State::Critical => &mut self.critical,
            State::Starting => &mut self.starting,
            State::Unknown => &mut self.unknown,
        } += 1;
    }

    /// Each state with its count.
    pub const fn each(self) -> [(State, u64); 5] {
        [
            (State::Passing, self.passing),
            (State::Warning, self.warning),
            (State::Critical, self.critical),
            (State::Starting, self.starting),
            (State::Unknown, self.unknown),
        ]
    }

    /// The counts of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            passing: self.passing + other.passing,
            warning: self.warning + other.warning,
            critical: self.critical + other.critical,
            starting: self.starting + other.starting,
            unknown: self.unknown + other.unknown,
        }
    }

    /// All of them.
    pub const fn total(&self) -> u64 {
        self.passing + self.warning + self.critical + self.starting + self.unknown
    }
}

/// The health of a service, as the answering node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ServiceHealth {
    /// The service.
    pub service: String,
    /// The worst state of its instances: critical, warning, unknown, starting, passing, in this order. Those that an operator
    /// took out do not count for it; without any other it is unknown whether the service works.
    pub status: State,
    /// Registered instances.
    pub instances: u64,
    /// Instances that can take traffic: passing or warning, and not taken out by an operator.
    pub healthy: u64,
    /// Instances by state, those that were taken out too.
    pub states: StateCounts,
    /// Instances that drain.
    pub draining: u64,
    /// Instances in quarantine.
    pub quarantined: u64,
    /// Instances in their slow start.
    pub warming: u64,
    /// Instances whose state is held because it changes too often.
    pub flapping: u64,
    /// Instances whose failure is predicted.
    pub predicted: u64,
    /// Instances that would be deregistered, if not too much failed at once.
    pub protected: u64,
}

/// The health of everything: the answer of `GET /v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthReport {
    /// The worst status of the services.
    pub status: State,
    /// Services by status.
    pub services: StateCounts,
    /// Instances by state.
    pub instances: StateCounts,
    /// Instances that can take traffic.
    pub healthy: u64,
    /// The services of this page, by name.
    pub items: Vec<ServiceHealth>,
    /// The revision of the catalogue that was counted. Health has no revision: each page is of its own moment.
    pub revision: u64,
    /// Asks for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// The health of a service and of its instances: the answer of `GET /v1/services/{service}/health`. `I` is [`Instance`] to read
/// and [`crate::InstanceRef`] to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceHealthReport<I = Instance> {
    /// The service.
    #[serde(flatten)]
    pub health: ServiceHealth,
    /// Why instances are not deregistered that are due for it, in numbers; left out when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<String>,
    /// Its instances, worst first: those that were not taken out, by state, by predicted failure, by score, by time in the state.
    pub items: Vec<I>,
    /// Instances that are better than these, and more than were asked for.
    pub omitted: u64,
    /// The revision of the catalogue that is shown.
    pub revision: u64,
}
