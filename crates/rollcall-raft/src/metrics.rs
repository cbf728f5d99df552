//! The metrics of this crate, each declared once.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Why a peer connection was refused or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rejection {
    /// Bytes that are no handshake.
    Garbage,
    /// A frame above the limit of its phase.
    Oversized,
    /// The handshake was not done in time.
    Slow,
    /// The peer does not know the cluster secret.
    Secret,
    /// The peer belongs to another cluster.
    Cluster,
    /// The peer wanted another node.
    Target,
    /// No common protocol version.
    Protocol,
    /// A message in another node's name.
    Identity,
    /// Too many connections.
    Full,
    /// The link is cut on purpose, by fault injection.
    Blocked,
    /// A snapshot that is damaged or does not belong here.
    Snapshot,
}

impl Rejection {
    pub(crate) const ALL: [Self; 11] = [
        Self::Garbage,
        Self::Oversized,
        Self::Slow,
        Self::Secret,
        Self::Cluster,
        Self::Target,
        Self::Protocol,
        Self::Identity,
        Self::Full,
        Self::Blocked,
        Self::Snapshot,
    ];

    /// The label value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Oversized => "oversized",
            Self::Slow => "slow",
            Self::Secret => "secret",
            Self::Cluster => "cluster",
            Self::Target => "target",
            Self::Protocol => "protocol",
            Self::Identity => "identity",
            Self::Full => "full",
            Self::Blocked => "blocked",
            Self::Snapshot => "snapshot",
        }
    }
}

const PEER_REJECTED: &str = "rollcall_peer_rejected_total";
const PEER_CONNECTIONS: &str = "rollcall_peer_connections";
const APPLY_SECONDS: &str = "rollcall_raft_apply_duration_seconds";
const APPLY_ENTRIES: &str = "rollcall_raft_applied_entries_total";
const SNAPSHOT_SECONDS: &str = "rollcall_raft_snapshot_duration_seconds";
const SNAPSHOT_BYTES: &str = "rollcall_raft_snapshot_bytes";
const TERM: &str = "rollcall_raft_term";
const IS_LEADER: &str = "rollcall_raft_is_leader";
const ELECTION_HINTS: &str = "rollcall_raft_election_hints_total";
const QUEUE_DEPTH: &str = "rollcall_queue_depth";

/// Tells the recorder what the metrics mean. Call once, after the recorder is installed.
pub fn describe() {
    describe_counter!(PEER_REJECTED, Unit::Count, "Peer connections refused or closed, by reason");
    describe_gauge!(PEER_CONNECTIONS, Unit::Count, "Open inbound peer connections");
    describe_histogram!(APPLY_SECONDS, Unit::Seconds, "Time to apply one batch of log entries");
    describe_counter!(APPLY_ENTRIES, Unit::Count, "Log entries applied since the start");
    describe_histogram!(SNAPSHOT_SECONDS, Unit::Seconds, "Time to write one snapshot");
    describe_gauge!(SNAPSHOT_BYTES, Unit::Bytes, "Size of the latest snapshot");
    describe_gauge!(TERM, Unit::Count, "Current Raft term");
    describe_gauge!(IS_LEADER, Unit::Count, "1 when this node leads, else 0");
    describe_counter!(ELECTION_HINTS, Unit::Count, "Elections sought early because the leader's port refused");
    describe_gauge!(QUEUE_DEPTH, Unit::Count, "Requests waiting, by queue");
    for rejection in Rejection::ALL {
        counter!(PEER_REJECTED, "reason" => rejection.as_str()).increment(0);
    }
}

pub(crate) fn peer_rejected(rejection: Rejection) {
    counter!(PEER_REJECTED, "reason" => rejection.as_str()).increment(1);
}

pub(crate) fn peer_connections(open: usize) {
    gauge!(PEER_CONNECTIONS).set(open as f64);
}

pub(crate) fn applied(entries: u64, took: Duration) {
    counter!(APPLY_ENTRIES).increment(entries);
    histogram!(APPLY_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn snapshot_written(bytes: u64, took: Duration) {
    gauge!(SNAPSHOT_BYTES).set(bytes as f64);
    histogram!(SNAPSHOT_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn leadership(term: u64, is_leader: bool) {
    gauge!(TERM).set(term as f64);
    gauge!(IS_LEADER).set(if is_leader { 1.0 } else { 0.0 });
}

pub(crate) fn election_hint() {
    counter!(ELECTION_HINTS).increment(1);
}

pub(crate) fn proposals_waiting(waiting: usize) {
    gauge!(QUEUE_DEPTH, "queue" => "proposals").set(waiting as f64);
}
