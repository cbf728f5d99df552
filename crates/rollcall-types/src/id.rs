//! Numbers that name things: nodes, clusters, points in the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A member of the cluster. Assigned once by the cluster and never used again for another node, even after removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(u64);

impl NodeId {
    /// Wraps a raw id.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw id.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Self).map_err(|_| Invalid::new("be a node id, a whole number", text))
    }
}

/// A cluster, drawn at random when it is bootstrapped. Nodes of different clusters refuse each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(u128);

impl ClusterId {
    /// Wraps 128 random bits.
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The raw bits.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

impl FromStr for ClusterId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match u128::from_str_radix(text, 16) {
            Ok(raw) if text.len() == 32 => Ok(Self(raw)),
            _ => Err(Invalid::new("be a cluster id, 32 hexadecimal digits", text)),
        }
    }
}

/// A point in the history of the cluster: the index of a log entry. 0 is before the first.
///
/// The same revision means the same catalogue on every node, so it orders writes, resumes watches, and guards updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Before the first log entry.
    pub const ZERO: Self = Self(0);

    /// Wraps a log index.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The log index.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Self).map_err(|_| Invalid::new("be a revision, a whole number", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_reads_back_as_printed() {
        let id = ClusterId::new(0xfeed_0000_0000_0000_0000_0000_0000_0001);
        assert_eq!(id.to_string().parse::<ClusterId>(), Ok(id));
        assert!("feed".parse::<ClusterId>().is_err());
    }
}
