//! Heartbeats: what an instance says of itself, and when it is to say so again.

use std::collections::BTreeMap;

use rollcall_types::{CheckId, InstanceId, ServiceName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::field::Review;
use crate::{Code, FieldError};

/// Most leases in one call of `POST /v1/leases/renew`.
pub const RENEWALS_MAX: usize = 1_000;

/// Longest response time that an instance may say, in ms: a day.
const P95_MS_MAX: f64 = 86_400_000.0;

/// What an instance says of itself, or of one of its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeartbeatStatus {
    /// All is well.
    #[default]
    Passing,
    /// It works with a reserve.
    Warning,
    /// It does not work.
    Critical,
}

/// A heartbeat. Everything may be left out, the body too.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a heartbeat")]
pub struct Heartbeat {
    /// How it is. Default: `passing`.
    pub status: HeartbeatStatus,
    /// Its load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<HeartbeatLoad>,
    /// Its checks of type `ttl`, by id. Default: `status` for all of them; those that are not named stay silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<BTreeMap<String, HeartbeatStatus>>,
}

/// The load of an instance. What is left out is taken for not said.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a load")]
pub struct HeartbeatLoad {
    /// Processor time used, as a part of what it may use, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Memory used, as a part of what it may use, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// Requests that it works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inflight: Option<u32>,
    /// Requests that it can work on at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// 95th percentile of its response times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// Share of its requests that failed, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseRenewed {
    /// Longest silence from now on.
    pub ttl_ms: u64,
    /// When to send the next one, counted from this answer.
    pub next_heartbeat_ms: u64,
}

/// The body of `POST /v1/leases/renew`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a list of heartbeats")]
pub struct RenewRequest {
    /// 1 to 1000 heartbeats.
    #[serde(deserialize_with = "crate::decode::objects")]
    #[schema(required, min_items = 1, max_items = 1_000)]
    pub items: Vec<RenewItem>,
}

/// One heartbeat of several.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a heartbeat")]
pub struct RenewItem {
    /// Name of the service.
    #[schema(required)]
    pub service: String,
    /// Id of the instance.
    #[schema(required)]
    pub id: String,
    /// As in [`Heartbeat`].
    pub status: HeartbeatStatus,
    /// As in [`Heartbeat`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<HeartbeatLoad>,
    /// As in [`Heartbeat`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<BTreeMap<String, HeartbeatStatus>>,
}

/// A heartbeat whose names obey their rules.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedHeartbeat {
    /// How it is.
    pub status: HeartbeatStatus,
    /// Its load.
    pub load: Option<HeartbeatLoad>,
    /// Its checks by heartbeats.
    pub checks: Option<Vec<(CheckId, HeartbeatStatus)>>,
}

/// One heartbeat of several, with the names as they were given.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedItem {
    /// The service as it was given.
    pub service: String,
    /// The id as it was given.
    pub id: String,
    /// The heartbeat, or every field that breaks a rule.
    pub heartbeat: Result<(ServiceName, InstanceId, CheckedHeartbeat), Vec<FieldError>>,
}

/// The results of `POST /v1/leases/renew`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RenewReply {
    /// One for each heartbeat, in their order.
    pub items: Vec<RenewResult>,
    /// The revision by which they were judged.
    pub revision: u64,
}

/// What became of one heartbeat: the times, or what was wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RenewResult {
    /// Name of the service.
    pub service: String,
    /// Id of the instance.
    pub id: String,
    /// Longest silence from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// When to send the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_heartbeat_ms: Option<u64>,
    /// `lease_not_found`: register again. `invalid_field`: see `detail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Heartbeat {
    /// The heartbeat with its names checked.
    ///
    /// # Errors
    /// Every field that breaks a rule: never empty.
    pub fn check(self) -> Result<CheckedHeartbeat, Vec<FieldError>> {
        let mut review = Review::default();
        let checks = check_names(&mut review, "", self.checks);
        check_load(&mut review, "", self.load.as_ref());
        review.finish(CheckedHeartbeat { status: self.status, load: self.load, checks })
    }
}

impl RenewRequest {
    /// The heartbeats, each with its names checked by itself: one with a bad name does not hold up the others.
    ///
    /// # Errors
    /// When there are none, or more than [`RENEWALS_MAX`].
    pub fn check(self) -> Result<Vec<CheckedItem>, Vec<FieldError>> {
        let mut review = Review::default();
        if self.items.is_empty() {
            review.at("").refuse("items", "must be given, with at least one heartbeat");
        }
        review.at("").at_most("items", self.items.len(), RENEWALS_MAX);
        review.finish(())?;
        Ok(self.items.into_iter().enumerate().map(|(index, item)| item.check(index)).collect())
    }
}

