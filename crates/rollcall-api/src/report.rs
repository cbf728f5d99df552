//! Reports of callers: how the requests went that they sent to instances, and what all of that amounts to.

use std::time::Duration;

use rollcall_types::{InstanceId, Label, ServiceName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::field::Review;
use crate::{FieldError, Timestamp};

/// Most reports in one call of `POST /v1/reports`.
pub const REPORTS_MAX: usize = 1_000;
/// Longest latency that can be reported, one hour.
pub const REPORTED_LATENCY_MAX: Duration = Duration::from_secs(3_600);

/// The body of `POST /v1/reports`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a list of reports")]
pub struct ReportsRequest {
    /// 1 to 1000 reports.
    #[serde(deserialize_with = "crate::decode::objects")]
    #[schema(required, min_items = 1, max_items = 1_000)]
    pub items: Vec<Report>,
}

/// How one request went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a report")]
pub struct Report {
    /// Name of the service.
    #[schema(required)]
    pub service: String,
    /// Id of the instance that it was sent to.
    #[schema(required)]
    pub instance: String,
    /// Whether it worked.
    #[schema(required)]
    pub ok: Option<bool>,
    /// How long it took, 0 to 3600000.
    #[schema(required)]
    pub latency_ms: Option<f64>,
    /// What kind of request it was: the context key that selection is asked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// A report that obeys its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedReport {
    /// The service.
    pub service: ServiceName,
    /// The instance.
    pub instance: InstanceId,
    /// Whether it worked.
    pub ok: bool,
    /// How long it took.
    pub latency: Duration,
    /// What kind of request it was.
    pub context: Option<Label>,
}

/// What became of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReportsReply {
    /// Reports that count.
    pub counted: u64,
    /// Reports on instances that are not registered, or not yet at this node; they count for nothing.
    pub unknown: u64,
}

/// What is reported of the instances of a service: the answer of `GET /v1/services/{service}/feedback`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ServiceFeedback {
    /// The service.
    pub service: String,
    /// Its instances of which something is reported, by id.
    pub items: Vec<InstanceFeedback>,
    /// The revision of the catalogue that is shown. Reports have none.
    pub revision: u64,
}

/// What is reported of one instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct InstanceFeedback {
    /// The instance.
    pub instance: String,
    /// How all requests went; `null` when no caller reports any.
    pub performance: Option<ReportedPerformance>,
    /// Callers that report, at least: those that cannot be told apart count as one.
    pub reporters: u32,
    /// How requests of one kind went, by context key.
    pub contexts: Vec<ContextPerformance>,
    /// What it says itself of its load, in heartbeats.
    pub load: Option<ReportedLoad>,
    /// Until when it is kept out of selection because several callers report that it fails.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ejected_until: Option<Timestamp>,
}

/// How requests went lately.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportedPerformance {
    /// Mean latency; a report counts for half after 30 s.
    pub latency_ms: f64,
    /// Share that worked, 0 to 1.
    pub success: f64,
    /// Requests that this rests on. However many one caller reports, they count for 5.
    pub samples: f64,
    /// When the latest was reported.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// How requests of one kind went lately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContextPerformance {
    /// What kind of request.
    pub context: String,
    /// How they went.
    #[serde(flatten)]
    pub performance: ReportedPerformance,
}

/// The load of an instance, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportedLoad {
    /// Requests that it works on.
    pub inflight: Option<u32>,
    /// Requests that it can work on at once.
    pub capacity: Option<u32>,
    /// Share of the resource that it uses most, 0 to 1.
    pub used: Option<f64>,
    /// When it said so.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

impl ReportsRequest {
    /// The reports, when all of them obey the rules.
    ///
    /// # Errors
    /// Every field that breaks a rule: never empty.
    pub fn check(self) -> Result<Vec<CheckedReport>, Vec<FieldError>> {
        let mut review = Review::default();
        if self.items.is_empty() {
            review.at("").refuse("items", "must be given, with at least one report");
        }
        review.at("").at_most("items", self.items.len(), REPORTS_MAX);
        let items = self.items.into_iter().take(REPORTS_MAX).enumerate();
        let checked: Vec<_> = items.filter_map(|(index, item)| item.check(&mut review, index)).collect();
        review.finish(checked)
    }
}

impl Report {
    fn check(self, review: &mut Review, index: usize) -> Option<CheckedReport> {
        let mut at = review.at(format_args!("items[{index}]"));
        let service = at.text("service", &self.service);
        let instance = at.text("instance", &self.instance);
        let context = at.optional_text("context", self.context.as_deref());
        let ok = at.keep("ok", self.ok.ok_or("must be given, true or false"));
        let latency = at.keep("latency_ms", latency(self.latency_ms));
        Some(CheckedReport { service: service?, instance: instance?, ok: ok?, latency: latency?, context })
    }
}

fn latency(millis: Option<f64>) -> Result<Duration, String> {
    let max = REPORTED_LATENCY_MAX.as_millis();
    let rule = format!("a number of milliseconds, 0 to {max}");
    let millis = millis.ok_or_else(|| format!("must be given, {rule}"))?;
    let span = Duration::try_from_secs_f64(millis / 1e3).ok().filter(|span| *span <= REPORTED_LATENCY_MAX);
    span.ok_or_else(|| format!("must be {rule}; got {millis}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    fn refused(body: &str) -> Vec<String> {
        let request: ReportsRequest = match decode::from_json(body.as_bytes()) {
            Ok(request) => request,
            Err(decode::DecodeError::Fields(errors)) => return errors.into_iter().map(|it| it.field).collect(),
            Err(other) => panic!("{other}"),
        };
        request.check().err().into_iter().flatten().map(|error| error.field).collect()
    }

    #[test]
    fn reports_are_taken_with_and_without_a_context() {
        let body = br#"{"items":[{"service":"web","instance":"1","ok":true,"latency_ms":12.5},
            {"service":"web","instance":"2","ok":false,"latency_ms":0,"context":"search"}]}"#;
        let reports = decode::from_json::<ReportsRequest>(body).unwrap().check().unwrap();
        assert_eq!((reports[0].latency, reports[0].ok), (Duration::from_micros(12_500), true));
        assert_eq!(reports[1].context.as_ref().map(ToString::to_string), Some("search".to_owned()));
    }

    #[test]
    fn everything_that_breaks_a_rule_is_named_with_its_place() {
        assert_eq!(refused(r#"{"items":[]}"#), ["items"]);
        assert_eq!(refused("{}"), ["items"]);
        assert_eq!(
            refused(
                r#"{"items":[{"service":"web","instance":"1","ok":true,"latency_ms":1},{"service":"a b","instance":""}]}"#
            ),
            ["items[1].service", "items[1].instance", "items[1].ok", "items[1].latency_ms"]
        );
        for latency in ["-1", "3600001", "1e300"] {
            let body = format!(r#"{{"items":[{{"service":"web","instance":"1","ok":true,"latency_ms":{latency}}}]}}"#);
            assert_eq!(refused(&body), ["items[0].latency_ms"], "{latency}");
        }
        let context = r#"{"items":[{"service":"web","instance":"1","ok":true,"latency_ms":1,"context":"a b"}]}"#;
        assert_eq!(refused(context), ["items[0].context"]);
        let many = vec![r#"{"service":"web","instance":"1","ok":true,"latency_ms":1}"#; REPORTS_MAX + 1].join(",");
        assert_eq!(refused(&format!(r#"{{"items":[{many}]}}"#)), ["items"]);
    }
}
