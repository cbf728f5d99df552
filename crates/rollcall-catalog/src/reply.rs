//! What `apply` answers.

use std::sync::Arc;

use rollcall_types::{NodeId, NodeName, Revision, ServiceName};
use serde::{Deserialize, Serialize};

use crate::Event;

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
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Instances => "instances",
            Self::Services => "services",
            Self::KvBytes => "bytes of keys and values",
            Self::Sessions => "client sessions heard within an hour",
        })
    }
}
