//! What `apply` answers.

use std::sync::Arc;

use rollcall_types::{KvKey, NodeId, NodeName, Revision, ServiceName, SessionId};
use serde::{Deserialize, Serialize};

use crate::{Event, KvEntry};

/// The result of one applied request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What the client is told.
    pub outcome: Outcome,
    /// What changed; `None` when nothing did (a refusal, a replay, a write equal to what was there).
    pub event: Option<Arc<Event>>,
}

/// The answer to a request, kept so that a retry gets the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Where the request took its place in history. For a replay: where it first did.
    pub revision: Revision,
    /// The answer.
    pub reply: Reply,
    /// Whether this is the answer to an earlier arrival of the same request.
    pub replayed: bool,
}

/// The answer itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The write was done.
    Written {
        /// The thing did not exist before.
        created: bool,
        /// Something is different now.
        changed: bool,
        /// When the thing last changed: this write's revision, or an earlier one when nothing changed.
        modified: Revision,
    },
    /// The thing is gone.
    Removed {
        /// It was there before.
        existed: bool,
    },
    /// A joining node has an id.
    NodeAllocated {
        /// Its id.
        node: NodeId,
    },
    /// Nothing was done.
    Refused(Refusal),
    /// Transitions are in the journal.
    StatusesRecorded {
        /// How many; the others were passed over.
        transitions: u64,
    },
    /// Every operation of a transaction went through.
    Transacted {
        /// What was read, written and checked, in the order of the operations; what is not there then has no result.
        results: Arc<[KvResult]>,
    },
}

impl Outcome {
    /// What is remembered of it for a retry: of a long answer only that there was one, since thousands of them are kept.
    pub(crate) fn remembered(&self) -> Self {
        let bytes: usize = match &self.reply {
            Reply::Transacted { results } => {
                results.iter().map(|result| result.key.len() + result.entry.value.len() + RESULT_BYTES).sum()
            }
            Reply::Refused(Refusal::TransactionFailed { failures }) => failures.len() * FAILURE_BYTES,
            _ => return self.clone(),
        };
        let reply =
            if bytes > REMEMBERED_BYTES_MAX { Reply::Refused(Refusal::AnswerForgotten) } else { self.reply.clone() };
        Self { reply, ..self.clone() }
    }
}

/// Longest answer to a transaction that is remembered for a retry, bytes.
const REMEMBERED_BYTES_MAX: usize = 1_024;
/// What a result counts besides its key and value.
const RESULT_BYTES: usize = 64;
/// What a failure counts: its operation and a session.
const FAILURE_BYTES: usize = 24;

/// What an operation of a transaction read, wrote or checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvResult {
    /// Which operation, counted from 0.
    pub op: u32,
    /// The key.
    pub key: KvKey,
    /// The entry after it; without its value unless it was read.
    pub entry: Arc<KvEntry>,
}

/// Why an operation of a transaction did not go through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvFailure {
    /// Which operation, counted from 0.
    pub op: u32,
    /// Why.
    pub problem: KvProblem,
}

/// What stands against an operation on a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum KvProblem {
    /// A [`Precondition`](crate::Precondition) did not hold.
    #[error("precondition failed: {}", match .actual { Some(revision) => format!("the key was last changed at revision {revision}"), None => "the key does not exist".into() })]
    PreconditionFailed {
        /// When the key was last changed; `None` when it does not exist.
        actual: Option<Revision>,
    },
    /// Another session holds the key.
    #[error("session {by} holds the key")]
    Held {
        /// The session.
        by: SessionId,
    },
    /// The session that held the key ended a short while ago.
    #[error("the key was lost by its holder a short while ago and cannot be locked yet")]
    LockDelayed,
    /// The session does not hold the key.
    #[error("{}", match .by { Some(holder) => format!("session {holder} holds the key"), None => "nobody holds the key".into() })]
    NotHeld {
        /// Who does.
        by: Option<SessionId>,
    },
    /// There is no such session.
    #[error("there is no session {session}")]
    NoSuchSession {
        /// The session.
        session: SessionId,
    },
    /// The key does not exist.
    #[error("the key does not exist")]
    Missing,
    /// The session holds as many keys as one may.
    #[error("the session holds {max} keys, the most that one session may")]
    TooManyKeys {
        /// How many it may.
        max: u64,
    },
    /// The transaction asks for more than one answer may hold.
    #[error("the answer would hold more than {bytes_max} bytes; ask for less at once")]
    AnswerTooLong {
        /// How many it may.
        bytes_max: u64,
    },
}

