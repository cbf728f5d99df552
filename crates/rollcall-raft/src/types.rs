//! What openraft is told about us, and what we tell others about a node.

use rollcall_catalog::Outcome;
use rollcall_types::{NodeId, NodeName};
use serde::{Deserialize, Serialize};

use crate::proposal::Proposal;

openraft::declare_raft_types!(
    /// The types of this application. Leader ids are those of standard Raft: one leader per term.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Option<Outcome>,
        NodeId = u64,
        Node = PeerNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Payload = openraft::alias::PayloadOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, PeerNode>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::state_machine::StateMachine>;

/// How a node is reached, as the membership says.
///
/// Addresses are `host:port` and are resolved when they are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerNode {
    /// Its name, unique among the members.
    pub name: NodeName,
    /// Where other nodes connect.
    pub peer_addr: String,
    /// Where clients connect.
    pub http_addr: String,
    /// Where gossip is received; empty when there is none.
    pub gossip_addr: String,
    /// Its failure domain.
    pub zone: Option<String>,
    /// A full replica that never gets a vote.
    pub observer: bool,
}

#[cfg(test)]
impl Default for PeerNode {
    /// openraft's storage suite makes nodes out of nothing.
    fn default() -> Self {
        Self {
            name: NodeName::try_from("node").expect("a valid name"),
            peer_addr: String::new(),
            http_addr: String::new(),
            gossip_addr: String::new(),
            zone: None,
            observer: false,
        }
    }
}

/// The node that a vote is for.
pub(crate) fn voted_for(vote: &Vote) -> NodeId {
    NodeId::new(vote.leader_id.voted_for)
}
