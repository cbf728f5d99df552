//! Watches over HTTP: a stream of server-sent events, or a long poll of the same changes.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use rollcall_api::query::{InstancesQuery, WatchQuery};
use rollcall_api::{Code, EventBatch, PROBLEM_JSON, Problem, WatchEvent, headers, paths};
use rollcall_catalog::{Catalog, Compacted};
use rollcall_types::{Revision, ServiceName};
use tokio::time::Instant;

use crate::app::{App, Shared};
use crate::http::answer;
use crate::http::consistency::{View, reach};
use crate::http::extract::{Query, header as text_header, named};
use crate::http::failure::{Failure, Result};
use crate::http::filter::Filter;
use crate::watch::{Start, Topics, Watch, watch_event};

/// Most services in one watch.
const SERVICES_MAX: usize = 100;
/// No event follows so many changes in one answer of a long poll. An event of transitions can hold more alone.
const POLL_CHANGES_MAX: usize = 1_000;
/// Longest wait of a long poll.
const POLL_WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest wait for this node to reach the cursor of a client that comes from a node that is ahead.
const REACH_DEADLINE: Duration = Duration::from_secs(5);
/// Wait of a long poll that does not say.
const POLL_WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// `GET /v1/watch`.
#[utoipa::path(
    get,
    path = paths::WATCH,
    params(WatchQuery),
    responses((status = 200, description = "Server-sent events", body = WatchEvent, content_type = "text/event-stream"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn watch(
    State(app): State<Shared>,
    headers: HeaderMap,
    Query(query): Query<WatchQuery>,
) -> Result<Response> {
    let topics = topics(query.service.as_deref())?;
    let last_seen = text_header(&headers, &headers::LAST_EVENT_ID)?;
    let last_seen: Option<Revision> = last_seen
        .map(|id| id.parse().map_err(|_| Failure::parameter("Last-Event-ID", "must be the id of an event, a revision")))
        .transpose()?;
    let start = match last_seen.or(query.since.map(Revision::new)) {
        Some(cursor) => Start::After(cursor),
        None => Start::Snapshot,
    };
    let permit = app.hub.permit().ok_or_else(Failure::too_many_watches)?;
    if let Start::After(cursor) = start {
        // A cursor from a node that is ahead of this one: what it saw must be applied here first.
        reach(&app, cursor, Instant::now() + REACH_DEADLINE).await?;
    }
    let watch = Watch::start(app.hub.clone(), app.consensus.clone(), topics, start, permit)?;
    let shutdown = app.shutdown.clone();
    let chunks = stream::unfold((watch, shutdown), |(mut watch, shutdown)| async move {
        let chunk = tokio::select! {
            chunk = watch.next_chunk() => chunk?,
            () = shutdown.cancelled() => return None,
        };
        Some((Ok::<_, std::convert::Infallible>(chunk), (watch, shutdown)))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.insert(headers::REVISION, HeaderValue::from(app.consensus.catalog().revision().get()));
    Ok(response)
}

/// `GET …/instances?since=&wait=`: the changes after `since`, as soon as there are some; 304 when there were none.
pub(crate) async fn long_poll(
    app: &App,
    service: &ServiceName,
    since: Revision,
    query: &InstancesQuery,
) -> Result<Response> {
    reach(app, since, Instant::now() + REACH_DEADLINE).await?;
    let filter = Filter::of_poll(query)?;
    let wait = query.wait.as_deref().map_or(Ok(POLL_WAIT_DEFAULT), parse_wait)?;
    let deadline = Instant::now() + wait;
    let topics = Topics::of(std::slice::from_ref(service));
    let _permit = app.hub.permit().ok_or_else(Failure::too_many_watches)?;
    loop {
        // Subscribed before the ring is read, so that a change in between ends the wait at once.
        let mut subscription = app.hub.subscribe(topics.clone(), app.consensus.catalog().revision());
        let view = View::obtain(app, query.consistency, query.min_revision, None).await?;
        if let Some(answer) = changes(&view, since, &topics, &filter)? {
            return Ok(answer);
        }
        tokio::select! {
            _ = subscription.next() => {}
            () = app.shutdown.cancelled() => return Err(Failure::new(Code::ShuttingDown, "this node shuts down")),
            () = tokio::time::sleep_until(deadline) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.headers_mut() = view.headers();
                return Ok(response);
            }
        }
    }
}

/// The changes of `topics` after `since` that pass `filter`; `None` when there are none.
fn changes(view: &View, since: Revision, topics: &Topics, filter: &Filter) -> Result<Option<Response>> {
    let catalog: &Catalog = &view.catalog;
    let events = catalog.events().after(since).ok_or(Compacted { compacted: catalog.events().compacted() })?;
    let mut revision = catalog.revision();
    let (mut frames, mut changes) = (Vec::new(), 0);
    for event in events {
        let Some(frame) = watch_event(catalog, event, topics) else { continue };
        let told = filter.narrowed(catalog, event, frame);
        if told.is_empty() {
            continue;
        }
        frames.extend(told);
        changes += event.change.count();
        if changes >= POLL_CHANGES_MAX {
            revision = event.revision;
            break;
        }
    }
    if frames.is_empty() {
        return Ok(None);
    }
    answer::read(view, None, &EventBatch { events: frames, revision: revision.get() }).map(Some)
}

fn topics(services: Option<&str>) -> Result<Topics> {
    let names = services.into_iter().flat_map(|names| names.split(',')).map(str::trim);
    let names: Vec<ServiceName> = names.map(|name| named("service", name)).collect::<Result<_>>()?;
    if names.len() > SERVICES_MAX {
        return Err(Failure::parameter("service", format!("must name at most {SERVICES_MAX} services")));
    }
    Ok(Topics::of(&names))
}

/// A wait as `30s`, `500ms` or milliseconds.
fn parse_wait(text: &str) -> Result<Duration> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 1_000),
        (None, None) => (text, 1),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match millis.map(Duration::from_millis) {
        Some(wait) if wait <= POLL_WAIT_MAX => Ok(wait),
        _ => Err(Failure::parameter(
            "wait",
            format!("must be at most {}s, as 30s or 500ms; got {text}", POLL_WAIT_MAX.as_secs()),
        )),
    }
}
