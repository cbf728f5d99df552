//! Checks of one capability alone.

use rollcall_tests::{Cluster, DEADLINE, Node, wait_until};
use serde_json::json;

use crate::support::{Target, all, checked_by_http, register, wait_state};

/// Ids of the instances that a node names for a capability.
async fn offering(node: &Node, capability: &str) -> Vec<String> {
    let path = format!("/v1/capabilities/{capability}/instances?health=healthy");
    let list = node.get(&path).answer().await.expect(200).json();
    let items = list["items"].as_array().into_iter().flatten();
    items.filter_map(|item| Some(item["id"].as_str()?.to_owned())).collect()
}

async fn wait_offering(nodes: &[&Node], capability: &str, expected: &[&str]) {
    for node in nodes {
        wait_until(&format!("{} to name {expected:?} for {capability}", node.name()), DEADLINE, async || {
            let named = offering(node, capability).await;
            if named == expected { Ok(()) } else { Err(format!("{named:?}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_capability_fails_is_left_out_for_that_alone() {
    let cluster = Cluster::start(3).await;
    let (whole, mut printer) = (Target::start().await, Target::start().await);
    let nodes = all(&cluster);
    let definition = json!({"capabilities": ["print", "scan"]});
    nodes[0].put("/v1/services/web").json(&definition).answer().await.expect(201);
    let mut registration = checked_by_http(whole.port());
    let mut check = checked_by_http(printer.port())["checks"][0].clone();
    (check["id"], check["capability"]) = (json!("printer"), json!("print"));
    registration["checks"].as_array_mut().expect("it has checks").push(check);
    register(nodes[0], "web-1", &registration).await;
    wait_state(&nodes, "web-1", "passing", &["observed"]).await;
    wait_offering(&nodes, "print", &["web-1"]).await;

    printer.kill().await;
    wait_offering(&nodes, "print", &[]).await;
    wait_offering(&nodes, "scan", &["web-1"]).await;
    wait_state(&nodes, "web-1", "warning", &["observed"]).await;
    for node in &nodes {
        let select = async |path: &str, capability: Option<&str>| {
            node.post(path).json(&json!({"capability": capability})).answer().await
        };
        let out = select("/v1/select", Some("print")).await.expect(503);
        assert_eq!(
            (out.code().as_str(), &out.json()["reasons"]),
            ("no_fitting_instance", &json!({"capability_missing": 1}))
        );
        select("/v1/capabilities/print/select", None).await.expect(503);
        for (path, capability) in [("/v1/select", Some("scan")), ("/v1/services/web/select", None)] {
            let picked = select(path, capability).await.expect(200).json();
            assert_eq!(picked["picks"][0]["id"], "web-1", "{path}: {picked}");
        }
    }
    let shown = nodes[1].get("/v1/services/web/instances/web-1").answer().await.expect(200).json();
    assert_eq!(shown["capabilities_down"], json!(["print"]), "{shown}");

    printer.revive().await;
    wait_offering(&nodes, "print", &["web-1"]).await;
    wait_state(&nodes, "web-1", "passing", &["observed"]).await;
}
