//! Whole nodes in one process, over real sockets and real files.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use openraft::storage::RaftLogStorage as _;
use rollcall_catalog::{Actor, Command, KvOp, Precondition, Reply, RequestId};
use rollcall_types::{ActorName, KvKey, NodeName, UnixMillis};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::propose::OUTAGE;
use super::*;
use crate::PeerNode;
use crate::identity::{DataDir, Founder, Member};
use crate::log_store::LogStore;
use crate::types::{LogId, Vote};

mod attacks;

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

    /// Starts one more node that joins.
    async fn join(&mut self, name: &'static str, observer: bool) -> usize {
        let (mut place, listener) = Place::new(name).await;
        place.observer = observer;
        let options = place.options(listener, &[&self.places[0]], None);
        self.nodes.push(timeout(PATIENCE, Consensus::start(options)).await.expect("the node joins").unwrap());
        self.places.push(place);
        self.nodes.len() - 1
    }

    /// Waits until `node` has a vote in the eyes of all.
    async fn has_vote(&self, node: usize) {
        let id = self.nodes[node].node();
        until(|| async { self.nodes.iter().all(|n| n.status().voters.contains_key(&id)).then_some(()) }).await;
    }

    /// Waits until all have applied what the first has acknowledged, and returns their digests.
    async fn digests(&self) -> Vec<snapshot::Digest> {
        let mut digests = Vec::new();
        let revision = self.nodes[0].read_barrier(soon()).await.unwrap();
        for node in &self.nodes {
            node.wait_for(revision, soon()).await.unwrap();
            digests.push(snapshot::digest(&node.catalog()).unwrap());
        }
        digests
    }

    /// Cuts node `index` off from all others, in both directions.
    fn isolate(&self, index: usize) {
        let others = self.nodes.iter().map(Consensus::node).filter(|node| *node != self.nodes[index].node());
        self.nodes[index].set_blocked_peers(others.collect());
    }

    async fn shutdown(self) {
        for node in &self.nodes {
            node.shutdown().await;
        }
    }
}

/// Stops a node as `kill -9` would: nobody is told, nothing is handed over.
async fn crash(node: &Consensus) {
    let core = &node.core;
    core.hub.shutdown.cancel();
    core.raft.shutdown().await.unwrap();
    core.hub.core.store(None);
    core.hub.tasks.close();
    core.hub.tasks.wait().await;
    timeout(PATIENCE, core.close_files()).await.unwrap();
}

