//! What all connections of a node share.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rollcall_types::NodeId;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handshake::{Secret, Who};
use super::rejections::Rejections;
use crate::bootstrap::Discovery;
use crate::consensus::Core;

/// Hints of a refused port that wait to be looked at; more are dropped, since one is as good as many.
const HINTS_MAX: usize = 16;

/// Shared by the listener, the links and the handlers of one node.
pub(crate) struct Hub {
    pub(crate) secret: Secret,
    pub(crate) who: ArcSwap<Who>,
    /// There while the node is a member and its log is open.
    pub(crate) core: ArcSwapOption<Core>,
    pub(crate) discovery: Discovery,
    pub(crate) rejections: Rejections,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
    blocked: watch::Sender<BTreeSet<NodeId>>,
    refused: mpsc::Sender<NodeId>,
}

impl Hub {
    /// The hub, and the hints that a peer's port refuses connections.
    pub(crate) fn new(secret: Secret, who: Who, discovery: Discovery) -> (Arc<Self>, mpsc::Receiver<NodeId>) {
        let (refused, hints) = mpsc::channel(HINTS_MAX);
        let hub = Self {
            secret,
            who: ArcSwap::from_pointee(who),
            core: ArcSwapOption::empty(),
            discovery,
            rejections: Rejections::default(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            blocked: watch::Sender::default(),
            refused,
        };
        (Arc::new(hub), hints)
    }

    /// Cuts the links to these nodes, both ways, and mends all others.
    pub(crate) fn block(&self, nodes: BTreeSet<NodeId>) {
        self.blocked.send_replace(nodes);
    }

    pub(crate) fn is_blocked(&self, node: NodeId) -> bool {
        self.blocked.borrow().contains(&node)
    }

    /// Ends when the link to `node` is cut or the node shuts down.
    pub(crate) async fn cut_off(&self, node: NodeId) {
        let mut blocked = self.blocked.subscribe();
        tokio::select! {
            // An error means that the hub is gone, and with it the node.
            _ = blocked.wait_for(|nodes| nodes.contains(&node)) => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Notes that `node`'s port refused a connection: nobody listens there.
    pub(crate) fn hint_refused(&self, node: NodeId) {
        // Full means that enough hints wait.
        let _ = self.refused.try_send(node);
    }
}
