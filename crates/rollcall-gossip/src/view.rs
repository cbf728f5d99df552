//! The table of members, as readers get it: an immutable picture, replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use rollcall_health::detector::{self, LinkFault, Standing, State};
use rollcall_types::{MonoTime, NodeName, UnixMillis};

use crate::key::KeyId;
use crate::membership::Meta;

/// One member, as this node sees it. Itself included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is reached for gossip. `None` while only its name is known.
    pub address: Option<SocketAddr>,
    /// What it says of itself; `None` until that arrived.
    pub meta: Option<Arc<Meta>>,
    /// Since when it is in its state, on the wall clock of this node at that moment.
    pub since: UnixMillis,
    /// Name, generation, state, cause, witnesses, silence, round-trip time, lateness, flaps and rivals. Of this node itself:
    /// alive, with its own lateness.
    pub health: detector::Member,
}

impl Member {
    /// Whether messages to it make sense: not dead, and not gone.
    pub fn is_present(&self) -> bool {
        matches!(self.health.state, State::Alive | State::Suspect)
    }
}

/// What this node holds of all members at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipView {
    /// The name of this node.
    pub this: NodeName,
    /// The generation of this node.
    pub generation: u64,
    /// When the picture was taken, by [`crate::Handle::now`]; a new one comes every 100 ms while the node is well.
    pub taken_at: MonoTime,
    /// All members in order of name, this node among them.
    pub members: BTreeMap<NodeName, Member>,
    /// What this node holds of itself: isolated, late.
    pub standing: Standing,
    /// Links that carry nothing in one direction.
    pub link_faults: BTreeSet<LinkFault>,
    /// A newer process that has this node's name, by its generation: this process is the one to stop or rename.
    pub outranked_by: Option<u64>,
    /// The key that this node seals with; the same on all nodes unless a rotation is under way.
    pub sealing_key: KeyId,
}

impl MembershipView {
    /// Of a node that knows nobody, not even itself.
    pub(crate) fn empty(this: NodeName, generation: u64, taken_at: MonoTime, sealing_key: KeyId) -> Self {
        Self {
            this,
            generation,
            taken_at,
            members: BTreeMap::new(),
            standing: Standing {
                isolated_since: None,
                lateness: detector::Lateness::OnTime,
                stalls: 0,
                stalled: std::time::Duration::ZERO,
            },
            link_faults: BTreeSet::new(),
            outranked_by: None,
            sealing_key,
        }
    }

    /// How many members are in `state`.
    pub fn count(&self, state: State) -> usize {
        self.members.values().filter(|member| member.health.state == state).count()
    }

    /// The state of `name`; `None` when it is not known.
    pub fn state(&self, name: &NodeName) -> Option<State> {
        self.members.get(name).map(|member| member.health.state)
    }
}
