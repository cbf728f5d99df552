//! Changes of membership: done by the leader, asked for on any node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use rollcall_catalog::{Actor, Command, Outcome, Refusal, Reply, Request};
use rollcall_types::{ActorName, NodeId, UnixMillis};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::info;

use super::Core;
use super::propose::jitter;
use crate::error::{Error, Retry};
use crate::transport::link::CallError;
use crate::transport::message::{
    AdminRefusal, AdminRequest, ControlReply, ControlRequest, DiscoverReply, Newcomer, NotLeading,
};
use crate::types::{PeerNode, TypeConfig};

/// Entries that a learner may lack when it gets a vote.
const PROMOTE_LAG_MAX: u64 = 200;
/// Entries that a voter may lack when it is to lead: what reaches it within a moment, and never as a snapshot.
const HANDOVER_LAG_MAX: u64 = 5_000;
/// Longest time for one change of membership on the leader.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before another attempt.
const PAUSE: Duration = Duration::from_millis(60);

impl Core {
    /// Has the leader do it, trying until `deadline`.
    pub(super) async fn admin(&self, request: AdminRequest, deadline: Instant) -> Result<(), Error> {
        let mut why = Error::NoLeader;
        // Some attempt may have been carried out although its answer did not come.
        let mut is_unknown = false;
        while Instant::now() < deadline {
            if self.has_stopped() {
                why = self.fatal(&openraft::errors::Fatal::Stopped);
                break;
            }
            let Some(leader) = self.wait_for_leader(deadline).await else { break };
            let result = if leader == self.node {
                let done = timeout_at(deadline, self.administer(request.clone())).await;
                done.unwrap_or(Err(AdminRefusal::Unknown))
            } else {
                self.ask(leader, request.clone(), deadline).await
            };
            let Err(refusal) = result else { return Ok(()) };
            match refusal {
                AdminRefusal::Unknown => is_unknown = true,
                AdminRefusal::NotLeading(NotLeading::NoQuorum) => why = Error::NoQuorum,
                AdminRefusal::NotLeading(NotLeading::NotLeader) => why = Error::NoLeader,
                AdminRefusal::NotYet(reason) => why = Error::Membership(reason),
                AdminRefusal::Removed => return Err(Error::Removed),
                // That is what an earlier attempt was for.
                AdminRefusal::NotAMember if is_unknown && matches!(request, AdminRequest::Remove { .. }) => {
                    return Ok(());
                }
                AdminRefusal::NotAMember => return Err(Error::NotAMember(node_of(&request))),
                AdminRefusal::Refused(reason) => return Err(Error::Membership(reason)),
            }
            sleep(jitter(PAUSE)).await;
        }
        Err(if is_unknown { Error::Timeout { outcome_unknown: true } } else { why })
    }

    async fn ask(&self, leader: NodeId, request: AdminRequest, deadline: Instant) -> Result<(), AdminRefusal> {
        let not_there = Err(AdminRefusal::NotLeading(NotLeading::NotLeader));
        let Some(link) = self.link(leader) else { return not_there };
        match link.call(&ControlRequest::Admin(request), deadline).await {
            Ok(ControlReply::Admin(result)) => result,
            Err(CallError::NotConnected) => not_there,
            Ok(_) | Err(_) => Err(AdminRefusal::Unknown),
        }
    }

    /// Does it, as leader.
    pub(super) async fn administer(&self, request: AdminRequest) -> Result<(), AdminRefusal> {
        if !self.is_leader() {
            return Err(AdminRefusal::NotLeading(NotLeading::NotLeader));
        }
        match request {
            AdminRequest::Promote { node } => self.promote(node).await,
            AdminRequest::Remove { node } => self.remove(node).await,
            AdminRequest::TransferLeader { to } => self.hand_over(to).await,
            // Another one leads since.
            AdminRequest::StepDown { leader } if leader != self.node => Ok(()),
            AdminRequest::StepDown { .. } => self.step_down().await,
        }
    }

