//! The listener: accepts peers, lets only proven ones in, and hands their messages on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rollcall_io::{RefusedAccepts, TcpListener, TcpStream};
use rollcall_types::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::codec::LengthDelimitedCodecError;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::handshake::{self, Accepted, HANDSHAKE_TIMEOUT, HandshakeError, Purpose};
use super::hub::Hub;
use super::message::{ControlReply, ControlRequest};
use super::places::{Place, Places};
use super::replication::{self, ServeError};
use super::{
    DISCOVER_FRAME_BYTES_MAX, FRAME_BYTES_MAX, Frames, WRITE_QUEUE, frame, framed, split_frame, transfer, tune,
    write_frames,
};
use crate::codec::{self, Kind};
use crate::consensus::Core;
use crate::metrics::{self, Rejection};
use crate::types::voted_for;

/// Inbound connections at once. A cluster of 100 nodes needs 300; beyond the bound new ones are closed at once.
const CONNECTIONS_MAX: usize = 1024;
/// Connections at once that are still in their handshake, so that strangers cannot take all places.
const HANDSHAKES_MAX: usize = 128;
/// Of these, from one address. A quarter, since all nodes of a cluster may sit behind one, and a handshake takes them
/// milliseconds.
const HANDSHAKES_PER_SOURCE_MAX: usize = 32;
/// Requests of one control connection under way; then no more are read from it.
const REQUESTS_MAX: usize = 1024;
/// A discover connection that is silent for so long is closed.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts until the node shuts down.
pub(crate) async fn run(listener: TcpListener, hub: Arc<Hub>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let handshakes = Places::new(HANDSHAKES_MAX, HANDSHAKES_PER_SOURCE_MAX);
    let shutdown = hub.shutdown.clone();
    let mut refused = RefusedAccepts::new("peer connection");
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let places = connections.clone().try_acquire_owned().ok();
                    let Some(places) = places.zip(handshakes.take(peer.ip())) else {
                        hub.rejections.note(Rejection::Full, peer, &"too many connections");
                        continue;
                    };
                    metrics::peer_connections(CONNECTIONS_MAX - connections.available_permits());
                    let hub_of_peer = hub.clone();
                    hub.tasks.spawn(async move {
                        let shutdown = hub_of_peer.shutdown.clone();
                        shutdown.run_until_cancelled(welcome(hub_of_peer, stream, peer, places)).await;
                    });
                }
                Err(error) => refused.pause_after(&error).await,
            }
        }
    };
    shutdown.run_until_cancelled(accept).await;
}

async fn welcome(
    hub: Arc<Hub>,
    mut stream: TcpStream,
    peer: SocketAddr,
    (_place, handshake_place): (OwnedSemaphorePermit, Place),
) {
    if tune(&stream).is_err() {
        return;
    }
    let us = **hub.who.load();
    let admit = |accepted: &Accepted| match accepted.from {
        _ if accepted.purpose == Purpose::Discover => true,
        Some(from) if hub.is_blocked(from) => {
            hub.rejections.note(Rejection::Blocked, peer, &"the link is cut by fault injection");
            false
        }
        Some(_) => hub.core.load().is_some(),
        None => false,
    };
    let shaken = timeout(HANDSHAKE_TIMEOUT, handshake::accept(&mut stream, &hub.secret, us, admit)).await;
    drop(handshake_place);
    let accepted = match shaken.unwrap_or(Err(HandshakeError::Slow)) {
        Ok(accepted) => accepted,
        Err(error) => {
            if let Some(rejection) = error.rejection() {
                hub.rejections.note(rejection, peer, &error);
            }
            return;
        }
    };
    match (accepted.purpose, accepted.from, hub.core.load_full()) {
        (Purpose::Discover, ..) => serve_discover(&hub, framed(stream, DISCOVER_FRAME_BYTES_MAX), peer).await,
        (purpose, Some(from), Some(core)) => {
            if purpose == Purpose::Control {
                core.note_arrival(from).await;
            }
            let frames = framed(stream, FRAME_BYTES_MAX);
            tokio::select! {
                result = serve_member(&core, purpose, from, frames) => match result {
                    Ok(()) => debug!(peer.id = %from, "node {from} closed a connection"),
                    Err(ServeError::Identity(_)) => hub.rejections.note(Rejection::Identity, peer, &"forged sender"),
                    Err(ServeError::Malformed) => hub.rejections.note(Rejection::Garbage, peer, &"malformed message"),
                    Err(ServeError::Oversized) => hub.rejections.note(Rejection::Oversized, peer, &"oversized frame"),
                    Err(ServeError::Snapshot(reason)) => {
                        let detail = format_args!("a snapshot from node {from}: {reason}");
                        hub.rejections.note(Rejection::Snapshot, peer, &detail);
                    }
                    Err(ServeError::Stopped) => {}
                },
                () = hub.cut_off(from) => {}
            }
        }
        _ => {}
    }
}

