//! What is healthy: everything, and one service.

use axum::extract::State as AppState;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use rollcall_api::query::{Consistency, HealthReportQuery, ServiceHealthQuery};
use rollcall_api::{
    HealthReport, Instance as InstanceAnswer, PROBLEM_JSON, Problem, ServiceHealth, ServiceHealthReport, State,
    headers, paths,
};
use rollcall_catalog::Refusal;
use rollcall_types::ServiceName;

use crate::app::Shared;
use crate::health::answer::Reading;
use crate::health::summary::{service_health, worst_first};
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::cursor::{Cursor, page_size};
use crate::http::extract::{PathValues, Query};
use crate::http::failure::{Failure, Result};

/// `GET /v1/health`.
#[utoipa::path(
    get,
    path = paths::HEALTH,
    params(HealthReportQuery),
    responses((status = 200, description = "As this node sees it", body = HealthReport), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn overview(
    AppState(app): AppState<Shared>,
    Query(query): Query<HealthReportQuery>,
) -> Result<Response> {
    let states = query.state.as_deref().map(parse_states).transpose()?;
    let limit = page_size(query.limit)?;
    let cursor = query.cursor.as_deref().map(Cursor::decode).transpose()?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let must_be_fresh = query.min_revision.is_some() || query.consistency.is_some_and(|it| it != Consistency::Stale);
    let summary = app.summaries.of(&view.catalog, Reading::of(&app, &view.catalog), must_be_fresh).await?;

    let is_past = |service: &ServiceHealth| {
        cursor.as_ref().is_some_and(|cursor| service.service.to_ascii_lowercase() <= cursor.after)
    };
    let start = summary.each.partition_point(is_past);
    let is_asked = |service: &ServiceHealth| states.as_ref().is_none_or(|states| states.contains(&service.status));
    let mut rest = summary.each[start..].iter().filter(|service| is_asked(service));
    let items: Vec<_> = rest.by_ref().take(limit).cloned().collect();
    let last = rest.next().and(items.last());
    let next_cursor =
        last.map(|last| Cursor { revision: summary.revision, after: last.service.to_ascii_lowercase() }.encode());
    let mut headers = view.headers();
    headers.insert(headers::REVISION, HeaderValue::from(summary.revision.get()));
    let report = HealthReport {
        status: summary.status,
        services: summary.services,
        instances: summary.instances,
        healthy: summary.healthy,
        items,
        revision: summary.revision.get(),
        next_cursor,
    };
    answer::json(StatusCode::OK, headers, &report)
}

/// `GET /v1/services/{service}/health`.
#[utoipa::path(
    get,
    path = paths::SERVICE_HEALTH,
    params(("service" = String, Path, description = "Name of the service"), ServiceHealthQuery),
    responses((status = 200, description = "As this node sees it", body = ServiceHealthReport<InstanceAnswer>), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn of_service(
    AppState(app): AppState<Shared>,
    path: PathValues,
    Query(query): Query<ServiceHealthQuery>,
) -> Result<Response> {
    let name: ServiceName = path.get("service")?;
    let limit = page_size(query.limit)?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let service = view.catalog.service(&name).ok_or_else(|| view.lacks(Refusal::ServiceNotFound))?;
    let reading = Reading::of(&app, &view.catalog);
    let health = service_health(service, &reading);
    let shown = worst_first(service, &reading, limit);
    let omitted = health.instances - shown.len() as u64;
    let protection = service.instances.values().find_map(|instance| reading.protection(instance));
    let protection = protection.map(|protection| protection.to_string());
    let items: Vec<_> = shown.into_iter().map(|instance| reading.wire(service, instance)).collect();
    let revision = view.catalog.revision().get();
    answer::read(&view, None, &ServiceHealthReport { health, protection, items, omitted, revision })
}

/// States, separated by commas.
fn parse_states(text: &str) -> Result<Vec<State>> {
    let all = [State::Passing, State::Warning, State::Critical, State::Starting, State::Unknown];
    let found = text.split(',').map(|word| all.into_iter().find(|state| state.as_str() == word.trim()));
    found.collect::<Option<_>>().ok_or_else(|| {
        let words = all.map(State::as_str).join(", ");
        Failure::parameter("state", format!("must be some of {words}, separated by commas; got {text}"))
    })
}
