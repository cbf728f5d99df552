//! Who is alive, as the nodes tell each other: members killed, paused, cut off, restarted, keys replaced, datagrams forged.

use std::cell::Cell;
use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;

use rollcall_tests::{Cluster, DEADLINE, Node, NodeOptions, Watcher, registration, rollcall, wait_until};
use serde_json::Value;
use tempfile::TempDir;

const KEYS: [&str; 2] = [
    "1111111111111111111111111111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222222222222222222222222222",
];

/// What `observer` holds of `name`.
async fn member(observer: &Node, name: &str) -> Value {
    let members = observer.get("/v1/cluster/members").answer().await.expect(200).json();
    let items = members["items"].as_array().expect("members are a list");
    items.iter().find(|member| member["name"] == name).cloned().unwrap_or(Value::Null)
}

/// Waits until every one of `observers` holds `name` to be in `state`, from what it heard through gossip.
async fn wait_state(observers: &[&Node], name: &str, state: &str) {
    for observer in observers {
        wait_until(&format!("{} to hold {name} {state}", observer.name()), DEADLINE, async || {
            let member = member(observer, name).await;
            if member["state"] == state && !member["gossip"].is_null() { Ok(()) } else { Err(member.to_string()) }
        })
        .await;
    }
}

/// A cluster whose nodes have heard of each other, and seen each other's heartbeat advance.
async fn acquainted(cluster: Cluster) -> Cluster {
    let all: Vec<&Node> = cluster.nodes().iter().map(AsRef::as_ref).collect();
    for node in &all {
        wait_state(&all, node.name(), "alive").await;
        for observer in all.iter().filter(|observer| observer.name() != node.name()) {
            wait_heartbeat(observer, node.name()).await;
        }
    }
    cluster
}

/// Waits until `observer` has seen the heartbeat of `name` advance. That it knows the member is not enough: gossip tells of
/// members that ended long ago too, and whom a node never saw living it does not miss.
async fn wait_heartbeat(observer: &Node, name: &str) {
    let first = Cell::new(None);
    wait_until(&format!("a heartbeat of {name} at {}", observer.name()), DEADLINE, async || {
        let heartbeat = member(observer, name).await["gossip"]["heartbeat"].as_u64();
        let before = first.get().or(heartbeat);
        first.set(before);
        if heartbeat > before { Ok(()) } else { Err(format!("its heartbeat is {heartbeat:?}, as at first")) }
    })
    .await;
}

/// How often `observer` went over to a state since its stream was opened, until the stream says `last` of `name`.
///
/// A suspicion that was refuted is left out: it is no verdict, and a busy machine may not run a node for a second.
async fn changes_until(events: &mut Watcher, name: &str, last: &str) -> Vec<(String, String)> {
    let mut changes: Vec<(String, String)> = Vec::new();
    loop {
        let seen = events.next().await.expect("the stream goes on");
        let Some(state) = seen.data["state"].as_str() else { continue };
        let member = seen.data["member"].as_str().expect("a change says whom it is about").to_owned();
        let before = changes.iter().rposition(|(of, _)| *of == member);
        match before.filter(|before| changes[*before].1 == "suspect" && state == "alive") {
            Some(refuted) => drop(changes.remove(refuted)),
            None => changes.push((member.clone(), state.to_owned())),
        }
        if (member.as_str(), state) == (name, last) {
            return changes;
        }
    }
}

