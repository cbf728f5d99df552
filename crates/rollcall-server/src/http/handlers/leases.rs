//! Heartbeats: any node takes them, none writes them to the log.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use rollcall_api::query::LeaseQuery;
use rollcall_api::{
    CheckedHeartbeat, Code, FieldError, Heartbeat as HeartbeatBody, HeartbeatLoad, HeartbeatStatus, LeaseRenewed,
    PROBLEM_JSON, Problem, RenewReply, RenewRequest, RenewResult, decode, paths,
};
use rollcall_catalog::Catalog;
use rollcall_health::check::{Load, Report};
use rollcall_routing::LoadReport;
use rollcall_routing::feedback::OwnLoad;
use rollcall_types::{InstanceId, ServiceKey, ServiceName};

use crate::app::{App, Shared};
use crate::clock::wall_clock;
use crate::health::{Heartbeat, NotRenewed, Renewed};
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::extract::{PathValues, Query};
use crate::http::failure::{Failure, Result};

/// `PUT …/instances/{id}/lease`: a heartbeat.
#[utoipa::path(
    put,
    path = paths::LEASE,
    params(("service" = String, Path, description = "Name of the service"), ("id" = String, Path, description = "Id of the instance, percent-encoded"), LeaseQuery),
    request_body = Option<HeartbeatBody>,
    responses((status = 200, description = "Renewed", body = LeaseRenewed), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn renew(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<LeaseQuery>,
    request: Request,
) -> Result<Response> {
    let (service, id) = (path.get("service")?, path.get("id")?);
    let body = app.bodies.read(request.into_body()).await?;
    let heartbeat: HeartbeatBody =
        if body.bytes.is_empty() { HeartbeatBody::default() } else { decode::from_json(&body.bytes)? };
    let heartbeat = domain(heartbeat.check()?);
    let view = View::obtain(&app, None, query.min_revision, None).await?;
    let renewed = take(&app, &view.catalog, &service, &id, &heartbeat).map_err(|failure| view.lacks(failure))?;
    answer::json(StatusCode::OK, view.headers(), &wire(renewed))
}

/// `POST /v1/leases/renew`: up to 1000 heartbeats, a result for each.
#[utoipa::path(
    post,
    path = paths::RENEW_LEASES,
    params(LeaseQuery),
    request_body = RenewRequest,
    responses((status = 200, description = "A result for each", body = RenewReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn renew_many(
    State(app): State<Shared>,
    Query(query): Query<LeaseQuery>,
    request: Request,
) -> Result<Response> {
    let body = app.bodies.read(request.into_body()).await?;
    let request: RenewRequest = decode::from_json(&body.bytes)?;
    let heartbeats = request.check()?;
    let view = View::obtain(&app, None, query.min_revision, None).await?;
    let items = heartbeats.into_iter().map(|item| {
        let taken = item.heartbeat.map_err(Failure::from);
        let taken =
            taken.and_then(|(service, id, heartbeat)| take(&app, &view.catalog, &service, &id, &domain(heartbeat)));
        result(item.service, item.id, taken)
    });
    let reply = RenewReply { items: items.collect(), revision: view.catalog.revision().get() };
    answer::json(StatusCode::OK, view.headers(), &reply)
}

fn take(
    app: &App,
    catalog: &Catalog,
    service: &ServiceName,
    id: &InstanceId,
    heartbeat: &Heartbeat,
) -> Result<Renewed> {
    let Some(instance) = catalog.instance(service, id) else {
        // Of what a node has not caught up with it knows nothing, and must not make everybody register again.
        return Err(match app.consensus.is_caught_up() {
            true => Failure::new(Code::LeaseNotFound, "this instance is not registered, or no more: register it again"),
            false => Failure::new(Code::NoLeader, "this node is still catching up: ask again, or another node"),
        });
    };
    let renewed = app.health.leases().renew(instance, heartbeat).map_err(|refused| match &refused {
        NotRenewed::NoLease => Failure::new(Code::LeaseNotFound, refused.to_string()),
        NotRenewed::NoSuchCheck(check) => Failure::from(Problem::fields(vec![FieldError::new(
            format!("checks.{check}"),
            "must be a check of type ttl of this instance",
        )])),
    })?;
    if let Some(load) = heartbeat.load.and_then(own_load) {
        app.reports.take_load(&ServiceKey::from(service), id, load);
    }
    Ok(renewed)
}

/// What selection needs of a load; `None` when it says nothing of that.
fn own_load(load: Load) -> Option<OwnLoad> {
    let part = |part: Option<f64>| part.filter(|part| part.is_finite() && *part >= 0.0).map(|part| part.min(1.0));
    let used = [part(load.cpu), part(load.memory)].into_iter().flatten().max_by(f64::total_cmp);
    let capacity = load.capacity.filter(|capacity| *capacity > 0);
    let is_said = used.is_some() || load.in_flight.is_some() || capacity.is_some();
    is_said.then(|| OwnLoad { report: LoadReport { in_flight: load.in_flight, used, at: wall_clock() }, capacity })
}

fn result(service: String, id: String, taken: Result<Renewed>) -> RenewResult {
    let none = RenewResult { service, id, ttl_ms: None, next_heartbeat_ms: None, code: None, detail: None };
    match taken.map(wire) {
        Ok(LeaseRenewed { ttl_ms, next_heartbeat_ms }) => {
            RenewResult { ttl_ms: Some(ttl_ms), next_heartbeat_ms: Some(next_heartbeat_ms), ..none }
        }
        Err(failure) => RenewResult { code: Some(failure.problem.code), detail: Some(failure.problem.detail), ..none },
    }
}

fn wire(renewed: Renewed) -> LeaseRenewed {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    LeaseRenewed { ttl_ms: millis(renewed.ttl), next_heartbeat_ms: millis(renewed.next_heartbeat) }
}

fn domain(heartbeat: CheckedHeartbeat) -> Heartbeat {
    let CheckedHeartbeat { status, load, checks } = heartbeat;
    Heartbeat {
        status: report(status),
        load: load.map(domain_load),
        checks: checks.map(|checks| checks.into_iter().map(|(id, status)| (id, report(status))).collect()),
        note: None,
    }
}

fn report(status: HeartbeatStatus) -> Report {
    match status {
        HeartbeatStatus::Passing => Report::Passing,
        HeartbeatStatus::Warning => Report::Warning,
        HeartbeatStatus::Critical => Report::Critical,
    }
}

fn domain_load(load: HeartbeatLoad) -> Load {
    let HeartbeatLoad { cpu, memory, inflight, capacity, p95_ms, error_rate } = load;
    // What is no span, below 0 or beyond all bounds, is taken for not said.
    let p95 = p95_ms.and_then(|millis| Duration::try_from_secs_f64(millis / 1e3).ok());
    Load { cpu, memory, in_flight: inflight, capacity, p95, error_rate }
}
