//! What operators ask for about an instance: the bodies of drain, undrain, quarantine and release.
//!
//! Times are spans from now, since whoever types them has no clock in common with the cluster; the node that takes the request
//! makes them points in time.

use rollcall_types::{
    DRAIN_DEADLINE_MAX, DRAIN_DEADLINE_MIN, Millis, QUARANTINE_TTL_MAX, QUARANTINE_TTL_MIN, REASON_BYTES_MAX, Text,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::field::{Review, Scope};
use crate::{FieldError, Number};

/// The body of `drain`. Everything is optional: an empty body is as good as `{}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[schema(example = json!({"deadline_ms": 300_000, "reason": "deploy 42"}))]
pub struct DrainRequest {
    /// Time from now in which it should be done, 1000 to 604800000. Nothing happens by itself when it has passed: answers
    /// say `deadline_passed`. Left out: an earlier deadline stays, or there is none.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 1_000, maximum = 604_800_000)]
    pub deadline_ms: Number,
    /// Why, for answers and history, at most 512 bytes. Left out: an earlier reason stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The body of `quarantine`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[schema(example = json!({"ttl_ms": 3_600_000, "reason": "wrong answers since 14:20"}))]
pub struct QuarantineRequest {
    /// Time from now until it is active again by itself, 1000 to 604800000.
    #[schema(required, value_type = u64, minimum = 1_000, maximum = 604_800_000)]
    pub ttl_ms: Number,
    /// Why, for answers and history, at most 512 bytes. Left out: an earlier reason stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The body of `undrain` and `release`. An empty body is as good as `{}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
#[schema(example = json!({"reason": "it was the disk"}))]
pub struct ActivateRequest {
    /// Why, for history, at most 512 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl DrainRequest {
    /// The time it is given, and the reason.
    ///
    /// # Errors
    /// Every field that breaks a rule: never empty.
    pub fn into_parts(self) -> Result<(Option<Millis>, Option<Text>), Vec<FieldError>> {
        let mut review = Review::default();
        let mut at = review.at("");
        let deadline = at.optional_number("deadline_ms", &self.deadline_ms, |raw| {
            Millis::within(raw, DRAIN_DEADLINE_MIN, DRAIN_DEADLINE_MAX)
        });
        let reason = convert_reason(&mut at, self.reason.as_deref());
        review.finish((deadline, reason))
    }
}

impl QuarantineRequest {
    /// How long, and the reason.
    ///
    /// # Errors
    /// Every field that breaks a rule: never empty.
    pub fn into_parts(self) -> Result<(Millis, Option<Text>), Vec<FieldError>> {
        let mut review = Review::default();
        let mut at = review.at("");
        let range = |raw| Millis::within(raw, QUARANTINE_TTL_MIN, QUARANTINE_TTL_MAX);
        let ttl = at.number("ttl_ms", &self.ttl_ms, range);
        let reason = convert_reason(&mut at, self.reason.as_deref());
        // What is missing was reported, so that nobody sees the default.
        review.finish((ttl.unwrap_or_default(), reason))
    }
}

impl ActivateRequest {
    /// The reason.
    ///
    /// # Errors
    /// Every field that breaks a rule: never empty.
    pub fn into_reason(self) -> Result<Option<Text>, Vec<FieldError>> {
        let mut review = Review::default();
        let reason = convert_reason(&mut review.at(""), self.reason.as_deref());
        review.finish(reason)
    }
}

/// An empty reason is none.
fn convert_reason(at: &mut Scope<'_>, reason: Option<&str>) -> Option<Text> {
    let reason = reason.filter(|reason| !reason.is_empty())?;
    if reason.len() > REASON_BYTES_MAX {
        at.refuse("reason", format!("must be at most {REASON_BYTES_MAX} bytes; got {}", reason.len()));
        return None;
    }
    at.text("reason", reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decode;

    #[track_caller]
    fn refused<T: std::fmt::Debug>(parts: Result<T, Vec<FieldError>>, field: &str, rule: &str) {
        let errors = parts.unwrap_err();
        assert_eq!((errors.len(), errors[0].field.as_str()), (1, field), "{errors:?}");
        assert!(errors[0].rule.contains(rule), "{errors:?}");
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_field() {
        let drain = |body: serde_json::Value| decode::from_value::<DrainRequest>(body).unwrap().into_parts();
        let quarantine = |body: serde_json::Value| decode::from_value::<QuarantineRequest>(body).unwrap().into_parts();
        let week = "must be 1000 to 604800000 milliseconds";
        refused(drain(json!({"deadline_ms": 0})), "deadline_ms", week);
        refused(drain(json!({"deadline_ms": 604_800_001})), "deadline_ms", week);
        refused(drain(json!({"deadline_ms": "5m"})), "deadline_ms", "got \"5m\"");
        refused(drain(json!({"reason": "x".repeat(513)})), "reason", "must be at most 512 bytes; got 513");
        refused(quarantine(json!({})), "ttl_ms", "must be given");
        refused(quarantine(json!({"ttl_ms": -1})), "ttl_ms", week);
        let unknown = decode::from_value::<DrainRequest>(json!({"deadline": 5})).unwrap_err();
        assert!(unknown.to_string().contains("deadline is not known here"), "{unknown}");
    }

    #[test]
    fn nothing_but_a_quarantine_needs_a_body() {
        assert_eq!(DrainRequest::default().into_parts(), Ok((None, None)));
        assert_eq!(ActivateRequest { reason: Some(String::new()) }.into_reason(), Ok(None));
        let parts = QuarantineRequest { ttl_ms: 60_000_u64.into(), reason: Some("x".repeat(512)) }.into_parts();
        assert_eq!(parts.map(|(ttl, reason)| (ttl.get(), reason.map(|it| it.len()))), Ok((60_000, Some(512))));
    }
}
