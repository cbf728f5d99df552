//! Scuttlebutt as chitchat does it, reduced to heartbeats and one value per member.
//!
//! Every round goes to three members thought live, with some chance to one thought dead and to a seed. A heartbeat advances
//! with every round and every message; digests carry heartbeats and versions, deltas carry values.

use std::rc::Rc;

use crate::dice::Dice;

/// Time between rounds, in microseconds.
pub(crate) const INTERVAL: u64 = 200_000;
/// A member without progress for so long is not thought live when partners are chosen: phi 8 at a mean of 200 ms.
const LIVE_FOR: u64 = 1_600_000;
const PARTNERS: usize = 3;
const SEEDS: usize = 3;

/// How far one member has come, as another one knows it. A newer generation counts for more than anything of an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Progress {
    pub(crate) generation: u64,
    pub(crate) heartbeat: u64,
}

/// What one member says, as another one knows it: newer ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Version {
    pub(crate) generation: u64,
    pub(crate) version: u64,
}

/// What a member publishes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Value {
    /// What its detector says.
    pub(crate) evidence: Rc<str>,
    /// What it says of instances.
    pub(crate) digests: Rc<Digests>,
}

/// What a member says of the instances of the first chunk, as text; `None` says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digests {
    /// What it sees.
    pub health: Option<String>,
    /// Whose heartbeats it hears.
    pub leases: Option<String>,
}

/// Progress and version of each member, by index.
pub(crate) type Digest = Rc<Vec<(Progress, Version)>>;
/// Member, version and value.
pub(crate) type Delta = Vec<(usize, Version, Value)>;

/// What one member knows of all.
#[derive(Debug)]
pub(crate) struct Gossip {
    me: usize,
    progress: Vec<Progress>,
    versions: Vec<Version>,
    values: Vec<Value>,
    progress_at: Vec<u64>,
}

impl Gossip {
    /// What member `me` of so many knows when it starts.
    pub(crate) fn new(me: usize, nodes: usize, generation: u64) -> Self {
        let mut gossip = Self {
            me,
            progress: vec![Progress::default(); nodes],
            versions: vec![Version::default(); nodes],
            values: vec![Value::default(); nodes],
            progress_at: vec![0; nodes],
        };
        gossip.progress[me].generation = generation;
        gossip.versions[me].generation = generation;
        gossip
    }

    pub(crate) fn progress(&self, node: usize) -> Progress {
        self.progress[node]
    }

    pub(crate) fn version(&self, node: usize) -> Version {
        self.versions[node]
    }

    pub(crate) fn value(&self, node: usize) -> &Value {
        &self.values[node]
    }

    /// Publishes the own value as `change` leaves it.
    pub(crate) fn publish(&mut self, change: impl FnOnce(&mut Value)) {
        self.versions[self.me].version += 1;
        change(&mut self.values[self.me]);
    }

    /// Our own heart beats.
    pub(crate) fn beat(&mut self) {
        self.progress[self.me].heartbeat += 1;
    }

    pub(crate) fn partners(&self, now: u64, dice: &mut Dice) -> Vec<usize> {
        let others = (0..self.progress.len()).filter(|node| *node != self.me);
        let (live, dead): (Vec<usize>, Vec<usize>) =
            others.partition(|node| now.saturating_sub(self.progress_at[*node]) < LIVE_FOR);
        let (live_count, dead_count) = (live.len(), dead.len());
        let mut partners = dice.choose(live, PARTNERS);
        if dice.chance(dead_count as f64 / (live_count + 1) as f64) {
            partners.extend(dice.choose(dead, 1));
        }
        if dice.chance(SEEDS as f64 / (live_count + dead_count) as f64) {
            let seed = dice.below(SEEDS as u64) as usize;
            if seed != self.me && seed < self.progress.len() && !partners.contains(&seed) {
                partners.push(seed);
            }
        }
        partners
    }

    pub(crate) fn digest(&self) -> Digest {
        Rc::new(self.progress.iter().copied().zip(self.versions.iter().copied()).collect())
    }

    /// Values that the sender of this digest lacks.
    pub(crate) fn delta(&self, digest: &[(Progress, Version)]) -> Delta {
        let newer = (0..digest.len()).filter(|node| self.versions[*node] > digest[*node].1);
        newer.map(|node| (node, self.versions[node], self.values[node].clone())).collect()
    }

    pub(crate) fn see(&mut self, digest: &[(Progress, Version)], now: u64) {
        for (node, (progress, _)) in digest.iter().enumerate() {
            if node != self.me && *progress > self.progress[node] {
                self.progress[node] = *progress;
                self.progress_at[node] = now;
            }
        }
    }

    pub(crate) fn merge(&mut self, delta: &Delta) {
        for (node, version, value) in delta {
            if *node != self.me && *version > self.versions[*node] {
                self.versions[*node] = *version;
                self.values[*node] = value.clone();
            }
        }
    }
}
