//! Joining, leaving, removing, replacing; and who is not let in.

use std::fs;

use rollcall_tests::{
    Cluster, DEADLINE, Finished, Load, Node, NodeOptions, metric, registration, rollcall, wait_until,
};
use serde_json::Value;

async fn members(node: &Node) -> Vec<Value> {
    node.get("/v1/cluster/members").answer().await.expect(200).items()
}

/// Waits until `node` lists exactly these voters and learners.
async fn wait_for_membership(node: &Node, voters: &[&str], learners: &[&str]) {
    wait_until(&format!("voters {voters:?} and learners {learners:?}"), DEADLINE, async || {
        let view = node.raft().await.unwrap_or_default();
        let names = |key: &str| {
            let mut names: Vec<String> = serde_json::from_value(view[key].clone()).unwrap_or_default();
            names.sort();
            names
        };
        if names("voters") == voters && names("learners") == learners { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
}

async fn command(cluster: &Cluster, index: usize, arguments: &[&str]) -> Finished {
    let url = cluster.node(index).url();
    rollcall(arguments.iter().copied().chain(["--server", url.as_str()])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_node_joins_becomes_a_voter_and_leaves_again() {
    let mut cluster = Cluster::start(3).await;
    let before = cluster.node(0).register("joined", "before", &registration(8080)).await.expect(201).revision();
    let load = Load::start("joining", cluster.nodes(), 2);
    let fourth = cluster.join(cluster.options("n4")).await;
    wait_for_membership(cluster.node(0), &["n1", "n2", "n3", "n4"], &[]).await;
    load.wait_for(20).await;
    let ledger = load.stop().await;
    cluster.wait_converged().await;
    ledger.check_on(cluster.node(fourth)).await;
    let path = format!("/v1/services/joined/instances/before?min_revision={before}");
    cluster.node(fourth).get(&path).answer().await.expect(200);
    let through = cluster.node(fourth).register("joined", "through", &registration(8080)).await.expect(201).revision();
    let path = format!("/v1/services/joined/instances/through?min_revision={through}");
    cluster.node(0).get(&path).answer().await.expect(200);
    let listed = members(cluster.node(0)).await;
    assert_eq!(listed.len(), 4, "{listed:?}");
    let own = listed.iter().find(|member| member["name"] == "n4").expect("it is a member");
    assert!(own["node_id"].as_u64() > Some(100), "ids beyond the bootstrap are given by the log: {own}");
    assert_eq!(own["addresses"]["http"], format!("127.0.0.1:{}", cluster.node(fourth).options().http));

    let left = command(&cluster, fourth, &["leave"]).await;
    assert_eq!(left.code, Some(0), "{left:?}");
    wait_for_membership(cluster.node(0), &["n1", "n2", "n3"], &[]).await;
    let ended = cluster.node(fourth).wait_exit().await;
    assert_eq!(ended.code(), Some(0), "{}", cluster.node(fourth).log_tail(20));
    cluster.node(0).register("joined", "after", &registration(8080)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_holds_everything_answers_reads_forwards_writes_and_never_votes() {
    let mut cluster = Cluster::start(3).await;
    let written = cluster.node(0).register("observed", "i-1", &registration(8080)).await.expect(201).revision();
    let mut options = cluster.options("watcher");
    options.arguments.push("--observer".to_owned());
    let observer = cluster.join(options).await;
    wait_for_membership(cluster.node(0), &["n1", "n2", "n3"], &["watcher"]).await;
    let path = format!("/v1/services/observed/instances/i-1?min_revision={written}");
    cluster.node(observer).get(&path).answer().await.expect(200);
    let path = "/v1/services/observed/instances/i-1?consistency=linearizable";
    cluster.node(observer).get(path).answer().await.expect(200);
    let forwarded =
        cluster.node(observer).register("observed", "i-2", &registration(8080)).await.expect(201).revision();
    let path = format!("/v1/services/observed/instances/i-2?min_revision={forwarded}");
    cluster.node(1).get(&path).answer().await.expect(200);
    // Two voters and the observer are left: the two are a majority of three voters.
    let leader = cluster.leader().await;
    cluster.node(leader).kill9();
    let others: Vec<usize> = (0..3).filter(|&index| index != leader).collect();
    cluster.leader_among(&others).await;
    wait_for_membership(cluster.node(others[0]), &["n1", "n2", "n3"], &["watcher"]).await;
    // One voter and the observer are no majority, however many replicas there are.
    cluster.node(others[1]).kill9();
    wait_until("writes to be refused", DEADLINE, async || {
        let answer = cluster.node(observer).try_register("observed", "i-3", &registration(8080)).await;
        if answer.status == 503 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text())) }
    })
    .await;
    cluster.node(observer).get("/v1/services/observed/instances/i-1").answer().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_removed_and_replaced_under_its_name_with_a_new_id() {
    let mut cluster = Cluster::start(3).await;
    let ledger = {
        let load = Load::start("replaced", cluster.nodes(), 2);
        load.wait_for(20).await;
        load.stop().await
    };
    let dead = (cluster.leader().await + 1) % 3;
    let alive = (dead + 1) % 3;
    let name = cluster.node(dead).name().to_owned();
    let old_id = cluster.node(dead).id().await;
    cluster.node(dead).kill9();
    fs::remove_dir_all(cluster.node(dead).data_dir()).expect("the folder of a dead node");

    // A wiped disk under the old name: the cluster knows this name as another node.
    let options = cluster.node(dead).options().clone();
    let wiped = cluster.adopt(options.clone());
    cluster.node(wiped).start();
    let refused = cluster.node(wiped).wait_exit().await;
    let said = cluster.node(wiped).log();
    assert_eq!(refused.code(), Some(1), "{said}");
    assert!(said.contains(&name) && said.contains("remove"), "it says who has the name and what to do: {said}");

    let removed = command(&cluster, alive, &["remove", &name]).await;
    assert_eq!(removed.code, Some(0), "{removed:?}");
    let mut names: Vec<&str> = ["n1", "n2", "n3"].into_iter().filter(|other| *other != name).collect();
    wait_for_membership(cluster.node(alive), &names, &[]).await;

    if options.data_dir.exists() {
        fs::remove_dir_all(&options.data_dir).expect("what the refused start made");
    }
    let replacement = cluster.join(options).await;
    names = vec!["n1", "n2", "n3"];
    wait_for_membership(cluster.node(alive), &names, &[]).await;
    assert!(cluster.node(replacement).id().await > old_id, "ids are never used again");
    cluster.wait_converged().await;
    ledger.check_on(cluster.node(replacement)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_that_still_runs_is_told_so_and_disturbs_nobody() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let removed = (leader + 1) % 3;
    let term = cluster.node(leader).raft().await.map(|view| view["term"].clone());
    let name = cluster.node(removed).name().to_owned();
    let done = command(&cluster, leader, &["remove", &name]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let load = Load::start("rest", &cluster.nodes_except(&[removed]), 2);
    load.wait_for(100).await;
    let ledger = load.stop().await;
    let after = cluster.node(leader).raft().await.map(|view| view["term"].clone());
    assert_eq!(after, term, "no election for a node that is not a member");
    ledger.check_on(cluster.node(leader)).await;
    let unknown = cluster.node(leader).delete("/v1/cluster/members/nobody").answer().await.expect(404);
    assert_eq!(unknown.code(), "member_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_secret_is_kept_out() {
    let mut cluster = Cluster::start(1).await;
    let secret_file = cluster.path().join("another-secret");
    fs::write(&secret_file, "another secret of the same length as a secret").expect("a file in the test's folder");
    let stranger = cluster.adopt(NodeOptions { secret_file, ..cluster.options("stranger") });
    cluster.node(stranger).start();
    let before = metric(&cluster.node(0).metrics().await, "rollcall_peer_rejected_total", &[]);
    wait_until("the stranger to be rejected", DEADLINE, async || {
        match metric(&cluster.node(0).metrics().await, "rollcall_peer_rejected_total", &[]) {
            count if count > before || count > 0.0 => Ok(()),
            count => Err(format!("{count} rejected")),
        }
    })
    .await;
    let listed = members(cluster.node(0)).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    if cluster.node(stranger).is_running() {
        assert!(cluster.node(stranger).look_ready().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_another_cluster_are_kept_out_although_they_know_the_secret() {
    // Two nodes, one of whose addresses is then taken over by another cluster, as after a mix-up of machines.
    let old = Cluster::start(2).await;
    old.node(0).register("old", "i-1", &registration(8080)).await.expect(201);
    old.node(0).kill9();
    old.node(1).kill9();
    let mut new = Cluster::of(0).prepare();
    let taken = old.node(1).options();
    let options = NodeOptions {
        http: taken.http,
        peer: taken.peer,
        secret_file: old.secret_file(),
        bootstrap_expect: Some(1),
        ..new.options("n2")
    };
    let index = new.join(options).await;
    let home = new.node(index);
    let term = home.raft().await.map(|view| view["term"].clone());
    home.register("new", "i-1", &registration(8080)).await.expect(201);

    old.node(0).start();
    wait_until("the stranger to be rejected", DEADLINE, async || {
        match metric(&home.metrics().await, "rollcall_peer_rejected_total", &["reason=\"cluster\""]) {
            0.0 => Err(format!("none rejected\n{}", old.node(0).log_tail(5))),
            _ => Ok(()),
        }
    })
    .await;
    let ready = old.node(0).get("/readyz").send().await;
    assert!(ready.is_err() || ready.is_ok_and(|answer| answer.status != 200), "the stranger found nobody of its own");
    assert!(old.node(0).log().to_lowercase().contains("cluster"), "{}", old.node(0).log_tail(20));
    assert_eq!(home.raft().await.map(|view| view["term"].clone()), term, "nobody was unseated");
    assert_eq!(members(home).await.len(), 1);
    let path = "/v1/services/old?consistency=linearizable";
    assert_eq!(home.get(path).answer().await.expect(404).code(), "service_not_found");
    home.register("new", "i-2", &registration(8080)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_that_is_pointed_at_two_clusters_is_refused() {
    let first = Cluster::start(1).await;
    let second = Cluster::start(1).await;
    let mut all = Cluster::of(0).prepare();
    let join = vec![first.node(0).options().peer, second.node(0).options().peer];
    let index = all.adopt(NodeOptions { join, secret_file: first.secret_file(), ..all.options("lost") });
    all.node(index).start();
    let ended = all.node(index).wait_exit().await;
    assert_eq!(ended.code(), Some(1), "{}", all.node(index).log());
    let mut ids = Vec::new();
    for cluster in [&first, &second] {
        let status = cluster.node(0).get("/v1/cluster").answer().await.expect(200).json();
        ids.push(status["cluster_id"].as_str().unwrap_or_default().to_owned());
        assert_eq!(members(cluster.node(0)).await.len(), 1, "it joined neither");
    }
    let said = all.node(index).log();
    assert!(ids.iter().any(|id| said.contains(id)), "it names the clusters {ids:?}: {said}");
}
