//! Events that users fire for each other.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rollcall_types::{Tag, Text};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::field::Review;
use crate::{FieldError, Timestamp};

/// Longest payload of an event, bytes: as in Consul, whose clients listen too.
pub const EVENT_PAYLOAD_BYTES_MAX: usize = 512;

/// The body of `POST /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, an event")]
#[schema(example = json!({"name": "deploy", "payload": "web 1.4.2"}))]
pub struct EventRequest {
    /// What it is about: 1 to 255 bytes without control characters.
    #[schema(required)]
    pub name: String,
    /// What it says, as text: at most 512 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Instead of `payload`: at most 512 bytes of anything, in base64 with padding (RFC 4648 §4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

/// An event that obeys its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedEvent {
    /// What it is about.
    pub name: Text,
    /// What it says.
    pub payload: Vec<u8>,
}

impl EventRequest {
    /// The event, with its payload as bytes.
    ///
    /// # Errors
    /// Every field that breaks a rule: never empty.
    pub fn check(self) -> Result<CheckedEvent, Vec<FieldError>> {
        let mut review = Review::default();
        let mut at = review.at("");
        // A name obeys the rule of tags, and the log keeps it as a text.
        let name = at.text::<Tag>("name", &self.name).and_then(|name| Text::try_from(name.as_str()).ok());
        let (field, payload) = match (self.payload, self.payload_base64) {
            (Some(_), Some(_)) => {
                at.refuse("payload_base64", "must not come together with payload");
                ("payload_base64", Vec::new())
            }
            (Some(text), None) => ("payload", text.into_bytes()),
            (None, Some(encoded)) => {
                let decoded = BASE64_STANDARD.decode(encoded);
                let rule = |error| format!("must be base64 with padding: {error}");
                ("payload_base64", at.keep("payload_base64", decoded.map_err(rule)).unwrap_or_default())
            }
            (None, None) => ("payload", Vec::new()),
        };
        if payload.len() > EVENT_PAYLOAD_BYTES_MAX {
            let rule = format!("must be at most {EVENT_PAYLOAD_BYTES_MAX} bytes; got {}", payload.len());
            at.refuse(field, rule);
        }
        // What is missing was reported, so that nobody sees the default.
        review.finish(CheckedEvent { name: name.unwrap_or_default(), payload })
    }
}

/// An event that was fired.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UserEvent {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub name: String,
    /// What it says, when that is text; else `null`.
    pub payload: Option<String>,
    /// What it says, in base64.
    pub payload_base64: String,
    /// Expression on names of nodes that are to listen; empty: all. Only events of Consul's API have one.
    pub nodes: String,
    /// Expression on names of services that are to listen; empty: all. Only events of Consul's API have one.
    pub services: String,
    /// Tag of the services that are to listen. Only events of Consul's API have one.
    pub tag: Option<String>,
    /// The write that fired it.
    pub revision: u64,
    /// When it was fired.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

impl UserEvent {
    /// The same event with this payload, both ways.
    #[must_use]
    pub fn with_payload(self, payload: &[u8]) -> Self {
        let text = std::str::from_utf8(payload).ok().map(str::to_owned);
        Self { payload: text, payload_base64: base64_text(payload), ..self }
    }
}

/// Bytes as [`EventRequest::payload_base64`] takes them.
pub fn base64_text(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decode;

    fn checked(body: serde_json::Value) -> Result<Vec<u8>, Vec<String>> {
        let fields = |errors: Vec<FieldError>| errors.into_iter().map(|error| error.field).collect();
        match decode::from_value::<EventRequest>(body) {
            Ok(request) => request.check().map(|event| event.payload).map_err(fields),
            Err(decode::DecodeError::Fields(errors)) => Err(fields(errors)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_payload_is_text_or_base64_or_nothing() {
        assert_eq!(checked(json!({"name": "a"})), Ok(Vec::new()));
        assert_eq!(checked(json!({"name": "a", "payload": "hé"})), Ok("hé".into()));
        assert_eq!(checked(json!({"name": "a", "payload_base64": "/wA="})), Ok(vec![0xff, 0]));
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_field() {
        let check = |body, field: &str| assert_eq!(checked(body), Err(vec![field.to_owned()]));
        check(json!({}), "name");
        check(json!({"name": "a\u{7}"}), "name");
        check(json!({"name": "x".repeat(256)}), "name");
        check(json!({"name": 7}), "name");
        check(json!({"name": "a", "payload": "x".repeat(513)}), "payload");
        check(json!({"name": "a", "payload": 7}), "payload");
        check(json!({"name": "a", "payload_base64": "?"}), "payload_base64");
        check(json!({"name": "a", "payload": "x", "payload_base64": "eA=="}), "payload_base64");
        check(json!({"name": "a", "colour": 1}), "colour");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_base64_only() {
        let event = UserEvent::default().with_payload(&[0xff, 0]);
        assert_eq!((event.payload, event.payload_base64.as_str()), (None, "/wA="));
    }
}
