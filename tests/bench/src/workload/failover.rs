//! The leader is killed or paused under light load: how long until the other two accept a write.
//!
//! Killed, its connections are reset, and the others may take that as a hint. Paused, it is only silent, so this shows the
//! timers. Default settings on all systems.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Plan;
use super::first_write::first_accepted_write;
use crate::client::{Operation, connect};
use crate::cluster::{Cluster, NODES};
use crate::load::Numbers;
use crate::machine;
use crate::results::{Quantity, Results, Subject};

/// Name of the workload in which the leader is killed.
pub(crate) const KILLED: &str = "leader killed → write accepted";
/// Name of the workload in which the leader is paused.
pub(crate) const PAUSED: &str = "leader paused → write accepted";
/// Clients that write all the time.
const BACKGROUND_CLIENTS: usize = 8;
/// When a background write is given up and its connection made new.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(1);
const BACKGROUND_PAUSE: Duration = Duration::from_millis(20);
/// Load before each fault, and quiet time after the cluster is whole again.
const LEAD_IN: Duration = Duration::from_millis(700);
const RECOVERY: Duration = Duration::from_secs(1);
/// The faults of a system are spread over this many clusters, in the order A B B A.
const ROUNDS: usize = 2;

/// Measures us and etcd.
pub(crate) async fn run(plan: &Plan, results: &mut Results) {
    for (round, subject) in plan.runs(&[Subject::Rollcall, Subject::Etcd], ROUNDS) {
        let outcome = run_one(plan, round, subject, results).await;
        results.note_failure("failover", subject, round, outcome);
    }
}

/// Half of the faults of one system.
async fn run_one(plan: &Plan, round: usize, subject: Subject, results: &mut Results) -> Result<()> {
    let faults = if subject == Subject::Rollcall { plan.faults } else { plan.peer_faults };
    let mut cluster = Cluster::start(subject, &plan.setup).await?;
    let numbers = Numbers::default();
    for _ in 0..faults.div_ceil(ROUNDS) {
        for (workload, signal) in [(KILLED, Signal::KILL), (PAUSED, Signal::STOP)] {
            if let Some(remark) = machine::wait_until_quiet(&cluster.pids(), plan.patience).await? {
                results.note(format!("{subject}, {workload}: {remark}"));
            }
            let time = fault(&mut cluster, &numbers, signal).await?.as_secs_f64() * 1e3;
            results.record(workload, subject, round, false, Quantity::TimeMs, time);
            crate::progress(&format!("  {subject:<9} {workload}: {time:.0} ms"));
        }
    }
    Ok(())
}

/// One fault and its repair.
async fn fault(cluster: &mut Cluster, numbers: &Numbers, signal: Signal) -> Result<Duration> {
    let leader = cluster.leader().await?;
    let mut background = JoinSet::new();
    for index in 0..BACKGROUND_CLIENTS {
        let address = cluster.address(index % NODES);
        background.spawn(write_for_ever(cluster.subject, address, numbers.clone()));
    }
    sleep(LEAD_IN).await;
    let survivors = cluster.addresses_without(leader);
    let struck = Instant::now();
    cluster.signal(leader, signal)?;
    let time = first_accepted_write(cluster.subject, &survivors, numbers, struck).await?;
    background.shutdown().await;
    if signal == Signal::STOP {
        cluster.signal(leader, Signal::CONT)?;
    } else {
        cluster.kill(leader);
        cluster.spawn(leader)?;
    }
    cluster.wait_ready().await?;
    sleep(RECOVERY).await;
    Ok(time)
}

async fn write_for_ever(subject: Subject, address: SocketAddr, numbers: Numbers) {
    loop {
        let write = async {
            let mut caller = connect(subject, &[address], 1).await?.remove(0);
            loop {
                let call = caller.call(Operation::Write { bytes: 256, lease: false }, numbers.next());
                timeout(BACKGROUND_DEADLINE, call).await??;
            }
        };
        // Failures are what this workload is about; the client begins anew.
        let _: Result<()> = write.await;
        sleep(BACKGROUND_PAUSE).await;
    }
}
