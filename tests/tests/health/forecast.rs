//! An instance that gets slower and slower is known to be failing before it fails.

use std::time::Duration;

use rollcall_tests::{Cluster, Node, Watcher, note, wait_until};
use serde_json::{Value, json};

use crate::support::{Target, all, checked_by_http, health, register, wait_state};

/// Least answers between the prediction and the failure, with buckets of a second: those of six seconds to two probers.
const LEAD_MIN: u32 = 12;

/// Half of the requests, less what chance and a little latency may take.
const FAIR_SHARE: f64 = 0.45;

/// What is left of it for an instance that is predicted to fail, and not for one that is only slower or degrading.
const PREDICTED_SHARE: f64 = 0.42;

/// Longest wait for what the ramp brings, which lasts 45 s.
const RAMP: Duration = Duration::from_secs(180);

/// A registration with a check once a second, whose timeout a slow answer takes long to reach.
fn checked_patiently(port: u16) -> Value {
    let mut body = checked_by_http(port);
    body["checks"][0]["timeout_ms"] = json!(1_000);
    body
}

/// The next instance that a follower of the cluster's events is told to be predicted to fail.
async fn next_prediction(follower: &mut Watcher) -> Value {
    loop {
        let seen = follower.next().await.expect("the stream goes on");
        let items = seen.data["items"].as_array().into_iter().flatten().filter(|_| seen.event == "forecast");
        let mut predicted = items.filter(|item| item["outlook"] == "predicted_failure");
        if let Some(item) = predicted.find(|item| item["service"] == "web") {
            return item.clone();
        }
    }
}

/// Part of the requests that an instance would get from this node, and why.
async fn share(node: &Node, id: &str) -> (f64, String) {
    let told = node.get("/v1/services/web/explain").answer().await.expect(200).json();
    let instance = told["instances"].as_array().into_iter().flatten().find(|it| it["id"] == id);
    let instance = instance.unwrap_or_else(|| panic!("no {id} in {told}"));
    (instance["share"].as_f64().expect("a number"), instance["reasons"].to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_gets_slower_is_predicted_to_fail_on_every_node_before_it_does() {
    let cluster = Cluster::of(3).argument("--forecast-bucket=1s").argument("--forecast-window=20").start().await;
    let (slow, steady) = (Target::start().await, Target::start().await);
    let nodes = all(&cluster);
    register(nodes[0], "slow", &checked_patiently(slow.port())).await;
    register(nodes[0], "steady", &checked_patiently(steady.port())).await;
    wait_state(&nodes, "slow", "passing", &["observed"]).await;
    wait_state(&nodes, "steady", "passing", &["observed"]).await;
    for node in &nodes {
        wait_until(&format!("{} to give both their share", node.name()), RAMP, async || {
            match share(node, "slow").await {
                (share, _) if share > FAIR_SHARE => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    let mut followers = Vec::new();
    for node in &nodes {
        followers.push(Watcher::open_cluster(node).await);
    }
    // 100 ms, and 10 ms more with each of two answers a second: a second after 45 s.
    slow.slow_down(Duration::from_millis(100), Duration::from_millis(10));
    steady.slow_down(Duration::from_millis(100), Duration::ZERO);
    for node in &nodes {
        wait_until(&format!("{} to know that slow will fail", node.name()), RAMP, async || {
            let known = node.get("/v1/services/web/instances/slow").answer().await.json_or_null();
            assert_ne!(known["state"], "critical", "{} knows it too late: {known}", node.name());
            let forecast = &known["forecast"];
            if forecast["outlook"] == "predicted_failure" { Ok(()) } else { Err(forecast.to_string()) }
        })
        .await;
    }
    let predicted = slow.answers();
    for node in &nodes {
        let (now, reasons) = share(node, "slow").await;
        assert!(now < PREDICTED_SHARE, "{}: its share is {now}: {reasons}", node.name());
        assert!(reasons.contains("failure_predicted"), "{}: {reasons}", node.name());
    }
    for node in &nodes {
        let known = node.get("/v1/services/web/instances/slow").answer().await.expect(200).json();
        let forecast = &known["forecast"];
        assert_eq!((&forecast["signal"], &forecast["threshold"]), (&json!("latency"), &json!(1000.0)), "{forecast}");
        assert!(forecast["now"].as_f64() > Some(100.0) && forecast["confidence"].as_f64() >= Some(0.4), "{forecast}");
        note(format_args!("{}: {forecast}", node.name()));
    }
    for node in &nodes {
        let known = node.get("/v1/services/web/instances/steady").answer().await.expect(200).json();
        assert_eq!(known["forecast"], Value::Null, "{known}");
    }
    for (node, follower) in nodes.iter().zip(&mut followers) {
        let told = next_prediction(follower).await;
        assert_eq!(
            (&told["service"], &told["id"], &told["signal"]),
            (&json!("web"), &json!("slow"), &json!("latency"))
        );
        assert_eq!(told["forecast"]["threshold"], json!(1000.0), "{} told {told}", node.name());
    }
    let mut late = Watcher::open_cluster(nodes[0]).await;
    let told = next_prediction(&mut late).await;
    assert_eq!((&told["id"], &told["from"]), (&json!("slow"), &Value::Null), "what stands is told to who comes late");

    wait_until("its check to fail", RAMP, async || {
        let seen = health(nodes[0], "slow").await;
        if seen["state"] == "critical" { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    let lead = slow.answers() - predicted;
    note(format_args!("predicted on every node {lead} answers before it was critical"));
    assert!(lead >= LEAD_MIN, "predicted only {lead} answers before it was critical");
    let told = nodes.iter().filter(|node| node.log().contains("web/slow is predicted to fail: latency")).count();
    assert!(told >= 1, "no node has said so in its log");
    assert!(nodes.iter().all(|node| !node.log().contains("web/steady is")), "a steady service was called failing");
}
