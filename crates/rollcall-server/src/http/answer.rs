//! Answers: JSON bodies with the headers that say which revision they are true for.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use rollcall_api::{WriteReply, headers};
use rollcall_catalog::{KvEntry, Outcome, Reply};
use rollcall_types::Revision;
use serde::Serialize;

use super::consistency::View;
use super::failure::{Failure, Result};

/// Room for a typical body, so that serializing it does not reallocate.
const BODY_CAPACITY: usize = 1024;

/// A JSON answer.
pub(crate) fn json(status: StatusCode, headers: HeaderMap, body: &impl Serialize) -> Result<Response> {
    let mut bytes = Vec::with_capacity(BODY_CAPACITY);
    serde_json::to_writer(&mut bytes, body)
        .map_err(|error| Failure::internal(format!("cannot serialize an answer: {error}")))?;
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The answer to a read of `view`; `tag` is when the thing last changed, for conditional requests.
pub(crate) fn read(view: &View, tag: Option<Revision>, body: &impl Serialize) -> Result<Response> {
    let mut headers = view.headers();
    if let Some(tag) = tag {
        headers.insert(header::ETAG, entity_tag(tag));
    }
    json(StatusCode::OK, headers, body)
}

/// The answer to a write: 201 when it made the thing, else 200, with the tag for the next conditional request.
pub(crate) fn written(outcome: &Outcome) -> Result<Response> {
    written_with_id(outcome, None)
}

/// [`written`] for a thing whose id the server made.
pub(crate) fn written_with_id(outcome: &Outcome, id: Option<String>) -> Result<Response> {
    let Reply::Written { created, changed, modified } = outcome.reply else {
        return Err(Failure::internal(format!("a write was answered with {:?}", outcome.reply)));
    };
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(headers::REVISION, HeaderValue::from(outcome.revision.get()));
    headers.insert(header::ETAG, entity_tag(modified));
    let body = WriteReply {
        revision: outcome.revision.get(),
        created: Some(created),
        changed: Some(changed),
        modified_revision: Some(modified.get()),
        id,
        ..WriteReply::default()
    };
    json(if created { StatusCode::CREATED } else { StatusCode::OK }, headers, &body)
}

/// The answer to a write that locked or unlocked a key, which is `entry` now.
pub(crate) fn locked(outcome: &Outcome, entry: &KvEntry) -> Result<Response> {
    let is_new = entry.modified == outcome.revision;
    let created = entry.created == outcome.revision;
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(headers::REVISION, HeaderValue::from(outcome.revision.get()));
    headers.insert(header::ETAG, entity_tag(entry.modified));
    lock_headers(&mut headers, entry);
    let body = WriteReply {
        revision: outcome.revision.get(),
        created: Some(created),
        changed: Some(is_new),
        modified_revision: Some(entry.modified.get()),
        lock_index: Some(entry.lock_index),
        session: entry.session.map(|session| session.to_string()),
        ..WriteReply::default()
    };
    json(if created { StatusCode::CREATED } else { StatusCode::OK }, headers, &body)
}

/// Says how often a key was locked, and who holds it.
pub(crate) fn lock_headers(headers: &mut HeaderMap, entry: &KvEntry) {
    headers.insert(headers::LOCK_INDEX, HeaderValue::from(entry.lock_index));
    if let Some(session) = entry.session {
        let session = HeaderValue::try_from(session.to_string()).expect("digits and hyphens are a header value");
        headers.insert(headers::SESSION, session);
    }
}

/// The answer to a removal: 204, whether or not the thing was there.
pub(crate) fn removed(outcome: &Outcome) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(headers::REVISION, HeaderValue::from(outcome.revision.get()));
    response
}

/// A revision as an entity tag.
pub(crate) fn entity_tag(revision: Revision) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("digits and quotes are a header value")
}
