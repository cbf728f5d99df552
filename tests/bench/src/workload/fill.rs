//! 100,000 instances of 500 bytes: what they cost in memory, and how long restarts take with them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::Plan;
use super::first_write::first_accepted_write;
use crate::client::{Operation, connect};
use crate::cluster::{Cluster, NODES};
use crate::load::{self, Numbers};
use crate::machine;
use crate::results::{Quantity, Results, Subject};

/// Bytes of an instance.
pub(crate) const BYTES: usize = 500;
/// Clients that store them.
const CLIENTS: usize = 128;
/// Quiet time before memory is looked at and before each kill.
const SETTLE: Duration = Duration::from_secs(2);
/// Restarts of one node for each fill.
const RESTARTS_OF_ONE: usize = 3;
/// Instances that are read back after all nodes were killed.
const READ_BACK: u64 = 1000;

/// Which figures are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) memory: bool,
    pub(crate) restart: bool,
}

/// Name of the memory workload.
pub(crate) fn workload_memory(instances: u64) -> String {
    format!("{instances} instances of {BYTES} B: largest node")
}

/// Name of the workload in which one follower restarts.
pub(crate) fn workload_one(instances: u64) -> String {
    format!("{instances} instances: one follower killed, start → ready")
}

/// Name of the workload in which all nodes restart.
pub(crate) fn workload_all(instances: u64) -> String {
    format!("{instances} instances: all killed, start → first write")
}

/// Measures us and etcd.
pub(crate) async fn run(plan: &Plan, wanted: Wanted, results: &mut Results) {
    for (pair, subject) in plan.runs(&[Subject::Rollcall, Subject::Etcd], plan.pairs) {
        let outcome = run_one(plan, wanted, pair, subject, results).await;
        results.note_failure("fill", subject, pair, outcome);
    }
}

/// One run of one system.
async fn run_one(plan: &Plan, wanted: Wanted, pair: usize, subject: Subject, results: &mut Results) -> Result<()> {
    let mut cluster = Cluster::start(subject, &plan.setup).await?;
    let empty = machine::largest_resident(&cluster.pids())?;
    let write = Operation::Write { bytes: BYTES, lease: false };
    load::fill(&cluster, write, plan.instances, CLIENTS).await?;
    sleep(SETTLE).await;
    if wanted.memory {
        let full = machine::largest_resident(&cluster.pids())?;
        let each = full.saturating_sub(empty) as f64 / plan.instances as f64;
        let workload = workload_memory(plan.instances);
        results.record(&workload, subject, pair, false, Quantity::RssMb, full as f64 / 1e6);
        results.record(&workload, subject, pair, false, Quantity::BytesPerInstance, each);
        crate::progress(&format!("  {subject:<9} {workload}: {:.0} MB, {each:.0} B each", full as f64 / 1e6));
    }
    if wanted.restart {
        restart_one(plan, &mut cluster, pair, results).await?;
        restart_all(plan, &mut cluster, pair, results).await?;
    }
    Ok(())
}

async fn restart_one(plan: &Plan, cluster: &mut Cluster, pair: usize, results: &mut Results) -> Result<()> {
    let workload = workload_one(plan.instances);
    for _ in 0..RESTARTS_OF_ONE {
        let follower = (cluster.leader().await? + 1) % NODES;
        wait_quiet(plan, cluster, &workload, pair, results).await?;
        cluster.kill(follower);
        let started = Instant::now();
        cluster.spawn(follower)?;
        cluster.wait_node_ready(follower).await?;
        record_time(cluster.subject, &workload, pair, started.elapsed(), results);
        cluster.wait_ready().await?;
        sleep(SETTLE).await;
    }
    Ok(())
}

async fn restart_all(plan: &Plan, cluster: &mut Cluster, pair: usize, results: &mut Results) -> Result<()> {
    let (subject, workload) = (cluster.subject, workload_all(plan.instances));
    wait_quiet(plan, cluster, &workload, pair, results).await?;
    // All are struck before the first is waited for, so that none lives on to elect or answer.
    for index in 0..NODES {
        cluster.signal(index, Signal::KILL)?;
    }
    for index in 0..NODES {
        cluster.kill(index);
    }
    let addresses: Vec<_> = (0..NODES).map(|index| cluster.address(index)).collect();
    let started = Instant::now();
    for index in 0..NODES {
        cluster.spawn(index)?;
    }
    let numbers = Numbers::from(plan.instances);
    let time = first_accepted_write(subject, &addresses, &numbers, started).await?;
    record_time(subject, &workload, pair, time, results);
    cluster.wait_ready().await?;
    read_back(plan, cluster).await
}

fn record_time(subject: Subject, workload: &str, pair: usize, time: Duration, results: &mut Results) {
    let milliseconds = time.as_secs_f64() * 1e3;
    results.record(workload, subject, pair, false, Quantity::TimeMs, milliseconds);
    crate::progress(&format!("  {subject:<9} {workload}: {milliseconds:.0} ms"));
}

async fn wait_quiet(plan: &Plan, cluster: &Cluster, workload: &str, pair: usize, results: &mut Results) -> Result<()> {
    if let Some(remark) = machine::wait_until_quiet(&cluster.pids(), plan.patience).await? {
        results.note(format!("{}, {workload}, pair {}: {remark}", cluster.subject, pair + 1));
    }
    Ok(())
}

/// Shows that what was acknowledged before the kill is there after it, by an even sample.
async fn read_back(plan: &Plan, cluster: &Cluster) -> Result<()> {
    let mut caller = connect(cluster.subject, &cluster.addresses().await?, 1).await?.remove(0);
    let step = usize::try_from((plan.instances / READ_BACK).max(1))?;
    for n in (0..plan.instances).step_by(step) {
        let read = caller.call(Operation::ReadBack, n).await;
        read.with_context(|| format!("{} lost acknowledged write {n}", cluster.subject))?;
    }
    Ok(())
}
