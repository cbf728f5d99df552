//! The handle: starts a node, proposes, reads, reports, changes membership, stops.

mod admin;
mod barrier;
mod compaction;
mod contact;
mod core;
mod executor;
mod failover;
mod freshness;
mod observe;
mod options;
mod propose;
mod session;
mod start;
mod status;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use rollcall_catalog::{Catalog, Outcome, Request};
use rollcall_io::{Detached, spawn_blocking};
use rollcall_types::{ClusterId, NodeId, Revision};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

pub(crate) use self::core::Core;
use self::executor::Executor;
pub use self::options::{Options, Timers};
pub(crate) use self::propose::jitter;
pub use self::status::{FollowerStatus, RaftStatus, Role};
use crate::error::Error;
use crate::snapshot::{self, SnapshotInfo};
use crate::transport::message::AdminRequest;

/// Longest wait for another leader before this one stops.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for the tasks of a stopped node.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A node of a cluster. Clones are handles to the same node.
#[derive(Clone)]
pub struct Consensus {
    core: Arc<Core>,
    /// Where the node runs. When the last handle goes without [`Self::shutdown`] its tasks end as by a crash, and its data
    /// directory stays taken until the process ends.
    _executor: Arc<Executor>,
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus").field("node", &self.core.node).finish_non_exhaustive()
    }
}

