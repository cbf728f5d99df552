//! Keys: raw bytes in, raw bytes out.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use rollcall_api::query::ReadQuery;
use rollcall_api::{Code, PROBLEM_JSON, Problem, WriteReply};
use rollcall_catalog::Command;
use rollcall_types::KvKey;

use crate::app::Shared;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::extract::{PathValues, Query};
use crate::http::failure::{Failure, Result};
use crate::http::write::Write;

/// Largest value of a key, bytes.
const VALUE_BYTES_MAX: usize = 512 * 1024;

/// `GET /v1/kv/{key}`.
#[utoipa::path(
    get,
    path = "/v1/kv/{key}",
    params(("key" = String, Path, description = "The key, percent-encoded"), ReadQuery),
    responses((status = 200, description = "The value", content_type = "application/octet-stream"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn read(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<ReadQuery>,
) -> Result<Response> {
    let key: KvKey = path.get("key")?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let entry =
        view.catalog.kv(&key).ok_or_else(|| view.lacks(Failure::new(Code::KeyNotFound, "there is no such key")))?;
    let mut response = Response::new(Body::from(entry.value.clone()));
    *response.headers_mut() = view.headers();
    response.headers_mut().insert(header::ETAG, answer::entity_tag(entry.modified));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// `PUT /v1/kv/{key}`.
#[utoipa::path(
    put,
    path = "/v1/kv/{key}",
    params(("key" = String, Path, description = "The key, percent-encoded")),
    request_body = Vec<u8>,
    responses((status = 201, description = "Made", body = WriteReply), (status = 200, description = "Changed, or equal to what was there", body = WriteReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn put(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let key: KvKey = path.get("key")?;
    if write.body().len() > VALUE_BYTES_MAX {
        let detail = format!("a value must be at most {VALUE_BYTES_MAX} bytes; got {}", write.body().len());
        return Err(Failure::new(Code::BodyTooLarge, detail));
    }
    let command = Command::KvPut { key, value: write.body().clone(), flags: 0, expect: write.expect };
    answer::written(&write.propose(&app, command).await?)
}

/// `DELETE /v1/kv/{key}`.
#[utoipa::path(
    delete,
    path = "/v1/kv/{key}",
    params(("key" = String, Path, description = "The key, percent-encoded")),
    responses((status = 204, description = "Gone, whether or not it was there"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn delete(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let key: KvKey = path.get("key")?;
    Ok(answer::removed(&write.propose(&app, Command::KvDelete { key, expect: write.expect }).await?))
}
