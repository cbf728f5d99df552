//! Whole nodes in one process, over real sockets and real files.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rollcall_catalog::{Actor, Command, Precondition, Reply, RequestId};
use rollcall_types::{ActorName, KvKey, NodeName, UnixMillis};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::PeerNode;

const SECRET: &[u8] = b"a secret of at least sixteen bytes";
/// Nothing in these tests takes longer unless it is broken; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Where a node lives, running or not.
struct Place {
    dir: TempDir,
    name: &'static str,
    address: SocketAddr,
    observer: bool,
}

impl Place {
    async fn new(name: &'static str) -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self { dir: tempfile::tempdir().unwrap(), name, address, observer: false }, listener)
    }

    fn options(&self, listener: TcpListener, join: &[&Self], expect: Option<u32>) -> Options {
        Options {
            data_dir: self.dir.path().join("data"),
            listener,
            peer: PeerNode {
                name: NodeName::try_from(self.name).unwrap(),
                peer_addr: self.address.to_string(),
                http_addr: "127.0.0.1:1".to_owned(),
                gossip_addr: String::new(),
                zone: None,
                observer: self.observer,
            },
            join: join.iter().map(|place| place.address.to_string()).collect(),
            bootstrap_expect: expect,
            secret: SECRET.to_vec(),
            restore_from: None,
            timers: Timers::default(),
        }
    }

    /// Starts the node again on the address it had.
    async fn restart(&self) -> Consensus {
        let bound = until(|| async { TcpListener::bind(self.address).await.ok() }).await;
        Consensus::start(self.options(bound, &[], None)).await.unwrap()
    }
}

/// Waits until `probe` gives something.
async fn until<T, F: Future<Output = Option<T>>>(mut probe: impl FnMut() -> F) -> T {
    let deadline = soon();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < deadline, "nothing came within {PATIENCE:?}");
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Cluster {
    places: Vec<Place>,
    nodes: Vec<Consensus>,
}

impl Cluster {
    async fn found(names: &[&'static str]) -> Self {
        let mut places = Vec::new();
        let mut listeners = Vec::new();
        for name in names {
            let (place, listener) = Place::new(name).await;
            places.push(place);
            listeners.push(listener);
        }
        let expect = u32::try_from(names.len()).ok();
        let all: Vec<&Place> = places.iter().collect();
        let starts = places
            .iter()
            .zip(listeners)
            .map(|(place, listener)| Consensus::start(place.options(listener, &all, expect)));
        let started = timeout(PATIENCE, futures_util::future::join_all(starts)).await.expect("the cluster is founded");
        let nodes = started.into_iter().map(|node| node.unwrap()).collect();
        let cluster = Self { places, nodes };
        cluster.leader().await;
        cluster
    }

    /// Index of the leader that all living nodes agree on.
    async fn leader(&self) -> usize {
        until(|| async {
            let leader = self.nodes[0].status().leader?;
            let agreed = self.nodes.iter().all(|node| node.status().leader == Some(leader));
            let index = self.nodes.iter().position(|node| node.node() == leader)?;
            (agreed && self.nodes[index].status().role == Role::Leader).then_some(index)
        })
        .await
    }

    /// Index of some node that does not lead.
    async fn follower(&self) -> usize {
        usize::from(self.leader().await == 0)
    }

    async fn shutdown(self) {
        for node in &self.nodes {
            node.shutdown().await;
        }
    }
}

fn put(key: &str, value: &str) -> Request {
    Request {
        id: None,
        at: UnixMillis::default(),
        actor: Actor {
            name: ActorName::try_from("test").unwrap(),
            via: NodeName::try_from("test").unwrap(),
        },
        command: Command::KvPut {
            key: KvKey::try_from(key).unwrap(),
            value: value.as_bytes().to_vec().into(),
            flags: 0,
            expect: Precondition::None,
        },
    }
}

fn value(node: &Consensus, key: &str) -> Option<String> {
    let catalog = node.catalog();
    let entry = catalog.kv(&KvKey::try_from(key).unwrap())?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_founds_a_cluster_alone_and_serves() {
    let cluster = Cluster::found(&["solo"]).await;
    let node = &cluster.nodes[0];
    let outcome = node.propose(put("a", "1"), soon()).await.unwrap();
    assert!(matches!(outcome.reply, Reply::Written { created: true, .. }));
    assert_eq!(value(node, "a").as_deref(), Some("1"), "what is acknowledged is seen at once");
    assert!(node.read_barrier(soon()).await.unwrap() >= outcome.revision);
    assert!(node.status().has_quorum() && node.is_caught_up());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_found_one_cluster_and_take_writes_anywhere() {
    let cluster = Cluster::found(&["a", "b", "c"]).await;
    let ids: std::collections::BTreeSet<_> = cluster.nodes.iter().map(Consensus::cluster_id).collect();
    assert_eq!(ids.len(), 1);
    for (index, node) in cluster.nodes.iter().enumerate() {
        let key = format!("key-{index}");
        let outcome = node.propose(put(&key, "v"), soon()).await.unwrap();
        for other in &cluster.nodes {
            other.wait_for(outcome.revision, soon()).await.unwrap();
            assert_eq!(value(other, &key).as_deref(), Some("v"));
        }
    }
    cluster.shutdown().await;
}
