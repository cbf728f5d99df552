//! What gossip itself takes and costs: real nodes with real sockets on loopback, sealed, in one process.
//!
//! One process, so that an update and its arrival everywhere are times of one clock, and a hundred nodes fit one machine. For
//! each size: how long from a value's change until all nodes have it, and what a node costs at rest. With
//! [`Plan::instances`] on [`OBSERVERS`] nodes, two observers for each chunk: how long until a node that joins knows the health of
//! all instances, and until all know a change while 1 % of all instances change every second.
//!
//! CPU is user + system of the whole process by the number of nodes, the bench's own work included. Bytes are what the nodes
//! count as sent. Nothing runs beside gossip: no Raft, no HTTP, no probes.
//!
//! Limits: all nodes share one machine's cores, so at 100 nodes times are bounds from above; no loss and no delay.

mod group;
mod health;
mod table;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use rollcall_health::SLOTS_MAX;
use tokio::time::{Instant, sleep};

use self::group::Group;
pub(crate) use self::table::render;
use crate::machine::{self, CpuSample};

const SENT_BYTES: &str = "rollcall_gossip_sent_bytes_total";
const DROPPED: &str = "rollcall_gossip_dropped_total";
/// Nodes that observe instances.
const OBSERVERS: usize = 10;
/// Instances at most: what [`OBSERVERS`] nodes may publish of, two observers for each.
pub(crate) const INSTANCES_MAX: u32 = SLOTS_MAX;
/// The window in which cost is measured.
const WINDOW: Duration = Duration::from_secs(30);
/// Time for a group to come to rest after its last node joined.
const CALM: Duration = Duration::from_secs(5);

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Nodes of each group.
    pub(crate) sizes: Vec<usize>,
    /// Updates in each group.
    pub(crate) updates: usize,
    /// Instances that are observed; 0 leaves that out.
    pub(crate) instances: u32,
    /// Holds one temporary folder per group.
    pub(crate) folder: PathBuf,
    /// How long to wait for other processes to be quiet, before each group and each window.
    pub(crate) patience: Duration,
}

impl Plan {
    /// What is done, in one line of the report.
    pub(crate) fn shape(&self) -> String {
        format!(
            "{} updates in each group, one after the other, each by another node; {} s at rest; {} instances on {OBSERVERS} \
             nodes, two observers per chunk, {} joins, {} s with 1 % of them changing every second; default timers, sealed",
            self.updates,
            WINDOW.as_secs(),
            self.instances,
            health::JOINS,
            WINDOW.as_secs(),
        )
    }
}

/// What nodes cost over a window.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Share of one core per node, in percent.
    cpu_percent: f64,
    /// Sent by one node.
    bytes_per_second: f64,
    /// Messages that all nodes together dropped because a queue was full.
    dropped: f64,
    /// Cores that other processes used meanwhile.
    foreign_cores: f64,
}

/// A figure, and the most that it may be.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    nodes: usize,
    figure: &'static str,
    value: f64,
    /// `None` is shown without a goal.
    at_most: Option<f64>,
}

/// Measures everything. Rows and remarks are filled as they come, so that a failure leaves those before it.
pub(crate) async fn run(plan: &Plan, rows: &mut Vec<Row>, remarks: &mut Vec<String>) -> Result<()> {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
    // First, because what it says of memory is what the process grew by.
    if plan.instances > 0 {
        health::measure(plan, &recorder, rows, remarks).await.context("health digests")?;
    }
    for nodes in &plan.sizes {
        measure_size(*nodes, plan, &recorder, rows, remarks).await.with_context(|| format!("{nodes} nodes"))?;
    }
    Ok(())
}

async fn measure_size(
    nodes: usize,
    plan: &Plan,
    recorder: &PrometheusHandle,
    rows: &mut Vec<Row>,
    remarks: &mut Vec<String>,
) -> Result<()> {
    crate::progress(&format!("gossip, {nodes} nodes"));
    let group = Group::start(nodes, &plan.folder).await?;
    sleep(CALM).await;
    remarks.extend(wait_until_quiet(plan, &format!("{nodes} nodes")).await?);
    let cost = measure_cost(nodes, recorder, async || Ok(())).await?;
    note_noise(&cost, &format!("{nodes} nodes at rest"), remarks);
    let (cpu_goal, bytes_goal) = (Some(0.8).filter(|_| nodes <= 50), Some(20.0).filter(|_| nodes <= 50));
    let mut row = |figure, value, at_most| rows.push(Row { nodes, figure, value, at_most });
    row("CPU at rest, % of a core per node", cost.cpu_percent, cpu_goal);
    row("sent at rest, KB/s per node", cost.bytes_per_second / 1e3, bytes_goal);
    let to_all_ms = values::measure(&group, plan.updates).await?;
    let goal = if nodes <= 10 { 400.0 } else { 700.0 };
    row("update to all, p50 ms", quantile(&to_all_ms, 0.5), None);
    row("update to all, p99 ms", quantile(&to_all_ms, 0.99), Some(goal));
    row("update to all, worst ms", quantile(&to_all_ms, 1.0), None);
    row("false deaths", group.deaths() as f64, Some(0.0));
    group.end().await;
    Ok(())
}

/// What the nodes cost while `work` is done, or for [`WINDOW`] when it ends at once.
async fn measure_cost(
    nodes: usize,
    recorder: &PrometheusHandle,
    work: impl AsyncFnOnce() -> Result<()>,
) -> Result<Cost> {
    let [sent, dropped] = [SENT_BYTES, DROPPED].map(|counter| total(recorder, counter));
    let (before, began) = (CpuSample::take(&[])?, Instant::now());
    work().await?;
    sleep(WINDOW.saturating_sub(began.elapsed())).await;
    let (seconds, used) = (began.elapsed().as_secs_f64(), CpuSample::take(&[])?.since(&before));
    Ok(Cost {
        cpu_percent: used.own_us / (seconds * 1e6) / nodes as f64 * 100.0,
        bytes_per_second: (total(recorder, SENT_BYTES) - sent) / seconds / nodes as f64,
        dropped: total(recorder, DROPPED) - dropped,
        foreign_cores: used.foreign,
    })
}

async fn wait_until_quiet(plan: &Plan, title: &str) -> Result<Option<String>> {
    let gate = machine::wait_until_quiet(&[], plan.patience).await?;
    Ok(gate.map(|remark| format!("{title}: {remark}")))
}

fn note_noise(cost: &Cost, title: &str, remarks: &mut Vec<String>) {
    if cost.foreign_cores > machine::NOISY_CORES {
        remarks.push(format!("{title}: other processes used {:.2} cores", cost.foreign_cores));
    }
}

/// What a counter says, all of its labels and all nodes together.
fn total(recorder: &PrometheusHandle, counter: &str) -> f64 {
    let text = recorder.render();
    let lines = text.lines().filter(|line| line.starts_with(counter));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// NaN without values, which meets no goal.
fn quantile(values: &[f64], share: f64) -> f64 {
    crate::gossip::quantile(values, share).unwrap_or(f64::NAN)
}
