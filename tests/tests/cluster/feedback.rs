//! What callers report to one node changes what all nodes select, and no single caller can do much.
//!
//! A reporter is an address, so each caller here has one of its own in 127.0.0.0/8.

use std::net::Ipv4Addr;

use rollcall_tests::{DEADLINE, Node, SharedCluster, metric, registration, wait_until};
use serde_json::{Value, json};

/// So many instances `i-0`, `i-1` … of a service; the revision of the last.
async fn instances(node: &Node, service: &str, count: u16) -> u64 {
    let mut revision = 0;
    for number in 0..count {
        let body = registration(number + 1);
        revision = node.register(service, &format!("i-{number}"), &body).await.expect(201).revision();
    }
    revision
}

/// So many equal reports.
fn reports(service: &str, instance: &str, ok: bool, latency_ms: u64, count: usize) -> Value {
    let report = json!({"service": service, "instance": instance, "ok": ok, "latency_ms": latency_ms});
    json!({"items": vec![report; count]})
}

async fn report(node: &Node, caller: Ipv4Addr, body: &Value) -> Value {
    node.post_from(caller, "/v1/reports").json(body).answer().await.expect(202).json()
}

/// Waits until a node knows the instances of a service, which whoever reports at it needs.
async fn reach(node: &Node, revision: u64) {
    node.get(&format!("/v1/services?limit=1&min_revision={revision}")).answer().await.expect(200);
}

