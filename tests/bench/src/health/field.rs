//! A cluster with instances that it probes, and waiting until every node says the same about them.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::node::{self, Counts, Node};
use super::target::{ADDRESSES_MAX, Target};
use crate::cluster::{Cluster, NODES, Setup, free_ports};
use crate::results::Subject;

/// Longest wait for all nodes to say the same.
const DEADLINE: Duration = Duration::from_secs(180);
/// Pause between two looks at the counts. Counting many instances costs a node a millisecond.
const COUNTS_POLL: Duration = Duration::from_millis(250);
/// Pause between two looks at one instance.
const STATE_POLL: Duration = Duration::from_millis(10);
/// Longest wait for what was seen to be written down.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// What the journal and Raft have counted so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// Log entries with transitions.
    pub(super) entries: f64,
    /// Transitions in them.
    pub(super) transitions: f64,
    /// The term of Raft.
    pub(super) term: u64,
}

/// A cluster, its target and a connection to each node.
pub(super) struct Field {
    pub(super) cluster: Cluster,
    pub(super) target: Target,
    pub(super) nodes: Vec<Node>,
    /// Instances that are registered.
    pub(super) instances: usize,
    pub(super) interval: Duration,
}

impl Field {
    /// Starts a cluster without instances, and a target for `instances`.
    pub(super) async fn start(setup: &Setup, instances: usize, interval: Duration) -> Result<Self> {
        let target = Target::open(instances.min(ADDRESSES_MAX), free_ports(1)?[0]).await?;
        let cluster = Cluster::start(Subject::Rollcall, setup).await?;
        let mut nodes = Vec::with_capacity(NODES);
        for index in 0..NODES {
            nodes.push(Node::connect(cluster.address(index)).await?);
        }
        Ok(Self { cluster, target, nodes, instances, interval })
    }

    /// Registers the instances and waits until every node sees all of them passing.
    pub(super) async fn register(&mut self) -> Result<()> {
        let interval_ms = u64::try_from(self.interval.as_millis())?;
        let body = |index| node::checked(self.target.address_of(index), interval_ms);
        let begun = Instant::now();
        node::register(&self.cluster.addresses().await?, (0..self.instances).map(body).collect()).await?;
        crate::progress(&format!("  {} instances registered in {:.1?}", self.instances, begun.elapsed()));
        self.until_all(Instant::now(), |counts, all| counts.passing == all).await?;
        crate::progress(&format!("  all passing on every node after {:.1?}", begun.elapsed()));
        Ok(())
    }

    /// Waits until every node's counts are as wanted. After how long since `since` each one's were, for the first time.
    pub(super) async fn until_all(
        &mut self,
        since: Instant,
        is_wanted: impl Fn(Counts, u64) -> bool,
    ) -> Result<Vec<Duration>> {
        let all = u64::try_from(self.instances)?;
        let mut seen: Vec<Option<Duration>> = vec![None; self.nodes.len()];
        loop {
            let mut last = Vec::with_capacity(self.nodes.len());
            for (node, seen) in self.nodes.iter_mut().zip(&mut seen).filter(|(_, seen)| seen.is_none()) {
                let counts = node.counts().await?;
                *seen = is_wanted(counts, all).then(|| since.elapsed());
                last.push(counts);
            }
            if let Some(times) = seen.iter().copied().collect::<Option<Vec<Duration>>>() {
                return Ok(times);
            }
            ensure!(since.elapsed() < DEADLINE, "not all {all} instances changed within {DEADLINE:?}: {last:?}");
            sleep(COUNTS_POLL).await;
        }
    }

    /// Waits until every node says `wanted` of instance `index`. After how long since `since` each one did, for the first time.
    pub(super) async fn until_one(&mut self, index: usize, wanted: &str, since: Instant) -> Result<Vec<Duration>> {
        let mut seen: Vec<Option<Duration>> = vec![None; self.nodes.len()];
        loop {
            for (node, seen) in self.nodes.iter_mut().zip(&mut seen).filter(|(_, seen)| seen.is_none()) {
                *seen = (node.state(index).await? == wanted).then(|| since.elapsed());
            }
            if let Some(times) = seen.iter().copied().collect::<Option<Vec<Duration>>>() {
                return Ok(times);
            }
            ensure!(since.elapsed() < DEADLINE, "instance {index} was not {wanted} on every node within {DEADLINE:?}");
            sleep(STATE_POLL).await;
        }
    }

    /// What was written so far.
    pub(super) async fn written(&mut self) -> Result<Written> {
        let term = self.cluster.term().await?;
        let entries = self.sum_of("rollcall_journal_entries_total").await?;
        let transitions = self.sum_of("rollcall_journal_transitions_total").await?;
        Ok(Written { entries, transitions, term })
    }

    /// Waits until a transition of every instance was written since `before`, and none waits.
    pub(super) async fn until_written(&mut self, before: Written) -> Result<Written> {
        let deadline = Instant::now() + WRITTEN_WITHIN;
        loop {
            let now = self.written().await?;
            let waiting = self.sum_of("rollcall_journal_waiting").await?;
            if now.transitions - before.transitions >= self.instances as f64 && waiting == 0.0 {
                return Ok(now);
            }
            ensure!(
                Instant::now() < deadline,
                "transitions were not all written within {WRITTEN_WITHIN:?}: {before:?}, then {now:?}, {waiting} waiting"
            );
            sleep(COUNTS_POLL).await;
        }
    }

    /// A metric summed over the nodes.
    async fn sum_of(&mut self, metric: &str) -> Result<f64> {
        let mut sum = 0.0;
        for node in &mut self.nodes {
            sum += node.metric(metric).await?;
        }
        Ok(sum)
    }
}
