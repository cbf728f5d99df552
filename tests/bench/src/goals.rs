//! The goals, as data: what is compared with whom, and what we want.

use crate::health;
use crate::results::{Quantity, Results, Subject};
use crate::workload::{failover, fill, propagation, reads, syncs, watch, writes};

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Aim {
    /// At least this many times better than the peer.
    TimesBetter(f64),
    /// Our median at least this.
    AtLeast(f64),
    /// Our median at most this.
    AtMost(f64),
    /// The worst of our values at most this.
    WorstAtMost(f64),
    /// Our values add up to nothing.
    None,
    /// Shown without a goal.
    Shown,
}

/// One row of the table of goals.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    /// Our workload.
    pub(crate) ours: String,
    /// The peer and its workload.
    pub(crate) peer: (Subject, String),
    pub(crate) quantity: Quantity,
    pub(crate) aim: Aim,
}

impl Goal {
    pub(crate) fn new(ours: &str, peer: (Subject, &str), quantity: Quantity, aim: Aim) -> Self {
        Self { ours: ours.to_owned(), peer: (peer.0, peer.1.to_owned()), quantity, aim }
    }

    /// Whether it is met; `None` without a goal or without the figures.
    pub(crate) fn is_met(&self, results: &Results) -> Option<bool> {
        let ours = results.summary(&self.ours, Subject::Rollcall, self.quantity)?;
        match self.aim {
            Aim::TimesBetter(factor) => {
                let (subject, workload) = &self.peer;
                let ratio = results.ratio((&self.ours, Subject::Rollcall), (workload, *subject), self.quantity)?;
                Some(ratio.of_medians >= factor)
            }
            Aim::AtLeast(bound) => Some(ours.median >= bound),
            Aim::AtMost(bound) => Some(ours.median <= bound),
            Aim::WorstAtMost(bound) => Some(ours.max <= bound),
            Aim::None => Some(ours.sum == 0.0),
            Aim::Shown => None,
        }
    }
}

/// All goals, in the order of the report.
pub(crate) fn all(instances: u64, watchers: usize) -> Vec<Goal> {
    let mut goals = [write_goals(), read_goals(), time_goals(watchers), spread_goals(), fill_goals(instances)].concat();
    goals.extend(calm_goals());
    goals.extend(health::goals());
    goals
}

fn write_goals() -> Vec<Goal> {
    let [one, some, many] = writes::CLIENTS.map(writes::workload);
    let rate = Quantity::OpsPerSecond;
    vec![
        Goal::new(&one, (Subject::Etcd, &one), Quantity::P50Ms, Aim::AtMost(0.5)),
        Goal::new(&one, (Subject::Zookeeper, &one), Quantity::P50Ms, Aim::Shown),
        Goal::new(&some, (Subject::Etcd, &some), rate, Aim::TimesBetter(2.0)),
        Goal::new(&some, (Subject::Etcd, writes::LEASE_AND_WRITE), rate, Aim::TimesBetter(6.0)),
        Goal::new(&some, (Subject::Zookeeper, &some), rate, Aim::Shown),
        Goal::new(&many, (Subject::Etcd, &many), rate, Aim::TimesBetter(2.0)),
        Goal::new(&many, (Subject::Zookeeper, &many), rate, Aim::TimesBetter(1.3)),
        Goal::new(&many, (Subject::Etcd, &many), Quantity::CpuUs, Aim::Shown),
    ]
}

fn read_goals() -> Vec<Goal> {
    let mut goals = Vec::new();
    for (linearizable, aim) in [(true, Aim::AtLeast(25_000.0)), (false, Aim::TimesBetter(5.0))] {
        let [one, some, many] = reads::CLIENTS.map(|clients| reads::workload(linearizable, clients));
        for (workload, quantity, aim) in [
            (one, Quantity::P50Ms, Aim::Shown),
            (some, Quantity::OpsPerSecond, aim),
            (many, Quantity::OpsPerSecond, Aim::Shown),
        ] {
            goals.push(Goal::new(&workload, (Subject::Etcd, &workload), quantity, aim));
        }
    }
    goals
}

fn time_goals(watchers: usize) -> Vec<Goal> {
    let time = Quantity::TimeMs;
    let goal = |workload: &str, aim| Goal::new(workload, (Subject::Etcd, workload), time, aim);
    vec![
        goal(&watch::workload(watchers), Aim::AtMost(13.0)),
        goal(&watch::workload_slowest(watchers), Aim::Shown),
        goal(failover::KILLED, Aim::AtMost(500.0)),
        goal(failover::KILLED, Aim::WorstAtMost(1500.0)),
        goal(failover::PAUSED, Aim::AtMost(1000.0)),
        goal(failover::PAUSED, Aim::WorstAtMost(1500.0)),
    ]
}

/// What was acknowledged on one node is soon readable on the others.
fn spread_goals() -> Vec<Goal> {
    let mut goals = Vec::new();
    for writers in propagation::WRITERS {
        let (sent, acknowledged) = (propagation::workload_sent(writers), propagation::workload_acknowledged(writers));
        for (workload, aim) in [(acknowledged, Aim::AtMost(50.0)), (sent, Aim::Shown)] {
            for quantity in [Quantity::P50Ms, Quantity::P99Ms] {
                goals.push(Goal::new(&workload, (Subject::Etcd, &workload), quantity, aim));
            }
        }
    }
    goals
}

fn fill_goals(instances: u64) -> Vec<Goal> {
    /// What one instance may cost beyond its own bytes.
    const OVERHEAD_BYTES: f64 = 1024.0;
    let goal = |workload: &str, quantity, aim| Goal::new(workload, (Subject::Etcd, workload), quantity, aim);
    let memory = fill::workload_memory(instances);
    vec![
        goal(&memory, Quantity::BytesPerInstance, Aim::AtMost(fill::BYTES as f64 + OVERHEAD_BYTES)),
        goal(&memory, Quantity::RssMb, Aim::AtMost(120.0)),
        goal(&fill::workload_one(instances), Quantity::TimeMs, Aim::AtMost(300.0)),
        goal(&fill::workload_all(instances), Quantity::TimeMs, Aim::AtMost(1000.0)),
    ]
}

/// Under load nobody may call an election, and nothing may fail. And syncs must be there at all.
fn calm_goals() -> Vec<Goal> {
    let mut goals = Vec::new();
    let reads = reads::CLIENTS.into_iter().flat_map(|clients| [true, false].map(|kind| reads::workload(kind, clients)));
    for workload in writes::CLIENTS.map(writes::workload).into_iter().chain(reads) {
        for quantity in [Quantity::LeaderChanges, Quantity::Errors] {
            goals.push(Goal::new(&workload, (Subject::Etcd, &workload), quantity, Aim::None));
        }
    }
    let syncs = syncs::workload(1);
    goals.push(Goal::new(&syncs, (Subject::Etcd, &syncs), Quantity::SyncsPerOp, Aim::AtLeast(2.0)));
    goals
}