fn put(key: &str, value: &str) -> Request {
    Request {
        id: None,
        at: UnixMillis::default(),
        actor: Actor { name: ActorName::try_from("test").unwrap(), via: NodeName::try_from("test").unwrap() },
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
    let ids: BTreeSet<_> = cluster.nodes.iter().map(Consensus::cluster_id).collect();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_leader_crashes() {
    let mut cluster = Cluster::found(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    for index in 0..50 {
        cluster.nodes[index % 3].propose(put(&format!("key-{index}"), "v"), soon()).await.unwrap();
    }
    let crashed = cluster.nodes.remove(leader);
    crash(&crashed).await;
    let started = Instant::now();
    until(|| async { cluster.nodes[0].propose(put("after", "v"), soon()).await.ok() }).await;
    let took = started.elapsed();
    assert!(took < PATIENCE, "writes succeed again after {took:?}");
    for node in &cluster.nodes {
        node.read_barrier(soon()).await.unwrap();
        assert!((0..50).all(|index| value(node, &format!("key-{index}")).is_some()));
    }
    drop(crashed);
    let back = cluster.places[leader].restart().await;
    cluster.nodes.push(back);
    assert_eq!(cluster.digests().await.into_iter().collect::<BTreeSet<_>>().len(), 1);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_restart_with_the_same_catalogue() {
    let mut cluster = Cluster::found(&["a", "b", "c"]).await;
    for index in 0..30 {
        cluster.nodes[index % 3].propose(put(&format!("key-{index}"), "v"), soon()).await.unwrap();
    }
    // One of them from a snapshot and the rest of the log.
    cluster.nodes[0].trigger_snapshot().await.unwrap();
    until(|| async { (cluster.nodes[0].status().snapshot_index > 0).then_some(()) }).await;
    cluster.nodes[1].propose(put("last", "v"), soon()).await.unwrap();
    let before = cluster.digests().await;
    for node in std::mem::take(&mut cluster.nodes) {
        crash(&node).await;
    }
    for place in &cluster.places {
        cluster.nodes.push(place.restart().await);
    }
    cluster.leader().await;
    for node in &cluster.nodes {
        node.read_barrier(soon()).await.unwrap();
        assert!(value(node, "last").is_some() && value(node, "key-29").is_some());
    }
    let after: BTreeSet<_> = cluster.digests().await.into_iter().collect();
    assert_eq!(after.len(), 1);
    assert_eq!(before.into_iter().collect::<BTreeSet<_>>().len(), 1);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sent_again_elsewhere_is_done_once() {
    let cluster = Cluster::found(&["a", "b", "c"]).await;
    let id = RequestId::Key { key: "once".into(), fingerprint: 1 };
    let request = Request { id: Some(id), ..put("a", "1") };
    let first = cluster.nodes[0].propose(request.clone(), soon()).await.unwrap();
    cluster.nodes[1].propose(put("a", "2"), soon()).await.unwrap();
    for node in &cluster.nodes {
        let again = node.propose(request.clone(), soon()).await.unwrap();
        assert!(again.replayed);
        assert_eq!((again.revision, again.reply), (first.revision, first.reply.clone()));
    }
    cluster.nodes[0].read_barrier(soon()).await.unwrap();
    assert_eq!(value(&cluster.nodes[0], "a").as_deref(), Some("2"));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writes_at_once_on_a_follower_are_all_done_once() {
    let cluster = Cluster::found(&["a", "b", "c"]).await;
    let follower = cluster.follower().await;
    let writes = (0..500).map(|index| {
        let node = cluster.nodes[follower].clone();
        async move { node.propose(put(&format!("key-{index}"), "v"), soon()).await.unwrap() }
    });
    let outcomes = futures_util::future::join_all(writes).await;
    let revisions: BTreeSet<_> = outcomes.iter().map(|outcome| outcome.revision).collect();
    assert_eq!(revisions.len(), 500);
    assert!(outcomes.iter().all(|outcome| matches!(outcome.reply, Reply::Written { created: true, .. })));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_serves_no_linearizable_read() {
    let cluster = Cluster::found(&["a", "b", "c"]).await;
    let old = cluster.leader().await;
    cluster.nodes[old].propose(put("a", "old"), soon()).await.unwrap();
    cluster.isolate(old);
    let other = usize::from(old == 0);
    let old_id = cluster.nodes[old].node();
    until(|| async { cluster.nodes[other].status().leader.filter(|leader| *leader != old_id) }).await;
    cluster.nodes[other].propose(put("a", "new"), soon()).await.unwrap();

    let barrier = cluster.nodes[old].read_barrier(Instant::now() + Duration::from_secs(2)).await;
    assert!(matches!(barrier, Err(Error::NoQuorum | Error::NoLeader | Error::Timeout { .. })), "{barrier:?}");
    let write = cluster.nodes[old].propose(put("b", "lost"), Instant::now() + Duration::from_millis(500)).await;
    assert!(write.is_err());
    assert_eq!(value(&cluster.nodes[old], "a").as_deref(), Some("old"), "a stale read still works");

    cluster.nodes[old].set_blocked_peers(Vec::new());
    cluster.nodes[old].read_barrier(soon()).await.unwrap();
    assert_eq!(value(&cluster.nodes[old], "a").as_deref(), Some("new"));
    assert_eq!(cluster.digests().await.into_iter().collect::<BTreeSet<_>>().len(), 1);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lags_behind_the_log_gets_a_snapshot_while_the_cluster_serves() {
    let cluster = Cluster::found(&["a", "b", "c"]).await;
    let (leader, away) = (cluster.leader().await, cluster.follower().await);
    cluster.isolate(away);
    for index in 0..200 {
        cluster.nodes[leader].propose(put(&format!("key-{index}"), "v"), soon()).await.unwrap();
    }
    let core = &cluster.nodes[leader].core;
    core.raft.trigger().snapshot().await.unwrap();
    let snapshot = until(|| async { Some(core.status().snapshot_index).filter(|index| *index >= 200) }).await;
    core.raft.trigger().purge_log(snapshot).await.unwrap();
    until(|| async { (core.status().purged_index >= snapshot).then_some(()) }).await;

    cluster.nodes[away].set_blocked_peers(Vec::new());
    cluster.nodes[leader].propose(put("meanwhile", "v"), soon()).await.unwrap();
    cluster.nodes[away].read_barrier(soon()).await.unwrap();
    assert!(value(&cluster.nodes[away], "key-199").is_some());
    assert!(cluster.nodes[away].status().snapshot_index >= snapshot);
    assert_eq!(cluster.digests().await.into_iter().collect::<BTreeSet<_>>().len(), 1);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_where_it_is_told_to() {
    let cluster = Cluster::found(&["a", "b", "c"]).await;
    for round in 0..3 {
        let target = (cluster.leader().await + 1) % 3;
        let asked = &cluster.nodes[(target + 1 + round % 2) % 3];
        asked.transfer_leader(cluster.nodes[target].node(), soon()).await.unwrap();
        assert_eq!(cluster.leader().await, target);
        cluster.nodes[round].propose(put("a", "v"), soon()).await.unwrap();
    }
    let refused = cluster.nodes[0].transfer_leader(NodeId::new(55), soon()).await;
    assert!(matches!(refused, Err(Error::NotAMember(_))), "{refused:?}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_steps_down_for_a_voter_that_is_there_and_never_for_a_dead_one() {
    let mut cluster = Cluster::found(&["a", "b", "c", "d"]).await;
    // The highest id, which was chosen by that when nothing else was known.
    let leader = cluster.leader().await;
    let dead = (0..4).filter(|node| *node != leader).max_by_key(|node| cluster.nodes[*node].node()).unwrap();
    let dead = cluster.nodes.remove(dead);
    dead.shutdown().await;
    for asked in 0..3 {
        let leader = cluster.leader().await;
        let core = &cluster.nodes[leader].core;
        until(|| async { (!core.links.find(dead.node()).is_some_and(|link| link.is_up())).then_some(()) }).await;
        cluster.nodes[asked].step_down(soon()).await.unwrap();
        assert_ne!(cluster.leader().await, leader);
    }
    let leader = cluster.leader().await;
    let leader = cluster.nodes.remove(leader);
    let why = leader.transfer_leader(dead.node(), Instant::now() + Duration::from_secs(2)).await.unwrap_err();
    assert!(matches!(&why, Error::Membership(why) if why.contains("cannot be reached")), "{why}");
    leader.remove(leader.node(), soon()).await.unwrap();
    leader.shutdown().await;
    cluster.leader().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_voter_has_nobody_to_hand_leadership_to() {
    let cluster = Cluster::found(&["a"]).await;
    let why = cluster.nodes[0].step_down(soon()).await.unwrap_err();
    assert!(matches!(&why, Error::Membership(why) if why.contains("no other voter")), "{why}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_out_of_touch_when_nobody_confirms_it_and_not_before() {
    let cluster = Cluster::found(&["a", "b", "c"]).await;
    // Where the machine does not run the others for so long, it is out of touch; once it is not.
    let mut is_in_touch = false;
    for _ in 0..5 {
        let core = cluster.nodes[cluster.leader().await].core.clone();
        is_in_touch = timeout_at(Instant::now() + 2 * OUTAGE, core.out_of_touch()).await.is_err();
        if is_in_touch {
            break;
        }
    }
    assert!(is_in_touch, "it leads, however slowly it writes");
    let leader = &cluster.nodes[cluster.leader().await];
    let others = cluster.nodes.iter().map(|node| node.node()).filter(|node| *node != leader.node());
    leader.set_blocked_peers(others.collect());
    leader.core.out_of_touch().await;
    leader.set_blocked_peers(Vec::new());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_gets_a_vote_and_leaves_and_its_id_never_returns() {
    let mut cluster = Cluster::found(&["a"]).await;
    cluster.nodes[0].propose(put("a", "v"), soon()).await.unwrap();
    let second = cluster.join("b", false).await;
    cluster.has_vote(second).await;
    let third = cluster.join("c", false).await;
    cluster.has_vote(third).await;
    assert!(cluster.nodes[third].node() >= rollcall_catalog::FIRST_ALLOCATED_NODE_ID);
    cluster.nodes[third].read_barrier(soon()).await.unwrap();
    assert!(value(&cluster.nodes[third], "a").is_some());

    // It leaves: any node may be asked, also itself.
    let gone = cluster.nodes.pop().unwrap();
    let old_id = gone.node();
    gone.remove(old_id, soon()).await.unwrap();
    until(|| async { (!cluster.nodes[0].status().voters.contains_key(&old_id)).then_some(()) }).await;
    until(|| async { gone.status().is_removed.then_some(()) }).await;
    gone.shutdown().await;
    cluster.places.pop();

    // The name is free, the id is not.
    let again = cluster.join("c", false).await;
    cluster.has_vote(again).await;
    assert!(cluster.nodes[again].node() > old_id);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_removed_and_a_leader_that_is_removed_hands_over() {
    let mut cluster = Cluster::found(&["a", "b", "c"]).await;
    let dead = cluster.follower().await;
    let node = cluster.nodes.remove(dead);
    crash(&node).await;
    cluster.nodes[0].remove(node.node(), soon()).await.unwrap();
    let leader = cluster.leader().await;
    let leader_id = cluster.nodes[leader].node();
    cluster.nodes[leader].remove(leader_id, soon()).await.unwrap();
    let removed = cluster.nodes.remove(leader);
    cluster.leader().await;
    cluster.nodes[0].propose(put("a", "v"), soon()).await.unwrap();
    let refused = cluster.nodes[0].remove(cluster.nodes[0].node(), soon()).await;
    assert!(matches!(refused, Err(Error::Membership(_))), "the last voter stays: {refused:?}");
    removed.shutdown().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_reads_and_forwards_and_gets_no_vote() {
    let mut cluster = Cluster::found(&["a"]).await;
    let observer = cluster.join("watcher", true).await;
    let node = cluster.nodes[observer].clone();
    until(|| async { node.is_caught_up().then_some(()) }).await;
    node.propose(put("a", "v"), soon()).await.unwrap();
    node.read_barrier(soon()).await.unwrap();
    assert_eq!(value(&node, "a").as_deref(), Some("v"));
    let refused = cluster.nodes[0].promote(node.node(), soon()).await;
    assert!(matches!(refused, Err(Error::Membership(_))), "{refused:?}");
    assert!(node.status().learners.contains_key(&node.node()));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_a_living_member_has_is_refused_with_advice() {
    let cluster = Cluster::found(&["a"]).await;
    let (impostor, listener) = Place::new("a").await;
    let options = impostor.options(listener, &[&cluster.places[0]], None);
    let refused = timeout(PATIENCE, Consensus::start(options)).await.unwrap().unwrap_err();
    assert!(matches!(refused, Error::NameTaken { .. }), "{refused}");
    assert!(refused.to_string().contains("remove that node first"));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_founded_from_a_snapshot_of_another_one() {
    let source = Cluster::found(&["a"]).await;
    source.nodes[0].propose(put("kept", "v"), soon()).await.unwrap();
    let file = source.places[0].dir.path().join("backup.snap");
    let info = source.nodes[0].save_snapshot(&file).await.unwrap();
    assert_eq!(snapshot::inspect(&file).unwrap(), info);
    let old_cluster = source.nodes[0].cluster_id();
    source.nodes[0].shutdown().await;

    let (place, listener) = Place::new("x").await;
    let options = Options { restore_from: Some(file), ..place.options(listener, &[], Some(1)) };
    let node = Consensus::start(options).await.unwrap();
    assert_ne!(node.cluster_id(), old_cluster);
    let mut cluster = Cluster { places: vec![place], nodes: vec![node] };
    cluster.leader().await;
    assert_eq!(value(&cluster.nodes[0], "kept").as_deref(), Some("v"));
    let written = cluster.nodes[0].propose(put("new", "v"), soon()).await.unwrap();
    assert!(written.revision.get() > info.index, "revisions go on");
    let second = cluster.join("y", false).await;
    cluster.has_vote(second).await;
    assert_eq!(value(&cluster.nodes[second], "kept").as_deref(), Some("v"));
    crash(&cluster.nodes.remove(0)).await;
    let back = cluster.places[0].restart().await;
    cluster.nodes.insert(0, back);
    cluster.leader().await;
    assert_eq!(cluster.digests().await.into_iter().collect::<BTreeSet<_>>().len(), 1);
    cluster.shutdown().await;
}

/// A snapshot of a cluster that had one key, and where it lies.
async fn backup() -> (TempDir, std::path::PathBuf) {
    let source = Cluster::found(&["a"]).await;
    source.nodes[0].propose(put("kept", "v"), soon()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backup.snap");
    source.nodes[0].save_snapshot(&file).await.unwrap();
    source.nodes[0].shutdown().await;
    (dir, file)
}

/// What a restore has done when it is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Killed {
    WritingSnapshot,
    BeforeOwner,
    BeforeIdentity,
    /// The next start too, while it cleared that away.
    ClearingAway,
}

/// Leaves in the directory of `options` what a restore that is killed leaves.
async fn restore_and_kill(options: &Options, killed: Killed) {
    let file = options.restore_from.as_ref().unwrap();
    let data = DataDir::open(&options.data_dir).unwrap();
    data.identity(&options.peer.name).unwrap();
    let log = LogStore::open(&data.log()).unwrap();
    let founder = Founder { node: NodeId::new(1), nonce: 1, peer: options.peer.clone() };
    let member = Member { cluster: ClusterId::new(7), node: founder.node, founders: vec![founder], initializer: true };
    if killed == Killed::WritingSnapshot {
        log.begin_after(LogId::new_term_index(1, 9), Vote::new(1, 1)).unwrap();
        std::fs::create_dir(data.snapshots()).unwrap();
        std::fs::write(data.snapshots().join("half.tmp"), "half").unwrap();
    } else {
        start::restore(file, &data, &log, &member).unwrap();
    }
    if matches!(killed, Killed::BeforeIdentity | Killed::ClearingAway) {
        log.set_owner(member.log_owner()).unwrap();
    }
    if killed == Killed::ClearingAway {
        std::fs::remove_dir_all(data.snapshots()).unwrap();
    }
    let closing = log.closing();
    drop(log);
    closing.closed().await;
}

/// Killed between the log and the identity, a restore left a log that every later start refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_was_killed_before_its_end_begins_again() {
    let (_dir, file) = backup().await;
    for killed in [Killed::WritingSnapshot, Killed::BeforeOwner, Killed::BeforeIdentity, Killed::ClearingAway] {
        let (place, listener) = Place::new("x").await;
        let options = Options { restore_from: Some(file.clone()), ..place.options(listener, &[], Some(1)) };
        restore_and_kill(&options, killed).await;
        let node = Consensus::start(options).await.unwrap();
        let cluster = Cluster { places: vec![place], nodes: vec![node] };
        cluster.leader().await;
        assert_ne!(cluster.nodes[0].cluster_id(), ClusterId::new(7), "{killed:?}: nobody heard of the first attempt");
        assert_eq!(value(&cluster.nodes[0], "kept").as_deref(), Some("v"), "{killed:?}");
        crash(&cluster.nodes[0]).await;
        let back = cluster.places[0].restart().await;
        assert_eq!(value(&back, "kept").as_deref(), Some("v"), "{killed:?}");
        back.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_a_data_directory_is_neither_restored_into_it_nor_forgotten_nor_removed() {
    let (_dir, file) = backup().await;
    let (place, listener) = Place::new("x").await;
    let options = Options { restore_from: Some(file.clone()), ..place.options(listener, &[], Some(1)) };
    restore_and_kill(&options, Killed::BeforeOwner).await;
    let snapshots = options.data_dir.join("snapshots");
    let held = || std::fs::read_dir(&snapshots).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let restored = held();
    let start = async |restore_from: Option<std::path::PathBuf>| {
        let bound = until(|| async { TcpListener::bind(place.address).await.ok() }).await;
        let options = Options { restore_from, ..place.options(bound, &[], Some(1)) };
        Consensus::start(options).await.unwrap_err().to_string()
    };
    drop(options);
    let without = start(None).await;
    assert!(without.contains("stopped before its end"), "an empty cluster is not what was wanted: {without}");
    let from_itself = start(Some(restored[0].clone())).await;
    assert!(from_itself.contains("copy it elsewhere"), "{from_itself}");
    std::fs::remove_dir_all(place.dir.path().join("data/log")).unwrap();
    let last_copy = start(Some(file)).await;
    assert!(last_copy.contains("move them away"), "{last_copy}");
    assert_eq!(held(), restored);
}

/// A vote, or a snapshot from the leader, is as much to be kept as entries are.
#[tokio::test]
async fn a_log_with_which_a_member_ran_is_told_from_one_that_was_only_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (mut number, last) = (0, LogId::new_term_index(3, 41));
    let mut fresh = || {
        number += 1;
        LogStore::open(&dir.path().join(format!("log-{number}"))).unwrap()
    };
    let restored = fresh();
    restored.begin_after(last, Vote::new(3, 1)).unwrap();
    assert!(start::is_only_restored(&restored));
    restored.set_owner("c/1".to_owned()).unwrap();
    assert!(start::is_only_restored(&restored), "its identity was not written yet");
    let voted = fresh();
    voted.set_owner("c/1".to_owned()).unwrap();
    voted.clone().save_vote(&Vote::new(1, 2)).await.unwrap();
    assert!(!start::is_only_restored(&voted), "a vote, and no entry");
    let installed = fresh();
    installed.set_owner("c/2".to_owned()).unwrap();
    installed.begin_after(last, Vote::new_committed(3, 1)).unwrap();
    assert!(!start::is_only_restored(&installed), "all it has is in a snapshot from its leader");
    restored.clone().save_vote(&Vote::new(4, 1)).await.unwrap();
    assert!(!start::is_only_restored(&restored), "it ran");
}

/// An identity of before the node joined, put back from a backup, must not make its votes be forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_entries_beside_an_identity_of_no_member_is_refused_and_stays() {
    let cluster = Cluster::found(&["a"]).await;
    cluster.nodes[0].propose(put("kept", "v"), soon()).await.unwrap();
    crash(&cluster.nodes[0]).await;
    let place = &cluster.places[0];
    let file = place.dir.path().join("data/identity.json");
    let whole = std::fs::read(&file).unwrap();
    let mut identity: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    identity["member"] = serde_json::Value::Null;
    std::fs::write(&file, serde_json::to_vec(&identity).unwrap()).unwrap();
    let bound = until(|| async { TcpListener::bind(place.address).await.ok() }).await;
    let refused = Consensus::start(place.options(bound, &[], Some(1))).await.unwrap_err();
    assert!(refused.to_string().contains("older copy"), "{refused}");
    std::fs::write(&file, whole).unwrap();
    let back = place.restart().await;
    until(|| async { value(&back, "kept") }).await;
    back.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_writes_are_refused_and_reads_go_on() {
    let mut cluster = Cluster::found(&["a", "b", "c"]).await;
    cluster.nodes[0].propose(put("a", "v"), soon()).await.unwrap();
    cluster.digests().await;
    let last = cluster.nodes.pop().unwrap();
    let first = cluster.nodes.pop().unwrap();
    crash(&last).await;
    crash(&first).await;
    let node = &cluster.nodes[0];
    until(|| async { (!node.status().has_quorum()).then_some(()) }).await;
    let started = Instant::now();
    let refused = node.propose(put("b", "v"), Instant::now() + Duration::from_millis(700)).await;
    assert!(matches!(refused, Err(Error::NoLeader | Error::NoQuorum | Error::Timeout { .. })), "{refused:?}");
    assert!(started.elapsed() < PATIENCE / 2, "the deadline holds");
    assert_eq!(value(node, "a").as_deref(), Some("v"));
    crash(node).await;
}

/// A leader that was cut off commits nothing and discards nothing: batches that it took on stayed for as long as the cut, with all that
/// waited behind them, which was then done after the heal, long after its callers were gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_on_a_leader_that_is_cut_off_is_not_done_when_its_callers_are_gone() {
    let cluster = Cluster::found(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    let node = &cluster.nodes[leader];
    cluster.isolate(leader);
    let patience = Instant::now() + Duration::from_millis(1_500);
    let names: Vec<String> = (0..64).map(|number| format!("late-{number}")).collect();
    let writes = names.iter().map(|name| node.propose(put(name, "v"), patience));
    let answers = futures_util::future::join_all(writes).await;
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    // All places for batches are free again: who comes now is told why, and not only that time passed.
    let refused = until(|| async {
        let company = (0..8).map(|_| node.propose(put("more", "v"), soon()));
        futures_util::future::join_all(company).await.into_iter().find_map(Result::err)
    })
    .await;
    assert!(matches!(refused, Error::NoQuorum | Error::NoLeader), "{refused:?}");
    node.set_blocked_peers(Vec::new());
    cluster.leader().await;
    node.propose(put("after", "v"), soon()).await.unwrap();
    cluster.digests().await;
    let done = names.iter().filter(|name| value(node, name).is_some()).count();
    assert_eq!(done, 0, "what nobody waits for");
    cluster.shutdown().await;
}

/// 256 requests of a few bytes each could ask for 256 MiB in one message, which has no frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_to_forwarded_transactions_all_arrive() {
    let cluster = Cluster::found(&["a", "b", "c"]).await;
    let follower = &cluster.nodes[cluster.follower().await];
    let value = "x".repeat(1 << 19);
    follower.propose(put("large", &value), soon()).await.unwrap();
    let read = || {
        let key = KvKey::try_from("large").unwrap();
        Request { command: Command::KvTransact { ops: [KvOp::Get { key }].into() }, ..put("large", "") }
    };
    let answers = futures_util::future::join_all((0..300).map(|_| follower.propose(read(), soon()))).await;
    for answer in answers {
        let Reply::Transacted { results } = answer.unwrap().reply else { panic!("another reply") };
        assert_eq!(results[0].entry.value.len(), value.len());
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_fails_acknowledges_nothing_more_and_says_so() {
    let cluster = Cluster::found(&["a"]).await;
    let node = &cluster.nodes[0];
    node.propose(put("a", "v"), soon()).await.unwrap();
    // The next file of the log cannot be made.
    let data = cluster.places[0].dir.path().join("data");
    std::fs::rename(data.join("log"), data.join("gone")).unwrap();
    let large = "x".repeat(1 << 20);
    let failed = until(|| async { node.propose(put("large", &large), soon()).await.err() }).await;
    assert!(matches!(failed, Error::StorageFailed(_)), "{failed:?}");
    assert_eq!(failed.retry(), crate::Retry::OutcomeUnknown);
    let write = node.propose(put("b", "v"), soon()).await;
    assert!(matches!(write, Err(Error::StorageFailed(_))), "{write:?}");
    let read = node.read_barrier(soon()).await;
    assert!(matches!(read, Err(Error::StorageFailed(_))), "{read:?}");
    until(|| async { (!node.status().has_quorum()).then_some(()) }).await;
    assert_eq!(value(node, "a").as_deref(), Some("v"), "stale reads go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_finds_two_clusters_joins_neither() {
    let first = Cluster::found(&["a"]).await;
    let second = Cluster::found(&["b"]).await;
    let (place, listener) = Place::new("c").await;
    let options = place.options(listener, &[&first.places[0], &second.places[0]], None);
    let refused = timeout(PATIENCE, Consensus::start(options)).await.unwrap().unwrap_err();
    assert!(matches!(refused, Error::ForeignCluster { .. }), "{refused}");
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_data_directory_is_refused() {
    let cluster = Cluster::found(&["a"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = Consensus::start(cluster.places[0].options(listener, &[], None)).await.unwrap_err();
    assert!(matches!(refused, Error::DataDirInUse(_)), "{refused}");
    cluster.shutdown().await;
}

#[tokio::test]
async fn options_that_do_not_fit_together_are_refused_all_at_once() {
    let (place, listener) = Place::new("a").await;
    let mut options = place.options(listener, &[], Some(3));
    options.secret = b"short".to_vec();
    options.timers.election_timeout_min = options.timers.heartbeat_interval;
    let refused = Consensus::start(options).await.unwrap_err().to_string();
    for part in ["at least 16 bytes", "join must name", "election-timeout-min"] {
        assert!(refused.contains(part), "{refused}");
    }
}