fn generation(member: &Value) -> u64 {
    member["gossip"]["generation"].as_u64().expect("a member that is heard has a generation")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_suspected_then_dead_and_comes_back_with_a_newer_generation() {
    let cluster = acquainted(Cluster::start(3).await).await;
    let [one, two, three] = [0, 1, 2].map(|index| cluster.node(index).as_ref());
    let before = generation(&member(one, three.name()).await);
    let mut events = Watcher::open_cluster(one).await;
    assert_eq!(events.next().await.expect("a first event").event, "members");
    three.kill9();
    wait_state(&[one, two], three.name(), "dead").await;
    let dead = member(one, three.name()).await;
    assert_ne!(dead["since"], Value::Null);
    assert!(!dead["cause"].as_str().unwrap_or_default().is_empty(), "a verdict says why: {dead}");
    let raft = one.raft().await.expect("a node knows its raft status");
    assert_eq!(raft["voters"].as_array().map(Vec::len), Some(3), "a dead verdict changes no vote");

    three.start();
    three.wait_ready().await;
    wait_state(&[one, two], three.name(), "alive").await;
    assert!(generation(&member(one, three.name()).await) > before);
    let changes = changes_until(&mut events, three.name(), "alive").await;
    let states: Vec<&str> = changes.iter().map(|(_, state)| state.as_str()).collect();
    assert_eq!(states, ["suspect", "dead", "alive"], "{changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_paused_accuses_nobody_when_it_wakes_up() {
    let cluster = acquainted(Cluster::start(3).await).await;
    let [one, two, three] = [0, 1, 2].map(|index| cluster.node(index).as_ref());
    let mut events = Watcher::open_cluster(three).await;
    three.pause();
    wait_state(&[one, two], three.name(), "dead").await;
    three.resume();
    wait_state(&[one, two], three.name(), "alive").await;
    // Something that must come after whatever the sleeper would have said: the end of another member.
    two.kill9();
    let changes = changes_until(&mut events, two.name(), "dead").await;
    assert!(changes.iter().all(|(member, _)| member == two.name()), "it accused a healthy member: {changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_in_order_has_left_at_once() {
    let cluster = acquainted(Cluster::start(3).await).await;
    let [one, two, three] = [0, 1, 2].map(|index| cluster.node(index).as_ref());
    let mut events = Watcher::open_cluster(one).await;
    assert!(three.terminate().await.success());
    let changes = changes_until(&mut events, three.name(), "left").await;
    assert_eq!(changes, [(three.name().to_owned(), "left".to_owned())], "no suspicion comes before a farewell");
    wait_state(&[two], three.name(), "left").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_takes_itself_for_isolated_and_everything_heals() {
    let cluster = acquainted(Cluster::of(3).with_fault_injection().start().await).await;
    let [one, two, three] = [0, 1, 2].map(|index| cluster.node(index).as_ref());
    cluster.cut_off(&[2]).await;
    wait_state(&[one, two], three.name(), "dead").await;
    wait_isolation(three, true).await;
    for other in [one, two] {
        assert_ne!(member(three, other.name()).await["state"], "dead", "who is alone declares nobody dead");
    }
    cluster.heal().await;
    for name in [one.name(), two.name(), three.name()] {
        wait_state(&[one, two, three], name, "alive").await;
    }
    wait_isolation(three, false).await;
}

/// Waits until `node` takes itself for cut off, or does not any more.
async fn wait_isolation(node: &Node, is_isolated: bool) {
    let what = format!("{} to find itself isolated: {is_isolated}", node.name());
    wait_until(&what, DEADLINE, async || {
        let members = node.get("/v1/cluster/members").answer().await.expect(200).json();
        let since = &members["observer"]["isolated_since"];
        if since.is_string() == is_isolated { Ok(()) } else { Err(members.to_string()) }
    })
    .await;
}

/// A cluster whose nodes read their keys of gossip from one file, and that file.
async fn keyed(folder: &TempDir) -> (Cluster, PathBuf) {
    let file = folder.path().join("gossip-key");
    fs::write(&file, KEYS[0]).expect("a file in a new folder");
    let cluster = Cluster::of(3).argument(&format!("--gossip-key-file={}", file.display())).start().await;
    (acquainted(cluster).await, file)
}

async fn sealing_key(node: &Node) -> String {
    let members = node.get("/v1/cluster/members").answer().await.expect(200).json();
    members["observer"]["sealing_key"].as_str().expect("a node says which key it seals with").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_while_the_cluster_runs_and_nobody_is_suspected() {
    let folder = TempDir::new().expect("a temporary folder");
    let (cluster, file) = keyed(&folder).await;
    let mut events = Watcher::open_cluster(cluster.node(0)).await;
    let old = sealing_key(cluster.node(0)).await;
    for (step, keys) in
        [[KEYS[0], KEYS[1]].join("\n"), [KEYS[1], KEYS[0]].join("\n"), KEYS[1].to_owned()].iter().enumerate()
    {
        fs::write(&file, keys).expect("a file of this test");
        for node in cluster.nodes() {
            node.hang_up();
            let wanted = "gossip seals with key ";
            wait_until("the node to read its keys", DEADLINE, async || {
                let read = node.log().matches(wanted).count();
                if read > step { Ok(()) } else { Err(format!("{read} times so far")) }
            })
            .await;
        }
    }
    for node in cluster.nodes() {
        wait_until("the node to show its new key", DEADLINE, async || {
            let key = sealing_key(node).await;
            if key == old { Err(key) } else { Ok(()) }
        })
        .await;
    }
    // What comes after whatever would have been said meanwhile.
    cluster.node(2).kill9();
    let changes = changes_until(&mut events, cluster.node(2).name(), "dead").await;
    assert_eq!(changes.len(), 2, "only the killed node was suspected: {changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_key_is_not_heard_and_the_log_names_the_key() {
    let folder = TempDir::new().expect("a temporary folder");
    let (mut cluster, _) = keyed(&folder).await;
    let other = folder.path().join("other-key");
    fs::write(&other, KEYS[1]).expect("a file in a new folder");
    let mut options = cluster.options("odd");
    options.arguments = vec![format!("--gossip-key-file={}", other.display())];
    let odd = cluster.join(options).await;
    let key = sealing_key(cluster.node(odd)).await;
    wait_until("a member to name the key that it does not have", DEADLINE, async || {
        let log = cluster.node(0).log();
        if log.contains(&key) { Ok(()) } else { Err(cluster.node(0).log_tail(5)) }
    })
    .await;
    let stranger = member(cluster.node(0), "odd").await;
    assert_eq!(stranger["gossip"], Value::Null, "it is a member of Raft and not of gossip: {stranger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_datagrams_are_counted_and_change_nothing() {
    let cluster = acquainted(Cluster::start(3).await).await;
    let mut events = Watcher::open_cluster(cluster.node(0)).await;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let target = ("127.0.0.1", cluster.node(0).options().gossip);
    for number in 0..2_000_u32 {
        // Beginnings that resemble the real ones, and noise; a full send buffer only makes them fewer.
        let byte = number.to_le_bytes()[0];
        let _ = socket.send_to(&vec![byte; usize::from(byte) * 5 + 1], target);
    }
    wait_until("the node to count what it rejects", DEADLINE, async || {
        let metrics = cluster.node(0).metrics().await;
        let rejected = metrics.lines().filter(|line| line.starts_with("rollcall_gossip_rejected_total"));
        let count: f64 = rejected.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        if count >= 1_000.0 { Ok(()) } else { Err(format!("{count} so far")) }
    })
    .await;
    cluster.node(2).kill9();
    let changes = changes_until(&mut events, cluster.node(2).name(), "dead").await;
    assert_eq!(changes.len(), 2, "only the killed node was suspected: {changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_quorum_does_not_stop_detection() {
    let cluster = acquainted(Cluster::start(3).await).await;
    let one = cluster.node(0);
    one.register("kept", "i-1", &registration(8080)).await.expect(201);
    cluster.node(1).kill9();
    cluster.node(2).kill9();
    // Two of three silent at once look like an own loss of the network; what is not held is said so.
    wait_isolation(one, true).await;
    cluster.node(2).start();
    wait_state(&[one.as_ref()], cluster.node(2).name(), "alive").await;
    wait_state(&[one.as_ref()], cluster.node(1).name(), "dead").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_says_what_is_wrong_in_a_table() {
    let cluster = acquainted(Cluster::start(3).await).await;
    cluster.node(2).kill9();
    wait_state(&[cluster.node(0).as_ref()], cluster.node(2).name(), "dead").await;
    let server = format!("--server={}", cluster.node(0).url());
    let shown = rollcall(["members".to_owned(), server]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("dead") && shown.stderr.contains("is suspected by"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused_with_file_and_line_and_without_the_key() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("gossip-key");
    fs::write(&file, format!("# ours\n{}x\n", KEYS[0])).expect("a file in a new folder");
    let cluster = Cluster::of(1).prepare();
    let arguments = vec![format!("--gossip-key-file={}", file.display())];
    let options = NodeOptions { arguments, ..cluster.node(0).options().clone() };
    let node = Node::new(options, "/dev/null".into());
    let refused = rollcall(std::iter::once("node".to_owned()).chain(node.arguments())).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("line 2") && !refused.stderr.contains(KEYS[0]), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_still_waits_for_its_peers_survives_a_hangup() {
    let cluster = Cluster::of(3).prepare();
    let early = cluster.node(0);
    early.start();
    wait_until("the node to answer while it waits", DEADLINE, async || {
        let answer = early.get("/livez").send().await;
        answer.map(|_| ()).map_err(|_| early.log_tail(3))
    })
    .await;
    early.hang_up();
    for other in [1, 2] {
        cluster.node(other).start();
    }
    cluster.wait_ready().await;
    assert!(early.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_that_is_started_again_does_not_pass_for_its_successor() {
    let mut cluster = acquainted(Cluster::start(3).await).await;
    let name = cluster.node(2).name().to_owned();
    cluster.node(2).kill9();
    wait_state(&[cluster.node(0).as_ref()], &name, "dead").await;
    let removed = rollcall(["remove".to_owned(), name.clone(), format!("--server={}", cluster.node(0).url())]).await;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    let options = NodeOptions { data_dir: cluster.path().join("successor"), ..cluster.options(&name) };
    let successor = cluster.join(options).await;
    wait_state(&[cluster.node(0).as_ref()], &name, "alive").await;

    cluster.node(2).start();
    let ended = cluster.node(2).wait_exit().await;
    assert_eq!(ended.code(), Some(2), "a supervisor need not try again: {}", cluster.node(2).log_tail(5));
    let shown = member(cluster.node(0), &name).await;
    let address = format!("127.0.0.1:{}", cluster.node(successor).options().http);
    assert_eq!((&shown["state"], &shown["addresses"]["http"]), (&"alive".into(), &address.into()), "{shown}");
}
