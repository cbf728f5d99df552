//! Registering, changing and removing instances; conditions; requests that are sent again.

use rollcall_tests::{Answer, Node, SharedCluster, registration, segment};
use serde_json::{Value, json};

fn path(service: &str, id: &str) -> String {
    format!("/v1/services/{service}/instances/{}", segment(id))
}

/// The instance on this node, at least as of `revision`.
async fn held(node: &Node, service: &str, id: &str, revision: u64) -> Value {
    let read = node.get(&format!("{}?min_revision={revision}", path(service, id))).answer().await.expect(200);
    assert!(read.revision() >= revision, "{}: asked for {revision}, got {}", read.line, read.revision());
    read.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_taken_by_any_node_is_readable_on_every_node_with_its_revision() {
    let cluster = SharedCluster::get().await;
    for taker in cluster.nodes() {
        let id = format!("{}:80/a#b zwölf", taker.name());
        let answer = taker.register("any-node", &id, &registration(8080)).await.expect(201);
        assert_eq!(answer.json()["created"], true);
        assert_eq!(answer.header("etag"), Some(format!("\"{}\"", answer.revision()).as_str()));
        for node in cluster.nodes() {
            let instance = held(node, "any-node", &id, answer.revision()).await;
            assert_eq!(instance["id"], id);
            assert_eq!(instance["service"], "any-node");
            assert_eq!(instance["revision"], answer.revision());
            assert_eq!(instance["endpoints"][0]["port"], 8080);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_again_replaces_and_the_same_again_changes_nothing() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let first = node.register("replaced", "i-1", &registration(8080)).await.expect(201);
    let same = cluster.node(1).register("replaced", "i-1", &registration(8080)).await.expect(200);
    assert_eq!(same.json()["changed"], false);
    assert_eq!(same.header("etag"), first.header("etag"), "nothing changed, so the tag is the old one");
    let second = cluster.node(2).register("replaced", "i-1", &registration(9090)).await.expect(200);
    assert_eq!(second.json()["changed"], true);
    let instance = held(node, "replaced", "i-1", second.revision()).await;
    assert_eq!(instance["endpoints"][0]["port"], 9090);
    assert_eq!(instance["created_revision"], first.revision());
    assert_eq!(instance["revision"], second.revision());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_makes_an_id_when_none_is_given_and_the_same_one_for_the_same_key() {
    let cluster = SharedCluster::get().await;
    let post = |index: usize, key: &str| {
        let call = cluster.node(index).post("/v1/services/made-ids/instances").header("Idempotency-Key", key);
        call.json(&registration(8080)).answer()
    };
    let first = post(0, "made-ids 1").await.expect(201);
    let again = post(1, "made-ids 1").await.expect(201);
    let other = post(2, "made-ids 2").await.expect(201);
    let location = first.header("location").expect("a created thing has a location").to_owned();
    assert_eq!(again.header("location"), Some(location.as_str()));
    assert_eq!(again.revision(), first.revision(), "the answer of the first attempt");
    assert_ne!(other.header("location"), Some(location.as_str()));
    let min = other.revision();
    let read = cluster.node(2).get(&format!("{location}?min_revision={min}")).answer().await.expect(200);
    let listed = cluster.node(0).get(&format!("/v1/services/made-ids/instances?min_revision={min}")).answer().await;
    let ids: Vec<Value> = listed.expect(200).items().iter().map(|item| item["id"].clone()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(ids.contains(&read.json()["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_again_gets_its_first_answer_even_after_others_changed_the_thing() {
    let cluster = SharedCluster::get().await;
    let put = |index: usize, key: &str, port: u16| {
        let call = cluster.node(index).put(&path("replayed", "i-1")).header("Idempotency-Key", key);
        call.json(&registration(port)).answer()
    };
    let first = put(0, "replayed a", 1001).await.expect(201);
    let second = put(1, "replayed b", 1002).await.expect(200);
    let again = put(2, "replayed a", 1001).await.expect(201);
    assert_eq!(again.revision(), first.revision());
    let instance = held(cluster.node(2), "replayed", "i-1", second.revision()).await;
    assert_eq!(instance["endpoints"][0]["port"], 1002, "the replay was not applied");
    assert_eq!(put(0, "replayed a", 1003).await.expect(422).code(), "idempotency_conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numbered_request_of_a_client_session_is_applied_once() {
    let cluster = SharedCluster::get().await;
    let put = |index: usize, sequence: u64, port: u16| {
        let call = cluster.node(index).put(&path("numbered", "i-1")).header("X-Rollcall-Client", "numbered-client");
        call.header("X-Rollcall-Sequence", sequence).json(&registration(port)).answer()
    };
    let first = put(0, 1, 1001).await.expect(201);
    let second = put(1, 2, 1002).await.expect(200);
    let again = put(2, 1, 1001).await.expect(201);
    assert_eq!(again.revision(), first.revision());
    let instance = held(cluster.node(0), "numbered", "i-1", second.revision()).await;
    assert_eq!(instance["endpoints"][0]["port"], 1002);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_a_condition_is_done_only_while_it_holds() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    let put = |condition: &'static str, tag: String, port: u16| {
        node.put(&path("guarded", "i-1")).header(condition, tag).json(&registration(port)).answer()
    };
    let refused = |answer: Answer| assert_eq!(answer.expect(412).code(), "revision_mismatch");
    refused(put("If-Match", "*".to_owned(), 1).await);
    let first = put("If-None-Match", "*".to_owned(), 1).await.expect(201);
    refused(put("If-None-Match", "*".to_owned(), 2).await);
    let tag = first.header("etag").expect("a written thing has a tag").to_owned();
    let second = put("If-Match", tag.clone(), 3).await.expect(200);
    refused(put("If-Match", tag.clone(), 4).await);
    refused(node.delete(&path("guarded", "i-1")).header("If-Match", &tag).answer().await);
    let read = node.get(&path("guarded", "i-1")).answer().await.expect(200);
    assert_eq!(read.header("etag"), second.header("etag"));
    assert_eq!(read.json()["endpoints"][0]["port"], 3);
    let tag = second.header("etag").unwrap_or_default();
    node.delete(&path("guarded", "i-1")).header("If-Match", tag).answer().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_conditional_writes_to_one_revision_exactly_one_is_done() {
    let cluster = SharedCluster::get().await;
    let first = cluster.node(0).register("contended", "i-1", &registration(1)).await.expect(201);
    let tag = first.header("etag").unwrap_or_default().to_owned();
    let contenders: Vec<_> = (0..24_u16)
        .map(|index| {
            let node = cluster.node(usize::from(index) % 3).clone();
            let tag = tag.clone();
            tokio::spawn(async move {
                let call = node.put(&path("contended", "i-1")).header("If-Match", tag);
                call.json(&registration(1000 + index)).answer().await.status
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for contender in contenders {
        statuses.push(contender.await.expect("a contender ends in order"));
    }
    assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|&&status| status == 412).count(), 23, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_patch_changes_what_it_names_and_removes_what_it_nulls() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    let mut body = registration(8080);
    body["tags"] = json!(["blue"]);
    body["metadata"] = json!({"keep": "1", "drop": "2"});
    let put = node.register("patched", "i-1", &body).await.expect(201);
    let patch = json!({"tags": ["green"], "metadata": {"drop": null, "new": "3"}, "zone": "b"});
    let patched = node.call(http::Method::PATCH, &path("patched", "i-1"));
    let patched = patched.json(&patch).answer().await.expect(200);
    assert!(patched.revision() > put.revision());
    let instance = held(cluster.node(0), "patched", "i-1", patched.revision()).await;
    assert_eq!(instance["tags"], json!(["green"]));
    assert_eq!(instance["metadata"], json!({"keep": "1", "new": "3"}));
    assert_eq!(instance["zone"], "b");
    assert_eq!(instance["endpoints"][0]["port"], 8080);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_patches_of_different_fields_are_all_kept() {
    let cluster = SharedCluster::get().await;
    cluster.node(0).register("patched-at-once", "i-1", &registration(8080)).await.expect(201);
    let patches: Vec<_> = (0..6)
        .map(|index| {
            let node = cluster.node(index % 3).clone();
            tokio::spawn(async move {
                let patch = json!({"metadata": {format!("key-{index}"): "set"}});
                node.call(http::Method::PATCH, &path("patched-at-once", "i-1")).json(&patch).answer().await
            })
        })
        .collect();
    let mut last = 0;
    for patch in patches {
        last = last.max(patch.await.expect("a patch ends in order").expect(200).revision());
    }
    let instance = held(cluster.node(1), "patched-at-once", "i-1", last).await;
    assert_eq!(instance["metadata"].as_object().map(serde_json::Map::len), Some(6), "{instance}");
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_is_idempotent_and_takes_the_empty_service_along() {
    let cluster = SharedCluster::get().await;
    cluster.node(0).register("removed", "i-1", &registration(8080)).await.expect(201);
    let gone = cluster.node(1).delete(&path("removed", "i-1")).answer().await.expect(204);
    let again = cluster.node(2).delete(&path("removed", "i-1")).answer().await.expect(204);
    assert!(again.revision() > gone.revision());
    for node in cluster.nodes() {
        let min = again.revision();
        let read = node.get(&format!("{}?min_revision={min}", path("removed", "i-1"))).answer().await.expect(404);
        assert!(matches!(read.code().as_str(), "instance_not_found" | "service_not_found"), "{}", read.text());
        let service = node.get(&format!("/v1/services/removed?min_revision={min}")).answer().await.expect(404);
        assert_eq!(service.code(), "service_not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_names_that_differ_only_in_case_are_one_name() {
    let cluster = SharedCluster::get().await;
    cluster.node(0).register("CaseKept", "i-1", &registration(8080)).await.expect(201);
    let other = cluster.node(1).register("casekept", "i-2", &registration(8080)).await.expect(409);
    assert_eq!(other.code(), "name_conflict");
    let read = cluster.node(1).get("/v1/services/CASEKEPT?consistency=linearizable").answer().await.expect(200);
    assert_eq!(read.json()["name"], "CaseKept");
}
