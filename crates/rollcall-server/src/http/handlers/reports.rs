//! Reports of callers, and what they amount to. Nothing of it is written to the log.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use rollcall_api::query::ReadQuery;
use rollcall_api::{
    CheckedReport, Code, ContextPerformance, InstanceFeedback, PROBLEM_JSON, Problem, ReportedLoad,
    ReportedPerformance, ReportsReply, ReportsRequest, ServiceFeedback, Timestamp, decode, paths,
};
use rollcall_catalog::Refusal;
use rollcall_routing::Performance;
use rollcall_routing::feedback::{OwnLoad, Report, Said};
use rollcall_types::{InstanceId, ServiceKey, ServiceName};

use crate::app::Shared;
use crate::clock::wall_clock;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::extract::{PathValues, PeerAddress, Query};
use crate::http::failure::{Failure, Result};
use crate::reports::ServiceReports;

/// `POST /v1/reports`: how requests to instances went.
#[utoipa::path(
    post,
    path = paths::REPORTS,
    request_body = ReportsRequest,
    responses(
        (status = 202, description = "Taken; all nodes know it in a moment", body = ReportsReply),
        (status = 429, description = "More than a reporter may send; nothing was counted", body = Problem, content_type = PROBLEM_JSON),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn report(State(app): State<Shared>, request: Request) -> Result<Response> {
    let from = request.extensions().get::<PeerAddress>().copied();
    let from = from.ok_or_else(|| Failure::internal("no address for a request"))?;
    let body = app.bodies.read(request.into_body()).await?;
    let sent = decode::from_json::<ReportsRequest>(&body.bytes)?.check()?;
    let view = View::obtain(&app, None, None, None).await?;
    let all = sent.len();
    let is_known = |report: &CheckedReport| view.catalog.instance(&report.service, &report.instance).is_some();
    let known: Vec<Report> = sent.into_iter().filter(is_known).map(domain).collect();
    let reply = ReportsReply { counted: known.len() as u64, unknown: (all - known.len()) as u64 };
    let reporter = app.reports.reporter(from.0.ip());
    app.reports.take(reporter, &known, all - known.len(), wall_clock()).map_err(|refused| {
        let wait = u64::try_from(refused.retry_after.as_millis()).unwrap_or(u64::MAX).max(1);
        Problem::new(Code::TooManyRequests, format!("{refused}; none of these was counted")).with_retry_after_ms(wait)
    })?;
    answer::json(StatusCode::ACCEPTED, view.headers(), &reply)
}

/// `GET /v1/services/{service}/feedback`: what is reported of its instances, to any node.
#[utoipa::path(
    get,
    path = paths::FEEDBACK,
    params(("service" = String, Path, description = "Name of the service"), ReadQuery),
    responses((status = 200, description = "As this node heard it", body = ServiceFeedback), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn feedback(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<ReadQuery>,
) -> Result<Response> {
    let name: ServiceName = path.get("service")?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let service = view.catalog.service(&name).ok_or_else(|| view.lacks(Refusal::ServiceNotFound))?;
    let reports = app.reports.reader().load().get(&ServiceKey::from(&name)).cloned().unwrap_or_default();
    let items = reports.instances().filter(|(instance, _)| service.instances.contains_key(*instance));
    let body = ServiceFeedback {
        service: service.name.to_string(),
        items: items.map(|(instance, said)| wire(&reports, instance, said)).collect(),
        revision: view.catalog.revision().get(),
    };
    answer::read(&view, None, &body)
}

fn domain(report: CheckedReport) -> Report {
    let CheckedReport { service, instance, ok, latency, context } = report;
    Report { service: ServiceKey::from(&service), instance, context, ok, latency }
}

fn wire(reports: &ServiceReports, instance: &InstanceId, said: &Said) -> InstanceFeedback {
    InstanceFeedback {
        instance: instance.to_string(),
        performance: said.performance.as_ref().map(performance),
        reporters: said.reporters.count(),
        contexts: said
            .contexts
            .iter()
            .map(|(context, it)| ContextPerformance { context: context.to_string(), performance: performance(it) })
            .collect(),
        load: said.load.map(load),
        ejected_until: reports.ejected_until(instance).filter(|until| *until > wall_clock()).map(Timestamp),
    }
}

fn performance(performance: &Performance) -> ReportedPerformance {
    ReportedPerformance {
        latency_ms: thousandths(performance.latency.as_secs_f64() * 1e3),
        success: thousandths(performance.success),
        samples: thousandths(performance.samples),
        at: Timestamp(performance.at),
    }
}

fn load(OwnLoad { report, capacity }: OwnLoad) -> ReportedLoad {
    ReportedLoad { inflight: report.in_flight, capacity, used: report.used.map(thousandths), at: Timestamp(report.at) }
}

/// In three decimals: no more travels.
fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
