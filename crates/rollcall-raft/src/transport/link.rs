//! The control connection to one peer: kept open, opened again at once when it breaks, shared by all who ask.
//!
//! A broken connection whose reopening is *refused* is a strong hint that the process died; it is passed on, so that the
//! loss of a leader need not wait for a timer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use rollcall_types::NodeId;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::dial::{self, DialError};
use super::handshake::{HandshakeError, Purpose};
use super::hub::Hub;
use super::message::{ControlReply, ControlRequest};
use super::{Frames, REQUEST_ID_BYTES, WRITE_QUEUE, frame, split_frame, write_frames};
use crate::codec::{self, Kind};

/// Requests to one peer that wait for the connection. When full, callers wait.
const QUEUE: usize = 1024;
/// Requests to one peer that wait for an answer; then no more are sent.
const PENDING_MAX: usize = 8192;
/// A connection that owes answers and says nothing for so long is closed.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// First and longest pause between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The peer cannot be reached; nothing was sent.
    #[error("not connected")]
    NotConnected,
    /// The connection broke, or answered nonsense, after the request was sent.
    #[error("connection lost")]
    Lost,
    /// The deadline passed.
    #[error("deadline passed")]
    Timeout,
    /// The request has no encoding, or is too large.
    #[error("request too large")]
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    Down,
}

type Waiting = oneshot::Sender<Result<ControlReply, CallError>>;

struct Call {
    /// The request id in it is set when it is sent.
    frame: Vec<u8>,
    reply: Waiting,
}

/// The link to one peer. It lives until dropped.
pub(crate) struct Link {
    calls: mpsc::Sender<Call>,
    state: watch::Receiver<State>,
    wake: Arc<Notify>,
    stop: CancellationToken,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Link {
    fn open(hub: &Arc<Hub>, target: NodeId, address: String) -> Self {
        let (calls, queue) = mpsc::channel(QUEUE);
        let (state_tx, state) = watch::channel(State::Connecting);
        let stop = hub.shutdown.child_token();
        let wake = Arc::new(Notify::new());
        let keeper = Keeper { hub: hub.clone(), target, address, queue, state: state_tx, wake: wake.clone() };
        let stopped = stop.clone();
        hub.spawn("peer link", async move {
            stopped.run_until_cancelled(keeper.run()).await;
        });
        Self { calls, state, wake, stop }
    }

    /// Says that the peer is there: a pause between attempts to connect ends now.
    pub(crate) fn wake(&self) {
        self.wake.notify_waiters();
    }

    /// Whether the connection is open.
    pub(crate) fn is_up(&self) -> bool {
        *self.state.borrow() == State::Up
    }

    /// Asks, and waits for the answer until `deadline`. Fails at once while the peer is known to be unreachable.
    pub(crate) async fn call(&self, request: &ControlRequest, deadline: Instant) -> Result<ControlReply, CallError> {
        if *self.state.borrow() == State::Down {
            return Err(CallError::NotConnected);
        }
        let frame = frame(0, Kind::ControlRequest, request).map_err(|_| CallError::TooLarge)?;
        let (reply, answer) = oneshot::channel();
        let ask = async {
            self.calls.send(Call { frame, reply }).await.map_err(|_| CallError::NotConnected)?;
            answer.await.map_err(|_| CallError::Lost)?
        };
        timeout_at(deadline, ask).await.map_err(|_| CallError::Timeout)?
    }
}

/// Keeps the connection of one [`Link`].
struct Keeper {
    hub: Arc<Hub>,
    target: NodeId,
    address: String,
    queue: mpsc::Receiver<Call>,
    state: watch::Sender<State>,
    wake: Arc<Notify>,
}

impl Keeper {
    async fn run(mut self) {
        let mut pause = BACKOFF.0;
        let mut complained = false;
        loop {
            match dial::member(&self.hub, self.target, &self.address, Purpose::Control).await {
                Ok(frames) => {
                    debug!(peer.id = %self.target, "connected to node {}", self.target);
                    self.state.send_replace(State::Up);
                    (pause, complained) = (BACKOFF.0, false);
                    self.serve(frames).await;
                    self.state.send_replace(State::Connecting);
                }
                Err(error) => {
                    self.state.send_replace(State::Down);
                    self.fail_queued();
                    if matches!(error, DialError::Refused) {
                        self.hub.hint_refused(self.target);
                    }
                    if !complained && is_misconfigured(&error) {
                        complained = true;
                        warn!(peer.id = %self.target, error = %error, "node {} at {}: {error}", self.target, self.address);
                    }
                    tokio::select! {
                        () = sleep(pause.mul_f64(0.5 + rand::random::<f64>())) => pause = BACKOFF.1.min(pause * 2),
                        () = self.wake.notified() => pause = BACKOFF.0,
                    }
                }
            }
        }
    }

