//! How a cluster begins, and what a node refuses to begin with.

use std::fs;

use rollcall_tests::{Cluster, DEADLINE, Finished, Node, NodeOptions, free_port, registration, rollcall, wait_until};

/// Runs a node that must end by itself.
async fn run_to_end(options: NodeOptions) -> Finished {
    let node = Node::new(options, "/dev/null".into());
    rollcall(std::iter::once("node".to_owned()).chain(node.arguments())).await
}

#[track_caller]
fn assert_says(finished: &Finished, any_of: &[&str]) {
    let said = finished.stderr.to_lowercase();
    assert!(any_of.iter().any(|word| said.contains(word)), "none of {any_of:?} in: {}", finished.stderr);
    assert!(!said.contains("panicked"), "{}", finished.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_new_nodes_make_exactly_one_cluster_whatever_the_order_they_start_in() {
    let cluster = Cluster::of(3).prepare();
    cluster.node(2).start();
    cluster.node(0).start();
    // Two of three are a majority, but nobody may begin before all that are expected have met.
    wait_until("two nodes to wait for the third", DEADLINE, async || {
        let logs = format!("{}{}", cluster.node(0).log(), cluster.node(2).log());
        assert!(cluster.node(0).is_running() && cluster.node(2).is_running(), "{logs}");
        if logs.is_empty() { Err("nothing logged yet".to_owned()) } else { Ok(()) }
    })
    .await;
    for index in [0, 2] {
        let ready = cluster.node(index).get("/readyz").send().await;
        assert!(ready.is_err() || ready.is_ok_and(|answer| answer.status != 200), "n{} serves alone", index + 1);
    }
    cluster.node(1).start();
    cluster.wait_ready().await;
    cluster.leader().await;
    let mut views = Vec::new();
    for node in cluster.nodes() {
        let status = node.get("/v1/cluster").answer().await.expect(200).json();
        let raft = node.raft().await.expect("a ready node answers");
        let mut voters: Vec<String> = serde_json::from_value(raft["voters"].clone()).expect("voters are names");
        voters.sort();
        assert_eq!(voters, ["n1", "n2", "n3"]);
        views.push((status["cluster_id"].clone(), status["node_id"].as_u64()));
    }
    assert!(views.iter().all(|(cluster_id, _)| *cluster_id == views[0].0 && cluster_id.is_string()), "{views:?}");
    let mut ids: Vec<_> = views.iter().filter_map(|(_, id)| *id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_serves_alone_and_again_after_a_kill() {
    let cluster = Cluster::start(1).await;
    let node = cluster.node(0);
    let written = node.register("alone", "i-1", &registration(8080)).await.expect(201).revision();
    node.kill9();
    node.start();
    node.wait_ready().await;
    let path = format!("/v1/services/alone/instances/i-1?min_revision={written}");
    node.get(&path).answer().await.expect(200);
    node.register("alone", "i-2", &registration(8080)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_data_is_refused() {
    let cluster = Cluster::start(1).await;
    let first = cluster.node(0);
    let options = NodeOptions {
        http: free_port(),
        peer: free_port(),
        gossip: free_port(),
        dns: free_port(),
        consul: free_port(),
        ..first.options().clone()
    };
    let second = run_to_end(options).await;
    assert!(matches!(second.code, Some(1 | 2)), "{second:?}");
    assert_says(&second, &["in use", "another process", "locked", "already running"]);
    assert!(second.stderr.contains(&first.data_dir().display().to_string()), "it names the folder: {}", second.stderr);
    first.register("undisturbed", "i-1", &registration(8080)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_refused_with_its_address() {
    let cluster = Cluster::start(1).await;
    let options = cluster.node(0).options();
    for (http, peer, taken) in [(options.http, free_port(), options.http), (free_port(), options.peer, options.peer)] {
        let other = NodeOptions { http, peer, ..cluster.options("other") };
        let refused = run_to_end(NodeOptions { bootstrap_expect: Some(1), join: Vec::new(), ..other }).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert_says(&refused, &[&format!("127.0.0.1:{taken}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_2_and_every_problem() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = format!("--data-dir={}", folder.path().display());
    for (arguments, expected) in [
        (vec!["--bootstrap-expect=3"], vec!["join"]),
        (vec!["--http=0.0.0.0:7400"], vec!["advertise-http"]),
        (vec!["--name=a b"], vec!["name", "1 to 63"]),
        (vec!["--observer", "--bootstrap-expect=1"], vec!["observer"]),
        (vec!["--secret-file=/nowhere/at/all"], vec!["/nowhere/at/all"]),
        (vec!["--no-such-flag"], vec!["--no-such-flag"]),
        (vec!["--peer=0.0.0.0:7401", "--advertise-http=x"], vec!["advertise-peer", "advertise-http", "secret"]),
    ] {
        let all = ["node", data.as_str()].into_iter().chain(arguments.iter().copied());
        let refused = rollcall(all).await;
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
        for part in expected {
            assert!(refused.stderr.contains(part), "{arguments:?}: {part} in {}", refused.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_without_its_log_and_a_log_without_its_identity_are_refused() {
    let cluster = Cluster::start(1).await;
    let node = cluster.node(0);
    node.register("kept", "i-1", &registration(8080)).await.expect(201);
    node.kill9();
    let data = node.data_dir();
    let aside = cluster.path().join("aside");
    fs::create_dir(&aside).expect("a folder in the folder of the test");
    let identity = |name: &str| name.contains("identity") || name.starts_with("node");
    let names: Vec<String> = fs::read_dir(data)
        .expect("the node has a folder")
        .filter_map(|entry| entry.expect("an entry of it").file_name().into_string().ok())
        .collect();
    let identities: Vec<&String> = names.iter().filter(|name| identity(name)).collect();
    assert_eq!(identities.len(), 1, "one identity file beside the log: {names:?}");

    // The log is gone.
    let others: Vec<&String> = names.iter().filter(|name| !identity(name)).collect();
    for name in &others {
        fs::rename(data.join(name), aside.join(name)).expect("a rename within a folder");
    }
    let refused = run_to_end(node.options().clone()).await;
    assert_eq!(refused.code, Some(1), "an identity without its log: {refused:?}");
    assert_says(&refused, &["identity", "log"]);
    for name in others {
        if data.join(name).is_dir() {
            fs::remove_dir_all(data.join(name)).expect("what the refused start made");
        } else if data.join(name).exists() {
            fs::remove_file(data.join(name)).expect("what the refused start made");
        }
        fs::rename(aside.join(name), data.join(name)).expect("a rename within a folder");
    }

    // The identity is gone.
    fs::rename(data.join(identities[0]), aside.join(identities[0])).expect("a rename within a folder");
    let refused = run_to_end(node.options().clone()).await;
    assert_eq!(refused.code, Some(1), "a log without its identity: {refused:?}");
    assert_says(&refused, &["identity"]);
    fs::rename(aside.join(identities[0]), data.join(identities[0])).expect("a rename within a folder");

    // Both are back: as before.
    node.start();
    node.wait_ready().await;
    node.get("/v1/services/kept/instances/i-1").answer().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_another_node_is_refused() {
    let cluster = Cluster::start(3).await;
    let nodes = [cluster.node(0), cluster.node(1)];
    for node in nodes {
        node.kill9();
    }
    let swap = |one: &std::path::Path, other: &std::path::Path| {
        let aside = cluster.path().join("aside");
        fs::rename(one, &aside).and_then(|()| fs::rename(other, one)).and_then(|()| fs::rename(aside, other))
    };
    let logs = nodes.map(|node| node.data_dir().join("log"));
    swap(&logs[0], &logs[1]).expect("both logs lie in the folder of the test");
    for node in nodes {
        let refused = run_to_end(node.options().clone()).await;
        assert_eq!(refused.code, Some(1), "a log with the votes of another node: {refused:?}");
        assert_says(&refused, &["put back the log that belongs to it"]);
    }
    swap(&logs[0], &logs[1]).expect("both logs lie in the folder of the test");
    for node in nodes {
        node.start();
    }
    cluster.wait_ready().await;
}