async fn serve_member(core: &Arc<Core>, purpose: Purpose, from: NodeId, frames: Frames) -> Result<(), ServeError> {
    match purpose {
        Purpose::Replication => replication::serve(core, from, frames).await,
        Purpose::Snapshot => transfer::serve(core, from, frames).await,
        Purpose::Control => serve_control(core, from, frames).await,
        Purpose::Discover => Ok(()),
    }
}

/// What ended a connection whose next frame is `item`; `None` when it is a frame.
pub(super) fn frame_of(item: Option<std::io::Result<bytes::BytesMut>>) -> Result<Option<bytes::BytesMut>, ServeError> {
    match item {
        Some(Ok(bytes)) => Ok(Some(bytes)),
        Some(Err(error)) if error.get_ref().is_some_and(|inner| inner.is::<LengthDelimitedCodecError>()) => {
            Err(ServeError::Oversized)
        }
        Some(Err(_)) | None => Ok(None),
    }
}

async fn serve_control(core: &Arc<Core>, from: NodeId, frames: Frames) -> Result<(), ServeError> {
    let (sink, mut requests) = frames.split();
    let (write, queue) = mpsc::channel(WRITE_QUEUE);
    let _writer = AbortOnDropHandle::new(core.hub.tasks.spawn(write_frames(sink, queue)));
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    while let Some(bytes) = frame_of(requests.next().await)? {
        let (id, message) = split_frame(&bytes).ok_or(ServeError::Malformed)?;
        let request: ControlRequest =
            codec::decode(Kind::ControlRequest, message).map_err(|_| ServeError::Malformed)?;
        check_sender(&request, from)?;
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let (core, write) = (core.clone(), write.clone());
        let tasks = core.hub.tasks.clone();
        tasks.spawn(async move {
            let _place = place;
            let reply = core.handle_control(from, request).await;
            // Whoever waits for an answer that fits into no frame need not wait.
            let answer = frame(id, Kind::ControlReply, &reply);
            if let Ok(frame) = answer.or_else(|_| frame(id, Kind::ControlReply, &ControlReply::TooLarge)) {
                // A peer that is gone needs no answer.
                drop(write.send(frame).await);
            }
            if matches!(reply, ControlReply::Stopped) {
                debug!("a request came after this node's log stopped");
            }
        });
    }
    Ok(())
}

/// A peer speaks for itself only: a vote, and what a leader sends, carry the sender's id.
fn check_sender(request: &ControlRequest, from: NodeId) -> Result<(), ServeError> {
    let claimed = match request {
        ControlRequest::Append(append) => voted_for(&append.vote),
        ControlRequest::Vote(vote) | ControlRequest::PreVote(vote) => voted_for(&vote.vote),
        ControlRequest::TransferLeader(transfer) => voted_for(transfer.from_leader()),
        ControlRequest::Propose(_)
        | ControlRequest::ReadIndex
        | ControlRequest::Admin(_)
        | ControlRequest::AmIMember
        | ControlRequest::Freshness => return Ok(()),
    };
    if claimed == from { Ok(()) } else { Err(ServeError::Identity(claimed)) }
}

async fn serve_discover(hub: &Arc<Hub>, mut frames: Frames, peer: SocketAddr) {
    while let Ok(item) = timeout(DISCOVER_TIMEOUT, frames.next()).await {
        let request = match frame_of(item) {
            Ok(Some(bytes)) => split_frame(&bytes)
                .and_then(|(id, message)| Some((id, codec::decode(Kind::DiscoverRequest, message).ok()?))),
            Ok(None) => return,
            Err(_) => return hub.rejections.note(Rejection::Oversized, peer, &"oversized frame"),
        };
        let Some((id, request)) = request else {
            return hub.rejections.note(Rejection::Garbage, peer, &"malformed message");
        };
        let reply = hub.discovery.handle(hub, request).await;
        let Ok(frame) = frame(id, Kind::DiscoverReply, &reply) else { return };
        if !matches!(timeout(DISCOVER_TIMEOUT, frames.send(bytes::Bytes::from(frame))).await, Ok(Ok(()))) {
            return;
        }
    }
}
