//! Killing and starting nodes again: the same catalogue from whatever lies on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rollcall_tests::{Cluster, DEADLINE, Load, is_long, note, registration, wait_until};
use serde_json::{Value, json};

/// Everything that a client can list on a node, without what differs from node to node.
async fn listed(cluster: &Cluster, index: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let services = cluster.node(index).get("/v1/services?limit=10000").answer().await.expect(200).items();
    for service in services {
        let name = service["name"].as_str().expect("a service has a name");
        let path = format!("/v1/services/{name}/instances?limit=10000");
        all.extend(cluster.node(index).get(&path).answer().await.expect(200).items());
        all.push(service);
    }
    all
}

async fn fill(cluster: &Cluster) {
    let node = cluster.node(1);
    let definition = json!({"capabilities": ["c"], "config_schema": {"type": "object"}});
    node.put("/v1/services/filled").json(&definition).answer().await.expect(201);
    node.put("/v1/services/filled/config").json(&json!({"a": [1, 2.5, null]})).answer().await;
    for index in 0..20 {
        let mut body = registration(8080);
        body["tags"] = json!([format!("t{}", index % 3)]);
        node.register("filled", &format!("i/{index}"), &body).await.expect(201);
    }
    node.delete("/v1/services/filled/instances/i%2F7").answer().await.expect(204);
    node.put("/v1/kv/filled").body(vec![0_u8, 255, 10]).answer().await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_at_once_and_started_again_hold_the_same_catalogue() {
    let cluster = Cluster::start(3).await;
    fill(&cluster).await;
    let load = Load::start("all-killed", cluster.nodes(), 4);
    load.wait_for(100).await;
    let ledger = load.stop().await;
    let revision = cluster.wait_converged().await;
    let before = listed(&cluster, 0).await;
    let digest = cluster.digest(0).await;
    for index in 1..3 {
        assert_eq!(listed(&cluster, index).await, before);
        assert_eq!(cluster.digest(index).await, digest, "digest of node {index} at revision {revision}");
    }

    let cluster_id = cluster.node(0).get("/v1/cluster").answer().await.expect(200).json()["cluster_id"].clone();
    cluster.nodes().iter().for_each(|node| node.kill9());
    cluster.start_all();
    cluster.wait_ready().await;
    cluster.wait_converged().await;
    let digest = cluster.digest(0).await;
    for index in 0..3 {
        assert_eq!(listed(&cluster, index).await, before, "node {index} after the restart");
        assert_eq!(cluster.digest(index).await, digest, "digest of node {index} after the restart");
        ledger.check_on(cluster.node(index)).await;
        ledger.check_history_on(cluster.node(index)).await;
        let status = cluster.node(index).get("/v1/cluster").answer().await.expect(200).json();
        assert_eq!(status["cluster_id"], cluster_id, "a node with data never bootstraps again");
    }
    for node in cluster.nodes() {
        ledger.check_replays_on(node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_under_load_hold_every_acknowledged_write() {
    let cluster = Cluster::start(3).await;
    let load = Load::start("blackout", cluster.nodes(), 8);
    for _ in 0..if is_long() { 10 } else { 2 } {
        load.wait_for(60).await;
        cluster.nodes().iter().for_each(|node| node.kill9());
        cluster.start_all();
        cluster.wait_ready().await;
    }
    let ledger = load.stop().await;
    cluster.wait_converged().await;
    for index in 0..3 {
        ledger.check_on(cluster.node(index)).await;
        ledger.check_history_on(cluster.node(index)).await;
    }
    let digest = cluster.digest(0).await;
    assert_eq!(cluster.digest(1).await, digest);
    assert_eq!(cluster.digest(2).await, digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_again_and_again_while_it_writes_always_opens() {
    let cluster = Cluster::start(3).await;
    let load = Load::start("killed-often", cluster.nodes(), 6);
    let rounds = if is_long() { 30 } else { 4 };
    for round in 0..rounds {
        load.wait_for(15 + round * 3).await;
        let node = cluster.node(round % 3);
        node.kill9();
        node.start();
        node.wait_ready().await;
    }
    let ledger = load.stop().await;
    note(format_args!("{rounds} kills, {} registrations", ledger.written.len()));
    cluster.wait_converged().await;
    for node in cluster.nodes() {
        ledger.check_on(node).await;
    }
}

/// The file of the log that was written last.
fn newest_log_file(data_dir: &Path) -> PathBuf {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    let mut folders = vec![data_dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the node") {
            let path = entry.expect("an entry of a folder of the node").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "wal") {
                let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
                found.push((modified.expect("the file system keeps times"), path));
            }
        }
    }
    found.into_iter().max().map(|(_, path)| path).expect("a log has a file")
}

/// Where the log goes on after `path`: files are named after the offset at which they begin.
fn next_log_file(path: &Path, length: usize) -> PathBuf {
    let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain file name");
    let (prefix, offset) = name.split_once('-').expect("a prefix and an offset");
    let offset: usize = offset.replace('_', "").parse().expect("an offset is a number");
    let digits = format!("{:020}", offset + length);
    let (head, groups) = digits.split_at(2);
    let groups: Vec<&str> = (0..6).map(|group| &groups[group * 3..group * 3 + 3]).collect();
    path.with_file_name(format!("{prefix}-{head}_{}.wal", groups.join("_")))
}

/// What a power cut can leave behind the last record that was synced: a beginning of the next, or blocks that were
/// allocated and never written.
fn half_written(log: &[u8], round: usize) -> Vec<u8> {
    // The shortest whole record has 12 bytes.
    match round {
        0 => log[..3].to_vec(),
        1 => log[..11].to_vec(),
        2 => vec![0; 7],
        3 => vec![0; 4096],
        4 => Vec::new(),
        _ => log[..11].to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_last_record_is_half_written_opens_and_loses_nothing() {
    let cluster = Cluster::start(3).await;
    let load = Load::start("torn", cluster.nodes(), 4);
    load.wait_for(60).await;
    let ledger = load.stop().await;
    cluster.wait_converged().await;
    let torn = (cluster.leader().await + 1) % 3;
    let node = cluster.node(torn);
    for round in 0..6 {
        node.kill9();
        let path = newest_log_file(node.data_dir());
        let mut bytes = fs::read(&path).expect("the log can be read");
        if round >= 4 {
            // The next file was begun, too, before the end of this one was on disk.
            fs::write(next_log_file(&path, bytes.len() + 100), []).expect("a file beside the log");
        }
        bytes.extend(half_written(&bytes, round));
        fs::write(&path, bytes).expect("the log can be written");
        node.start();
        node.wait_ready().await;
        let written = node.register("torn-after", &format!("i-{round}"), &registration(8080)).await.expect(201);
        cluster.wait_converged().await;
        let path = format!("/v1/services/torn-after/instances/i-{round}?min_revision={}", written.revision());
        node.get(&path).answer().await.expect(200);
    }
    ledger.check_on(node).await;
    for node in cluster.nodes() {
        assert!(node.is_running(), "{}", node.log_tail(20));
    }
    let digest = cluster.digest((torn + 1) % 3).await;
    assert_eq!(cluster.digest(torn).await, digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_log_lost_its_tail_is_made_good_or_refused_and_harms_nobody() {
    let cluster = Cluster::start(3).await;
    let load = Load::start("cut", cluster.nodes(), 4);
    load.wait_for(60).await;
    let ledger = load.stop().await;
    cluster.wait_converged().await;
    let cut = (cluster.leader().await + 1) % 3;
    let node = cluster.node(cut);
    for bytes in [1, 7, 300] {
        node.kill9();
        let path = newest_log_file(node.data_dir());
        let file = fs::OpenOptions::new().write(true).open(&path).expect("the log can be opened");
        let length = file.metadata().expect("the log has a length").len();
        file.set_len(length.saturating_sub(bytes)).expect("the log can be cut");
        node.start();
        let what = format!("the node to get ready or to refuse after it lost {bytes} bytes");
        let is_made_good = wait_until(&what, DEADLINE, async || {
            if !node.is_running() {
                return Ok(false);
            }
            for other in cluster.nodes_except(&[cut]) {
                assert!(other.is_running(), "a bad disk of one node ended another\n{}", other.log_tail(20));
            }
            node.look_ready().await.map(|()| true)
        })
        .await;
        if !is_made_good {
            assert_eq!(node.wait_exit().await.code(), Some(1), "{}", node.log_tail(20));
            note(format_args!("refused after it lost {bytes} bytes\n{}", node.log_tail(3)));
            break;
        }
        ledger.check_on(node).await;
    }
    let others = cluster.nodes_except(&[cut]);
    for other in &others {
        assert!(other.is_running(), "{}", other.log_tail(20));
        ledger.check_on(other).await;
        other.register("cut-after", other.name(), &registration(8080)).await.expect(201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_damaged_in_the_middle_is_refused_with_the_file_the_place_and_what_to_do() {
    let cluster = Cluster::start(3).await;
    let load = Load::start("damaged", cluster.nodes(), 4);
    load.wait_for(60).await;
    load.stop().await;
    let damaged = (cluster.leader().await + 1) % 3;
    let node = cluster.node(damaged);
    node.kill9();
    let path = newest_log_file(node.data_dir());
    let mut bytes = fs::read(&path).expect("the log can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&path, bytes).expect("the log can be written");
    let before = node.log().len();
    node.start();
    assert_eq!(node.wait_exit().await.code(), Some(1));
    let said = node.log()[before..].to_owned();
    let file = path.file_name().and_then(|name| name.to_str()).expect("a plain file name");
    assert!(said.contains(file), "it names the file {file}: {said}");
    assert!(said.contains("at byte"), "it names the place: {said}");
    let advice = ["remove", "rejoin", "replace", "wipe"];
    assert!(advice.iter().any(|word| said.contains(word)), "it says what to do: {said}");
}
