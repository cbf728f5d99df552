//! Cheap questions about a running node, for callers that ask on every request, and the wait for its end.

use std::time::Duration;

use rollcall_types::NodeId;
use tokio::time::Instant;

use super::Consensus;
use crate::error::Error;

impl Consensus {
    /// Whether this node believes to lead.
    pub fn is_leader(&self) -> bool {
        self.core.is_leader()
    }

    /// A time such that this node's catalogue, the one of now and all later ones, holds everything that was acknowledged
    /// anywhere before it: an upper bound on how old it is, whatever was paused or cut off in between. It lies back by a few
    /// heartbeat intervals at most while the leader is in touch. `None` while no such time is known, as after a start.
    ///
    /// `now` is the present: whoever answers a request has it at hand.
    pub fn fresh_at(&self, now: Instant) -> Option<Instant> {
        self.core.fresh_at(now)
    }

    /// Whether this node has a connection to `node` at present; always true of itself.
    pub fn is_connected(&self, node: NodeId) -> bool {
        node == self.core.node || self.core.links.find(node).is_some_and(|link| link.is_up())
    }

    /// The mean time that entries took to be on this node's disk since this was last called; `None` when none were written.
    /// For one caller: each call begins anew.
    pub fn take_sync_time(&self) -> Option<Duration> {
        self.core.syncs.take_mean()
    }

    /// Waits until the node cannot go on: its disk failed, a part of it broke, or the cluster removed it.
    pub async fn failed(&self) -> Error {
        let mut status = self.core.status.subscribe();
        let mut lost_task = self.core.hub.lost_task();
        loop {
            if status.borrow_and_update().is_removed {
                return Error::Removed;
            }
            if self.core.has_stopped() && !self.core.hub.shutdown.is_cancelled() {
                return self.core.fatal(&openraft::errors::Fatal::Stopped);
            }
            if let Some(task) = *lost_task.borrow_and_update() {
                return Error::TaskLost(task);
            }
            let changed = tokio::select! {
                changed = status.changed() => changed,
                changed = lost_task.changed() => changed,
            };
            if changed.is_err() {
                return Error::ShuttingDown;
            }
        }
    }
}
