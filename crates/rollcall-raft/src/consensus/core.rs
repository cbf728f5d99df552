//! What the parts of a running node share, and what it answers its peers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::metrics::{RaftDataMetrics, RaftServerMetrics};
use rollcall_catalog::Catalog;
use rollcall_types::{ClusterId, NodeId, NodeName};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::RaftStatus;
use super::barrier::Waiter;
use super::contact::Contact;
use super::freshness::Found;
use super::propose::Forward;
use super::session::Session;
use crate::error::Error;
use crate::identity::DataDir;
use crate::log_store::{Closing, LogSize, Syncs};
use crate::snapshot::SnapshotStore;
use crate::state_machine::View;
use crate::transport::acks::Acks;
use crate::transport::hub::Hub;
use crate::transport::link::{Link, Links};
use crate::transport::message::{ControlReply, ControlRequest};
use crate::types::{PeerNode, Raft, TypeConfig};

/// A leader says who is a member only when a majority answered it within this time.
const MEMBERSHIP_FRESH: Duration = Duration::from_secs(1);

/// A running node.
pub(crate) struct Core {
    pub(crate) hub: Arc<Hub>,
    pub(crate) raft: Raft,
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) name: NodeName,
    pub(crate) view: Arc<View>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) links: Arc<Links>,
    pub(super) acks: Arc<Acks>,
    /// One snapshot is received at a time.
    pub(crate) snapshot_slot: Semaphore,
    /// Role, term, leader and membership; changes at once.
    pub(super) server: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    /// Positions in the log.
    pub(super) data: WatchReceiverOf<TypeConfig, RaftDataMetrics<TypeConfig>>,
    pub(super) status: watch::Sender<RaftStatus>,
    pub(super) session: Mutex<Session>,
    pub(super) proposals: Semaphore,
    pub(super) forwards: mpsc::Sender<Forward>,
    pub(super) barriers: mpsc::Sender<Waiter>,
    pub(super) is_removed: AtomicBool,
    pub(super) has_caught_up: AtomicBool,
    pub(super) has_stopped: AtomicBool,
    pub(super) contact: Contact,
    pub(super) found: Found,
    pub(super) started: Instant,
    pub(super) syncs: Arc<Syncs>,
    pub(super) log_size: LogSize,
    pub(super) files: Mutex<Option<Files>>,
}

/// What a running node holds on disk.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) log: Closing,
    pub(super) _data_dir: DataDir,
}

impl Core {
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.view.catalog()
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.leader() == Some(self.node)
    }

    /// The leader as this node knows it; a node that has stopped knows none.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        if self.has_stopped() {
            return None;
        }
        self.server.borrow_watched().current_leader.map(NodeId::new)
    }

    /// How a member is reached.
    pub(crate) fn member(&self, node: NodeId) -> Option<PeerNode> {
        self.server.borrow_watched().membership_config.get_node(&node.get()).cloned()
    }

    /// The link to a member.
    pub(crate) fn link(&self, node: NodeId) -> Option<Arc<Link>> {
        self.links.find(node).or_else(|| {
            let peer = self.member(node)?;
            Some(self.links.get(&self.hub, node, &peer.peer_addr))
        })
    }

    /// Notes that a peer has connected: whatever waits before it tries that peer again need not.
    pub(crate) async fn note_arrival(&self, from: NodeId) {
        if let Some(link) = self.links.find(from) {
            link.wake();
        }
        if self.is_leader() {
            // An error means that openraft has stopped, which others notice.
            let _ = self.raft.trigger().reset_backoff([from.get()]).await;
        }
    }

    /// Whether openraft has stopped, for whatever reason.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::Relaxed)
    }

    /// The error of a node whose openraft has stopped.
    pub(crate) fn fatal(&self, fatal: &Fatal<TypeConfig>) -> Error {
        match fatal {
            Fatal::Stopped if self.hub.shutdown.is_cancelled() => Error::ShuttingDown,
            Fatal::Stopped => match &self.raft.metrics().borrow_watched().running_state {
                Err(Fatal::Stopped) | Ok(()) => Error::ShuttingDown,
                Err(reason) => self.storage_failed(reason),
            },
            Fatal::StorageError(error) => self.storage_failed(error),
            Fatal::Panicked => Error::StorageFailed("the log panicked".to_owned()),
        }
    }

    /// By the first write that failed, where one did: whoever came later was told that the log is closed.
    fn storage_failed(&self, seen: &impl ToString) -> Error {
        Error::StorageFailed(self.syncs.failure().map_or_else(|| seen.to_string(), str::to_owned))
    }

    pub(super) fn is_caught_up(&self) -> bool {
        if self.has_caught_up.load(Ordering::Relaxed) {
            return true;
        }
        let committed = {
            let data = self.data.borrow_watched();
            data.cluster_committed.max(data.local_committed).map(|id| id.index)
        };
        let applied = self.catalog().revision().get();
        let is_heard = self.is_leader() || (self.leader().is_some() && self.contact.age(Instant::now()).is_some());
        // What a restarted cluster remembers as committed may lie before what it acknowledged; an entry of this term comes
        // after all of it.
        let term = self.server.borrow_watched().vote.leader_id.term;
        let last_applied = self.raft.metrics().borrow_watched().last_applied;
        let is_of_term = last_applied.is_some_and(|id| id.leader_id.term == term);
        let reached = is_heard && is_of_term && committed.is_some_and(|committed| applied >= committed);
        if reached {
            self.has_caught_up.store(true, Ordering::Relaxed);
        }
        reached
    }

    /// Waits until openraft has let go of the log, then lets go of the data directory.
    pub(super) async fn close_files(&self) {
        let files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(Files { log, _data_dir }) = files {
            log.closed().await;
        }
    }

    /// Answers a request of a peer on the control connection.
    pub(crate) async fn handle_control(self: &Arc<Self>, from: NodeId, request: ControlRequest) -> ControlReply {
        match request {
            ControlRequest::Append(append) => {
                self.raft.append_entries(append).await.map_or(ControlReply::Stopped, ControlReply::Append)
            }
            ControlRequest::Vote(vote) => self.raft.vote(vote).await.map_or(ControlReply::Stopped, ControlReply::Vote),
            ControlRequest::PreVote(vote) => {
                self.raft.pre_vote(vote).await.map_or(ControlReply::Stopped, ControlReply::PreVote)
            }
            ControlRequest::TransferLeader(transfer) => {
                let handled = self.raft.handle_transfer_leader(transfer).await;
                handled.map_or(ControlReply::Stopped, ControlReply::TransferLeader)
            }
            ControlRequest::Propose(proposals) => ControlReply::Proposed(self.propose_batch(from, proposals).await),
            ControlRequest::ReadIndex => ControlReply::ReadIndex(self.read_index_for_peer().await),
            ControlRequest::Admin(request) => ControlReply::Admin(self.administer(request).await),
            ControlRequest::AmIMember => {
                // Only a leader that a majority still answers knows; whoever was away remembers an older membership.
                let leads = self.led_at().is_some_and(|at| at.elapsed() < MEMBERSHIP_FRESH);
                let server = self.server.borrow_watched();
                let is_member = server.committed_membership_config.get_node(&from.get()).is_some();
                ControlReply::Membership(leads.then_some(is_member))
            }
            ControlRequest::Freshness => ControlReply::Freshness(self.freshness_for(from)),
        }
    }
}
