//! What operators decide about an instance: on any node, with who and why, and ending by itself.

use rollcall_tests::{DEADLINE, Node, SharedCluster, Watcher, registration, rollcall, segment, wait_until};
use serde_json::{Value, json};

fn path(id: &str) -> String {
    format!("/v1/services/lifecycle/instances/{}", segment(id))
}

async fn registered(node: &Node, id: &str) -> u64 {
    node.register("lifecycle", id, &registration(8080)).await.expect(201).revision()
}

/// The instance on this node, at least as of `revision`.
async fn held(node: &Node, id: &str, revision: u64) -> Value {
    node.get(&format!("{}?min_revision={revision}", path(id))).answer().await.expect(200).json()
}

fn post(node: &Node, id: &str, word: &str) -> rollcall_tests::Call {
    node.post(&format!("{}/{word}", path(id)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_any_node_is_told_about_an_instance_every_node_shows() {
    let cluster = SharedCluster::get().await;
    for (index, node) in cluster.nodes().iter().enumerate() {
        let id = format!("i-{index}/a#b");
        registered(node, &id).await;
        let body = json!({"deadline_ms": 60_000, "reason": "deploy 42"});
        let drained = post(node, &id, "drain").json(&body).answer().await.expect(200);
        assert_eq!(drained.json()["changed"], true);
        for reader in cluster.nodes() {
            let shown = held(reader, &id, drained.revision()).await["lifecycle"].clone();
            assert_eq!((&shown["state"], &shown["reason"]), (&json!("draining"), &json!("deploy 42")), "{shown}");
            assert!(shown["deadline"].is_string() && shown.get("deadline_passed").is_none(), "{shown}");
        }
        let back = post(node, &id, "undrain").answer().await.expect(200);
        assert_eq!(held(node, &id, back.revision()).await["lifecycle"], json!({"state": "active"}));
        let kept = post(node, &id, "quarantine").json(&json!({"ttl_ms": 60_000})).answer().await.expect(200);
        assert_eq!(held(node, &id, kept.revision()).await["lifecycle"]["state"], "quarantined");
        let free = post(node, &id, "release").answer().await.expect(200);
        assert_eq!(held(node, &id, free.revision()).await["lifecycle"], json!({"state": "active"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeating_a_decision_changes_nothing_and_a_new_registration_keeps_it() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    registered(node, "twice").await;
    let first = post(node, "twice", "drain").json(&json!({"reason": "why"})).answer().await.expect(200);
    let again = post(cluster.node(1), "twice", "drain").answer().await.expect(200);
    assert_eq!(again.json()["changed"], false, "the reason that was given stays");
    assert_eq!(again.header("etag"), first.header("etag"));
    let active = node.register("lifecycle", "twice", &registration(9090)).await.expect(200);
    assert_eq!(held(node, "twice", active.revision()).await["lifecycle"]["reason"], "why");
    post(node, "twice", "undrain").answer().await.expect(200);
    let again = post(cluster.node(2), "twice", "undrain").json(&json!({})).answer().await.expect(200);
    assert_eq!(again.json()["changed"], false);
    let idle = post(node, "twice", "release").answer().await.expect(200);
    assert_eq!(idle.json()["changed"], false, "what is not quarantined needs no release");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_sent_again_under_its_key_gets_the_first_answer() {
    let cluster = SharedCluster::get().await;
    registered(cluster.node(0), "keyed").await;
    let body = json!({"ttl_ms": 60_000, "reason": "why"});
    let send = |index: usize| {
        let call = post(cluster.node(index), "keyed", "quarantine").header("Idempotency-Key", "quarantine-keyed");
        call.json(&body).answer()
    };
    let first = send(0).await.expect(200);
    let shown = held(cluster.node(0), "keyed", first.revision()).await;
    let second = send(1).await.expect(200);
    assert_eq!(second.revision(), first.revision());
    assert_eq!(held(cluster.node(1), "keyed", first.revision()).await["lifecycle"], shown["lifecycle"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_ends_by_itself_on_every_node_for_all_to_hear_and_a_deadline_that_passed_is_said() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    registered(node, "brief").await;
    registered(node, "late").await;
    let kept = post(node, "brief", "quarantine").json(&json!({"ttl_ms": 1_000})).answer().await.expect(200);
    let drained = post(node, "late", "drain").json(&json!({"deadline_ms": 1_000})).answer().await.expect(200);
    let mut watcher = Watcher::open(cluster.node(2), "service=lifecycle", Some(kept.revision())).await;
    for reader in cluster.nodes() {
        wait_until("the end of both", DEADLINE, async || {
            let brief = held(reader, "brief", kept.revision()).await;
            let late = held(reader, "late", drained.revision()).await;
            let is_over = brief["lifecycle"]["state"] == "active" && late["lifecycle"]["deadline_passed"] == true;
            if is_over { Ok(()) } else { Err(format!("{} and {}", brief["lifecycle"], late["lifecycle"])) }
        })
        .await;
        assert_eq!(held(reader, "late", 0).await["lifecycle"]["state"], "draining");
    }
    let ended = loop {
        // Other tests decide about other instances of this service.
        let seen = watcher.next_change().await.expect("the stream goes on");
        if seen.data["instance"]["id"] == "brief" {
            break seen.data;
        }
    };
    let state = &ended["instance"]["lifecycle"]["state"];
    let expected = (&json!("active"), &json!("the quarantine is over"), &json!("rollcall"));
    assert_eq!((state, &ended["cause"], &ended["actor"]), expected, "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_word_undoes_its_own_decision_only() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    registered(node, "crossed").await;
    let refused = async |word: &str, part: &str| {
        let call = post(node, "crossed", word);
        let call = if word == "quarantine" { call.json(&json!({"ttl_ms": 5_000})) } else { call };
        let answer = call.answer().await.expect(409);
        assert_eq!(answer.code(), "lifecycle_conflict");
        assert!(answer.text().contains(part), "{}", answer.text());
    };
    post(node, "crossed", "quarantine").json(&json!({"ttl_ms": 60_000})).answer().await.expect(200);
    refused("undrain", "release it").await;
    post(node, "crossed", "drain").answer().await.expect(200);
    refused("release", "undrain it").await;
    refused("quarantine", "undrain it first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_the_field_and_unknown_instances_are_not_made() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let revision = registered(node, "refusing").await;
    for (word, body, field) in [
        ("drain", json!({"deadline_ms": 999}), "deadline_ms"),
        ("drain", json!({"deadline_ms": u64::MAX}), "deadline_ms"),
        ("drain", json!({"reason": "x".repeat(513)}), "reason"),
        ("drain", json!({"until": "tomorrow"}), "until"),
        ("quarantine", json!({}), "ttl_ms"),
        ("quarantine", json!({"ttl_ms": 604_800_001}), "ttl_ms"),
        ("undrain", json!({"deadline_ms": 5_000}), "deadline_ms"),
        ("release", json!({"reason": 5}), "reason"),
    ] {
        let answer = post(node, "refusing", word).json(&body).answer().await.expect(422);
        assert_eq!(answer.json()["errors"][0]["field"], field, "{word}: {}", answer.text());
    }
    assert_eq!(post(node, "refusing", "quarantine").answer().await.expect(422).code(), "invalid_field");
    assert_eq!(held(node, "refusing", 0).await["revision"], revision);
    assert_eq!(post(node, "nobody", "drain").answer().await.expect(404).code(), "instance_not_found");
    let stale = post(node, "refusing", "drain").header("If-Match", "\"1\"").answer().await.expect(412);
    assert_eq!(stale.code(), "revision_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_and_watches_show_who_decided_what_and_why() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    let start = registered(node, "told").await;
    let mut watcher = Watcher::open(cluster.node(2), "service=lifecycle", Some(start)).await;
    let url = node.url();
    for arguments in [
        &["drain", "lifecycle", "told", "--deadline", "5m", "--reason", "deploy 42"][..],
        &["undrain", "lifecycle", "told", "--reason", "deploy 42 is done"],
        &["quarantine", "lifecycle", "told", "--ttl", "15m", "--reason", "wrong answers"],
        &["release", "lifecycle", "told"],
    ] {
        let arguments = [arguments, &["--server", &url, "--actor", "ann"]].concat();
        let finished = rollcall(&arguments).await;
        assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
    }
    let expected = [
        ("draining", Some("deploy 42"), "draining"),
        ("activated", Some("deploy 42 is done"), "active"),
        ("quarantined", Some("wrong answers"), "quarantined"),
        ("activated", None, "active"),
    ];
    for (action, reason, state) in expected {
        let seen = loop {
            // Other tests decide about other instances of this service.
            let seen = watcher.next_change().await.expect("the stream goes on");
            if seen.data["instance"]["id"] == "told" {
                break seen;
            }
        };
        assert_eq!(seen.event, "put");
        assert_eq!(seen.data["instance"]["lifecycle"]["state"], state);
        assert_eq!((&seen.data["cause"], &seen.data["actor"]), (&json!(reason.unwrap_or(action)), &json!("ann")));
    }
    let history = node.get("/v1/history?service=lifecycle&instance=told").answer().await.expect(200).items();
    let told: Vec<_> = history.iter().rev().skip(1).map(|it| (&it["action"], &it["cause"], &it["actor"])).collect();
    let expected = expected.map(|(action, reason, _)| (json!(action), json!(reason), json!("ann")));
    let expected: Vec<_> = expected.iter().map(|(action, cause, actor)| (action, cause, actor)).collect();
    assert_eq!(told, expected);
}
