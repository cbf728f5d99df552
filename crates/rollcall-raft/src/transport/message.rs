//! What peers say to each other after the handshake. Positional formats: changing one needs a new protocol version.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use rollcall_catalog::Outcome;
use rollcall_types::{ClusterId, NodeId, NodeName};
use serde::{Deserialize, Serialize};

use crate::identity::Founder;
use crate::proposal::Proposal;
use crate::traces::TraceParent;
use crate::types::{PeerNode, SnapshotMeta, TypeConfig, Vote};

/// On the replication connection.
pub(crate) type Append = AppendEntriesRequest<TypeConfig>;

/// The answer to an [`Append`].
pub(crate) type Appended = StreamAppendResult<TypeConfig>;

/// On the control connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ControlRequest {
    /// A heartbeat, or entries outside the pipeline.
    Append(Append),
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    Propose(Proposals),
    /// How far must a node have applied to answer a read that begins now?
    ReadIndex,
    Admin(AdminRequest),
    /// Is this node still a member, as far as the other one knows?
    AmIMember,
    /// How far must a node have applied to be as fresh as the leader, and how fresh is that?
    Freshness,
}

/// Writes for the leader, in the order they came.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Proposals {
    pub(crate) requests: Vec<Proposal>,
    /// Which of them are part of a recorded trace, by their place among the requests, and where in it.
    pub(crate) traces: Vec<(u32, TraceParent)>,
}

/// Changes of membership, for the leader.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum AdminRequest {
    Promote {
        node: NodeId,
    },
    Remove {
        node: NodeId,
    },
    TransferLeader {
        to: NodeId,
    },
    /// To the best of the other voters, if this one still leads.
    StepDown {
        leader: NodeId,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ControlReply {
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    PreVote(VoteResponse<TypeConfig>),
    TransferLeader(TransferLeaderResponse<TypeConfig>),
    Proposed(Vec<Result<Outcome, ProposeRefusal>>),
    ReadIndex(Result<u64, NotLeading>),
    Admin(Result<(), AdminRefusal>),
    /// `None` when the one asked knows no leader and cannot say.
    Membership(Option<bool>),
    /// The node has stopped.
    Stopped,
    /// `None` when the node asked does not lead, or a majority has not confirmed it yet, or the one that asks is no member.
    Freshness(Option<Freshness>),
    /// The answer is longer than one may be; what was asked for may have been done.
    TooLarge,
}

/// What a leader knows of how fresh it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Freshness {
    /// This includes everything that was acknowledged anywhere …
    pub(crate) revision: u64,
    /// … before this many microseconds ago, measured after the question came.
    pub(crate) micros_ago: u64,
}

/// The node asked does not lead, or not with a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotLeading {
    /// Another node may.
    NotLeader,
    /// It leads, but cannot reach a majority.
    NoQuorum,
}

/// Why a forwarded write has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ProposeRefusal {
    /// It was not accepted.
    NotAccepted(NotLeading),
    /// Leadership was lost while it was under way.
    Unknown,
    /// It is too large.
    TooLarge,
    /// The node is full.
    Overloaded,
}

/// Why the membership is not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AdminRefusal {
    NotLeading(NotLeading),
    /// The node to act on has been removed.
    Removed,
    NotAMember,
    /// Said to the operator.
    Refused(String),
    /// Another change is under way, or the node still lags: try again.
    NotYet(String),
    /// It may have been done, or be done yet.
    Unknown,
}

/// On the snapshot connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Transfer {
    Begin { vote: Vote, meta: SnapshotMeta, bytes: u64 },
    Chunk { crc: u32, bytes: Bytes },
    End,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Transferred {
    /// Go on.
    Ready,
    /// Another snapshot is being received.
    Busy,
    /// It is not used.
    Refused(String),
    Installed(SnapshotResponse<TypeConfig>),
}

/// On the discover connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum DiscoverRequest {
    /// Who are you? I am a node without a cluster.
    Describe(Newcomer),
    /// Shall we found this cluster?
    Prepare(Offer),
    /// We do.
    Commit(Offer),
    /// Give me an id.
    Join(Newcomer),
}

/// A node without a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Newcomer {
    pub(crate) nonce: u128,
    pub(crate) peer: PeerNode,
    /// With how many it wants to found a cluster; 0 when it only joins one.
    pub(crate) expect: u32,
}

impl Newcomer {
    /// The order by which the founder that initializes is chosen.
    pub(crate) fn rank(&self) -> (&NodeName, u128) {
        (&self.peer.name, self.nonce)
    }
}

/// A cluster to be founded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) cluster: ClusterId,
    pub(crate) founders: Vec<Founder>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DiscoverReply {
    /// I have no cluster either, and know of these.
    Newcomer { newcomer: Newcomer, known: Vec<String> },
    /// I belong to one.
    Member {
        cluster: ClusterId,
        /// Where the leader is, if known.
        leader: Option<String>,
        /// The founders, when I am one.
        founders: Vec<Founder>,
        /// Addresses of members.
        members: Vec<String>,
    },
    /// To an offer: agreed.
    Agreed,
    /// To an offer: no, for this reason.
    Declined(String),
    /// To a join: your id.
    Joined { cluster: ClusterId, node: NodeId },
    /// To a join: the name is taken.
    NameTaken { node: NodeId },
    /// To a join: ask there, or later.
    NotLeading { leader: Option<String> },
}
