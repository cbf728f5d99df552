//! Consul's API, what is left of it: checks by themselves, maintenance, and what clients ask agents in passing.

use std::collections::BTreeMap;

use http::Method;
use rollcall_tests::{Cluster, DEADLINE, Node, SharedCluster, wait_until};
use serde_json::{Value, json};

use crate::consul_calls::{get, put};

/// What a node shows of the check of another one.
async fn shown(node: &Node, of: &Node, check: &str) -> Value {
    let checks = get(node, &format!("/v1/health/node/{}", of.name())).await.expect(200).json();
    let found = checks.as_array().and_then(|checks| checks.iter().find(|it| it["CheckID"] == check));
    found.cloned().unwrap_or_default()
}

/// Waits until the check of a node has this status at another.
async fn wait_status(node: &Node, of: &Node, check: &str, status: &str) {
    wait_until(&format!("{check} to be {status} at {}", node.name()), DEADLINE, async || {
        let check = shown(node, of, check).await;
        if check["Status"] == status { Ok(()) } else { Err(check.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_no_service_is_one_of_its_node_and_lives_by_its_updates() {
    // Its own cluster: the check of a node counts for all that is registered there.
    let cluster = Cluster::start(3).await;
    let [one, two, three] = [0, 1, 2].map(|node| cluster.node(node));
    let body = r#"{"Name":"backup ran","ID":"backup","TTL":"600s","Notes":"nightly"}"#;
    put(one, "/v1/agent/check/register", body).await.expect(200);
    wait_status(two, one, "backup", "critical").await;
    let check = get(one, "/v1/agent/checks").await.json()["backup"].clone();
    assert_eq!(
        (&check["Name"], &check["Notes"], &check["ServiceID"]),
        (&json!("backup ran"), &json!("nightly"), &json!(""))
    );
    for (word, status) in [("pass", "passing"), ("warn", "warning"), ("fail", "critical")] {
        put(one, &format!("/v1/agent/check/{word}/backup?note=said"), "").await.expect(200);
        wait_status(three, one, "backup", status).await;
    }
    // Words that arrive on two nodes within a second may be taken in either order; the next one counts.
    wait_until("the word that came to another node", DEADLINE, async || {
        put(two, "/v1/agent/check/warn/backup", "").await.expect(200);
        let check = shown(three, one, "backup").await;
        if check["Status"] == "warning" { Ok(()) } else { Err(check.to_string()) }
    })
    .await;
    put(three, "/v1/agent/check/deregister/backup", "").await.expect(200);
    assert_eq!(shown(three, one, "backup").await, Value::Null);
    put(one, "/v1/agent/check/deregister/backup", "").await.expect(404);
}

/// The statuses of the checks of a service at a node, by their ids.
async fn statuses(node: &Node, service: &str) -> BTreeMap<String, String> {
    let checks = get(node, &format!("/v1/health/checks/{service}")).await.expect(200).json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    checks.as_array().into_iter().flatten().map(|check| (text(&check["CheckID"]), text(&check["Status"]))).collect()
}

/// Waits until all nodes show the checks of a service so.
async fn wait_checks(nodes: &[&Node], service: &str, expected: &[(&str, &str)]) {
    let expected: BTreeMap<_, _> = expected.iter().map(|(id, status)| (id.to_string(), status.to_string())).collect();
    for node in nodes {
        wait_until(&format!("the checks of {service} at {}", node.name()), DEADLINE, async || {
            let shown = statuses(node, service).await;
            if shown == expected { Ok(()) } else { Err(format!("{shown:?}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_check_of_a_service_has_its_own_status_on_every_node_wherever_it_is_told() {
    let cluster = Cluster::start(3).await;
    let nodes: [&Node; 3] = [0, 1, 2].map(|node| &**cluster.node(node));
    let [one, two, three] = nodes;
    let ttl = |id: &str| json!({"CheckID": id, "Name": id, "TTL": "600s"});
    let service = json!({"Name": "shop", "ID": "shop-1", "Port": 1, "Checks": [ttl("db"), ttl("mail"), ttl("never")]});
    put(one, "/v1/agent/service/register", &service.to_string()).await.expect(200);
    put(one, "/v1/agent/check/pass/db", "").await.expect(200);
    put(two, "/v1/agent/check/pass/mail", "").await.expect(200);
    wait_checks(&nodes, "shop", &[("db", "passing"), ("mail", "passing"), ("never", "critical")]).await;

    put(two, "/v1/agent/check/fail/mail?note=full", "").await.expect(200);
    wait_checks(&nodes, "shop", &[("db", "passing"), ("mail", "critical"), ("never", "critical")]).await;
    for node in nodes {
        let critical = get(node, "/v1/health/state/critical").await.expect(200).json();
        let critical: Vec<_> = critical.as_array().expect("a list").iter().map(|it| &it["CheckID"]).collect();
        assert_eq!(critical, ["mail", "never"]);
        let passing = get(node, "/v1/health/state/passing").await.expect(200).json();
        let passing = passing.as_array().expect("a list");
        let db = passing.iter().find(|check| check["CheckID"] == "db").expect("db passes");
        assert_eq!(db["Output"], "passing: TTL check db was told so");
    }

    // It moves to another node, and each check counts as it was told last.
    put(three, "/v1/agent/check/pass/mail", "").await.expect(200);
    put(three, "/v1/agent/check/pass/never", "").await.expect(200);
    put(two, "/v1/agent/check/warn/db", "").await.expect(200);
    wait_checks(&nodes, "shop", &[("db", "warning"), ("mail", "passing"), ("never", "passing")]).await;

    // Another check comes, and the others are what they were all the time.
    let another = json!({"Name": "late", "CheckID": "late", "ServiceID": "shop-1", "TTL": "600s", "Status": "passing"});
    put(one, "/v1/agent/check/register", &another.to_string()).await.expect(200);
    let shown = statuses(one, "shop").await;
    assert_eq!(shown.values().collect::<Vec<_>>(), ["warning", "passing", "passing", "passing"], "{shown:?}");
    put(one, "/v1/agent/check/pass/db", "").await.expect(200);
    let all = ["db", "late", "mail", "never"].map(|id| (id, "passing"));
    wait_checks(&nodes, "shop", &all).await;
    let entries = get(two, "/v1/health/service/shop?passing").await.expect(200).json();
    assert_eq!(entries.as_array().map(Vec::len), Some(1), "{entries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_heard_of_a_check_holds_when_it_dies_and_other_checks_go_on() {
    let cluster = Cluster::start(3).await;
    let dead = (cluster.leader().await + 1) % 3;
    let living = cluster.nodes_except(&[dead]);
    let living: [&Node; 2] = [&living[0], &living[1]];
    let ttl = |id: &str| json!({"CheckID": id, "Name": id, "TTL": "600s"});
    let url = cluster.node(dead).url();
    let asked = url.strip_prefix("http://").expect("an address");
    let tcp = json!({"CheckID": "tcp", "Name": "tcp", "TCP": asked, "Interval": "1s", "Timeout": "500ms"});
    let service = json!({"Name": "shop", "ID": "shop-1", "Port": 1, "Checks": [ttl("db"), ttl("mail"), tcp]});
    put(living[0], "/v1/agent/service/register", &service.to_string()).await.expect(200);
    put(cluster.node(dead), "/v1/agent/check/pass/db", "").await.expect(200);
    put(living[0], "/v1/agent/check/pass/mail", "").await.expect(200);
    wait_checks(&living, "shop", &[("db", "passing"), ("mail", "passing"), ("tcp", "passing")]).await;

    // And with it what the check that is probed asks.
    cluster.node(dead).kill9();
    wait_until("the death to be seen", DEADLINE, async || {
        let members = get(living[0], "/v1/agent/members").await.expect(200).json();
        let members = members.as_array().into_iter().flatten();
        let seen = members.filter(|it| it["Name"] == cluster.node(dead).name() && it["Status"] == 4).count();
        if seen == 1 { Ok(()) } else { Err("it is alive".to_owned()) }
    })
    .await;
    put(living[1], "/v1/agent/check/fail/mail", "").await.expect(200);
    wait_checks(&living, "shop", &[("db", "passing"), ("mail", "critical"), ("tcp", "critical")]).await;
    put(living[0], "/v1/agent/check/pass/mail", "").await.expect(200);
    wait_checks(&living, "shop", &[("db", "passing"), ("mail", "passing"), ("tcp", "critical")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_counts_before_the_one_that_its_node_knew_of_though_both_came_within_a_second() {
    let cluster = Cluster::start(3).await;
    let nodes: [&Node; 3] = [0, 1, 2].map(|node| &**cluster.node(node));
    let [one, two, _] = nodes;
    let ttl = |id: &str| json!({"CheckID": id, "Name": id, "TTL": "600s", "Status": "passing"});
    for (service, checks) in [("single", vec![ttl("only")]), ("double", vec![ttl("first"), ttl("second")])] {
        let body = json!({"Name": service, "ID": format!("{service}-1"), "Port": 1, "Checks": checks});
        put(one, "/v1/agent/service/register", &body.to_string()).await.expect(200);
    }
    for (service, check) in [("single", "only"), ("double", "first")] {
        put(one, &format!("/v1/agent/check/fail/{check}"), "").await.expect(200);
        let path = format!("/v1/services/{service}/instances/{service}-1/health");
        wait_until("the other node to hear of it", DEADLINE, async || {
            let health = two.get(&path).answer().await.expect(200).json();
            let heard = health["vouching"].as_array().into_iter().flatten();
            let failed = heard.filter(|it| it["node"] == one.name() && it["says"]["state"] == "critical").count();
            if failed == 1 { Ok(()) } else { Err(health.to_string()) }
        })
        .await;
        // Once, and then no more.
        put(two, &format!("/v1/agent/check/pass/{check}"), "").await.expect(200);
    }
    wait_checks(&nodes, "single", &[("only", "passing")]).await;
    wait_checks(&nodes, "double", &[("first", "passing"), ("second", "passing")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_own_check_and_not_with_another_of_the_same_service() {
    let cluster = Cluster::start(3).await;
    let nodes: [&Node; 3] = [0, 1, 2].map(|node| &**cluster.node(node));
    let [one, two, three] = nodes;
    let ttl = |id: &str| json!({"CheckID": id, "Name": id, "TTL": "600s", "Status": "passing"});
    let service = json!({"Name": "batch", "ID": "batch-1", "Port": 1, "Checks": [ttl("job"), ttl("log")]});
    put(one, "/v1/agent/service/register", &service.to_string()).await.expect(200);
    wait_checks(&nodes, "batch", &[("job", "passing"), ("log", "passing")]).await;
    let session = async |check: &str| {
        let body = json!({"LockDelay": "0s", "NodeChecks": [], "ServiceChecks": [{"ID": check}]}).to_string();
        let id = put(two, "/v1/session/create", &body).await.expect(200).json();
        id["ID"].as_str().expect("an id").to_owned()
    };
    let is_open = async |id: &str| {
        get(three, &format!("/v1/session/info/{id}"))
            .await
            .expect(200)
            .json()
            .as_array()
            .is_some_and(|it| !it.is_empty())
    };
    let [of_job, of_log] = [session("job").await, session("log").await];
    put(one, "/v1/agent/check/pass/job", "").await.expect(200);
    put(two, "/v1/agent/check/fail/log", "").await.expect(200);
    wait_until("the session to end with its check", DEADLINE, async || {
        if is_open(&of_log).await { Err("it is open".to_owned()) } else { Ok(()) }
    })
    .await;
    assert!(is_open(&of_job).await, "its own check is passing");
    // Who leads may know before the others.
    wait_checks(&nodes, "batch", &[("job", "passing"), ("log", "critical")]).await;
    let refused = json!({"NodeChecks": [], "ServiceChecks": [{"ID": "log"}]}).to_string();
    assert!(put(two, "/v1/session/create", &refused).await.expect(500).text().contains("critical state"));
    let another = session("job").await;
    // The other one recovers, and its own fails.
    put(three, "/v1/agent/check/pass/log", "").await.expect(200);
    wait_checks(&nodes, "batch", &[("job", "passing"), ("log", "passing")]).await;
    assert!(is_open(&of_job).await && is_open(&another).await);
    put(three, "/v1/agent/check/fail/job", "").await.expect(200);
    wait_until("the sessions to end with their check", DEADLINE, async || {
        if is_open(&of_job).await || is_open(&another).await { Err("one is open".to_owned()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_maintenance_takes_its_services_with_it_until_it_is_over() {
    let cluster = Cluster::start(3).await;
    let [one, two] = [0, 1].map(|node| cluster.node(node));
    let service = r#"{"Name":"kept","ID":"kept-1","Port":1,"Check":{"TTL":"600s","Status":"passing"}}"#;
    put(one, "/v1/agent/service/register", service).await.expect(200);
    let passing = async |expected: usize| {
        wait_until("the passing instances", DEADLINE, async || {
            let entries = get(two, "/v1/health/service/kept?passing").await.expect(200).json();
            if entries.as_array().map(Vec::len) == Some(expected) { Ok(()) } else { Err(entries.to_string()) }
        })
        .await;
    };
    passing(1).await;
    put(one, "/v1/agent/maintenance?enable=true&reason=disk", "").await.expect(200);
    passing(0).await;
    let check = shown(two, one, "_node_maintenance").await;
    assert_eq!((&check["Status"], &check["Notes"]), (&json!("critical"), &json!("disk")));
    put(one, "/v1/agent/maintenance?enable=false", "").await.expect(200);
    passing(1).await;
    put(one, "/v1/agent/maintenance", "").await.expect(400);
}

#[tokio::test]
async fn what_agents_are_asked_in_passing_is_answered_so_that_clients_go_on() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    assert!(get(node, "/v1/agent/metrics").await.expect(200).text().contains("Gauges"));
    assert!(get(node, "/v1/agent/version").await.expect(200).json().is_object());
    put(node, "/v1/agent/reload", "").await.expect(200);
    put(node, "/v1/agent/join/127.0.0.1", "").await.expect(200);
    assert!(put(node, "/v1/agent/join/10.99.99.99", "").await.expect(500).text().contains("rollcall node --join"));
    put(node, &format!("/v1/agent/force-leave/{}", cluster.node(1).name()), "").await.expect(200);
    assert!(put(node, "/v1/agent/force-leave/nobody", "").await.expect(500).text().contains("No node found"));
    assert!(put(node, "/v1/agent/leave", "").await.expect(500).text().contains("rollcall remove"));
    for empty in ["/v1/catalog/connect/web", "/v1/coordinate/datacenters", "/v1/coordinate/node/n1"] {
        assert_eq!(get(node, empty).await.expect(200).json(), json!([]), "{empty}");
    }
    for path in ["/v1/agent/connect/ca/roots", "/v1/connect/ca/roots"] {
        assert!(get(node, path).await.expect(500).text().starts_with("Connect must be enabled"), "{path}");
    }
    let services = get(node, &format!("/v1/catalog/node-services/{}", node.name())).await.expect(200).json();
    assert_eq!(services["Node"]["Node"], node.name(), "{services}");
    assert!(services["Services"].is_array(), "{services}");
    let sessions = get(node, &format!("/v1/session/node/{}", node.name())).await.expect(200);
    assert!(sessions.json().is_array() && sessions.header("x-consul-index").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_taken_wherever_they_stand_and_are_told_to_nobody() {
    // At its most talkative.
    let cluster = Cluster::of(1).argument("--log-level=trace").start().await;
    let node = cluster.node(0);
    let secret = "5ec7e7-70-63-11-0b0d7";
    let call = node.consul(Method::GET, &format!("/v1/health/service/web?token={secret}"));
    call.header("x-consul-token", secret).header("authorization", "Basic Og==").answer().await.expect(200);
    let register = json!({"Name": "web", "Port": 1, "Token": secret}).to_string();
    let call = node.consul(Method::PUT, "/v1/agent/service/register").header("x-consul-token", secret);
    call.body(register).answer().await.expect(200);
    let catalog = json!({"Node": "n9", "Address": "10.0.0.9", "WriteRequest": {"Token": secret}}).to_string();
    put(node, "/v1/catalog/register", &catalog).await.expect(200);
    for path in ["/v1/agent/services", "/v1/catalog/nodes", "/v1/agent/self"] {
        assert!(!get(node, path).await.expect(200).text().contains(secret), "{path}");
    }
    let history = node.get("/v1/history").answer().await.expect(200).text();
    assert!(!history.contains(secret) && !node.log().contains(secret));
}
