//! Errors on the wire: `application/problem+json` (RFC 9457).
//!
//! A [`Code`] decides everything else: the `type` URI, the title, the status, and whether sending again can help. The
//! set is closed; a mapping from a domain error picks one of them and adds a detail for the caller.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::FieldError;

/// Content type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Whether the same request may succeed if it is sent again, and whether it may already have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request fails again.
    Never,
    /// It was not done, and may succeed later or at another node.
    Later,
    /// It may or may not have been done: send it again only with the same idempotency key.
    OutcomeUnknown,
}

/// Declares [`Code`]: each variant with its name on the wire, status, [`Retry`] and title in one line.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident, $retry:ident, $title:literal;)*) => {
        /// What went wrong, in one stable word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
            /// A word that this build does not know. Read from a newer server, never sent.
            #[serde(other, rename = "unrecognized")]
            Unrecognized,
        }

        impl Code {
            /// Every code that an answer can carry.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* Self::Unrecognized => "unrecognized" }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)*
                    Self::Unrecognized => StatusCode::INTERNAL_SERVER_ERROR,
                }
            }

            /// Whether sending again can help.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry,)* Self::Unrecognized => Retry::Never }
            }

            /// The same words for every problem of this code.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* Self::Unrecognized => "Unrecognized problem" }
            }
        }
    };
}

// By hand, since the derive does not see names that come out of a macro.
impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let words = Self::ALL.iter().map(|code| code.as_str());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
    }
}

impl ToSchema for Code {}

codes! {
    /// The body is not JSON, or not UTF-8.
    InvalidBody = "invalid_body", BAD_REQUEST, Never, "Body cannot be read";
    /// Fields of the body break rules: see `errors`.
    InvalidField = "invalid_field", UNPROCESSABLE_ENTITY, Never, "Fields break rules";
    /// A query parameter, a path segment or a header breaks a rule: see `errors`.
    InvalidParameter = "invalid_parameter", BAD_REQUEST, Never, "Parameter breaks a rule";
    /// The body is larger than this route takes.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, Never, "Body too large";
    /// The body has another content type than this route takes.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, Never, "Unsupported media type";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, Never, "Request took too long to arrive";
    /// A web page of another origin asked for a change.
    CrossOrigin = "cross_origin", FORBIDDEN, Never, "Cross-origin change";
    /// There is no such route.
    NotFound = "not_found", NOT_FOUND, Never, "No such path";
    /// The route does not take this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, Never, "Method not allowed";
    /// There is no such service.
    ServiceNotFound = "service_not_found", NOT_FOUND, Never, "No such service";
    /// No service offers this capability.
    CapabilityNotFound = "capability_not_found", NOT_FOUND, Never, "No such capability";
    /// There is no such instance.
    InstanceNotFound = "instance_not_found", NOT_FOUND, Never, "No such instance";
    /// The instance is not registered, or without a lease: register again.
    LeaseNotFound = "lease_not_found", NOT_FOUND, Never, "No such lease";
    /// The service has no configuration document.
    ConfigNotFound = "config_not_found", NOT_FOUND, Never, "No configuration document";
    /// There is no such key.
    KeyNotFound = "key_not_found", NOT_FOUND, Never, "No such key";
    /// There is no such session: it ended, or never was.
    SessionNotFound = "session_not_found", NOT_FOUND, Never, "No such session";
    /// Some operations on keys did not go through, so none was done.
    TransactionFailed = "transaction_failed", CONFLICT, Never, "Transaction failed";
    /// Another session holds the lock, or its last holder lost it a short while ago.
    LockHeld = "lock_held", CONFLICT, Later, "Lock is held";
    /// The session does not hold the lock that it was to release.
    LockNotHeld = "lock_not_held", CONFLICT, Never, "Lock is not held";
    /// There is no such member.
    MemberNotFound = "member_not_found", NOT_FOUND, Never, "No such member";
    /// `If-Match` or `If-None-Match` does not hold.
    RevisionMismatch = "revision_mismatch", PRECONDITION_FAILED, Never, "Precondition failed";
    /// The name is taken, maybe in other letters of case.
    NameConflict = "name_conflict", CONFLICT, Never, "Name is taken";
    /// The service still has instances.
    ServiceNotEmpty = "service_not_empty", CONFLICT, Never, "Service still has instances";
    /// The service's schema changed while the document was on its way.
    SchemaChanged = "schema_changed", CONFLICT, Never, "Definition changed meanwhile";
    /// The membership cannot change this way now.
    MembershipConflict = "membership_conflict", CONFLICT, Never, "Membership cannot change this way";
    /// An operator decided otherwise about the instance: undrain what drains, release what is quarantined.
    LifecycleConflict = "lifecycle_conflict", CONFLICT, Never, "Instance is in another state of its life";
    /// The idempotency key was used for another request.
    IdempotencyConflict = "idempotency_conflict", UNPROCESSABLE_ENTITY, Never, "Idempotency key used for another request";
    /// The request was answered so long ago that its answer is forgotten.
    AnswerForgotten = "answer_forgotten", CONFLICT, Never, "Answer forgotten";
    /// The client session is not known any more.
    SessionExpired = "session_expired", CONFLICT, Never, "Client session expired";
    /// A bound of the catalogue is reached.
    LimitReached = "limit_reached", CONFLICT, Never, "Limit reached";
    /// Changes since that revision are forgotten: list again.
    RevisionCompacted = "revision_compacted", GONE, Never, "Revision compacted";
    /// This node does not have that revision, or not yet.
    RevisionUnavailable = "revision_unavailable", CONFLICT, Later, "Revision not available here";
    /// Too many requests or connections at once.
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, Later, "Too many requests";
    /// There is no leader at the moment.
    NoLeader = "no_leader", SERVICE_UNAVAILABLE, Later, "No leader";
    /// A majority of the voters cannot be reached.
    NoQuorum = "no_quorum", SERVICE_UNAVAILABLE, Later, "No quorum";
    /// No instance of the service may be selected as it is now: see `reasons`.
    NoHealthyInstance = "no_healthy_instance", SERVICE_UNAVAILABLE, Later, "No healthy instance";
    /// No instance of the service has what the request requires: see `reasons`.
    NoFittingInstance = "no_fitting_instance", SERVICE_UNAVAILABLE, Never, "No fitting instance";
    /// The node shuts down.
    ShuttingDown = "shutting_down", SERVICE_UNAVAILABLE, Later, "Shutting down";
    /// The write was not confirmed in time.
    TimeoutOutcomeUnknown = "timeout_outcome_unknown", GATEWAY_TIMEOUT, OutcomeUnknown, "Outcome unknown";
    /// A fault of the node; its log has the details under the request id.
    Internal = "internal", INTERNAL_SERVER_ERROR, OutcomeUnknown, "Internal error";
}

