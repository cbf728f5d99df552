//! This node: is it alive, does it serve, what does it count, what does it offer.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use rollcall_api::{Code, PROBLEM_JSON, Problem, paths};
use serde_json::json;
use tokio::time::Instant;

use crate::app::Shared;
use crate::http::answer;
use crate::http::failure::{Failure, Result};
use crate::http::openapi;
use crate::telemetry;

/// A node that heard nothing for so long is not ready; an election is over by then.
const CONTACT_AGE_MAX: Duration = Duration::from_secs(3);

/// `GET /livez`: the process runs.
#[utoipa::path(
    get,
    path = paths::LIVEZ,
    responses((status = 200, description = "The process runs"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: this node knows a leader and has applied what was committed when it started.
#[utoipa::path(
    get,
    path = paths::READYZ,
    responses((status = 200, description = "This node serves"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn readyz(State(app): State<Shared>) -> Result<Response> {
    let status = app.consensus.status();
    if app.shutdown.is_cancelled() {
        return Err(Failure::new(Code::ShuttingDown, "this node shuts down"));
    }
    if status.leader.is_none() {
        return Err(Failure::new(Code::NoLeader, "this node knows no leader yet"));
    }
    if app.consensus.fresh_at(Instant::now()).is_none_or(|at| at.elapsed() > CONTACT_AGE_MAX) {
        return Err(Failure::new(Code::NoQuorum, "this node is cut off: it hears no leader, or as leader no majority"));
    }
    if !app.consensus.is_caught_up() {
        let (applied, committed) = (status.applied_index, status.commit_index);
        let detail = format!("this node is still catching up: applied {applied} of {committed}");
        return Err(Failure::new(Code::NoLeader, detail));
    }
    answer::json(StatusCode::OK, http::HeaderMap::new(), &json!({"ready": true, "revision": status.applied_index}))
}

/// `GET /metrics`.
#[utoipa::path(
    get,
    path = paths::METRICS,
    responses((status = 200, description = "Metrics", content_type = "text/plain"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn metrics(State(app): State<Shared>) -> Response {
    let mut response = Response::new(Body::from(telemetry::page(&app).await));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// `GET /openapi.json`.
#[utoipa::path(
    get,
    path = paths::OPENAPI,
    responses((status = 200, description = "This document"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn openapi() -> Response {
    let mut response = Response::new(Body::from(openapi::document()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
