//! The cluster: who is in it, what Raft says, and changing that.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt;
use rollcall_api::{
    ClusterStatus, Code, FollowerProgress, PROBLEM_JSON, Problem, RaftStatus, TransferLeaderRequest, decode, headers,
    paths,
};
use rollcall_raft::{FollowerStatus, RaftStatus as Status, Role};
use rollcall_types::NodeId;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;
use tracing::info;

use crate::app::{App, Shared};
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::extract::PathValues;
use crate::http::failure::{Failure, Result};
use crate::http::write::Write;
use crate::membership::wire_role;

/// Longest wait for a change of membership: a learner may have to catch up first.
const MEMBERSHIP_DEADLINE: Duration = Duration::from_secs(60);
/// Longest wait until another node leads.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(5);

/// `GET /v1/cluster`.
#[utoipa::path(
    get,
    path = paths::CLUSTER,
    responses(
        (status = 200, description = "", body = ClusterStatus),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn status(State(app): State<Shared>) -> Result<Response> {
    let view = View::obtain(&app, None, None, None).await?;
    let status = app.consensus.status();
    let body = ClusterStatus {
        cluster_id: status.cluster_id.to_string(),
        node: app.name.to_string(),
        node_id: status.node.get(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        leader: status.leader.map(|leader| status.name_of(leader)),
        term: status.term,
        revision: view.catalog.revision().get(),
        has_quorum: status.has_quorum(),
        voters: status.voters.len() as u64,
        learners: status.learners.len() as u64,
        services: view.catalog.service_count() as u64,
        instances: view.catalog.instance_count(),
    };
    answer::read(&view, None, &body)
}

/// `GET /v1/cluster/raft`.
#[utoipa::path(
    get,
    path = paths::RAFT,
    responses(
        (status = 200, description = "", body = RaftStatus),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn raft(State(app): State<Shared>) -> Result<Response> {
    let status = app.consensus.status();
    let names = |ids: &mut dyn Iterator<Item = NodeId>| ids.map(|id| status.name_of(id)).collect();
    let body = RaftStatus {
        node: app.name.to_string(),
        role: wire_role(status.role),
        term: status.term,
        leader: status.leader.map(|leader| status.name_of(leader)),
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        last_log_index: status.last_log_index,
        snapshot_index: status.snapshot_index,
        purged_index: status.purged_index,
        voters: names(&mut status.voters.keys().copied()),
        learners: names(&mut status.learners.keys().copied()),
        followers: status.followers.iter().map(|follower| wire_progress(&status, follower)).collect(),
        quorum_ack_age_ms: (status.role == Role::Leader)
            .then_some(status.contact_age)
            .flatten()
            .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
    };
    answer::json(StatusCode::OK, HeaderMap::new(), &body)
}

/// `DELETE /v1/cluster/members/{node}`: removes a node for good, alive or not. Its id is never used again.
#[utoipa::path(
    delete,
    path = paths::MEMBER,
    params(("node" = String, Path, description = "Id or name of the node")),
    responses(
        (status = 204, description = "Removed"),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn remove(State(app): State<Shared>, path: PathValues) -> Result<Response> {
    let node = resolve(&app, path.text("node"))?;
    app.consensus.remove(node, Instant::now() + MEMBERSHIP_DEADLINE).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// `POST /v1/cluster/leave`: this node hands over what it leads, leaves, and stops.
#[utoipa::path(
    post,
    path = paths::LEAVE,
    responses(
        (status = 204, description = "Left; the process stops"),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn leave(State(app): State<Shared>) -> Result<Response> {
    let status = app.consensus.status();
    app.consensus.remove(status.node, Instant::now() + MEMBERSHIP_DEADLINE).await?;
    info!("this node left the cluster and stops");
    app.shutdown.cancel();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// `POST /v1/cluster/transfer-leader`.
#[utoipa::path(
    post,
    path = paths::TRANSFER_LEADER,
    request_body = Option<TransferLeaderRequest>,
    responses(
        (status = 200, description = "", body = RaftStatus),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn transfer_leader(State(app): State<Shared>, write: Write) -> Result<Response> {
    let request: TransferLeaderRequest =
        if write.body().is_empty() { TransferLeaderRequest::default() } else { decode::from_json(write.body())? };
    let deadline = Instant::now() + TRANSFER_DEADLINE;
    match request.to.as_deref() {
        Some(node) => app.consensus.transfer_leader(resolve(&app, node)?, deadline).await?,
        None => app.consensus.step_down(deadline).await?,
    }
    raft(State(app)).await
}

/// `GET /v1/cluster/snapshot`: an image of the catalogue as this node holds it now.
#[utoipa::path(
    get,
    path = paths::SNAPSHOT,
    responses(
        (status = 200, description = "A snapshot file", content_type = "application/octet-stream"),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn snapshot(State(app): State<Shared>) -> Result<Response> {
    let place = app.downloads.clone().try_acquire_owned();
    let place = place
        .map_err(|_| Failure::new(Code::TooManyRequests, "another snapshot is being downloaded from this node"))?;
    // Unlinked as soon as it is open, so nothing stays behind whatever becomes of the download.
    let written = tempfile::Builder::new().prefix("download-").suffix(".tmp").tempfile_in(&app.data_dir);
    let written =
        written.map_err(|error| Failure::internal(format!("cannot make a file for the snapshot: {error}")))?;
    let info = app.consensus.save_snapshot(written.path()).await?;
    let file = tokio::fs::File::open(written.path()).await;
    let file = file.map_err(|error| Failure::internal(format!("cannot read the snapshot back: {error}")))?;
    // The place is held as long as the file lives, so slow readers cannot fill the disk with images.
    let chunks = ReaderStream::new(file).inspect(move |_| {
        let _ = &place;
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(info.bytes));
    answer.insert(headers::REVISION, HeaderValue::from(info.index));
    Ok(response)
}

/// The body of `POST /v1/debug/block-peers`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockPeers {
    nodes: Vec<u64>,
}

/// `POST /v1/debug/block-peers`: cuts the links to these nodes, of Raft and of gossip, and mends all others. For tests.
pub(crate) async fn block_peers(State(app): State<Shared>, write: Write) -> Result<Response> {
    if !app.fault_injection {
        return Err(Failure::new(Code::NotFound, "this node was not started with --fault-injection"));
    }
    let request: BlockPeers = decode::from_json(write.body())?;
    let blocked: Vec<_> = request.nodes.into_iter().map(NodeId::new).collect();
    let status = app.consensus.status();
    let names = blocked.iter().filter_map(|node| status.member(*node)).map(|peer| peer.name.clone());
    app.gossip.set_blocked_peers(names.collect::<Vec<_>>());
    app.consensus.set_blocked_peers(blocked);
    answer::json(StatusCode::OK, HeaderMap::new(), &serde_json::json!({}))
}

/// The body of `POST /v1/debug/disk-free`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskFree {
    bytes: Option<u64>,
}

/// `POST /v1/debug/disk-free`: makes the node take its disk to have so many bytes free; `null` for as many as it has. For tests.
pub(crate) async fn disk_free(State(app): State<Shared>, write: Write) -> Result<Response> {
    if !app.fault_injection {
        return Err(Failure::new(Code::NotFound, "this node was not started with --fault-injection"));
    }
    let request: DiskFree = decode::from_json(write.body())?;
    app.vitals.pretend_disk_free(request.bytes);
    answer::json(StatusCode::OK, HeaderMap::new(), &serde_json::json!({}))
}

/// A member by id or by name.
fn resolve(app: &App, text: &str) -> Result<NodeId> {
    let status = app.consensus.status();
    let mut members = status.voters.iter().chain(&status.learners);
    let found = members.find(|(id, node)| node.name.as_str() == text || id.to_string() == text);
    found
        .map(|(id, _)| *id)
        .ok_or_else(|| Failure::new(Code::MemberNotFound, format!("no member has the id or name '{text}'")))
}

fn wire_progress(status: &Status, follower: &FollowerStatus) -> FollowerProgress {
    FollowerProgress { node: status.name_of(follower.node), matched_index: follower.matched_index, lag: follower.lag }
}
