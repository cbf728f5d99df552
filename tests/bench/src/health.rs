//! Health of instances at scale: what probing many costs, what a mass failure does, how soon one failure is known, and how
//! many heartbeats fit.
//!
//! Three real nodes with default settings on loopback; the instances are small HTTP servers of this process, on up to 2,000
//! addresses. Their CPU is their own, but they share the cores with the nodes.
//!
//! Times are read from `GET /v1/health` of each node every quarter second, and of one instance every 10 ms, so they include
//! gossip and the answer, as a client would see it. A mass failure is measured from the moment at which the targets are
//! closed. Of that time, up to 1.54 intervals are the check's own: the slowest one is due a gap after the fault and has to
//! fail three times. What is beyond this is ours.

mod detecting;
mod field;
mod heartbeats;
mod node;
mod probing;
mod target;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::cluster::Setup;
use crate::goals::{Aim, Goal};
use crate::machine::{CpuUse, NOISY_CORES};
use crate::results::{Quantity, Results, Subject};

/// A part of the health workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// What probing costs each node.
    Probing,
    /// All instances fail at once, and recover.
    Failing,
    /// One instance fails at a time, and recovers.
    Detecting,
    /// Leases are kept alive, beside etcd.
    Heartbeats,
}

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    pub(crate) parts: Vec<Part>,
    /// Systems whose heartbeats are measured.
    pub(crate) subjects: Vec<Subject>,
    /// Runs of each of them.
    pub(crate) pairs: usize,
    /// Measured time of a load of heartbeats.
    pub(crate) length: Duration,
    /// How long to wait for other processes to be quiet, before each measurement.
    pub(crate) patience: Duration,
    /// Instances that are probed every 10 s.
    pub(crate) instances: usize,
    /// Instances that are probed every second.
    pub(crate) fast_instances: usize,
    /// How often one of these fails.
    pub(crate) rounds: usize,
}

impl Plan {
    /// What is done, in one line of the report.
    pub(crate) fn shape(&self) -> String {
        format!(
            "probing and failing: {} instances with one http check each, every 10 s; detecting: {} every 1 s, {} rounds; \
             heartbeats: {} runs of {} s; default settings; CPU is user + system; times are medians [min–max]",
            self.instances,
            self.fast_instances,
            self.rounds,
            self.pairs,
            self.length.as_secs()
        )
    }
}

/// Runs the chosen parts. One that fails does not keep the others from running.
pub(crate) async fn run(plan: &Plan, results: &mut Results) -> Result<()> {
    let chosen = |part| plan.parts.contains(&part);
    if chosen(Part::Probing) || chosen(Part::Failing) {
        let outcome = probing::run(plan, results).await;
        results.note_failure("probing and failing", Subject::Rollcall, 0, outcome);
    }
    if chosen(Part::Detecting) {
        let outcome = detecting::run(plan, results).await;
        results.note_failure("detecting", Subject::Rollcall, 0, outcome);
    }
    if chosen(Part::Heartbeats) {
        let outcome = heartbeats::run(plan, results).await;
        results.note_failure("heartbeats", Subject::Rollcall, 0, outcome);
    }
    ensure!(results.failures() == 0, "{} parts failed, see the remarks", results.failures());
    Ok(())
}

/// The goals of all parts.
pub(crate) fn goals() -> Vec<Goal> {
    let alone = |workload: &str, quantity, aim| Goal::new(workload, (Subject::Etcd, workload), quantity, aim);
    let mut goals = vec![
        alone(probing::PROBING, Quantity::CorePercent, Aim::WorstAtMost(15.0)),
        alone(probing::PROBING, Quantity::ProbesPerSecond, Aim::Shown),
    ];
    for names in [probing::FAILED, probing::RECOVERED] {
        goals.extend([
            alone(names.seen, Quantity::TimeMs, Aim::Shown),
            alone(names.beyond, Quantity::TimeMs, Aim::AtMost(5000.0)),
            alone(names.written, Quantity::LogEntries, Aim::AtMost(20.0)),
            alone(names.written, Quantity::LeaderChanges, Aim::None),
        ]);
    }
    goals.extend([
        alone(detecting::FAILED_FIRST, Quantity::TimeMs, Aim::Shown),
        alone(detecting::FAILED_ALL, Quantity::TimeMs, Aim::AtMost(3000.0)),
        alone(detecting::FAILED_ALL, Quantity::TimeMs, Aim::WorstAtMost(3000.0)),
        alone(detecting::FAILED_ALL, Quantity::LeaderChanges, Aim::None),
        alone(detecting::RECOVERED_ALL, Quantity::TimeMs, Aim::Shown),
    ]);
    let rate = Quantity::OpsPerSecond;
    let (one, many) = (heartbeats::ONE_BY_ONE, heartbeats::BATCHED);
    goals.extend([
        Goal::new(one, (Subject::Etcd, one), rate, Aim::TimesBetter(2.0)),
        Goal::new(many, (Subject::Etcd, one), rate, Aim::TimesBetter(10.0)),
        Goal::new(many, (Subject::Etcd, many), rate, Aim::Shown),
    ]);
    goals
}

/// Whether others used the machine meanwhile, which is then remarked.
fn note_noise(what: &str, used: CpuUse, results: &mut Results) -> bool {
    let noisy = used.foreign > NOISY_CORES;
    if noisy {
        results.note(format!("{what}: noisy, {:.2} foreign cores, steal {:.2}", used.foreign, used.steal));
    }
    noisy
}

/// A CPU time in microseconds as a share of a core, in percent.
fn share(cpu_us: f64, elapsed: Duration) -> f64 {
    cpu_us / (elapsed.as_secs_f64() * 1e6) * 100.0
}
