//! The nodes that clients see: members of this cluster, and machines that were registered by name.
//!
//! Registrations belong to the cluster, but Consul's answers say on which node a service is. An instance is shown on the member
//! that took its registration; when that one is dead or gone, on the living member with the lowest name, so that an instance
//! does not fall with a node that it has nothing to do with. Whoever was registered on a node by name stays there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rollcall_catalog::Instance;
use rollcall_gossip::{MembershipView, State};
use rollcall_raft::{PeerNode, RaftStatus};
use rollcall_types::{ClusterId, MonoTime, NodeId, NodeName};
use sha2::{Digest as _, Sha256};

use super::{host_of, meta};

/// So long after it started a node takes members of which it has not heard for alive: nobody has had the time to tell it otherwise,
/// and all nodes are to answer the same.
pub(crate) const HEARING: Duration = Duration::from_secs(10);

/// Bits of [`Nodes::digest`]. Of a million changes of members one goes unseen.
pub(crate) const DIGEST_BITS: u32 = 20;

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its id: the same as long as the cluster has it.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: NodeName,
    /// The host of its API.
    pub(crate) address: String,
    /// Port of its API for other nodes.
    pub(crate) port: u16,
    /// What is observed of it; `None` when nothing was heard.
    pub(crate) state: Option<State>,
    /// It is too early to make something of having heard nothing.
    pub(crate) is_awaited: bool,
    /// Whether it has a vote.
    pub(crate) is_voter: bool,
    /// What is told of it besides, in order.
    pub(crate) meta: Vec<(String, String)>,
}

impl Member {
    /// Whether it is taken for alive: a suspect still is.
    pub(crate) fn is_alive(&self) -> bool {
        self.state.map_or(self.is_awaited, |state| matches!(state, State::Alive | State::Suspect))
    }
}

/// The members of the cluster in order of their names.
///
/// Invariant: `digest` is that of `members`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    members: Vec<Member>,
    digest: u32,
}

impl Nodes {
    /// The members by both truths: who belongs to the cluster (Raft) and who is heard (gossip).
    pub(crate) fn of(status: &RaftStatus, view: &MembershipView) -> Self {
        let voters = status.voters.values().map(|peer| (peer, true));
        let all = voters.chain(status.learners.values().map(|peer| (peer, false)));
        Self::from_members(all.map(|(peer, is_voter)| member(status.cluster_id, peer, is_voter, view)).collect())
    }

    /// These members.
    pub(crate) fn from_members(mut members: Vec<Member>) -> Self {
        members.sort_by(|one, other| one.name.cmp(&other.name));
        let digest = digest_of(&members);
        Self { members, digest }
    }

    /// A number of [`DIGEST_BITS`] for what answers show of the members: who they are, where, and whether they live. Nodes that
    /// see the same have the same, at any time.
    pub(crate) fn digest(&self) -> u32 {
        self.digest
    }

    /// All of them, in order of their names.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of this name, in any case, as Consul compares them.
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name.eq_ignore_ascii_case(name))
    }

    /// Where an instance is shown. `None` only while no member is known.
    pub(crate) fn place<'v>(&'v self, instance: &'v Instance) -> Option<Place<'v>> {
        if let Some(name) = meta::of(&instance.spec, meta::NODE) {
            return Some(self.member(name).map_or_else(|| Place::external(name, instance), Place::Member));
        }
        let via = &instance.registered_by.via;
        let taker = self.members.iter().find(|member| member.name == *via && member.is_alive());
        let heir = || self.members.iter().find(|member| member.is_alive());
        taker.or_else(heir).or_else(|| self.members.first()).map(Place::Member)
    }
}

/// The node of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'v> {
    /// A member of this cluster.
    Member(&'v Member),
    /// A machine that was registered.
    External {
        /// Its name.
        name: &'v str,
        /// Its address.
        address: &'v str,
        /// Its id; may be empty.
        id: &'v str,
        /// Who says so.
        said_by: &'v Instance,
    },
}

impl<'v> Place<'v> {
    fn external(name: &'v str, said_by: &'v Instance) -> Self {
        let host = || said_by.spec.endpoints.first().map_or("", |endpoint| endpoint.host.as_str());
        Self::External {
            name,
            address: meta::of(&said_by.spec, meta::NODE_ADDRESS).unwrap_or_else(host),
            id: meta::of(&said_by.spec, meta::NODE_ID).unwrap_or_default(),
            said_by,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'v str {
        match self {
            Self::Member(member) => member.name.as_str(),
            Self::External { name, .. } => name,
        }
    }

    /// Its address.
    pub(crate) fn address(self) -> &'v str {
        match self {
            Self::Member(member) => &member.address,
            Self::External { address, .. } => address,
        }
    }

    /// Its id; may be empty.
    pub(crate) fn id(self) -> &'v str {
        match self {
            Self::Member(member) => &member.id,
            Self::External { id, .. } => id,
        }
    }

    /// What is told of it besides.
    pub(crate) fn meta(self) -> Vec<(&'v str, &'v str)> {
        match self {
            Self::Member(member) => member.meta.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            Self::External { said_by, .. } => meta::below(&said_by.spec, meta::NODE_META).collect(),
        }
    }
}

/// The members as they are now, made again with each view of gossip, which comes ten times a second, and when the cluster gains
/// or loses one; equal ones are the same in memory.
#[derive(Default)]
pub(crate) struct NodesReader {
    kept: ArcSwapOption<Kept>,
}

/// What members were made from, and they.
struct Kept {
    view: Arc<MembershipView>,
    voters: BTreeMap<NodeId, PeerNode>,
    learners: BTreeMap<NodeId, PeerNode>,
    nodes: Arc<Nodes>,
}

