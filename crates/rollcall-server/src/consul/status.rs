//! `status/*`: who leads, and who has a vote.

use axum::response::Response;
use axum::routing::get;
use rollcall_raft::PeerNode;

use super::answer;
use super::call::Call;
use super::failure::Result;
use super::router::Table;
use super::server_address;

/// The routes.
pub(super) fn table() -> Table {
    vec![("/v1/status/leader", get(leader)), ("/v1/status/peers", get(peers))]
}

/// `GET status/leader`: the address of the leader, empty when there is none.
async fn leader(call: Call) -> Result<Response> {
    answer::json(&leader_address(&call))
}

/// `GET status/peers`: the addresses of all voters.
async fn peers(call: Call) -> Result<Response> {
    let mut addresses: Vec<String> = call.app.consensus.status().voters.values().map(server_address).collect();
    addresses.sort_unstable();
    answer::json(&addresses)
}

/// The address of the leader as all answers give it; empty when there is none.
pub(super) fn leader_address(call: &Call) -> String {
    let status = call.app.consensus.status();
    let leader: Option<&PeerNode> = status.leader.and_then(|leader| status.member(leader));
    leader.map(server_address).unwrap_or_default()
}