    async fn add_learner(&self, node: NodeId, peer: PeerNode) -> Result<(), AdminRefusal> {
        if self.member(node).is_some() {
            return Ok(());
        }
        // Ids come from the catalogue, which forgets removed nodes: an id that is not there is never to come back.
        if !self.catalog().nodes().any(|(id, record)| *id == node && record.name == peer.name) {
            return Err(AdminRefusal::Removed);
        }
        info!(peer.id = %node, "adding node {node}, '{}' at {}", peer.name, peer.peer_addr);
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(node.get(), peer)])), true).await
    }

    async fn promote(&self, node: NodeId) -> Result<(), AdminRefusal> {
        let peer = self.member(node).ok_or(AdminRefusal::NotAMember)?;
        if peer.observer {
            return Err(AdminRefusal::Refused(format!("node {node} is an observer and gets no vote")));
        }
        if self.is_voter(node) {
            return Ok(());
        }
        if self.lag_of(node).is_none_or(|lag| lag > PROMOTE_LAG_MAX) {
            return Err(AdminRefusal::NotYet(format!("node {node} has not caught up yet")));
        }
        info!(peer.id = %node, "node {node} gets a vote");
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node.get()])), true).await
    }

    async fn remove(&self, node: NodeId) -> Result<(), AdminRefusal> {
        let is_known = self.catalog().nodes().any(|(id, _)| *id == node);
        if self.member(node).is_none() && !is_known {
            return Err(AdminRefusal::NotAMember);
        }
        if self.is_voter(node) {
            if node == self.node {
                if !self.has_other_voters() {
                    return Err(AdminRefusal::Refused("the last voter cannot be removed".to_owned()));
                }
                self.step_down().await?;
                return Err(AdminRefusal::NotLeading(NotLeading::NotLeader));
            }
            info!(peer.id = %node, "removing voter {node}");
            self.change(ChangeMembers::RemoveVoters(BTreeSet::from([node.get()])), false).await?;
        } else if self.member(node).is_some() {
            info!(peer.id = %node, "removing learner {node}");
            self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node.get()])), false).await?;
        }
        self.command(Command::ForgetNode { node }).await.map(|_| ())
    }

    async fn hand_over(&self, to: NodeId) -> Result<(), AdminRefusal> {
        if to == self.node {
            return Ok(());
        }
        self.member(to).ok_or(AdminRefusal::NotAMember)?;
        if !self.is_voter(to) {
            return Err(AdminRefusal::Refused(format!("node {to} has no vote, so it cannot lead")));
        }
        self.may_follow_this(to).map_err(AdminRefusal::NotYet)?;
        let triggered = self.raft.trigger().transfer_leader(to.get()).await;
        triggered.map_err(|_| AdminRefusal::NotLeading(NotLeading::NotLeader))
    }

    /// Hands over to whoever is best.
    async fn step_down(&self) -> Result<(), AdminRefusal> {
        if !self.has_other_voters() {
            return Err(AdminRefusal::Refused("there is no other voter to hand leadership to".to_owned()));
        }
        let none = || AdminRefusal::NotYet("no other voter can be reached and has what it needs of the log".to_owned());
        self.hand_over(self.successor().ok_or_else(none)?).await
    }

    /// The voter that is best to lead after this node: of those that may, the one whose log is longest.
    fn successor(&self) -> Option<NodeId> {
        let voters: Vec<_> = self.server.borrow_watched().membership_config.voter_ids().map(NodeId::new).collect();
        let fit = voters.into_iter().filter(|voter| *voter != self.node && self.may_follow_this(*voter).is_ok());
        fit.min_by_key(|voter| self.lag_of(*voter))
    }

    /// Whether a voter may lead after this node; why not. A leader that hands over takes no writes until the other one leads, which
    /// one that is dead or far behind does not.
    fn may_follow_this(&self, node: NodeId) -> Result<(), String> {
        if !self.links.find(node).is_some_and(|link| link.is_up()) {
            return Err(format!("node {node} cannot be reached"));
        }
        if self.lag_of(node).is_none_or(|lag| lag > HANDOVER_LAG_MAX) {
            return Err(format!("node {node} lacks too much of the log"));
        }
        Ok(())
    }

    /// Entries that a member lacks, as its leader knows; `None` when it has not answered yet.
    fn lag_of(&self, node: NodeId) -> Option<u64> {
        let data = self.data.borrow_watched();
        let matched = data.replication.as_ref().and_then(|all| all.get(&node.get()).copied().flatten())?;
        Some(data.last_log.map_or(0, |last| last.index).saturating_sub(matched.index))
    }

    fn is_voter(&self, node: NodeId) -> bool {
        self.server.borrow_watched().membership_config.voter_ids().any(|voter| voter == node.get())
    }

    /// Whether anybody but this node has a vote.
    pub(super) fn has_other_voters(&self) -> bool {
        self.server.borrow_watched().membership_config.voter_ids().any(|voter| voter != self.node.get())
    }

    async fn change(&self, change: ChangeMembers<u64, PeerNode>, retain: bool) -> Result<(), AdminRefusal> {
        let changed = self.raft.change_membership(change, retain);
        let Ok(changed) = timeout_at(Instant::now() + CHANGE_TIMEOUT, changed).await else {
            return Err(AdminRefusal::Unknown);
        };
        changed.map(|_| ()).map_err(|error| refusal(&error))
    }

    /// Has the catalogue do something in the name of the cluster itself.
    pub(super) async fn command(&self, command: Command) -> Result<Outcome, AdminRefusal> {
        let actor = Actor { name: ActorName::try_from("rollcall").expect("a valid name"), via: self.name.clone() };
        let request = Request { id: None, at: UnixMillis::default(), actor, command };
        let proposed = self.propose(request, Instant::now() + CHANGE_TIMEOUT).await;
        proposed.map_err(|error| match error.retry() {
            Retry::OutcomeUnknown => AdminRefusal::Unknown,
            Retry::Later | Retry::Never => AdminRefusal::NotLeading(NotLeading::NoQuorum),
        })
    }

    /// Takes a new node in: gives it an id and makes it a learner. Asked again by the same node, it answers the same.
    pub(crate) async fn join(&self, newcomer: &Newcomer) -> DiscoverReply {
        let elsewhere = |core: &Self| DiscoverReply::NotLeading {
            leader: core
                .leader()
                .filter(|leader| *leader != core.node)
                .and_then(|leader| core.member(leader))
                .map(|peer| peer.peer_addr),
        };
        if !self.is_leader() {
            return elsewhere(self);
        }
        let name = &newcomer.peer.name;
        let namesake = {
            let server = self.server.borrow_watched();
            let found = server.membership_config.nodes().find(|(_, peer)| peer.name == *name);
            found.map(|(node, _)| NodeId::new(*node))
        };
        if let Some(node) = namesake {
            let is_same = self.catalog().nodes().any(|(id, record)| *id == node && record.nonce == newcomer.nonce);
            if !is_same {
                return DiscoverReply::NameTaken { node };
            }
        }
        let allocate = Command::AllocateNode { name: name.clone(), nonce: newcomer.nonce };
        let node = match self.command(allocate).await {
            Ok(Outcome { reply: Reply::NodeAllocated { node }, .. }) => node,
            Ok(Outcome { reply: Reply::Refused(Refusal::NodeNameTaken { node, .. }), .. }) => {
                return DiscoverReply::NameTaken { node };
            }
            Ok(_) | Err(_) => return elsewhere(self),
        };
        match self.add_learner(node, newcomer.peer.clone()).await {
            Ok(()) => DiscoverReply::Joined { cluster: self.cluster, node },
            Err(_) => elsewhere(self),
        }
    }
}

fn node_of(request: &AdminRequest) -> NodeId {
    match request {
        AdminRequest::Promote { node } | AdminRequest::Remove { node } => *node,
        AdminRequest::TransferLeader { to } => *to,
        AdminRequest::StepDown { leader } => *leader,
    }
}

fn refusal(error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> AdminRefusal {
    match error {
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_) => {
                AdminRefusal::NotYet("another change of membership is under way".to_owned())
            }
            ChangeMembershipError::LearnerNotFound(_) => AdminRefusal::NotAMember,
            error => AdminRefusal::Refused(error.to_string()),
        },
        RaftError::APIError(_) | RaftError::Fatal(_) => AdminRefusal::NotLeading(NotLeading::NotLeader),
    }
}
