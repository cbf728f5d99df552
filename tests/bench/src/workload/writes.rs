//! Durable writes: every one a new instance of 256 bytes, acknowledged by a quorum after fsync.
//!
//! One client writes to the leader, the best case of all three systems; more are spread over the three nodes.

use anyhow::Result;

use super::Plan;
use crate::client::Operation;
use crate::cluster::Cluster;
use crate::load::{self, Load, Numbers};
use crate::results::{Results, Subject};

/// Bytes of an instance.
const BYTES: usize = 256;
/// Numbers of clients.
pub(crate) const CLIENTS: [usize; 3] = [1, 64, 256];
/// etcd's registration, measured at 64 clients.
pub(crate) const LEASE_AND_WRITE: &str = "lease grant + put, 64 clients";

/// Name of the workload.
pub(crate) fn workload(clients: usize) -> String {
    format!("write 256 B, {clients} client{}", if clients == 1 { "" } else { "s" })
}

/// Measures all systems.
pub(crate) async fn run(plan: &Plan, results: &mut Results) {
    for (pair, subject) in plan.runs(&[Subject::Rollcall, Subject::Etcd, Subject::Zookeeper], plan.pairs) {
        let outcome = run_one(plan, pair, subject, results).await;
        results.note_failure("writes", subject, pair, outcome);
    }
}

/// One run of one system.
async fn run_one(plan: &Plan, pair: usize, subject: Subject, results: &mut Results) -> Result<()> {
    let cluster = Cluster::start(subject, &plan.setup).await?;
    let numbers = Numbers::default();
    let operation = Operation::Write { bytes: BYTES, lease: true };
    if subject == Subject::Zookeeper {
        load::warm_up_java(&cluster, &numbers, operation).await?;
    }
    let mut loads: Vec<(String, Operation, usize)> =
        CLIENTS.iter().map(|clients| (workload(*clients), operation, *clients)).collect();
    if subject == Subject::Etcd {
        loads.push((LEASE_AND_WRITE.to_owned(), Operation::LeaseAndWrite { bytes: BYTES }, 64));
    }
    for (workload, operation, clients) in loads {
        let load = Load { workload, operation, clients, length: plan.length, patience: plan.patience, pair };
        load::measure(&cluster, &numbers, &load, results).await?;
    }
    Ok(())
}
