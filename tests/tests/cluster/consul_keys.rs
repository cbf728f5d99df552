//! Consul's keys, sessions, transactions and events: one store on all nodes, and locks that outlive nodes and leaders.

use std::time::Duration;

use http::Method;
use rollcall_tests::{Cluster, DEADLINE, Node, SharedCluster, metric, wait_until};
use serde_json::{Value, json};

use crate::consul_calls::{get, index, put, said};

/// How often a holder says that it is there.
const RENEW_EVERY: Duration = Duration::from_secs(2);

async fn truth(node: &Node, path: &str, body: &str) -> bool {
    put(node, path, body).await.expect(200).json() == json!(true)
}

async fn session(node: &Node, body: &Value) -> String {
    let created = put(node, "/v1/session/create", body.to_string()).await.expect(200).json();
    created["ID"].as_str().expect("an id").to_owned()
}

async fn holder(node: &Node, key: &str) -> Value {
    get(node, &format!("/v1/kv/{key}")).await.expect(200).json()[0]["Session"].clone()
}

/// Waits until the key can be locked by `session`, through any node that answers.
async fn wait_locked(nodes: &[&Node], key: &str, session: &str) {
    wait_until(&format!("{key} to be locked by {session}"), DEADLINE, async || {
        for node in nodes {
            if put(node, &format!("/v1/kv/{key}?acquire={session}"), "next").await.text() == "true" {
                return Ok(());
            }
        }
        Err("it is not".to_owned())
    })
    .await;
}

