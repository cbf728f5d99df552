//! What is reported of instances, by their callers and by themselves: taken here, told to all nodes, joined by each.
//!
//! ```text
//! POST /v1/reports ─┐            ┌─ pages that are news, each second ─→ gossip ─→ all nodes, this one too
//! heartbeats' load ─┴─→ Desk ────┘                                                   │
//!                        └ ejections                     selection ←── View ←── Heard ┘
//! ```
//! [`Desk`](desk::Desk) is what this node was told, under one lock that is held for a batch of reports or to make pages;
//! [`Heard`](heard::Heard) is what all nodes say, and [`View`] what it amounts to, one atomic load away. A node counts its own
//! reports by what comes back to it through gossip, as those of all others, so every node that heard the same selects alike,
//! about a second after a report. All that is decided is pure, in `rollcall_routing::feedback`.
//!
//! Limits: a reporter is an address, since there is nothing yet by which callers prove who they are: callers behind one address
//! count as one. An ejection takes witnesses at one node. Reports are lost with the node that took them.

mod desk;
mod heard;
mod metrics;
#[cfg(test)]
mod tests;
mod view;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollcall_gossip::Handle as Gossip;
use rollcall_raft::Consensus;
use rollcall_routing::feedback::{OwnLoad, Report, ReporterId, TooFast, page};
use rollcall_types::{InstanceId, ServiceKey, UnixMillis};
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::desk::Desk;
use self::heard::Heard;
pub(crate) use self::metrics::describe as describe_metrics;
pub(crate) use self::view::{ServiceReports, ViewReader};
use crate::clock::wall_clock;

/// Between two joins of what was heard: a service that is reported on is prepared anew for selection so often.
const JOIN_INTERVAL: Duration = Duration::from_millis(250);
/// Joins between two times that this node tells others what it was told: a second.
const JOINS_PER_TELLING: u32 = 4;

/// What is reported. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reports {
    desk: Arc<Mutex<Desk>>,
    view: ViewReader,
    key: Arc<[u8]>,
}

impl Reports {
    /// Begins to take reports, until `stop`. `key` is a secret that all nodes have: by it they know a reporter alike, and nobody else
    /// can choose to be taken for another.
    pub(crate) fn start(
        consensus: Consensus,
        gossip: Gossip,
        key: &[u8],
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let reports = Self { desk: Arc::default(), view: ViewReader::default(), key: key.into() };
        let task = Task { reports: reports.clone(), heard: Heard::default(), consensus, gossip };
        (reports, tokio::spawn(task.run(stop)))
    }

    /// Who reports from an address. Of IPv6 the network counts, in which a host chooses its addresses as it likes.
    pub(crate) fn reporter(&self, address: IpAddr) -> ReporterId {
        let place = match address.to_canonical() {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address) >> 64 | 1 << 127,
        };
        let digest = Sha256::new().chain_update(&*self.key).chain_update(b"reporter").chain_update(place.to_be_bytes());
        let digest = digest.finalize();
        let first = digest.first_chunk().copied().unwrap_or_default();
        ReporterId(u64::from_be_bytes(first))
    }

    /// Counts the reports of one call, all or none. `unknown` more of them were on instances that are not registered.
    ///
    /// # Errors
    /// When the reporter sends more than it may.
    pub(crate) fn take(
        &self,
        reporter: ReporterId,
        reports: &[Report],
        unknown: usize,
        now: UnixMillis,
    ) -> Result<(), TooFast> {
        let taken = self.desk().take(reporter, reports, unknown, now);
        metrics::taken(reports.len(), unknown, taken.is_ok());
        taken
    }

    /// Keeps what an instance says of its load in a heartbeat.
    pub(crate) fn take_load(&self, service: &ServiceKey, instance: &InstanceId, load: OwnLoad) {
        self.desk().take_load(service, instance, load);
    }

    /// What all nodes say, for who reads it.
    pub(crate) fn reader(&self) -> &ViewReader {
        &self.view
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drives what the others are told and what they say.
struct Task {
    reports: Reports,
    heard: Heard,
    consensus: Consensus,
    gossip: Gossip,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let mut updates = self.gossip.updates();
        self.hear_all();
        let mut tick = interval(JOIN_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut joins = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                // Time passes.
                _ = tick.tick() => {
                    joins += 1;
                    if joins >= JOINS_PER_TELLING {
                        joins = 0;
                        self.tell();
                    }
                    self.join();
                }
                // Others said something, or this node did.
                update = updates.recv() => match update {
                    Ok(update) => self.heard.receive(&update, wall_clock()),
                    Err(RecvError::Lagged(_)) => self.hear_all(),
                    // The node stops when gossip does.
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// Ejects what its callers agree about, and tells the others what is news.
    fn tell(&self) {
        let catalog = self.consensus.catalog();
        let (now, at) = (wall_clock(), self.gossip.now());
        let news = {
            let mut desk = self.reports.desk();
            desk.review(&catalog, now);
            desk.take_news(&catalog, now, at)
        };
        for (key, text) in news {
            match text {
                None => self.gossip.retract(&key),
                Some(text) => {
                    if let Err(error) = self.gossip.publish(&key, &text) {
                        debug!(%error, "reports find no room in gossip: {error}");
                        self.gossip.retract(&key);
                    }
                }
            }
        }
    }

    /// Joins what was heard since the last time.
    fn join(&mut self) {
        if let Some(view) = self.heard.join(&self.reports.view.load(), &self.consensus.catalog()) {
            metrics::known(&view);
            self.reports.view.store(view);
        }
    }

    fn hear_all(&mut self) {
        self.heard.begin_anew(self.gossip.values(page::KEY_PREFIX), wall_clock());
    }
}
