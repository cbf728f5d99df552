//! What does not fit a datagram: sealed frames over TCP, one connection from each sender to each receiver, in that direction
//! only. An answer that does not fit either goes over a connection of its receiver's own.
//!
//! A frame is a length (u32, big-endian) and a sealed message; the seal is the same as for datagrams and needs no handshake.
//! Until one of its frames has been accepted, a connection has little time, and its place goes to who comes later
//! ([`crate::places`]); a frame that is not authentic closes it.
//!
//! Gossip is worth less the older it is, so a queue that is full drops its oldest frame, and a peer that cannot be reached
//! loses them all: gossip repeats what is still true.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollcall_io::{RefusedAccepts, TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::metrics::{self, Queue, Rejection, Way};
use crate::places::{Place, Places};
use crate::seal::{FRAME_BYTES_MAX, SEALED_BYTES_MIN};
use crate::wire::Wire;

/// Time in which a connection must bring a frame that is accepted.
const PROOF_TIMEOUT: Duration = Duration::from_secs(3);
/// Silence after which either side closes a connection, the sender first.
const SENDER_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const RECEIVER_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time to get one frame into the socket.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Peers that there is a connection to at once.
const PEERS_MAX: usize = 256;
/// Frames that wait for one peer: at most 1 MiB.
const QUEUE_FRAMES_MAX: usize = 16;

/// Frames that wait for a peer, and how its task hears of them. It is in the map as long as the task runs.
#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Vec<u8>>,
    wake: Arc<Notify>,
}

/// Connections to peers.
#[derive(Debug)]
pub(crate) struct Outbound {
    peers: Mutex<BTreeMap<SocketAddr, Waiting>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Outbound {
    pub(crate) fn new(tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        Self { peers: Mutex::default(), tasks, shutdown }
    }

    /// Sends a frame when there is a connection; opens one if there is none.
    pub(crate) fn send(self: &Arc<Self>, to: SocketAddr, frame: Vec<u8>) {
        let mut peers = self.lock();
        if !peers.contains_key(&to) {
            if peers.len() >= PEERS_MAX || self.shutdown.is_cancelled() {
                metrics::dropped(Queue::Stream);
                return;
            }
            let outbound = self.clone();
            self.tasks.spawn(async move { outbound.serve(to).await });
        }
        let waiting = peers.entry(to).or_default();
        if waiting.frames.len() >= QUEUE_FRAMES_MAX {
            waiting.frames.pop_front();
            metrics::dropped(Queue::Stream);
        }
        waiting.frames.push_back(frame);
        waiting.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Waiting>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a peer until nothing waits for it, or the connection breaks.
    async fn serve(&self, to: SocketAddr) {
        loop {
            let ended = self.shutdown.run_until_cancelled(self.write_frames(to)).await;
            if let Some(Err(error)) = &ended {
                debug!(error = %error, "the gossip stream to {to} ended: {error}");
            }
            if self.retire(to, matches!(ended, Some(Ok(())))) {
                return;
            }
        }
    }

    /// Takes the peer out of the map, with what waits for it, unless its connection was only idle and something came since.
    /// Nothing else takes a peer out, and it is decided under the lock under which [`Self::send`] finds it, so that what is
    /// in the map has a task. Answers whether that task is to end.
    fn retire(&self, to: SocketAddr, was_idle: bool) -> bool {
        let mut peers = self.lock();
        let waiting = peers.get(&to).map_or(0, |waiting| waiting.frames.len());
        if was_idle && waiting > 0 {
            return false;
        }
        peers.remove(&to);
        (0..waiting).for_each(|_| metrics::dropped(Queue::Stream));
        true
    }

    /// Connects and writes until there was nothing to write for a while, or the connection breaks.
    async fn write_frames(&self, to: SocketAddr) -> io::Result<()> {
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await;
        let mut stream = connected.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        let Some(wake) = self.lock().get(&to).map(|waiting| waiting.wake.clone()) else { return Ok(()) };
        loop {
            while let Some(frame) = self.next(to) {
                timeout(WRITE_TIMEOUT, write_frame(&mut stream, &frame))
                    .await
                    .map_err(|_| io::ErrorKind::TimedOut)??;
                metrics::sent(Way::Stream, frame.len());
            }
            tokio::select! {
                () = wake.notified() => {}
                // The peer says nothing on this connection but its end.
                end = stream.read_u8() => return end.and(Err(io::ErrorKind::InvalidData.into())),
                () = sleep(SENDER_IDLE_TIMEOUT) => return Ok(()),
            }
        }
    }

    fn next(&self, to: SocketAddr) -> Option<Vec<u8>> {
        self.lock().get_mut(&to)?.frames.pop_front()
    }
}

async fn write_frame(stream: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 + frame.len());
    bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    bytes.extend_from_slice(frame);
    stream.write_all(&bytes).await
}

/// Accepts connections until the node shuts down.
pub(crate) async fn accept(listener: TcpListener, wire: Arc<Wire>, tasks: TaskTracker, shutdown: CancellationToken) {
    let places = Arc::new(Places::default());
    let mut refused = RefusedAccepts::new("gossip stream");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let mut place = places.enter(peer.ip(), shutdown.child_token());
                let (wire, shutdown) = (wire.clone(), shutdown.clone());
                tasks.spawn(async move {
                    let end = place.end.clone();
                    let ended = end.run_until_cancelled(read_frames(&wire, stream, peer, &mut place)).await;
                    if ended.is_none() && !place.is_proven() && !shutdown.is_cancelled() {
                        wire.refuse(Rejection::Full, peer);
                    }
                });
            }
            Err(error) => refused.pause_after(&error).await,
        }
    }
}

