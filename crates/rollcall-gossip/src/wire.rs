//! Everything that goes out or comes in: sealed, judged, and handed to whom it is for.
//!
//! Sending never waits: a datagram that the kernel does not take at once, and a frame that finds its queue full, are lost,
//! as either could be on the way. Receiving ends here for everything that is not authentic, recent and from a process that
//! lives; the two that come behind, chitchat and the detector, see nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rollcall_health::detector;
use rollcall_io::UdpSocket;
use rollcall_types::NodeName;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::gate::{Challenge, Gate, NONCE_BYTES, Verdict};
use crate::key::KeyId;
use crate::metrics::{self, Queue, Rejection, Way};
use crate::rejections::Rejections;
use crate::seal::{DATAGRAM_BYTES_MAX, Kind, Opened, Seal, Sender};
use crate::sockets;
use crate::streams::Outbound;

/// Messages for the detector that wait for it. It takes them as they come; a healthy cluster never has more than a few.
pub(crate) const DETECTOR_QUEUE: usize = 1_024;
/// Notices that wait for the shell. One for each process that is new, so all of a large cluster at its start.
pub(crate) const NOTICE_QUEUE: usize = 1_024;
/// Failures to receive in a row, after which the socket counts as lost. Single ones pass: out of memory, an unreachable peer.
const RECEIVE_FAILURES_MAX: u32 = 100;
/// Pause after each, so that a shortage has 2 s to pass before the node gives up.
const RECEIVE_PAUSE: Duration = Duration::from_millis(20);

/// Authentic gossip, not yet decoded, and where its sender wants to be answered.
pub(crate) type Undecoded = (SocketAddr, Vec<u8>);

/// What the shell should know of the wire.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// This process proved to live; it is worth gossiping with.
    Proven(SocketAddr),
    /// Others know a newer process with this node's name.
    Outranked { newest: u64, is_gone: bool },
}

/// Both sockets of a node, and what guards them.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) seal: Seal,
    /// `None` once it is closed.
    udp: ArcSwapOption<UdpSocket>,
    gate: Mutex<Gate>,
    outbound: Arc<Outbound>,
    rejections: Rejections,
    /// Cut links, by name.
    blocked: ArcSwap<BTreeSet<NodeName>>,
    /// Who has which address, as far as is known.
    names: ArcSwap<BTreeMap<SocketAddr, NodeName>>,
    /// Whose messages arrived since it was last asked. At most as many as there are sessions.
    heard: Mutex<BTreeSet<NodeName>>,
    /// To the present life of chitchat.
    gossip: ArcSwapOption<mpsc::Sender<Undecoded>>,
    detector: mpsc::Sender<(NodeName, detector::Message)>,
    notices: mpsc::Sender<Notice>,
}