#[tokio::test]
async fn keys_are_any_text_and_the_same_on_every_node() {
    let cluster = SharedCluster::get().await;
    let [one, two, three] = [0, 1, 2].map(|node| cluster.node(node));
    for (path, key) in [
        ("ck/a%2Fb", "ck/a/b"),
        ("ck/ç", "ck/ç"),
        ("ck/x.json", "ck/x.json"),
        ("ck/a%20b", "ck/a b"),
        ("ck/%2541", "ck/%41"),
    ] {
        assert!(truth(one, &format!("/v1/kv/{path}?flags=42"), "hello").await);
        let entry = get(two, &format!("/v1/kv/{path}")).await.expect(200).json()[0].clone();
        assert_eq!((&entry["Key"], &entry["Value"], &entry["Flags"]), (&json!(key), &json!("aGVsbG8="), &json!(42)));
        assert_eq!((&entry["LockIndex"], &entry["Session"]), (&json!(0), &Value::Null));
    }
    let raw = get(three, "/v1/kv/ck/a/b?raw").await.expect(200);
    assert_eq!((raw.text().as_str(), raw.header("x-content-type-options")), ("hello", Some("nosniff")));
    assert!(truth(one, "/v1/kv/ck/empty", "").await);
    assert_eq!(get(two, "/v1/kv/ck/empty").await.json()[0]["Value"], Value::Null);
    let keys = get(two, "/v1/kv/ck/?keys&separator=/").await.json();
    assert_eq!(keys, json!(["ck/%41", "ck/a b", "ck/a/", "ck/empty", "ck/x.json", "ck/ç"]));
    let under = get(three, "/v1/kv/ck/a?recurse").await.expect(200);
    assert_eq!(under.json().as_array().map(Vec::len), Some(2));

    let modified = get(one, "/v1/kv/ck/a/b").await.json()[0]["ModifyIndex"].as_u64().expect("an index");
    assert!(!truth(two, "/v1/kv/ck/a/b?cas=0", "second").await, "it is there");
    assert!(truth(two, &format!("/v1/kv/ck/a/b?cas={modified}"), "second").await);
    assert!(!truth(two, &format!("/v1/kv/ck/a/b?cas={modified}"), "third").await, "it changed");
    let delete = async |node: &Node, path: &str| node.consul(Method::DELETE, path).answer().await.expect(200).text();
    assert_eq!(delete(three, "/v1/kv/ck/a/b?cas=0").await, "false");
    assert_eq!(delete(three, "/v1/kv/ck/a/b?recurse=false").await, "true");
    assert!(
        get(one, "/v1/kv/ck/a%20b").await.status == 200,
        "only presence of `recurse` with a true value takes the rest"
    );
    let gone = get(one, "/v1/kv/ck/a/b").await.expect(404);
    assert!(gone.text().is_empty() && index(&gone) > modified, "what is gone can be waited for");
    assert_eq!(delete(one, "/v1/kv/ck/?recurse").await, "true");
    assert_eq!(get(two, "/v1/kv/ck/?keys").await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_done_with_keys_is_told_in_consuls_words() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    said(&get(node, "/v1/kv/").await, 400, "Missing key name");
    said(&put(node, "/v1/kv/", "x").await, 400, "Missing key name");
    said(&put(node, "/v1/kv/k?cas=1&acquire=x", "x").await, 400, "Conflicting flags: cas&acquire");
    said(&put(node, "/v1/kv/k?acquire=nobody", "x").await, 500, "invalid session \"nobody\"");
    let unknown = "00000000-0000-0000-0000-0000000000ff";
    said(&put(node, &format!("/v1/kv/k?acquire={unknown}"), "x").await, 500, &format!("invalid session \"{unknown}\""));
    for (path, part) in [
        ("k?cas=x", "Invalid cas"),
        ("k?cas=", "Invalid cas"),
        ("k?flags=-1", "Invalid flags"),
        (&*"k".repeat(513), "Invalid key"),
    ] {
        let answer = put(node, &format!("/v1/kv/{path}"), "x").await.expect(400);
        assert!(answer.text().starts_with(part), "{}", answer.text());
    }
    let large = put(node, "/v1/kv/large", vec![b'x'; 512 * 1024 + 1]).await.expect(413);
    assert!(large.text().contains("max size: 524288 bytes"), "{}", large.text());
    assert!(put(node, "/v1/kv/large", vec![b'x'; 512 * 1024]).await.text() == "true");
    let post = node.consul(Method::POST, "/v1/kv/k").answer().await.expect(405);
    assert!(post.header("allow").is_some_and(|allow| allow.contains("PUT")), "{}", post.line);

    let create = async |body: Value| put(node, "/v1/session/create", body.to_string()).await;
    let ttl = create(json!({"TTL": "5s"})).await;
    said(&ttl, 500, "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]");
    said(&create(json!({"Node": "elsewhere"})).await, 500, "Missing node registration");
    said(&create(json!({"Checks": ["service:none"]})).await, 500, "Missing check 'service:none' registration");
    said(&create(json!({"Behavior": "keep"})).await, 500, "Invalid Behavior setting 'keep'");
    said(&put(node, "/v1/session/renew/x", "").await, 404, "Session id 'x' not found");
    assert_eq!(get(node, "/v1/session/info/x").await.expect(200).json(), json!([]));
    assert!(truth(node, "/v1/session/destroy/x", "").await, "what is gone is as it should be");
    assert_eq!(node.consul(Method::GET, "/v1/session/create").answer().await.status, 405);
    let conflict = put(node, "/v1/txn", r#"[{"KV":{"Verb":"get","Key":"txn/none"}}]"#).await.expect(409).json();
    assert_eq!(conflict["Errors"], json!([{"OpIndex": 0, "What": "key \"txn/none\" doesn't exist"}]));
    let fired = put(node, "/v1/event/fire/big", vec![b'x'; 513]).await;
    said(&fired, 413, "user event payload exceeds limit of 512 bytes");
}

#[tokio::test]
async fn several_keys_change_at_once_or_not_at_all() {
    let cluster = SharedCluster::get().await;
    let (one, two) = (cluster.node(0), cluster.node(1));
    let both = r#"[{"KV":{"Verb":"set","Key":"txn/1","Value":"b25l"}},{"KV":{"Verb":"set","Key":"txn/2","Value":"dHdv"}},{"KV":{"Verb":"get-tree","Key":"txn/"}}]"#;
    let done = put(one, "/v1/txn", both).await.expect(200).json();
    let keys: Vec<_> =
        done["Results"].as_array().expect("a list").iter().map(|it| (&it["KV"]["Key"], &it["KV"]["Value"])).collect();
    let (first, second, none) = (json!("txn/1"), json!("txn/2"), Value::Null);
    assert_eq!(keys, [(&first, &none), (&second, &none), (&first, &json!("b25l")), (&second, &json!("dHdv"))]);
    let half =
        r#"[{"KV":{"Verb":"delete","Key":"txn/1"}},{"KV":{"Verb":"cas","Key":"txn/2","Value":"eA==","Index":1}}]"#;
    put(two, "/v1/txn", half).await.expect(409);
    assert_eq!(get(one, "/v1/kv/txn/1?raw").await.expect(200).text(), "one");
}

#[tokio::test]
async fn a_transaction_tells_what_each_of_its_operations_found() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    let holder = session(node, &json!({"Name": "teller"})).await;
    for key in ["told/held", "told/free"] {
        assert!(truth(node, &format!("/v1/kv/{key}?acquire={holder}&flags=7"), "v").await);
    }
    let index = get(node, "/v1/kv/told/held").await.json()[0]["ModifyIndex"].clone();
    let free = get(node, "/v1/kv/told/free").await.json()[0]["ModifyIndex"].clone();
    let operation = |verb: &str, key: &str| json!({"Verb": verb, "Key": key, "Value": "bmV3", "Session": holder});
    let with_index = |mut operation: Value, index: &Value| {
        operation["Index"] = index.clone();
        operation
    };
    // Each with the key and the value of its results.
    let (held, empty) = (json!(["told/held", null]), json!(["told/none", null]));
    let told = [
        (operation("check-session", "told/held"), vec![held.clone()]),
        (with_index(operation("check-index", "told/held"), &index), vec![held.clone()]),
        (operation("check-not-exists", "told/none"), vec![]),
        (operation("get", "told/held"), vec![json!(["told/held", "dg=="])]),
        (operation("get-or-empty", "told/held"), vec![json!(["told/held", "dg=="])]),
        (operation("get-or-empty", "told/none"), vec![empty]),
        (with_index(operation("cas", "told/free"), &free), vec![json!(["told/free", null])]),
        (operation("set", "told/set"), vec![json!(["told/set", null])]),
        (operation("unlock", "told/free"), vec![json!(["told/free", null])]),
        (operation("lock", "told/free"), vec![json!(["told/free", null])]),
        (operation("get-tree", "told/s"), vec![json!(["told/set", "bmV3"])]),
        (operation("delete", "told/set"), vec![]),
        (operation("delete-tree", "told/"), vec![]),
    ];
    let body: Vec<Value> = told.iter().map(|(operation, _)| json!({"KV": operation})).collect();
    let done = put(node, "/v1/txn", json!(body).to_string()).await.expect(200).json();
    let results = done["Results"].as_array().expect("a list").iter();
    let results: Vec<_> = results.map(|it| json!([it["KV"]["Key"], it["KV"]["Value"]])).collect();
    assert!(truth(node, &format!("/v1/session/destroy/{holder}"), "").await);
    assert_eq!(results, told.into_iter().flat_map(|(_, results)| results).collect::<Vec<_>>(), "{done}");
    assert_eq!(done["Results"][0]["KV"]["Session"], json!(holder));
    assert_eq!(
        (&done["Results"][4]["KV"]["ModifyIndex"], &done["Results"][4]["KV"]["Key"]),
        (&json!(0), &json!("told/none"))
    );
    for (verb, text) in [
        ("check-session", "failed to check session, key \"told/held\" doesn't exist"),
        ("check-index", "failed to check index, key \"told/held\" doesn't exist"),
    ] {
        let body = json!([{"KV": with_index(operation(verb, "told/held"), &index)}]).to_string();
        let refused = put(node, "/v1/txn", body).await.expect(409).json();
        assert_eq!(refused["Errors"][0]["What"], text);
    }
}

#[tokio::test]
async fn who_locks_a_key_that_was_removed_has_a_higher_number_than_every_holder_before() {
    let cluster = SharedCluster::get().await;
    let (one, two) = (cluster.node(0), cluster.node(1));
    let body = json!({"LockDelay": "0s", "Behavior": "delete", "Checks": []});
    let mut numbers = Vec::new();
    for removal in ["delete", "destroy", "txn"] {
        let holder = session(one, &body).await;
        assert!(truth(two, &format!("/v1/kv/fence/a?acquire={holder}"), "mine").await, "{removal}");
        numbers.push(get(two, "/v1/kv/fence/a").await.expect(200).json()[0]["LockIndex"].clone());
        match removal {
            "delete" => drop(one.consul(Method::DELETE, "/v1/kv/fence/?recurse").answer().await.expect(200)),
            "destroy" => assert!(truth(two, &format!("/v1/session/destroy/{holder}"), "").await),
            _ => drop(put(one, "/v1/txn", r#"[{"KV":{"Verb":"delete","Key":"fence/a"}}]"#).await.expect(200)),
        }
        assert_eq!(get(one, "/v1/kv/fence/a?consistent").await.status, 404, "{removal}");
        assert!(truth(one, &format!("/v1/session/destroy/{holder}"), "").await);
    }
    assert_eq!(numbers, [1, 2, 3]);
    assert!(truth(one, "/v1/kv/fence/a", "anew").await);
    assert_eq!(get(one, "/v1/kv/fence/a").await.json()[0]["LockIndex"], 3);
}

/// The index in the ID of an event, as Consul's Go client computes it: one half of the ID XOR the other.
fn index_in(id: &Value) -> u64 {
    let digits = id.as_str().expect("an id").replace('-', "");
    let [first, second] = [&digits[..16], &digits[16..]].map(|half| u64::from_str_radix(half, 16).expect("hex"));
    first ^ second
}

#[tokio::test]
async fn an_event_is_heard_on_every_node() {
    let cluster = SharedCluster::get().await;
    let fired = put(cluster.node(0), "/v1/event/fire/deploy-web?service=web", "v7").await.expect(200).json();
    let listed = get(cluster.node(2), "/v1/event/list?name=deploy-web").await.expect(200);
    assert_eq!(listed.json()[0], fired);
    assert_eq!((&fired["Payload"], &fired["ServiceFilter"]), (&json!("djc="), &json!("web")));
    assert_eq!(index_in(&fired["ID"]), index(&listed), "clients find by it what they saw last");
    let path = format!("/v1/event/list?name=deploy-web&index={}&wait=60s", index(&listed));
    let waiting = cluster.node(1).consul(Method::GET, &path).timeout(DEADLINE);
    let waiting = tokio::spawn(async move { waiting.answer().await.expect(200) });
    put(cluster.node(0), "/v1/event/fire/deploy-web", "v8").await.expect(200);
    let events = waiting.await.expect("the query ends").json();
    assert_eq!(events.as_array().map(Vec::len), Some(2), "{events}");
}

#[tokio::test]
async fn a_session_may_hang_on_a_check_that_another_node_took_a_moment_ago() {
    let cluster = SharedCluster::get().await;
    let [one, other] = [0, 1].map(|node| cluster.node(node));
    for number in 0..20 {
        let id = format!("fresh-{number}");
        let check = json!({"Name": id, "TTL": "60s", "Status": "passing"});
        put(one, "/v1/agent/check/register", check.to_string()).await.expect(200);
        let made = put(other, "/v1/session/create", json!({"TTL": "10s", "Checks": [id]}).to_string()).await;
        // It may be too early for its health to be known there, which is told in other words.
        assert!(made.status == 200 || made.text().contains("critical state"), "{id}: {}", made.text());
        put(one, &format!("/v1/agent/check/deregister/{id}"), "").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_a_key_is_woken_by_that_key_alone() {
    let cluster = Cluster::start(3).await;
    let node = cluster.node(0);
    assert!(truth(node, "/v1/kv/app/config", "1").await);
    let seen = index(&get(node, "/v1/kv/app/config").await);
    let paths = ["app/config?", "app/absent?", "app/?recurse&", "app/?keys&"];
    let watchers: Vec<_> = paths
        .iter()
        .map(|path| {
            let call = node.consul(Method::GET, &format!("/v1/kv/{path}index={seen}&wait=60s")).timeout(DEADLINE);
            tokio::spawn(async move { call.answer().await })
        })
        .collect();
    let count = async |name: &str| metric(&node.metrics().await, name, &[]);
    wait_until("four queries to wait", DEADLINE, async || {
        let waiting = count("rollcall_consul_blocking_queries").await;
        if waiting == 4.0 { Ok(()) } else { Err(waiting.to_string()) }
    })
    .await;
    for number in 0..100 {
        assert!(truth(cluster.node(number % 3), &format!("/v1/kv/other/{number}"), "x").await);
    }
    cluster.wait_converged().await;
    assert_eq!(count("rollcall_consul_wakes_total").await, 0.0, "a hundred writes elsewhere wake nobody");
    assert!(truth(cluster.node(1), "/v1/kv/app/config", "2").await);
    assert!(truth(cluster.node(2), "/v1/kv/app/absent", "now").await);
    for (path, watcher) in paths.iter().zip(watchers) {
        let answer = watcher.await.expect("the query ends").expect(200);
        assert!(index(&answer) > seen, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_held_by_one_and_passes_on_when_its_holder_is_silent() {
    let cluster = Cluster::start(3).await;
    let nodes: Vec<&Node> = cluster.nodes().iter().map(|node| &**node).collect();
    let body = json!({"TTL": "10s", "LockDelay": "1s", "Name": "elect", "Checks": []});
    let [first, second] = [session(nodes[0], &body).await, session(nodes[1], &body).await];
    assert!(truth(nodes[0], &format!("/v1/kv/leader?acquire={first}"), "one").await);
    assert!(!truth(nodes[1], &format!("/v1/kv/leader?acquire={second}"), "two").await);
    assert!(!truth(nodes[2], &format!("/v1/kv/leader?release={second}"), "two").await);
    assert!(truth(nodes[2], &format!("/v1/kv/leader?acquire={first}"), "still one").await);
    let entry = get(nodes[1], "/v1/kv/leader").await.json()[0].clone();
    assert_eq!((&entry["LockIndex"], &entry["Session"]), (&json!(1), &json!(first)));

    // The leader of the cluster goes; the lock stays, and renewals go on through another node.
    let dead = cluster.leader().await;
    cluster.node(dead).kill9();
    let living = cluster.nodes_except(&[dead]);
    let living: Vec<&Node> = living.iter().map(|node| &**node).collect();
    cluster.leader().await;
    assert_eq!(holder(living[0], "leader").await, json!(first));
    let renewed = put(living[1], &format!("/v1/session/renew/{second}"), "").await.expect(200).json();
    assert_eq!(
        (&renewed[0]["ID"], &renewed[0]["TTL"], &renewed[0]["LockDelay"]),
        (&json!(second), &json!("10s"), &json!(1_000_000_000))
    );
    // The first one says nothing any more.
    let renewing = async {
        let mut pace = tokio::time::interval(RENEW_EVERY);
        loop {
            pace.tick().await;
            // It may meet an election.
            put(living[0], &format!("/v1/session/renew/{second}"), "").await;
        }
    };
    tokio::select! {
        () = renewing => {}
        () = wait_locked(&living, "leader", &second) => {}
    }
    let entry = get(living[0], "/v1/kv/leader").await.json()[0].clone();
    assert_eq!((&entry["LockIndex"], &entry["Session"]), (&json!(2), &json!(second)));
    said(
        &put(living[1], &format!("/v1/session/renew/{first}"), "").await,
        404,
        &format!("Session id '{first}' not found"),
    );
    assert!(truth(living[1], &format!("/v1/kv/leader?release={second}"), "free").await);
    assert_eq!(holder(living[0], "leader").await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_what_it_hangs_on() {
    let cluster = Cluster::start(3).await;
    let dead = (cluster.leader().await + 1) % 3;
    let living = cluster.nodes_except(&[dead]);
    let living: Vec<&Node> = living.iter().map(|node| &**node).collect();
    // Without a TTL, and as Consul has it, a session lives as long as its node.
    let of_node = session(cluster.node(dead), &json!({"LockDelay": "0s", "Behavior": "delete"})).await;
    assert!(truth(living[0], &format!("/v1/kv/ephemeral?acquire={of_node}"), "here").await);
    let service = json!({"Name": "batch", "ID": "batch-1", "Port": 80, "Check": {"TTL": "600s", "Status": "passing"}});
    put(living[0], "/v1/agent/service/register", service.to_string()).await.expect(200);
    wait_until("the check to pass", DEADLINE, async || {
        let entries = get(living[1], "/v1/health/service/batch?passing").await.json();
        if entries.as_array().is_some_and(|entries| entries.len() == 1) { Ok(()) } else { Err(entries.to_string()) }
    })
    .await;
    let of_check =
        session(living[1], &json!({"LockDelay": "0s", "NodeChecks": [], "ServiceChecks": [{"ID": "service:batch-1"}]}))
            .await;
    assert!(truth(living[1], &format!("/v1/kv/job?acquire={of_check}"), "mine").await);
    assert_eq!(
        get(living[0], &format!("/v1/session/info/{of_check}")).await.json()[0]["ServiceChecks"][0]["ID"],
        "service:batch-1"
    );

    put(living[1], "/v1/agent/check/fail/service:batch-1", "").await.expect(200);
    wait_until("the session to end with its check", DEADLINE, async || {
        let holder = holder(living[0], "job").await;
        if holder == Value::Null { Ok(()) } else { Err(holder.to_string()) }
    })
    .await;
    cluster.node(dead).kill9();
    wait_until("the key to go with its node", DEADLINE, async || {
        match get(living[0], "/v1/kv/ephemeral?stale").await.status {
            404 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    assert_eq!(get(living[1], "/v1/session/list").await.json(), json!([]));
    let history = living[0].get("/v1/history?limit=20").answer().await.expect(200).json();
    let causes: Vec<&Value> = history["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|it| it["action"] == "session_closed")
        .map(|it| &it["cause"])
        .collect();
    assert_eq!(causes.len(), 2, "{history}");
    assert!(causes.iter().any(|cause| cause.as_str().is_some_and(|cause| cause.ends_with("is dead"))), "{causes:?}");
}
