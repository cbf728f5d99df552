//! A stale read says how old it may be, and is never older: also not when what the leader said waited somewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rollcall_tests::{Cluster, DEADLINE, Node, note, wait_until};
use tokio::task::JoinHandle;

/// Longer than an election, so that others lead and write meanwhile.
const PAUSE: Duration = Duration::from_secs(3);
/// Reads that claim to be young, to be seen after each pause.
const YOUNG_READS: usize = 200;
const YOUNG: Duration = Duration::from_secs(1);
const KEY: &str = "/v1/kv/aged";

/// Writes one after the other, and remembers when each revision was acknowledged.
struct Writer {
    acknowledged: Arc<Mutex<Vec<(Instant, u64)>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(nodes: Vec<Arc<Node>>) -> Self {
        let acknowledged = Arc::<Mutex<Vec<_>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let task = tokio::spawn(write(nodes, acknowledged.clone(), stop.clone()));
        Self { acknowledged, stop, task }
    }

    /// Waits until a write was acknowledged that long after `since`.
    async fn wait_past(&self, since: Instant, time: Duration) {
        wait_until("writes to go on", DEADLINE, async || {
            match self.acknowledged.lock().expect("no holder panicked").last() {
                Some((at, _)) if *at >= since + time => Ok(()),
                last => Err(format!("the last one was at {last:?}")),
            }
        })
        .await;
    }

    /// The latest revision that was acknowledged before `time`; 0 when none was.
    fn before(&self, time: Instant) -> u64 {
        let acknowledged = self.acknowledged.lock().expect("no holder panicked");
        acknowledged[..acknowledged.partition_point(|(at, _)| *at < time)].last().map_or(0, |(_, revision)| *revision)
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("the writer did not panic");
    }
}

async fn write(nodes: Vec<Arc<Node>>, acknowledged: Arc<Mutex<Vec<(Instant, u64)>>>, stop: Arc<AtomicBool>) {
    let mut turn = 0;
    while !stop.load(Ordering::SeqCst) {
        let call = nodes[turn % nodes.len()].put(KEY).body("x").timeout(Duration::from_secs(1));
        match call.send().await {
            Ok(answer) if answer.status < 300 => {
                acknowledged.lock().expect("no holder panicked").push((Instant::now(), answer.revision()));
            }
            // That node may be cut off from the leader; the other one is not.
            _ => turn += 1,
        }
    }
}

/// Reads until enough answers claimed to be young, and judges every claim. Returns the oldest age that was claimed.
async fn judge_claims(node: &Node, writer: &Writer) -> Duration {
    let (mut young, mut oldest) = (0, Duration::ZERO);
    let until = Instant::now() + DEADLINE;
    while young < YOUNG_READS {
        assert!(Instant::now() < until, "{} does not become fresh again: {young} young reads", node.name());
        let began = Instant::now();
        let Ok(read) = node.get(KEY).timeout(Duration::from_secs(5)).send().await else { continue };
        let Some(claimed) = read.header("x-rollcall-staleness-ms") else { continue };
        let claimed = Duration::from_millis(claimed.parse().expect("a number of milliseconds"));
        let expected = began.checked_sub(claimed).map_or(0, |time| writer.before(time));
        let seen = read.revision();
        assert!(
            seen >= expected,
            "{} claims to be at most {claimed:?} old at revision {seen}; {expected} was acknowledged before that",
            node.name()
        );
        oldest = oldest.max(claimed);
        young += usize::from(claimed < YOUNG);
    }
    oldest
}

async fn a_paused_node_claims_no_age_that_is_too_low(is_leader: bool) {
    let cluster = Cluster::start(3).await;
    for round in 0..3 {
        let leader = cluster.leader().await;
        let paused = if is_leader { leader } else { (leader + 1) % 3 };
        let writer = Writer::start(cluster.nodes_except(&[paused]));
        writer.wait_past(Instant::now(), Duration::ZERO).await;
        let since = Instant::now();
        cluster.node(paused).pause();
        writer.wait_past(since, PAUSE).await;
        cluster.node(paused).resume();
        let oldest = judge_claims(cluster.node(paused), &writer).await;
        note(format_args!("round {round}: n{} claimed to be {oldest:?} old", paused + 1));
        writer.stop().await;
        cluster.wait_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_paused_never_claims_to_be_younger_than_it_is() {
    a_paused_node_claims_no_age_that_is_too_low(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_paused_never_claims_to_be_younger_than_it_is() {
    a_paused_node_claims_no_age_that_is_too_low(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_beside_a_leader_that_lost_its_majority_says_how_old_it_gets() {
    let cluster = Cluster::of(5).with_fault_injection().start().await;
    let leader = cluster.leader().await;
    let minority = [leader, (leader + 1) % 5];
    cluster.cut_off(&minority).await;
    let others = cluster.nodes_except(&minority);
    let writer = Writer::start(others);
    let since = Instant::now();
    // The old leader falls silent after its lease, speaks again for a while, and still nobody may believe that it leads.
    for index in minority {
        loop {
            let began = Instant::now();
            let read = cluster.node(index).get(KEY).answer().await;
            let claimed = read.header("x-rollcall-staleness-ms").expect("a stale read says how old it may be");
            let claimed = Duration::from_millis(claimed.parse().expect("a number of milliseconds"));
            let expected = began.checked_sub(claimed).map_or(0, |time| writer.before(time));
            assert!(read.revision() >= expected, "n{} claims to be at most {claimed:?} old", index + 1);
            if claimed > 2 * PAUSE {
                break;
            }
            assert!(since.elapsed() < DEADLINE, "n{} claims {claimed:?} after {:?}", index + 1, since.elapsed());
        }
    }
    writer.wait_past(since, PAUSE).await;
    cluster.heal().await;
    for index in minority {
        judge_claims(cluster.node(index), &writer).await;
    }
    writer.stop().await;
}
