//! Discovery: reading the five instances of one of 100 services, from every node in turn.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Plan;
use crate::client::etcd::{RangeResponse, path};
use crate::client::grpc::Channel;
use crate::client::http::HttpConnection;
use crate::client::{Operation, READ_INSTANCES, READ_SERVICES, read_path, read_range};
use crate::cluster::Cluster;
use crate::load::{self, Load, Numbers};
use crate::results::{Results, Subject};

/// Numbers of clients.
pub(crate) const CLIENTS: [usize; 3] = [1, 64, 256];
/// Clients that store what is read.
const SEEDING_CLIENTS: usize = 16;

/// Name of the workload.
pub(crate) fn workload(linearizable: bool, clients: usize) -> String {
    let kind = if linearizable { "linearizable" } else { "stale" };
    format!("read 5 instances, {kind}, {clients} client{}", if clients == 1 { "" } else { "s" })
}

/// Measures us and etcd.
pub(crate) async fn run(plan: &Plan, results: &mut Results) {
    for (pair, subject) in plan.runs(&[Subject::Rollcall, Subject::Etcd], plan.pairs) {
        let outcome = run_one(plan, pair, subject, results).await;
        results.note_failure("reads", subject, pair, outcome);
    }
}

/// One run of one system.
async fn run_one(plan: &Plan, pair: usize, subject: Subject, results: &mut Results) -> Result<()> {
    let cluster = Cluster::start(subject, &plan.setup).await?;
    load::fill(&cluster, Operation::SeedRead, READ_SERVICES * READ_INSTANCES, SEEDING_CLIENTS).await?;
    check_answer(&cluster).await?;
    let numbers = Numbers::default();
    for linearizable in [true, false] {
        for clients in CLIENTS {
            let load = Load {
                workload: workload(linearizable, clients),
                operation: Operation::Read { linearizable },
                clients,
                length: plan.length,
                patience: plan.patience,
                pair,
            };
            load::measure(&cluster, &numbers, &load, results).await?;
        }
    }
    Ok(())
}

/// Shows once that an answer holds all five instances; the loads only look at the status.
async fn check_answer(cluster: &Cluster) -> Result<()> {
    let address = cluster.address(0);
    let found = match cluster.subject {
        Subject::Rollcall => {
            let mut connection = HttpConnection::connect(address).await?;
            let path = format!("{}?consistency=linearizable", read_path(READ_SERVICES - 1));
            let answer: Value = serde_json::from_slice(connection.exchange_ok("GET", &path, b"").await?)?;
            answer["items"].as_array().map_or(0, Vec::len) as u64
        }
        Subject::Etcd | Subject::Zookeeper => {
            let channel = Channel::connect(address).await?;
            let range: RangeResponse = channel.call(path::RANGE, &read_range(READ_SERVICES - 1, true)).await?;
            u64::try_from(range.count)?
        }
    };
    ensure!(found == READ_INSTANCES, "an answer holds {found} instances instead of {READ_INSTANCES}");
    Ok(())
}
