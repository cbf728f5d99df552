//! One node of a Rollcall cluster, put together: configuration, consensus, watches, the HTTP API, and their life.
//!
//! [`run`] is the whole life of a node. Everything it starts it also stops: it returns only when its listeners are closed,
//! its tasks joined and its log shut.

mod app;
mod clock;
mod config;
mod connections;
mod consul;
mod dns;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod gossip;
mod health;
mod http;
mod leading;
mod locks;
mod membership;
mod node;

mod pinned;
mod probe;
mod prospects;
mod quarantines;
mod reports;
mod rest;
mod schema;
mod selection;
mod telemetry;
mod traces;
mod vitals;
mod watch;

pub use config::{
    ConfigError, ConsulConfig, DnsConfig, ENV_PREFIX, Endpoint, ForecastConfig, NodeConfig, ProbeConfig, Ratio, Secret,
    TracesConfig, parse_duration,
};
pub use node::{Error, run};
pub use probe::Network;
pub use traces::Traces;

pub use rollcall_raft::snapshot;
