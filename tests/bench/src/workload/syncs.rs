//! Durability apart from speed: how many calls that force data to disk stand behind an acknowledged write.
//!
//! On virtual machines an fsync is often nearly free, so a fast figure does not prove that there was one. `strace` counts
//! them; it slows the servers, so nothing is timed here. With one client no two writes can share a call, so a quorum of three
//! shows as at least 2 per write; with 64 clients group commit makes it less. Not seen: files opened with `O_DSYNC`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::time::sleep;

use super::Plan;
use crate::client::Operation;
use crate::cluster::Cluster;
use crate::load;
use crate::process::{Process, Spec};
use crate::results::{Quantity, Results, Subject};

/// Numbers of clients, and how many writes they do together.
const LOADS: [(usize, u64); 2] = [(1, 500), (64, 5000)];
/// The calls that force data to disk.
const CALLS: [&str; 4] = ["fsync", "fdatasync", "sync_file_range", "msync"];
/// Time `strace` gets to attach to all threads, and to write its table.
const ATTACH: Duration = Duration::from_secs(2);
const DETACH: Duration = Duration::from_secs(10);

/// Name of the workload.
pub(crate) fn workload(clients: usize) -> String {
    format!("syncs behind a write, {clients} client{}", if clients == 1 { "" } else { "s" })
}

/// Counts for all systems, once; without `strace` only says so.
pub(crate) async fn run(plan: &Plan, results: &mut Results) {
    for (pair, subject) in plan.runs(&[Subject::Rollcall, Subject::Etcd, Subject::Zookeeper], 1) {
        let outcome = run_one(plan, subject, results).await;
        results.note_failure("syncs", subject, pair, outcome);
    }
}

/// Counts for one system.
async fn run_one(plan: &Plan, subject: Subject, results: &mut Results) -> Result<()> {
    for (clients, writes) in LOADS {
        let cluster = Cluster::start(subject, &plan.setup).await?;
        let table = cluster.folder().join("strace.txt");
        let Ok(mut tracer) = Process::spawn(&tracer(&cluster, &table)) else {
            results.note("syncs were not counted: strace is not installed".to_owned());
            return Ok(());
        };
        sleep(ATTACH).await;
        if tracer.ended()?.is_some() {
            let reason = fs::read_to_string(cluster.folder().join("strace.log")).unwrap_or_default();
            results.note(format!("syncs were not counted: strace ended: {}", reason.trim()));
            return Ok(());
        }
        load::fill(&cluster, Operation::Write { bytes: 256, lease: false }, writes, clients).await?;
        tracer.signal(Signal::INT)?;
        tracer.wait(DETACH).await?;
        let calls = count_calls(&fs::read_to_string(&table).context("strace wrote no table")?);
        let each = calls as f64 / writes as f64;
        results.record(&workload(clients), subject, 0, false, Quantity::SyncsPerOp, each);
        crate::progress(&format!("  {subject:<9} {}: {each:.2}", workload(clients)));
    }
    Ok(())
}

fn tracer(cluster: &Cluster, table: &Path) -> Spec {
    let mut arguments = vec!["-f".to_owned(), "-c".to_owned(), "-e".to_owned(), format!("trace={}", CALLS.join(","))];
    arguments.extend(["-o".to_owned(), table.display().to_string()]);
    arguments.extend(cluster.pids().into_iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]));
    Spec { program: "strace".into(), arguments, log: cluster.folder().join("strace.log") }
}

/// Adds up the fourth column of the rows that end with one of [`CALLS`].
fn count_calls(table: &str) -> u64 {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.last().is_some_and(|name| CALLS.contains(name)))
        .filter_map(|row| row.get(3)?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_added_up_with_and_without_errors() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     99.00    0.001234           1      1200           fdatasync\n\
                     1.00    0.000012           1        34         2 fsync\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.001246                  1234         2 total\n";
        assert_eq!(count_calls(table), 1234);
    }
}
