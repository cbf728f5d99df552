//! The nodes that share the work, and how a chunk finds its own among them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_types::{Label, MonoTime, NodeName};

use crate::hash::{hash_name, mix};
use crate::{ChunkId, OBSERVERS_MAX};

/// Nodes that look at an instance when it seems to fail: its probers, and those who confirm.
pub const LOOKERS: usize = 3;
/// Nodes that probe an instance all the time: when one dies, the evidence of the other stands.
pub const PROBERS: usize = 2;
/// Instances above which one node probes each: the work halves, and a death leaves its share unknown for one interval.
pub const ONE_PROBER_ABOVE: usize = 20_000;
/// How long a node that was dropped must be fit before it gets its share back, while [`LOOKERS`] others share the work.
pub const RETURN_AFTER: Duration = Duration::from_secs(30);
/// How long it is remembered that a node was dropped. After that it comes back as a new one does, at once.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// A node that is alive and not late, as the detector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: NodeName,
    /// Its failure domain. Nodes without one share one.
    pub zone: Option<Label>,
}

/// The nodes that share the work, as one node sees them.
///
/// Invariants:
/// - `nodes` is sorted by name and holds at most [`OBSERVERS_MAX`].
/// - `dropped` holds nodes that were in `nodes` and are not, at most [`OBSERVERS_MAX`].
#[derive(Debug, Clone, Default)]
pub struct Roster {
    nodes: Vec<Node>,
    dropped: BTreeMap<NodeName, Dropped>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    candidate: Candidate,
    hash: u64,
}

#[derive(Debug, Clone, Copy)]
struct Dropped {
    at: MonoTime,
    fit_since: Option<MonoTime>,
}

impl Dropped {
    fn waits(&self, now: MonoTime) -> bool {
        self.fit_since.is_none_or(|since| now.since(since) < RETURN_AFTER)
    }
}

/// Who looks at the instances of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watch {
    /// At most [`LOOKERS`], best first.
    lookers: Vec<NodeName>,
    probers: usize,
}

/// How many nodes probe each of so many instances.
pub const fn probers_for(instances: usize) -> usize {
    if instances > ONE_PROBER_ABOVE { 1 } else { PROBERS }
}

impl Roster {
    /// A roster of nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in who is fit now, in any order, this node among them unless it is late itself. Returns whether the roster changed,
    /// so that work has to be handed over. To be called when membership changes and every second, but not while this node is
    /// isolated: then it is not the others who are gone.
    ///
    /// Of more than [`OBSERVERS_MAX`] those that come last by name are left out.
    pub fn update(&mut self, me: &NodeName, fit: &[Candidate], now: MonoTime) -> bool {
        let fit: BTreeMap<&NodeName, &Candidate> = fit.iter().map(|candidate| (&candidate.name, candidate)).collect();
        let gone = self.nodes.iter().map(|node| &node.candidate.name).filter(|name| !fit.contains_key(name));
        self.dropped.extend(gone.map(|name| (name.clone(), Dropped { at: now, fit_since: None })));
        for (name, dropped) in &mut self.dropped {
            dropped.fit_since = fit.contains_key(name).then(|| dropped.fit_since.unwrap_or(now));
        }
        self.dropped.retain(|_, dropped| dropped.fit_since.is_some() || now.since(dropped.at) < FORGET_AFTER);
        while self.dropped.len() > OBSERVERS_MAX {
            self.dropped.pop_last();
        }
        let waits = |name: &NodeName| name != me && self.dropped.get(name).is_some_and(|dropped| dropped.waits(now));
        // Too few who look are worse than work that moves: of one alone, nobody confirms what it sees.
        let may_wait = fit.keys().filter(|name| !waits(name)).count() >= LOOKERS;
        let admitted = fit.values().filter(|candidate| !may_wait || !waits(&candidate.name)).take(OBSERVERS_MAX);
        let nodes: Vec<Node> = admitted.map(|candidate| Node::of(candidate)).collect();
        self.dropped.retain(|name, _| nodes.binary_search_by(|node| node.candidate.name.cmp(name)).is_err());
        let has_changed = nodes != self.nodes;
        self.nodes = nodes;
        has_changed
    }

    /// Who looks at the instances of `chunk`; `probers` of them all the time, 1 to [`LOOKERS`]. O(n log n) for n nodes, so it is kept
    /// until the roster changes.
    pub fn watch(&self, chunk: ChunkId, probers: usize) -> Watch {
        let mut ranked: Vec<(u64, &Candidate)> =
            self.nodes.iter().map(|node| (node.weight(chunk), &node.candidate)).collect();
        ranked.sort_unstable_by_key(|(weight, _)| Reverse(*weight));
        let in_first_zone = |other: &&(u64, &Candidate)| other.1.zone == ranked[0].1.zone;
        let elsewhere = ranked.iter().take_while(in_first_zone).count();
        if elsewhere < ranked.len() {
            ranked[1..=elsewhere].rotate_right(1);
        }
        let lookers: Vec<NodeName> = ranked.iter().take(LOOKERS).map(|(_, node)| node.name.clone()).collect();
        Watch { probers: probers.clamp(1, LOOKERS).min(lookers.len()), lookers }
    }

    /// Nodes that share the work.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Nodes that were dropped and do not share the work yet, in order of name.
    pub fn returning(&self) -> impl Iterator<Item = &NodeName> {
        self.dropped.keys()
    }
}

impl Watch {
    /// Whoever may look, best first: the probers, then those who confirm.
    pub fn lookers(&self) -> &[NodeName] {
        &self.lookers
    }

    /// Who probes all the time.
    pub fn probers(&self) -> &[NodeName] {
        &self.lookers[..self.probers]
    }

    /// Whether a node probes all the time.
    pub fn is_prober(&self, name: &NodeName) -> bool {
        self.probers().contains(name)
    }

    /// Whom a looker asks to probe as well when it sees a failure: all the others.
    pub fn confirmers<'a>(&'a self, asking: &'a NodeName) -> impl Iterator<Item = &'a NodeName> {
        self.lookers.iter().filter(move |name| *name != asking)
    }
}

impl Node {
    fn of(candidate: &Candidate) -> Self {
        Self { candidate: candidate.clone(), hash: mix(hash_name(&candidate.name)) }
    }

    /// The rank of the node for a chunk: a hash of both, different for every pair.
    fn weight(&self, chunk: ChunkId) -> u64 {
        mix(self.hash ^ mix(u64::from(chunk.get()) + 1))
    }
}