impl Kept {
    fn is_of(&self, status: &RaftStatus, view: &Arc<MembershipView>) -> bool {
        Arc::ptr_eq(&self.view, view) && self.voters == status.voters && self.learners == status.learners
    }
}

impl NodesReader {
    /// The members by what Raft and gossip know now.
    pub(crate) fn load(&self, status: &RaftStatus, view: Arc<MembershipView>) -> Arc<Nodes> {
        let kept = self.kept.load_full();
        if let Some(kept) = &kept
            && kept.is_of(status, &view)
        {
            return kept.nodes.clone();
        }
        let fresh = Nodes::of(status, &view);
        let nodes = kept.map(|kept| kept.nodes.clone()).filter(|nodes| **nodes == fresh);
        let nodes = nodes.unwrap_or_else(|| Arc::new(fresh));
        let (voters, learners) = (status.voters.clone(), status.learners.clone());
        self.kept.store(Some(Arc::new(Kept { view, voters, learners, nodes: nodes.clone() })));
        nodes
    }
}

fn member(cluster: ClusterId, peer: &PeerNode, is_voter: bool, view: &MembershipView) -> Member {
    let heard = view.members.get(&peer.name);
    let mut meta = vec![("consul-network-segment".to_owned(), String::new())];
    meta.extend(peer.zone.clone().map(|zone| ("zone".to_owned(), zone)));
    Member {
        id: node_id(cluster, &peer.name),
        name: peer.name.clone(),
        address: host_of(peer).to_owned(),
        port: peer.peer_addr.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default(),
        state: heard.map(|heard| heard.health.state),
        is_awaited: view.taken_at.since(MonoTime::default()) < HEARING,
        is_voter,
        meta,
    }
}

fn digest_of(members: &[Member]) -> u32 {
    let mut hash = Sha256::new();
    for member in members {
        let (port, life) = (member.port.to_string(), if member.is_alive() { "alive" } else { "dead" });
        let own = [&*member.id, member.name.as_str(), &*member.address, &*port, life];
        let meta = member.meta.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
        own.into_iter().chain(meta).for_each(|text| hash.update([text.as_bytes(), &[0]].concat()));
    }
    let digest: [u8; 32] = hash.finalize().into();
    u32::from_be_bytes(*digest.first_chunk().expect("a SHA-256 digest has 32 bytes")) >> (u32::BITS - DIGEST_BITS)
}

/// A UUID (RFC 9562 §5.8) that is made of the cluster and the name, and so stays the same.
fn node_id(cluster: ClusterId, name: &NodeName) -> String {
    let digest: [u8; 32] =
        Sha256::new().chain_update(cluster.to_string()).chain_update(name.as_str()).finalize().into();
    let mut bits = u128::from_be_bytes(*digest.first_chunk().expect("a SHA-256 digest has 32 bytes"));
    bits = bits & !(0xF << 76) | 0x8 << 76;
    bits = bits & !(0x3 << 62) | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use rollcall_gossip::{KEY_BYTES, Keyring, Lateness, Standing};
    use rollcall_raft::Role;

    use super::*;

    fn peer(name: &str) -> PeerNode {
        PeerNode {
            name: name.parse().unwrap(),
            peer_addr: "10.0.0.1:7401".to_owned(),
            http_addr: "10.0.0.1:7400".to_owned(),
            gossip_addr: String::new(),
            zone: None,
            observer: false,
        }
    }

    /// What the first node knows of a cluster of these voters.
    fn status(voters: &[&str]) -> RaftStatus {
        RaftStatus {
            cluster_id: ClusterId::new(1),
            node: NodeId::new(1),
            role: Role::Leader,
            term: 1,
            leader: None,
            last_log_index: 0,
            commit_index: 0,
            applied_index: 0,
            snapshot_index: 0,
            purged_index: 0,
            voters: (1..).map(NodeId::new).zip(voters.iter().map(|name| peer(name))).collect(),
            learners: BTreeMap::new(),
            followers: Vec::new(),
            contact_age: None,
            is_removed: false,
        }
    }

    /// Gossip that has heard of nobody.
    fn silence() -> Arc<MembershipView> {
        Arc::new(MembershipView {
            this: "n1".parse().unwrap(),
            generation: 1,
            taken_at: MonoTime::default(),
            members: BTreeMap::new(),
            standing: Standing { isolated_since: None, lateness: Lateness::OnTime, stalls: 0, stalled: Duration::ZERO },
            link_faults: Default::default(),
            outranked_by: None,
            sealing_key: Keyring::new(&[0; KEY_BYTES]).sealing_key(),
        })
    }

    #[test]
    fn a_member_that_joins_is_seen_before_gossip_has_another_view() {
        let (reader, view) = (NodesReader::default(), silence());
        let before = reader.load(&status(&["n1"]), view.clone());
        let after = reader.load(&status(&["n1", "n2"]), view.clone());
        assert_eq!([&before, &after].map(|nodes| nodes.members().len()), [1, 2]);
        assert_ne!(before.digest(), after.digest(), "who waits is told");
        assert!(Arc::ptr_eq(&after, &reader.load(&status(&["n1", "n2"]), view)), "nothing is made anew for nothing");
        assert!(Arc::ptr_eq(&after, &reader.load(&status(&["n1", "n2"]), silence())), "nor when it comes to the same");
    }

    #[test]
    fn the_id_of_a_node_is_a_uuid_and_stays() {
        let id = |cluster, name: &str| node_id(ClusterId::new(cluster), &name.parse().unwrap());
        assert_eq!(id(1, "n1"), id(1, "n1"));
        assert_ne!(id(1, "n1"), id(1, "n2"));
        assert_ne!(id(1, "n1"), id(2, "n1"));
        let id = id(7, "n1");
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "8");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
    }
}
