//! Heartbeats: taken by any node, missed by all.

use std::time::{Duration, Instant};

use rollcall_tests::{Cluster, DEADLINE, Node, SharedCluster, registration, wait_until};
use serde_json::{Value, json};

use crate::support::{all, health, register, wait_state};

const TTL_MS: u64 = 2_000;
const TTL: Duration = Duration::from_millis(TTL_MS);

fn leased(ttl_ms: u64) -> Value {
    let mut body = registration(1);
    body["lease"] = json!({"ttl_ms": ttl_ms});
    body
}

async fn beat(node: &Node, id: &str, body: &Value) -> Value {
    node.put(&format!("/v1/services/web/instances/{id}/lease")).json(body).answer().await.expect(200).json()
}

/// Sends a heartbeat of a short lease through a node, again and again, until all nodes hold the instance for `state`.
async fn beat_until(nodes: &[&Node], through: &Node, id: &str, body: &Value, state: &str) {
    wait_until(&format!("{id} to be {state} on every node"), DEADLINE, async || {
        beat(through, id, body).await;
        for node in nodes {
            let held = health(node, id).await;
            if held["state"] != state {
                return Err(held.to_string());
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_kept_alive_passes_and_one_that_is_not_is_critical() {
    let cluster = SharedCluster::get().await;
    let nodes = all(&cluster);
    let revision = register(nodes[0], "kept", &leased(TTL_MS)).await;
    register(nodes[0], "silent", &leased(TTL_MS)).await;
    let first = nodes[2].put(&format!("/v1/services/web/instances/kept/lease?min_revision={revision}"));
    let first = first.answer().await.expect(200).json();
    assert_eq!(first["ttl_ms"], TTL_MS);
    assert!(first["next_heartbeat_ms"].as_u64().is_some_and(|next| (500..=667).contains(&next)), "{first}");

    wait_until("the silent one to be critical on every node, and the kept one to pass", DEADLINE, async || {
        // Heartbeats go to another node each time, as behind a load balancer.
        let began = Instant::now();
        for node in &nodes {
            beat(node, "kept", &json!({})).await;
        }
        for node in &nodes {
            let (kept, silent) = (health(node, "kept").await, health(node, "silent").await);
            // When this process is not run for longer than a time to live, nobody hears from the kept one either.
            assert!(kept["state"] != "critical" || began.elapsed() > TTL / 2, "{kept}");
            if kept["state"] != "passing" || silent["state"] != "critical" {
                return Err(format!("{kept}\n{silent}"));
            }
        }
        Ok(())
    })
    .await;
    wait_state(&nodes, "kept", "critical", &["confirmed"]).await;
    beat_until(&nodes, nodes[1], "kept", &json!({}), "passing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_what_it_says_of_itself_and_of_its_checks() {
    let cluster = SharedCluster::get().await;
    let nodes = all(&cluster);
    register(nodes[0], "modest", &leased(60_000)).await;
    cluster.wait_caught_up().await;
    beat(nodes[1], "modest", &json!({"status": "warning"})).await;
    wait_state(&nodes, "modest", "warning", &["observed"]).await;
    let vouching = health(nodes[0], "modest").await["vouching"].clone();
    assert_eq!((&vouching[0]["node"], &vouching[0]["says"]["state"]), (&json!(nodes[1].name()), &json!("warning")));
    beat(nodes[1], "modest", &json!({"status": "passing", "load": {"cpu": 0.95}})).await;
    wait_state(&nodes, "modest", "passing", &["observed"]).await;
    wait_until("the load to count", DEADLINE, async || {
        let health = health(nodes[2], "modest").await;
        if health["score"].as_f64().is_some_and(|score| score < 0.9) { Ok(()) } else { Err(health.to_string()) }
    })
    .await;

    let mut by_checks = registration(1);
    by_checks["checks"] =
        json!([{"id": "db", "type": "ttl", "ttl_ms": 60_000}, {"id": "queue", "type": "ttl", "ttl_ms": TTL_MS}]);
    register(nodes[0], "reporting", &by_checks).await;
    cluster.wait_caught_up().await;
    beat_until(&nodes, nodes[0], "reporting", &json!({}), "passing").await;
    let checks = json!({"checks": {"db": "warning", "queue": "passing"}});
    beat_until(&nodes, nodes[0], "reporting", &checks, "warning").await;
    wait_state(&nodes, "reporting", "critical", &["confirmed"]).await;
    let strange =
        nodes[0].put("/v1/services/web/instances/reporting/lease").json(&json!({"checks": {"disk": "passing"}}));
    let strange = strange.answer().await.expect(422);
    assert_eq!(strange.json()["errors"][0]["field"], "checks.disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_lease_is_told_to_register_again_alone_and_among_others() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    register(node, "leased", &leased(60_000)).await;
    register(node, "plain", &registration(1)).await;
    for path in [
        "/v1/services/web/instances/nobody/lease",
        "/v1/services/none/instances/x/lease",
        "/v1/services/web/instances/plain/lease",
    ] {
        assert_eq!(node.put(path).answer().await.expect(404).code(), "lease_not_found");
    }
    let items = json!([{"service": "web", "id": "leased"}, {"service": "web", "id": "nobody", "status": "warning"}]);
    let reply = node.post("/v1/leases/renew").json(&json!({"items": items})).answer().await.expect(200).json();
    assert_eq!((&reply["items"][0]["ttl_ms"], &reply["items"][1]["code"]), (&json!(60_000), &json!("lease_not_found")));
    let many = vec![json!({"service": "web", "id": "leased"}); 1_001];
    node.post("/v1/leases/renew").json(&json!({"items": many})).answer().await.expect(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_node_dies_has_time_to_find_another() {
    let cluster = Cluster::start(3).await;
    let nodes = all(&cluster);
    for id in ["moving", "stuck"] {
        register(nodes[0], id, &leased(5_000)).await;
        cluster.wait_converged().await;
        beat(nodes[2], id, &json!({})).await;
        wait_state(&nodes, id, "passing", &["observed"]).await;
    }
    nodes[2].kill9();
    let left = &nodes[..2];
    wait_until("the others to hold the node for dead", DEADLINE, async || {
        let members = left[0].get("/v1/cluster/members").answer().await.expect(200);
        assert_ne!(health(left[1], "moving").await["state"], "critical", "its time of grace runs");
        let gone = members.items().into_iter().find(|member| member["name"] == nodes[2].name());
        if gone.is_some_and(|gone| gone["state"] == "dead") { Ok(()) } else { Err(members.text()) }
    })
    .await;
    wait_until("the one that finds no other node to be critical", DEADLINE, async || {
        beat(left[0], "moving", &json!({})).await;
        for node in left {
            let moving = health(node, "moving").await;
            assert_ne!(moving["state"], "critical", "{moving}");
        }
        let stuck = health(left[0], "stuck").await;
        if stuck["state"] == "critical" { Ok(()) } else { Err(stuck.to_string()) }
    })
    .await;
    wait_state(left, "moving", "passing", &["observed"]).await;
}