impl RenewItem {
    fn check(self, index: usize) -> CheckedItem {
        let Self { service, id, status, load, checks } = self;
        let mut review = Review::default();
        let path = format!("items[{index}]");
        let checks = check_names(&mut review, &path, checks);
        check_load(&mut review, &path, load.as_ref());
        let mut at = review.at(&path);
        let named = at.text("service", &service).zip(at.text("id", &id));
        let heartbeat = named.map(|(service, id)| (service, id, CheckedHeartbeat { status, load, checks }));
        // A value that is missing was reported.
        let heartbeat = review.finish(heartbeat).and_then(|heartbeat| heartbeat.ok_or_else(Vec::new));
        CheckedItem { service, id, heartbeat }
    }
}

/// Refuses what is no share and no span: whoever divides by the wrong number is told so, and does not look idle or exhausted.
fn check_load(review: &mut Review, path: &str, load: Option<&HeartbeatLoad>) {
    let Some(HeartbeatLoad { cpu, memory, inflight: _, capacity, p95_ms, error_rate }) = load else { return };
    let mut at = review.at(path);
    for (field, share) in [("load.cpu", cpu), ("load.memory", memory), ("load.error_rate", error_rate)] {
        if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
            at.refuse(field, format!("must be a share, 0 to 1; got {share}"));
        }
    }
    if *capacity == Some(0) {
        at.refuse("load.capacity", "must be at least 1, or left out");
    }
    if let Some(millis) = p95_ms.filter(|millis| !(0.0..=P95_MS_MAX).contains(millis)) {
        at.refuse("load.p95_ms", format!("must be milliseconds, 0 to {P95_MS_MAX}; got {millis}"));
    }
}

fn check_names(
    review: &mut Review,
    path: &str,
    checks: Option<BTreeMap<String, HeartbeatStatus>>,
) -> Option<Vec<(CheckId, HeartbeatStatus)>> {
    let mut at = review.at(path);
    let checks = checks?;
    at.at_most("checks", checks.len(), rollcall_types::CHECKS_MAX);
    let named = checks.into_iter().take(rollcall_types::CHECKS_MAX);
    Some(named.filter_map(|(id, status)| Some((at.text(format_args!("checks.{id}"), &id)?, status))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    fn refused(body: &str) -> Vec<String> {
        let request: RenewRequest = match decode::from_json(body.as_bytes()) {
            Ok(request) => request,
            Err(decode::DecodeError::Fields(errors)) => return errors.into_iter().map(|it| it.field).collect(),
            Err(other) => panic!("{other}"),
        };
        match request.check() {
            Ok(items) => {
                items.into_iter().filter_map(|item| item.heartbeat.err()).flatten().map(|it| it.field).collect()
            }
            Err(errors) => errors.into_iter().map(|error| error.field).collect(),
        }
    }

    #[test]
    fn a_heartbeat_may_be_empty() {
        let heartbeat: Heartbeat = decode::from_json(b"{}").unwrap();
        assert_eq!(heartbeat.check().unwrap().status, HeartbeatStatus::Passing);
    }

    #[test]
    fn a_load_that_cannot_be_is_refused_field_by_field() {
        let body = br#"{"load":{"cpu":-0.1,"memory":1.01,"inflight":9,"capacity":0,"p95_ms":1e300,"error_rate":2}}"#;
        let errors = decode::from_json::<Heartbeat>(body).unwrap().check().unwrap_err();
        let mut fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["load.capacity", "load.cpu", "load.error_rate", "load.memory", "load.p95_ms"]);
        let most = br#"{"load":{"cpu":0,"memory":1,"inflight":9,"capacity":1,"p95_ms":0,"error_rate":1}}"#;
        assert!(
            decode::from_json::<Heartbeat>(most).unwrap().check().is_ok(),
            "more in flight than fit at once may be"
        );
    }

    #[test]
    fn a_heartbeat_with_a_bad_name_does_not_hold_up_the_others() {
        let body = br#"{"items":[{"service":"a b","id":"1"},{"service":"web","id":"1"}]}"#;
        let items = decode::from_json::<RenewRequest>(body).unwrap().check().unwrap();
        assert_eq!(items.iter().map(|item| item.heartbeat.is_ok()).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_breaks_a_rule_is_named_with_its_place() {
        assert_eq!(refused(r#"{"items":[]}"#), ["items"]);
        assert_eq!(
            refused(r#"{"items":[{"service":"web","id":"1"},{"service":"a b","id":""}]}"#),
            ["items[1].service", "items[1].id"]
        );
        assert_eq!(refused(r#"{"items":[{"service":"web","id":"1","checks":{"":"passing"}}]}"#), ["items[0].checks."]);
        assert_eq!(refused(r#"{"items":[{"service":"web","id":"1","status":"fine"}]}"#), ["items[0].status"]);
        assert_eq!(refused(r#"{"items":[{"service":"web","id":"1","load":{"cpu":85}}]}"#), ["items[0].load.cpu"]);
        let many = vec![r#"{"service":"web","id":"1"}"#; RENEWALS_MAX + 1].join(",");
        assert_eq!(refused(&format!(r#"{{"items":[{many}]}}"#)), ["items"]);
    }
}
