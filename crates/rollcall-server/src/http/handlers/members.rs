//! The members and what changes among them.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use rollcall_api::{ClusterEvent, Members, PROBLEM_JSON, Problem, paths};
use rollcall_gossip::MemberEvent;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Duration, timeout};

use crate::app::Shared;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::failure::{Failure, Result};
use crate::membership;

/// A quiet stream sends a comment this often, so that a client can tell quiet from dead.
const COMMENT_INTERVAL: Duration = Duration::from_secs(10);

/// `GET /v1/cluster/members`.
#[utoipa::path(
    get,
    path = paths::MEMBERS,
    responses(
        (status = 200, description = "", body = Members),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn list(State(app): State<Shared>) -> Result<Response> {
    let view = View::obtain(&app, None, None, None).await?;
    answer::read(&view, None, &membership::members(&app.consensus, &app.gossip, &app.vitals))
}

/// `GET /v1/cluster/events`: all members first, then what changes among them, as this node sees it.
#[utoipa::path(
    get,
    path = paths::CLUSTER_EVENTS,
    responses(
        (status = 200, description = "Server-sent events", body = ClusterEvent, content_type = "text/event-stream"),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn events(State(app): State<Shared>) -> Result<Response> {
    let permit = app.hub.permit().ok_or_else(Failure::too_many_watches)?;
    // Before the members are looked at, so that no change falls between the two.
    let events = app.gossip.events();
    let first = members_frame(&app);
    let shutdown = app.shutdown.clone();
    let rest = stream::unfold((app, events, permit, shutdown), |(app, mut events, permit, shutdown)| async move {
        let frame = tokio::select! {
            frame = next_frame(&app, &mut events) => frame?,
            () = shutdown.cancelled() => return None,
        };
        Some((Ok(frame), (app, events, permit, shutdown)))
    });
    let first = stream::iter([Ok::<_, std::convert::Infallible>(first)]);
    let mut response = Response::new(Body::from_stream(futures_util::StreamExt::chain(first, rest)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn next_frame(app: &Shared, events: &mut Receiver<MemberEvent>) -> Option<Bytes> {
    match timeout(COMMENT_INTERVAL, events.recv()).await {
        Err(_) => Some(Bytes::from_static(b":\n\n")),
        Ok(Ok(event)) => {
            let change = membership::wire_change(&event, app.name.as_str());
            Some(ClusterEvent::Member(change).to_sse().into())
        }
        // What was missed is in the members as they are now; older news must not come after them.
        Ok(Err(RecvError::Lagged(_))) => {
            *events = events.resubscribe();
            Some(members_frame(app))
        }
        Ok(Err(RecvError::Closed)) => None,
    }
}

fn members_frame(app: &Shared) -> Bytes {
    ClusterEvent::Members(membership::members(&app.consensus, &app.gossip, &app.vitals)).to_sse().into()
}
