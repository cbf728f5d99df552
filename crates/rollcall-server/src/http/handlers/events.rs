//! Events that users fire for each other: they are in the log, so every node lists the same ones in the same order.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use rollcall_api::query::EventsQuery;
use rollcall_api::{EventRequest, List, PROBLEM_JSON, Problem, Timestamp, UserEvent, decode, headers, paths};
use rollcall_catalog::{Command, FiredEvent, UserEvent as Fired};
use rollcall_types::{SessionId, Text};

use crate::app::Shared;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::extract::Query;
use crate::http::failure::Result;
use crate::http::write::Write;

/// `POST /v1/events`.
#[utoipa::path(
    post,
    path = paths::EVENTS,
    request_body = EventRequest,
    responses((status = 201, description = "Fired", body = UserEvent), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn fire(State(app): State<Shared>, write: Write) -> Result<Response> {
    let event = decode::from_json::<EventRequest>(write.body())?.check()?;
    let fired = Arc::new(FiredEvent {
        id: write.derived_number(),
        name: event.name,
        payload: event.payload.into(),
        nodes: Text::default(),
        services: Text::default(),
        tag: None,
    });
    let outcome = write.propose_here(&app, Command::FireEvent { event: fired.clone() }).await?;
    let catalog = app.consensus.catalog();
    // Only the log knows the time; an event that others have pushed out since is told without.
    let kept = catalog.user_events().rev().find(|event| event.fired.id == fired.id).cloned();
    let at = kept.map(|event| event.at).unwrap_or_default();
    let event = Fired { fired, revision: outcome.revision, at };
    let headers = HeaderMap::from_iter([(headers::REVISION, HeaderValue::from(outcome.revision.get()))]);
    answer::json(StatusCode::CREATED, headers, &wire(&event))
}

/// `GET /v1/events`: the latest 256, oldest first.
#[utoipa::path(
    get,
    path = paths::EVENTS,
    params(EventsQuery),
    responses((status = 200, description = "Oldest first, on one page", body = List<UserEvent>), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn list(State(app): State<Shared>, Query(query): Query<EventsQuery>) -> Result<Response> {
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let is_asked = |event: &Fired| query.name.as_deref().is_none_or(|name| name == event.fired.name.as_str());
    let items: Vec<_> = view.catalog.user_events().filter(|event| is_asked(event)).map(|event| wire(event)).collect();
    answer::read(&view, None, &List { items, revision: view.catalog.revision().get(), next_cursor: None })
}

fn wire(event: &Fired) -> UserEvent {
    let fired = &event.fired;
    let shown = UserEvent {
        // Ids of events are written as those of sessions are.
        id: SessionId::new(fired.id).to_string(),
        name: fired.name.to_string(),
        nodes: fired.nodes.to_string(),
        services: fired.services.to_string(),
        tag: fired.tag.as_ref().map(ToString::to_string),
        revision: event.revision.get(),
        at: Timestamp(event.at),
        ..UserEvent::default()
    };
    shown.with_payload(&fired.payload)
}
