//! What goes wrong, in Consul's words: a status and a line of plain text, which clients compare.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rollcall_catalog::Refusal;
use rollcall_raft as raft;
use tracing::error;

/// Result of a handler.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Its status.
    pub(crate) status: StatusCode,
    /// What it says.
    pub(crate) text: Cow<'static, str>,
}

impl Failure {
    /// A failure with this status and text.
    pub(crate) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, text: text.into() }
    }

    /// The request cannot be understood, or breaks a rule.
    pub(crate) fn bad_request(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// What the request is about is not there.
    pub(crate) fn not_found(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// The node has no room for it now.
    pub(crate) fn too_many(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, text)
    }

    /// What Consul says with 500: much that is the caller's fault, too.
    pub(crate) fn server(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// A name is missing in the path: `Missing service name`.
    pub(crate) fn missing(what: &str) -> Self {
        Self::bad_request(format!("Missing {what}"))
    }

    /// Nobody leads, as far as this node knows.
    pub(crate) fn no_leader() -> Self {
        Self::server("No cluster leader")
    }

    /// The node's own fault: the log says what it was.
    pub(crate) fn internal(detail: &dyn std::fmt::Display) -> Self {
        error!(error = %detail, "a request to Consul's API failed: {detail}");
        Self::server("internal error; the log of this node says why")
    }
}

impl From<raft::Error> for Failure {
    fn from(error: raft::Error) -> Self {
        use raft::Error;
        match &error {
            Error::NoLeader | Error::NoQuorum | Error::Timeout { outcome_unknown: false } => Self::no_leader(),
            Error::Timeout { outcome_unknown: true } | Error::StorageFailed(_) => {
                Self::server("No cluster leader: the write was not acknowledged in time and may happen yet")
            }
            Error::Overloaded => Self::too_many("rate limit exceeded, try again later"),
            Error::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"),
            Error::ShuttingDown => Self::server("No cluster leader: this node shuts down"),
            Error::NotAMember(_)
            | Error::Membership(_)
            | Error::Removed
            | Error::NameTaken { .. }
            | Error::TaskLost(_)
            | Error::ForeignCluster { .. }
            | Error::DataDirInUse(_)
            | Error::DataDir { .. }
            | Error::CorruptLog { .. }
            | Error::Snapshot(_)
            | Error::Options(_)
            | Error::Io { .. } => Self::internal(&error),
        }
    }
}

impl From<Refusal> for Failure {
    /// For writes that ask for no condition: handlers that do look at the refusal themselves.
    fn from(refusal: Refusal) -> Self {
        match &refusal {
            Refusal::ServiceNotFound | Refusal::InstanceNotFound => Self::not_found(refusal.to_string()),
            Refusal::ServiceNameConflict { .. } => Self::bad_request(refusal.to_string()),
            _ => Self::server(refusal.to_string()),
        }
    }
}

impl From<crate::http::Failure> for Failure {
    /// What reading a body came to.
    fn from(failure: crate::http::Failure) -> Self {
        let status = StatusCode::from_u16(failure.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, failure.problem.detail)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.text));
        *response.status_mut() = self.status;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        response
    }
}
