//! The cluster as its operators see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

/// The answer of `GET /v1/cluster`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterStatus {
    /// 32 hexadecimal digits, drawn when the cluster was bootstrapped.
    pub cluster_id: String,
    /// Name of the node that answers.
    pub node: String,
    /// Its id.
    pub node_id: u64,
    /// Version of its software.
    pub version: String,
    /// Name of the leader, as far as this node knows.
    pub leader: Option<String>,
    /// The Raft term.
    pub term: u64,
    /// The revision this node has applied.
    pub revision: u64,
    /// Whether a majority of the voters answered lately, as far as this node knows.
    pub has_quorum: bool,
    /// Nodes that vote.
    pub voters: u64,
    /// Nodes that follow without a vote.
    pub learners: u64,
    /// Registered services.
    pub services: u64,
    /// Registered instances.
    pub instances: u64,
}

/// What the other nodes believe about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It has not answered for a while.
    Suspect,
    /// It is taken for gone.
    Dead,
    /// It said goodbye.
    Left,
    /// A state that this build does not know.
    #[serde(other)]
    Unknown,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Name, unique among the members.
    pub name: String,
    /// Id, never used again for another node.
    pub node_id: u64,
    /// What the other nodes believe about it.
    pub state: MemberState,
    /// Its part in Raft.
    pub role: RaftRole,
    /// Failure domain.
    pub zone: Option<String>,
    /// Version of its software.
    pub version: Option<String>,
    /// Where it listens.
    pub addresses: Addresses,
    /// Since when it is in this state.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Why it is in this state.
    pub cause: String,
}

/// Where a node listens, each as `host:port`; `null` for what it does not offer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Addresses {
    /// The HTTP API.
    pub http: Option<String>,
    /// Raft and node-to-node calls.
    pub peer: Option<String>,
    /// Gossip (UDP).
    pub gossip: Option<String>,
    /// The Consul layer.
    pub consul: Option<String>,
    /// DNS.
    pub dns: Option<String>,
}

/// A node's part in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RaftRole {
    /// Orders the writes.
    Leader,
    /// Votes and follows.
    Follower,
    /// Follows without a vote.
    Learner,
    /// Asks for votes.
    Candidate,
    /// A role that this build does not know.
    #[serde(other)]
    Unknown,
}

/// The answer of `GET /v1/cluster/raft`: Raft as the answering node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RaftStatus {
    /// Name of the node that answers.
    pub node: String,
    /// Its role.
    pub role: RaftRole,
    /// Its term.
    pub term: u64,
    /// Name of the leader of this term, if there is one.
    pub leader: Option<String>,
    /// Log index up to which entries are committed.
    pub commit_index: u64,
    /// Log index up to which entries are applied: the revision of local reads.
    pub applied_index: u64,
    /// Last entry in the log.
    pub last_log_index: u64,
    /// Last entry that the newest snapshot holds; 0 without a snapshot.
    pub snapshot_index: u64,
    /// Last entry removed from the log; 0 when all are there.
    pub purged_index: u64,
    /// Names of the voters.
    pub voters: Vec<String>,
    /// Names of the learners.
    pub learners: Vec<String>,
    /// How far the others are; only the leader knows, elsewhere empty.
    pub followers: Vec<FollowerProgress>,
    /// Time since a majority last answered the leader; `null` elsewhere.
    pub quorum_ack_age_ms: Option<u64>,
}

/// How far another node is, as the leader knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FollowerProgress {
    /// Its name.
    pub node: String,
    /// Last log index that it surely holds.
    pub matched_index: u64,
    /// Entries that it lacks.
    pub lag: u64,
}

/// The body of `POST /v1/cluster/transfer-leader`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a transfer of leadership")]
pub struct TransferLeaderRequest {
    /// Name of the voter that should lead. Default: the one that is furthest in the log.
    pub to: Option<String>,
}
