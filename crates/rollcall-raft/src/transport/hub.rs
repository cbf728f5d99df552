//! What all connections of a node share.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rollcall_types::NodeId;
use tokio::runtime::Handle;
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
    /// Where the tasks run, whoever starts them: callers of the handle live on another runtime.
    runtime: Handle,
    /// The task without which the node cannot go on and which ended, if one did.
    lost_task: watch::Sender<Option<&'static str>>,
    blocked: watch::Sender<BTreeSet<NodeId>>,
    refused: mpsc::Sender<NodeId>,
}

impl Hub {
    /// The hub, whose tasks run where this is called, and the hints that a peer's port refuses connections.
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
            runtime: Handle::current(),
            lost_task: watch::Sender::default(),
            blocked: watch::Sender::default(),
            refused,
        };
        (Arc::new(hub), hints)
    }

    /// Runs a task that must last as long as the node does. Its end before that, by a panic too, ends the node.
    pub(crate) fn keep(self: &Arc<Self>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let watch = TaskWatch { hub: self.clone(), name, may_end: false };
        self.tasks.spawn_on(watch.over(task), &self.runtime);
    }

    /// Runs a task that ends when its work is done or the node shuts down. A panic of it ends the node.
    pub(crate) fn spawn(self: &Arc<Self>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let watch = TaskWatch { hub: self.clone(), name, may_end: true };
        self.tasks.spawn_on(watch.over(task), &self.runtime);
    }

    /// The name of the task whose end ends the node, once there is one.
    pub(crate) fn lost_task(&self) -> watch::Receiver<Option<&'static str>> {
        self.lost_task.subscribe()
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

/// Notices the end of a task, however it comes.
struct TaskWatch {
    hub: Arc<Hub>,
    name: &'static str,
    may_end: bool,
}

impl TaskWatch {
    async fn over(mut self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.hub.shutdown.clone();
        let ended = shutdown.run_until_cancelled(task).await;
        self.may_end |= ended.is_none();
    }
}

impl Drop for TaskWatch {
    fn drop(&mut self) {
        if std::thread::panicking() || !self.may_end && !self.hub.shutdown.is_cancelled() {
            // The first one matters; the others may be its consequence.
            self.hub.lost_task.send_if_modified(|lost| {
                let is_first = lost.is_none();
                lost.get_or_insert(self.name);
                is_first
            });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use rollcall_types::NodeName;

    use super::*;
    use crate::transport::message::Newcomer;
    use crate::types::PeerNode;

    /// A hub of a node that talks to nobody.
    pub(crate) fn hub() -> Arc<Hub> {
        let address = "127.0.0.1:7401".to_owned();
        let peer = PeerNode {
            name: NodeName::try_from("n1").unwrap(),
            peer_addr: address.clone(),
            http_addr: address,
            gossip_addr: String::new(),
            zone: None,
            observer: false,
        };
        let (discovery, _) = Discovery::new(Newcomer { nonce: 1, peer, expect: 1 }, None);
        Hub::new(Secret::new(&[7; 32]), Who { member: None }, discovery).0
    }

    /// The task that ended the node, when that much is settled.
    async fn lost(hub: &Arc<Hub>) -> Option<&'static str> {
        hub.tasks.close();
        tokio::time::timeout(Duration::from_secs(5), hub.tasks.wait()).await.unwrap();
        *hub.lost_task().borrow()
    }

    #[tokio::test]
    async fn a_task_that_must_last_and_ends_takes_the_node_with_it() {
        let hub = hub();
        hub.keep("forwarder", async {});
        assert_eq!(lost(&hub).await, Some("forwarder"));
    }

    #[tokio::test]
    async fn a_panic_of_any_task_takes_the_node_with_it() {
        let hub = hub();
        hub.spawn("promotion", async { panic!("a defect") });
        assert_eq!(lost(&hub).await, Some("promotion"));
    }

    #[tokio::test]
    async fn tasks_that_finish_or_are_shut_down_do_not() {
        let hub = hub();
        hub.spawn("promotion", async {});
        hub.keep("forwarder", std::future::pending());
        hub.shutdown.cancel();
        assert_eq!(lost(&hub).await, None);
    }
}
