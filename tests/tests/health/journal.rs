//! What the leader writes down of health, and what it removes.

use std::time::Duration;

use rollcall_tests::{Cluster, DEADLINE, Node, note, wait_until};
use serde_json::{Value, json};

use crate::support::{Target, all, checked_by_http, register, wait_state};

/// Longest wait for what takes its time by rule: `deregister_after` is 10 s at least.
const PATIENCE: Duration = Duration::from_secs(60);

/// The records of history about an instance of service `web`, newest first.
async fn history(node: &Node, id: &str) -> Vec<Value> {
    let answer = node.get(&format!("/v1/history?service=web&instance={id}")).answer().await.expect(200);
    answer.json()["items"].as_array().cloned().unwrap_or_default()
}

/// The states that history tells of an instance, oldest first.
async fn states(node: &Node, id: &str) -> Vec<String> {
    let told = history(node, id).await.into_iter().rev().filter(|record| record["action"] == "state");
    told.filter_map(|record| record["state"].as_str().map(str::to_owned)).collect()
}

/// Waits until the last state that history tells of an instance is `last`.
async fn wait_told(node: &Node, id: &str, last: &str) {
    wait_until(&format!("{id} to be {last} in history"), DEADLINE, async || {
        let states = states(node, id).await;
        if states.last().map(String::as_str) == Some(last) { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;
}

/// Has `web-1` pass and then fail, until history tells so on every node.
pub(crate) async fn fail_and_be_told(nodes: &[&Node], target: &mut Target) {
    register(nodes[0], "web-1", &checked_by_http(target.port())).await;
    wait_state(nodes, "web-1", "passing", &["observed"]).await;
    target.kill().await;
    wait_state(nodes, "web-1", "critical", &["confirmed"]).await;
    for node in nodes {
        wait_told(node, "web-1", "critical").await;
    }
}

/// A registration with a check once a second that is to go after 10 s in `critical`.
fn fleeting(port: u16) -> Value {
    let mut body = checked_by_http(port);
    body["deregister_after_ms"] = json!(10_000);
    body
}

async fn is_registered(node: &Node, id: &str) -> bool {
    node.get(&format!("/v1/services/web/instances/{id}")).answer().await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn history_tells_every_transition_once_on_every_node_and_goes_on_under_the_next_leader() {
    let cluster = Cluster::start(3).await;
    let mut target = Target::start().await;
    let nodes = all(&cluster);
    fail_and_be_told(&nodes, &mut target).await;
    let before = states(nodes[0], "web-1").await;
    assert!(before.windows(2).all(|pair| pair[0] != pair[1]), "each once: {before:?}");
    let told = history(nodes[0], "web-1").await;
    assert_eq!((&told[0]["actor"], &told[0]["cause"]), (&json!("rollcall"), &json!("confirmed")), "{}", told[0]);

    let leader = nodes[cluster.leader().await];
    leader.kill9();
    let left: Vec<&Node> = nodes.iter().copied().filter(|node| node.name() != leader.name()).collect();
    target.revive().await;
    wait_state(&left, "web-1", "passing", &["observed"]).await;
    for node in &left {
        wait_told(node, "web-1", "passing").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_stays_critical_is_deregistered_and_history_says_why() {
    let cluster = Cluster::start(3).await;
    let (mut gone, stays) = (Target::start().await, Target::start().await);
    let nodes = all(&cluster);
    register(nodes[0], "gone", &fleeting(gone.port())).await;
    register(nodes[1], "stays", &fleeting(stays.port())).await;
    for id in ["gone", "stays"] {
        wait_state(&nodes, id, "passing", &["observed"]).await;
    }
    gone.kill().await;
    wait_state(&nodes, "gone", "critical", &["confirmed"]).await;
    // The time runs by the log, so another leader does not begin it anew.
    wait_told(nodes[0], "gone", "critical").await;
    let leader = nodes[cluster.leader().await];
    leader.pause();
    let left: Vec<&Node> = nodes.iter().copied().filter(|node| node.name() != leader.name()).collect();
    wait_until("it to be deregistered", PATIENCE, async || {
        if is_registered(left[0], "gone").await { Err("it is there".to_owned()) } else { Ok(()) }
    })
    .await;
    leader.resume();
    let told = history(left[0], "gone").await;
    let (cause, actor) = (told[0]["cause"].as_str().unwrap_or_default(), &told[0]["actor"]);
    note(format_args!("deregistered: {cause}"));
    assert!(cause.starts_with("critical for 1") && cause.ends_with("living nodes agree"), "{}", told[0]);
    assert_eq!((&told[0]["action"], actor), (&json!("deregistered"), &json!("rollcall")));
    assert!(is_registered(left[1], "stays").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_which_most_fails_at_once_keeps_its_instances() {
    let cluster = Cluster::start(3).await;
    let mut target = Target::start().await;
    let nodes = all(&cluster);
    for id in ["web-1", "web-2", "web-3"] {
        register(nodes[0], id, &fleeting(target.port())).await;
    }
    for id in ["web-1", "web-2", "web-3"] {
        wait_state(&nodes, id, "passing", &["observed"]).await;
    }
    target.kill().await;
    let leader = nodes[cluster.leader().await];
    wait_until("the leader to protect the service", PATIENCE, async || {
        let metrics = leader.get("/metrics").answer().await.expect(200).text().to_owned();
        if metrics.contains("rollcall_journal_protected_services 1") { Ok(()) } else { Err(String::new()) }
    })
    .await;
    for id in ["web-1", "web-2", "web-3"] {
        assert!(is_registered(nodes[0], id).await, "{id} stays");
    }
    target.revive().await;
    wait_told(nodes[0], "web-1", "passing").await;
}
