//! Disks that turn read-only, and disks that fail: the faults are the kernel's own, see [`crate::mounts::BlockDisk`].

use std::sync::Arc;

use rollcall_tests::{Cluster, DEADLINE, Load, Node, NodeOptions, note, wait_until};
use serde_json::json;

use crate::mounts::BlockDisk;

/// A device, or the reason why the test cannot run here, said aloud.
fn block_disk() -> Option<BlockDisk> {
    let disk = BlockDisk::mount();
    disk.map_err(|reason| note(format_args!("SKIPPED: a failing disk needs root, zram and ext4: {reason}"))).ok()
}

/// Adds a voter whose data lies on `disk`.
async fn join_on(cluster: &mut Cluster, disk: &BlockDisk) -> usize {
    let options = NodeOptions { data_dir: disk.path().join("data"), ..cluster.options("doubtful") };
    let index = cluster.join(options).await;
    let node = cluster.node(index).clone();
    wait_until("the new node to be a voter", DEADLINE, async || {
        let raft = node.raft().await.ok_or("no answer")?;
        let voters = raft["voters"].as_array().ok_or("no voters")?;
        voters.iter().any(|voter| voter == node.name()).then_some(()).ok_or_else(|| raft.to_string())
    })
    .await;
    index
}

/// What the system says when it cannot write.
const READ_ONLY: &str = "Read-only file system";
const FAILED: &str = "Input/output error";

/// Waits for the end of a node that cannot write: it fails, and says why in the system's words, one of `why`.
async fn wait_failed(node: &Node, why: &[&str]) {
    let status = node.wait_exit().await;
    assert_eq!(status.code(), Some(1), "a node that cannot go on fails: {}", node.log_tail(20));
    let log = node.log();
    let is_said = log.contains("the node stops: storage failed") && why.iter().any(|why| log.contains(why));
    assert!(is_said, "it says why: {}", node.log_tail(20));
    assert!(!log.contains("panicked"), "{}", node.log_tail(40));
}

/// One attempt to set a key; its revision, or `None` when it was not acknowledged.
async fn put(node: &Node, key: usize) -> Option<u64> {
    let call = node.put(&format!("/v1/kv/key-{key}")).header("Idempotency-Key", format!("set key {key}"));
    match call.body(key.to_string()).send().await {
        Ok(answer) if answer.status < 300 => Some(answer.revision()),
        Ok(answer) => {
            assert!(matches!(answer.status, 503 | 504), "{}: {}", answer.status, answer.text());
            None
        }
        Err(_) => None,
    }
}

/// Sets a key, again and again if need be: the node that failed may have led.
async fn put_at_last(node: &Node, key: usize) -> u64 {
    wait_until("an acknowledgement", DEADLINE, async || put(node, key).await.ok_or_else(|| node.log_tail(3))).await
}

async fn expect_keys(node: &Node, revisions: &[u64]) {
    for (key, revision) in revisions.iter().enumerate() {
        let read = node.get(&format!("/v1/kv/key-{key}")).answer().await.expect(200);
        assert_eq!(read.text(), key.to_string());
        assert_eq!(read.header("etag"), Some(format!("\"{revision}\"").as_str()), "key {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_turns_read_only_stops_and_says_why_while_the_others_go_on() {
    let Some(disk) = block_disk() else { return };
    let mut cluster = Cluster::start(3).await;
    let doubtful = join_on(&mut cluster, &disk).await;
    let node = cluster.node(doubtful).clone();
    let mut revisions = Vec::new();
    for key in 0..10 {
        revisions.push(put_at_last(cluster.node(key % 4), key).await);
    }

    disk.turn_read_only();
    for key in 10..20 {
        revisions.push(put_at_last(cluster.node(key % 3), key).await);
    }
    // A sync that was under way at that moment fails in the other words.
    wait_failed(&node, &[READ_ONLY, FAILED]).await;
    // Started again on a disk that is still read-only it must not pretend to work either.
    node.start();
    let status = node.wait_exit().await;
    assert_eq!(status.code(), Some(1), "{}", node.log_tail(20));
    assert!(node.log().contains(READ_ONLY), "{}", node.log_tail(20));
    assert!(!node.log().contains("panicked"), "{}", node.log_tail(40));

    disk.mend();
    node.start();
    node.wait_ready().await;
    cluster.wait_converged().await;
    expect_keys(&node, &revisions).await;
    assert_eq!(cluster.digest(doubtful).await, cluster.digest(0).await);
    put_at_last(&node, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_failed_is_final_although_the_next_one_would_succeed() {
    let Some(disk) = block_disk() else { return };
    let mut cluster = Cluster::of(0).prepare();
    let options = cluster.options("lone");
    let options = NodeOptions { data_dir: disk.path().join("data"), bootstrap_expect: Some(1), ..options };
    let index = cluster.join(options).await;
    let node = cluster.node(index).clone();
    let mut revisions = Vec::new();
    for key in 0..20 {
        revisions.push(put(&node, key).await.expect("a healthy disk takes writes"));
    }

    // The kernel reports a failed write to one `fdatasync` only, and drops the data: the next one says that all is well.
    disk.fail_writes();
    assert_eq!(put(&node, 20).await, None, "what is not on disk is not acknowledged");
    for key in 21..40 {
        assert_eq!(put(&node, key).await, None, "nothing after a failed sync is acknowledged");
    }
    wait_failed(&node, &[FAILED]).await;

    disk.mend();
    node.start();
    node.wait_ready().await;
    expect_keys(&node, &revisions).await;
    put_at_last(&node, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_fails_under_load_is_replaced_and_nothing_acknowledged_is_lost() {
    let Some(disk) = block_disk() else { return };
    let mut cluster = Cluster::start(3).await;
    let doubtful = join_on(&mut cluster, &disk).await;
    let node: Arc<Node> = cluster.node(doubtful).clone();
    let moved = node.post("/v1/cluster/transfer-leader").json(&json!({"to": "doubtful"})).answer().await;
    assert!(moved.status < 300, "{}: {}", moved.status, moved.text());
    assert_eq!(cluster.leader().await, doubtful);

    let load = Load::start("doubtful", cluster.nodes(), 8);
    load.wait_for(100).await;
    disk.fail_writes();
    wait_failed(&node, &[FAILED]).await;
    load.wait_for(100).await;
    disk.mend();
    node.start();
    node.wait_ready().await;
    load.wait_for(50).await;
    let ledger = load.stop().await;
    cluster.wait_converged().await;
    for node in cluster.nodes() {
        ledger.check_on(node).await;
        ledger.check_history_on(node).await;
    }
    assert_eq!(cluster.digest(doubtful).await, cluster.digest(0).await);
}
