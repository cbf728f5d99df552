//! Sessions that hold locks: opened, renewed and closed through any node.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use rollcall_api::query::{ReadQuery, SessionsQuery};
use rollcall_api::{
    List, PROBLEM_JSON, Problem, SESSION_KEYS_SHOWN, Session, SessionRenewal, SessionRequest, decode, headers, paths,
};
use rollcall_catalog::{Catalog, Command, LockSession, Outcome, Refusal};
use rollcall_types::SessionId;
use serde::de::DeserializeOwned;

use crate::app::Shared;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::cursor::{Cursor, page_size};
use crate::http::extract::{PathValues, Query, session_id};
use crate::http::failure::{Failure, Result};
use crate::http::write::Write;

/// `POST /v1/sessions`.
#[utoipa::path(
    post,
    path = paths::SESSIONS,
    request_body = Option<SessionRequest>,
    responses((status = 201, description = "Open", body = Session), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn open(State(app): State<Shared>, write: Write) -> Result<Response> {
    let spec = body::<SessionRequest>(&write)?.into_spec(app.name.clone())?;
    let id = SessionId::new(write.derived_number());
    let outcome = write.propose(&app, Command::OpenSession { id, spec: Arc::new(spec.clone()) }).await?;
    // A retry is answered as the first try was, also when the session has ended meanwhile.
    let opened = Session {
        opened_by: write.actor_name().to_owned(),
        created_revision: outcome.revision.get(),
        renewed_revision: outcome.revision.get(),
        ..Session::of(id, &spec)
    };
    answer::json(StatusCode::CREATED, at(&outcome), &opened)
}

/// `GET /v1/sessions`.
#[utoipa::path(
    get,
    path = paths::SESSIONS,
    params(SessionsQuery),
    responses((status = 200, description = "Those that are open, in the order of their ids", body = List<Session>), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn list(State(app): State<Shared>, Query(query): Query<SessionsQuery>) -> Result<Response> {
    let limit = page_size(query.limit)?;
    let cursor = query.cursor.as_deref().map(Cursor::decode).transpose()?;
    let after = cursor.as_ref().map(|cursor| session_id("cursor", &cursor.after)).transpose()?;
    let at = cursor.as_ref().map(|cursor| cursor.revision.get());
    let view = View::obtain(&app, query.consistency, query.min_revision, at).await?;
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = view.catalog.lock_sessions().range((from, Bound::Unbounded));
    let items: Vec<_> = rest.by_ref().take(limit).map(|(_, session)| wire(&view.catalog, session)).collect();
    let next_cursor = rest.next().and(items.last()).map(|last| {
        app.pinned.pin(&view.catalog, Instant::now());
        Cursor { revision: view.catalog.revision(), after: last.id.clone() }.encode()
    });
    answer::read(&view, None, &List { items, revision: view.catalog.revision().get(), next_cursor })
}

/// `GET /v1/sessions/{id}`.
#[utoipa::path(
    get,
    path = paths::SESSION,
    params(("id" = String, Path, description = "Id of the session"), ReadQuery),
    responses((status = 200, description = "It is open", body = Session), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn read(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<ReadQuery>,
) -> Result<Response> {
    let id = session_id("id", path.text("id"))?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let session = view.catalog.lock_sessions().get(&id);
    let session = session.ok_or_else(|| view.lacks(Refusal::SessionNotFound { session: id }))?;
    answer::read(&view, None, &wire(&view.catalog, session))
}

/// `PUT /v1/sessions/{id}`: its holder is there.
#[utoipa::path(
    put,
    path = paths::SESSION,
    params(("id" = String, Path, description = "Id of the session")),
    request_body = Option<SessionRenewal>,
    responses((status = 200, description = "It goes on; renew it again after `renew_after_ms`", body = Session), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn renew(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let id = session_id("id", path.text("id"))?;
    body::<SessionRenewal>(&write)?;
    let outcome = write.propose_here(&app, Command::RenewSession { id }).await?;
    let catalog = app.consensus.catalog();
    let session = catalog.lock_sessions().get(&id);
    // It may have been closed since.
    let session = session.ok_or_else(|| Failure::from(Refusal::SessionNotFound { session: id }))?;
    answer::json(StatusCode::OK, at(&outcome), &wire(&catalog, session))
}

/// `DELETE /v1/sessions/{id}`: its keys are released or removed.
#[utoipa::path(
    delete,
    path = paths::SESSION,
    params(("id" = String, Path, description = "Id of the session")),
    responses((status = 204, description = "Closed, whether or not it was open"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn close(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let id = session_id("id", path.text("id"))?;
    let command = Command::CloseSession { id, renewed: None, reason: None };
    Ok(answer::removed(&write.propose(&app, command).await?))
}

/// The body; one that is empty is as good as `{}`.
fn body<T: DeserializeOwned + Default>(write: &Write) -> Result<T> {
    if write.body().is_empty() { Ok(T::default()) } else { Ok(decode::from_json(write.body())?) }
}

fn at(outcome: &Outcome) -> HeaderMap {
    HeaderMap::from_iter([(headers::REVISION, HeaderValue::from(outcome.revision.get()))])
}

fn wire(catalog: &Catalog, session: &LockSession) -> Session {
    let held = || catalog.held_by(session.id);
    Session {
        keys: held().take(SESSION_KEYS_SHOWN).map(ToString::to_string).collect(),
        keys_held: held().count() as u64,
        opened_by: session.opened_by.name.to_string(),
        created_revision: session.created.get(),
        renewed_revision: session.renewed.get(),
        ..Session::of(session.id, &session.spec)
    }
}
