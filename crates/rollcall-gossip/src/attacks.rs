//! What an attacker can send, and that it changes nothing: messages that would end plain chitchat, forged, recorded, broken.
//!
//! Some need the inside of this crate, to seal what no member would seal.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollcall_health::detector::{Event, State};
use rollcall_types::{ClusterId, NodeName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::gate::Challenge;
use crate::seal::{DATAGRAM_BYTES_MAX, FRAME_BYTES_MAX, Kind, Seal, Sender};
use crate::{Gossip, Handle, Keyring, MemberEvent, Meta, Options, Sockets};

const KEY: [u8; 32] = [7; 32];
const CLUSTER: ClusterId = ClusterId::new(42);
const DEADLINE: Duration = Duration::from_secs(20);

fn name(text: &str) -> NodeName {
    NodeName::try_from(text).unwrap()
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

struct Node {
    handle: Handle,
    address: SocketAddr,
    dir: TempDir,
}

async fn start(
    text: &str,
    seeds: &[SocketAddr],
    listen: SocketAddr,
    dir: TempDir,
    advertise: Option<SocketAddr>,
) -> Node {
    let sockets = Sockets::bind(listen).await.unwrap();
    let address = sockets.local_addr();
    let mut options = Options::new(CLUSTER, name(text), Meta::default(), sockets, dir.path().to_owned());
    options.keyring = Some(Keyring::new(&KEY));
    options.seeds = seeds.iter().map(ToString::to_string).collect();
    options.advertise = advertise;
    Node { handle: Gossip::start(options).await.unwrap(), address, dir }
}

async fn start_fresh(text: &str, seeds: &[SocketAddr]) -> Node {
    start(text, seeds, loopback(), tempfile::tempdir().unwrap(), None).await
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let deadline = Instant::now() + DEADLINE;
    async move {
        while !holds() {
            assert!(Instant::now() < deadline, "{caller}: not in time: {what}");
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Two nodes that know each other, and everything that must not change while they are attacked.
struct Scene {
    nodes: [Node; 2],
    events: broadcast::Receiver<MemberEvent>,
    members: BTreeMap<NodeName, u64>,
}

fn generations(handle: &Handle) -> BTreeMap<NodeName, u64> {
    handle.view().members.iter().map(|(name, member)| (name.clone(), member.health.generation)).collect()
}

impl Scene {
    async fn new() -> Self {
        let first = start_fresh("n1", &[]).await;
        let second = start_fresh("n2", &[first.address]).await;
        let nodes = [first, second];
        eventually("two nodes know each other", || {
            nodes
                .iter()
                .all(|node| node.handle.view().count(State::Alive) == 2 && node.handle.view().members.len() == 2)
        })
        .await;
        let (events, members) = (nodes[0].handle.events(), generations(&nodes[0].handle));
        Self { nodes, events, members }
    }

    fn target(&self) -> SocketAddr {
        self.nodes[0].address
    }

    fn rejected(&self) -> u64 {
        self.nodes[0].handle.rejected().values().sum()
    }

    /// Nobody came or went or began anew, no task died, and gossip goes on.
    async fn check(mut self, marker: &str) {
        for (from, to) in [(0, 1), (1, 0)] {
            self.nodes[from].handle.publish("h/1", marker).unwrap();
            eventually("gossip goes on", || {
                self.nodes[to]
                    .handle
                    .values("h/")
                    .iter()
                    .any(|value| value.member == self.nodes[from].handle.view().this && *value.value == *marker)
            })
            .await;
        }
        for node in &self.nodes {
            assert_eq!(generations(&node.handle), self.members);
            assert_eq!(node.handle.view().count(State::Alive), 2);
            let failed = timeout(Duration::from_millis(1), node.handle.failed()).await;
            assert!(failed.is_err(), "{failed:?}");
        }
        while let Ok(event) = self.events.try_recv() {
            assert!(!matches!(event.event, Event::Changed { .. }), "{event:?}");
        }
        for node in &self.nodes {
            node.handle.shutdown().await;
        }
    }
}

/// A number from a sequence that is the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

// What follows is chitchat's encoding, as an attacker would write it.

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn member_id(bytes: &mut Vec<u8>, name: &str, port: u16) {
    text(bytes, name);
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend([4, 127, 0, 0, 1]);
    bytes.extend(port.to_le_bytes());
}

/// A SYN whose digest names members that do not exist, with names of `name_bytes`. Two of them with a thousand long names
/// leave chitchat no room for an answer, which it asserts to have.
fn syn(cluster: &str, count: u16, name_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0x53, 0xB0, 0, 0];
    bytes.extend(count.to_le_bytes());
    for n in 0..count {
        member_id(&mut bytes, &format!("{n:0name_bytes$}"), n);
        for number in [5_u64, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
    }
    text(&mut bytes, cluster);
    bytes
}

/// A SYN of 64,000 bytes that unpack to 300 MB of digest: zstd frames of one run-length block each.
fn bomb() -> Vec<u8> {
    const FRAME: [u8; 11] = [0x28, 0xB5, 0x2F, 0xFD, 0x60, 0xFF, 0xFE, 0xFB, 0xFF, 0x07, 0];
    let mut bytes = vec![0x53, 0xB0, 1, 0];
    for _ in 0..4_570 {
        bytes.extend([1, FRAME.len() as u8, 0]);
        bytes.extend(FRAME);
    }
    bytes.push(0);
    bytes
}

/// An ACK that gives `name` a value of version 100 and then says that 50 is its newest, which chitchat asserts cannot be.
fn version_below_max(name: &str, port: u16) -> Vec<u8> {
    let mut operations = vec![0];
    member_id(&mut operations, name, port);
    operations.extend([0; 16]);
    operations.push(1);
    text(&mut operations, "k");
    text(&mut operations, "v");
    operations.extend(100_u64.to_le_bytes());
    operations.push(0);
    operations.push(2);
    operations.extend(50_u64.to_le_bytes());
    let mut bytes = vec![0x53, 0xB0, 0, 2, 2];
    bytes.extend((operations.len() as u16).to_le_bytes());
    bytes.extend(operations);
    bytes.push(0);
    bytes
}

fn killers() -> Vec<Vec<u8>> {
    let cluster = crate::transport::CLUSTER;
    vec![
        syn(cluster, 1_000, 8),
        syn(cluster, 999, 9),
        bomb(),
        syn(cluster, 1, 4),
        version_below_max("0000", 0),
        version_below_max("n2", 1),
    ]
}

/// Somebody with a key, right or wrong.
struct Rogue {
    seal: Seal,
    udp: UdpSocket,
}

impl Rogue {
    async fn new(text: &str, cluster: ClusterId, key: &[u8; 32]) -> Self {
        let udp = UdpSocket::bind(loopback()).await.unwrap();
        let sender = Sender { name: name(text), generation: 1, address: udp.local_addr().unwrap() };
        Self { seal: Seal::new(cluster, Keyring::new(key), sender), udp }
    }

    async fn send(&self, to: SocketAddr, payload: &[u8]) {
        let sealed = self.seal.seal(Kind::Gossip, payload).unwrap();
        self.udp.send_to(&sealed, to).await.unwrap();
    }

    /// Speaks to `to` and proves to live when asked.
    async fn enter(&self, to: SocketAddr) {
        self.send(to, b"hello").await;
        let (_, challenge) = self.challenged().await;
        self.udp.send_to(&self.seal.seal(Kind::Answer, &challenge.nonce).unwrap(), to).await.unwrap();
    }

    /// The next challenge, as it came and as it reads.
    async fn challenged(&self) -> (Vec<u8>, Challenge) {
        let mut buffer = [0; 2_000];
        loop {
            let (bytes, _) = timeout(DEADLINE, self.udp.recv_from(&mut buffer)).await.unwrap().unwrap();
            let opened = self.seal.open(&buffer[..bytes]).unwrap();
            if opened.kind == Kind::Challenge {
                return (buffer[..bytes].to_vec(), Challenge::decode(&opened.payload).unwrap());
            }
        }
    }
}

async fn send_frame(stream: &mut TcpStream, frame: &[u8]) {
    // The other side may have hung up already.
    let _ = stream.write_all(&(frame.len() as u32).to_be_bytes()).await;
    let _ = stream.write_all(frame).await;
}

#[track_caller]
fn closed(stream: TcpStream) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let mut stream = stream;
        let ended = timeout(DEADLINE, stream.read_u8()).await;
        assert!(matches!(ended, Ok(Err(_))), "{caller}: the stream is not closed: {ended:?}");
    }
}

type Recorded = Arc<Mutex<Vec<Vec<u8>>>>;

/// Passes datagrams on to `to` and keeps a copy of each.
fn relay(socket: UdpSocket, to: SocketAddr) -> (Recorded, JoinHandle<()>) {
    let recorded = Recorded::default();
    let copies = recorded.clone();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 65_536];
        while let Ok((bytes, _)) = socket.recv_from(&mut buffer).await {
            copies.lock().unwrap().push(buffer[..bytes].to_vec());
            let _ = socket.send_to(&buffer[..bytes], to).await;
        }
    });
    (recorded, task)
}

