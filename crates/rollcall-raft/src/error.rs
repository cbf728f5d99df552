//! What can go wrong, and what to do about it.

use std::io;
use std::path::PathBuf;

use rollcall_catalog::ImportError;
use rollcall_types::{ClusterId, NodeId, NodeName};

use crate::codec::CodecError;

/// Whether the same request may succeed if sent again, and whether it may already have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It did not happen and will not.
    Never,
    /// It did not happen; later it may.
    Later,
    /// It may have happened. Send it again under the same request id.
    OutcomeUnknown,
}

/// Why this crate did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No leader was known until the deadline. The request was not sent anywhere.
    #[error("the cluster has no leader at present")]
    NoLeader,
    /// The leader could not reach a majority. The request was not accepted.
    #[error("the cluster has no quorum at present")]
    NoQuorum,
    /// The deadline passed while the request was under way.
    #[error("the deadline passed{}", if *.outcome_unknown { "; whether the request was done is not known" } else { "" })]
    Timeout {
        /// Whether the request may have been done.
        outcome_unknown: bool,
    },
    /// Too many requests are under way on this node.
    #[error("too many requests are under way on this node")]
    Overloaded,
    /// A request above the size limit.
    #[error("the request is too large to replicate")]
    TooLarge,
    /// The disk failed. The node has stopped acknowledging and must be restarted.
    #[error("storage failed, this node has stopped: {0}")]
    StorageFailed(String),
    /// A task without which the node cannot go on has ended: a defect of this program.
    #[error(
        "this node's {0} task ended, which is a defect; restart the node, and report what its log says before this"
    )]
    TaskLost(&'static str),
    /// The node shuts down.
    #[error("this node shuts down")]
    ShuttingDown,
    /// The cluster removed this node.
    #[error(
        "this node was removed from the cluster; to bring the machine back, empty its data directory and join again"
    )]
    Removed,
    /// There is no such member.
    #[error("node {0} is not a member of the cluster")]
    NotAMember(NodeId),
    /// The member cannot be what was asked.
    #[error("{0}")]
    Membership(String),
    /// The name belongs to another node.
    #[error(
        "the name '{name}' belongs to node {node}; choose another name, or remove that node first if it is gone for good"
    )]
    NameTaken {
        /// The name.
        name: NodeName,
        /// Who has it.
        node: NodeId,
    },
    /// The other side belongs to another cluster.
    #[error(
        "{address} belongs to cluster {theirs}, this node to {ours}; join the right cluster, or empty the data directory to \
         leave the old one for good"
    )]
    ForeignCluster {
        /// Who was asked.
        address: String,
        /// Its cluster.
        theirs: ClusterId,
        /// Ours.
        ours: ClusterId,
    },
    /// Another process uses the data directory.
    #[error("{} is in use by another process; a data directory serves one node", .0.display())]
    DataDirInUse(PathBuf),
    /// The data directory cannot be trusted.
    #[error("{}: {problem}", path.display())]
    DataDir {
        /// What was found wanting.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The log is damaged where a crash cannot damage it.
    #[error(
        "{} is damaged at byte {offset} ({problem}); what the cluster acknowledged may be lost here. Move the data \
         directory away, remove this node from the cluster, and join again as a new node",
        path.display()
    )]
    CorruptLog {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// A snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The configuration does not fit together.
    #[error("{0}")]
    Options(String),
    /// Listening, reading or writing failed.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NoLeader | Self::NoQuorum | Self::Overloaded | Self::ShuttingDown => Retry::Later,
            Self::Timeout { outcome_unknown: true } => Retry::OutcomeUnknown,
            Self::Timeout { outcome_unknown: false } => Retry::Later,
            Self::StorageFailed(_) | Self::TaskLost(_) => Retry::OutcomeUnknown,
            Self::TooLarge
            | Self::Removed
            | Self::NotAMember(_)
            | Self::Membership(_)
            | Self::NameTaken { .. }
            | Self::ForeignCluster { .. }
            | Self::DataDirInUse(_)
            | Self::DataDir { .. }
            | Self::CorruptLog { .. }
            | Self::Snapshot(_)
            | Self::Options(_)
            | Self::Io { .. } => Retry::Never,
        }
    }
}

/// Why a snapshot file is not used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Reading or writing failed.
    #[error("snapshot {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file does not begin as a snapshot does.
    #[error("{} is not a Rollcall snapshot", .0.display())]
    NotASnapshot(PathBuf),
    /// A checksum, a count or the digest does not fit.
    #[error("snapshot {} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A value does not decode.
    #[error("snapshot {} holds a value that does not decode", path.display())]
    Codec {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// The records are no catalogue.
    #[error("snapshot {} holds records that are no catalogue", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ImportError,
    },
    /// It is another cluster's.
    #[error("snapshot {} belongs to cluster {theirs}, not to {ours}", path.display())]
    ForeignCluster {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        theirs: ClusterId,
        /// Who we are.
        ours: ClusterId,
    },
}
