//! The leader is killed, paused or cut off while clients write and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rollcall_tests::{Cluster, DEADLINE, Ledger, Load, Node, note, registration, wait_until};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Checks a ledger on every node: nothing lost, nothing twice, the first answer again, history with each once.
async fn check_everywhere(cluster: &Cluster, ledger: &Ledger) {
    for node in cluster.nodes() {
        ledger.check_on(node).await;
        ledger.check_history_on(node).await;
    }
    for node in cluster.nodes() {
        ledger.check_replays_on(node).await;
    }
    // The replays, too, must have changed nothing.
    cluster.wait_converged().await;
    for node in cluster.nodes() {
        ledger.check_on(node).await;
        ledger.check_history_on(node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_or_done_twice_when_the_leader_is_killed_under_load() {
    let cluster = Cluster::start(3).await;
    let load = Load::start("killed", cluster.nodes(), 8);
    for _ in 0..2 {
        load.wait_for(100).await;
        let leader = cluster.leader().await;
        cluster.node(leader).kill9();
        load.wait_for(100).await;
        cluster.node(leader).start();
        cluster.wait_ready().await;
    }
    let ledger = load.stop().await;
    let resent = ledger.written.iter().filter(|one| one.attempts > 1).count();
    note(format_args!(
        "{} registrations, {resent} sent more than once, longest gap {:?}",
        ledger.written.len(),
        ledger.longest_gap
    ));
    check_everywhere(&cluster, &ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_but_the_leader_can_be_killed_without_a_gap_in_what_is_held() {
    let cluster = Cluster::start(3).await;
    let load = Load::start("follower", cluster.nodes(), 4);
    load.wait_for(40).await;
    let leader = cluster.leader().await;
    for follower in [(leader + 1) % 3, (leader + 2) % 3] {
        cluster.node(follower).kill9();
        load.wait_for(40).await;
        cluster.node(follower).start();
        cluster.wait_ready().await;
    }
    check_everywhere(&cluster, &load.stop().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_follower_does_not_keep_the_leader_busy() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    cluster.node((leader + 1) % 3).kill9();
    let load = Load::start("bereaved", &[cluster.node(leader).clone()], 2);
    load.wait_for(20).await;
    let (before, start) = (cluster.node(leader).log().lines().count(), Instant::now());
    load.wait_for(400).await;
    let lines = cluster.node(leader).log().lines().count() - before;
    let per_second = lines as f64 / start.elapsed().as_secs_f64();
    load.stop().await;
    // Heartbeats go out a dozen times a second; a retry that does not wait goes round thousands of times.
    assert!(per_second < 100.0, "{per_second:.0} log lines a second\n{}", cluster.node(leader).log_tail(4));
}

/// Writes a number up and reads it back linearizably from every node, all the while.
struct Register {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<usize>>,
}

const REGISTER: &str = "/v1/kv/a-register";

impl Register {
    async fn start(nodes: &[Arc<Node>]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let acknowledged = Arc::<AtomicU64>::default();
        nodes[0].put(REGISTER).body("0").answer().await;
        let mut tasks = vec![tokio::spawn(write_up(nodes.to_vec(), stop.clone(), acknowledged.clone()))];
        for node in nodes {
            tasks.push(tokio::spawn(read_back(node.clone(), stop.clone(), acknowledged.clone())));
        }
        Self { stop, acknowledged, tasks }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    async fn wait_for(&self, more: u64) {
        let goal = self.acknowledged() + more;
        wait_until("further writes of the register", DEADLINE, async || match self.acknowledged() {
            number if number >= goal => Ok(()),
            number => Err(format!("at {number} of {goal}")),
        })
        .await;
    }

    /// Stops and returns how many linearizable reads were answered; each was checked.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let mut answered = 0;
        for task in self.tasks {
            answered += task.await.expect("no read was stale");
        }
        answered
    }
}

async fn write_up(nodes: Vec<Arc<Node>>, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicU64>) -> usize {
    let (mut number, mut at) = (1, 0);
    while !stop.load(Ordering::SeqCst) {
        let call = nodes[at % nodes.len()].put(REGISTER).header("Idempotency-Key", format!("register {number}"));
        match call.body(format!("{number}")).timeout(Duration::from_secs(1)).send().await {
            Ok(answer) if answer.status < 300 => {
                acknowledged.store(number, Ordering::SeqCst);
                number += 1;
            }
            _ => at += 1,
        }
    }
    0
}

async fn read_back(node: Arc<Node>, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicU64>) -> usize {
    let mut answered = 0;
    while !stop.load(Ordering::SeqCst) {
        answered += usize::from(read_linearizable(&node, acknowledged.load(Ordering::SeqCst)).await);
    }
    answered
}

/// Reads the register; whether it was answered. An answer below `at_least`, acknowledged before the read, is stale.
async fn read_linearizable(node: &Node, at_least: u64) -> bool {
    let call = node.get(&format!("{REGISTER}?consistency=linearizable")).timeout(Duration::from_secs(8));
    let Ok(answer) = call.send().await else { return false };
    if answer.status != 200 {
        assert!(matches!(answer.status, 503 | 504), "{}: {}", answer.status, answer.text());
        return false;
    }
    let value: u64 = answer.text().parse().expect("the register holds a number");
    assert!(value >= at_least, "stale: {} answered {value} after {at_least} was acknowledged", node.name());
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_paused_longer_than_its_lease_gives_no_stale_read_and_loses_no_write_when_it_goes_on() {
    let cluster = Cluster::start(3).await;
    let register = Register::start(cluster.nodes()).await;
    let load = Load::start("paused", cluster.nodes(), 4);
    for _ in 0..2 {
        load.wait_for(40).await;
        register.wait_for(5).await;
        let paused = cluster.leader().await;
        cluster.node(paused).pause();
        let others: Vec<usize> = (0..3).filter(|&index| index != paused).collect();
        cluster.leader_among(&others).await;
        // The new leader has acknowledged writes that the paused one knows nothing of.
        register.wait_for(5).await;
        load.wait_for(20).await;
        // Reads that lie ready in its sockets are the first thing the paused leader sees, before any other node tells
        // it that its time is over.
        let acknowledged = register.acknowledged();
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let node = cluster.node(paused).clone();
                tokio::spawn(async move { read_linearizable(&node, acknowledged).await })
            })
            .collect();
        wait_until("the reads to lie ready", DEADLINE, async || {
            match established_to(cluster.node(paused).options().http) {
                count if count >= 20 => Ok(()),
                count => Err(format!("{count} connections")),
            }
        })
        .await;
        cluster.node(paused).resume();
        for read in waiting {
            read.await.expect("no read was stale");
        }
        cluster.wait_ready().await;
    }
    let reads = register.stop().await;
    assert!(reads > 0, "some reads were answered");
    check_everywhere(&cluster, &load.stop().await).await;
}

/// Connections from clients to a loopback port, as the kernel lists them.
fn established_to(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    // Elsewhere than on Linux there is no table; the reads are then sent, but it is not known whether they arrived.
    let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else { return usize::MAX };
    let to = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|remote| remote.ends_with(&to)) && fields.next() == Some(ESTABLISHED)
    };
    table.lines().filter(is_one).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_refuses_writes_and_serves_stale_reads_while_the_majority_goes_on() {
    let cluster = Cluster::of(3).with_fault_injection().start().await;
    cluster.node(0).register("cut-off", "before", &registration(1)).await.expect(201);
    cluster.wait_converged().await;
    let alone = cluster.leader().await;
    let majority: Vec<usize> = (0..3).filter(|&index| index != alone).collect();
    cluster.cut_off(&[alone]).await;

    let led_by = cluster.leader_among(&majority).await;
    let load = Load::start("majority", &cluster.nodes_except(&[alone]), 2);
    load.wait_for(40).await;

    // The minority: writes are refused for certain, with a time to come back; linearizable reads are refused.
    let minority = cluster.node(alone);
    let refused = wait_until("the minority to refuse writes", DEADLINE, async || {
        let answer = minority.try_register("cut-off", "never", &registration(2)).await;
        if answer.status == 503 { Ok(answer) } else { Err(format!("{}: {}", answer.status, answer.text())) }
    })
    .await;
    assert!(matches!(refused.code().as_str(), "no_leader" | "no_quorum"), "{}", refused.text());
    let retry_after = refused.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    assert!(retry_after.is_some(), "a refusal for now says when to come back: {:?}", refused.headers);
    // Asked again it never says yes; while it looks for its quorum it may have to say that it does not know.
    let again = minority.try_register("cut-off", "refused", &registration(3)).await;
    let codes = ["no_leader", "no_quorum", "timeout_outcome_unknown"];
    assert!(codes.contains(&again.code().as_str()), "{}", again.text());
    let read = minority.get("/v1/services/cut-off/instances/before?consistency=linearizable").answer().await;
    assert!(matches!(read.status, 503 | 504), "{}: {}", read.status, read.text());

    // Reads that may be stale go on, and say how stale.
    let staleness = async || {
        let read = minority.get("/v1/services/cut-off/instances/before").answer().await.expect(200);
        let text = read.header("x-rollcall-staleness-ms").map(str::to_owned);
        text.and_then(|text| text.parse::<u64>().ok()).expect("a stale read says how old it may be")
    };
    let early = staleness().await;
    wait_until("the stated staleness to grow", DEADLINE, async || match staleness().await {
        later if later > early + 200 => Ok(()),
        later => Err(format!("{early} ms, then {later} ms")),
    })
    .await;

    let ready = minority.get("/readyz").answer().await;
    assert_eq!(ready.status, 503, "a node that reaches no majority is not ready: {}", ready.text());

    cluster.heal().await;
    let ledger = load.stop().await;
    let healed = cluster.leader().await;
    note(format_args!("leader before n{}, during n{}, after n{}", alone + 1, led_by + 1, healed + 1));
    check_everywhere(&cluster, &ledger).await;
    for node in cluster.nodes() {
        let items = node.get("/v1/services/cut-off/instances").answer().await.expect(200).items();
        let ids: Vec<&Value> = items
            .iter()
            .map(|item| &item["id"])
            .filter(|id| **id != json!("never") && **id != json!("refused"))
            .collect();
        assert_eq!(ids, ["before"], "what was refused with 503 was not done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_cut_off_disturbs_nobody_when_it_comes_back() {
    let cluster = Cluster::of(3).with_fault_injection().start().await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let term = cluster.node(leader).raft().await.map(|view| view["term"].clone());
    cluster.cut_off(&[follower]).await;
    wait_until("the follower to lose its leader", DEADLINE, async || {
        let view = cluster.node(follower).raft().await.unwrap_or_default();
        let readiness = cluster.node(follower).get("/readyz").answer().await.status;
        if readiness == 503 { Ok(()) } else { Err(format!("{readiness}: {view}")) }
    })
    .await;
    let load = Load::start("undisturbed", &cluster.nodes_except(&[follower]), 2);
    load.wait_for(40).await;
    cluster.heal().await;
    cluster.wait_ready().await;
    load.wait_for(40).await;
    check_everywhere(&cluster, &load.stop().await).await;
    let after = cluster.node(leader).raft().await.map(|view| view["term"].clone());
    assert_eq!(after, term, "pre-vote keeps a returning node from unseating the leader (Raft dissertation §9.6)");
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_on_request_without_losing_writes() {
    let cluster = Cluster::start(3).await;
    let load = Load::start("transferred", cluster.nodes(), 4);
    for _ in 0..3 {
        load.wait_for(20).await;
        let from = cluster.leader().await;
        let to = (from + 1) % 3;
        let body = json!({"to": cluster.node(to).name()});
        let asked = cluster.node(from).post("/v1/cluster/transfer-leader").json(&body).answer().await;
        assert!(asked.status < 300, "{}: {}", asked.status, asked.text());
        wait_until("the named node to lead", DEADLINE, async || match cluster.leader().await {
            leader if leader == to => Ok(()),
            leader => Err(format!("n{} leads", leader + 1)),
        })
        .await;
    }
    check_everywhere(&cluster, &load.stop().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_stop_hands_over_and_exits_with_0() {
    let cluster = Cluster::start(3).await;
    let load = Load::start("stopped", cluster.nodes(), 4);
    load.wait_for(20).await;
    let leader = cluster.leader().await;
    let status = cluster.node(leader).terminate().await;
    assert_eq!(status.code(), Some(0), "{}", cluster.node(leader).log_tail(20));
    load.wait_for(20).await;
    cluster.node(leader).start();
    cluster.wait_ready().await;
    check_everywhere(&cluster, &load.stop().await).await;
}
