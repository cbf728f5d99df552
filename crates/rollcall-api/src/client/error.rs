//! What can go wrong between a client and a cluster.

use crate::{Problem, Retry};

/// Why a call failed. After several tries it is the reason of the last.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An address is missing or none that HTTP can use.
    #[error("'{address}' is no address of a node; give host:port or http://host:port")]
    Address {
        /// As it was given.
        address: String,
    },
    /// The actor holds characters that a header cannot.
    #[error("the actor cannot stand in a header")]
    Actor,
    /// The operating system gave no random bits for a key.
    #[error("no random bits for an idempotency key")]
    Random(#[source] getrandom::Error),
    /// A request cannot be written as JSON or as a query.
    #[error("the request cannot be written: {0}")]
    Request(String),
    /// The node answered with a problem.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The node could not be reached, or the connection broke.
    #[error("no answer from {node}")]
    Transport {
        /// Its address.
        node: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The node did not answer in time.
    #[error("no answer from {node} in time")]
    Timeout {
        /// Its address.
        node: String,
    },
    /// The watch heard nothing for too long.
    #[error("the watch at {node} fell silent or was closed")]
    WatchEnded {
        /// Its address.
        node: String,
    },
    /// The answer is none of this API.
    #[error("unexpected answer from {node}, status {status}: {reason}")]
    Unexpected {
        /// Its address.
        node: String,
        /// The HTTP status.
        status: u16,
        /// What was wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// The problem that the node answered with, if it did.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether the same call may succeed later, and whether it may already have happened.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Address { .. } | Self::Actor | Self::Request(_) => Retry::Never,
            Self::Random(_) | Self::WatchEnded { .. } => Retry::Later,
            Self::Problem(problem) => problem.code.retry(),
            Self::Transport { source, .. } if source.is_connect() => Retry::Later,
            Self::Transport { .. } | Self::Timeout { .. } | Self::Unexpected { .. } => Retry::OutcomeUnknown,
        }
    }
}
