//! How a seed is run, and what comes of it.

use super::{Planted, Schedule};

/// How to run a seed.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Seconds until all is healed.
    pub seconds: u64,
    /// A bug on purpose.
    pub planted: Option<Planted>,
    /// Whether to keep in words what happens.
    pub keeps_lines: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 30, planted: None, keeps_lines: false }
    }
}

/// Something that must hold, and did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What must hold.
    pub invariant: &'static str,
    /// When it did not, in microseconds.
    pub at: u64,
    /// How that showed.
    pub what: String,
}

/// How much happened.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Seconds that the cluster lived.
    pub seconds: f64,
    /// Faults that began.
    pub faults: u64,
    /// Writes that were answered.
    pub writes: u64,
    /// Entries of the log, retries among them.
    pub entries: u64,
    /// Heartbeats that a node took.
    pub heartbeats: u64,
    /// Selections.
    pub selections: u64,
    /// Snapshots that were written and read back.
    pub snapshots: u64,
    /// Times that a status was judged.
    pub judged: u64,
}

impl Figures {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.faults += other.faults;
        self.writes += other.writes;
        self.entries += other.entries;
        self.heartbeats += other.heartbeats;
        self.selections += other.selections;
        self.snapshots += other.snapshots;
        self.judged += other.judged;
    }
}

/// What came of a seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// How many nodes it had.
    pub nodes: usize,
    /// What went wrong, and when.
    pub schedule: Schedule,
    /// What did not hold, if anything did not.
    pub violation: Option<Violation>,
    /// A hash of all that happened.
    pub hash: u64,
    /// The same in words, if that was asked for.
    pub lines: Vec<String>,
    /// How much happened.
    pub figures: Figures,
}
