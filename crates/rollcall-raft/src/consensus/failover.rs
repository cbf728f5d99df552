//! A leader that died is replaced when its port refuses, not when a timer says so.
//!
//! The kernel of a machine whose process died closes its connections and refuses new ones. A follower that sees both for
//! its leader gives up the leader's lease *on itself* and asks for pre-votes. A pre-vote is granted only by a voter that
//! gave up the lease too, which it does by the same evidence of its own; so no single mistaken node can unseat a leader
//! that a majority still hears. Nothing here bears on safety: votes still follow Raft, and reads do not rest on leases.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use rollcall_types::NodeId;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::info;

use super::Core;
use crate::metrics;

/// Between the attempts of voters of neighbouring rank, so that they do not split the vote.
const RANK_STEP: Duration = Duration::from_millis(40);
/// Between attempts of one voter.
const RETRY: Duration = Duration::from_millis(120);
/// How long a hint is good for; after it the election timers have taken over.
const HINT_LIFETIME: Duration = Duration::from_millis(800);

/// Acts on hints until the node stops.
pub(super) async fn run(core: Arc<Core>, mut hints: mpsc::Receiver<NodeId>) {
    while let Some(refused) = hints.recv().await {
        if core.leader() == Some(refused) {
            replace(&core, refused).await;
        }
    }
}

async fn replace(core: &Arc<Core>, leader: NodeId) {
    let server = core.server.borrow_watched().clone();
    let mut voters = server.membership_config.voter_ids().filter(|voter| *voter != leader.get()).collect::<Vec<_>>();
    voters.sort_unstable();
    let Some(rank) = voters.iter().position(|voter| *voter == core.node.get()) else { return };
    if !server.vote.committed || server.vote.leader_id.voted_for != leader.get() {
        return;
    }
    metrics::election_hint();
    info!(peer.id = %leader, "node {leader} led and its port refuses; seeking election");
    // Addressed to the lost leader, this only gives up its lease here; addressed to us, it would force an election.
    let request = TransferLeaderRequest::new(server.vote, leader.get(), None);
    if core.raft.handle_transfer_leader(request).await.is_err() {
        return;
    }
    let until = Instant::now() + HINT_LIFETIME;
    let mut pause =
        RANK_STEP * u32::try_from(rank).unwrap_or(u32::MAX) + RANK_STEP.mul_f64(rand::random::<f64>() / 4.0);
    while Instant::now() < until {
        if timeout(pause, core.leader_changed(leader)).await.is_ok() {
            return;
        }
        if core.raft.trigger().elect(true).await.is_err() {
            return;
        }
        pause = RETRY.mul_f64(0.75 + rand::random::<f64>() / 2.0);
    }
}