    fn fail_queued(&mut self) {
        while let Ok(call) = self.queue.try_recv() {
            // A caller that is gone does not wait any more.
            drop(call.reply.send(Err(CallError::NotConnected)));
        }
    }

    /// Serves one connection until it ends.
    async fn serve(&mut self, frames: Frames) {
        let (sink, mut replies) = frames.split();
        let (write, queue) = mpsc::channel(WRITE_QUEUE);
        let _writer = AbortOnDropHandle::new(self.hub.tasks.spawn(write_frames(sink, queue)));
        let mut pending: HashMap<u64, Waiting> = HashMap::new();
        let mut next_id = 0_u64;
        let mut heard = Instant::now();
        let hub = self.hub.clone();
        let mut cut_off = std::pin::pin!(hub.cut_off(self.target));
        loop {
            tokio::select! {
                // An answer, or the end.
                reply = replies.next() => {
                    let Some(Ok(bytes)) = reply else { break };
                    heard = Instant::now();
                    let Some((id, message)) = split_frame(&bytes) else { break };
                    let Ok(message) = codec::decode(Kind::ControlReply, message) else { break };
                    if let Some(waiting) = pending.remove(&id) {
                        drop(waiting.send(Ok(message)));
                    }
                }
                // A question.
                call = self.queue.recv(), if pending.len() < PENDING_MAX => {
                    let Some(Call { mut frame, reply }) = call else { break };
                    frame[..REQUEST_ID_BYTES].copy_from_slice(&next_id.to_le_bytes());
                    if pending.is_empty() {
                        heard = Instant::now();
                    }
                    pending.insert(next_id, reply);
                    next_id += 1;
                    if write.send(frame).await.is_err() {
                        break;
                    }
                }
                () = sleep_until(heard + SILENCE_MAX), if !pending.is_empty() => break,
                () = &mut cut_off => break,
            }
        }
        for waiting in pending.into_values() {
            drop(waiting.send(Err(CallError::Lost)));
        }
    }
}

/// What an operator should know of, since waiting does not mend it.
fn is_misconfigured(error: &DialError) -> bool {
    use HandshakeError::{Cluster, Protocol, Secret, Target};
    matches!(error, DialError::Handshake(Secret | Cluster(Some(_)) | Target(Some(_)) | Protocol))
}

/// The links of a node, one to each peer.
#[derive(Default)]
pub(crate) struct Links {
    links: Mutex<BTreeMap<NodeId, (String, Arc<Link>)>>,
}

impl Links {
    /// The link to `target`, opened if there is none or the address changed.
    pub(crate) fn get(&self, hub: &Arc<Hub>, target: NodeId, address: &str) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match links.get(&target) {
            Some((present, link)) if present == address => link.clone(),
            _ => {
                let link = Arc::new(Link::open(hub, target, address.to_owned()));
                links.insert(target, (address.to_owned(), link.clone()));
                link
            }
        }
    }

    /// The link to `target`, if there is one.
    pub(crate) fn find(&self, target: NodeId) -> Option<Arc<Link>> {
        let links = self.links.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        links.get(&target).map(|(_, link)| link.clone())
    }

    /// Closes the links to nodes that are not members any more.
    pub(crate) fn retain(&self, is_member: impl Fn(NodeId) -> bool) {
        self.links.lock().unwrap_or_else(std::sync::PoisonError::into_inner).retain(|node, _| is_member(*node));
    }
}
