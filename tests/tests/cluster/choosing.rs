//! How instances are chosen is up to the service, and the same at every door: HTTP, the command line, DNS.

use std::collections::BTreeSet;

use hickory_resolver::proto::rr::RecordType;
use reqwest::Method;
use rollcall_tests::{Call, DEADLINE, Node, SharedCluster, rollcall, wait_until};
use serde_json::{Value, json};

use crate::dns::{instance, lookup, resolved};

/// Enough that whoever is picked once in a while is.
const SELECTS: usize = 200;

/// `host:port` of the picks of an answer.
fn endpoints(answer: &Value) -> BTreeSet<String> {
    let picks = answer["picks"].as_array().unwrap_or_else(|| panic!("no picks in {answer}"));
    let endpoint = |pick: &Value| {
        let endpoint = &pick["endpoints"][0];
        format!("{}:{}", endpoint["host"].as_str().unwrap_or_default(), endpoint["port"])
    };
    picks.iter().map(endpoint).collect()
}

async fn answer(call: Call, body: &Value) -> Value {
    call.json(body).answer().await.expect(200).json()
}

async fn select(node: &Node, service: &str, body: &Value) -> Value {
    answer(node.post(&format!("/v1/services/{service}/select")), body).await
}

/// Defines a service and waits until every node has it.
async fn define(cluster: &SharedCluster, service: &str, definition: &Value) {
    let defined = cluster.node(0).put(&format!("/v1/services/{service}")).json(definition).answer().await;
    assert!(matches!(defined.status, 200 | 201), "{}", defined.text());
    cluster.wait_caught_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_gives_the_same_set_at_every_door() {
    let cluster = SharedCluster::get().await;
    for last in 1..=4 {
        let body = instance(&format!("10.7.0.{last}"), 8000 + last);
        cluster.node(0).register("door", &format!("i-{last}"), &body).await.expect(201);
    }
    cluster.node(1).post("/v1/services/door/instances/i-3/drain").answer().await.expect(200);
    define(&cluster, "door", &json!({"capabilities": ["door.open"], "selection": {"strategy": "round_robin"}})).await;
    let expected: BTreeSet<String> = [1, 2, 4].map(|last| format!("10.7.0.{last}:{}", 8000 + last)).into();
    for node in cluster.nodes() {
        let all = json!({"n": 100});
        let named = json!({"n": 100, "capability": "door.open"});
        assert_eq!(endpoints(&select(node, "door", &all).await), expected);
        assert_eq!(endpoints(&answer(node.post("/v1/capabilities/door.open/select"), &all).await), expected);
        assert_eq!(endpoints(&answer(node.post("/v1/select"), &named).await), expected);
        for among in [["door", "--count=100"], ["--capability=door.open", "--count=100"]] {
            let url = node.url();
            let command = [&["select"], &among[..], &["--output", "json", "--server", &url]].concat();
            let told = rollcall(command).await;
            let told = serde_json::from_str(&told.stdout).unwrap_or_else(|_| panic!("{}", told.stderr));
            assert_eq!(endpoints(&told), expected);
        }
        assert_eq!(resolved(node, "door").await, expected);
        let passing = node.consul(Method::GET, "/v1/health/service/door?passing").answer().await.expect(200).json();
        let entries = passing.as_array().unwrap_or_else(|| panic!("a list: {passing}"));
        let address = |entry: &Value| {
            let service = &entry["Service"];
            format!("{}:{}", service["Address"].as_str().unwrap_or_default(), service["Port"])
        };
        assert_eq!(entries.iter().map(address).collect::<BTreeSet<_>>(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_was_told_to_take_out_no_node_picks_once_it_has_heard() {
    let cluster = SharedCluster::get().await;
    for id in ["stays", "drained", "shut", "gone"] {
        cluster.node(0).register("taken", id, &instance("10.8.0.1", 80)).await.expect(201);
    }
    cluster.wait_caught_up().await;
    let instances = "/v1/services/taken/instances";
    let picks = async |node: &Node, id: &str, body: Value| {
        let answer = select(node, "taken", &body).await;
        let picks = answer["picks"].as_array().cloned().unwrap_or_default();
        picks.iter().any(|pick| pick["id"] == id)
    };
    for (id, told_to, decision) in [("drained", 0, "/drain"), ("shut", 1, "/quarantine"), ("gone", 2, "")] {
        for node in cluster.nodes() {
            assert!(picks(node, id, json!({"n": 4})).await, "{} picks {id} before", node.name());
        }
        let (node, path) = (cluster.node(told_to), format!("{instances}/{id}{decision}"));
        match decision {
            "/drain" => node.post(&path).answer().await.expect(200),
            "/quarantine" => node.post(&path).json(&json!({"ttl_ms": 600_000})).answer().await.expect(200),
            _ => node.delete(&path).answer().await.expect(204),
        };
        for node in cluster.nodes() {
            wait_until(&format!("the last pick of {id} by {}", node.name()), DEADLINE, async || {
                if picks(node, id, json!({"n": 4})).await { Err("picked".to_owned()) } else { Ok(()) }
            })
            .await;
        }
        for node in cluster.nodes() {
            for pick in 0..SELECTS {
                let strategy = ["scored", "random", "round_robin", "least_connections"][pick % 4];
                let body = json!({"strategy": strategy, "fail_open": pick % 8 < 4});
                assert!(!picks(node, id, body).await, "{} picked {id} again", node.name());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_says_how_it_is_chosen_from_and_a_request_may_say_otherwise() {
    let cluster = SharedCluster::get().await;
    for last in 1..=2 {
        let body = instance(&format!("10.9.0.{last}"), 80);
        cluster.node(0).register("policy", &format!("i-{last}"), &body).await.expect(201);
    }
    let selection = json!({"strategy": "round_robin", "weights": {"cost": 2}, "tie_band": 0.02, "dns_ttl_ms": 7_000});
    define(&cluster, "policy", &json!({"capabilities": ["policy.a"], "selection": selection})).await;
    for node in cluster.nodes() {
        let told = select(node, "policy", &json!({"explain": true})).await;
        assert_eq!(told["strategy"], "round_robin", "{told}");
        let by = json!({
            "strategy": "service", "weights": "service", "tie_band": "service", "fail_open": "default", "subset": "default"
        });
        assert_eq!(told["explanation"]["decided_by"], by);
        let terms = told["explanation"]["instances"][0]["terms"].as_array().expect("it has terms").clone();
        let weights: Vec<f64> = terms.iter().filter_map(|term| term["weight"].as_f64()).collect();
        assert_eq!(weights, [0.0, 0.0, 0.0, 0.0, 1.0]);
        let asked = json!({"strategy": "random", "weights": {"load": 1}, "fail_open": false, "explain": true});
        let told = select(node, "policy", &asked).await;
        assert_eq!(
            (&told["strategy"], &told["explanation"]["instances"][0]["terms"][0]["weight"]),
            (&json!("random"), &json!(1.0))
        );
        assert_eq!(told["explanation"]["decided_by"]["weights"], "request");
        let records = lookup(node, "policy.service.rollcall", RecordType::A).await.expect("records");
        assert_eq!(records.iter().map(|record| record.ttl).collect::<Vec<_>>(), [7, 7]);
    }
    let shown = rollcall(["explain", "policy", "--server", &cluster.node(1).url()]).await;
    assert!(shown.stdout.contains("strategy round_robin (strategy by the service"), "{}", shown.stdout);
    // Of the services that offer a capability, those that say nothing have a say too.
    cluster.node(0).register("policy-silent", "i-1", &instance("10.9.0.3", 80)).await.expect(201);
    define(&cluster, "policy-silent", &json!({"capabilities": ["policy.a"]})).await;
    let among = answer(cluster.node(2).post("/v1/capabilities/policy.a/select"), &json!({"n": 9})).await;
    assert_eq!((&among["strategy"], endpoints(&among).len()), (&json!("scored"), 3));
    define(&cluster, "policy", &json!({})).await;
    assert_eq!(select(cluster.node(1), "policy", &json!({})).await["strategy"], "scored");
    let records = lookup(cluster.node(1), "policy.service.rollcall", RecordType::A).await.expect("records");
    assert_eq!(records[0].ttl, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_means_nothing_is_refused_with_the_field() {
    let cluster = SharedCluster::get().await;
    let fields = async |selection: Value| -> Vec<String> {
        let body = json!({"selection": selection});
        let refused = cluster.node(0).put("/v1/services/policy-bad").json(&body).answer().await.expect(422).json();
        let errors = refused["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap_or("?").to_owned()).collect()
    };
    assert_eq!(
        fields(json!({"weights": {"load": -1, "cost": "NaN"}})).await,
        ["selection.weights.load", "selection.weights.cost"]
    );
    assert_eq!(fields(json!({"weights": {"load": 0}})).await, ["selection.weights"]);
    let wrong = json!({"strategy": "best", "tie_band": 2, "dns_ttl_ms": 1});
    assert_eq!(fields(wrong).await, ["selection.strategy", "selection.tie_band", "selection.dns_ttl_ms"]);
    let twice = cluster.node(0).post("/v1/capabilities/a/select").json(&json!({"capability": "a"})).answer().await;
    assert_eq!(twice.expect(422).json()["errors"][0]["field"], "capability");
    assert_eq!(
        cluster.node(0).post("/v1/capabilities/policy.none/select").answer().await.expect(404).code(),
        "capability_not_found"
    );
}
