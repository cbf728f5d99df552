//! What Prometheus is told to scrape, and what it finds there.

use std::collections::BTreeSet;

use rollcall_tests::{Node, SharedCluster, registration};
use serde_json::{Value, json};

/// Registers an instance with a metrics page, and returns the revision.
async fn with_page(node: &Node, service: &str, id: &str, tags: &[&str]) -> u64 {
    let mut body = registration(9_100);
    body["metadata"] = json!({"metrics_path": "/internal/metrics", "build-id": "42"});
    body["tags"] = json!(tags);
    body["zone"] = json!("a");
    node.register(service, id, &body).await.expect(201).revision()
}

async fn targets(node: &Node, query: &str) -> Vec<Value> {
    let answer = node.get(&format!("/v1/sd/prometheus{query}")).answer().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"), "Prometheus takes no other");
    answer.json().as_array().expect("a list").clone()
}

fn labels_of<'t>(targets: &'t [Value], label: &str) -> BTreeSet<&'t str> {
    targets.iter().filter_map(|target| target["labels"][label].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_and_every_instance_with_a_metrics_page_is_a_target() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let revision = with_page(node, "scraped", "s-1", &["api", "stable"]).await;
    node.register("scraped", "without-a-page", &registration(9_101)).await.expect(201);
    for reader in cluster.nodes() {
        reader.get(&format!("/v1/services/scraped?min_revision={revision}")).answer().await.expect(200);
        let all = targets(reader, "").await;
        let nodes: Vec<&Value> = all.iter().filter(|it| it["labels"]["__meta_rollcall_role"] == "node").collect();
        assert_eq!(nodes.len(), cluster.nodes().len());
        for own in cluster.nodes() {
            let at = own.url().trim_start_matches("http://").to_owned();
            let found = nodes.iter().find(|it| it["targets"] == json!([at])).unwrap_or_else(|| panic!("{at}: {all:?}"));
            assert_eq!(found["labels"]["__metrics_path__"], "/metrics");
            assert_eq!(found["labels"]["__meta_rollcall_node"], own.name());
        }
        let found = all.iter().find(|it| it["labels"]["__meta_rollcall_instance"] == "s-1").expect("s-1 is a target");
        assert_eq!(
            *found,
            json!({"targets": ["127.0.0.1:9100"], "labels": {
                "__scheme__": "http",
                "__metrics_path__": "/internal/metrics",
                "__meta_rollcall_role": "instance",
                "__meta_rollcall_service": "scraped",
                "__meta_rollcall_instance": "s-1",
                "__meta_rollcall_zone": "a",
                "__meta_rollcall_tags": ",api,stable,",
                "__meta_rollcall_state": "passing",
                "__meta_rollcall_metadata_metrics_path": "/internal/metrics",
                "__meta_rollcall_metadata_build_id": "42",
            }})
        );
        assert!(!labels_of(&all, "__meta_rollcall_instance").contains("without-a-page"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_narrowed_by_service_tag_and_role() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    with_page(node, "narrow-a", "a-1", &["api"]).await;
    with_page(node, "narrow-b", "b-1", &["api", "canary"]).await;
    let instances = async |query: &str| {
        let found = targets(node, query).await;
        assert!(!labels_of(&found, "__meta_rollcall_role").contains("node"), "{query}: {found:?}");
        labels_of(&found, "__meta_rollcall_instance").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(instances("?service=narrow-a").await, ["a-1"]);
    assert_eq!(instances("?service=narrow-a,narrow-b&tag=api").await, ["a-1", "b-1"]);
    assert_eq!(instances("?service=narrow-a,narrow-b&tag=api,canary").await, ["b-1"]);
    assert_eq!(instances("?service=nobody").await, [""; 0]);
    assert_eq!(labels_of(&targets(node, "?role=node").await, "__meta_rollcall_role"), BTreeSet::from(["node"]));
    assert!(!labels_of(&targets(node, "?role=instance").await, "__meta_rollcall_role").contains("node"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_filter_is_refused_by_its_name() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    for (query, name) in [("?service=%20", "service"), ("?tag=a,,b", "tag"), ("?role=boss", "role"), ("?x=1", "x")] {
        let answer = node.get(&format!("/v1/sd/prometheus{query}")).answer().await;
        assert!((400..500).contains(&answer.status), "{query} answered {}", answer.status);
        assert!(answer.text().contains(name), "{query}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_a_node_is_described() {
    let cluster = SharedCluster::get().await;
    let reference = include_str!("../../../docs/metrics.md");
    for node in cluster.nodes() {
        let page = node.get("/metrics").answer().await.expect(200).text();
        let typed: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, _)| name)
            .collect();
        for name in &typed {
            assert!(reference.contains(&format!("| `{name}` |")), "{name} is not in docs/metrics.md");
            assert!(page.contains(&format!("# HELP {name} ")), "{name} has no help");
        }
        for name in ["rollcall_raft_has_quorum", "rollcall_health_instances", "process_open_fds", "rollcall_build_info"]
        {
            assert!(typed.contains(&name), "{name} is missing: {typed:?}");
        }
    }
}
