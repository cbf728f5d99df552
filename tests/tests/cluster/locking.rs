//! Sessions, the keys that they lock, and events: whichever node is asked, and whoever dies meanwhile.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rollcall_tests::{Answer, Cluster, DEADLINE, Node, SharedCluster, binary, rollcall, wait_until};
use serde_json::{Value, json};

/// The shortest time to live that there is.
const TTL: Duration = Duration::from_secs(10);
/// Long enough for an end of a session that a new leader measures anew.
const EXPIRY: Duration = Duration::from_secs(60);

async fn open(node: &Node, body: Value) -> String {
    let opened = node.post("/v1/sessions").json(&body).settled().await.expect(201).json();
    opened["id"].as_str().expect("a session has an id").to_owned()
}

async fn close(node: &Node, session: &str) {
    node.delete(&format!("/v1/sessions/{session}")).settled().await.expect(204);
}

async fn get(node: &Node, path: &str) -> Answer {
    node.get(path).settled().await
}

/// A session whose keys can be locked again at once, and that lasts until it is closed.
async fn open_plain(node: &Node) -> String {
    open(node, json!({"lock_delay_ms": 0})).await
}

async fn acquire(node: &Node, key: &str, session: &str) -> Answer {
    node.put(&format!("/v1/kv/{key}?acquire={session}")).body(session.to_owned()).settled().await
}

async fn release(node: &Node, key: &str, session: &str) -> Answer {
    node.put(&format!("/v1/kv/{key}?release={session}")).body("free").settled().await
}

/// The session that holds a key, as a majority confirms it.
async fn holder(node: &Node, key: &str) -> Option<String> {
    let answer = get(node, &format!("/v1/kv/{key}?consistency=linearizable")).await;
    answer.header("x-rollcall-session").map(str::to_owned)
}

/// `rollcall lock` that runs until it is told to end: its command reads standard input.
struct Holder(Child);

