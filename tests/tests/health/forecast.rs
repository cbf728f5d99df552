//! An instance that gets slower and slower is known to be failing before it fails.

use std::time::{Duration, Instant};

use rollcall_tests::{Cluster, note, wait_until};
use serde_json::{Value, json};

use crate::support::{Target, all, checked_by_http, health, register, wait_state};

/// Least time between the prediction and the failure, with buckets of a second: a minute with buckets of 10 s.
const LEAD_MIN: Duration = Duration::from_secs(6);

/// Longest wait for what the ramp brings, which lasts 45 s.
const RAMP: Duration = Duration::from_secs(120);

/// A registration with a check once a second, whose timeout a slow answer takes long to reach.
fn checked_patiently(port: u16) -> Value {
    let mut body = checked_by_http(port);
    body["checks"][0]["timeout_ms"] = json!(1_000);
    body
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

    // 100 ms, and 20 ms more each second: a second after 45 s.
    slow.slow_down(Duration::from_millis(100), 0.02);
    steady.slow_down(Duration::from_millis(100), 0.0);
    for node in &nodes {
        wait_until(&format!("{} to know that slow will fail", node.name()), RAMP, async || {
            let known = node.get("/v1/services/web/instances/slow").answer().await.json_or_null();
            assert_ne!(known["state"], "critical", "{} knows it too late: {known}", node.name());
            let forecast = &known["forecast"];
            if forecast["outlook"] == "predicted_failure" { Ok(()) } else { Err(forecast.to_string()) }
        })
        .await;
    }
    let predicted = Instant::now();
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

    wait_until("its check to fail", RAMP, async || {
        let seen = health(nodes[0], "slow").await;
        if seen["state"] == "critical" { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    let lead = predicted.elapsed();
    note(format_args!("predicted on every node {:.1} s before it was critical", lead.as_secs_f64()));
    assert!(lead >= LEAD_MIN, "predicted only {lead:?} before it was critical");
    let told = nodes.iter().filter(|node| node.log().contains("web/slow is predicted to fail: latency")).count();
    assert!(told >= 1, "no node has said so in its log");
    assert!(nodes.iter().all(|node| !node.log().contains("web/steady is")), "a steady service was called failing");
}
