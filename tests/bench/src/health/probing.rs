//! Many instances probed at leisure: what it costs, and what happens when all of them fail in the same moment.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::field::Field;
use super::{Part, Plan, note_noise, share};
use crate::machine::{self, CpuSample};
use crate::results::{Quantity, Results, Subject};

/// Time between two probes of a check.
const INTERVAL: Duration = Duration::from_secs(10);
/// The idle cluster is watched for so long before anything is registered.
const IDLE: Duration = Duration::from_secs(15);
/// Between all instances passing and the window: an interval, so that every connection has been made.
const SETTLE: Duration = Duration::from_secs(12);
/// The window of probing.
const WINDOW: Duration = Duration::from_secs(30);
/// In intervals, the latest at which a check can have failed three times: a gap before the first failure and a fifth of
/// one before each of the other two, all lengthened by a tenth.
const SLOWEST_FAILURE: f64 = 1.1 + 2.0 * 0.22;
/// The same for the two successes of a recovery.
const SLOWEST_RECOVERY: f64 = 1.1 + 0.22;

/// Name of the workload: a value of each node.
pub(crate) const PROBING: &str = "probing, each node, more than idle";
/// Names of the workloads of a mass failure.
pub(crate) const FAILED: MassNames = MassNames {
    seen: "all fail at once, until all are critical, each node",
    beyond: "all fail at once, last node after the slowest check",
    written: "all fail at once, until written",
};
/// Names of the workloads of the recovery from it.
pub(crate) const RECOVERED: MassNames = MassNames {
    seen: "all recover at once, until all are passing, each node",
    beyond: "all recover at once, last node after the slowest check",
    written: "all recover at once, until written",
};

/// Names of the workloads of one change of all instances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MassNames {
    /// From the change until the node counts all.
    pub(crate) seen: &'static str,
    /// The same of the last node, less what the interval takes of it.
    pub(crate) beyond: &'static str,
    /// From the change until the journal has all, with its entries.
    pub(crate) written: &'static str,
}

/// Runs the chosen ones of probing and failing on one cluster.
pub(super) async fn run(plan: &Plan, results: &mut Results) -> Result<()> {
    let mut field = Field::start(&plan.setup, plan.instances, INTERVAL).await?;
    let pids = field.cluster.pids();
    let gate = machine::wait_until_quiet(&pids, plan.patience).await?;
    let idle = match plan.parts.contains(&Part::Probing) {
        true => node_shares(&pids, IDLE).await?,
        false => Vec::new(),
    };
    field.register().await?;
    if plan.parts.contains(&Part::Probing) {
        if let Some(remark) = gate {
            results.note(format!("{PROBING}: {remark}"));
        }
        measure(&mut field, &idle, results).await?;
    }
    if plan.parts.contains(&Part::Failing) {
        fail_and_recover(&mut field, results).await?;
    }
    Ok(())
}

/// What probing costs each node.
async fn measure(field: &mut Field, idle: &[f64], results: &mut Results) -> Result<()> {
    sleep(SETTLE).await;
    let pids = field.cluster.pids();
    let before = CpuSample::take(&pids)?;
    let probes_before = probes(field).await?;
    let begun = Instant::now();
    let busy = node_shares(&pids, WINDOW).await?;
    let probes_after = probes(field).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let noisy = note_noise(PROBING, CpuSample::take(&pids)?.since(&before), results);
    for (node, pid) in pids.iter().enumerate() {
        let figures = [
            (Quantity::CorePercent, busy[node] - idle[node]),
            (Quantity::ProbesPerSecond, (probes_after[node] - probes_before[node]) / seconds),
            (Quantity::RssMb, machine::resident_bytes(*pid)? as f64 / 1e6),
        ];
        for (quantity, value) in figures {
            results.record(PROBING, Subject::Rollcall, node, noisy, quantity, value);
        }
        crate::progress(&format!(
            "  node {}: {:.1} % of a core, idle {:.1} %; {:.0} probes/s",
            node + 1,
            busy[node],
            idle[node],
            figures[1].1
        ));
    }
    let counts = field.nodes[0].counts().await?;
    ensure!(counts.others == 0 && counts.critical == 0, "not all instances were passing all the time: {counts:?}");
    Ok(())
}

/// Share of a core of each process over `window`, in percent.
async fn node_shares(pids: &[u32], window: Duration) -> Result<Vec<f64>> {
    let times = || pids.iter().map(|pid| machine::process_us(*pid)).collect::<Result<Vec<f64>>>();
    let (begun, before) = (Instant::now(), times()?);
    sleep(window).await;
    let (after, elapsed) = (times()?, begun.elapsed());
    Ok(before.iter().zip(after).map(|(before, after)| share(after - before, elapsed)).collect())
}

async fn probes(field: &mut Field) -> Result<Vec<f64>> {
    let mut counts = Vec::with_capacity(field.nodes.len());
    for node in &mut field.nodes {
        counts.push(node.metric("rollcall_probe_probes_total").await?);
    }
    Ok(counts)
}

/// All targets are closed at once, and opened again when every node knows.
async fn fail_and_recover(field: &mut Field, results: &mut Results) -> Result<()> {
    for (names, wanted, slowest) in [(FAILED, "critical", SLOWEST_FAILURE), (RECOVERED, "passing", SLOWEST_RECOVERY)] {
        let pids = field.cluster.pids();
        let (before, cpu) = (field.written().await?, CpuSample::take(&pids)?);
        let struck = Instant::now();
        match wanted {
            "critical" => field.target.close_all().await?,
            _ => field.target.open_all().await?,
        }
        let changing = struck.elapsed();
        let all = |counts: super::node::Counts, all| match wanted {
            "critical" => counts.critical == all,
            _ => counts.passing == all,
        };
        let seen = field.until_all(struck, all).await?;
        let after = field.until_written(before).await?;
        let written = struck.elapsed();
        let noisy = note_noise(names.seen, CpuSample::take(&pids)?.since(&cpu), results);
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let last = seen.iter().copied().map(millis).fold(0.0, f64::max);
        let allowed = millis(field.interval) * slowest;
        let mut record = |workload, index, quantity, value| {
            results.record(workload, Subject::Rollcall, index, noisy, quantity, value);
        };
        for (node, time) in seen.iter().enumerate() {
            record(names.seen, node, Quantity::TimeMs, millis(*time));
        }
        record(names.beyond, 0, Quantity::TimeMs, (last - allowed).max(0.0));
        record(names.written, 0, Quantity::TimeMs, millis(written));
        record(names.written, 0, Quantity::LogEntries, after.entries - before.entries);
        record(names.written, 0, Quantity::LeaderChanges, after.term.saturating_sub(before.term) as f64);
        results.note(format!(
            "{}: the targets took {changing:.1?} to change; the nodes had all after {seen:.1?}, where {:.1} s are the slowest \
             check's; {} transitions in {} entries, written after {written:.1?}",
            names.seen,
            allowed / 1e3,
            after.transitions - before.transitions,
            after.entries - before.entries,
        ));
    }
    Ok(())
}