/// What a node knows of an instance, once it is as it should be.
async fn known(node: &Node, service: &str, instance: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let what = format!("{} knows what is reported of {instance}", node.name());
    let path = format!("/v1/services/{service}/feedback");
    wait_until(&what, DEADLINE, async || {
        let items = node.get(&path).answer().await.expect(200).items();
        match items.into_iter().find(|item| item["instance"] == instance) {
            Some(item) if is_so(&item) => Ok(item),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// Why a node would select an instance or not.
async fn reasons(node: &Node, service: &str, instance: &str) -> Vec<String> {
    let explained = node.get(&format!("/v1/services/{service}/explain")).answer().await.expect(200).json();
    let lines = explained["instances"].as_array().cloned().unwrap_or_default();
    let line = lines.into_iter().find(|line| line["id"] == instance).expect("every instance is explained");
    let codes = line["reasons"].as_array().cloned().unwrap_or_default();
    codes.iter().filter_map(|reason| reason["code"].as_str().map(str::to_owned)).collect()
}

fn samples(item: &Value) -> f64 {
    item["performance"]["samples"].as_f64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_to_one_node_is_known_to_all() {
    let cluster = SharedCluster::get().await;
    let revision = instances(cluster.node(0), "feedback-told", 1).await;
    reach(cluster.node(0), revision).await;
    let body = json!({"items": [
        {"service": "feedback-told", "instance": "i-0", "ok": true, "latency_ms": 40, "context": "search"},
        {"service": "Feedback-Told", "instance": "i-0", "ok": false, "latency_ms": 60},
        {"service": "feedback-told", "instance": "nobody", "ok": true, "latency_ms": 1},
    ]});
    let reply = report(cluster.node(0), Ipv4Addr::new(127, 0, 1, 1), &body).await;
    assert_eq!(reply, json!({"counted": 2, "unknown": 1}));
    for reader in cluster.nodes() {
        let item = known(reader, "feedback-told", "i-0", |item| samples(item) > 0.0).await;
        let performance = &item["performance"];
        assert_eq!((&performance["latency_ms"], &performance["success"]), (&json!(50.0), &json!(0.5)), "{item}");
        assert_eq!((&item["reporters"], &item["ejected_until"]), (&json!(1), &Value::Null));
        let context = &item["contexts"][0];
        assert_eq!((&context["context"], &context["latency_ms"]), (&json!("search"), &json!(40.0)), "{item}");
        let codes = reasons(reader, "feedback-told", "i-0").await;
        assert!(!codes.contains(&"performance_unknown".to_owned()), "{codes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_reported_as_slow_is_selected_less_on_every_node() {
    let cluster = SharedCluster::get().await;
    let revision = instances(cluster.node(0), "feedback-slow", 3).await;
    for (index, node) in cluster.nodes().iter().enumerate() {
        reach(node, revision).await;
        for caller in 1..=2 {
            let caller = Ipv4Addr::new(127, 0, 2, index as u8 * 2 + caller);
            for (instance, latency) in [("i-0", 50), ("i-1", 150), ("i-2", 50)] {
                report(node, caller, &reports("feedback-slow", instance, true, latency, 10)).await;
            }
        }
    }
    for node in cluster.nodes() {
        // Of six reporters some may fall into the same place and count as one.
        for instance in ["i-0", "i-1", "i-2"] {
            known(node, "feedback-slow", instance, |item| samples(item) >= 15.0).await;
        }
        let mut picks = [0; 3];
        for _ in 0..150 {
            let selected = node.post("/v1/services/feedback-slow/select").answer().await.expect(200).json();
            let id = selected["picks"][0]["id"].as_str().expect("a pick has an id").to_owned();
            picks[usize::from(id.as_bytes()[2] - b'0')] += 1;
        }
        assert!(picks[1] < picks[0] && picks[1] < picks[2], "{picks:?} on {}", node.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reporter_alone_ejects_nobody_and_three_do() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    let revision = instances(node, "feedback-eject", 10).await;
    reach(node, revision).await;
    let failures = reports("feedback-eject", "i-3", false, 20, 10);
    let caller = |number: u8| Ipv4Addr::new(127, 0, 3, number);
    for _ in 0..20 {
        report(node, caller(1), &failures).await;
    }
    // What is told was reviewed before.
    for reader in cluster.nodes() {
        let item = known(reader, "feedback-eject", "i-3", |item| samples(item) > 0.0).await;
        assert_eq!(item["ejected_until"], Value::Null, "{item}");
        assert!(samples(&item) <= 5.0, "however much it says, it counts for five requests: {item}");
    }
    for number in [2, 3] {
        report(node, caller(number), &failures).await;
    }
    for reader in cluster.nodes() {
        known(reader, "feedback-eject", "i-3", |item| item["ejected_until"].is_string()).await;
        let mut left =
            reader.post("/v1/services/feedback-eject/select").json(&json!({"n": 10})).answer().await.expect(200).json();
        let picks = left["picks"].take();
        let ids: Vec<&str> = picks.as_array().into_iter().flatten().filter_map(|pick| pick["id"].as_str()).collect();
        assert!(ids.len() == 9 && !ids.contains(&"i-3"), "{ids:?}");
        assert!(reasons(reader, "feedback-eject", "i-3").await.contains(&"ejected".to_owned()));
    }
    assert!(metric(&node.metrics().await, "rollcall_feedback_ejections_total", &[]) >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_reports_is_refused_and_counted_and_holds_up_nobody_else() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    let revision = instances(node, "feedback-flood", 1).await;
    reach(node, revision).await;
    let flood = reports("feedback-flood", "i-0", true, 1, 1_000);
    let (flooder, other) = (Ipv4Addr::new(127, 0, 4, 1), Ipv4Addr::new(127, 0, 4, 2));
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(node.post_from(flooder, "/v1/reports").json(&flood).send());
    }
    let answers = futures_util::future::join_all(calls).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("a node answers")).collect();
    let refused = answers.iter().find(|answer| answer.status == 429).expect("ten thousand at once are too many");
    assert_eq!(refused.code(), "too_many_requests");
    assert!(refused.json()["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert!(answers.iter().filter(|answer| answer.status == 202).count() >= 2, "a burst is taken");
    assert!(metric(&node.metrics().await, "rollcall_feedback_reports_total", &["outcome=\"limited\""]) >= 1_000.0);
    report(node, other, &reports("feedback-flood", "i-0", true, 1, 1_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_in_a_heartbeat_is_known_to_all_nodes() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let mut body = registration(1);
    body["lease"] = json!({"ttl_ms": 60_000});
    let revision = node.register("feedback-load", "i-0", &body).await.expect(201).revision();
    let load = json!({"load": {"cpu": 0.25, "memory": 0.5, "inflight": 7, "capacity": 64}});
    let path = format!("/v1/services/feedback-load/instances/i-0/lease?min_revision={revision}");
    node.put(&path).json(&load).answer().await.expect(200);
    for reader in cluster.nodes() {
        let item = known(reader, "feedback-load", "i-0", |item| item["load"].is_object()).await;
        let load = &item["load"];
        assert_eq!(
            (&load["inflight"], &load["capacity"], &load["used"]),
            (&json!(7), &json!(64), &json!(0.5)),
            "{item}"
        );
        assert_eq!(item["performance"], Value::Null);
    }
    let more = json!({"items": [{"service": "feedback-load", "id": "i-0", "load": {"inflight": 40}}]});
    cluster.node(1).post("/v1/leases/renew").json(&more).answer().await.expect(200);
    known(node, "feedback-load", "i-0", |item| item["load"]["inflight"] == 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_break_rules_are_refused_with_every_field() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let body = json!({"items": [{"service": "web", "instance": "1", "ok": "yes", "latency_ms": 1}]});
    let typed = node.post("/v1/reports").json(&body).answer().await.expect(422).json();
    assert_eq!(typed["errors"][0]["field"], "items[0].ok", "{typed}");
    let body = json!({"items": [{"service": "a b", "instance": "1", "ok": true, "latency_ms": -1}]});
    let ruled = node.post("/v1/reports").json(&body).answer().await.expect(422).json();
    let fields: Vec<_> = ruled["errors"].as_array().into_iter().flatten().map(|error| error["field"].clone()).collect();
    assert_eq!(fields, ["items[0].service", "items[0].latency_ms"]);
    let many = node.post("/v1/reports").json(&reports("web", "1", true, 1, 1_001)).answer().await.expect(422).json();
    assert_eq!(many["errors"][0]["field"], "items");
    assert_eq!(node.get("/v1/services/feedback-none/feedback").answer().await.expect(404).code(), "service_not_found");
}
