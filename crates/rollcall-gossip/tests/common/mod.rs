//! Nodes on loopback, several in one process, and waiting for what must come to be.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not take for tests")]
#![expect(unreachable_pub, reason = "a module of a test is reachable from that test only")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rollcall_gossip::{Gossip, Handle, Keyring, Meta, Options, Sockets, State};
use rollcall_types::{ClusterId, Label, NodeName};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Long enough for a busy machine; a test that holds never waits so long.
const DEADLINE: Duration = Duration::from_secs(20);
pub const KEY: [u8; 32] = [7; 32];
pub const CLUSTER: ClusterId = ClusterId::new(42);

pub fn name(text: &str) -> NodeName {
    NodeName::try_from(text).unwrap()
}

pub fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A node, and its data directory.
pub struct Node {
    pub name: NodeName,
    pub address: SocketAddr,
    pub handle: Handle,
    pub dir: TempDir,
}

/// Options of a node named `name`, in zone `name`, sealing with [`KEY`].
pub async fn options(text: &str, listen: SocketAddr, dir: &Path, seeds: &[SocketAddr]) -> Options {
    let meta = Meta { zone: Some(Label::try_from(text).unwrap()), ..Meta::default() };
    let sockets = Sockets::bind(listen).await.unwrap();
    let mut options = Options::new(CLUSTER, name(text), meta, sockets, dir.to_owned());
    options.keyring = Some(Keyring::new(&KEY));
    options.seeds = seeds.iter().map(ToString::to_string).collect();
    options
}

impl Node {
    pub async fn start(text: &str, seeds: &[SocketAddr]) -> Self {
        Self::start_with(text, any_port(), tempfile::tempdir().unwrap(), seeds, |_| {}).await
    }

    pub async fn start_with(
        text: &str,
        listen: SocketAddr,
        dir: TempDir,
        seeds: &[SocketAddr],
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let mut options = options(text, listen, dir.path(), seeds).await;
        change(&mut options);
        let address = options.sockets.local_addr();
        let handle = Gossip::start(options).await.unwrap();
        Self { name: name(text), address, handle, dir }
    }

    pub fn state_of(&self, other: &Node) -> Option<State> {
        self.handle.view().state(&other.name)
    }

    pub fn sees(&self, other: &Node, state: State) -> bool {
        self.state_of(other) == Some(state)
    }

    pub fn value(&self, of: &Node, key: &str) -> Option<String> {
        let values = self.handle.values(key);
        values.iter().find(|value| value.member == of.name && &*value.key == key).map(|value| value.value.to_string())
    }
}

/// Nodes `n1`, `n2`, …, each with the first as its seed, once each sees all the others alive and knows their zones.
pub async fn cluster(count: usize) -> Vec<Node> {
    let first = Node::start("n1", &[]).await;
    let seed = first.address;
    let mut nodes = vec![first];
    for n in 2..=count {
        nodes.push(Node::start(&format!("n{n}"), &[seed]).await);
    }
    eventually("all nodes know each other", || nodes.iter().all(|node| knows_all(node, &nodes))).await;
    nodes
}

/// Whether `node` sees all of `nodes` alive and knows what each says of itself.
pub fn knows_all(node: &Node, nodes: &[Node]) -> bool {
    let view = node.handle.view();
    nodes.iter().all(|other| {
        view.members.get(&other.name).is_some_and(|member| {
            let zone = member.meta.as_ref().and_then(|meta| meta.zone.as_deref().map(str::to_owned));
            member.health.state == State::Alive && zone.as_deref() == Some(other.name.as_str())
        })
    })
}

pub async fn shut_down(nodes: Vec<Node>) {
    for node in nodes {
        node.handle.shutdown().await;
    }
}

/// Waits until `holds`, and fails when it does not in time.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let deadline = Instant::now() + DEADLINE;
    async move {
        while !holds() {
            assert!(Instant::now() < deadline, "{caller}: not in time: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}
