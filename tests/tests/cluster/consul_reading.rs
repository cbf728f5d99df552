//! Consul's API, read: the same on every node, in Consul's words, and woken by what was asked for alone.

use futures_util::{StreamExt as _, stream};
use http::Method;
use rollcall_tests::{Answer, Cluster, DEADLINE, Node, SharedCluster, metric, wait_until};
use serde_json::{Value, json};

use crate::consul_calls::index;

/// Longest wait of a blocking query that is woken: far above what it takes.
const WAIT: &str = "60s";

fn instance(port: u16, tags: &[&str]) -> Value {
    json!({
        "endpoints": [{"name": "http", "protocol": "http", "host": "127.0.0.1", "port": port}],
        "tags": tags,
        "metadata": {"team": "blue"},
    })
}

fn leased(port: u16) -> Value {
    let mut body = instance(port, &[]);
    body["lease"] = json!({"ttl_ms": 60_000});
    body
}

async fn register(node: &Node, service: &str, id: &str, body: &Value) -> u64 {
    node.register(service, id, body).await.revision()
}

async fn heartbeat(node: &Node, service: &str, id: &str, revision: u64, status: &str) {
    let path = format!("/v1/services/{service}/instances/{id}/lease?min_revision={revision}");
    node.put(&path).json(&json!({"status": status})).answer().await.expect(200);
}

async fn read(node: &Node, path: &str) -> Answer {
    node.consul(Method::GET, path).answer().await.expect(200)
}

/// The same once this node has what was written elsewhere.
async fn read_after(node: &Node, path: &str, revision: u64) -> Answer {
    node.get(&format!("/v1/services?limit=1&min_revision={revision}")).answer().await.expect(200);
    read(node, path).await
}

fn ids(entries: &Value) -> Vec<&str> {
    let entries = entries.as_array().expect("a list");
    entries.iter().map(|entry| entry["Service"]["ID"].as_str().expect("an id")).collect()
}

/// A blocking query on its way.
fn watch(node: &Node, path: &str, index: u64) -> tokio::task::JoinHandle<Answer> {
    let sign = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{sign}index={index}&wait={WAIT}");
    let call = node.consul(Method::GET, &path).timeout(DEADLINE);
    tokio::spawn(async move { call.answer().await.expect(200) })
}