/// Real traffic of `scene` to a third node, which is gone when this returns: what it recorded, and that node.
async fn record(scene: &Scene) -> (Vec<Vec<u8>>, Node) {
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    let advertised = socket.local_addr().unwrap();
    let node = start("n3", &[scene.target()], loopback(), tempfile::tempdir().unwrap(), Some(advertised)).await;
    let (recorded, task) = relay(socket, node.address);
    eventually("a third node is in, behind a relay that records", || {
        node.handle.view().count(State::Alive) == 3 && recorded.lock().unwrap().len() > 100
    })
    .await;
    node.handle.leave().await;
    node.handle.shutdown().await;
    task.abort();
    (std::mem::take(&mut *recorded.lock().unwrap()), node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hostile_datagrams_change_nothing() {
    let mut scene = Scene::new().await;
    let (recorded, _left) = record(&scene).await;
    let reader = Rogue::new("reader", CLUSTER, &KEY).await;
    let is_challenge = |datagram: &&Vec<u8>| reader.seal.open(datagram).unwrap().kind == Kind::Challenge;
    let challenges: Vec<_> = recorded.iter().filter(is_challenge).collect();
    assert!(!challenges.is_empty());
    let gone = || scene.nodes.iter().all(|node| node.handle.view().state(&name("n3")) == Some(State::Left));
    eventually("the third node has left", gone).await;
    scene.members = generations(&scene.nodes[0].handle);
    scene.events = scene.nodes[0].handle.events();

    let attacker = UdpSocket::bind(loopback()).await.unwrap();
    let other_cluster = Rogue::new("n2", ClusterId::new(43), &KEY).await;
    let other_key = Rogue::new("n2", CLUSTER, &[8; 32]).await;
    let forged: Vec<_> = killers()
        .iter()
        .filter(|killer| killer.len() < 1_000)
        .flat_map(|killer| [&other_cluster, &other_key].map(|rogue| rogue.seal.seal(Kind::Gossip, killer).unwrap()))
        .collect();
    let mut random = Random(1);
    let before = scene.rejected();
    for sent in 1..=10_000_u64 {
        let mut datagram = recorded[random.below(recorded.len())].clone();
        match sent % 5 {
            0 => {
                datagram = {
                    let length = random.below(2_000);
                    random.bytes(length)
                }
            }
            1 => {
                let bit = random.below(datagram.len() * 8);
                datagram[bit / 8] ^= 1 << (bit % 8);
            }
            2 => datagram.truncate(random.below(datagram.len())),
            3 => datagram = forged[random.below(forged.len())].clone(),
            _ => {}
        }
        attacker.send_to(&datagram, scene.target()).await.unwrap();
        if sent % 100 == 0 {
            // All of them must be seen: a full receive buffer would refuse them for us. What the second node had sent to the
            // third may be taken once.
            let refused = || scene.rejected() + recorded.len() as u64 - before;
            eventually("the node keeps up", || refused() >= sent).await;
        }
    }
    for (node, challenge) in scene.nodes.iter().flat_map(|node| challenges.iter().map(move |c| (node, c))) {
        let rejected = || node.handle.rejected().values().sum::<u64>();
        let before = rejected();
        attacker.send_to(challenge, node.address).await.unwrap();
        eventually("a challenge of another node is refused", || rejected() > before).await;
    }
    let rejected = scene.nodes[0].handle.rejected();
    for reason in ["too_short", "oversized", "unknown_version", "unknown_key", "not_authentic", "replayed"] {
        assert!(rejected[reason] >= 200, "{reason}: {rejected:?}");
    }
    let left = scene.nodes[0].handle.view().state(&name("n3"));
    assert_eq!(left, Some(State::Left), "recorded traffic does not bring a node back");
    scene.members = generations(&scene.nodes[0].handle);
    scene.check("still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_is_told_of_a_newer_life_does_not_restart_another() {
    let scene = Scene::new().await;
    let [first, second] = &scene.nodes;
    // A process whose clock is set back between two lives: the first node tells it that it is outranked by one that is gone.
    let reborn = Rogue::new("reborn", CLUSTER, &KEY).await;
    reborn.seal.set_generation(u64::MAX / 2);
    reborn.enter(first.address).await;
    reborn.send(first.address, b"hello").await;
    eventually("the newer life is in", || first.handle.rejected()["undecodable"] > 0).await;
    reborn.seal.set_generation(1);
    reborn.send(first.address, b"hello").await;
    let (recorded, told) = timeout(DEADLINE, async {
        loop {
            let (recorded, told) = reborn.challenged().await;
            if told.newest > 0 {
                return (recorded, told);
            }
        }
    })
    .await
    .unwrap();
    assert_eq!((told.newest, told.is_gone), (u64::MAX / 2, true));
    // Whoever recorded that sends it to the second node.
    let attacker = UdpSocket::bind(loopback()).await.unwrap();
    let before = second.handle.rejected()["replayed"];
    attacker.send_to(&recorded, second.address).await.unwrap();
    eventually("it is refused", || second.handle.rejected()["replayed"] > before).await;
    scene.check("still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_plain_chitchat_does_nothing_without_the_key() {
    let scene = Scene::new().await;
    let attacker = UdpSocket::bind(loopback()).await.unwrap();
    let other_cluster = Rogue::new("n2", ClusterId::new(43), &KEY).await;
    let before = scene.rejected();
    let mut sent = 0;
    for killer in killers() {
        let sealed = other_cluster.seal.seal(Kind::Gossip, &killer).unwrap();
        for bytes in [&killer, &sealed] {
            if bytes.len() <= 65_507 {
                attacker.send_to(bytes, scene.target()).await.unwrap();
                sent += 1;
            }
            let mut stream = TcpStream::connect(scene.target()).await.unwrap();
            send_frame(&mut stream, bytes).await;
            closed(stream).await;
            sent += 1;
        }
    }
    eventually("all of it was refused", || scene.rejected() >= before + sent).await;
    scene.check("still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_makes_chitchat_panic_costs_it_one_restart() {
    let scene = Scene::new().await;
    let [victim, other] = &scene.nodes;
    victim.handle.publish("h/1", "kept").unwrap();
    let before = victim.handle.view().generation;
    let mut events = victim.handle.events();
    let rogue = Rogue::new("rogue", CLUSTER, &KEY).await;
    rogue.enter(victim.address).await;
    rogue.send(victim.address, &syn(crate::transport::CLUSTER, 1, 4)).await;
    eventually("the victim heard of a member that the rogue made up", || {
        victim.handle.view().members.contains_key(&name("0000"))
    })
    .await;
    rogue.send(victim.address, &version_below_max("0000", 0)).await;
    eventually("it is back with a newer generation, and with what it had published", || {
        let view = other.handle.view();
        let generation = victim.handle.view().generation;
        generation > before
            && view.members[&name("n1")].health.generation == generation
            && view.members[&name("n1")].health.state == State::Alive
            && other.handle.values("h/1").iter().any(|value| value.generation == generation && &*value.value == "kept")
            && victim.handle.view().state(&name("n2")) == Some(State::Alive)
    })
    .await;
    let failed = timeout(Duration::from_millis(1), victim.handle.failed()).await;
    assert!(failed.is_err(), "the node goes on: {failed:?}");
    while let Ok(event) = events.try_recv() {
        let is_about_other = matches!(&event.event, Event::Changed { member, .. } if *member == name("n2"));
        assert!(!is_about_other, "nobody else seems to come or go: {event:?}");
    }
    for node in &scene.nodes {
        node.handle.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_has_just_started_believes_no_recorded_message() {
    let scene = Scene::new().await;
    let (recorded, old) = record(&scene).await;
    for node in &scene.nodes {
        node.handle.shutdown().await;
    }
    // The same node, its memory empty, and nobody there but the attacker, with all that was ever said to it.
    let alone = start("n3", &[], old.address, old.dir, None).await;
    let attacker = UdpSocket::bind(loopback()).await.unwrap();
    let count = recorded.len() as u64;
    for (sent, datagram) in (1..).zip(&recorded) {
        attacker.send_to(datagram, alone.address).await.unwrap();
        let rejected = || alone.handle.rejected().values().sum::<u64>();
        if sent % 50 == 0 {
            eventually("the node keeps up", || rejected() >= sent).await;
        }
    }
    eventually("all of it was refused", || alone.handle.rejected().values().sum::<u64>() >= count).await;
    assert_eq!(alone.handle.view().members.len(), 1, "it knows itself only");
    assert!(alone.handle.values("").is_empty());
    assert!(alone.handle.rejected()["unproven"] > 0);
    alone.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_without_proof_are_closed_and_take_no_more_than_their_share() {
    let scene = Scene::new().await;
    let connect = || TcpStream::connect(scene.target());
    for length in [0, 1, FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
        let mut stream = connect().await.unwrap();
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        closed(stream).await;
    }
    // A frame that is authentic and recorded: it was sent by datagram before.
    let rogue = Rogue::new("rogue", CLUSTER, &KEY).await;
    rogue.enter(scene.target()).await;
    let recorded = rogue.seal.seal(Kind::Detector, b"?").unwrap();
    assert!(recorded.len() < DATAGRAM_BYTES_MAX);
    let before = scene.rejected();
    rogue.udp.send_to(&recorded, scene.target()).await.unwrap();
    eventually("the first copy was seen", || scene.rejected() > before).await;
    let mut stream = connect().await.unwrap();
    send_frame(&mut stream, &recorded).await;
    closed(stream).await;
    // Proofs belong into datagrams.
    let mut stream = connect().await.unwrap();
    send_frame(&mut stream, &rogue.seal.seal(Kind::Answer, &[0; 16]).unwrap()).await;
    closed(stream).await;

    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(connect().await.unwrap());
    }
    eventually("more than a share is refused at once", || scene.nodes[0].handle.rejected()["full"] >= 8).await;
    eventually("the rest when they prove nothing", || scene.nodes[0].handle.rejected()["slow"] >= 32).await;
    for stream in silent {
        closed(stream).await;
    }
    scene.check("still here").await;
}
