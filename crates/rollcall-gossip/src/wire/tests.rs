use std::os::fd::OwnedFd;

use rollcall_types::ClusterId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::key::Keyring;

const CLUSTER: ClusterId = ClusterId::new(42);

fn sender(name: &str, generation: u64, address: SocketAddr) -> Sender {
    Sender { name: NodeName::try_from(name).unwrap(), generation, address }
}

fn seal(sender: Sender) -> Seal {
    Seal::new(CLUSTER, Keyring::new(&[7; 32]), sender)
}

/// Where messages of a wire under test go.
struct Ends {
    detector: mpsc::Receiver<(NodeName, detector::Message)>,
    notices: mpsc::Receiver<Notice>,
}

/// A wire of "me", generation 5, on `udp`.
fn wire(udp: UdpSocket) -> (Wire, Ends) {
    let (detector_tx, detector) = mpsc::channel(1);
    let (notice_tx, notices) = mpsc::channel(8);
    let outbound = Outbound::new(TaskTracker::new(), CancellationToken::new());
    let me = sender("me", 5, udp.local_addr().unwrap());
    (Wire::new(seal(me), udp, outbound, detector_tx, notice_tx), Ends { detector, notices })
}

async fn loopback() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Another member, at a socket of its own.
struct Peer {
    seal: Seal,
    udp: UdpSocket,
}

impl Peer {
    async fn new(name: &str) -> Self {
        let udp = loopback().await;
        Self { seal: seal(sender(name, 5, udp.local_addr().unwrap())), udp }
    }

    fn challenge(&self, name: &str, generation: u64) -> Vec<u8> {
        let name = NodeName::try_from(name).unwrap();
        let challenge = Challenge { nonce: [1; NONCE_BYTES], name, generation, newest: 9, is_gone: true };
        self.seal.seal(Kind::Challenge, &challenge.encode()).unwrap()
    }

    fn hand(&self, wire: &Wire, datagram: &[u8]) -> Result<(), Rejection> {
        wire.receive(datagram, Way::Datagram, self.udp.local_addr().unwrap())
    }

    async fn next(&self) -> Opened {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let bytes = self.udp.recv(&mut buffer).await.unwrap();
        self.seal.open(&buffer[..bytes]).unwrap()
    }
}

#[tokio::test]
async fn a_challenge_of_another_process_or_a_former_life_is_not_heeded() {
    let (wire, mut ends) = wire(loopback().await);
    let peer = Peer::new("peer").await;
    for (name, generation) in [("other", 5), ("other", 8), ("me", 4), ("me", 6)] {
        let recorded = peer.challenge(name, generation);
        assert_eq!(peer.hand(&wire, &recorded), Err(Rejection::Replayed), "{name} {generation}");
    }
    assert!(ends.notices.try_recv().is_err(), "the shell hears nothing of it");
    assert_eq!(peer.hand(&wire, &peer.challenge("me", 5)), Ok(()));
    assert_eq!(ends.notices.try_recv(), Ok(Notice::Outranked { newest: 9, is_gone: true }));
}

#[tokio::test]
async fn a_replayed_challenge_is_neither_answered_nor_heeded_again() {
    let (wire, mut ends) = wire(loopback().await);
    let (peer, newcomer) = (Peer::new("peer").await, Peer::new("newcomer").await);
    let recorded = peer.challenge("me", 5);
    assert_eq!(peer.hand(&wire, &recorded), Ok(()));
    assert!(ends.notices.try_recv().is_ok());
    for _ in 0..2_000 {
        assert_eq!(peer.hand(&wire, &recorded), Err(Rejection::Replayed));
    }
    assert!(ends.notices.try_recv().is_err());
    assert_eq!(newcomer.hand(&wire, &newcomer.challenge("me", 5)), Ok(()));
    assert_eq!(newcomer.next().await.kind, Kind::Answer, "a newcomer is answered all the same");
}

#[tokio::test]
async fn a_queue_that_is_closed_is_no_fault_of_who_sends() {
    let (wire, ends) = wire(loopback().await);
    let peer = Peer::new("peer").await;
    let (inbox, undecoded) = mpsc::channel(1);
    wire.set_inbox(inbox);
    let hello = |kind| {
        let ping = detector::Message::Ping { nonce: 1, suspected: false }.encode();
        peer.seal.seal(kind, &ping).unwrap()
    };
    assert_eq!(peer.hand(&wire, &hello(Kind::Gossip)), Err(Rejection::Unproven));
    let challenge = Challenge::decode(&peer.next().await.payload).unwrap();
    peer.hand(&wire, &peer.seal.seal(Kind::Answer, &challenge.nonce).unwrap()).unwrap();
    for kind in [Kind::Gossip, Kind::Detector] {
        assert_eq!(peer.hand(&wire, &hello(kind)), Ok(()));
        assert_eq!(peer.hand(&wire, &hello(kind)), Err(Rejection::Rate), "the queue is full");
    }
    drop((undecoded, ends.detector));
    for kind in [Kind::Gossip, Kind::Detector] {
        assert_eq!(peer.hand(&wire, &hello(kind)), Ok(()), "the queue is closed");
    }
}

/// A socket that is always ready and always fails: one that listens for streams, and on which a stream waits.
fn broken_socket() -> (UdpSocket, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let waiting = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let udp = std::net::UdpSocket::from(OwnedFd::from(listener));
    (UdpSocket::from_std(udp).unwrap(), waiting)
}

#[tokio::test(start_paused = true)]
async fn a_shortage_has_two_seconds_to_pass_before_the_socket_counts_as_lost() {
    let (udp, _waiting) = broken_socket();
    let (wire, _ends) = wire(udp);
    let start = Instant::now();
    wire.receive_datagrams().await;
    assert!(start.elapsed() >= RECEIVE_PAUSE * (RECEIVE_FAILURES_MAX - 1), "{:?}", start.elapsed());
}
