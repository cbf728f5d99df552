//! Consul's HTTP API, so that programs written for Consul find their services here unchanged.
//!
//! ```text
//! listener → Router → Call (path, parameters, body) → a handler of one endpoint → domain (catalogue, health, log)
//!                                                         │ reads: blocking → render
//!                                                         └ writes: Call::propose
//! ```
//! A sibling of the native API and of DNS: it calls the same domain functions and neither of the two. It holds no state of its
//! own; who waits for what ([`Wakes`]) and what was rendered last can be made again from the catalogue at any time.
//!
//! What is Consul's is kept as Consul has it: status codes and words of errors, which clients compare; JSON keys in any case;
//! lists that are never null. Registrations belong to the cluster and not to one agent, so every node takes every request.
//!
//! Not done: ACLs (401, as in a Consul without them), Connect, configuration entries, peering, prepared queries (404).

mod agent;
pub(crate) mod answer;
pub(crate) mod blocking;
pub(crate) mod call;
pub(crate) mod catalog;
pub(crate) mod change;
pub(crate) mod checks;
pub(crate) mod decode;
pub(crate) mod duration;
mod event;
mod external;
pub(crate) mod failure;
pub(crate) mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod health;
pub(crate) mod ids;
pub(crate) mod index;
mod kept;
mod kv;
mod large;
pub(crate) mod meta;
pub(crate) mod metrics;
pub(crate) mod narrow;
pub(crate) mod nodes;
pub(crate) mod params;
mod pretty;
mod refused;
pub(crate) mod registration;
pub(crate) mod render;
mod router;
mod session;
mod status;
mod txn;
pub(crate) mod wake;

use std::sync::Arc;

use rollcall_raft::{PeerNode, RaftStatus};
use rollcall_types::Label;
use tokio::sync::watch;

pub(crate) use self::ids::Ids;
pub(crate) use self::kept::Kept;
pub(crate) use self::large::AnswerMemory;
use self::nodes::Nodes;
pub(crate) use self::nodes::NodesReader;
use crate::app::App;

pub(crate) use self::router::Router;
pub(crate) use self::wake::Wakes;

/// The version of Consul whose API this is, as `agent/self` tells it: clients compare it with the versions that they know.
pub(crate) const VERSION: &str = "1.20.0";

/// What the layer knows besides the node.
pub(crate) struct Layer {
    /// What clients see as their datacenter.
    pub(crate) datacenter: Label,
    /// Whether GET may change something, as clients as old as Consul 0.9 want it.
    pub(crate) legacy_get: bool,
    /// Who waits for what.
    pub(crate) wakes: Wakes,
    /// Whose ids are whose.
    pub(crate) ids: Ids,
    /// Who leads.
    pub(crate) roles: watch::Receiver<RaftStatus>,
    /// The members.
    pub(crate) members: NodesReader,
    /// Bodies as they were answered last.
    pub(crate) kept: Kept,
    /// What large answers may take.
    pub(crate) large: AnswerMemory,
}

impl Layer {
    /// Whether this node knows a leader.
    pub(crate) fn knows_leader(&self) -> bool {
        self.roles.borrow().leader.is_some()
    }

    /// The members now.
    pub(crate) fn nodes(&self, app: &App) -> Arc<Nodes> {
        self.members.load(&self.roles.borrow(), app.gossip.view())
    }
}

/// The host of a member, as clients reach it.
pub(crate) fn host_of(member: &PeerNode) -> &str {
    let host = member.http_addr.rsplit_once(':').map_or(member.http_addr.as_str(), |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The address of a member as a server of Consul. Members that share a host differ in it by the port they have for each other.
pub(crate) fn server_address(member: &PeerNode) -> String {
    let port = member.peer_addr.rsplit_once(':').map_or("0", |(_, port)| port);
    match host_of(member) {
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}