impl Consensus {
    /// Starts a node: takes its data directory, and founds or joins a cluster if it has none yet.
    ///
    /// Returns when the node belongs to a cluster and its log runs; a leader may still have to be elected, and the node to
    /// catch up. Waits as long as the nodes it needs to found or join a cluster are not there; drop the future to give up.
    ///
    /// # Errors
    /// When the options do not fit together, the data directory cannot be trusted or is in use, the address cannot be
    /// listened on, or the cluster refuses the node.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let executor = Executor::new()?;
        let unusable = || Error::io("cannot take over the listener for peers");
        let listener = Detached::from_listener(options.listener).map_err(unusable())?;
        let start = async move {
            let listener = listener.attach().map_err(unusable())?;
            start::start(Options { listener, ..options }).await
        };
        let core = executor.run(start).await?;
        Ok(Self { core, _executor: Arc::new(executor) })
    }

    /// The id of this node.
    pub fn node(&self) -> NodeId {
        self.core.node
    }

    /// The cluster it belongs to.
    pub fn cluster_id(&self) -> ClusterId {
        self.core.cluster
    }

    /// Puts `request` into the log and waits until this or another node has applied it.
    ///
    /// Any node takes it; a follower passes it to the leader. [`Request::at`] is set by the leader. A request without an
    /// id gets one of this process's session, so it happens at most once however often it is sent again in here; a request
    /// with an id keeps it.
    ///
    /// # Errors
    /// [`Error::NoLeader`], [`Error::NoQuorum`], [`Error::Overloaded`]: it was not accepted anywhere.
    /// [`Error::Timeout`] with `outcome_unknown`: it may yet happen. A refusal by the catalogue is no error but a reply.
    pub async fn propose(&self, request: Request, deadline: Instant) -> Result<Outcome, Error> {
        self.core.propose(request, deadline).await
    }

    /// Waits until this node's catalogue holds everything that was acknowledged anywhere before the call, and returns its
    /// revision (`ReadIndex`, Raft dissertation §6.4). One round to a quorum serves all who wait.
    ///
    /// # Errors
    /// [`Error::NoLeader`], [`Error::NoQuorum`] or [`Error::Timeout`] when that cannot be known until `deadline`.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<Revision, Error> {
        let revision = self.core.read_index(deadline).await?;
        self.wait_for(revision, deadline).await
    }

    /// Waits until this node has applied `revision`, and returns the revision it is at.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it has not until `deadline`, [`Error::ShuttingDown`].
    pub async fn wait_for(&self, revision: Revision, deadline: Instant) -> Result<Revision, Error> {
        let mut revisions = self.core.view.revisions();
        let reached = timeout_at(deadline, revisions.wait_for(|present| *present >= revision)).await;
        match reached {
            Ok(Ok(present)) => Ok(*present),
            Ok(Err(_)) => Err(Error::ShuttingDown),
            Err(_) => Err(Error::Timeout { outcome_unknown: false }),
        }
    }

    /// The catalogue as this node has applied it.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.core.view.catalog()
    }

    /// The revision of [`Self::catalog`], each time it changes. The catalogue is never behind it.
    pub fn revision_changes(&self) -> watch::Receiver<Revision> {
        self.core.view.revisions()
    }

    /// What this node knows of the cluster now.
    pub fn status(&self) -> RaftStatus {
        self.core.status()
    }

    /// The status, each time the role, the term, the leader or the membership changes.
    pub fn status_changes(&self) -> watch::Receiver<RaftStatus> {
        self.core.status.subscribe()
    }

    /// Whether this node has, since it started, applied all that was committed when it first heard of the leader.
    pub fn is_caught_up(&self) -> bool {
        self.core.is_caught_up()
    }

    /// Gives a learner a vote, when it has caught up. Nodes that are not observers do this for themselves.
    ///
    /// # Errors
    /// [`Error::NotAMember`]; [`Error::Membership`] for an observer; [`Error::Timeout`] when it does not catch up in time.
    pub async fn promote(&self, node: NodeId, deadline: Instant) -> Result<(), Error> {
        self.core.admin(AdminRequest::Promote { node }, deadline).await
    }

    /// Removes a member for good, alive or dead; its id is never used again and its name is free. A leader that is to be
    /// removed hands over first. To leave, a node removes itself, then shuts down.
    ///
    /// # Errors
    /// [`Error::NotAMember`]; [`Error::Membership`] for the last voter; [`Error::Timeout`].
    pub async fn remove(&self, node: NodeId, deadline: Instant) -> Result<(), Error> {
        self.core.admin(AdminRequest::Remove { node }, deadline).await
    }

    /// Makes another voter the leader, and waits until it is.
    ///
    /// # Errors
    /// [`Error::NotAMember`]; [`Error::Membership`] when it has no vote; [`Error::Timeout`] when it does not become leader.
    pub async fn transfer_leader(&self, to: NodeId, deadline: Instant) -> Result<(), Error> {
        self.core.admin(AdminRequest::TransferLeader { to }, deadline).await?;
        self.wait_for_leader(deadline, |leader| leader == Some(to)).await
    }

    /// Has the leader hand over to the best of the other voters that it reaches, and waits until another one leads.
    ///
    /// # Errors
    /// [`Error::Membership`] when there is none; [`Error::NoLeader`] when nobody leads; [`Error::Timeout`] when none becomes leader.
    pub async fn step_down(&self, deadline: Instant) -> Result<(), Error> {
        let leader = self.core.wait_for_leader(deadline).await.ok_or(Error::NoLeader)?;
        self.core.admin(AdminRequest::StepDown { leader }, deadline).await?;
        self.wait_for_leader(deadline, |now| now.is_some_and(|now| now != leader)).await
    }

    /// Waits until the leader, as this node knows it, is one that was waited for.
    async fn wait_for_leader(
        &self,
        deadline: Instant,
        is_awaited: impl Fn(Option<NodeId>) -> bool,
    ) -> Result<(), Error> {
        let mut server = self.core.server.clone();
        let led = async {
            while !is_awaited(server.borrow_and_update().current_leader.map(NodeId::new)) {
                server.changed().await.map_err(|_| Error::ShuttingDown)?;
            }
            Ok(())
        };
        timeout_at(deadline, led).await.map_err(|_| Error::Timeout { outcome_unknown: false })?
    }

    /// Writes a snapshot soon, so that the log can be shortened.
    ///
    /// # Errors
    /// When the node has stopped.
    pub async fn trigger_snapshot(&self) -> Result<(), Error> {
        self.core.raft.trigger().snapshot().await.map_err(|fatal| self.core.fatal(&fatal))
    }

    /// Writes the present catalogue to a file, for backup or to found another cluster from.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn save_snapshot(&self, path: &Path) -> Result<SnapshotInfo, Error> {
        let server = self.core.server.borrow_watched().clone();
        let catalog = self.catalog();
        let index = catalog.revision().get();
        let meta = crate::types::SnapshotMeta {
            last_log_id: Some(crate::types::LogId::new_term_index(server.vote.leader_id.term, index)),
            last_membership: (*server.committed_membership_config).clone(),
        };
        let header = snapshot::Header { cluster: self.core.cluster, meta };
        let path = path.to_owned();
        let written = spawn_blocking(move || snapshot::write(&path, &header, &catalog)).await;
        Ok(written.map_err(|error| Error::Io { what: "writing a snapshot".into(), source: error.into() })??)
    }

    /// Cuts the links to these nodes, both ways, as a broken network would, and mends all others. For fault injection.
    pub fn set_blocked_peers(&self, nodes: Vec<NodeId>) {
        self.core.hub.block(BTreeSet::from_iter(nodes));
    }

    /// Stops the node. A leader hands over first. When this returns, the log is closed and the data directory free.
    pub async fn shutdown(&self) {
        let core = &self.core;
        if core.is_leader() && core.has_other_voters() {
            info!("handing leadership over");
            if let Err(error) = self.step_down(Instant::now() + HANDOVER_TIMEOUT).await {
                warn!(error = %error, "stopping as leader: {error}");
            }
        }
        core.hub.shutdown.cancel();
        if let Err(error) = core.raft.shutdown().await {
            warn!(error = %error, "the log did not stop cleanly: {error}");
        }
        core.hub.core.store(None);
        core.hub.tasks.close();
        let stopped = async {
            core.hub.tasks.wait().await;
            core.close_files().await;
        };
        if timeout(STOP_TIMEOUT, stopped).await.is_err() {
            warn!("this node did not stop within {STOP_TIMEOUT:?}");
        }
    }
}

#[cfg(test)]
mod tests;
