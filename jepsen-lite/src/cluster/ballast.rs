//! Snapshots under pressure: a node is away until the others' logs no longer reach back to what it has.
//!
//! A node writes a snapshot after 20,000 entries, when few come any more, and keeps 5,000 behind it. The load of a run makes far
//! fewer, so this adds entries that change nothing: the removal of a key that is not there. They are asked of the nodes as any
//! client would, and no checker takes notice of them. Whoever returns then gets a snapshot, and its log shows that: it begins
//! behind the last entry that it had.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rollcall_api::{RaftStatus, paths};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Cluster, POLL};
use crate::client::{Client, Place};

/// The key that is not there.
const KEY: &str = "ballast";
/// Removals under way at once: enough to fill a core, few enough that the load still gets through.
const AT_ONCE: usize = 48;
/// Removals that are enough: whatever a log holds when a node dies, a snapshot that leaves all of it behind is due before their
/// end, and there is time for it after it.
const REMOVALS: usize = 30_000;
/// Longest wait for one of them.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait until the logs are short enough. A release build takes some 12 s, a debug build on a busy machine a minute.
const PURGE_PATIENCE: Duration = Duration::from_secs(120);

impl Cluster {
    /// Kills a node, waits until no other has in its log what this one lacks, and starts it again. Says what it came back by.
    ///
    /// # Errors
    /// When the logs do not get so far, or it does not serve again in time, or came back by something else than a snapshot.
    pub(crate) async fn return_by_snapshot(&mut self, index: usize, patience: Duration) -> Result<String> {
        let had = self.raft(index).await?.last_log_index;
        self.nodes[index].kill()?;
        let purged = self.add_ballast(index, had).await;
        self.nodes[index].start()?;
        let purged = purged?;
        let start = Instant::now();
        while !self.is_ready(index).await {
            if start.elapsed() > patience {
                bail!("{} does not serve {} s after its start", self.nodes[index].name(), patience.as_secs());
            }
            sleep(POLL).await;
        }
        let has = self.raft(index).await?;
        if has.snapshot_index <= had || has.purged_index <= had {
            bail!(
                "it had entries up to {had} and came back with a log from {} on: not by a snapshot",
                has.purged_index + 1
            );
        }
        Ok(format!(
            "it had entries up to {had}, the others' logs begin after {purged}; a snapshot at {} was installed",
            has.snapshot_index
        ))
    }

    /// Adds entries until the logs of all but one node begin behind `had`; returns where the longest begins.
    async fn add_ballast(&self, away: usize, had: u64) -> Result<u64> {
        let others: Vec<Place> =
            self.places().into_iter().enumerate().filter(|(other, _)| *other != away).map(|(_, place)| place).collect();
        let left = Arc::new(AtomicUsize::new(REMOVALS));
        // The leader would have to do it anyway.
        let leader = self.leader().await.context("there is no leader now")?;
        let place = self.nodes[leader].place();
        // They end with this function, also when it is dropped.
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            tasks.spawn(remove_nothing(self.client.clone(), place.clone(), left.clone()));
        }
        let purged = self.wait_purged(&others, had).await;
        left.store(0, Ordering::Relaxed);
        while let Some(ended) = tasks.join_next().await {
            ended.context("adding entries broke")?;
        }
        purged
    }

    async fn wait_purged(&self, others: &[Place], had: u64) -> Result<u64> {
        let start = Instant::now();
        loop {
            let mut least = u64::MAX;
            for place in others {
                let raft = self.client.fetch::<RaftStatus>(place, paths::RAFT).await;
                least = least.min(raft.map_or(0, |raft| raft.purged_index));
            }
            if least > had {
                return Ok(least);
            }
            if start.elapsed() > PURGE_PATIENCE {
                bail!(
                    "after {} s a log still reaches back to {least}, and the node had {had}",
                    PURGE_PATIENCE.as_secs()
                );
            }
            sleep(POLL).await;
        }
    }

    async fn raft(&self, index: usize) -> Result<RaftStatus> {
        self.client.fetch(&self.nodes[index].place(), paths::RAFT).await
    }
}

/// Removes what is not there, until none of all removals is `left`.
async fn remove_nothing(client: Client, place: Place, left: Arc<AtomicUsize>) {
    while left.load(Ordering::Relaxed) > 0 {
        match client.delete(&place, &paths::key(KEY), ANSWER_PATIENCE).await {
            // An error means that others were the last.
            Ok(_) => drop(left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))),
            Err(_) => sleep(POLL).await,
        }
    }
}
