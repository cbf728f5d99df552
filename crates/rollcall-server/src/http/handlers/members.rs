//! The members and what changes among them.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use metrics::counter;
use rollcall_api::{ClusterEvent, Members, PROBLEM_JSON, Problem, paths};
use rollcall_gossip::MemberEvent;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Duration, sleep};

use crate::app::Shared;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::failure::{Failure, Result};
use crate::membership;
use crate::prospects::Standing;

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

/// `GET /v1/cluster/events`: all members first and what is expected of instances, then what changes, as this node sees it.
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
    let frames = stream::unfold((Follower::new(app), permit), |(mut follower, permit)| async move {
        let frame = follower.next().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), (follower, permit)))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// One client that follows the events.
struct Follower {
    app: Shared,
    members: Receiver<MemberEvent>,
    prospects: Receiver<Bytes>,
    /// Whether all members are to be told next.
    is_new: bool,
    /// What is expected of instances, as far as it is to be told before what changes.
    standing: Option<Standing>,
}

impl Follower {
    /// Listens before anything is looked at, so that no change falls between the two.
    fn new(app: Shared) -> Self {
        let (members, prospects) = (app.gossip.events(), app.prospects.follow());
        Self { app, members, prospects, is_new: true, standing: None }
    }

    /// The next frame; `None` when the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.is_new) {
            self.standing = Some(Standing::of(self.app.health.reader()));
            let app = &self.app;
            let members = membership::members(&app.consensus, &app.gossip, &app.vitals);
            return Some(ClusterEvent::Members(members).to_sse().into());
        }
        if let Some(part) = self.standing.as_mut().and_then(|standing| standing.next(&self.app.consensus.catalog())) {
            return Some(part);
        }
        self.standing = None;
        tokio::select! {
            () = self.app.shutdown.cancelled() => None,
            event = self.members.recv() => match event {
                Ok(event) => {
                    let change = membership::wire_change(&event, self.app.name.as_str());
                    Some(ClusterEvent::Member(change).to_sse().into())
                }
                Err(lost) => self.begin_anew(&lost),
            },
            frame = self.prospects.recv() => match frame {
                Ok(frame) => Some(frame),
                Err(lost) => self.begin_anew(&lost),
            },
            () = sleep(COMMENT_INTERVAL) => Some(Bytes::from_static(b":\n\n")),
        }
    }

    /// What was missed is in what stands now; older news must not come after it.
    fn begin_anew(&mut self, lost: &RecvError) -> Option<Bytes> {
        if *lost == RecvError::Closed {
            return None;
        }
        counter!("rollcall_watch_begun_anew_total").increment(1);
        (self.members, self.prospects) = (self.app.gossip.events(), self.app.prospects.follow());
        self.is_new = true;
        Some(Bytes::from_static(b":\n\n"))
    }
}
