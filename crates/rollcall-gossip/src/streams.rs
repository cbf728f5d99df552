//! What does not fit a datagram: sealed frames over TCP, one connection from each sender to each receiver, in that direction
//! only. An answer that does not fit either goes over a connection of its receiver's own.
//!
//! A frame is a length (u32, big-endian) and a sealed message; the seal is the same as for datagrams and needs no handshake.
//! Until one of its frames has been accepted, a connection has little time and shares few places with others from the same
//! address; a frame that is not authentic closes it.
//!
//! Gossip is worth less the older it is, so a queue that is full drops its oldest frame, and a peer that cannot be reached
//! loses them all: gossip repeats what is still true.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::metrics::{self, Queue, Rejection, Way};
use crate::seal::{FRAME_BYTES_MAX, SEALED_BYTES_MIN};
use crate::wire::Wire;

/// Inbound connections at once. Further ones are closed as they come.
const CONNECTIONS_MAX: usize = 512;
/// Inbound connections that proved nothing yet, all together and from one address. Nodes that share one address, behind a
/// translator or on one machine, share its places; each needs one for a moment only.
const UNPROVEN_MAX: usize = 128;
const UNPROVEN_PER_ADDRESS_MAX: usize = 32;
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
/// Pause after `accept` failed, which it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
            peers.insert(to, Waiting::default());
            let (outbound, shutdown) = (self.clone(), self.shutdown.clone());
            self.tasks.spawn(async move {
                shutdown.run_until_cancelled(outbound.serve(to)).await;
                outbound.lock().remove(&to);
            });
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

    /// Connects and writes until there was nothing to write for a while, or the connection breaks.
    async fn serve(&self, to: SocketAddr) {
        if let Err(error) = self.write_frames(to).await {
            debug!(error = %error, "the gossip stream to {to} ended: {error}");
            let lost = self.lock().remove(&to).map_or(0, |waiting| waiting.frames.len());
            (0..lost).for_each(|_| metrics::dropped(Queue::Stream));
        }
    }

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
                () = sleep(SENDER_IDLE_TIMEOUT) => {
                    let mut peers = self.lock();
                    if peers.get(&to).is_none_or(|waiting| waiting.frames.is_empty()) {
                        peers.remove(&to);
                        return Ok(());
                    }
                }
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

/// The places of connections that proved nothing yet.
#[derive(Debug)]
struct Unproven {
    all: Arc<Semaphore>,
    by_address: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One such place; dropping it gives it back.
struct Place {
    unproven: Arc<Unproven>,
    address: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Unproven {
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let place = self.all.clone().try_acquire_owned().ok()?;
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = by_address.entry(address).or_default();
        if *taken >= UNPROVEN_PER_ADDRESS_MAX {
            return None;
        }
        *taken += 1;
        Some(Place { unproven: self.clone(), address, _place: place })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.unproven.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = by_address.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// Accepts connections until the node shuts down.
pub(crate) async fn accept(listener: TcpListener, wire: Arc<Wire>, tasks: TaskTracker, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let unproven = Arc::new(Unproven { all: Arc::new(Semaphore::new(UNPROVEN_MAX)), by_address: Mutex::default() });
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(place) = places.clone().try_acquire_owned().ok().zip(unproven.enter(peer.ip())) else {
                    wire.refuse(Rejection::Full, peer);
                    continue;
                };
                metrics::streams(CONNECTIONS_MAX - places.available_permits());
                let (wire, shutdown, places) = (wire.clone(), shutdown.clone(), places.clone());
                tasks.spawn(async move {
                    shutdown.run_until_cancelled(read_frames(&wire, stream, peer, place)).await;
                    metrics::streams(CONNECTIONS_MAX - places.available_permits());
                });
            }
            Err(error) => {
                warn!(error = %error, "cannot accept a gossip stream: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn read_frames(wire: &Wire, mut stream: TcpStream, peer: SocketAddr, place: (OwnedSemaphorePermit, Place)) {
    let (_place, unproven) = place;
    let mut unproven = Some(unproven);
    let proof_deadline = Instant::now() + PROOF_TIMEOUT;
    loop {
        let deadline = if unproven.is_some() { proof_deadline } else { Instant::now() + RECEIVER_IDLE_TIMEOUT };
        let frame = match timeout_at(deadline, read_frame(&mut stream)).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => return wire.refuse(Rejection::Oversized, peer),
            Ok(Err(_)) => return,
            Err(_) if unproven.is_some() => return wire.refuse(Rejection::Slow, peer),
            Err(_) => return,
        };
        match wire.receive(&frame, Way::Stream, peer) {
            Ok(()) => unproven = None,
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

    #[test]
    fn one_address_cannot_take_all_places() {
        let unproven = Arc::new(Unproven { all: Arc::new(Semaphore::new(UNPROVEN_MAX)), by_address: Mutex::default() });
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let taken: Vec<_> = (0..UNPROVEN_MAX).map_while(|_| unproven.enter(address(1))).collect();
        assert_eq!(taken.len(), UNPROVEN_PER_ADDRESS_MAX);
        let other = unproven.enter(address(2)).unwrap();
        drop(taken);
        assert_eq!(unproven.by_address.lock().unwrap().len(), 1);
        drop(other);
        assert!(unproven.by_address.lock().unwrap().is_empty());
        assert_eq!(unproven.all.available_permits(), UNPROVEN_MAX);
    }
}
