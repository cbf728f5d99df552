//! What does not get through between nodes.

/// Which packets of a link are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    All,
    /// Consensus and snapshots.
    Peer,
    Gossip,
}

/// Packets that are lost, by link: `links[from][to]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cuts {
    pub(crate) links: Vec<Vec<bool>>,
    pub(crate) traffic: Traffic,
    /// How many of a hundred are lost: 100 is a cut.
    pub(crate) percent: u8,
}

impl Cuts {
    /// Everything gets through.
    pub(crate) fn none(nodes: usize) -> Self {
        Self::of(nodes, |_, _| false)
    }

    /// Cuts what `is_cut(from, to)` says, for all traffic.
    pub(crate) fn of(nodes: usize, is_cut: impl Fn(usize, usize) -> bool) -> Self {
        let row = |from| (0..nodes).map(|to| from != to && is_cut(from, to)).collect();
        Self { links: (0..nodes).map(row).collect(), traffic: Traffic::All, percent: 100 }
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.links.len()
    }

    /// Nodes whose packets do not reach `to`.
    pub(crate) fn unheard_at(&self, to: usize) -> Vec<usize> {
        (0..self.nodes()).filter(|&from| self.links[from][to]).collect()
    }

    /// Whether a node and all others do not hear each other.
    pub(crate) fn isolates(&self, node: usize) -> bool {
        (0..self.nodes()).filter(|&other| other != node).all(|other| self.links[node][other] && self.links[other][node])
    }

    /// Whether every cut is one in both directions.
    pub(crate) fn is_symmetric(&self) -> bool {
        (0..self.nodes()).all(|from| (0..self.nodes()).all(|to| self.links[from][to] == self.links[to][from]))
    }

    /// Whether all packets of a cut link are lost.
    pub(crate) fn is_plain(&self) -> bool {
        self.traffic == Traffic::All && self.percent >= 100
    }
}
