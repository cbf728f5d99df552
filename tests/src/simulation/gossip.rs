//! Scuttlebutt as chitchat does it, reduced to heartbeats and one value per member.
//!
//! Every round goes to three members thought live, with some chance to one thought dead and to a seed. A heartbeat advances
//! with every round and every message; digests carry heartbeats and versions, deltas carry values.

use std::rc::Rc;

use super::dice::Dice;

/// Time between rounds, in microseconds.
pub(super) const INTERVAL: u64 = 200_000;
/// A member without progress for so long is not thought live when partners are chosen: phi 8 at a mean of 200 ms.
const LIVE_FOR: u64 = 1_600_000;
const PARTNERS: usize = 3;
const SEEDS: usize = 3;

/// Heartbeat and version of each member, by index.
pub(super) type Digest = Rc<Vec<(u64, u64)>>;
/// Member, version and value.
pub(super) type Delta = Vec<(usize, u64, Rc<str>)>;

/// What one member knows of all.
#[derive(Debug)]
pub(super) struct Gossip {
    me: usize,
    heartbeats: Vec<u64>,
    versions: Vec<u64>,
    values: Vec<Rc<str>>,
    progress_at: Vec<u64>,
}

impl Gossip {
    pub(super) fn new(me: usize, nodes: usize) -> Self {
        let empty: Rc<str> = Rc::from("");
        Self {
            me,
            heartbeats: vec![0; nodes],
            versions: vec![0; nodes],
            values: vec![empty; nodes],
            progress_at: vec![0; nodes],
        }
    }

    pub(super) fn heartbeat(&self, node: usize) -> u64 {
        self.heartbeats[node]
    }

    pub(super) fn version(&self, node: usize) -> u64 {
        self.versions[node]
    }

    pub(super) fn value(&self, node: usize) -> &str {
        &self.values[node]
    }

    pub(super) fn publish(&mut self, value: &str) {
        self.versions[self.me] += 1;
        self.values[self.me] = Rc::from(value);
    }

    /// Our own heart beats.
    pub(super) fn beat(&mut self) {
        self.heartbeats[self.me] += 1;
    }

    pub(super) fn partners(&self, now: u64, dice: &mut Dice) -> Vec<usize> {
        let others = (0..self.heartbeats.len()).filter(|node| *node != self.me);
        let (live, dead): (Vec<usize>, Vec<usize>) =
            others.partition(|node| now.saturating_sub(self.progress_at[*node]) < LIVE_FOR);
        let (live_count, dead_count) = (live.len(), dead.len());
        let mut partners = dice.choose(live, PARTNERS);
        if dice.chance(dead_count as f64 / (live_count + 1) as f64) {
            partners.extend(dice.choose(dead, 1));
        }
        if dice.chance(SEEDS as f64 / (live_count + dead_count) as f64) {
            let seed = dice.below(SEEDS as u64) as usize;
            if seed != self.me && seed < self.heartbeats.len() && !partners.contains(&seed) {
                partners.push(seed);
            }
        }
        partners
    }

    pub(super) fn digest(&self) -> Digest {
        Rc::new(self.heartbeats.iter().copied().zip(self.versions.iter().copied()).collect())
    }

    /// Values that the sender of this digest lacks.
    pub(super) fn delta(&self, digest: &[(u64, u64)]) -> Delta {
        let newer = (0..digest.len()).filter(|node| self.versions[*node] > digest[*node].1);
        newer.map(|node| (node, self.versions[node], self.values[node].clone())).collect()
    }

    pub(super) fn see(&mut self, digest: &[(u64, u64)], now: u64) {
        for (node, (heartbeat, _)) in digest.iter().enumerate() {
            if node != self.me && *heartbeat > self.heartbeats[node] {
                self.heartbeats[node] = *heartbeat;
                self.progress_at[node] = now;
            }
        }
    }

    pub(super) fn merge(&mut self, delta: &Delta) {
        for (node, version, value) in delta {
            if *node != self.me && *version > self.versions[*node] {
                self.versions[*node] = *version;
                self.values[*node] = value.clone();
            }
        }
    }
}
