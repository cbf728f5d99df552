//! What can go wrong, and what to do about it.

use std::io;

use crate::publish::{KEY_BYTES_MAX, KEYS_MAX, TOTAL_BYTES_MAX, VALUE_BYTES_MAX};

/// Why this crate did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The options contradict themselves or ask for something unsafe. All problems at once.
    #[error("{0}")]
    Options(String),
    /// The operating system refused something.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file that keeps the generation does not read.
    #[error("{path}: {problem}; move the file away to let the node take a new generation from its clock")]
    Generation {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A key that may not be published.
    #[error(
        "'{0}' is no key for gossip: 1 to {KEY_BYTES_MAX} lower-case letters, digits, '.', '_', '-' or '/', not under 'n/'"
    )]
    Key(String),
    /// A value above the limit.
    #[error("a gossip value of {0} bytes; at most {VALUE_BYTES_MAX} are allowed")]
    ValueTooLarge(usize),
    /// More than a node may publish.
    #[error("a node publishes at most {KEYS_MAX} values of {TOTAL_BYTES_MAX} bytes together")]
    TooMuch,
    /// A task without which gossip cannot go on has ended: a defect of this program, or a socket that the system took.
    #[error(
        "this node's gossip {task} task ended: {reason}; restart the node, and report what its log says before this"
    )]
    TaskLost {
        /// Which.
        task: &'static str,
        /// How.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}
