//! A registration on one node, readable on every other one.
//!
//! The nodes take turns to be written to. On the two others a client asks for the new instance with a stale read, which
//! never waits for the log, and asks again a millisecond later until it is there; it begins when the write is sent, so that the
//! acknowledgement is not waited for. Two times are told: from sending the write until all three nodes have it, and
//! from the acknowledgement until the two others have it, which is 0 when they were first. Without and with other writers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Plan;
use crate::client::http::HttpConnection;
use crate::client::payload;
use crate::client::{Operation, connect};
use crate::cluster::{Cluster, NODES};
use crate::load::{Numbers, percentile_ms};
use crate::machine::{self, CpuSample, NOISY_CORES};
use crate::results::{Quantity, Results, Subject};

/// Writes of one run, at each load.
const ROUNDS: u32 = 500;
/// Pause between two looks at a node, and between two writes.
const PAUSE: Duration = Duration::from_millis(1);
/// Longest wait until a node has a write.
const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a registration.
const BYTES: usize = 256;
/// Clients that write all the while, or none.
pub(crate) const WRITERS: [usize; 2] = [0, 64];

/// Name of the time from sending a write.
pub(crate) fn workload_sent(writers: usize) -> String {
    format!("PUT sent → readable on all three, {writers} other writers")
}

/// Name of the time from the acknowledgement of a write.
pub(crate) fn workload_acknowledged(writers: usize) -> String {
    format!("PUT acknowledged → readable on the others, {writers} other writers")
}

/// Measures us. The peers have reads that need no quorum, too, but none that tells a new key from an old one this cheaply.
pub(crate) async fn run(plan: &Plan, results: &mut Results) {
    for (pair, subject) in plan.runs(&[Subject::Rollcall], plan.pairs) {
        let outcome = run_one(plan, pair, results).await;
        results.note_failure("propagation", subject, pair, outcome);
    }
}

async fn run_one(plan: &Plan, pair: usize, results: &mut Results) -> Result<()> {
    let cluster = Cluster::start(Subject::Rollcall, &plan.setup).await?;
    let pids = cluster.pids();
    for writers in WRITERS {
        if let Some(remark) = machine::wait_until_quiet(&pids, plan.patience).await? {
            results.note(format!("propagation, pair {}: {remark}", pair + 1));
        }
        let load = write_all_the_while(&cluster, writers).await?;
        let before = CpuSample::take(&pids)?;
        let times = spread(&cluster, writers).await?;
        let noisy = CpuSample::take(&pids)?.since(&before).foreign > NOISY_CORES;
        drop(load);
        for (workload, mut times) in
            [(workload_sent(writers), times.sent), (workload_acknowledged(writers), times.acknowledged)]
        {
            times.sort_unstable();
            let (p50, p99) = (percentile_ms(&times, 0.5), percentile_ms(&times, 0.99));
            results.record(&workload, Subject::Rollcall, pair, noisy, Quantity::P50Ms, p50);
            results.record(&workload, Subject::Rollcall, pair, noisy, Quantity::P99Ms, p99);
            crate::progress(&format!("  Rollcall  {workload}: p50 {p50:.2} ms, p99 {p99:.2} ms"));
        }
    }
    Ok(())
}

/// Writers that go on until they are dropped.
async fn write_all_the_while(cluster: &Cluster, writers: usize) -> Result<JoinSet<Result<()>>> {
    let numbers = Numbers::default();
    let mut load = JoinSet::new();
    for mut caller in connect(cluster.subject, &cluster.addresses().await?, writers).await? {
        let numbers = numbers.clone();
        load.spawn(async move {
            loop {
                caller.call(Operation::Write { bytes: BYTES, lease: true }, numbers.next()).await?;
            }
        });
    }
    Ok(load)
}

/// Times in microseconds, one of each kind for each write.
#[derive(Default)]
struct Times {
    sent: Vec<u32>,
    acknowledged: Vec<u32>,
}

async fn spread(cluster: &Cluster, writers: usize) -> Result<Times> {
    let mut connections = Vec::new();
    for node in 0..NODES {
        connections.push(HttpConnection::connect(cluster.address(node)).await?);
    }
    let body = payload::registration(BYTES, false);
    let mut times = Times::default();
    for round in 0..ROUNDS {
        // The first one is written to; in the next round it is another.
        connections.rotate_left(1);
        let [writer, one, other] = connections.as_mut_slice() else { break };
        let path = format!("/v1/services/spread-{writers}/instances/i-{round}");
        let sent = Instant::now();
        let (acknowledged, seen) =
            timeout(DEADLINE, async { tokio::try_join!(write(writer, &path, &body), see_both(one, other, &path)) })
                .await
                .with_context(|| format!("write {round} did not reach every node"))??;
        times.sent.push(micros(acknowledged.max(seen) - sent));
        times.acknowledged.push(micros(seen.saturating_duration_since(acknowledged)));
        sleep(PAUSE).await;
    }
    Ok(times)
}

async fn write(connection: &mut HttpConnection, path: &str, body: &[u8]) -> Result<Instant> {
    connection.exchange_ok("PUT", path, body).await?;
    Ok(Instant::now())
}

/// When the later of the two nodes had it.
async fn see_both(one: &mut HttpConnection, other: &mut HttpConnection, path: &str) -> Result<Instant> {
    let (one, other) = tokio::try_join!(see(one, path), see(other, path))?;
    Ok(one.max(other))
}

async fn see(node: &mut HttpConnection, path: &str) -> Result<Instant> {
    let stale = format!("{path}?consistency=stale");
    loop {
        let status = node.exchange("GET", &stale, b"").await?.status;
        if status == 200 {
            return Ok(Instant::now());
        }
        ensure!(status == 404, "GET {stale}: {status}");
        sleep(PAUSE).await;
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
