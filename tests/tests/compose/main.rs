//! Facts about the cluster of `docker-compose.cluster.yml`, shown on real containers.
//!
//! Runs with `ROLLCALL_COMPOSE=1` (`just compose-test`), since it takes a minute, builds an image and makes networks. Where
//! no Docker engine answers it says so and does nothing. It needs no registry: the image is made of the binary under test.

mod engine;

use std::time::Duration;

use http::Method;
use rollcall_tests::{Call, note, registration, wait_until};
use serde_json::Value;

use engine::Engine;

/// Containers on a busy machine take their time.
const DEADLINE: Duration = Duration::from_secs(120);
const NODES: [&str; 5] = ["node-1", "node-2", "node-3", "node-4", "node-5"];
/// Services of the demo with the container behind each.
const SERVICES: [(&str, &str); 4] = [
    ("data_analyst_agent", "data-analyst-1"),
    ("web_scraper_agent", "web-scraper-1"),
    ("content_specialist_agent", "content-specialist-1"),
    ("orchestrator_agent", "orchestrator-1"),
];

/// A node's answer, or what is in the way.
async fn ask(engine: &Engine, node: &str, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
    let url = format!("http://{}{path}", engine.port(node).ok_or_else(|| format!("{node} has no port"))?);
    let mut call = Call::new(method, &url).timeout(Duration::from_secs(5));
    if let Some(body) = &body {
        call = call.json(body);
    }
    let answer = call.send().await.map_err(|unanswered| unanswered.to_string())?;
    match answer.status {
        200..300 => Ok(answer.json_or_null()),
        _ => Err(format!("{} answered {}: {}", answer.line, answer.status, answer.text())),
    }
}

async fn get(engine: &Engine, node: &str, path: &str) -> Result<Value, String> {
    ask(engine, node, Method::GET, path, None).await
}

/// Waits until each of `nodes` says what `is_so` asks for.
async fn everywhere(engine: &Engine, nodes: &[&str], what: &str, path: &str, is_so: impl Fn(&Value) -> bool) {
    for node in nodes {
        wait_until(&format!("{node}: {what}"), DEADLINE, async || {
            let seen = get(engine, node, path).await?;
            if is_so(&seen) { Ok(()) } else { Err(seen.to_string()) }
        })
        .await;
    }
}

/// The state of an instance, as an answer shows it.
fn is_in(state: &'static str) -> impl Fn(&Value) -> bool {
    move |instance| instance["state"] == state
}

async fn register(engine: &Engine, node: &str, id: &str) {
    let path = format!("/v1/services/web/instances/{id}");
    wait_until(&format!("{node} takes {id}"), DEADLINE, async || {
        ask(engine, node, Method::PUT, &path, Some(registration(8080))).await
    })
    .await;
}

/// Waits until `nodes` agree on a leader among them.
async fn leader(engine: &Engine, nodes: &[&'static str]) -> &'static str {
    wait_until("one leader", DEADLINE, async || {
        let mut named = Vec::new();
        for node in nodes {
            named.push(get(engine, node, "/v1/cluster").await?["leader"].clone());
        }
        let agreed = nodes.iter().find(|node| named.iter().all(|name| *name == **node));
        agreed.copied().ok_or_else(|| format!("{named:?}"))
    })
    .await
}

fn others(than: &str) -> Vec<&'static str> {
    NODES.into_iter().filter(|node| *node != than).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_containers_outlives_a_killed_node_and_a_cut_network() {
    if std::env::var_os("ROLLCALL_COMPOSE").is_none_or(|value| value != "1") {
        return note("SKIPPED: runs with ROLLCALL_COMPOSE=1 where a Docker engine is (just compose-test)");
    }
    let Some(engine) = Engine::find() else {
        return note("SKIPPED: no Docker engine answers here, or there is no docker-compose");
    };
    engine.up();

    // Everything comes up, and every node discovers every service and finds it healthy.
    everywhere(&engine, &NODES, "ready", "/readyz", |_| true).await;
    for (service, id) in SERVICES {
        let path = format!("/v1/services/{service}/instances/{id}");
        everywhere(&engine, &NODES, &format!("{id} passes"), &path, is_in("passing")).await;
    }
    let healthy = |answer: &Value| {
        answer["items"].as_array().is_some_and(|members| {
            members.len() == NODES.len() && members.iter().all(|member| member["state"] == "alive")
        })
    };
    everywhere(&engine, &NODES, "all members alive", "/v1/cluster/members", healthy).await;

    // What is registered on one node is found on every node.
    register(&engine, "node-3", "web-1").await;
    everywhere(&engine, &NODES, "web-1 is there", "/v1/services/web/instances/web-1", |_| true).await;

    // A service that dies is seen everywhere.
    engine.kill("data-analyst-1");
    let path = "/v1/services/data_analyst_agent/instances/data-analyst-1";
    everywhere(&engine, &NODES, "data-analyst-1 fails", path, is_in("critical")).await;
    engine.start("data-analyst-1");
    everywhere(&engine, &NODES, "data-analyst-1 is back", path, is_in("passing")).await;

    // The leader is killed: the others elect another and take writes; it comes back and has what it missed.
    let killed = leader(&engine, &NODES).await;
    engine.kill(killed);
    let rest = others(killed);
    leader(&engine, &rest).await;
    register(&engine, rest[0], "web-2").await;
    engine.start(killed);
    everywhere(&engine, &NODES, "web-2 is there", "/v1/services/web/instances/web-2", |_| true).await;

    // The leader is cut off from the nodes, not from its clients: it answers what it knows, and takes no write.
    let cut = leader(&engine, &NODES).await;
    engine.disconnect(cut);
    let rest = others(cut);
    leader(&engine, &rest).await;
    register(&engine, rest[1], "web-3").await;
    everywhere(&engine, &[cut], "answers of what it knows", "/v1/services/web/instances/web-2", |_| true).await;
    let refused = ask(&engine, cut, Method::PUT, "/v1/services/web/instances/web-4", Some(registration(8080))).await;
    assert!(refused.is_err(), "a node without the others took a write: {refused:?}");
    let missed = get(&engine, cut, "/v1/services/web/instances/web-3").await;
    assert!(missed.is_err(), "a node that is cut off cannot know of web-3: {missed:?}");

    // Healed: every node discovers everything, and all are members again.
    engine.connect(cut);
    for id in ["web-1", "web-2", "web-3"] {
        let path = format!("/v1/services/web/instances/{id}");
        everywhere(&engine, &NODES, &format!("{id} is there"), &path, |_| true).await;
    }
    everywhere(&engine, &NODES, "ready", "/readyz", |_| true).await;
    everywhere(&engine, &NODES, "all members alive", "/v1/cluster/members", healthy).await;
    for (service, id) in SERVICES {
        let path = format!("/v1/services/{service}/instances/{id}");
        everywhere(&engine, &NODES, &format!("{id} passes"), &path, is_in("passing")).await;
    }
}
