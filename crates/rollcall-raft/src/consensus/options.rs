//! What a node is told when it starts, and the times of Raft.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use rollcall_io::TcpListener;

use crate::error::Error;
use crate::types::PeerNode;

/// Entries in one message to a follower at most; their bytes are bounded by the log.
const ENTRIES_PER_MESSAGE: u64 = 1_024;
/// Longest wait for a follower to install a snapshot that it has received.
const SNAPSHOT_INSTALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Nodes that may found a cluster together; higher ids belong to nodes that join.
pub(crate) const FOUNDERS_MAX: u32 = 100;
/// Shortest secret.
const SECRET_BYTES_MIN: usize = 16;

/// How a node starts.
#[derive(Debug)]
pub struct Options {
    /// Where the node keeps its identity, its log and its snapshots.
    pub data_dir: PathBuf,
    /// Accepts peers; bound by the caller, so that an address in use is its error.
    pub listener: TcpListener,
    /// How others reach this node. [`PeerNode::name`] is unique in the cluster.
    pub peer: PeerNode,
    /// Peer addresses, `host:port`, by which to find other nodes. Its own among them does no harm.
    pub join: Vec<String>,
    /// How many new nodes found a cluster together, 1..=100, the same on each; `None` only ever joins one.
    pub bootstrap_expect: Option<u32>,
    /// What the nodes of a cluster know and prove to each other, at least 16 bytes.
    pub secret: Vec<u8>,
    /// A snapshot that a new cluster begins with. Only for the founder that initializes it, so for founding with one node, or
    /// given to all founders.
    pub restore_from: Option<PathBuf>,
    /// The times of Raft.
    pub timers: Timers,
}

impl Options {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        if self.secret.len() < SECRET_BYTES_MIN {
            problems.push(format!("the cluster secret must be at least {SECRET_BYTES_MIN} bytes"));
        }
        match self.bootstrap_expect {
            Some(expect) if !(1..=FOUNDERS_MAX).contains(&expect) => {
                problems.push(format!("bootstrap-expect must be 1 to {FOUNDERS_MAX}"));
            }
            Some(expect) if expect > 1 && self.join.is_empty() => {
                problems.push(format!("to found a cluster of {expect}, join must name the other nodes"));
            }
            Some(_) if self.peer.observer => {
                problems
                    .push("an observer has no vote and so founds no cluster; leave out bootstrap-expect".to_owned());
            }
            None if self.restore_from.is_some() => {
                problems.push("a snapshot is restored into a new cluster only; set bootstrap-expect".to_owned());
            }
            _ => {}
        }
        if self
            .peer
            .peer_addr
            .rsplit_once(':')
            .is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            problems.push(format!("the peer address '{}' must be host:port", self.peer.peer_addr));
        }
        problems.extend(self.timers.problems());
        if problems.is_empty() { Ok(()) } else { Err(Error::Options(problems.join("; "))) }
    }
}

/// When Raft concludes that something is wrong.
///
/// A follower seeks election when it heard nothing for `election_timeout_max` (while it may not vote, the leader's lease)
/// and then a random time between both timeouts more. With the defaults that is 700 to 900 ms after the last message of a
/// leader that fell silent; a leader whose port *refuses* connections is replaced as soon as that is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Between heartbeats, 10 ms and more. Default 80 ms, so that eight in a row must be lost for an election.
    pub heartbeat_interval: Duration,
    /// Shortest election timeout; more than twice the heartbeat interval. Default 250 ms.
    pub election_timeout_min: Duration,
    /// Longest election timeout, and the leader's lease. Default 450 ms. The spread keeps candidates apart.
    pub election_timeout_max: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(80),
            election_timeout_min: Duration::from_millis(250),
            election_timeout_max: Duration::from_millis(450),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Timers {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.heartbeat_interval < Duration::from_millis(10) {
            problems.push("heartbeat-interval must be at least 10 ms".to_owned());
        }
        if self.election_timeout_min <= self.heartbeat_interval * 2 {
            problems.push("election-timeout-min must be more than twice heartbeat-interval".to_owned());
        }
        if self.election_timeout_max <= self.election_timeout_min {
            problems.push("election-timeout-max must be above election-timeout-min".to_owned());
        }
        problems
    }

    pub(crate) fn config(&self, cluster_name: String) -> Result<Arc<Config>, Error> {
        let config = Config {
            cluster_name,
            heartbeat_interval: millis(self.heartbeat_interval),
            election_timeout_min: millis(self.election_timeout_min),
            election_timeout_max: millis(self.election_timeout_max),
            // openraft's default of 200 ms means that a large snapshot never arrives.
            install_snapshot_timeout: millis(SNAPSHOT_INSTALL_TIMEOUT),
            max_payload_entries: ENTRIES_PER_MESSAGE,
            // openraft counts entries, and knows neither what else there is to do nor how long they are: `compaction` does.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            enable_pre_vote: Some(true),
            // A leader cut off from its quorum, yet heard by a minority, must fall silent now and then, or that minority
            // never joins the others in an election. At least lease and longest election timeout.
            quorum_loss_probe_interval: Some(millis(self.election_timeout_max) * 4),
            // A restarted leader must be elected anew: it does not know what happened meanwhile.
            enable_leader_restore: Some(false),
            // A follower whose log went back had a disk that lied, or a torn tail that reached further than it should. Without
            // this the *leader* panics or never speaks to it again, so one bad disk would harm the others; with it the
            // follower is sent what it lacks.
            allow_log_reversion: Some(true),
            ..Config::default()
        };
        Ok(Arc::new(config.validate().map_err(|error| Error::Options(error.to_string()))?))
    }
}
