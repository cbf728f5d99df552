//! The lines of a history file.

use serde::{Deserialize, Serialize};

use super::op::{Call, OpId, Outcome, Thing};

/// The version of this format. A reader refuses others.
pub(crate) const FORMAT: u32 = 1;

/// How the run was made: the first line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct RunInfo {
    pub(crate) format: u32,
    pub(crate) workload: String,
    pub(crate) nemeses: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) nodes: Vec<String>,
    pub(crate) clients: usize,
    pub(crate) time_limit_ms: u64,
    /// Operations that must have been acknowledged for the run to say anything.
    pub(crate) min_ok: u64,
    /// How links are cut: `endpoint` or `namespaces`.
    pub(crate) network: String,
    /// Bugs that were planted in the nodes on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) planted: Option<String>,
    /// The command that makes the same run again.
    pub(crate) command: String,
}

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultPhase {
    /// It is there from now on.
    Begun,
    /// It is gone from now on.
    Ended,
    /// It is gone from now on, and hit nothing while it was there: it counts as skipped.
    Missed,
    /// It could not be made, and `note` says why.
    Skipped,
}

/// What a watch saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub(crate) enum Seen {
    /// A connection to a node began, after this revision (none: with a snapshot), about these services (none: all).
    Opened { node: String, since: Option<u64>, services: Vec<String> },
    /// The last part of a snapshot: all that was in it.
    Snapshot { revision: u64, items: Vec<(Thing, OpId)> },
    /// A thing was written by an operation.
    Put { revision: u64, thing: Thing, op: OpId },
    /// A thing was removed by an operation.
    Removed { revision: u64, thing: Thing, op: Option<OpId> },
    /// Nothing else up to here.
    Bookmark { revision: u64 },
    /// The connection ended.
    Closed { why: String },
    /// The node no longer has what comes after the cursor.
    Compacted,
}

/// One change in the log, as a node tells it when the run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub(crate) revision: u64,
    /// The operation that made it; `None` when it was none of this run.
    pub(crate) op: Option<OpId>,
    /// It removed something.
    pub(crate) removed: bool,
}

/// One line. `at` is nanoseconds since the run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The first line.
    Run(RunInfo),
    /// An operation begins: its first byte was not sent yet.
    Invoke { at: u64, op: OpId, client: u64, node: String, call: Call },
    /// An operation ended.
    Return {
        at: u64,
        op: OpId,
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// A fault of the nemesis.
    Fault {
        at: u64,
        id: u64,
        fault: String,
        phase: FaultPhase,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
        /// The nodes that it was made of; none of what is made of links.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hit: Vec<String>,
        /// At the end of one in which packets between nodes were lost: longest time in which no gossip of a node, or none for
        /// one, arrived, milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unheard_ms: Option<u64>,
    },
    /// A frame of a watch.
    Seen {
        at: u64,
        watch: u64,
        #[serde(flatten)]
        seen: Seen,
    },
    /// Load and faults are over, everything is healed; what follows are final reads.
    Healed { at: u64 },
    /// All nodes serve again, so long after the heal.
    Recovered { at: u64 },
    /// The harness itself was not run for so long until then: it answered no probe, and what it saw it saw late.
    Stalled { at: u64, ms: u64 },
    /// Nodes were not run so often since then, as they say, that nothing can be said of when something expires.
    Starved { at: u64 },
    /// Changes in the log of a node, oldest first. `complete`: nothing of this run is missing before or between them.
    Log { at: u64, node: String, complete: bool, entries: Vec<LogEntry> },
    /// Something that must not happen to a node, seen by the harness itself: an exit, a panic in its log.
    Trouble { at: u64, node: String, what: String },
    /// The run ended in order.
    End { at: u64 },
}
