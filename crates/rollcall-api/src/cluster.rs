//! The cluster as its operators see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Forecast, ForecastChanges, Timestamp};

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

/// What the answering node holds of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Its heartbeat advances, or it answers.
    Alive,
    /// It is silent, and did not answer when it was asked. It may still refute.
    Suspect,
    /// It is silent for longer, and others agree. Its heartbeat brings it back.
    Dead,
    /// It said goodbye.
    Left,
    /// Nothing was heard of it yet, or a state that this build does not know.
    #[serde(other)]
    Unknown,
}

impl MemberState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
            Self::Unknown => "unknown",
        }
    }
}

/// How late a process says it runs. What a late node says of others weighs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lateness {
    /// Below 100 ms.
    #[default]
    OnTime,
    /// 100 ms to 1 s.
    Late,
    /// 1 s to 5 s.
    VeryLate,
    /// 5 s and more.
    Stopped,
    /// A band that this build does not know.
    #[serde(other)]
    Unknown,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Name, unique among the members.
    pub name: String,
    /// Id, never used again for another node. `null` for a process that gossips and is no member in Raft: one that is
    /// joining, or was removed.
    pub node_id: Option<u64>,
    /// What the answering node holds of it.
    pub state: MemberState,
    /// Its part in Raft; `unknown` for a process that is no member there.
    pub role: RaftRole,
    /// Failure domain.
    pub zone: Option<String>,
    /// Failure domain of failure domains.
    #[serde(default)]
    pub region: Option<String>,
    /// Version of its software.
    pub version: Option<String>,
    /// Where it listens.
    pub addresses: Addresses,
    /// Since when it is in this state.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Why it is in this state.
    pub cause: String,
    /// What gossip tells of it; `null` while nothing was heard.
    #[serde(default)]
    pub gossip: Option<MemberGossip>,
    /// What it expects of itself if trends go on: of its log's disk, how far it is behind, its memory. Empty while nothing is.
    #[serde(default)]
    pub forecasts: Vec<Forecast>,
}

/// What the failure detector of the answering node measures of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberGossip {
    /// Start of its process; each start has a greater one.
    pub generation: u64,
    /// The highest heartbeat of this process that was heard; it advances with every round of gossip. 0 if the node tells none.
    #[serde(default)]
    pub heartbeat: u64,
    /// Time since its heartbeat advanced or it answered.
    pub silence_ms: u64,
    /// Silence after which it is asked and suspected.
    pub patience_ms: u64,
    /// Smoothed round-trip time of a ping, in microseconds; `null` before the first answer.
    pub rtt_us: Option<u64>,
    /// How late it says it is.
    pub lateness: Lateness,
    /// Names of those who suspect it.
    pub witnesses: Vec<String>,
    /// How often its patience was doubled because it came and went: 0 to 4.
    pub flaps: u32,
    /// Nothing it sends reaches the answering node directly, though others hear it.
    pub is_unheard: bool,
    /// Generation of an older process that still runs under this name; one of the two must be stopped or renamed.
    pub rival_generation: Option<u64>,
}

/// The answer of `GET /v1/cluster/members`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Members {
    /// The members, in order of name.
    pub items: Vec<Member>,
    /// The revision of the answering node.
    pub revision: u64,
    /// Always `null`: the members are one page.
    pub next_cursor: Option<String>,
    /// Who sees them like this.
    #[serde(default)]
    pub observer: Option<Observer>,
}

/// What the answering node holds of itself and of its links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Observer {
    /// Its name.
    pub name: String,
    /// Start of its process.
    pub generation: u64,
    /// Id of the key it seals gossip with; the same on all nodes, unless keys are being changed.
    pub sealing_key: String,
    /// How late it runs. A late node judges nobody.
    pub lateness: Lateness,
    /// How often it was stalled since it started.
    pub stalls: u64,
    /// Since when it hears less than half of the members and so takes itself for cut off; `null` when it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub isolated_since: Option<Timestamp>,
    /// Generation of a newer process with its name; then this process is the one to stop or rename.
    pub outranked_by: Option<u64>,
    /// Links that carry nothing in one direction.
    pub link_faults: Vec<LinkFault>,
}

/// A link that carries nothing in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkFault {
    /// Whose packets are lost.
    pub from: String,
    /// Who does not get them.
    pub to: String,
}

/// An event of `GET /v1/cluster/events`. The stream begins with `members` and `forecast` for the instances of which something
/// is expected, and goes on with what changes; a client that falls behind gets the beginning again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ClusterEvent {
    /// All members as they are, with what is expected of them. What is expected of instances is told anew after it, so that
    /// whatever was told of instances before does not hold any more.
    Members(Members),
    /// Something changed among them.
    Member(MemberChange),
    /// Something else is expected of instances or members.
    Forecast(ForecastChanges),
}

/// Something that changed among the members, as the answering node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberChange {
    /// When, by the clock of the answering node.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What kind of change.
    pub kind: MemberChangeKind,
    /// Whom it is about.
    pub member: String,
    /// Its state now, when that is what changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MemberState>,
    /// In words, for people.
    pub cause: String,
}

/// What can change among the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberChangeKind {
    /// A member went from one state to another.
    State,
    /// A process that is no member fell silent long ago, and is in the table no longer.
    Forgotten,
    /// The answering node was not run for a while, and abstains from judging.
    Stalled,
    /// The answering node hears less than half of the members, and takes itself for cut off.
    Isolated,
    /// It hears enough of them again.
    Reconnected,
    /// Nothing that a member sends reaches the answering node, though others hear it.
    LinkFault,
    /// It is heard again.
    LinkRepaired,
    /// A member suspects the answering node.
    Accused,
    /// Two processes use one name.
    NameShared,
    /// Something that this build does not know.
    #[serde(other)]
    Unknown,
}

impl ClusterEvent {
    /// The event as a server-sent event (WHATWG HTML §9.2.6).
    ///
    /// # Panics
    /// Never: events hold strings and numbers only.
    pub fn to_sse(&self) -> String {
        let name = match self {
            Self::Members(_) => "members",
            Self::Member(_) => "member",
            Self::Forecast(_) => "forecast",
        };
        let data = serde_json::to_string(self).expect("strings and numbers have a JSON form");
        format!("event: {name}\ndata: {data}\n\n")
    }
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