impl Wire {
    pub(crate) fn new(
        seal: Seal,
        udp: UdpSocket,
        outbound: Outbound,
        detector: mpsc::Sender<(NodeName, detector::Message)>,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            seal,
            udp: ArcSwapOption::from_pointee(udp),
            gate: Mutex::new(Gate::new(Instant::now())),
            outbound: Arc::new(outbound),
            rejections: Rejections::default(),
            blocked: ArcSwap::default(),
            names: ArcSwap::default(),
            heard: Mutex::default(),
            gossip: ArcSwapOption::empty(),
            detector,
            notices,
        }
    }

    /// Cuts the links to these members, both ways, and mends all others.
    pub(crate) fn set_blocked(&self, members: BTreeSet<NodeName>) {
        self.blocked.store(Arc::new(members));
    }

    pub(crate) fn set_names(&self, names: BTreeMap<SocketAddr, NodeName>) {
        self.names.store(Arc::new(names));
    }

    /// Gossip goes to `inbox` from now on.
    pub(crate) fn set_inbox(&self, inbox: mpsc::Sender<Undecoded>) {
        self.gossip.store(Some(Arc::new(inbox)));
    }

    /// Whose messages arrived since the last call.
    pub(crate) fn take_heard(&self) -> BTreeSet<NodeName> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends `payload` and answers how many bytes that makes; 0 when it was dropped.
    pub(crate) fn send(&self, to: SocketAddr, kind: Kind, payload: &[u8]) -> usize {
        let blocked = self.blocked.load();
        if !blocked.is_empty() && self.names.load().get(&to).is_some_and(|name| blocked.contains(name)) {
            return 0;
        }
        let Some(sealed) = self.seal.seal(kind, payload) else { return 0 };
        let bytes = sealed.len();
        if bytes > DATAGRAM_BYTES_MAX {
            self.outbound.send(to, sealed);
            return bytes;
        }
        let udp = self.udp.load();
        let Some(udp) = udp.as_ref() else { return 0 };
        match sockets::send_at_once(udp, &sealed, to) {
            Ok(_) => {
                metrics::sent(Way::Datagram, bytes);
                bytes
            }
            Err(error) => {
                debug!(error = %error, "cannot send gossip to {to}: {error}");
                0
            }
        }
    }

    /// Lets go of the port, once nobody receives any more.
    pub(crate) fn close(&self) {
        self.udp.store(None);
    }

    /// Receives datagrams until the socket is lost.
    pub(crate) async fn receive_datagrams(&self) -> io::Error {
        let Some(udp) = self.udp.load_full() else { return io::ErrorKind::NotConnected.into() };
        // One byte more shows that a datagram is larger than it may be.
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        let mut failures = 0;
        loop {
            match udp.recv_from(&mut buffer).await {
                Ok((bytes, from)) => {
                    failures = 0;
                    if bytes > DATAGRAM_BYTES_MAX {
                        metrics::received(Way::Datagram, bytes);
                        self.refuse(Rejection::Oversized, from);
                    } else {
                        // What was wrong is counted already, and nobody waits for an answer.
                        let _ = self.receive(&buffer[..bytes], Way::Datagram, from);
                    }
                }
                Err(error) => {
                    debug!(error = %error, "cannot receive gossip: {error}");
                    failures += 1;
                    if failures >= RECEIVE_FAILURES_MAX {
                        return error;
                    }
                    sleep(RECEIVE_PAUSE).await;
                }
            }
        }
    }

    /// Counts what was turned away.
    pub(crate) fn refuse(&self, rejection: Rejection, from: SocketAddr) {
        self.turn_away(rejection, None, from);
    }

    fn turn_away(&self, rejection: Rejection, key: Option<KeyId>, from: SocketAddr) {
        self.rejections.note(rejection, key, from, || {
            // A stream comes from any port of its sender.
            let (first, last) = (SocketAddr::new(from.ip(), 0), SocketAddr::new(from.ip(), u16::MAX));
            self.names.load().range(first..=last).next().is_some()
        });
    }

    /// How many messages and streams were turned away since the start, by reason.
    pub(crate) fn rejected(&self) -> impl Iterator<Item = (Rejection, u64)> {
        self.rejections.counts()
    }

    /// Judges what came from outside and hands it on.
    pub(crate) fn receive(&self, message: &[u8], way: Way, from: SocketAddr) -> Result<(), Rejection> {
        metrics::received(way, message.len());
        let opened = self.seal.open(message).inspect_err(|e| self.turn_away(e.rejection, e.key, from));
        let opened = opened.map_err(|not_opened| not_opened.rejection)?;
        self.take_in(opened, way).inspect_err(|rejection| self.refuse(*rejection, from))
    }

    fn take_in(&self, opened: Opened, way: Way) -> Result<(), Rejection> {
        let Opened { sender, counter, kind, payload } = opened;
        let own = self.seal.sender();
        if (&sender.name, sender.generation) == (&own.name, own.generation) {
            // Our own message, thrown back at us.
            return Err(Rejection::Replayed);
        }
        if self.blocked.load().contains(&sender.name) {
            return Err(Rejection::Blocked);
        }
        match (kind, way) {
            // They need no session, so what a stream brings must not count as proof because of them.
            (Kind::Challenge | Kind::Answer, Way::Stream) => Err(Rejection::Undecodable),
            (Kind::Challenge, Way::Datagram) => self.answer(&own, &sender, counter, &payload),
            (Kind::Answer, Way::Datagram) => {
                self.gate().prove(&sender, counter, &payload, Instant::now())?;
                debug!("{} of generation {} proved to live", sender.name, sender.generation);
                // When many wait, the shell finds the member in gossip a little later.
                let _ = self.notices.try_send(Notice::Proven(sender.address));
                Ok(())
            }
            (Kind::Gossip | Kind::Detector, _) => {
                self.admit(&sender, counter)?;
                self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(sender.name.clone());
                self.deliver(sender, kind, payload)
            }
        }
    }

    fn admit(&self, sender: &Sender, counter: u64) -> Result<(), Rejection> {
        let verdict = self.gate().admit(sender, counter, Instant::now(), || {
            let mut nonce = [0; NONCE_BYTES];
            getrandom::fill(&mut nonce).ok()?;
            Some(nonce)
        });
        match verdict {
            Verdict::Accept => Ok(()),
            Verdict::Refuse(rejection) => Err(rejection),
            Verdict::Challenge { rejection, challenge, is_mute } => {
                if is_mute {
                    warn!(
                        peer.id = %sender.name,
                        "{} does not answer at {}; check its advertise-gossip address, and that UDP gets there",
                        sender.name, sender.address
                    );
                }
                self.send(sender.address, Kind::Challenge, &challenge.encode());
                Err(rejection)
            }
        }
    }

    fn answer(&self, own: &Sender, challenger: &Sender, counter: u64, challenge: &[u8]) -> Result<(), Rejection> {
        let challenge = Challenge::decode(challenge).ok_or(Rejection::Undecodable)?;
        // Sent to another process, or to a former life of this one: what it says does not concern us.
        if !challenge.is_for(own) {
            return Err(Rejection::Replayed);
        }
        self.gate().admit_challenge(challenger, counter, Instant::now())?;
        if challenge.newest > own.generation {
            let outranked = Notice::Outranked { newest: challenge.newest, is_gone: challenge.is_gone };
            // Every other member says the same.
            let _ = self.notices.try_send(outranked);
        }
        self.send(challenger.address, Kind::Answer, &challenge.nonce);
        Ok(())
    }

    fn deliver(&self, sender: Sender, kind: Kind, payload: Vec<u8>) -> Result<(), Rejection> {
        if kind == Kind::Detector {
            let message = detector::Message::decode(&payload).map_err(|_| Rejection::Undecodable)?;
            return handed_on(self.detector.try_send((sender.name, message)), Queue::Detector);
        }
        let inbox = self.gossip.load();
        // Without one chitchat is between two lives, and gossip repeats itself.
        let Some(inbox) = inbox.as_ref() else { return Ok(()) };
        handed_on(inbox.try_send((sender.address, payload)), Queue::Decode)
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue is closed when this node shuts down or chitchat is between two lives: no fault of the sender.
fn handed_on<T>(sent: Result<(), TrySendError<T>>, queue: Queue) -> Result<(), Rejection> {
    match sent {
        Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        Err(TrySendError::Full(_)) => {
            metrics::dropped(queue);
            Err(Rejection::Rate)
        }
    }
}

#[cfg(test)]
mod tests;
