//! How long writes stop when the leader is killed or falls silent. Measured and printed; only correctness is asserted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_tests::{Cluster, Load, Node, is_long, note, registration};

/// Longest wait for one attempt while the new leader is awaited.
const ATTEMPT: Duration = Duration::from_millis(400);
/// Far above what is promised: beyond it, writes did not come back.
const GIVEN_UP: Duration = Duration::from_secs(30);

fn rounds() -> usize {
    if is_long() { 20 } else { 2 }
}

/// The time from now until one of `nodes` acknowledges a write; the nodes are asked at once, each again and again.
async fn time_to_write(nodes: &[Arc<Node>], name: &str) -> Duration {
    let start = Instant::now();
    let attempts: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (node, id) = (node.clone(), format!("{name}-{}", node.name()));
            tokio::spawn(async move {
                while start.elapsed() < GIVEN_UP {
                    let path = format!("/v1/services/failover/instances/{id}");
                    let call = node.put(&path).header("Idempotency-Key", &id).json(&registration(8080));
                    if call.timeout(ATTEMPT).send().await.is_ok_and(|answer| answer.status < 300) {
                        return start.elapsed();
                    }
                    tokio::task::yield_now().await;
                }
                panic!("no write through {} for {GIVEN_UP:?}", node.name())
            })
        })
        .collect();
    let mut shortest = GIVEN_UP;
    for attempt in attempts {
        shortest = shortest.min(attempt.await.expect("writes come back"));
    }
    shortest
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let median = (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2;
    let worst = times[times.len() - 1];
    note(format_args!("{what}, {} rounds: writes again after {median:?} (median), {worst:?} (worst)", times.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_come_back_after_the_leader_is_killed() {
    let cluster = Cluster::start(3).await;
    let mut times = Vec::new();
    for round in 0..rounds() {
        let leader = cluster.leader().await;
        let others = cluster.nodes_except(&[leader]);
        time_to_write(&others, &format!("warm-{round}")).await;
        cluster.node(leader).kill9();
        times.push(time_to_write(&others, &format!("killed-{round}")).await);
        cluster.node(leader).start();
        cluster.wait_ready().await;
        cluster.wait_converged().await;
    }
    report("leader killed", times);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_come_back_after_the_leader_falls_silent() {
    let cluster = Cluster::start(3).await;
    let mut times = Vec::new();
    for round in 0..rounds() {
        let leader = cluster.leader().await;
        let others = cluster.nodes_except(&[leader]);
        time_to_write(&others, &format!("warm-{round}")).await;
        cluster.node(leader).pause();
        times.push(time_to_write(&others, &format!("paused-{round}")).await);
        cluster.node(leader).resume();
        cluster.wait_ready().await;
        cluster.wait_converged().await;
    }
    report("leader paused", times);
}

#[tokio::test(flavor = "multi_thread")]
async fn load_without_a_fault_causes_no_election() {
    let cluster = Cluster::start(3).await;
    let term = async || {
        let leader = cluster.leader().await;
        cluster.node(leader).raft().await.map(|view| view["term"].clone())
    };
    // A machine that does not run a node for half a second is a fault of its own; one of three measurements is without it.
    let mut terms = Vec::new();
    for attempt in 0..3 {
        let before = term().await;
        let load = Load::start(&format!("full-{attempt}"), cluster.nodes(), if is_long() { 64 } else { 8 });
        for _ in 0..if is_long() { 20 } else { 1 } {
            load.wait_for(300).await;
        }
        load.stop().await;
        terms.push((before, term().await));
        if terms.last().is_some_and(|(before, after)| before == after) {
            return;
        }
    }
    panic!("each time there was an election: {terms:?}");
}
