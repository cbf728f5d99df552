//! Check definitions: what to ask an instance, how often, and how many answers make a verdict.
//!
//! A definition is intent and is replicated; outcomes are observations and never live here.

use serde::{Deserialize, Serialize};

use crate::{CapabilityName, CheckId, Host, InstanceId, Millis, Port, ServiceName, Status, Text};

/// Most checks that one instance may have.
pub const CHECKS_MAX: usize = 16;
/// Shortest accepted interval and timeout of a check.
pub const INTERVAL_MIN: Millis = Millis::new(100);
/// Longest accepted interval of a check, one day.
pub const INTERVAL_MAX: Millis = Millis::new(86_400_000);
/// Longest accepted timeout of a check. An instance that does not answer holds a place of its host for so long, and others of
/// the host wait for it.
pub const TIMEOUT_MAX: Millis = Millis::new(30_000);

/// How a check asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckKind {
    /// `GET url`: 2xx passes, 429 warns, anything else or no answer within the timeout is critical.
    Http {
        /// Absolute `http://` or `https://` URL.
        url: Text,
    },
    /// A TCP connection that is accepted within the timeout passes.
    Tcp {
        /// Where to connect.
        host: Host,
        /// Where to connect.
        port: Port,
    },
    /// The standard gRPC health protocol (`grpc.health.v1.Health/Check`).
    Grpc {
        /// Where to connect.
        host: Host,
        /// Where to connect.
        port: Port,
        /// Name of the gRPC service to ask about; empty asks about the whole server.
        service: Text,
    },
    /// The instance reports by itself; silence longer than `ttl` is critical.
    Ttl {
        /// Longest silence.
        ttl: Millis,
        /// What it counts as until it is first heard: `Passing`, as if the registration were a report, `Warning` or `Critical`.
        initial: Status,
    },
    /// The status of another instance counts as this one's.
    Alias {
        /// Service of the other instance.
        service: ServiceName,
        /// The other instance; `None` means all of the service.
        instance: Option<InstanceId>,
    },
    /// Nobody here asks: whoever registers the instance looks after it, and registers what it sees.
    Fixed {
        /// What it saw: `Passing`, `Warning` or `Critical`.
        status: Status,
    },
}

impl CheckKind {
    /// What a check by heartbeats counts as until it is first heard; `None` of the others.
    pub const fn initial(&self) -> Option<Status> {
        match self {
            Self::Ttl { initial, .. } => Some(*initial),
            _ => None,
        }
    }
}

/// A check of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// Name within the instance, unique there.
    pub id: CheckId,
    /// What people call it; empty when it has no other name than its id.
    pub name: Text,
    /// What people should know about it; may be empty.
    pub notes: Text,
    /// The capability that it stands for: when it fails, the instance does not offer that and goes on with the rest. `None` when it
    /// stands for the whole instance.
    pub capability: Option<CapabilityName>,
    /// How to ask.
    pub kind: CheckKind,
    /// Time between two probes, [`INTERVAL_MIN`] to [`INTERVAL_MAX`]. Used by what is probed.
    pub interval: Millis,
    /// Longest wait for one answer, [`INTERVAL_MIN`] to [`TIMEOUT_MAX`] and at most `interval`. Used by what is probed.
    pub timeout: Millis,
    /// Failures in a row that make the check critical, 1 to 10.
    pub failures_before_critical: u8,
    /// Successes in a row that make it pass again, 1 to 10.
    pub successes_before_passing: u8,
}
