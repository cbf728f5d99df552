//! Who needs whom, and what a failure would take with it, asked of a running cluster.

use rollcall_tests::{Node, SharedCluster, registration, rollcall};
use serde_json::{Value, json};

/// A service that offers and requires, with an instance.
async fn add(node: &Node, service: &str, offers: &[&str], requires: &[&str]) -> u64 {
    let definition = json!({"capabilities": offers, "required_capabilities": requires});
    node.put(&format!("/v1/services/{service}")).json(&definition).answer().await.expect(201);
    node.register(service, "i-1", &registration(1)).await.expect(201).revision()
}

/// The names of services that begin with `graph-` in a list of hits.
fn services(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|hit| hit["service"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_tells_who_needs_whom_and_what_a_failure_takes_with_it() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    add(node, "Graph-db", &["graph_storage"], &[]).await;
    add(node, "graph-pay", &["graph_payment"], &["graph_storage"]).await;
    let revision = add(node, "graph-web", &[], &["graph_payment", "graph_mail"]).await;
    for reader in cluster.nodes() {
        let path = format!("/v1/graph?blast=service:graph-DB&min_revision={revision}");
        let graph = reader.get(&path).answer().await.expect(200).json();
        let edges = graph["edges"].as_array().expect("edges are a list");
        let edge = |caller: &str, callee: &str, capability: &str| {
            edges.contains(&json!({"caller": caller, "callee": callee, "capability": capability}))
        };
        assert!(edge("graph-web", "graph-pay", "graph_payment"), "{graph}");
        assert!(edge("graph-pay", "graph-db", "graph_storage"), "{graph}");
        let missing = json!({"capability": "graph_mail", "callers": ["graph-web"], "sick": []});
        assert!(graph["missing"].as_array().is_some_and(|all| all.contains(&missing)), "{graph}");
        assert_eq!(graph["blast"]["of"], "service:graph-db");
        assert_eq!(services(&graph["blast"]["lost"]), ["graph-db", "graph-pay"], "web did not work before either");
        assert_eq!(graph["revision"].as_u64().map(|it| it >= revision), Some(true));
    }
    let via = format!("/v1/graph?blast=node:{}&min_revision={revision}", node.name());
    let blast = cluster.node(1).get(&via).answer().await.expect(200).json();
    assert!(services(&blast["blast"]["lost"]).contains(&"graph-db"), "registered through that node: {blast}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_is_drawn_for_graphviz_and_for_people() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    add(node, "draw-a", &["draw_a"], &["draw_b"]).await;
    let revision = add(node, "draw-b", &["draw_b"], &["draw_a"]).await;
    let dot = node.get(&format!("/v1/graph?format=dot&min_revision={revision}")).answer().await.expect(200);
    assert_eq!(dot.header("content-type"), Some("text/vnd.graphviz"));
    assert!(dot.text().contains("\"draw-a\" -> \"draw-b\" [label=\"draw_b\"];"), "{}", dot.text());
    let printed = rollcall(["graph", "--dot", "--server", &node.url()]).await;
    assert!(printed.stdout.contains("\"draw-b\" -> \"draw-a\""), "{printed:?}");
    let told = rollcall(["graph", "--server", &node.url()]).await;
    assert!(told.stdout.contains("These need each other:\n") && told.stdout.contains("  draw-a, draw-b\n"), "{told:?}");
    let blast = rollcall(["graph", "--blast", "service:draw-a", "--server", &node.url()]).await;
    assert!(blast.stdout.starts_with("if service draw-a fails, 2 stop and "), "{blast:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_fail_is_refused_by_name() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    let refused = async |blast: &str, status: u16| {
        node.get(&format!("/v1/graph?blast={blast}")).answer().await.expect(status).code()
    };
    assert_eq!(refused("service:graph-nowhere", 404).await, "service_not_found");
    assert_eq!(refused("node:nobody", 404).await, "member_not_found");
    for nonsense in ["db", "rack:7", "service:", "node:a%20b"] {
        assert_eq!(refused(nonsense, 400).await, "invalid_parameter", "{nonsense}");
    }
    let idle = node.get("/v1/graph?format=svg").answer().await.expect(400).json();
    assert_eq!(idle["errors"][0]["field"], "format", "{idle}");
}
