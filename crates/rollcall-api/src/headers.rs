//! Header names, as server and client write them.

use http::HeaderName;

/// Answer: the revision that a read shows, or that a write took.
pub const REVISION: HeaderName = HeaderName::from_static("x-rollcall-revision");
/// Answer: how a read was served, `stale`, `leader` or `linearizable`.
pub const CONSISTENCY: HeaderName = HeaderName::from_static("x-rollcall-consistency");
/// Answer: how old the read may be, in milliseconds; 0 for a linearizable one.
pub const STALENESS_MS: HeaderName = HeaderName::from_static("x-rollcall-staleness-ms");
/// Answer: how often a key was locked; rises with each new holder.
pub const LOCK_INDEX: HeaderName = HeaderName::from_static("x-rollcall-lock-index");
/// Answer: the session that holds a key; left out when nobody does.
pub const SESSION: HeaderName = HeaderName::from_static("x-rollcall-session");
/// Request: who asks, for history.
pub const ACTOR: HeaderName = HeaderName::from_static("x-rollcall-actor");
/// Request: the client session of an exactly-once write.
pub const CLIENT: HeaderName = HeaderName::from_static("x-rollcall-client");
/// Request: the number of the write within its client session.
pub const SEQUENCE: HeaderName = HeaderName::from_static("x-rollcall-sequence");
/// Request: every write of the client session below this number was answered; the server may forget those answers.
pub const ACKNOWLEDGED_BELOW: HeaderName = HeaderName::from_static("x-rollcall-acknowledged-below");
/// Request: makes a write safe to send again (draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Both ways: names the request in logs and problems.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Request: the last event id that a watcher saw (WHATWG HTML §9.2.3).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