impl Holder {
    async fn start(node: &Node, key: &str) -> Self {
        let mut command = Command::new(binary());
        command.args(["lock", key, "--ttl", "10s", "--lock-delay", "1s", "--timeout", "20s", "--server", &node.url()]);
        command.args(["--", "cat"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let started = Self(child.expect("the binary is there"));
        wait_until(&format!("a holder of {key}"), DEADLINE, async || {
            holder(node, key).await.ok_or_else(|| "nobody holds it".to_owned())
        })
        .await;
        started
    }

    /// Kills it as a power cut would; its command ends with its input.
    fn kill9(mut self) {
        self.0.kill().expect("the child is ours");
        self.0.wait().expect("the child is ours");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renewed_at_once_through_a_node_that_did_not_hear_of_it_yet() {
    let cluster = SharedCluster::get().await;
    let leader = cluster.leader().await;
    for round in 0..10 {
        let id = open(cluster.node(leader), json!({"ttl_ms": 60_000})).await;
        for node in cluster.nodes_except(&[leader]) {
            let renewed = node.put(&format!("/v1/sessions/{id}")).json(&json!({})).answer().await.expect(200);
            assert_eq!(renewed.json()["renewed_revision"], renewed.revision(), "round {round} at {}", node.name());
        }
        close(cluster.node(leader), &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_has_one_holder_and_a_number_that_rises_with_each() {
    let cluster = SharedCluster::get().await;
    let [first, second, third] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    let (ann, bob) = (open_plain(first).await, open(second, json!({"name": "bob", "lock_delay_ms": 0})).await);

    let locked = acquire(first, "locking/one", &ann).await.expect(201).json();
    assert_eq!((&locked["lock_index"], &locked["session"]), (&json!(1), &json!(ann)));
    acquire(third, "locking/one", &ann).await.expect(200);

    let refused = acquire(second, "locking/one", &bob).await.expect(409);
    assert_eq!((refused.code(), &refused.json()["holder"]), ("lock_held".to_owned(), &json!(ann)));
    let refused = release(second, "locking/one", &bob).await.expect(409);
    assert_eq!((refused.code(), &refused.json()["holder"]), ("lock_not_held".to_owned(), &json!(ann)));

    let freed = release(third, "locking/one", &ann).await.expect(200).json();
    assert_eq!((&freed["lock_index"], &freed["session"]), (&json!(1), &Value::Null));
    let locked = acquire(second, "locking/one", &bob).await.expect(200);
    assert_eq!(locked.json()["lock_index"], 2);

    let path = format!("/v1/kv/locking/one?min_revision={}", locked.revision());
    let read = get(third, &path).await.expect(200);
    assert_eq!((read.header("x-rollcall-lock-index"), read.header("x-rollcall-session")), (Some("2"), Some(&*bob)));
    assert_eq!(read.text(), bob, "the value was written with the lock");
    let refused = acquire(first, "locking/one", &ann).await.expect(409).json();
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("\"bob\"")), "{refused}");

    let list = get(first, &format!("/v1/kv?prefix=locking/one&min_revision={}", locked.revision())).await;
    let item = &list.expect(200).json()["items"][0];
    assert_eq!((&item["key"], &item["session"]), (&json!("locking/one"), &json!(bob)));
    let shown = get(second, &format!("/v1/sessions/{bob}")).await.expect(200).json();
    assert_eq!((&shown["keys"], &shown["keys_held"]), (&json!(["locking/one"]), &json!(1)));
    for session in [ann, bob] {
        close(first, &session).await;
    }
    assert_eq!(holder(first, "locking/one").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_open_locks_and_renews_nothing() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    let session = open_plain(node).await;
    for _ in 0..2 {
        close(node, &session).await;
    }
    assert_eq!(acquire(node, "locking/none", &session).await.expect(404).code(), "session_not_found");
    assert_eq!(release(node, "locking/none", &session).await.expect(404).code(), "session_not_found");
    let renewed = node.put(&format!("/v1/sessions/{session}")).settled().await.expect(404);
    assert_eq!(renewed.code(), "session_not_found");
    get(node, "/v1/kv/locking/none?consistency=linearizable").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_under_one_key_opens_one_session_and_takes_one_lock() {
    let cluster = SharedCluster::get().await;
    let ask = async |index: usize| {
        let answer = wait_until("an open session", DEADLINE, async || {
            let call = cluster.node(index).post("/v1/sessions").header("Idempotency-Key", "once-open");
            let answer = call.json(&json!({"lock_delay_ms": 0})).answer().await;
            if answer.status == 201 { Ok(answer) } else { Err(answer.text()) }
        });
        answer.await.json()["id"].clone()
    };
    let session = ask(0).await;
    assert_eq!(session, ask(1).await);
    let session = session.as_str().expect("a session has an id");
    let other = open_plain(cluster.node(2)).await;
    let take = async |index: usize, session: &str| {
        let path = format!("/v1/kv/locking/retried?acquire={session}");
        wait_until("a lock", DEADLINE, async || {
            let call = cluster.node(index).put(&path).header("Idempotency-Key", "once-take").body("v");
            let answer = call.answer().await;
            if answer.status < 500 { Ok(answer) } else { Err(answer.text()) }
        })
        .await
    };
    assert_eq!(take(0, session).await.expect(201).body, take(1, session).await.expect(201).body);
    assert_eq!(take(2, &other).await.expect(422).code(), "idempotency_conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_session_that_deletes_go_with_it_and_wait_for_the_lock_delay() {
    let cluster = SharedCluster::get().await;
    let (node, other) = (cluster.node(0), cluster.node(2));
    let session = open(node, json!({"on_end": "delete", "lock_delay_ms": 1_000})).await;
    acquire(node, "locking/gone", &session).await.expect(201);
    let began = Instant::now();
    close(node, &session).await;
    get(node, "/v1/kv/locking/gone?consistency=linearizable").await.expect(404);
    let next = open_plain(other).await;
    let refused = acquire(other, "locking/gone", &next).await;
    // A machine that was asleep for the whole delay has nothing to see.
    if refused.status != 201 {
        assert_eq!(refused.code(), "lock_held");
        assert!(refused.text().contains("lock delay 1s") && refused.json()["holder"].is_null(), "{}", refused.text());
        wait_until("the end of the lock delay", DEADLINE, async || {
            let answer = acquire(other, "locking/gone", &next).await;
            if answer.status < 300 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    close(other, &next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_lives_as_long_as_any_node_renews_it_and_no_longer() {
    let cluster = SharedCluster::get().await;
    let session = open(cluster.node(0), json!({"ttl_ms": 10_000, "lock_delay_ms": 0})).await;
    acquire(cluster.node(1), "locking/renewed", &session).await.expect(201);
    let (opened, path) = (Instant::now(), format!("/v1/sessions/{session}"));
    let (mut turn, mut last) = (0_usize, opened);
    wait_until("one and a half times to live", DEADLINE, async || {
        turn += 1;
        last = Instant::now();
        let renewed = cluster.node(turn % 3).put(&path).settled().await.expect(200).json();
        assert_eq!((&renewed["ttl_ms"], &renewed["renew_after_ms"]), (&json!(10_000), &json!(3_333)));
        assert_eq!(renewed["keys"], json!(["locking/renewed"]));
        if opened.elapsed() > TTL * 3 / 2 { Ok(()) } else { Err(format!("{turn} renewals")) }
    })
    .await;
    wait_until("the end of a silent session", EXPIRY, async || {
        match holder(cluster.node(0), "locking/renewed").await {
            None => Ok(()),
            Some(holder) => Err(format!("{holder} holds the key")),
        }
    })
    .await;
    assert!(last.elapsed() >= TTL, "it ended {:?} after it was renewed", last.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_holder_makes_way_after_its_ttl_and_the_lock_delay() {
    let cluster = SharedCluster::get().await;
    let (node, url) = (cluster.node(0), cluster.node(1).url());
    let began = Instant::now();
    let dying = Holder::start(node, "locking/killed").await;
    dying.kill9();
    let script = "echo $ROLLCALL_LOCK_KEY $ROLLCALL_LOCK_INDEX";
    let next =
        ["lock", "locking/killed", "--wait", "50s", "--timeout", "20s", "--server", &url, "--", "sh", "-c", script];
    let ran = rollcall(next).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "locking/killed 2\n"), "{}", ran.stderr);
    assert!(began.elapsed() >= TTL + Duration::from_secs(1), "after {:?}: {}", began.elapsed(), ran.stderr);
    assert!(ran.stderr.contains("\"cat\", holds the key"), "{}", ran.stderr);
    assert_eq!(holder(node, "locking/killed").await, None, "it was released");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_under_one_lock_never_run_at_once() {
    const CONTENDERS: usize = 5;
    let cluster = SharedCluster::get().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inside = folder.path().join("inside");
    // Only one can make the folder; whoever finds it there was not alone.
    let script = format!("mkdir {0} && sh -c : && rmdir {0} && echo $ROLLCALL_LOCK_INDEX", inside.display());
    let runs = (0..CONTENDERS).map(|index| {
        let (url, script) = (cluster.node(index % 3).url(), script.clone());
        let arguments = [
            "lock",
            "locking/contended",
            "--wait",
            "50s",
            "--timeout",
            "20s",
            "--server",
            &url,
            "--",
            "sh",
            "-c",
            &script,
        ];
        tokio::spawn(rollcall(arguments.map(str::to_owned)))
    });
    let mut indexes = Vec::new();
    for run in runs.collect::<Vec<_>>() {
        let ran = run.await.expect("it ended");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        indexes.push(ran.stdout.trim().to_owned());
    }
    indexes.sort_unstable();
    assert_eq!(indexes, ["1", "2", "3", "4", "5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_is_told_who_has_the_lock() {
    let cluster = SharedCluster::get().await;
    let (node, url) = (cluster.node(0), cluster.node(2).url());
    let session = open(node, json!({"name": "night shift", "lock_delay_ms": 0})).await;
    acquire(node, "locking/busy", &session).await.expect(201);
    let ran =
        rollcall(["lock", "locking/busy", "--try", "--timeout", "20s", "--server", &url, "--", "sh", "-c", "echo ran"])
            .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(124), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains(&session) && ran.stderr.contains("night shift"), "{}", ran.stderr);
    let open = get(node, "/v1/sessions?consistency=linearizable").await.expect(200).json();
    let names: Vec<_> = open["items"].as_array().into_iter().flatten().map(|it| &it["name"]).collect();
    assert!(!names.contains(&&json!("sh -c echo ran")), "it closed its session: {names:?}");
    close(node, &session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_lock_is_lost_is_stopped() {
    let cluster = SharedCluster::get().await;
    let (node, url) = (cluster.node(0), cluster.node(1).url());
    let script = "trap 'echo told; exit 3' TERM; while :; do sleep 1; done";
    let command =
        ["lock", "locking/lost", "--ttl", "20s", "--timeout", "20s", "--server", &url, "--", "sh", "-c", script];
    let closing = async {
        let session = wait_until("a holder", DEADLINE, async || {
            holder(node, "locking/lost").await.ok_or_else(|| "nobody holds it".to_owned())
        });
        close(node, &session.await).await;
    };
    let (ran, ()) = tokio::join!(rollcall(command), closing);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(125), "told\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("ended the session"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_outlives_the_leader() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let others = cluster.nodes_except(&[leader]);
    let session = open(&others[0], json!({"ttl_ms": 30_000})).await;
    let index = acquire(&others[1], "held", &session).await.expect(201).json()["lock_index"].clone();
    cluster.node(leader).kill9();
    for node in &others {
        node.put(&format!("/v1/sessions/{session}")).settled().await.expect(200);
    }
    let other = open_plain(&others[1]).await;
    assert_eq!(acquire(&others[0], "held", &other).await.expect(409).json()["holder"], json!(session));
    assert_eq!(release(&others[1], "held", &session).await.expect(200).json()["lock_index"], index);
    acquire(&others[0], "held", &other).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_lists_the_events_that_were_fired() {
    let cluster = SharedCluster::get().await;
    let fire = async |index: usize, body: Value| {
        cluster.node(index).post("/v1/events").json(&body).settled().await.expect(201)
    };
    let first = fire(0, json!({"name": "locking-deploy", "payload": "web 1.4.2"})).await.json();
    fire(1, json!({"name": "locking-other"})).await;
    let last = fire(2, json!({"name": "locking-deploy", "payload_base64": "/wA="})).await;
    for node in cluster.nodes() {
        let path = format!("/v1/events?name=locking-deploy&min_revision={}", last.revision());
        let items = get(node, &path).await.expect(200).json()["items"].clone();
        assert_eq!((&items[0], &items[1]), (&first, &last.json()));
        assert_eq!((&items[0]["payload"], &items[1]["payload"]), (&json!("web 1.4.2"), &Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_sessions_are_listed_page_by_page() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    for number in 0..5 {
        node.put(&format!("/v1/kv/locking/page/{number}")).body("v").settled().await.expect(201);
        open(node, json!({"name": "locking-page", "lock_delay_ms": 0})).await;
    }
    let pages = async |path: &str| {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(node, &format!("{path}limit=2{cursor}")).await.expect(200).json();
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", rollcall_tests::segment(next)),
                None => return items,
            }
        }
    };
    let keys: Vec<_> = pages("/v1/kv?prefix=locking/page/&").await.iter().map(|it| it["key"].clone()).collect();
    let expected: Vec<_> = (0..5).map(|number| json!(format!("locking/page/{number}"))).collect();
    assert_eq!(keys, expected);
    let sessions = pages("/v1/sessions?").await;
    let ours = sessions.iter().filter(|it| it["name"] == "locking-page").collect::<Vec<_>>();
    assert_eq!(ours.len(), 5);
    for session in ours {
        let id = session["id"].as_str().expect("a session has an id");
        close(node, id).await;
    }
}
