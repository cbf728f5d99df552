//! Reads: how fresh they are and say they are, pages that hold together, filters.

use rollcall_tests::{Node, SharedCluster, registration, segment, wait_until};
use serde_json::{Value, json};

/// All pages of a listing that begins at `path`, and the revision that every page must share.
async fn all_pages(node: &Node, path: &str) -> (Vec<Value>, u64) {
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut page = node.get(path).answer().await.expect(200);
    let revision = page.json()["revision"].as_u64().expect("a list has a revision");
    let mut items = page.items();
    while let Some(cursor) = page.json()["next_cursor"].as_str() {
        page = node.get(&format!("{path}{separator}cursor={}", segment(cursor))).answer().await.expect(200);
        assert_eq!(page.json()["revision"], revision, "every page shows the revision of the first");
        assert!(!page.items().is_empty(), "a page that was promised holds something");
        items.extend(page.items());
    }
    (items, revision)
}

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_consistency_is_served_by_every_node_and_named_in_the_answer() {
    let cluster = SharedCluster::get().await;
    let written = cluster.node(0).register("consistent", "i-1", &registration(8080)).await.expect(201).revision();
    let path = "/v1/services/consistent/instances/i-1";
    for node in cluster.nodes() {
        for consistency in ["linearizable", "leader"] {
            let read = node.get(&format!("{path}?consistency={consistency}")).answer().await.expect(200);
            assert!(read.revision() >= written, "a {consistency} read on {} misses an acknowledged write", node.name());
            assert_eq!(read.header("x-rollcall-consistency"), Some(consistency));
        }
        wait_until("a stale read to show the write", rollcall_tests::DEADLINE, async || {
            let read = node.get(path).answer().await;
            assert_eq!(read.header("x-rollcall-consistency"), Some("stale"));
            let staleness = read.header("x-rollcall-staleness-ms").and_then(|text| text.parse::<u64>().ok());
            assert!(staleness.is_some(), "a stale read says how old it may be: {:?}", read.headers);
            if read.status == 200 { Ok(()) } else { Err(read.text()) }
        })
        .await;
        let read = node.get(&format!("{path}?consistency=linearizable")).answer().await.expect(200);
        assert_eq!(read.header("x-rollcall-staleness-ms"), Some("0"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_waits_for_the_revision_it_asks_for_and_says_so_when_it_does_not_come() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    let now = node.register("awaited", "i-1", &registration(8080)).await.expect(201).revision();
    let waiting = {
        let node = node.clone();
        let path = format!("/v1/services/awaited/instances/i-2?min_revision={}", now + 1);
        tokio::spawn(async move { node.get(&path).answer().await })
    };
    let mut last = now;
    while last <= now {
        last = cluster.node(0).register("awaited", "i-2", &registration(8080)).await.revision();
    }
    let read = waiting.await.expect("the read ends in order");
    assert!(read.revision() > now, "the read was answered at {} before {}", read.revision(), now + 1);
    let future = node.get("/v1/services/awaited/instances/i-1?min_revision=999999999").answer().await;
    assert!((400..600).contains(&future.status) && future.status != 500, "{}: {}", future.status, future.text());
    assert!(!future.code().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_one_revision_while_writes_go_on() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let mut written = 0;
    for index in 0..25 {
        written = node.register("paged", &format!("i-{index:02}"), &registration(8080)).await.expect(201).revision();
    }
    let path = format!("/v1/services/paged/instances?limit=10&min_revision={written}");
    let first = node.get(&path).answer().await.expect(200);
    let cursor = segment(first.json()["next_cursor"].as_str().expect("25 items are three pages of 10"));
    // Between the pages: one that was seen is removed, one that comes is removed, one is added, one is changed.
    for id in ["i-03", "i-15"] {
        node.delete(&format!("/v1/services/paged/instances/{id}")).answer().await.expect(204);
    }
    node.register("paged", "i-20b", &registration(8080)).await.expect(201);
    node.register("paged", "i-21", &registration(9999)).await.expect(200);
    let second = node.get(&format!("{path}&cursor={cursor}")).answer().await.expect(200);
    let cursor = segment(second.json()["next_cursor"].as_str().expect("25 items are three pages of 10"));
    let third = node.get(&format!("{path}&cursor={cursor}")).answer().await.expect(200);
    assert_eq!(third.json()["next_cursor"], Value::Null);
    let items: Vec<Value> = [&first, &second, &third].iter().flat_map(|page| page.items()).collect();
    let expected: Vec<String> = (0..25).map(|index| format!("i-{index:02}")).collect();
    assert_eq!(ids(&items), expected);
    assert_eq!(items[21]["endpoints"][0]["port"], 8080, "as it was at the revision of the listing");
    for page in [&second, &third] {
        assert_eq!(page.json()["revision"], first.json()["revision"]);
    }
    let (now, _) = all_pages(node, "/v1/services/paged/instances?limit=10&consistency=linearizable").await;
    assert_eq!(now.len(), 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_listed_in_pages_each_once() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    for index in 0..7 {
        let mut body = registration(8080);
        body["tags"] = json!(["listed-in-pages"]);
        node.register(&format!("listed-{index}"), "i-1", &body).await.expect(201);
    }
    for path in ["/v1/services?limit=3", "/v1/services?limit=3&tag=listed-in-pages"] {
        let (items, _) = all_pages(node, path).await;
        let names = items.iter().filter_map(|item| item["name"].as_str()).filter(|name| name.starts_with("listed-"));
        let expected: Vec<String> = (0..7).map(|index| format!("listed-{index}")).collect();
        assert_eq!(names.collect::<Vec<_>>(), expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_by_capability_come_from_every_service_that_offers_it_each_once_at_any_page_size() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    let definition = json!({"capabilities": ["paged.capability"]});
    for (service, count) in [("offers-a", 2), ("offers-b", 3), ("offers-c", 1)] {
        node.put(&format!("/v1/services/{service}")).json(&definition).answer().await.expect(201);
        for index in 0..count {
            node.register(service, &format!("i-{index}"), &registration(8080)).await.expect(201);
        }
    }
    node.register("offers-nothing", "i-0", &registration(8080)).await.expect(201);
    for limit in 1..=7 {
        let path = format!("/v1/capabilities/paged.capability/instances?limit={limit}");
        let (items, _) = all_pages(node, &path).await;
        let found: Vec<String> = items
            .iter()
            .map(|item| format!("{}/{}", item["service"].as_str().unwrap_or(""), item["id"].as_str().unwrap_or("")))
            .collect();
        let expected = ["offers-a/i-0", "offers-a/i-1", "offers-b/i-0", "offers-b/i-1", "offers-b/i-2", "offers-c/i-0"];
        assert_eq!(found, expected, "in pages of {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_can_be_read_again_at_its_revision_while_it_is_kept() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    for index in 0..3 {
        node.register("read-at", &format!("i-{index}"), &registration(8080)).await.expect(201);
    }
    let first = node.get("/v1/services/read-at/instances?limit=1&consistency=linearizable").answer().await.expect(200);
    let revision = first.json()["revision"].clone();
    node.delete("/v1/services/read-at/instances/i-2").answer().await.expect(204);
    let again = node.get(&format!("/v1/services/read-at/instances?at={revision}")).answer().await.expect(200);
    assert_eq!(ids(&again.items()), ["i-0", "i-1", "i-2"]);
    assert_eq!(again.json()["revision"], revision);
    let lost = node.get("/v1/services/read-at/instances?at=1").answer().await;
    assert_eq!(lost.code(), "revision_compacted");
    assert_eq!(lost.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_filtered_by_tag_and_zone() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let mut revision = 0;
    for (id, zone, tags) in [("i-1", "a", json!(["x", "y"])), ("i-2", "b", json!(["x"])), ("i-3", "b", json!(["y"]))] {
        let mut body = registration(8080);
        body["zone"] = json!(zone);
        body["tags"] = tags;
        revision = node.register("filtered", id, &body).await.expect(201).revision();
    }
    for (query, expected) in [
        ("tag=x", vec!["i-1", "i-2"]),
        ("zone=b", vec!["i-2", "i-3"]),
        ("zone=b&tag=y", vec!["i-3"]),
        ("tag=nothing", vec![]),
        ("health=any", vec!["i-1", "i-2", "i-3"]),
        ("health=healthy_or_all", vec!["i-1", "i-2", "i-3"]),
    ] {
        let path = format!("/v1/services/filtered/instances?{query}&min_revision={revision}");
        assert_eq!(ids(&cluster.node(2).get(&path).answer().await.expect(200).items()), expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_names_its_request() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let given = node.get("/v1/services").header("X-Request-Id", "mine-42").answer().await.expect(200);
    assert_eq!(given.header("x-request-id"), Some("mine-42"));
    let problem = node.get("/v1/nothing").header("X-Request-Id", "mine-43").answer().await.expect(404);
    assert_eq!(problem.header("x-request-id"), Some("mine-43"));
    assert_eq!(problem.json()["instance"], "mine-43");
    let made = node.get("/v1/services").answer().await.expect(200);
    let other = node.get("/v1/services").answer().await.expect(200);
    assert!(made.header("x-request-id").is_some());
    assert_ne!(made.header("x-request-id"), other.header("x-request-id"));
}
