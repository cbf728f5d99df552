//! What a node knows of its cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use rollcall_types::{ClusterId, NodeId, NodeName};
use tokio::time::Instant;
use tracing::{error, info};

use super::Core;
use crate::metrics;
use crate::transport::message::{ControlReply, ControlRequest};
use crate::types::PeerNode;

/// A leader or a majority that was heard within this time counts as there.
const FRESH: Duration = Duration::from_secs(1);
/// A node that did not hear a leader for so long asks the others whether it is still a member.
const LONELY: Duration = Duration::from_secs(2);
/// Between such questions.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What a node does in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Orders all writes.
    Leader,
    /// Holds a copy and has a vote.
    Follower,
    /// Holds a copy and has no vote.
    Learner,
    /// Seeks election.
    Candidate,
}

/// How far another node is, as the leader knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerStatus {
    /// The node.
    pub node: NodeId,
    /// Last log index that it surely holds.
    pub matched_index: u64,
    /// Entries that it lacks.
    pub lag: u64,
}

/// What this node knows of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// This node.
    pub node: NodeId,
    /// What it does.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader, if it knows one.
    pub leader: Option<NodeId>,
    /// Last entry in the log; 0 before the first. So for all indexes here.
    pub last_log_index: u64,
    /// Last entry that it knows to be committed.
    pub commit_index: u64,
    /// Last entry applied.
    pub applied_index: u64,
    /// Last entry in the newest snapshot.
    pub snapshot_index: u64,
    /// Last entry removed from the log.
    pub purged_index: u64,
    /// Members with a vote.
    pub voters: BTreeMap<NodeId, PeerNode>,
    /// Members without one.
    pub learners: BTreeMap<NodeId, PeerNode>,
    /// How far the others are; empty unless this node leads.
    pub followers: Vec<FollowerStatus>,
    /// Time since there surely was a leader: on itself, since it sent what a majority has answered; elsewhere, the same as
    /// the leader told it, and the age of its word. `None` when that was never known.
    pub contact_age: Option<Duration>,
    /// The cluster removed this node.
    pub is_removed: bool,
}

impl RaftStatus {
    /// How a member is reached.
    pub fn member(&self, node: NodeId) -> Option<&PeerNode> {
        self.voters.get(&node).or_else(|| self.learners.get(&node))
    }

    /// The id of the member that is called `name`.
    pub fn id_of(&self, name: &NodeName) -> Option<NodeId> {
        let mut members = self.voters.iter().chain(&self.learners);
        members.find(|(_, peer)| peer.name == *name).map(|(id, _)| *id)
    }

    /// A member's name; of another node its id, as `node-7`.
    pub fn name_of(&self, node: NodeId) -> String {
        self.member(node).map_or_else(|| format!("node-{node}"), |peer| peer.name.to_string())
    }

    /// Whether, as far as this node can tell, writes are possible now.
    pub fn has_quorum(&self) -> bool {
        self.leader.is_some() && self.contact_age.is_some_and(|age| age < FRESH)
    }
}

impl Core {
    pub(crate) fn status(&self) -> RaftStatus {
        let server = self.server.borrow_watched().clone();
        let data = self.data.borrow_watched().clone();
        let role = match server.state {
            ServerState::Leader if !self.has_stopped() => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            ServerState::Follower => Role::Follower,
            ServerState::Leader | ServerState::Learner | ServerState::Shutdown => Role::Learner,
        };
        // openraft's last words stay as they were when it stopped.
        let has_stopped = self.has_stopped();
        let role = if has_stopped { Role::Learner } else { role };
        let membership = &server.membership_config;
        let voter_ids = membership.voter_ids().collect::<std::collections::BTreeSet<_>>();
        let (voters, learners): (Vec<_>, Vec<_>) = membership
            .nodes()
            .map(|(node, peer)| (NodeId::new(*node), peer.clone()))
            .partition(|(node, _)| voter_ids.contains(&node.get()));
        let last_log_index = data.last_log.map_or(0, |id| id.index);
        let followers = data.replication.iter().flatten().filter(|(node, _)| **node != self.node.get());
        let followers = followers.map(|(node, matched)| {
            let matched_index = matched.map_or(0, |id| id.index);
            FollowerStatus {
                node: NodeId::new(*node),
                matched_index,
                lag: last_log_index.saturating_sub(matched_index),
            }
        });
        let contact_age = match role {
            Role::Leader => self.led_at().map(|at| at.elapsed()),
            _ => self.contact.age(Instant::now()),
        };
        RaftStatus {
            cluster_id: self.cluster,
            node: self.node,
            role,
            term: server.vote.leader_id.term,
            leader: server.current_leader.filter(|_| !has_stopped).map(NodeId::new),
            last_log_index,
            commit_index: data.local_committed.map_or(0, |id| id.index),
            applied_index: self.catalog().revision().get(),
            snapshot_index: data.snapshot.map_or(0, |id| id.index),
            purged_index: data.purged.map_or(0, |id| id.index),
            voters: voters.into_iter().collect(),
            learners: learners.into_iter().collect(),
            followers: followers.collect(),
            contact_age,
            is_removed: self.is_removed.load(Ordering::Relaxed),
        }
    }
}

