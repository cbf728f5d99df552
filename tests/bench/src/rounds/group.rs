//! Nodes in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rollcall_gossip::{Gossip, Handle, Keyring, Meta, Options, Sockets, State};
use rollcall_types::{ClusterId, NodeName};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const LISTEN: &str = "127.0.0.1:0";
const KEY: [u8; 32] = [0x5a; 32];
/// Longest wait for anything that must come to be.
const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

/// A node, and its data directory.
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) handle: Handle,
    address: SocketAddr,
    _folder: TempDir,
}

impl Node {
    /// Starts a node; what it learns comes in the background.
    pub(super) async fn start(name: &str, seed: Option<SocketAddr>, folder: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rollcall-bench-").tempdir_in(folder)?;
        let (name, sockets) = (name.parse::<NodeName>()?, Sockets::bind(LISTEN.parse()?).await?);
        let address = sockets.local_addr();
        let path = folder.path().to_owned();
        let mut options = Options::new(ClusterId::new(1), name.clone(), Meta::default(), sockets, path);
        options.keyring = Some(Keyring::new(&KEY));
        options.seeds = seed.iter().map(ToString::to_string).collect();
        let handle = Gossip::start(options).await?;
        Ok(Self { name, handle, address, _folder: folder })
    }
}

/// Nodes that know each other.
pub(super) struct Group {
    pub(super) nodes: Vec<Node>,
}

impl Group {
    /// Starts nodes, each with the first as its seed, and waits until everyone sees everyone alive.
    pub(super) async fn start(count: usize, folder: &Path) -> Result<Self> {
        let mut nodes: Vec<Node> = Vec::with_capacity(count);
        for number in 0..count {
            let seed = nodes.first().map(|first| first.address);
            nodes.push(Node::start(&format!("n{number}"), seed, folder).await?);
        }
        let group = Self { nodes };
        let sees_all = |node: &Node| node.handle.view().count(State::Alive) == count;
        wait_until("everyone sees everyone", || group.nodes.iter().all(sees_all)).await?;
        Ok(group)
    }

    /// Where a node that joins finds the others.
    pub(super) fn seed(&self) -> Option<SocketAddr> {
        self.nodes.first().map(|first| first.address)
    }

    /// Pairs of nodes of which one holds the other dead.
    pub(super) fn deaths(&self) -> usize {
        self.nodes.iter().map(|node| node.handle.view().count(State::Dead)).sum()
    }

    pub(super) async fn end(self) {
        for node in self.nodes {
            node.handle.shutdown().await;
        }
    }
}

/// Waits until `holds`.
pub(super) async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        ensure!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        sleep(POLL).await;
    }
    Ok(())
}