impl Code {
    /// The stable `type` URI of the problem.
    pub fn type_uri(self) -> String {
        format!("urn:rollcall:problem:{}", self.as_str())
    }
}

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct Problem {
    /// `urn:rollcall:problem:` and the code.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The same for every problem of this type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, for the caller.
    #[serde(default)]
    pub detail: String,
    /// The request id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What went wrong, for programs.
    pub code: Code,
    /// The fields that break rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Why instances cannot be selected, by code, with how many are out for it; one may be out for several reasons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
    /// Names that look like the one that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub similar: Vec<String>,
    /// Of a lock: the session that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// When it makes sense to ask again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// HTTP address of the leader, when another node would know better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
}

impl Problem {
    /// A problem of `code`, with a detail for the caller: no paths, no addresses of other clients, no values of keys.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            type_uri: code.type_uri(),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            detail: detail.into(),
            instance: None,
            code,
            errors: Vec::new(),
            reasons: BTreeMap::new(),
            similar: Vec::new(),
            holder: None,
            retry_after_ms: None,
            leader: None,
        }
    }

    /// [`Code::InvalidField`] with the fields.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.to_string(),
            [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
            [] => String::new(),
        };
        Self { errors, ..Self::new(Code::InvalidField, detail) }
    }

    /// The problem as answer to the request with this id.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.instance = Some(id.into());
        self
    }

    /// The problem with the time after which to ask again.
    #[must_use]
    pub fn with_retry_after_ms(mut self, millis: u64) -> Self {
        self.retry_after_ms = Some(millis);
        self
    }

    /// The problem with the leader's HTTP address.
    #[must_use]
    pub fn with_leader(mut self, address: Option<String>) -> Self {
        self.leader = address;
        self
    }

    /// `Retry-After` in whole seconds, rounded up (RFC 9110 §10.2.3).
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after_ms.map(|millis| millis.div_ceil(1000))
    }
}

impl From<Vec<FieldError>> for Problem {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::fields(errors)
    }
}
