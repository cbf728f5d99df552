//! A node that was away, or is new, gets what it lacks while the cluster serves: from the log, or from a snapshot.

use rollcall_tests::{Cluster, DEADLINE, Load, flood, note, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_catches_up_from_the_log_while_the_cluster_serves() {
    let cluster = Cluster::start(3).await;
    let away = (cluster.leader().await + 1) % 3;
    cluster.node(away).kill9();
    let load = Load::start("away", &cluster.nodes_except(&[away]), 8);
    load.wait_for(300).await;
    cluster.node(away).start();
    cluster.node(away).wait_ready().await;
    load.wait_for(50).await;
    let ledger = load.stop().await;
    cluster.wait_converged().await;
    ledger.check_on(cluster.node(away)).await;
    assert_eq!(cluster.digest(away).await, cluster.digest((away + 1) % 3).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_when_the_log_does_not_reach_back_gets_a_snapshot_while_the_cluster_serves() {
    // The log of a restored cluster begins where its snapshot ends.
    let source = Cluster::start(1).await;
    let load = Load::start("source", source.nodes(), 4);
    load.wait_for(200).await;
    let old = load.stop().await;
    let image = source.snapshot(0).await;
    let mut cluster = Cluster::of(0).prepare();
    let mut options = cluster.options("n1");
    options.bootstrap_expect = Some(1);
    options.arguments.push(format!("--restore={}", image.display()));
    let first = cluster.join(options).await;

    let load = Load::start("joined", &[cluster.node(first).clone()], 4);
    load.wait_for(20).await;
    let second = cluster.join(cluster.options("n2")).await;
    let third = cluster.join(cluster.options("n3")).await;
    load.wait_for(20).await;
    let new = load.stop().await;
    cluster.wait_converged().await;
    for index in [first, second, third] {
        old.check_on(cluster.node(index)).await;
        old.check_history_on(cluster.node(index)).await;
        new.check_on(cluster.node(index)).await;
        assert_eq!(cluster.digest(index).await, cluster.digest(first).await);
    }
    for index in [second, third] {
        let view = cluster.node(index).raft().await.expect("a ready node answers");
        assert!(view["snapshot_index"].as_u64() >= Some(old.revision()), "it came by a snapshot: {view}");
    }
    // And what came by a snapshot survives a restart.
    cluster.node(second).kill9();
    cluster.node(second).start();
    cluster.node(second).wait_ready().await;
    old.check_on(cluster.node(second)).await;
    new.check_on(cluster.node(second)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_past_the_purge_of_the_log_gets_a_snapshot() {
    let cluster = Cluster::start(3).await;
    let away = (cluster.leader().await + 1) % 3;
    let first = Load::start("before", cluster.nodes(), 2);
    first.wait_for(20).await;
    let first = first.stop().await;
    cluster.wait_converged().await;
    let seen = cluster.node(away).raft().await.expect("a ready node answers")["last_log_index"].as_u64();
    cluster.node(away).kill9();
    let leader = cluster.node(cluster.leader().await).clone();
    // A snapshot is written after 20,000 entries, when few come any more, and 5,000 entries are kept behind it.
    flood(&leader, 27_000).await;
    let seen = seen.unwrap_or(0);
    let purged = wait_until("the log to be purged beyond what the node holds", DEADLINE, async || {
        let view = leader.raft().await.unwrap_or_default();
        view["purged_index"].as_u64().filter(|purged| *purged > seen).ok_or_else(|| view.to_string())
    })
    .await;
    note(format_args!("the node has entries up to {seen}; the others have none up to {purged}"));
    let load = Load::start("meanwhile", &cluster.nodes_except(&[away]), 2);
    cluster.node(away).start();
    cluster.node(away).wait_ready().await;
    load.wait_for(20).await;
    let second = load.stop().await;
    cluster.wait_converged().await;
    first.check_on(cluster.node(away)).await;
    second.check_on(cluster.node(away)).await;
    assert_eq!(cluster.digest(away).await, cluster.digest((away + 1) % 3).await);
}