async fn waiting(node: &Node, count: f64) {
    wait_until("queries to wait", DEADLINE, async || {
        let waiting = metric(&node.metrics().await, "rollcall_consul_blocking_queries", &[]);
        if waiting == count { Ok(()) } else { Err(format!("{waiting} wait")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_answers_the_same_and_narrows_it_as_asked() {
    let cluster = SharedCluster::get().await;
    let mut revision = 0;
    for (id, tags) in [("c", vec!["v1", "Primary"]), ("a", vec!["v1"]), ("b", vec!["v2"])] {
        revision = register(cluster.node(0), "consul-read", id, &instance(8080, &tags)).await;
    }
    let mut bodies = Vec::new();
    for node in cluster.nodes() {
        let answer = read_after(node, "/v1/health/service/consul-read", revision).await;
        assert_eq!(ids(&answer.json()), ["a", "b", "c"]);
        assert_eq!(index(&answer), revision);
        assert_eq!(answer.header("x-consul-knownleader"), Some("true"));
        assert_eq!(answer.header("x-consul-effective-consistency"), Some("leader"));
        assert!(answer.header("x-consul-lastcontact").is_some_and(|age| age.parse::<u64>().is_ok()), "{:?}", answer);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        bodies.push(answer.text());
    }
    assert!(bodies.iter().all(|body| *body == bodies[0] && !body.contains("null")), "{bodies:?}");

    let node = cluster.node(1);
    for (query, expected) in [
        ("passing", vec!["a", "b", "c"]),
        ("passing=false&stale", vec!["a", "b", "c"]),
        ("tag=v1", vec!["a", "c"]),
        ("tag=v1&tag=primary", vec!["c"]),
        ("tag=v1&tag=v2", vec![]),
        ("near=_agent&cached&ns=default&merge-central-config&local-only&relay-factor=2&dc=dc1", vec!["a", "b", "c"]),
        ("node-meta=consul-network-segment%3A", vec!["a", "b", "c"]),
        ("node-meta=rack:7", vec![]),
        ("peer=other", vec![]),
        ("consistent", vec!["a", "b", "c"]),
        ("filter=v1+in+Service.Tags+and+not+Service.ID+%3D%3D+a", vec!["c"]),
        ("filter=Service.Meta.team+%3D%3D+blue+and+Node.Datacenter+matches+%22dc.%22", vec!["a", "b", "c"]),
    ] {
        let answer = read(node, &format!("/v1/health/service/consul-read?{query}")).await;
        assert_eq!(ids(&answer.json()), expected, "{query}");
    }
    let catalog = read(node, "/v1/catalog/service/consul-read").await.json();
    let of_catalog: Vec<_> = catalog.as_array().expect("a list").iter().map(|line| &line["ServiceID"]).collect();
    assert_eq!(of_catalog, ["a", "b", "c"]);
    assert_eq!(catalog[0]["ServiceAddress"], "127.0.0.1");
    let services = read(node, "/v1/catalog/services").await.json();
    assert_eq!((&services["consul"], &services["consul-read"]), (&json!([]), &json!(["Primary", "v1", "v2"])));
    for (expression, expected) in [
        ("ServiceName == \"consul-read\"", json!({"consul-read": ["Primary", "v1", "v2"]})),
        ("ServiceName == \"consul-read\" and v1 in ServiceTags", json!({"consul-read": ["Primary", "v1"]})),
        ("ServiceName == \"consul-read\" and ServiceMeta.team == green", json!({})),
        ("ServiceName == consul", json!({"consul": []})),
    ] {
        let path = format!("/v1/catalog/services?filter={}", rollcall_tests::segment(expression));
        assert_eq!(read(node, &path).await.json(), expected, "{expression}");
    }
    let nameless = node.consul(Method::GET, "/v1/catalog/services?filter=Name+%3D%3D+x").answer().await.expect(400);
    assert!(nameless.text().contains("Selector \"Name\" is not valid"), "{}", nameless.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_consuls_words() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    for (method, path, status, text) in [
        (Method::GET, "/v1/health/service/", 400, "Missing service name"),
        (Method::GET, "/v1/health/service", 400, "Missing service name"),
        (Method::GET, "/v1/catalog/service/", 400, "Missing service name"),
        (Method::GET, "/v1/health/checks/", 400, "Missing service name"),
        (Method::GET, "/v1/health/state/", 400, "Missing check state"),
        (Method::GET, "/v1/health/node/", 400, "Missing node name"),
        (Method::GET, "/v1/catalog/node/", 400, "Missing node name"),
        (Method::GET, "/v1/health/service/x?index=a", 400, "Invalid index"),
        (Method::GET, "/v1/health/service/x?index=-1", 400, "Invalid index"),
        (Method::GET, "/v1/health/service/x?index=1&wait=10", 400, "Invalid wait time"),
        (Method::GET, "/v1/health/service/x?passing=maybe", 400, "Invalid value for ?passing"),
        (
            Method::GET,
            "/v1/health/service/x?stale&consistent",
            400,
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        (Method::GET, "/v1/health/service/x?dc=mars", 500, "No path to datacenter"),
        (Method::GET, "/v1/catalog/nodes?filter=Node+%3D", 400, "Failed to create boolean expression evaluator"),
        (Method::GET, "/v1/acl/tokens", 401, "ACL support disabled"),
        (Method::PUT, "/v1/agent/token/default", 401, "ACL support disabled"),
        (Method::GET, "/v1/connect/intentions", 404, "404 page not found"),
        (Method::POST, "/v1/health/service/x", 405, "method POST not allowed"),
    ] {
        let answer = node.consul(method, path).answer().await;
        let answer = answer.expect(status);
        assert!(answer.text().starts_with(text), "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{path}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{path}");
    }
    for (path, expected) in [
        ("/v1/health/service/nobody-there", json!([])),
        ("/v1/health/connect/nobody-there", json!([])),
        ("/v1/health/ingress/nobody-there", json!([])),
        ("/v1/health/checks/nobody-there", json!([])),
        ("/v1/health/node/nobody-there", json!([])),
        ("/v1/catalog/service/no%20such.name", json!([])),
        ("/v1/catalog/node/nobody-there", Value::Null),
        ("/v1/catalog/datacenters", json!(["dc1"])),
        ("/v1/coordinate/nodes", json!([])),
    ] {
        let answer = read(node, path).await;
        assert_eq!(answer.json(), expected, "{path}");
        let has_index = answer.header("x-consul-index").is_some_and(|index| index != "0");
        assert_eq!(has_index, !path.ends_with("datacenters") && !path.contains("coordinate"), "{path}");
    }
    let pretty = read(node, "/v1/catalog/datacenters?pretty").await.text();
    assert_eq!(pretty, "[\n    \"dc1\"\n]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_describe_themselves_as_clients_expect() {
    let cluster = SharedCluster::get().await;
    for node in cluster.nodes() {
        // Between two answers another one may be elected.
        let (about, leader) = wait_until("the same leader in both answers", DEADLINE, async || {
            let about = read(node, "/v1/agent/self").await.json();
            let leader = read(node, "/v1/status/leader").await.json();
            let told = &about["Stats"]["consul"]["leader_addr"];
            if *told == leader { Ok((about.clone(), leader)) } else { Err(format!("{told} and {leader}")) }
        })
        .await;
        let keys: Vec<_> = about.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["Config", "Coord", "DebugConfig", "Member", "Meta", "Stats", "xDS"]);
        assert_eq!(
            (&about["Config"]["Datacenter"], &about["Config"]["NodeName"]),
            (&json!("dc1"), &json!(node.name()))
        );
        assert!(about["Config"]["Server"] == true && about["Config"]["SessionTTLMin"].is_string(), "{about}");
        let peers = read(node, "/v1/status/peers").await.json();
        assert!(peers.as_array().is_some_and(|peers| peers.len() == 3 && peers.contains(&leader)), "{peers} {leader}");
        let members = read(node, "/v1/agent/members").await.json();
        let members = members.as_array().expect("a list");
        assert!(members.len() == 3 && members.contains(&about["Member"]), "{members:?}");
        let name = node.name();
        let checks = read(node, &format!("/v1/health/node/{name}")).await.json();
        assert!(checks[0]["CheckID"] == "serfHealth" && checks[0]["ServiceID"] == "", "{checks}");
        let of_catalog = read(node, &format!("/v1/catalog/node/{name}")).await.json();
        assert_eq!(
            (&of_catalog["Node"]["Node"], &of_catalog["Services"]["consul"]["Service"]),
            (&json!(name), &json!("consul"))
        );
    }
    let nodes = read(cluster.node(0), "/v1/catalog/nodes").await.json();
    let named = |name: &str| nodes.as_array().expect("a list").iter().any(|node| node["Node"] == name);
    assert!(cluster.nodes().iter().all(|node| named(node.name())), "{nodes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_quarantine_wakes_who_waits_for_what_passes() {
    // Its own cluster: checks of nodes that other tests register end a wait, too.
    let cluster = Cluster::start(3).await;
    let [node, other] = [0, 1].map(|index| cluster.node(index));
    register(node, "consul-kept", "1", &instance(1, &[])).await;
    let path = "/v1/services/consul-kept/instances/1/quarantine";
    let kept = node.post(path).json(&json!({"ttl_ms": 2_000})).answer().await.expect(200).revision();
    let before = read_after(other, "/v1/health/service/consul-kept?passing", kept).await;
    assert_eq!((index(&before), before.json()), (kept, json!([])));
    let after = watch(other, "/v1/health/service/consul-kept?passing", kept).await.expect("the query ends");
    assert!(index(&after) > kept && ids(&after.json()) == ["1"], "{}", after.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_a_machine_wakes_those_who_read_what_is_on_it() {
    let cluster = Cluster::start(1).await;
    let node = cluster.node(0);
    let check = async |machine: &str, status: &str| {
        let check = json!({"CheckID": "disk", "Name": "disk", "Status": status});
        let service = json!({"ID": "1", "Service": format!("on-{machine}")});
        let body = json!({"Node": machine, "Address": "10.0.0.9", "Service": service, "Check": check});
        let call = node.consul(Method::PUT, "/v1/catalog/register").body(body.to_string());
        call.answer().await.expect(200);
    };
    check("m1", "passing").await;
    check("m2", "passing").await;
    let passing = async |service: &str, expected: &[&str]| {
        let path = format!("/v1/health/service/{service}?passing");
        wait_until(&format!("{service} to be {expected:?}"), DEADLINE, async || {
            let answer = read(node, &path).await;
            if ids(&answer.json()) == expected { Ok(answer) } else { Err(answer.text()) }
        })
        .await
    };
    passing("on-m2", &["1"]).await;
    let before = passing("on-m1", &["1"]).await;
    let on_m1 = watch(node, "/v1/health/service/on-m1?passing", index(&before));
    waiting(node, 1.0).await;
    let woken = async || metric(&node.metrics().await, "rollcall_consul_wakes_total", &[]);
    check("m2", "critical").await;
    passing("on-m2", &[]).await;
    assert_eq!(woken().await, 0.0, "what is on one machine is not about another");
    check("m1", "critical").await;
    let mut after = on_m1.await.expect("the query ends");
    // The registration comes first, and what it is found to mean a moment later.
    while !ids(&after.json()).is_empty() {
        after = watch(node, "/v1/health/service/on-m1?passing", index(&after)).await.expect("the query ends");
    }
    assert!(index(&after) > index(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_begins_to_wait_alone_while_something_is_written_is_woken_by_it() {
    let cluster = Cluster::start(1).await;
    let node = cluster.node(0);
    let mut last = register(node, "lonely", "1", &instance(1, &[])).await;
    for round in 0..200 {
        // Nobody waits while this is written, so what wakes waiters rests from here on.
        register(node, "other", "1", &instance(2 + round % 2, &[])).await;
        let waiting = watch(node, "/v1/health/service/lonely", last);
        let changed = register(node, "lonely", "1", &instance(2 + round % 2, &[])).await;
        let answer = waiting.await.expect("the query ends");
        assert_eq!(index(&answer), changed, "round {round}");
        last = changed;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_woken_by_its_service_and_by_nothing_else() {
    let cluster = Cluster::start(3).await;
    let node = cluster.node(0);
    let revision = register(node, "quiet", "1", &instance(1, &[])).await;
    let before = read_after(node, "/v1/health/service/quiet", revision).await;
    let watchers: Vec<_> = (0..100).map(|_| watch(node, "/v1/health/service/quiet?passing", index(&before))).collect();
    waiting(node, 100.0).await;
    let absent = watch(node, "/v1/health/service/not-yet?stale", index(&before));
    waiting(node, 101.0).await;

    let writes = (0..1_000).map(|number| {
        let (node, id, tag) = (cluster.node(number % 3), (number % 70).to_string(), number.to_string());
        async move { register(node, "busy", &id, &instance(2, &[&tag])).await }
    });
    let last = stream::iter(writes).buffer_unordered(64).fold(0, async |last, next| last.max(next)).await;
    read_after(node, "/v1/health/service/busy", last).await;
    let woken = |page: String| metric(&page, "rollcall_consul_wakes_total", &[]);
    assert_eq!(woken(node.metrics().await), 0.0, "a thousand writes elsewhere wake nobody");
    let unchanged = read(node, "/v1/health/service/quiet").await;
    assert_eq!((index(&unchanged), unchanged.text()), (index(&before), before.text()));

    let changed = register(cluster.node(1), "quiet", "2", &instance(2, &[])).await;
    for watcher in watchers {
        let answer = watcher.await.expect("the query ends");
        assert_eq!((index(&answer), ids(&answer.json())), (changed, vec!["1", "2"]));
    }
    let made = register(cluster.node(2), "not-yet", "1", &instance(3, &[])).await;
    assert_eq!(index(&absent.await.expect("the query ends")), made);
    // One that is not woken ends by itself, with the index that it came with.
    let path = format!("/v1/health/service/quiet?index={changed}&wait=1ms");
    assert_eq!(index(&read(node, &path).await), changed);
    waiting(node, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transition_of_health_has_an_index_and_wakes_who_waits() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let revision = register(node, "consul-turns", "1", &leased(1)).await;
    let path = "/v1/health/service/consul-turns";
    // What was heard of it, if anything, is the same in both answers of one index.
    let fresh = loop {
        let fresh = read_after(node, path, revision).await;
        let passing = read(node, &format!("{path}?passing")).await;
        if index(&fresh) == index(&passing) {
            let is_in_service = fresh.json()[0]["Checks"][1]["Status"] == "passing";
            assert_eq!(passing.json(), if is_in_service { fresh.json() } else { json!([]) });
            break fresh;
        }
    };
    let mut seen = fresh;
    for status in ["passing", "warning", "passing"] {
        heartbeat(cluster.node(2), "consul-turns", "1", revision, status).await;
        // On the way there may be another one, of which the index rises too: nobody knew of it, then it was there.
        while seen.json()[0]["Checks"][1]["Status"] != status {
            let answer = watch(cluster.node(1), path, index(&seen)).await.expect("the query ends");
            assert!(index(&answer) > index(&seen), "{status}");
            seen = answer;
        }
    }
    // The same index, the same words, on every node that has come to it.
    for node in cluster.nodes() {
        let answer = read_after(node, path, index(&seen)).await;
        assert_eq!((index(&answer), answer.text()), (index(&seen), seen.text()));
    }
    let checks = read(node, "/v1/health/checks/consul-turns").await.json();
    assert_eq!((&checks[0]["Status"], &checks[0]["ServiceID"]), (&json!("passing"), &json!("1")));
    let state = read(node, "/v1/health/state/passing?filter=ServiceName+%3D%3D+consul-turns").await.json();
    assert_eq!(state.as_array().map(Vec::len), Some(1), "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_moves_to_a_node_that_is_behind_is_not_shown_the_past() {
    let cluster = Cluster::of(3).with_fault_injection().start().await;
    let leader = cluster.leader().await;
    let [ahead, behind] = [leader, (leader + 1) % 3];
    register(cluster.node(ahead), "moving", "1", &instance(1, &[])).await;
    cluster.wait_converged().await;
    cluster.cut_off(&[behind]).await;
    let revision = register(cluster.node(ahead), "moving", "2", &instance(2, &[])).await;
    let seen = read(cluster.node(ahead), "/v1/health/service/moving").await;
    assert_eq!(index(&seen), revision);
    let moved = watch(cluster.node(behind), "/v1/health/service/moving?stale", revision);
    waiting(cluster.node(behind), 1.0).await;
    cluster.heal().await;
    let next = register(cluster.node(ahead), "moving", "3", &instance(3, &[])).await;
    let answer = moved.await.expect("the query ends");
    assert_eq!((index(&answer), ids(&answer.json())), (next, vec!["1", "2", "3"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_when_a_node_dies_and_its_instances_do_not_die_with_it() {
    let cluster = Cluster::start(3).await;
    let dead = cluster.leader().await;
    let survivors = cluster.nodes_except(&[dead]);
    register(cluster.node(dead), "orphan", "1", &instance(1, &[])).await;
    cluster.wait_converged().await;
    let path = "/v1/health/service/orphan?passing&stale";
    let before = read(&survivors[0], path).await.json();
    assert_eq!(before[0]["Node"]["Node"], cluster.node(dead).name());
    cluster.node(dead).kill9();
    assert_eq!(ids(&read(&survivors[0], path).await.json()), ["1"], "without a leader, too");
    for node in &survivors {
        wait_until("another leader, and the dead node seen as such", DEADLINE, async || {
            let members = read(node, "/v1/agent/members").await.json();
            let failed: Vec<_> =
                members.as_array().into_iter().flatten().filter(|member| member["Status"] == 4).collect();
            let is_seen = matches!(failed.as_slice(), [one] if one["Name"] == cluster.node(dead).name());
            let answer = node.consul(Method::GET, "/v1/health/service/orphan?passing").answer().await;
            if is_seen && answer.status == 200 { Ok(()) } else { Err(format!("{members} {}", answer.text())) }
        })
        .await;
        let entry = read(node, "/v1/health/service/orphan?passing").await.json();
        assert_ne!(entry[0]["Node"]["Node"], cluster.node(dead).name(), "it is shown on a node that lives: {entry}");
        let checks = read(node, &format!("/v1/health/node/{}", cluster.node(dead).name())).await.json();
        assert_eq!((&checks[0]["CheckID"], &checks[0]["Status"]), (&json!("serfHealth"), &json!("critical")));
        let critical = read(node, "/v1/health/state/critical").await.json();
        assert!(
            critical.as_array().is_some_and(|all| all.len() == 1 && all[0]["CheckID"] == "serfHealth"),
            "{critical}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_nodes_have_the_same_index_everywhere_and_another_one_when_a_member_dies() {
    let cluster = Cluster::start(3).await;
    let dead = (cluster.leader().await + 1) % 3;
    let survivors = cluster.nodes_except(&[dead]);
    register(&survivors[0], "spread", "1", &instance(1, &[])).await;
    let of_dead = format!("/v1/health/node/{}", cluster.node(dead).name());
    let paths =
        ["/v1/catalog/nodes", "/v1/catalog/node/n1", "/v1/catalog/node-services/n1", "/v1/health/state/any", &of_dead];
    for path in paths {
        let agreed = wait_until(&format!("all nodes to say the same of {path}"), DEADLINE, async || {
            let (mut answers, mut indexes) = (Vec::new(), Vec::new());
            for node in cluster.nodes() {
                let answer = read(node, path).await;
                indexes.push(index(&answer));
                answers.push(answer.text());
            }
            let are_one = answers.iter().all(|it| *it == answers[0]) && indexes.iter().all(|it| *it == indexes[0]);
            if are_one { Ok(indexes[0]) } else { Err(format!("{indexes:?} {answers:?}")) }
        })
        .await;
        for node in cluster.nodes() {
            let began = std::time::Instant::now();
            let answer = read(node, &format!("{path}?index={agreed}&wait=200ms")).await;
            assert_eq!(index(&answer), agreed, "{path}");
            assert!(began.elapsed().as_millis() >= 200, "a client that moves to {} waits there: {path}", node.name());
        }
    }
    let mut seen = read(&survivors[1], &of_dead).await;
    cluster.node(dead).kill9();
    while seen.json()[0]["Status"] != "critical" {
        let next = watch(&survivors[1], &of_dead, index(&seen)).await.expect("the query ends");
        assert_ne!(index(&next), index(&seen), "{}", next.text());
        seen = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_asks_is_answered() {
    // As its Consul discovery does it (Debian builds Prometheus without): who am I, which services, who is in each; with waits in
    // milliseconds, flags with an empty value, and an empty user in every request.
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let revision = register(node, "consul-sd", "1", &instance(9101, &["metrics"])).await;
    let ask = async |path: &str| {
        let call = node.consul(Method::GET, path).header("authorization", "Basic Og==").timeout(DEADLINE);
        call.answer().await.expect(200)
    };
    assert_eq!(ask("/v1/agent/self").await.json()["Config"]["Datacenter"], "dc1");
    let services = ask("/v1/catalog/services?dc=dc1&stale=&wait=120000ms").await;
    assert!(services.json()["consul-sd"] == json!(["metrics"]) && index(&services) >= revision);
    let path = "/v1/health/service/consul-sd?dc=dc1&stale=&tag=metrics&wait=120000ms";
    let first = ask(path).await;
    assert_eq!((ids(&first.json()), index(&first)), (vec!["1"], revision));
    let next = watch(node, path, index(&first));
    let made = register(cluster.node(1), "consul-sd", "2", &instance(9102, &["metrics"])).await;
    let next = next.await.expect("the query ends");
    assert_eq!((ids(&next.json()), index(&next)), (vec!["1", "2"], made));
    let gone = watch(node, path, made);
    let removed = node.delete("/v1/services/consul-sd/instances/1").answer().await.expect(204).revision();
    let gone = gone.await.expect("the query ends");
    assert_eq!((ids(&gone.json()), index(&gone)), (vec!["2"], removed));
}
