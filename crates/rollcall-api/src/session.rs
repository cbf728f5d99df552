//! Sessions that hold locks, and the keys that they hold.

use rollcall_types::{
    LOCK_DELAY_DEFAULT, LOCK_DELAY_MAX, Millis, NodeName, OnSessionEnd, SESSION_TTL_MAX, SESSION_TTL_MIN,
    SessionCheck as Check, SessionSpec, Text,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::field::Review;
use crate::{FieldError, Number};

/// Longest name of a session, bytes.
pub const SESSION_NAME_BYTES_MAX: usize = 512;
/// Most keys that an answer names for one session; `keys_held` counts all of them.
pub const SESSION_KEYS_SHOWN: usize = 16;
/// How many renewals fit one time to live: two may be lost before the session is.
const RENEWALS_PER_TTL: u64 = 3;

/// What becomes of the keys of a session when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// They stay, and nobody holds them.
    #[default]
    Release,
    /// They are removed.
    Delete,
}

/// The body of `POST /v1/sessions`. Everything is optional: an empty body is as good as `{}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a session")]
#[schema(example = json!({"name": "deploy on ci-7", "ttl_ms": 15_000, "lock_delay_ms": 5_000}))]
pub struct SessionRequest {
    /// For people, who see it where a lock is held: at most 512 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Longest silence, 10000 to 86400000: renew it every third of that. Left out: it lasts until it is closed.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 10_000, maximum = 86_400_000)]
    pub ttl_ms: Number,
    /// How long its keys cannot be locked after it ended while it held them, 0 to 60000. Default: 15000. So much time has a
    /// holder that did not hear of the end.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, maximum = 60_000)]
    pub lock_delay_ms: Number,
    /// What becomes of its keys. Default: `release`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_end: Option<SessionEnd>,
    /// Whether it ends with the node that takes this request. Default: `false`; any node renews it.
    pub node_check: bool,
}

impl SessionRequest {
    /// The session in the words of the domain, opened through `node`.
    ///
    /// # Errors
    /// Every field that breaks a rule: never empty.
    pub fn into_spec(self, node: NodeName) -> Result<SessionSpec, Vec<FieldError>> {
        let mut review = Review::default();
        let mut at = review.at("");
        let name = self.name.as_deref().unwrap_or_default();
        let name = if name.len() > SESSION_NAME_BYTES_MAX {
            at.refuse("name", format!("must be at most {SESSION_NAME_BYTES_MAX} bytes; got {}", name.len()));
            None
        } else {
            at.text::<Text>("name", name)
        };
        let ttl =
            at.optional_number("ttl_ms", &self.ttl_ms, |raw| Millis::within(raw, SESSION_TTL_MIN, SESSION_TTL_MAX));
        let delay = at.optional_number("lock_delay_ms", &self.lock_delay_ms, |raw| {
            Millis::within(raw, Millis::new(0), LOCK_DELAY_MAX)
        });
        let on_end = match self.on_end.unwrap_or_default() {
            SessionEnd::Release => OnSessionEnd::Release,
            SessionEnd::Delete => OnSessionEnd::Delete,
        };
        review.finish(SessionSpec {
            name: name.unwrap_or_default(),
            node,
            ttl,
            lock_delay: delay.unwrap_or(LOCK_DELAY_DEFAULT),
            on_end,
            checks: if self.node_check { [Check::Node].into() } else { Box::default() },
        })
    }
}

/// The body of `PUT /v1/sessions/{id}`: nothing is said but that the holder is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an empty object")]
pub struct SessionRenewal {}

/// What must go on for a session to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SessionCheck {
    /// Its node is alive.
    Node,
    /// An instance is registered and none of its checks is critical.
    Instance {
        /// Its service.
        service: String,
        /// Its id.
        instance: String,
        /// The check that the session named.
        check: String,
    },
    /// One that this build does not know. Read from a newer server, never sent.
    #[serde(other)]
    Unrecognized,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Session {
    /// Its id, which locks keys.
    pub id: String,
    /// For people; may be empty.
    pub name: String,
    /// The node through which it was opened, or to which it belongs.
    pub node: String,
    /// Longest silence; `null`: it lasts until it is closed.
    pub ttl_ms: Option<u64>,
    /// When to renew it next, counted from the last renewal: a third of `ttl_ms`.
    pub renew_after_ms: Option<u64>,
    /// How long its keys cannot be locked after it ended while it held them.
    pub lock_delay_ms: u64,
    /// What becomes of its keys.
    pub on_end: SessionEnd,
    /// What it hangs on besides being renewed.
    pub checks: Vec<SessionCheck>,
    /// The first 16 keys that it holds, in order.
    pub keys: Vec<String>,
    /// How many keys it holds.
    pub keys_held: u64,
    /// Who opened it.
    pub opened_by: String,
    /// The write that opened it.
    pub created_revision: u64,
    /// The write that renewed it last, or opened it.
    pub renewed_revision: u64,
}

