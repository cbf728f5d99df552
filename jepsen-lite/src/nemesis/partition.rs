//! Shapes of partitions.

use crate::cluster::{Cuts, Traffic};
use crate::dice::Dice;

/// How many of a hundred packets a flaky link loses. TCP gets little through above that.
const FLAKY_PERCENT: u8 = 30;

/// Which links are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One node from all others.
    One,
    /// The leader from all others.
    Leader,
    /// A minority from a majority.
    Halves,
    /// Every node sees a majority, and no two see the same: each hears its neighbours on a ring.
    Ring,
    /// Two halves that do not see each other, and one node that sees both.
    Bridge,
    /// Nothing reaches the leader, though what it sends arrives.
    DeafLeader,
    /// Nothing that the leader sends arrives, though it hears the others.
    MuteLeader,
    /// A third of all packets is lost.
    Flaky,
    /// A minority and a majority do not hear each other's gossip, and consensus goes on.
    GossipHalves,
    /// Consensus does not get from the leader to anyone, and gossip goes on.
    PeerLeader,
}

impl Shape {
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::One => "partition one",
            Self::Leader => "partition leader",
            Self::Halves => "partition halves",
            Self::Ring => "partition majorities ring",
            Self::Bridge => "partition bridge",
            Self::DeafLeader => "one-way deaf leader",
            Self::MuteLeader => "one-way mute leader",
            Self::Flaky => "flaky links",
            Self::GossipHalves => "gossip cut halves",
            Self::PeerLeader => "consensus cut leader",
        }
    }

    /// Whether it needs a network that looks at packets.
    pub(crate) const fn needs_packet_filter(self) -> bool {
        matches!(self, Self::DeafLeader | Self::MuteLeader | Self::Flaky | Self::GossipHalves | Self::PeerLeader)
    }

    /// The cuts, for a cluster of `nodes` that is led by `leader`.
    pub(crate) fn cuts(self, nodes: usize, leader: usize, dice: &mut Dice) -> Cuts {
        let order = dice.shuffled(nodes);
        let place = |node: usize| order.iter().position(|&other| other == node).unwrap_or(node);
        let minority = nodes.saturating_sub(1) / 2;
        match self {
            Self::One => Cuts::of(nodes, |from, to| (place(from) == 0) != (place(to) == 0)),
            Self::Leader => Cuts::of(nodes, |from, to| (from == leader) != (to == leader)),
            Self::Halves => Cuts::of(nodes, |from, to| (place(from) < minority) != (place(to) < minority)),
            Self::Ring => {
                // With itself a node hears a bare majority: so many neighbours on each side.
                let reach = (nodes / 2).div_ceil(2);
                Cuts::of(nodes, |from, to| {
                    let distance = place(from).abs_diff(place(to));
                    distance.min(nodes - distance) > reach
                })
            }
            Self::Bridge => {
                let side = |node: usize| place(node).cmp(&(nodes / 2));
                Cuts::of(nodes, |from, to| side(from).is_ne() && side(to).is_ne() && side(from) != side(to))
            }
            Self::DeafLeader => Cuts::of(nodes, |_, to| to == leader),
            Self::MuteLeader => Cuts::of(nodes, |from, _| from == leader),
            Self::Flaky => Cuts { percent: FLAKY_PERCENT, ..Cuts::of(nodes, |_, _| true) },
            Self::GossipHalves => Cuts { traffic: Traffic::Gossip, ..Self::Halves.cuts(nodes, leader, dice) },
            Self::PeerLeader => Cuts { traffic: Traffic::Peer, ..Self::Leader.cuts(nodes, leader, dice) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hears(cuts: &Cuts, node: usize) -> usize {
        cuts.nodes() - cuts.unheard_at(node).len()
    }

    #[test]
    fn every_node_of_a_ring_hears_a_majority_and_not_all() {
        for nodes in [5, 7] {
            let cuts = Shape::Ring.cuts(nodes, 0, &mut Dice::new(3));
            assert!((0..nodes).all(|node| hears(&cuts, node) > nodes / 2 && hears(&cuts, node) < nodes), "{cuts:?}");
        }
    }

    #[test]
    fn a_bridge_hears_all_and_the_others_their_side() {
        let cuts = Shape::Bridge.cuts(5, 0, &mut Dice::new(3));
        let mut heard: Vec<usize> = (0..5).map(|node| hears(&cuts, node)).collect();
        heard.sort_unstable();
        assert_eq!(heard, [3, 3, 3, 3, 5]);
    }

    #[test]
    fn halves_leave_a_majority_that_does_not_hear_the_rest() {
        let cuts = Shape::Halves.cuts(5, 0, &mut Dice::new(9));
        let mut heard: Vec<usize> = (0..5).map(|node| hears(&cuts, node)).collect();
        heard.sort_unstable();
        assert_eq!(heard, [2, 2, 3, 3, 3]);
        assert!(cuts.is_symmetric());
    }

    #[test]
    fn one_way_cuts_one_way() {
        for (shape, heard) in [(Shape::DeafLeader, 1), (Shape::MuteLeader, 5)] {
            let cuts = shape.cuts(5, 2, &mut Dice::new(1));
            assert_eq!(hears(&cuts, 2), heard, "{shape:?}");
            assert!(!cuts.is_symmetric());
        }
    }
}
