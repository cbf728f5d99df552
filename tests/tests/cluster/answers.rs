//! What answers say of the health of instances, and what lists and long polls leave out for it.

use rollcall_tests::{Node, SharedCluster, registration, rollcall};
use serde_json::{Value, json};

/// A registration that nobody looks at, so that it passes.
fn unchecked(port: u16) -> Value {
    registration(port)
}

/// A registration with a check that nothing answers, so that it never passes.
fn unanswered() -> Value {
    let mut body = registration(1);
    body["checks"] = json!([{"type": "tcp", "address": "127.0.0.1:1", "interval_ms": 60_000, "timeout_ms": 100}]);
    body
}

async fn registered(node: &Node, service: &str, id: &str, body: &Value) -> u64 {
    node.register(service, id, body).await.expect(201).revision()
}

async fn drained(node: &Node, service: &str, id: &str) -> u64 {
    node.post(&format!("/v1/services/{service}/instances/{id}/drain")).answer().await.expect(200).revision()
}

async fn ids(node: &Node, path: &str) -> Vec<String> {
    let items = node.get(path).answer().await.expect(200).items();
    items.iter().map(|item| item["id"].as_str().expect("an instance has an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_nobody_looks_at_passes_and_says_so() {
    let cluster = SharedCluster::get().await;
    let revision = registered(cluster.node(0), "answers-plain", "i-1", &unchecked(1)).await;
    let path = format!("/v1/services/answers-plain/instances/i-1?min_revision={revision}");
    let shown = cluster.node(1).get(&path).answer().await.expect(200).json();
    assert_eq!((&shown["state"], &shown["cause"]), (&json!("passing"), &json!("unchecked")), "{shown}");
    assert_eq!((&shown["trend"], &shown["forecast"]), (&json!("unknown"), &Value::Null));
    assert_eq!((&shown["looking"], &shown["failing"], &shown["overlays"]), (&json!(0), &json!(0), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_leaves_out_what_cannot_take_traffic_unless_nothing_can() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    registered(node, "answers-list", "drained", &unchecked(1)).await;
    registered(node, "answers-list", "failing", &unanswered()).await;
    registered(node, "answers-list", "good", &unchecked(2)).await;
    let revision = drained(node, "answers-list", "drained").await;
    let list = |health: &str, revision: u64| {
        format!("/v1/services/answers-list/instances?health={health}&min_revision={revision}")
    };
    for reader in cluster.nodes() {
        assert_eq!(ids(reader, &list("any", revision)).await, ["drained", "failing", "good"]);
        assert_eq!(ids(reader, &list("healthy", revision)).await, ["good"]);
        assert_eq!(ids(reader, &list("healthy_or_all", revision)).await, ["good"]);
        let first = reader.get(&format!("{}&limit=1", list("healthy_or_all", revision))).answer().await.expect(200);
        assert_eq!((first.items().len(), &first.json()["next_cursor"]), (1, &Value::Null), "{}", first.text());
    }
    let revision = drained(node, "answers-list", "good").await;
    assert_eq!(ids(node, &list("healthy", revision)).await, [""; 0]);
    assert_eq!(ids(node, &list("healthy_or_all", revision)).await, ["drained", "failing", "good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_became_passing_warms_up_if_its_service_says_so() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    let definition = json!({"slow_start_ms": 600_000, "capabilities": ["answers_slowly"]});
    let defined = node.put("/v1/services/answers-slow").json(&definition).answer().await.expect(201);
    assert_eq!(defined.json()["created"], true);
    let revision = registered(node, "answers-slow", "i-1", &unchecked(1)).await;
    let list = format!("/v1/capabilities/answers_slowly/instances?health=healthy&min_revision={revision}");
    let shown = cluster.node(0).get(&list).answer().await.expect(200).items().remove(0);
    assert_eq!(shown["overlays"], json!(["warming"]), "{shown}");
    let share = shown["warm_up"]["share"].as_f64().expect("a share is a number");
    assert!((0.1..0.5).contains(&share), "{shown}");
    let service = node.get("/v1/services/answers-slow").answer().await.expect(200).json();
    assert_eq!(service["definition"]["slow_start_ms"], 600_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_counted_by_service_and_told_worst_first() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    registered(node, "answers-count", "a-good", &unchecked(1)).await;
    registered(node, "answers-count", "b-drained", &unchecked(2)).await;
    registered(node, "answers-count", "c-failing", &unanswered()).await;
    let revision = drained(node, "answers-count", "b-drained").await;
    for reader in cluster.nodes() {
        let path = format!("/v1/services/answers-count/health?min_revision={revision}");
        let told = reader.get(&path).answer().await.expect(200).json();
        let numbers = ["instances", "healthy", "draining", "omitted"].map(|name| told[name].as_u64());
        assert_eq!(numbers, [Some(3), Some(1), Some(1), Some(0)], "{told}");
        assert_eq!(told["states"]["passing"], 2, "{told}");
        assert_ne!(told["status"], "passing");
        let order: Vec<_> = told["items"].as_array().into_iter().flatten().map(|item| item["id"].clone()).collect();
        assert_eq!(order, ["c-failing", "a-good", "b-drained"], "who was taken out comes last");
        let worst = reader.get(&format!("{path}&limit=1")).answer().await.expect(200).json();
        assert_eq!((&worst["items"][0]["id"], &worst["omitted"]), (&json!("c-failing"), &json!(2)));
    }
    let missing = node.get("/v1/services/answers-nowhere/health").answer().await.expect(404);
    assert_eq!(missing.code(), "service_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_of_everything_comes_in_pages_with_counts_of_all() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    for index in 0..5_u16 {
        registered(node, &format!("answers-Page-{index}"), "i-1", &unchecked(index + 1)).await;
    }
    let revision = registered(node, "answers-page-bad", "i-1", &unanswered()).await;
    let mut names: Vec<String> = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/health?limit=2&min_revision={revision}{cursor}");
        let page = cluster.node(2).get(&path).answer().await.expect(200).json();
        let counted: u64 = ["passing", "warning", "critical", "starting", "unknown"]
            .map(|state| page["services"][state].as_u64().expect("a count"))
            .iter()
            .sum();
        assert!(counted >= 6 && page["instances"]["passing"].as_u64() >= Some(5), "{page}");
        assert_ne!(page["status"], "passing", "one service does not pass: {page}");
        let items = page["items"].as_array().expect("a page has items");
        assert!(items.len() <= 2);
        names.extend(items.iter().map(|item| item["service"].as_str().expect("a name").to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let paged: Vec<_> = names.iter().filter(|name| name.starts_with("answers-Page-")).collect();
    let expected: Vec<_> = (0..5).map(|index| format!("answers-Page-{index}")).collect();
    assert_eq!(paged, expected.iter().collect::<Vec<_>>());
    assert!(names.is_sorted_by_key(|name| name.to_ascii_lowercase()), "{names:?}");
    let passing = node.get("/v1/health?state=passing&limit=10000").answer().await.expect(200);
    let passing: Vec<_> = passing.items().iter().map(|item| item["service"].clone()).collect();
    assert!(passing.contains(&json!("answers-Page-0")) && !passing.contains(&json!("answers-page-bad")), "{passing:?}");
    let refused = node.get("/v1/health?state=broken").answer().await.expect(400);
    assert!(refused.text().contains("must be some of passing, warning"), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_with_a_filter_tells_of_what_leaves_it_as_gone() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    let body = |zone: &str, tags: &[&str]| {
        let mut body = unchecked(1);
        body["zone"] = json!(zone);
        body["tags"] = json!(tags);
        body
    };
    let start = registered(node, "answers-poll", "i-1", &body("a", &["x"])).await;
    registered(node, "answers-poll", "i-2", &body("b", &["x"])).await;
    node.register("answers-poll", "i-1", &body("a", &[])).await.expect(200);
    drained(node, "answers-poll", "i-2").await;
    let last = registered(node, "answers-poll", "i-3", &unanswered()).await;
    let poll = async |filter: &str| {
        let path = format!("/v1/services/answers-poll/instances?since={start}{filter}");
        let answer = cluster.node(2).get(&path).answer().await.expect(200).json();
        assert!(answer["revision"].as_u64() >= Some(last), "{answer}");
        let events = answer["events"].as_array().expect("a batch has events").clone();
        let told = events.iter().map(|it| {
            let id = it["instance"]["id"].as_str().or(it["id"].as_str()).unwrap_or_default();
            format!("{} {id}", it["event"].as_str().unwrap_or_default())
        });
        told.collect::<Vec<_>>()
    };
    // The third node is asked, so it has to be there first.
    let seen = format!("/v1/services/answers-poll?min_revision={last}");
    cluster.node(2).get(&seen).answer().await.expect(200);
    assert_eq!(poll("").await, ["put i-2", "put i-1", "put i-2", "put i-3"]);
    assert_eq!(poll("&tag=x").await, ["put i-2", "delete i-1", "put i-2", "delete i-3"]);
    assert_eq!(poll("&zone=a").await, ["delete i-2", "put i-1", "delete i-2", "delete i-3"]);
    assert_eq!(poll("&health=healthy").await, ["put i-2", "put i-1", "delete i-2", "delete i-3"]);
    let path = format!("/v1/services/answers-poll/instances?since={start}&health=healthy_or_all");
    let refused = node.get(&path).answer().await.expect(400);
    assert_eq!(refused.code(), "invalid_parameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_health_in_words_and_by_its_exit_code() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    registered(node, "answers-told", "good", &unchecked(7)).await;
    let url = node.url();
    let run = async |line: &str| {
        let arguments: Vec<&str> = line.split(' ').chain(["--consistency", "linearizable", "--server", &url]).collect();
        rollcall(&arguments).await
    };
    let told = run("health answers-told").await;
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.stdout.starts_with("answers-told is passing: 1 of 1 instances can take traffic"), "{}", told.stdout);
    assert!(told.stdout.contains("it has neither checks nor a lease"), "{}", told.stdout);
    let one = run("health answers-told good").await;
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    assert!(one.stdout.starts_with("answers-told/good is passing for "), "{}", one.stdout);
    registered(node, "answers-told", "failing", &unanswered()).await;
    let told = run("health answers-told").await;
    assert!(matches!(told.code, Some(4 | 5)), "{:?} {}", told.code, told.stdout);
    assert!(!told.stdout.starts_with("answers-told is passing"), "{}", told.stdout);
    let listed = run("services").await;
    let row = listed.stdout.lines().find(|line| line.starts_with("answers-told ")).unwrap_or_default();
    assert!(row.contains("1 passing"), "{}", listed.stdout);
    let rows = run("instances answers-told").await;
    assert!(rows.stdout.starts_with("SERVICE       ID       STATE"), "{}", rows.stdout);
}
