//! Reads chitchat's state into plain values, while its lock is held and for as short as can be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use chitchat::{Chitchat, NodeState};
use rollcall_health::detector::Heard;
use rollcall_types::NodeName;

use crate::metrics;
use crate::values::{Change, MemberValues, Values};

/// How far chitchat's state of one member was when it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) generation: u64,
    pub(crate) max_version: u64,
    /// Rises when chitchat starts the state anew, even if its versions do not.
    pub(crate) last_gc_version: u64,
}

impl Progress {
    /// Whether this is an earlier state of the same or an earlier life.
    pub(crate) fn is_behind(self, other: Self) -> bool {
        (self.generation, self.max_version) < (other.generation, other.max_version)
    }
}

/// The newest life of a member.
#[derive(Debug)]
pub(crate) struct Newest {
    pub(crate) address: SocketAddr,
    pub(crate) progress: Progress,
    /// What it publishes, when that may have changed.
    pub(crate) news: Option<(Arc<MemberValues>, Vec<Change>)>,
}

/// What chitchat knows.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// All lives of all members, this node's among them.
    pub(crate) lives: Vec<(NodeName, Heard)>,
    /// The newest life for each name.
    pub(crate) newest: BTreeMap<NodeName, Newest>,
}

/// A number that changes when any member's state does, heartbeats apart. Two states with one number are possible and rare.
pub(crate) fn fingerprint(chitchat: &Chitchat) -> u64 {
    // FNV-1a over whole numbers.
    let mix = |hash: u64, number: u64| (hash ^ number).wrapping_mul(0x0000_0100_0000_01B3);
    chitchat.node_states().iter().fold(0xCBF2_9CE4_8422_2325, |hash, (id, state)| {
        mix(mix(mix(hash, id.generation_id), state.max_version()), state.last_gc_version())
    })
}

/// Reads what is new since `known`, for which `values` were read.
pub(crate) fn scan(chitchat: &Chitchat, known: impl Fn(&NodeName) -> Option<Progress>, values: &Values) -> Scan {
    let mut scan = Scan::default();
    // In order of name and then generation, so the last of a name is its newest.
    let mut states = chitchat.node_states().iter().peekable();
    while let Some((id, state)) = states.next() {
        let Ok(name) = NodeName::try_from(&*id.node_id) else {
            metrics::value_skipped();
            continue;
        };
        let heard = Heard { generation: id.generation_id, heartbeat: state.heartbeat().into() };
        scan.lives.push((name.clone(), heard));
        if states.peek().is_some_and(|(next, _)| next.node_id == id.node_id) {
            continue;
        }
        let progress = Progress {
            generation: id.generation_id,
            max_version: state.max_version(),
            last_gc_version: state.last_gc_version(),
        };
        let is_new = known(&name) != Some(progress);
        let news = is_new.then(|| read(state, progress, values.0.get(&name)));
        scan.newest.insert(name, Newest { address: id.gossip_advertise_addr, progress, news });
    }
    scan
}

fn read(state: &NodeState, progress: Progress, before: Option<&Arc<MemberValues>>) -> (Arc<MemberValues>, Vec<Change>) {
    let nothing = MemberValues::default();
    let before = before.map_or(&nothing, |values| values);
    let present = state
        .key_values_including_deleted()
        .map(|(key, stored)| (key, stored.version, (!stored.is_deleted()).then_some(&*stored.value)));
    let (next, changes) = before.follow(progress.generation, progress.max_version, present);
    (Arc::new(next), changes)
}
