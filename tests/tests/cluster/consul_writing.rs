//! Consul's API, written to: in whatever way clients write it, on any node, answered in Consul's words.

use http::Method;
use rollcall_tests::{Cluster, DEADLINE, Node, SharedCluster, wait_until};
use serde_json::{Value, json};

use crate::consul_calls::{put, said, seen};

/// A write that is done: 200 and nothing else, as clients of Go want it.
async fn done(node: &Node, path: &str, body: &str) {
    let answer = put(node, path, body).await.expect(200);
    assert_eq!(answer.text(), "", "{}", answer.line);
}

async fn register(node: &Node, body: &Value) {
    done(node, "/v1/agent/service/register", &body.to_string()).await;
}

/// Waits until a node shows the instances of a service that pass all their checks.
async fn wait_passing(node: &Node, service: &str, expected: &[&str]) {
    wait_until(&format!("{service} at {} to be {expected:?}", node.name()), DEADLINE, async || {
        let entries = seen(node, &format!("/v1/health/service/{service}?passing")).await;
        let ids: Vec<&Value> = entries.as_array().expect("a list").iter().map(|it| &it["Service"]["ID"]).collect();
        if ids == expected { Ok(()) } else { Err(entries.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_body_is_read_whatever_its_type_its_spelling_and_its_end() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let bodies = [
        ("application/json", r#"{"ID":"spelt-1","Name":"spelt","Port":80,"Check":null,"Tags":null,"Meta":null}"#),
        ("text/plain", "{\"id\":\"spelt-1\",\"name\":\"spelt\",\"port\":80}\n"),
        ("application/x-www-form-urlencoded", r#"{"Id":"spelt-1","NAME":"spelt","PORT":80,"checks":null,"Future":1}"#),
    ];
    for (kind, body) in bodies {
        let call = node.consul(Method::PUT, "/v1/agent/service/register").header("content-type", kind).body(body);
        assert_eq!(call.answer().await.expect(200).text(), "");
        let service = seen(node, "/v1/agent/service/spelt-1").await;
        assert_eq!((&service["Service"], &service["Port"]), (&json!("spelt"), &json!(80)));
    }
    let broken = put(node, "/v1/agent/service/register", r#"{"Name":"x","Check":{"TTL":[]}}"#).await;
    assert_eq!(broken.status, 400);
    assert!(broken.text().contains("Check.TTL"), "{}", broken.text());
    said(&put(node, "/v1/agent/service/register", "{}").await, 400, "Missing service name");
    done(node, "/v1/agent/service/deregister/spelt-1", "").await;
}

#[tokio::test]
async fn a_registration_that_is_equal_changes_nothing_and_another_keeps_checks_unless_it_replaces_them() {
    let cluster = SharedCluster::get().await;
    let (node, other) = (cluster.node(0), cluster.node(1));
    let body = json!({"ID": "again-1", "Name": "again", "Port": 80, "Check": {"TTL": "60s"}});
    let revision = async |node: &Node| {
        let path = "/v1/services/again/instances/again-1?consistency=linearizable";
        node.get(path).answer().await.expect(200).json()["revision"].clone()
    };
    register(node, &body).await;
    let first = revision(node).await;
    register(other, &body).await;
    assert_eq!(revision(node).await, first);

    let extra = json!({"ID": "again-extra", "Name": "extra", "ServiceID": "again-1", "TTL": "60s"});
    done(other, "/v1/agent/check/register", &extra.to_string()).await;
    let checks = async || -> Vec<Value> {
        let path = "/v1/services/again/instances/again-1?consistency=linearizable";
        let checks = node.get(path).answer().await.expect(200).json()["checks"].clone();
        checks.as_array().expect("a list").iter().map(|check| check["id"].clone()).collect()
    };
    register(node, &body).await;
    assert_eq!(checks().await, ["service:again-1", "again-extra"]);
    done(node, "/v1/agent/service/register?replace-existing-checks=true", &body.to_string()).await;
    assert_eq!(checks().await, ["service:again-1"]);
    done(node, "/v1/agent/service/deregister/again-1", "").await;
}

#[tokio::test]
async fn ids_in_paths_may_hold_anything_and_every_node_finds_them() {
    let cluster = SharedCluster::get().await;
    let [first, second, third] = [0, 1, 2].map(|index| cluster.node(index));
    for (id, path) in [("odd:10.0.0.7:80", "odd:10.0.0.7:80"), ("odd/pg#0", "odd/pg%230"), ("odd ü", "odd%20%C3%BC")] {
        register(first, &json!({"ID": id, "Name": "odd", "Port": 80, "Check": {"ttl": "60s"}})).await;
        wait_passing(second, "odd", &[]).await;
        done(second, &format!("/v1/agent/check/pass/service:{path}?note=it%20works"), "").await;
        wait_passing(third, "odd", &[id]).await;
        let update = r#"{"Status":"warning","Output":"warm"}"#;
        done(second, &format!("/v1/agent/check/update/service:{path}"), update).await;
        wait_passing(third, "odd", &[]).await;
        done(third, &format!("/v1/agent/service/deregister/{path}"), "").await;
        let gone = third.consul(Method::GET, &format!("/v1/agent/service/{path}")).answer().await;
        said(&gone, 404, &format!("unknown service ID: {id}"));
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_words_that_clients_compare() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    let unknown_service = "Unknown service ID \"nobody\". Ensure that the service ID is passed, not the service name.";
    let unknown_check = "Unknown check ID \"nobody\". Ensure that the check ID is passed, not the check name.";
    said(&put(node, "/v1/agent/service/deregister/nobody", "").await, 404, unknown_service);
    said(&put(node, "/v1/agent/service/maintenance/nobody?enable=true", "").await, 404, unknown_service);
    said(&put(node, "/v1/agent/service/maintenance/nobody", "").await, 400, "Missing value for enable");
    for word in ["pass", "warn", "fail", "deregister"] {
        said(&put(node, &format!("/v1/agent/check/{word}/nobody"), "").await, 404, unknown_check);
    }
    let update = put(node, "/v1/agent/check/update/nobody", r#"{"Status":"fine"}"#).await;
    said(&update, 400, "Invalid check status: 'fine'");
    said(&put(node, "/v1/agent/check/pass/", "").await, 400, "Missing check ID");
    said(&put(node, "/v1/agent/check/register", r#"{"TTL":"10s"}"#).await, 400, "Missing check name");
    let orphan = put(node, "/v1/agent/check/register", r#"{"Name":"x","TTL":"10s","ServiceID":"nobody"}"#).await;
    said(&orphan, 500, "ServiceID \"nobody\" does not exist");

    let probed = json!({"ID": "probed-1", "Name": "probed", "Check": {"TCP": "127.0.0.1:9", "Interval": "60s"}});
    register(node, &probed).await;
    let told = put(node, "/v1/agent/check/pass/service:probed-1", "").await;
    said(&told, 500, "CheckID \"service:probed-1\" does not have associated TTL");
    done(node, "/v1/agent/service/deregister/probed-1", "").await;

    let read = node.consul(Method::GET, "/v1/agent/check/pass/service:x").answer().await;
    assert_eq!((read.status, read.header("allow")), (405, Some("PUT")));
    let script = r#"{"Name":"x","Check":{"Args":["/bin/true"],"Interval":"10s"}}"#;
    let refused = put(node, "/v1/agent/service/register", script).await;
    assert!(refused.status == 400 && refused.text().starts_with("Scripts are disabled on this agent"));
}

#[tokio::test]
async fn the_health_of_a_service_is_a_status_code_and_a_word() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    register(node, &json!({"ID": "coded-1", "Name": "coded", "Check": {"TTL": "60s"}})).await;
    for (word, code, text) in [("pass", 200, "passing"), ("warn", 429, "warning"), ("fail", 503, "critical")] {
        done(node, &format!("/v1/agent/check/{word}/service:coded-1"), "").await;
        for path in ["id/coded-1", "name/coded"] {
            let path = format!("/v1/agent/health/service/{path}");
            let answer = node.consul(Method::GET, &path).answer().await.expect(code).json();
            let health = if answer.is_array() { &answer[0] } else { &answer };
            assert_eq!(health["AggregatedStatus"], text, "{answer}");
            assert_eq!(health["Service"]["ID"], "coded-1");
            let plain = node.consul(Method::GET, &format!("{path}?format=text")).answer().await;
            said(&plain, code, text);
        }
    }
    node.consul(Method::GET, "/v1/agent/health/service/id/nobody").answer().await.expect(404);
    node.consul(Method::GET, "/v1/agent/health/service/name/nobody").answer().await.expect(404);
    done(node, "/v1/agent/service/deregister/coded-1", "").await;
}

#[tokio::test]
async fn an_instance_that_listens_nowhere_has_a_health_and_harms_nobody() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    register(node, &json!({"Name": "nowhere", "Address": "10.1.2.3", "Check": {"TTL": "60s", "Status": "passing"}}))
        .await;
    wait_passing(node, "nowhere", &["nowhere"]).await;
    let entries = seen(node, "/v1/health/service/nowhere").await;
    assert_eq!((&entries[0]["Service"]["Address"], &entries[0]["Service"]["Port"]), (&json!("10.1.2.3"), &json!(0)));
    for path in ["/v1/services/nowhere/instances", "/v1/services/nowhere/explain", "/v1/graph", "/v1/services"] {
        node.get(path).answer().await.expect(200);
    }
    let instance = node.get("/v1/services/nowhere/instances/nowhere").answer().await.expect(200).json();
    assert_eq!(instance["endpoints"], json!([]));
    let selected = node.post("/v1/services/nowhere/select").json(&json!({})).answer().await;
    assert!([200, 503].contains(&selected.status), "{}", selected.text());
    done(node, "/v1/agent/service/deregister/nowhere", "").await;
}

#[tokio::test]
async fn an_external_node_with_its_services_is_seen_everywhere_and_goes_as_a_whole() {
    let cluster = SharedCluster::get().await;
    let (node, other) = (cluster.node(0), cluster.node(2));
    let check = |status: &str| json!({"CheckID": "up", "Name": "up", "Status": status, "ServiceID": "pg"});
    let registration = |status: &str| {
        json!({
            "Node": "outside-1", "Address": "10.7.7.7", "NodeMeta": {"rack": "r1"}, "Datacenter": "dc1",
            "Service": {"ID": "pg", "Service": "outside-db", "Port": 5432}, "Check": check(status)
        })
    };
    for (status, expected) in [("passing", &["pg"][..]), ("critical", &[]), ("passing", &["pg"])] {
        let written = put(node, "/v1/catalog/register", &registration(status).to_string()).await.expect(200);
        assert_eq!(written.text(), "true");
        wait_passing(other, "outside-db", expected).await;
    }
    let entries = seen(other, "/v1/health/service/outside-db?node-meta=rack:r1").await;
    assert_eq!(
        (&entries[0]["Node"]["Node"], &entries[0]["Node"]["Address"]),
        (&json!("outside-1"), &json!("10.7.7.7"))
    );
    // It has no agent that lives or dies, so no session belongs to it.
    let session = put(node, "/v1/session/create", r#"{"Node":"outside-1","TTL":"10s"}"#).await;
    said(&session, 500, "Missing node registration");
    let elsewhere = put(node, "/v1/catalog/register", r#"{"Node":"x","Address":"10.0.0.1","Datacenter":"mydc"}"#).await;
    said(&elsewhere, 500, "No path to datacenter");
    said(&put(node, "/v1/catalog/register", r#"{"Address":"10.0.0.1"}"#).await, 500, "Must provide node");
    put(other, "/v1/catalog/deregister", r#"{"Node":"outside-1"}"#).await.expect(200);
    assert_eq!(seen(other, "/v1/health/service/outside-db").await, json!([]));
    wait_until("the node to be gone", DEADLINE, async || {
        match node.consul(Method::GET, "/v1/catalog/node/outside-1").answer().await.expect(200).json_or_null() {
            Value::Null => Ok(()),
            seen => Err(seen.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn an_external_node_is_the_same_in_whatever_case_it_is_written() {
    let cluster = SharedCluster::get().await;
    let (node, other) = (cluster.node(0), cluster.node(1));
    let register = async |name: &str| {
        let (service, check) = (json!({"ID": "cased", "Service": "cased"}), json!({"CheckID": "disk", "Name": "disk"}));
        let body = json!({"Node": name, "Address": "10.8.8.8", "Service": service, "Check": check});
        put(node, "/v1/catalog/register", &body.to_string()).await
    };
    let count = async |path: &str| seen(other, path).await.as_array().map(Vec::len);
    for name in ["Rack-Cased", "rack-cased"] {
        register(name).await.expect(200);
        let services = seen(other, "/v1/catalog/service/cased?consistent").await;
        assert_eq!((services.as_array().map(Vec::len), &services[0]["ServiceID"]), (Some(1), &json!("cased")));
        assert_eq!(count("/v1/health/node/RACK-CASED?consistent").await, Some(1));
    }
    for what in [json!({"ServiceID": "cased"}), json!({"CheckID": "disk"}), json!({})] {
        let mut body = json!({"Node": "RACK-cased"});
        body.as_object_mut().expect("an object").extend(what.as_object().expect("an object").clone());
        put(other, "/v1/catalog/deregister", &body.to_string()).await.expect(200);
        assert_eq!(count("/v1/catalog/service/cased?consistent").await, Some(0), "{body}");
    }
    assert_eq!(seen(other, "/v1/health/node/rack-cased?consistent").await, json!([]));
    said(&register("rack/cased").await, 400, "Invalid node name: it cannot contain '/'");
}

#[tokio::test]
async fn an_id_is_that_of_one_service_on_a_node_and_the_last_registration_counts() {
    let cluster = SharedCluster::get().await;
    let (node, other) = (cluster.node(0), cluster.node(1));
    let of = async |service: &str| seen(node, &format!("/v1/catalog/service/{service}?consistent")).await;
    let ids = async |service: &str| -> Vec<Value> {
        of(service).await.as_array().expect("a list").iter().map(|line| line["ServiceID"].clone()).collect()
    };
    register(node, &json!({"ID": "sole", "Name": "sole-before"})).await;
    register(other, &json!({"ID": "sole", "Name": "sole-elsewhere"})).await;
    node.register("sole-native", "sole", &rollcall_tests::registration(80)).await.expect(201);
    register(node, &json!({"ID": "sole", "Name": "sole-after"})).await;
    assert_eq!((ids("sole-before").await, ids("sole-after").await), (vec![], vec![json!("sole")]));
    for untouched in ["sole-elsewhere", "sole-native"] {
        assert_eq!(ids(untouched).await, ["sole"], "another node's, or registered by other means");
    }
    register(node, &json!({"ID": "sole", "Name": "sole-after", "Port": 81})).await;
    assert_eq!(ids("sole-after").await, ["sole"]);

    // A check may be called as a service is.
    for name in ["racked-before", "racked-after"] {
        let service = json!({"ID": "racked", "Service": name});
        let check = json!({"CheckID": "racked", "Name": "up", "Status": "passing"});
        let body = json!({"Node": "rack-9", "Address": "10.9.9.9", "Service": service, "Check": check});
        put(node, "/v1/catalog/register", &body.to_string()).await.expect(200);
    }
    assert_eq!((ids("racked-before").await, ids("racked-after").await), (vec![], vec![json!("racked")]));
    let checks = seen(node, "/v1/health/node/rack-9").await;
    assert_eq!(checks[0]["CheckID"], "racked", "{checks}");
    put(other, "/v1/catalog/deregister", r#"{"Node":"rack-9"}"#).await.expect(200);
    for (node, service) in [(node, "sole-after"), (other, "sole-elsewhere")] {
        done(node, "/v1/agent/service/deregister/sole", "").await;
        assert_eq!(ids(service).await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn a_client_waits_for_another_digest_of_a_service() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    let body = |port: u16| json!({"ID": "hashed-1", "Name": "hashed", "Port": port});
    register(node, &body(80)).await;
    let path = "/v1/agent/service/hashed-1";
    let seen = node.consul(Method::GET, path).answer().await.expect(200);
    let hash = seen.header("x-consul-contenthash").expect("a digest").to_owned();
    assert_eq!(seen.json()["ContentHash"], hash);
    let again = node.consul(Method::GET, &format!("{path}?hash={hash}&wait=100ms")).answer().await.expect(200);
    assert_eq!(again.header("x-consul-contenthash"), Some(&*hash), "the wait is over and nothing changed");
    let waiting = |hash: &str| {
        let call = node.consul(Method::GET, &format!("{path}?hash={hash}&wait=60s")).timeout(DEADLINE);
        tokio::spawn(call.answer())
    };
    let changed = waiting(&hash);
    register(cluster.node(0), &body(81)).await;
    let changed = changed.await.expect("the query ends").expect(200);
    assert_eq!(changed.json()["Port"], 81);
    let gone = waiting(changed.header("x-consul-contenthash").expect("a digest"));
    done(node, "/v1/agent/service/deregister/hashed-1", "").await;
    said(&gone.await.expect("the query ends"), 404, "unknown service ID: hashed-1");
}

#[tokio::test]
async fn clients_that_write_with_get_are_served_where_the_node_is_told_to() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let config = folder.path().join("rollcall.toml");
    std::fs::write(&config, "[consul]\nlegacy-get = true\n").expect("a file in a new folder");
    let cluster = Cluster::of(1).argument(&format!("--config={}", config.display())).start().await;
    let node = cluster.node(0);
    register(node, &json!({"Name": "old", "Check": {"TTL": "60s"}})).await;
    for path in ["check/pass/service:old", "service/maintenance/old?enable=false", "service/deregister/old"] {
        node.consul(Method::GET, &format!("/v1/agent/{path}")).answer().await.expect(200);
    }
    assert_eq!(seen(node, "/v1/agent/services").await, json!({}));
}
