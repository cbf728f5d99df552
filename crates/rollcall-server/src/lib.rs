//! One node of a Rollcall cluster, put together: configuration, consensus, watches, the HTTP API, and their life.
//!
//! [`run`] is the whole life of a node. Everything it starts it also stops: it returns only when its listeners are closed,
//! its tasks joined and its log shut.

mod app;
mod clock;
mod config;
mod connections;
mod dns;
mod gossip;
mod health;
mod http;
mod membership;
mod node;

mod pinned;
mod probe;
mod reports;
mod schema;
mod selection;
mod telemetry;
mod vitals;
mod watch;

pub use config::{ConfigError, DnsConfig, ENV_PREFIX, ForecastConfig, NodeConfig, ProbeConfig, Secret, parse_duration};
pub use node::{Error, run};
pub use probe::Network;

pub use rollcall_raft::snapshot;