/// Why nothing was done. Refusals are deterministic: every node refuses the same request for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// A [`Precondition`](crate::Precondition) did not hold.
    #[error("precondition failed: {}", match .actual { Some(revision) => format!("it was last changed at revision {revision}"), None => "it does not exist".into() })]
    PreconditionFailed {
        /// When the thing was last changed; `None` when it does not exist.
        actual: Option<Revision>,
    },
    /// Another service has this name in other letters of case.
    #[error("service '{existing}' exists; names that differ only in case are one name")]
    ServiceNameConflict {
        /// The name as it was first written.
        existing: ServiceName,
    },
    /// There is no such service.
    #[error("there is no such service")]
    ServiceNotFound,
    /// There is no such instance.
    #[error("there is no such instance")]
    InstanceNotFound,
    /// A service that has instances cannot be removed.
    #[error("the service still has {instances} instances; deregister them first")]
    ServiceNotEmpty {
        /// How many it has.
        instances: u64,
    },
    /// The schema changed while the document was on its way.
    #[error("the service's definition changed meanwhile; validate the document again")]
    SchemaChanged,
    /// A bound of the whole catalogue is reached.
    #[error("the cluster holds its maximum of {max} {what}")]
    LimitReached {
        /// What there is too much of.
        what: Limit,
        /// The bound.
        max: u64,
    },
    /// The idempotency key was used for another request.
    #[error("this idempotency key was used for another request")]
    IdempotencyConflict,
    /// The request is so old that its answer was forgotten; whether it was applied is not known any more.
    #[error("this request was answered long ago and its answer is forgotten")]
    AnswerForgotten,
    /// The session is not known any more; open a new one, starting at sequence 1.
    #[error("this client session is not known any more; start a new one")]
    SessionExpired,
    /// Another node has this name.
    #[error("node {node} is already called '{name}'")]
    NodeNameTaken {
        /// The name.
        name: NodeName,
        /// The node that has it.
        node: NodeId,
    },
    /// More transitions than one log entry takes.
    #[error("{count} transitions are more than the {max} that one request may record; send the rest in another")]
    TooManyTransitions {
        /// How many came.
        count: u64,
        /// How many may.
        max: u64,
    },
    /// A transaction has more operations than one request takes.
    #[error("{count} operations are more than the {max} that one transaction may have")]
    TooManyOperations {
        /// How many came.
        count: u64,
        /// How many may.
        max: u64,
    },
    /// Some operations of a transaction did not go through, so none of it was done.
    #[error("{} of the operations failed, the first because {}", .failures.len(), .failures.first().map_or_else(String::new, |first| first.problem.to_string()))]
    TransactionFailed {
        /// In the order of the operations; not empty.
        failures: Arc<[KvFailure]>,
    },
    /// There is no such session: it ended, or never was.
    #[error("there is no session {session}: it ended, or was never opened")]
    SessionNotFound {
        /// The session.
        session: SessionId,
    },
}

/// What a [`Refusal::LimitReached`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// Registered instances.
    Instances,
    /// Services.
    Services,
    /// Bytes of keys and values.
    KvBytes,
    /// Client sessions that were heard within the last hour.
    Sessions,
    /// Open sessions that may hold keys.
    LockSessions,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Instances => "instances",
            Self::Services => "services",
            Self::KvBytes => "bytes of keys and values",
            Self::Sessions => "client sessions heard within an hour",
            Self::LockSessions => "open sessions that may hold keys",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(operations: u32) -> Outcome {
        let problem = KvProblem::NoSuchSession { session: SessionId::new(u128::MAX) };
        let failures = (0..operations).map(|op| KvFailure { op, problem: problem.clone() }).collect();
        let reply = Reply::Refused(Refusal::TransactionFailed { failures });
        Outcome { revision: Revision::new(9), reply, replayed: false }
    }

    /// A node's session keeps 16,384 answers; with long refusals among them it did not fit into a snapshot, and no snapshot was
    /// written any more.
    #[test]
    fn of_a_long_answer_only_that_there_was_one_is_remembered_also_of_a_refusal() {
        assert_eq!(failed(2).remembered(), failed(2));
        assert_eq!(failed(64).remembered().reply, Reply::Refused(Refusal::AnswerForgotten));
    }
}
