//! Cheap questions about a running node, for callers that ask on every request, and the wait for its end.

use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use rollcall_types::NodeId;
use tokio::time::Instant;

use super::Consensus;
use crate::error::Error;

impl Consensus {
    /// Whether this node believes to lead.
    pub fn is_leader(&self) -> bool {
        self.core.is_leader()
    }

    /// How old this node's catalogue may be: on the leader, time since a majority last answered it; elsewhere, time since
    /// the leader had committed no more than this node has applied. `None` while a node that started has not caught up.
    pub fn staleness(&self) -> Option<Duration> {
        if !self.core.is_leader() {
            return self.core.contact.staleness(Instant::now(), self.core.catalog().revision().get());
        }
        let data = self.core.data.borrow_watched();
        Some(data.last_quorum_acked.map_or(Duration::ZERO, |at| at.into_inner().elapsed()))
    }

    /// Whether this node has a connection to `node` at present; always true of itself.
    pub fn is_connected(&self, node: NodeId) -> bool {
        node == self.core.node || self.core.links.find(node).is_some_and(|link| link.is_up())
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
