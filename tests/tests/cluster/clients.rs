//! The typed client and the command line against a cluster that loses nodes.

use std::pin::pin;

use futures_util::StreamExt as _;
use rollcall_api::client::{Client, ClientError, Precondition};
use rollcall_api::query::{Consistency, InstancesQuery, ReadQuery};
use rollcall_api::{Code, Registration, RegistrationEndpoint, WatchEvent};
use rollcall_tests::{
    Cluster, DEADLINE, Finished, NodeOptions, SharedCluster, follow, registration, rollcall, wait_until,
};
use serde_json::{Value, json};

fn at_port(port: u16) -> Registration {
    Registration { endpoints: vec![RegistrationEndpoint::new("http", "127.0.0.1", port)], ..Registration::default() }
}

fn client(cluster: &Cluster) -> Client {
    Client::new(cluster.nodes().iter().map(|node| node.url())).expect("addresses of nodes")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_goes_on_at_another_node_when_the_one_it_uses_is_killed() {
    let cluster = Cluster::start(3).await;
    let client = client(&cluster);
    let mut last =
        client.register("surviving", "i-0", &at_port(1), Precondition::None).await.expect("three nodes serve");
    // It begins with the first address; each round takes away a node that it may be at.
    for round in 0..3_u16 {
        cluster.node(usize::from(round)).kill9();
        let id = format!("i-{}", round + 1);
        last = client.register("surviving", &id, &at_port(1), Precondition::None).await.expect("two nodes serve");
        cluster.node(usize::from(round)).start();
        cluster.wait_ready().await;
    }
    let query = InstancesQuery { min_revision: Some(last.revision), ..InstancesQuery::default() };
    let listed = client.instances("surviving", &query).await.expect("three nodes serve").value;
    let ids: Vec<&str> = listed.items.iter().map(|instance| instance.id.as_str()).collect();
    assert_eq!(ids, ["i-0", "i-1", "i-2", "i-3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_the_client_goes_on_at_another_node_without_gap_or_double() {
    let cluster = Cluster::start(3).await;
    let writer = Client::new([cluster.node(1).url(), cluster.node(2).url()]).expect("addresses of nodes");
    let start = writer.register("followed", "i-0", &at_port(1), Precondition::None).await.expect("written").revision;
    let watching = client(&cluster);
    let mut watch = pin!(watching.watch(&["followed"], Some(start)));
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for port in 2..=20 {
        let written = writer.register("followed", "i-0", &at_port(port), Precondition::None).await.expect("written");
        expected.push(written.revision);
        if port == 10 {
            // The watch is at the first node by now.
            seen.push(next_put(&mut watch).await);
            cluster.node(0).kill9();
        }
    }
    while seen.len() < expected.len() {
        seen.push(next_put(&mut watch).await);
    }
    assert_eq!(seen, expected);
}

async fn next_put(watch: &mut (impl futures_util::Stream<Item = Result<WatchEvent, ClientError>> + Unpin)) -> u64 {
    loop {
        let next = tokio::time::timeout(DEADLINE, watch.next()).await.expect("the watch says something");
        match next.expect("the watch goes on").expect("some node serves the watch") {
            WatchEvent::Put(change) => return change.revision,
            WatchEvent::Bookmark(_) => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_tells_refusals_apart() {
    let cluster = SharedCluster::get().await;
    let client = client(&cluster);
    let code = |error: ClientError| error.problem().map(|problem| problem.code);
    let written = client.register("told-apart", "i-1", &at_port(1), Precondition::Absent).await.expect("written");
    assert_eq!(written.created, Some(true));
    let taken = client.register("told-apart", "i-1", &at_port(2), Precondition::Absent).await.expect_err("taken");
    assert_eq!(code(taken), Some(Code::RevisionMismatch));
    let query = ReadQuery { consistency: Some(Consistency::Linearizable), ..ReadQuery::default() };
    let missing = client.instance("told-apart", "i-2", &query).await.expect_err("not there");
    assert_eq!(code(missing), Some(Code::InstanceNotFound));
    let broken = client.register("told-apart", "i-3", &at_port(0), Precondition::None).await.expect_err("port 0");
    assert_eq!(code(broken), Some(Code::InvalidField));
}

async fn run(cluster: &Cluster, arguments: &[&str]) -> Finished {
    let servers = cluster.servers();
    rollcall(arguments.iter().copied().chain(["--server", &servers])).await
}

#[track_caller]
fn assert_ok(finished: &Finished) -> &str {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    &finished.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_registers_lists_and_removes() {
    let cluster = SharedCluster::get().await;
    let endpoint = "--endpoint=http=10.0.0.7:8080";
    assert_ok(&run(&cluster, &["register", "by-hand", "web/1#a", endpoint, "--tag", "blue"]).await);
    let listed = run(&cluster, &["instances", "by-hand", "--consistency", "linearizable", "--output", "json"]).await;
    let listed: Value = serde_json::from_str(assert_ok(&listed)).expect("--output json writes JSON");
    assert_eq!(listed["items"][0]["id"], "web/1#a");
    assert_eq!(listed["items"][0]["tags"][0], "blue");
    let table = run(&cluster, &["instances", "by-hand"]).await;
    assert!(assert_ok(&table).contains("web/1#a") && !table.stdout.contains('\u{1b}'), "{table:?}");
    let members = run(&cluster, &["members"]).await;
    assert!(["n1", "n2", "n3"].iter().all(|name| assert_ok(&members).contains(name)), "{members:?}");
    assert_ok(&run(&cluster, &["deregister", "by-hand", "web/1#a"]).await);
    let gone = run(&cluster, &["instances", "by-hand", "--consistency", "linearizable"]).await;
    assert_eq!(gone.code, Some(1), "the service is not there any more: {gone:?}");
    let history = run(&cluster, &["history", "by-hand", "--output", "json"]).await;
    let history: Value = serde_json::from_str(assert_ok(&history)).expect("--output json writes JSON");
    assert_eq!(history["items"].as_array().map(Vec::len), Some(2), "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_keeps_keys() {
    let cluster = SharedCluster::get().await;
    assert_ok(&run(&cluster, &["kv", "put", "by-hand/key", "one"]).await);
    let got = run(&cluster, &["kv", "get", "by-hand/key", "--consistency", "linearizable"]).await;
    assert_eq!(assert_ok(&got).trim_end(), "one");
    let taken = run(&cluster, &["kv", "put", "by-hand/key", "two", "--create"]).await;
    assert_eq!(taken.code, Some(1), "{taken:?}");
    assert_ok(&run(&cluster, &["kv", "delete", "by-hand/key"]).await);
    let missing = run(&cluster, &["kv", "get", "by-hand/key", "--consistency", "linearizable"]).await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_sets_a_configuration_and_gives_it_back_byte_for_byte() {
    let cluster = SharedCluster::get().await;
    let put = json!({"config_schema": {"type": "object", "properties": {"limit": {"type": "integer"}}}});
    cluster.node(0).put("/v1/services/tuned").json(&put).settled().await.expect(201);
    let document = "{ \"limit\":  5,\n  \"b\": 1, \"a\": 2 }";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (folder.path().join("first.json"), folder.path().join("second.json"));
    std::fs::write(&first, document).expect("a file in a new folder");
    std::fs::write(&second, r#"{"limit": "many"}"#).expect("a file in a new folder");
    let [first, second] = [&first, &second].map(|path| path.to_str().expect("a path of the test"));
    assert_ok(&run(&cluster, &["config", "set", "tuned", first, "--create"]).await);
    let got = run(&cluster, &["config", "get", "tuned", "--consistency", "linearizable"]).await;
    assert_eq!(assert_ok(&got), format!("{document}\n"));
    let taken = run(&cluster, &["config", "set", "tuned", first, "--create"]).await;
    assert_eq!(taken.code, Some(1), "{taken:?}");
    let outdated = run(&cluster, &["config", "set", "tuned", first, "--if-revision", "1"]).await;
    assert_eq!(outdated.code, Some(1), "{outdated:?}");
    let refused = run(&cluster, &["config", "set", "tuned", second]).await;
    assert!(refused.code == Some(1) && refused.stderr.contains("limit"), "it names what is wrong: {refused:?}");
    let missing = run(&cluster, &["config", "set", "tuned", "/no/such/file"]).await;
    assert!(missing.code == Some(2) && missing.stderr.contains("/no/such/file"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_on_the_command_line_tells_each_change_once_and_survives_its_node() {
    let cluster = Cluster::start(3).await;
    let before = cluster.node(1).register("seen", "i-0", &registration(1)).await.expect(201).revision();
    let (servers, since) = (cluster.servers(), before.to_string());
    let mut watch = follow(["watch", "seen", "--since", &since, "--output", "json", "--server", &servers]);
    let mut told = Vec::new();
    let mut expected = Vec::new();
    for index in 1..=6_u16 {
        expected.push(cluster.node(1).register("seen", &format!("i-{index}"), &registration(1)).await.revision());
        let line = watch.line_with("\"put\"").await;
        let event: Value = serde_json::from_str(&line).expect("one event per line");
        told.push(event["revision"].as_u64().expect("every event has its revision"));
        if index == 3 {
            // The first of the servers, which it is at.
            cluster.node(0).kill9();
            cluster.leader().await;
        }
    }
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_adds_a_node_and_hands_the_leadership_over() {
    let cluster = Cluster::start(2).await;
    let members = cluster.node(0).options().peer;
    let joined = cluster.options("joined");
    let at = |port: u16| format!("127.0.0.1:{port}");
    let (data, secret) = (joined.data_dir.display().to_string(), joined.secret_file.display().to_string());
    let [http, peer, gossip] = [joined.http, joined.peer, joined.gossip].map(at);
    let arguments =
        ["join", "--stop-with-stdin", &at(members), "--name", "joined", "--data-dir", &data, "--secret-file", &secret];
    let ports = ["--http", &http, "--peer", &peer, "--gossip", &gossip, "--log-level", "error"];
    let _node = follow(arguments.into_iter().chain(ports));
    let voters = async || {
        let listed = run(&cluster, &["members", "--output", "json"]).await;
        let listed: Value = serde_json::from_str(assert_ok(&listed)).expect("--output json writes JSON");
        let of = |role: &str| {
            let items = listed["items"].as_array().into_iter().flatten();
            items
                .filter(|item| item["role"] == role)
                .filter_map(|item| item["name"].as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        (of("leader"), of("follower"))
    };
    wait_until("the third voter", DEADLINE, async || match voters().await {
        (_, followers) if followers.contains("joined") => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;

    // A process that stands still loses the leadership again, or is asked while nobody has it: then it is asked once more.
    let handed_over = async |to: &[&str], is_wanted: fn(&str) -> bool| {
        let mut asked = run(&cluster, &[&["transfer-leader"], to].concat()).await;
        wait_until("another leader", DEADLINE, async || {
            let seen = voters().await;
            if asked.code == Some(0) && is_wanted(&seen.0) {
                return Ok(());
            }
            let before = format!("{asked:?} {seen:?}");
            asked = run(&cluster, &[&["transfer-leader"], to].concat()).await;
            Err(before)
        })
        .await;
    };
    handed_over(&["joined"], |leader| leader == "joined").await;
    handed_over(&[], |leader| leader == "n1" || leader == "n2").await;
    let unknown = run(&cluster, &["transfer-leader", "nobody"]).await;
    assert!(unknown.code == Some(1) && unknown.stderr.contains("nobody"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_tells_a_refusal_from_misuse_and_from_nobody_there() {
    let cluster = SharedCluster::get().await;
    let refused = run(&cluster, &["register", "a b", "i-1", "--endpoint=http=10.0.0.7:8080"]).await;
    assert!(matches!(refused.code, Some(1 | 2)) && refused.stderr.contains("1 to 63"), "{refused:?}");
    let misused = run(&cluster, &["register"]).await;
    assert_eq!(misused.code, Some(2), "{misused:?}");
    let port = rollcall_tests::free_port();
    let nobody = rollcall(["services", "--timeout", "200ms", "--server", &format!("http://127.0.0.1:{port}")]).await;
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    assert!(nobody.stderr.contains(&port.to_string()), "it names the address: {nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_restores_into_a_new_cluster_and_a_damaged_one_is_refused() {
    let cluster = Cluster::start(1).await;
    for index in 0..10_u16 {
        cluster.node(0).register("restored", &format!("i-{index}"), &registration(1 + index)).await.expect(201);
    }
    cluster.node(0).put("/v1/kv/restored").body("value").answer().await.expect(201);
    let image = cluster.snapshot(0).await;
    let digest = cluster.digest(0).await;

    let mut target = Cluster::of(0).prepare();
    let folder = target.options("restored").data_dir;
    let [file, folder] = [&image, &folder].map(|path| path.to_str().expect("a path of the test").to_owned());
    let advised = rollcall(["snapshot", "restore", &file, "--data-dir", &folder]).await;
    assert!(
        assert_ok(&advised).contains(&format!("rollcall node --restore {file} --bootstrap-expect 1")),
        "{advised:?}"
    );
    let restore = format!("--restore={}", image.display());
    let mut options = target.options("restored");
    options.bootstrap_expect = Some(1);
    options.arguments.push(restore);
    let restored = target.join(options.clone()).await;
    let listed = target.node(restored).get("/v1/services/restored/instances").answer().await.expect(200).items();
    assert_eq!(listed.len(), 10);
    assert_eq!(target.node(restored).get("/v1/kv/restored").answer().await.expect(200).text(), "value");
    target.node(restored).register("restored", "i-new", &registration(1)).await.expect(201);
    assert_ne!(target.digest(restored).await, digest, "it went on from there");
    // Again with data in the folder: the flag must not undo what happened since.
    target.node(restored).kill9();
    target.node(restored).start();
    let outcome = wait_until("the node to go on or to refuse", DEADLINE, async || {
        if !target.node(restored).is_running() {
            return Ok(false);
        }
        target.node(restored).look_ready().await.map(|()| true)
    })
    .await;
    if outcome {
        target.node(restored).get("/v1/services/restored/instances/i-new").answer().await.expect(200);
    }

    let occupied = rollcall(["snapshot", "restore", &file, "--data-dir", &folder]).await;
    assert!(occupied.code == Some(2) && occupied.stderr.contains("not empty"), "{occupied:?}");

    let mut bytes = std::fs::read(&image).expect("the image was saved");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = target.path().join("damaged");
    std::fs::write(&damaged, bytes).expect("a file in the folder of the test");
    let inspected = rollcall(["snapshot".as_ref(), "inspect".as_ref(), damaged.as_os_str()]).await;
    assert_eq!(inspected.code, Some(1), "{inspected:?}");
    let mut other = target.options("other");
    other.bootstrap_expect = Some(1);
    other.join = Vec::new();
    other.arguments.push(format!("--restore={}", damaged.display()));
    let refused = target.adopt(NodeOptions { ..other });
    target.node(refused).start();
    assert!(matches!(target.node(refused).wait_exit().await.code(), Some(1 | 2)), "{}", target.node(refused).log());
    assert!(target.node(refused).log().contains("damaged"), "{}", target.node(refused).log());
}
