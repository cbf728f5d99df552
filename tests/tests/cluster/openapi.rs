//! The published description of the API against the API.

use std::collections::BTreeSet;

use http::Method;
use rollcall_tests::SharedCluster;
use serde_json::Value;

/// Every operation that clients may rely on. The debug route is for tests and is not published.
const OPERATIONS: &[(&str, &[&str])] = &[
    ("/v1/services", &["get"]),
    ("/v1/services/{service}", &["get", "put", "delete"]),
    ("/v1/services/{service}/config", &["get", "put"]),
    ("/v1/services/{service}/instances", &["get", "post"]),
    ("/v1/services/{service}/instances/{}", &["get", "put", "patch", "delete"]),
    ("/v1/services/{service}/instances/{}/drain", &["post"]),
    ("/v1/services/{service}/instances/{}/undrain", &["post"]),
    ("/v1/services/{service}/instances/{}/quarantine", &["post"]),
    ("/v1/services/{service}/instances/{}/release", &["post"]),
    ("/v1/capabilities/{capability}/instances", &["get"]),
    ("/v1/health", &["get"]),
    ("/v1/services/{service}/health", &["get"]),
    ("/v1/sessions", &["get", "post"]),
    ("/v1/sessions/{id}", &["get", "put", "delete"]),
    ("/v1/events", &["get", "post"]),
    ("/v1/kv", &["get"]),
    ("/v1/kv/{key}", &["get", "put", "delete"]),
    ("/v1/watch", &["get"]),
    ("/v1/cluster/events", &["get"]),
    ("/v1/history", &["get"]),
    ("/v1/cluster/snapshot", &["get"]),
    ("/v1/cluster", &["get"]),
    ("/v1/cluster/raft", &["get"]),
    ("/v1/cluster/members", &["get"]),
    ("/v1/cluster/members/{node}", &["delete"]),
    ("/v1/cluster/leave", &["post"]),
    ("/v1/cluster/transfer-leader", &["post"]),
    ("/v1/sd/prometheus", &["get"]),
    ("/livez", &["get"]),
    ("/readyz", &["get"]),
    ("/metrics", &["get"]),
    ("/openapi.json", &["get"]),
];

/// A path with the names of its parameters left out: `/a/{b}` and `/a/{*c}` are both `/a/{}`.
fn anonymous(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn operations(document: &Value) -> BTreeSet<(String, String)> {
    const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];
    let paths = document["paths"].as_object().expect("a description has paths");
    let pairs = paths.iter().flat_map(|(path, item)| {
        let methods = METHODS.into_iter().filter(|method| item.get(method).is_some());
        methods.map(|method| (anonymous(path), method.to_owned()))
    });
    pairs.collect()
}

/// Answers that do not end.
const STREAMS: [&str; 2] = ["/v1/watch", "/v1/cluster/events"];

#[tokio::test(flavor = "multi_thread")]
async fn the_description_lists_every_operation() {
    let cluster = SharedCluster::get().await;
    let document = cluster.node(0).get("/openapi.json").answer().await.expect(200).json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    let listed = operations(&document);
    let expected = OPERATIONS
        .iter()
        .flat_map(|(path, methods)| methods.iter().map(|method| (anonymous(path), (*method).to_owned())));
    let missing: Vec<_> = expected.filter(|operation| !listed.contains(operation)).collect();
    assert!(missing.is_empty(), "not described: {missing:?}\ndescribed: {listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_described_operation_is_there_and_describes_its_answers() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let document = node.get("/openapi.json").answer().await.expect(200).json();
    for (path, item) in document["paths"].as_object().expect("a description has paths") {
        for (method, operation) in item.as_object().expect("a path has operations") {
            let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
            if !matches!(method, Method::GET | Method::PUT | Method::POST | Method::PATCH | Method::DELETE) {
                continue;
            }
            let responses = operation["responses"].as_object().map_or(0, serde_json::Map::len);
            assert!(responses >= 2, "{method} {path} describes success and failure");
            // These would change the cluster, or never end.
            if path.starts_with("/v1/cluster") && method != Method::GET || STREAMS.contains(&path.as_str()) {
                continue;
            }
            let filled: Vec<&str> =
                path.split('/').map(|segment| if segment.starts_with('{') { "described" } else { segment }).collect();
            let answer = node.call(method.clone(), &filled.join("/")).answer().await;
            let code = answer.json_or_null()["code"].clone();
            assert!(code != "not_found" && code != "method_not_allowed", "{method} {path}: {}", answer.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_in_the_description_leads_somewhere() {
    let cluster = SharedCluster::get().await;
    let document = cluster.node(1).get("/openapi.json").answer().await.expect(200).json();
    let mut dangling = Vec::new();
    let mut rest = vec![&document];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    let pointer = reference.trim_start_matches('#');
                    if document.pointer(pointer).is_none() {
                        dangling.push(reference.clone());
                    }
                }
                rest.extend(map.values());
            }
            Value::Array(items) => rest.extend(items),
            _ => {}
        }
    }
    assert!(dangling.is_empty(), "{dangling:?}");
}