/// Follows role, leader and membership: publishes them, keeps a link to every member, and notices the end of openraft.
pub(super) async fn follow(core: Arc<Core>) {
    let mut server = core.server.clone();
    let mut metrics_of_raft = core.raft.metrics();
    let mut last = (None, None);
    loop {
        // Marked as seen before it is looked at: a change that comes while it is looked at must not be missed, since on a
        // node that nobody talks to there may be no other one.
        server.borrow_and_update();
        let status = core.status();
        for (node, peer) in status.voters.iter().chain(&status.learners).filter(|(node, _)| **node != core.node) {
            core.links.get(&core.hub, *node, &peer.peer_addr);
        }
        core.links.retain(|node| status.member(node).is_some());
        core.acks.retain(|node| status.member(node).is_some());
        metrics::leadership(status.term, status.role == Role::Leader);
        let now = (Some(status.role), status.leader);
        if now != last {
            last = now;
            let leader = status.leader.map_or_else(|| "none".to_owned(), |leader| status.name_of(leader));
            info!(
                node.id = %core.node, raft.term = status.term,
                "node {} is {:?} in term {}, leader {leader}", core.node, status.role, status.term
            );
        }
        core.status.send_replace(status);
        loop {
            tokio::select! {
                changed = server.changed() => {
                    if changed.is_err() {
                        return note_stop(&core);
                    }
                    break;
                }
                // Changes with every entry; only its end matters here.
                changed = metrics_of_raft.changed() => {
                    let is_over = changed.is_err() || metrics_of_raft.borrow_and_update().running_state.is_err();
                    if is_over {
                        return note_stop(&core);
                    }
                    // The end need not be noticed within microseconds.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
}

fn note_stop(core: &Core) {
    core.has_stopped.store(true, Ordering::Relaxed);
    let metrics = core.raft.metrics();
    let state = metrics.borrow_watched().running_state.clone();
    if let (Err(fatal), false) = (&state, core.hub.shutdown.is_cancelled()) {
        let why = core.fatal(fatal);
        error!(node.id = %core.node, error = %why, "this node acknowledges nothing any more: {why}; mend the disk and restart it");
    }
    core.status.send_modify(|status| {
        status.role = Role::Learner;
        status.leader = None;
    });
}

/// Asks the others, when no leader is heard, whether this node was removed.
pub(super) async fn watch_removal(core: Arc<Core>) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let silence = core.contact.age(Instant::now()).unwrap_or_else(|| core.started.elapsed());
        let is_lonely = !core.is_leader() && silence > LONELY;
        if !is_lonely || core.is_removed.load(Ordering::Relaxed) {
            continue;
        }
        let members = core.status.borrow().voters.keys().copied().filter(|node| *node != core.node).collect::<Vec<_>>();
        for node in members {
            let Some(link) = core.links.find(node) else { continue };
            let deadline = Instant::now() + ASK_EVERY;
            let reply = link.call(&ControlRequest::AmIMember, deadline).await;
            if matches!(reply, Ok(ControlReply::Membership(Some(false)))) && core.is_founder_or_was_member() {
                core.note_removed();
                break;
            }
        }
    }
}

impl Core {
    /// Whether this node's own log says that it is, or was, a member: one that is just joining is none yet.
    fn is_founder_or_was_member(&self) -> bool {
        self.server.borrow_watched().membership_config.get_node(&self.node.get()).is_some()
    }

    pub(super) fn note_removed(&self) {
        if !self.is_removed.swap(true, Ordering::Relaxed) {
            error!(node.id = %self.node, "{}", crate::Error::Removed);
            // A node that is no member must not disturb the members with elections.
            self.raft.runtime_config().elect(false);
            self.status.send_modify(|status| status.is_removed = true);
        }
    }
}