async fn read_frames(wire: &Wire, mut stream: TcpStream, peer: SocketAddr, place: &mut Place) {
    let proof_deadline = Instant::now() + PROOF_TIMEOUT;
    loop {
        let is_proven = place.is_proven();
        let deadline = if is_proven { Instant::now() + RECEIVER_IDLE_TIMEOUT } else { proof_deadline };
        let frame = match timeout_at(deadline, read_frame(&mut stream)).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => return wire.refuse(Rejection::Oversized, peer),
            Ok(Err(_)) => return,
            Err(_) if is_proven => return,
            Err(_) => return wire.refuse(Rejection::Slow, peer),
        };
        match wire.receive(&frame, Way::Stream, peer) {
            Ok(()) if is_proven => {}
            // Opened once more, once for each connection, for the name of its sender.
            Ok(()) => match wire.seal.open(&frame) {
                Ok(opened) if place.prove(&opened.sender.name) => {}
                Ok(_) => return wire.refuse(Rejection::Full, peer),
                Err(_) => return,
            },
            // Authentic, and out of place for reasons that pass: the proof is under way, or the peer is too fast.
            Err(Rejection::Unproven | Rejection::OldIncarnation | Rejection::Rate) => {}
            Err(_) => return,
        }
    }
}

/// The next frame; `None` when it announces a length that no frame has.
async fn read_frame(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = stream.read_u32().await? as usize;
    if !(SEALED_BYTES_MIN..=FRAME_BYTES_MAX).contains(&length) {
        return Ok(None);
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound() -> Outbound {
        Outbound::new(TaskTracker::new(), CancellationToken::new())
    }

    #[test]
    fn a_frame_that_comes_while_an_idle_connection_ends_is_served() {
        let (outbound, to) = (outbound(), SocketAddr::from(([127, 0, 0, 1], 9)));
        let frames = VecDeque::from([vec![1]]);
        outbound.lock().insert(to, Waiting { frames, ..Waiting::default() });
        assert!(!outbound.retire(to, true), "its task goes on");
        assert_eq!(outbound.next(to), Some(vec![1]));
        assert!(outbound.retire(to, true));
        assert!(outbound.lock().is_empty());
    }

    #[test]
    fn what_waits_for_a_peer_is_lost_with_its_connection() {
        let (outbound, to) = (outbound(), SocketAddr::from(([127, 0, 0, 1], 9)));
        outbound.lock().insert(to, Waiting { frames: VecDeque::from([vec![1]]), ..Waiting::default() });
        assert!(outbound.retire(to, false));
        assert!(outbound.lock().is_empty());
    }
}