impl Session {
    /// A session that was said to be like this, without what only the catalogue knows of it.
    pub fn of(id: impl ToString, spec: &SessionSpec) -> Self {
        let ttl_ms = spec.ttl.map(Millis::get);
        Self {
            id: id.to_string(),
            name: spec.name.to_string(),
            node: spec.node.to_string(),
            ttl_ms,
            renew_after_ms: ttl_ms.map(|ttl| ttl / RENEWALS_PER_TTL),
            lock_delay_ms: spec.lock_delay.get(),
            on_end: match spec.on_end {
                OnSessionEnd::Release => SessionEnd::Release,
                OnSessionEnd::Delete => SessionEnd::Delete,
            },
            checks: spec.checks.iter().map(check).collect(),
            ..Self::default()
        }
    }
}

fn check(check: &Check) -> SessionCheck {
    match check {
        Check::Node => SessionCheck::Node,
        Check::Instance { service, id, check } => {
            SessionCheck::Instance { service: service.to_string(), instance: id.to_string(), check: check.to_string() }
        }
    }
}

/// A key in a list: all but its value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Key {
    /// The key.
    pub key: String,
    /// A number that callers of Consul's API attach.
    pub flags: u64,
    /// Length of the value.
    pub bytes: u64,
    /// The write that changed it last.
    pub revision: u64,
    /// How often it was locked: rises with each new holder, also after the key was removed.
    pub lock_index: u64,
    /// The session that holds it; `null`: nobody does.
    pub session: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decode;

    fn spec(body: serde_json::Value) -> Result<SessionSpec, Vec<String>> {
        let fields = |errors: Vec<FieldError>| errors.into_iter().map(|error| error.field).collect();
        match decode::from_value::<SessionRequest>(body) {
            Ok(request) => request.into_spec("n1".parse().unwrap()).map_err(fields),
            Err(decode::DecodeError::Fields(errors)) => Err(fields(errors)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn an_empty_session_lasts_until_it_is_closed() {
        let spec = spec(json!({})).unwrap();
        assert_eq!((spec.ttl, spec.lock_delay, spec.on_end), (None, LOCK_DELAY_DEFAULT, OnSessionEnd::Release));
        assert!(spec.checks.is_empty() && spec.name.is_empty());
    }

    #[test]
    fn a_session_is_shown_as_it_was_asked_for() {
        let body = json!({"name": "x", "ttl_ms": 10_000, "lock_delay_ms": 0, "on_end": "delete", "node_check": true});
        let shown = Session::of("id", &spec(body).unwrap());
        assert_eq!((shown.ttl_ms, shown.renew_after_ms, shown.lock_delay_ms), (Some(10_000), Some(3_333), 0));
        assert_eq!((shown.on_end, shown.checks), (SessionEnd::Delete, vec![SessionCheck::Node]));
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_field() {
        let check = |body, field: &str| assert_eq!(spec(body), Err(vec![field.to_owned()]));
        check(json!({"ttl_ms": 9_999}), "ttl_ms");
        check(json!({"ttl_ms": 86_400_001}), "ttl_ms");
        check(json!({"ttl_ms": "15s"}), "ttl_ms");
        check(json!({"lock_delay_ms": 60_001}), "lock_delay_ms");
        check(json!({"lock_delay_ms": -1}), "lock_delay_ms");
        check(json!({"name": "x".repeat(513)}), "name");
        check(json!({"on_end": "keep"}), "on_end");
        check(json!({"node_check": 1}), "node_check");
        check(json!({"ttl": 15_000}), "ttl");
    }

    #[test]
    fn a_check_of_a_newer_server_is_read() {
        let check: SessionCheck = serde_json::from_value(json!({"type": "moon"})).unwrap();
        assert_eq!(check, SessionCheck::Unrecognized);
    }
}
