//! Instances that fail and recover, and nodes that do.

use std::time::Instant;

use rollcall_tests::{Cluster, DEADLINE, note, registration, wait_until};
use serde_json::{Value, json};

use crate::journal::fail_and_be_told;
use crate::support::{Target, all, checked_by_http, health, probers, register, wait_state};

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_killed_is_critical_on_every_node_and_passing_again_when_it_is_back() {
    let cluster = Cluster::start(3).await;
    let mut target = Target::start().await;
    let nodes = all(&cluster);
    register(nodes[0], "web-1", &checked_by_http(target.port())).await;
    wait_state(&nodes, "web-1", "passing", &["observed"]).await;

    let killed = Instant::now();
    target.kill().await;
    wait_state(&nodes, "web-1", "critical", &["confirmed"]).await;
    note(format_args!("killed → critical on every node: {} ms", killed.elapsed().as_millis()));
    let seen = health(nodes[1], "web-1").await;
    assert!(seen["failing"].as_u64() >= Some(2), "one witness is none: {seen}");

    let revived = Instant::now();
    target.revive().await;
    wait_state(&nodes, "web-1", "passing", &["observed"]).await;
    note(format_args!("revived → passing on every node: {} ms", revived.elapsed().as_millis()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_one_node_cannot_reach_goes_on_with_a_warning() {
    let cluster = Cluster::start(3).await;
    let target = Target::start().await;
    let nodes = all(&cluster);
    register(nodes[0], "web-1", &checked_by_http(target.port())).await;
    wait_state(&nodes, "web-1", "passing", &["observed"]).await;

    wait_until("one to see it fail and the others not", DEADLINE, async || {
        // Whoever probes it at this moment: that may change while nodes get to know each other.
        let blind = probers(nodes[0], "web-1").await.first().cloned().ok_or("nobody probes it")?;
        let blind = nodes.iter().find(|node| node.name() == blind).expect("a prober is a node");
        target.shun(Some(blind.process_id()));
        let seen = health(nodes[0], "web-1").await;
        if seen["cause"] == "path" && seen["failing"] == 1 { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    wait_state(&nodes, "web-1", "warning", &["path"]).await;

    target.shun(None);
    wait_state(&nodes, "web-1", "passing", &["observed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_of_a_dead_node_keeps_no_instance_passing() {
    let cluster = Cluster::start(3).await;
    let mut target = Target::start().await;
    let nodes = all(&cluster);
    register(nodes[0], "web-1", &checked_by_http(target.port())).await;
    wait_state(&nodes, "web-1", "passing", &["observed"]).await;
    let probing = wait_until("two nodes to probe it", DEADLINE, async || {
        let probing = probers(nodes[0], "web-1").await;
        if probing.len() == 2 { Ok(probing) } else { Err(format!("{probing:?}")) }
    })
    .await;

    let (gone, left): (Vec<_>, Vec<_>) = nodes.iter().copied().partition(|node| node.name() == probing[0]);
    gone[0].kill9();
    target.kill().await;
    wait_until("the two that are left to see it fail", DEADLINE, async || {
        for node in &left {
            let health = health(node, "web-1").await;
            assert!(!passes_on_stale_evidence(&health), "{}: {health}", node.name());
            if health["state"] != "critical" || probers(node, "web-1").await.contains(&probing[0]) {
                return Err(health.to_string());
            }
        }
        Ok(())
    })
    .await;
    target.revive().await;
    wait_state(&left, "web-1", "passing", &["observed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_again_takes_nobody_for_starting_who_was_seen_to_pass() {
    let cluster = Cluster::start(3).await;
    let mut target = Target::start().await;
    let nodes = all(&cluster);
    fail_and_be_told(&nodes, &mut target).await;
    // It was registered less than half a minute ago, which is no excuse any more.
    let first = probers(nodes[0], "web-1").await.first().cloned().expect("somebody probes it");
    let again = nodes.iter().find(|node| node.name() == first).expect("a prober is a node");
    again.kill9();
    again.start();
    again.wait_ready().await;
    wait_until("the one that started again to see it fail itself", DEADLINE, async || {
        let health = health(again, "web-1").await;
        let observers = health["observers"].as_array().cloned().unwrap_or_default();
        let own = observers.iter().find(|it| it["node"] == first.as_str()).cloned().unwrap_or_default();
        assert_ne!(own["says"]["state"], "starting", "{health}");
        if own["says"]["state"] == "critical" { Ok(()) } else { Err(health.to_string()) }
    })
    .await;
}

/// Whether it passes though nobody whose word counts says so.
fn passes_on_stale_evidence(health: &Value) -> bool {
    let observers = health["observers"].as_array().cloned().unwrap_or_default();
    let vouches = |observer: &Value| observer["says"]["counts"] == true && observer["says"]["state"] == "passing";
    health["state"] == "passing" && !observers.iter().any(vouches)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_node_there_is_decides_alone_and_shows_what_its_probe_saw() {
    let cluster = Cluster::start(1).await;
    let mut target = Target::start().await;
    let nodes = all(&cluster);
    register(nodes[0], "web-1", &checked_by_http(target.port())).await;
    wait_state(&nodes, "web-1", "passing", &["observed"]).await;
    let own = |health: &Value| health["observers"][0]["sees"]["checks"][0]["last"].clone();
    let passed = own(&health(nodes[0], "web-1").await);
    assert_eq!(passed["outcome"], "passed", "{passed}");
    target.kill().await;
    wait_state(&nodes, "web-1", "critical", &["only_observer"]).await;
    let failed = own(&health(nodes[0], "web-1").await);
    assert_eq!(failed["outcome"], "refused", "{failed}");
    assert!(!failed["output"].as_str().unwrap_or_default().is_empty(), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_tells_what_all_who_look_see() {
    let cluster = Cluster::start(3).await;
    let target = Target::start().await;
    let nodes = all(&cluster);
    register(nodes[0], "web-1", &checked_by_http(target.port())).await;
    wait_state(&nodes, "web-1", "passing", &["observed"]).await;
    for node in &nodes {
        wait_until(&format!("both probers to tell {} what they see", node.name()), DEADLINE, async || {
            let answer = node.get("/v1/services/web/instances/web-1/health").answer().await;
            if answer.status != 200 {
                return Err(answer.text());
            }
            let health = answer.json();
            let observers = health["observers"].as_array().cloned().unwrap_or_default();
            let probers = observers.iter().filter(|it| it["duty"] == "prober");
            let telling = probers.filter(|it| it["sees"]["checks"][0]["last"]["outcome"] == "passed").count();
            if (telling, observers.len()) == (2, 3) { Ok(()) } else { Err(health.to_string()) }
        })
        .await;
    }
    for missing in ["/v1/services/nothing/instances/x/health", "/v1/services/web/instances/x/health"] {
        nodes[0].get(missing).answer().await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_checks_passes_and_an_alias_follows_what_it_names() {
    let cluster = Cluster::start(3).await;
    let mut target = Target::start().await;
    let nodes = all(&cluster);
    register(nodes[0], "plain", &registration(1)).await;
    wait_state(&nodes, "plain", "passing", &["unchecked"]).await;

    register(nodes[0], "web-1", &checked_by_http(target.port())).await;
    let mut shadow = registration(2);
    shadow["checks"] = json!([{"type": "alias", "service": "web", "instance": "web-1"}]);
    register(nodes[1], "shadow", &shadow).await;
    wait_state(&nodes, "shadow", "passing", &["observed"]).await;
    // Two aliases that name each other would hold each other where they are.
    let mut mirror = registration(3);
    mirror["checks"] = json!([{"type": "alias", "service": "web", "instance": "shadow"}]);
    register(nodes[2], "mirror", &mirror).await;
    wait_state(&nodes, "mirror", "unknown", &["unseen"]).await;
    target.kill().await;
    wait_state(&nodes, "shadow", "critical", &["confirmed"]).await;
}
