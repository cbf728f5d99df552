//! The one mapping from what went wrong to what the caller is told.
//!
//! No `_` arm: a new error does not compile until someone decides its status. What an operator needs and a caller must
//! not see goes to the log, through [`Failure::internal`].

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use rollcall_api::{Code, FieldError, Problem, Retry};
use rollcall_catalog::{Compacted, Refusal};
use rollcall_raft as raft;

/// When to ask again after a failure that passes, such as an election.
const RETRY_MS: u64 = 500;

/// Result of a handler.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// An answer that is a problem.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// What the caller is told.
    pub(crate) problem: Box<Problem>,
    /// What the log is told besides.
    pub(crate) internal: Option<String>,
    /// What the answer says of itself besides: at which revision something was found missing, for example.
    pub(crate) headers: Box<HeaderMap>,
}

impl Failure {
    /// A problem with nothing more to say in the log; one that passes says when to ask again.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let problem = Problem::new(code, detail);
        let problem = if code.retry() == Retry::Never { problem } else { problem.with_retry_after_ms(RETRY_MS) };
        Self::from(problem)
    }

    /// A path segment, query parameter or header that broke a rule.
    pub(crate) fn parameter(name: impl Into<String>, rule: impl Into<String>) -> Self {
        let error = FieldError::new(name, rule);
        let mut problem = Problem::new(Code::InvalidParameter, error.to_string());
        problem.errors.push(error);
        problem.into()
    }

    /// The node has as many watch streams as it may have.
    pub(crate) fn too_many_watches() -> Self {
        Self::new(Code::TooManyRequests, "this node has its most watch streams; try another node")
    }

    /// The same, with what the answer says of itself.
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        *self.headers = headers;
        self
    }

    /// The node's own fault. The caller learns that it happened, the log what it was.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        let problem = Problem::new(Code::Internal, "the node could not do this; its log says why");
        Self { internal: Some(detail.into()), ..Self::from(problem) }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), internal: None, headers: Box::default() }
    }
}

impl From<Vec<FieldError>> for Failure {
    fn from(errors: Vec<FieldError>) -> Self {
        Problem::fields(errors).into()
    }
}

impl From<rollcall_api::decode::DecodeError> for Failure {
    fn from(error: rollcall_api::decode::DecodeError) -> Self {
        Problem::from(error).into()
    }
}

impl From<Compacted> for Failure {
    fn from(error: Compacted) -> Self {
        Self::new(Code::RevisionCompacted, error.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::PreconditionFailed { .. } => Code::RevisionMismatch,
            Refusal::ServiceNameConflict { .. } => Code::NameConflict,
            Refusal::ServiceNotFound => Code::ServiceNotFound,
            Refusal::InstanceNotFound => Code::InstanceNotFound,
            Refusal::ServiceNotEmpty { .. } => Code::ServiceNotEmpty,
            Refusal::SchemaChanged => Code::SchemaChanged,
            Refusal::LimitReached { .. } | Refusal::TooManyTransitions { .. } => Code::LimitReached,
            Refusal::IdempotencyConflict => Code::IdempotencyConflict,
            Refusal::AnswerForgotten => Code::AnswerForgotten,
            Refusal::SessionExpired => Code::SessionExpired,
            Refusal::NodeNameTaken { .. } => Code::NameConflict,
            Refusal::SessionNotFound { .. } => Code::SessionNotFound,
            Refusal::TooManyOperations { .. } => Code::LimitReached,
            Refusal::TransactionFailed { .. } => Code::TransactionFailed,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<raft::Error> for Failure {
    fn from(error: raft::Error) -> Self {
        use raft::Error;
        let code = match &error {
            Error::NoLeader => Code::NoLeader,
            Error::NoQuorum | Error::Timeout { outcome_unknown: false } => Code::NoQuorum,
            Error::Timeout { outcome_unknown: true } => Code::TimeoutOutcomeUnknown,
            Error::Overloaded => Code::TooManyRequests,
            Error::TooLarge => Code::BodyTooLarge,
            Error::ShuttingDown => Code::ShuttingDown,
            Error::NotAMember(_) => Code::MemberNotFound,
            Error::Membership(_) | Error::Removed => Code::MembershipConflict,
            Error::NameTaken { .. } => Code::NameConflict,
            Error::StorageFailed(problem) => {
                let told = Problem::new(
                    Code::TimeoutOutcomeUnknown,
                    "this node's disk failed and the node stops; ask another node",
                );
                return Self { internal: Some(problem.clone()), ..Self::from(told.with_retry_after_ms(RETRY_MS)) };
            }
            Error::TaskLost(_)
            | Error::ForeignCluster { .. }
            | Error::DataDirInUse(_)
            | Error::DataDir { .. }
            | Error::CorruptLog { .. }
            | Error::Snapshot(_)
            | Error::Options(_)
            | Error::Io { .. } => return Self::internal(chain(&error)),
        };
        Self::new(code, error.to_string())
    }
}

/// An error with its sources, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl IntoResponse for Failure {
    /// An empty response that carries the failure to [`super::Router::call`], which knows the request id.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            http::StatusCode::from_u16(self.problem.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(self);
        response
    }
}
