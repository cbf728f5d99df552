//! Answers that are successes. Clients of Go take nothing but 200 for one.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use super::failure::{Failure, Result};

/// Room for a typical body.
const BODY_CAPACITY: usize = 1024;

/// JSON.
///
/// # Errors
/// When it cannot be written, which no type of ours brings about.
pub(crate) fn json(body: &impl Serialize) -> Result<Response> {
    Ok(json_bytes(written(body)?))
}

/// JSON as bytes.
///
/// # Errors
/// As [`json`].
pub(crate) fn written(body: &impl Serialize) -> Result<Bytes> {
    let mut bytes = Vec::with_capacity(BODY_CAPACITY);
    serde_json::to_writer(&mut bytes, body).map_err(|error| Failure::internal(&error))?;
    Ok(bytes.into())
}

/// JSON that is written already.
pub(crate) fn json_bytes(bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Plain text.
pub(crate) fn text(text: impl Into<String>) -> Response {
    let mut response = Response::new(Body::from(text.into()));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// `true` or `false`.
pub(crate) fn truth(is_so: bool) -> Response {
    json_bytes(Bytes::from_static(if is_so { b"true" } else { b"false" }))
}

/// 200 without a body.
pub(crate) fn empty() -> Response {
    Response::new(Body::empty())
}

/// 404 without a body: what was asked for is not there, and may be waited for.
pub(crate) fn absent() -> Response {
    let mut response = empty();
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
