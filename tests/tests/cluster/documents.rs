//! What is kept beside instances: definitions, configuration documents, keys, and the history of all of it.

use rollcall_tests::{SharedCluster, Watcher, registration, segment};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_read_back_as_it_was_given() {
    let cluster = SharedCluster::get().await;
    let definition = json!({
        "version": "2.3.1",
        "description": "Turns columns of numbers into summaries.",
        "capabilities": ["statistics", "data_analysis"],
        "required_capabilities": ["web_scraping"],
        "expected_response_time_ms": 800,
        "max_concurrent_requests": 8,
        "resources": {"cpu": "2"},
        "cost": 0.004,
        "tags": ["agent"],
        "owner": "insights@example.com",
        "docs_url": "https://docs.example.com/analyst",
        "config_schema": {"type": "object"},
        "slow_start_ms": 30_000,
        "selection": {
            "strategy": "locality",
            "weights": {"load": 3, "performance": 0.25, "proximity": 0, "specialization": 0, "cost": 1},
            "tie_band": 0.05,
            "fail_open": 0.3,
            "subset": 20,
            "dns_ttl_ms": 5_000,
        },
    });
    let put = cluster.node(0).put("/v1/services/defined").json(&definition).answer().await.expect(201);
    let path = format!("/v1/services/defined?min_revision={}", put.revision());
    let read = cluster.node(2).get(&path).answer().await.expect(200).json();
    assert_eq!(read["name"], "defined");
    assert_eq!(read["instance_count"], 0);
    let mut expected = definition.clone();
    expected["capabilities"] = json!(["data_analysis", "statistics"]);
    assert_eq!(read["definition"], expected);
    let by_capability = cluster.node(2).get("/v1/services?capability=data_analysis").answer().await.expect(200);
    assert!(by_capability.items().iter().any(|item| item["name"] == "defined"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_instances_is_not_removed_and_one_without_is() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    node.put("/v1/services/kept").json(&json!({"owner": "me"})).answer().await.expect(201);
    node.register("kept", "i-1", &registration(8080)).await.expect(201);
    assert_eq!(node.delete("/v1/services/kept").answer().await.expect(409).code(), "service_not_empty");
    node.delete("/v1/services/kept/instances/i-1").answer().await.expect(204);
    node.get("/v1/services/kept?consistency=linearizable").answer().await.expect(200);
    node.delete("/v1/services/kept").answer().await.expect(204);
    node.get("/v1/services/kept?consistency=linearizable").answer().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_document_is_versioned_guarded_and_checked_against_the_schema_and_watchers_are_told() {
    let cluster = SharedCluster::get().await;
    let schema = json!({
        "type": "object",
        "required": ["limit"],
        "properties": {"limit": {"type": "integer", "minimum": 1}},
        "additionalProperties": false,
    });
    let node = cluster.node(0);
    node.put("/v1/services/configured").json(&json!({"config_schema": schema})).answer().await.expect(201);
    let missing = node.get("/v1/services/configured/config?consistency=linearizable").answer().await.expect(404);
    assert_eq!(missing.code(), "config_not_found");
    let mut watcher = Watcher::open(cluster.node(2), "service=configured", None).await;

    let put =
        |index: usize, body: serde_json::Value| cluster.node(index).put("/v1/services/configured/config").json(&body);
    let broken = put(1, json!({"limit": 0, "more": true})).answer().await.expect(422);
    assert_eq!(broken.code(), "invalid_field");
    let fields = broken.json()["errors"].as_array().map(Vec::len);
    assert!(fields >= Some(1), "the refusal says what is wrong: {}", broken.text());

    let first = put(1, json!({"limit": 5})).answer().await;
    assert!(matches!(first.status, 200 | 201), "{}", first.text());
    let tag = first.header("etag").expect("a written document has a tag").to_owned();
    let second = put(2, json!({"limit": 6})).header("If-Match", &tag).answer().await.expect(200);
    let stale = put(0, json!({"limit": 7})).header("If-Match", &tag).answer().await.expect(412);
    assert_eq!(stale.code(), "revision_mismatch");

    for node in cluster.nodes() {
        let path = format!("/v1/services/configured/config?min_revision={}", second.revision());
        let read = node.get(&path).answer().await.expect(200);
        assert_eq!(read.header("etag"), second.header("etag"));
        let read = read.json();
        assert_eq!(read["version"], 2);
        assert_eq!(read["document"], json!({"limit": 6}));
        assert_eq!(read["revision"], second.revision());
    }
    for (revision, version) in [(first.revision(), 1), (second.revision(), 2)] {
        let told = watcher.next_change().await.expect("the stream goes on");
        assert_eq!((told.event.as_str(), told.id), ("config", Some(revision)), "{told:?}");
        assert_eq!(told.data["version"], version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_keeps_its_text_to_the_letter() {
    let cluster = SharedCluster::get().await;
    let text = r#"{ "b":1.10, "a": [ 1e2 ],"ü":"\u00fc" }"#;
    let put = cluster.node(0).put("/v1/services/lettered/config").header("Content-Type", "application/json");
    let put = put.body(text.as_bytes()).answer().await;
    assert!(matches!(put.status, 200 | 201), "{}", put.text());
    let path = format!("/v1/services/lettered/config?min_revision={}", put.revision());
    let read = cluster.node(1).get(&path).answer().await.expect(200).text();
    assert!(read.contains(text), "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_holds_any_bytes_and_any_name() {
    let cluster = SharedCluster::get().await;
    let value: Vec<u8> = (0..=255).collect();
    for key in ["plain", "a/b/c", "ü #?%/../x", "trailing/"] {
        let path = format!("/v1/kv/{}", segment(key));
        let put = cluster.node(0).put(&path).body(value.clone()).answer().await.expect(201);
        let read = cluster.node(1).get(&format!("{path}?min_revision={}", put.revision())).answer().await.expect(200);
        assert_eq!(read.body, value, "{key}");
        assert_eq!(read.header("etag"), put.header("etag"));
        let gone = cluster.node(2).delete(&path).answer().await.expect(204);
        let read = cluster.node(0).get(&format!("{path}?min_revision={}", gone.revision())).answer().await.expect(404);
        assert_eq!(read.code(), "key_not_found", "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_guarded_by_its_revision() {
    let cluster = SharedCluster::get().await;
    let put = |index: usize, value: &'static str| cluster.node(index).put("/v1/kv/guarded-key").body(value);
    let first = put(0, "1").header("If-None-Match", "*").answer().await.expect(201);
    put(1, "2").header("If-None-Match", "*").answer().await.expect(412);
    let tag = first.header("etag").unwrap_or_default().to_owned();
    put(1, "2").header("If-Match", &tag).answer().await.expect(200);
    put(2, "3").header("If-Match", &tag).answer().await.expect(412);
    let read = cluster.node(2).get("/v1/kv/guarded-key?consistency=linearizable").answer().await.expect(200);
    assert_eq!(read.text(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_says_who_did_what_when_and_through_which_node() {
    let cluster = SharedCluster::get().await;
    let path = "/v1/services/told/instances/i-1";
    let by =
        |index: usize, method: http::Method| cluster.node(index).call(method, path).header("X-Rollcall-Actor", "ada");
    let made = by(0, http::Method::PUT).json(&registration(1)).answer().await.expect(201).revision();
    let changed = by(1, http::Method::PUT).json(&registration(2)).answer().await.expect(200).revision();
    let gone = cluster.node(2).delete(&format!("{path}?reason=the+rack+is+sold")).header("X-Rollcall-Actor", "ada");
    let gone = gone.answer().await.expect(204).revision();
    for node in cluster.nodes() {
        node.get(&format!("/v1/services?min_revision={gone}")).answer().await.expect(200);
        let records = node.get("/v1/history?service=told").answer().await.expect(200).items();
        let shown: Vec<_> = records.iter().map(|it| (it["revision"].as_u64(), it["action"].as_str())).collect();
        let expected = [(gone, "deregistered"), (changed, "updated"), (made, "registered")];
        assert_eq!(shown, expected.map(|(revision, action)| (Some(revision), Some(action))), "newest first");
        assert_eq!(records[0]["cause"], "the rack is sold", "{}", records[0]);
        for (record, via) in records.iter().zip(["n3", "n2", "n1"]) {
            assert_eq!(record["actor"], "ada");
            assert_eq!(record["via"], via);
            assert_eq!(record["instance"], "i-1");
            assert!(record["at"].as_str().is_some_and(|at| at.len() == 24 && at.ends_with('Z')), "{record}");
        }
    }
    let at = |index: usize, records: &[serde_json::Value]| segment(records[index]["at"].as_str().unwrap_or_default());
    let records = cluster.node(0).get("/v1/history?service=told").answer().await.expect(200).items();
    let later = format!("/v1/history?service=told&from={}", at(0, &records));
    assert!(cluster.node(0).get(&later).answer().await.expect(200).items().iter().any(|it| it["revision"] == gone));
    let earlier = format!("/v1/history?service=told&to={}", at(2, &records));
    assert!(cluster.node(0).get(&earlier).answer().await.expect(200).items().iter().any(|it| it["revision"] == made));
}
