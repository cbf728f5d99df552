//! What a probe or a heartbeat says, reduced to what a verdict needs.

use std::time::Duration;

use crate::Status;

/// An answer that takes longer than this many times the expected response time is late.
pub const LATE_FACTOR: f64 = 1.5;

/// How a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The connection was refused or reset.
    Refused,
    /// No answer came within the timeout.
    Timeout,
    /// An answer came and says no: an HTTP status that is neither 2xx nor 429, a gRPC status that is not `SERVING`.
    Status,
    /// What came is no answer in the protocol of the check, or is longer than may be read.
    Protocol,
    /// The name has no address.
    Resolve,
    /// The target lies in a network that must not be probed. Nothing was asked, so this is no evidence of failure: the
    /// check becomes unknown.
    Forbidden,
}

/// What a probe was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// All is well.
    Passed,
    /// It works, and asks for less: HTTP 429.
    Strained,
    /// It does not work.
    Failed(Failure),
    /// Nothing was asked, for want of room at this observer. That is no evidence: the check stays what it is, and is due again after
    /// its interval.
    PutOff,
}

/// One run of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What came.
    pub answer: Answer,
    /// From the first packet sent to the answer, or to giving up.
    pub latency: Duration,
}

impl Outcome {
    /// Whether the answer came, and took longer than [`LATE_FACTOR`] × `expected`.
    pub(super) fn is_late(self, expected: Option<Duration>) -> bool {
        let longest = expected.map_or(Duration::MAX, |expected| expected.mul_f64(LATE_FACTOR));
        matches!(self.answer, Answer::Passed | Answer::Strained) && self.latency > longest
    }
}

/// What an instance says of itself in a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Report {
    /// All is well.
    #[default]
    Passing,
    /// It works with a reserve.
    Warning,
    /// It does not work.
    Critical,
}

impl Report {
    /// The status that it amounts to.
    pub const fn status(self) -> Status {
        match self {
            Self::Passing => Status::Passing,
            Self::Warning => Status::Warning,
            Self::Critical => Status::Critical,
        }
    }
}
