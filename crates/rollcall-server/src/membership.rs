//! The two truths about the nodes, joined for readers: who is a member (Raft) and what is observed of it (gossip).
//!
//! They stay apart everywhere else. A dead verdict never changes who votes; a vote says nothing of who answers.

use std::time::Duration;

use rollcall_api as api;
use rollcall_api::{Addresses, MemberChange, MemberChangeKind, MemberState, Members, Observer, RaftRole};
use rollcall_gossip::{Event, Handle, Lateness, LinkFault, Member, MemberEvent, MembershipView, State};
use rollcall_raft::{Consensus, PeerNode, RaftStatus, Role};
use rollcall_types::{MonoTime, NodeId, UnixMillis};

use crate::clock::wall_clock;
use crate::vitals::{Board, Vitals};

/// Both truths at one moment.
pub(crate) struct Membership<'a> {
    pub(crate) status: &'a RaftStatus,
    pub(crate) gossip: &'a MembershipView,
    /// What nodes expect of themselves.
    pub(crate) vitals: &'a Board,
    /// Reading of gossip's clock and the wall clock, taken together.
    pub(crate) now: (MonoTime, UnixMillis),
}

/// The members as this node sees them now.
pub(crate) fn members(consensus: &Consensus, gossip: &Handle, vitals: &Vitals) -> Members {
    let (status, view) = (consensus.status(), gossip.view());
    let now = (gossip.now(), wall_clock());
    let membership = Membership { status: &status, gossip: &view, vitals: &vitals.board(), now };
    membership.wire(consensus.catalog().revision().get(), |node| consensus.is_connected(node))
}

impl Membership<'_> {
    fn wire(&self, revision: u64, is_connected: impl Fn(NodeId) -> bool) -> Members {
        let raft_members = self.status.voters.iter().chain(&self.status.learners);
        let is_member = |member: &&Member| self.status.id_of(&member.health.name).is_some_and(|id| is_of(member, id));
        let strangers = self.gossip.members.values().filter(|member| !is_member(member));
        let known = raft_members.map(|(id, peer)| self.member(*id, peer, is_connected(*id)));
        let mut items: Vec<_> = known.chain(strangers.map(stranger)).collect();
        items.sort_by(|one, other| one.name.cmp(&other.name));
        Members { items, revision, next_cursor: None, observer: Some(self.observer()) }
    }

    fn member(&self, id: NodeId, peer: &PeerNode, is_connected: bool) -> api::Member {
        let role = if Some(id) == self.status.leader {
            RaftRole::Leader
        } else if id == self.status.node {
            wire_role(self.status.role)
        } else if self.status.voters.contains_key(&id) {
            RaftRole::Follower
        } else {
            RaftRole::Learner
        };
        let addresses = Addresses {
            http: Some(peer.http_addr.clone()),
            peer: Some(peer.peer_addr.clone()),
            gossip: Some(peer.gossip_addr.clone()).filter(|address| !address.is_empty()),
            ..Addresses::default()
        };
        let member = api::Member {
            name: peer.name.to_string(),
            node_id: Some(id.get()),
            state: MemberState::Unknown,
            role,
            zone: peer.zone.clone(),
            region: None,
            version: None,
            addresses,
            since: None,
            cause: String::new(),
            gossip: None,
            forecasts: Vec::new(),
        };
        match self.gossip.members.get(&peer.name).filter(|heard| is_of(heard, id)) {
            Some(heard) => {
                let forecasts = self.vitals.of(&heard.health, self.now.1);
                api::Member { forecasts, ..self.doubted(observed(member, heard), heard) }
            }
            None if is_connected => api::Member {
                state: MemberState::Alive,
                cause: "connected; nothing heard through gossip yet".to_owned(),
                ..member
            },
            None => api::Member { cause: "nothing heard of it since this node started".to_owned(), ..member },
        }
    }

    /// A node that takes itself for cut off judges nobody, and so does not know of those it does not hear.
    fn doubted(&self, member: api::Member, heard: &Member) -> api::Member {
        let is_silent = heard.health.silence >= heard.health.patience;
        if self.gossip.standing.isolated_since.is_none() || !is_silent || member.state != MemberState::Alive {
            return member;
        }
        let cause =
            format!("silent for {} ms, and the node you ask takes itself for cut off", millis(heard.health.silence));
        api::Member { state: MemberState::Unknown, cause, ..member }
    }

    fn observer(&self) -> Observer {
        let standing = &self.gossip.standing;
        let (now, wall) = self.now;
        let isolated_since = standing.isolated_since.map(|since| {
            let ago = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
            UnixMillis::new(wall.get().saturating_sub(ago)).into()
        });
        Observer {
            name: self.gossip.this.to_string(),
            generation: self.gossip.generation,
            sealing_key: self.gossip.sealing_key.to_string(),
            lateness: wire_lateness(standing.lateness),
            stalls: standing.stalls,
            isolated_since,
            outranked_by: self.gossip.outranked_by,
            link_faults: self.gossip.link_faults.iter().map(wire_fault).collect(),
        }
    }
}

/// Whether what gossip tells under a name is about the member `id`: a removed node that is started again has the name of
/// its successor, and must not pass for it.
fn is_of(heard: &Member, id: NodeId) -> bool {
    heard.meta.as_ref().is_none_or(|meta| meta.node.is_none_or(|node| node == id))
}

/// A process that gossips and is no member in Raft.
fn stranger(heard: &Member) -> api::Member {
    let member = api::Member {
        name: heard.health.name.to_string(),
        node_id: None,
        state: MemberState::Unknown,
        role: RaftRole::Unknown,
        zone: None,
        region: None,
        version: None,
        addresses: Addresses::default(),
        since: None,
        cause: String::new(),
        gossip: None,
        forecasts: Vec::new(),
    };
    observed(member, heard)
}

/// A member with what is observed of it. What it says of itself beats what was written down when it joined.
fn observed(mut member: api::Member, heard: &Member) -> api::Member {
    let health = &heard.health;
    if let Some(meta) = heard.meta.as_deref() {
        let text = |label: &rollcall_types::Label| label.to_string();
        member.zone = meta.zone.as_ref().map(text).or(member.zone);
        member.region = meta.region.as_ref().map(text);
        member.version = meta.version.as_ref().map(ToString::to_string);
        member.addresses.http = meta.http.clone().or(member.addresses.http);
        member.addresses.peer = meta.peer.clone().or(member.addresses.peer);
    }
    member.addresses.gossip = heard.address.map(|address| address.to_string()).or(member.addresses.gossip);
    member.state = wire_state(health.state);
    member.since = Some(heard.since.into());
    member.cause = health.cause.phrase().to_owned();
    member.gossip = Some(api::MemberGossip {
        generation: health.generation,
        heartbeat: health.heartbeat,
        silence_ms: millis(health.silence),
        patience_ms: millis(health.patience),
        rtt_us: health.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        lateness: wire_lateness(health.lateness),
        witnesses: health.witnesses.iter().map(ToString::to_string).collect(),
        flaps: health.flaps,
        is_unheard: health.is_unheard,
        rival_generation: health.rival,
    });
    member
}

/// A change among the members, as its watchers get it. `this` is the name of this node.
pub(crate) fn wire_change(event: &MemberEvent, this: &str) -> MemberChange {
    let about = |kind, member: &str, cause: String| MemberChange {
        at: event.at.into(),
        kind,
        member: member.to_owned(),
        state: None,
        cause,
    };
    match &event.event {
        Event::Changed { member, to, cause, .. } => MemberChange {
            state: Some(wire_state(*to)),
            ..about(MemberChangeKind::State, member.as_str(), cause.phrase().to_owned())
        },
        Event::Forgotten { member } => about(
            MemberChangeKind::Forgotten,
            member.as_str(),
            "nothing was heard of it for 10 minutes, and it is no member".to_owned(),
        ),
        Event::Stalled { late } => about(
            MemberChangeKind::Stalled,
            this,
            format!("it was not run for {} ms and judges nobody now", millis(*late)),
        ),
        Event::Isolated => about(
            MemberChangeKind::Isolated,
            this,
            "it hears less than half of the members and judges nobody".to_owned(),
        ),
        Event::Reconnected => about(MemberChangeKind::Reconnected, this, "it hears the members again".to_owned()),
        Event::LinkFault(fault) => {
            let cause = format!("nothing that it sends reaches {}, though others hear it", fault.to);
            about(MemberChangeKind::LinkFault, fault.from.as_str(), cause)
        }
        Event::LinkRepaired(fault) => {
            about(MemberChangeKind::LinkRepaired, fault.from.as_str(), format!("{} hears it again", fault.to))
        }
        Event::Accused { by } => about(MemberChangeKind::Accused, this, format!("{by} suspects it")),
        Event::NameShared { member, older, newer } => {
            let cause = format!(
                "two processes use this name; the one of generation {newer} is the member, stop {older} or rename it"
            );
            about(MemberChangeKind::NameShared, member.as_str(), cause)
        }
    }
}

/// A role in Raft.
pub(crate) fn wire_role(role: Role) -> RaftRole {
    match role {
        Role::Leader => RaftRole::Leader,
        Role::Follower => RaftRole::Follower,
        Role::Learner => RaftRole::Learner,
        Role::Candidate => RaftRole::Candidate,
    }
}

fn wire_state(state: State) -> MemberState {
    match state {
        State::Alive => MemberState::Alive,
        State::Suspect => MemberState::Suspect,
        State::Dead => MemberState::Dead,
        State::Left => MemberState::Left,
    }
}

fn wire_lateness(lateness: Lateness) -> api::Lateness {
    match lateness {
        Lateness::OnTime => api::Lateness::OnTime,
        Lateness::Late => api::Lateness::Late,
        Lateness::VeryLate => api::Lateness::VeryLate,
        Lateness::Stopped => api::Lateness::Stopped,
    }
}

fn wire_fault(fault: &LinkFault) -> api::LinkFault {
    api::LinkFault { from: fault.from.to_string(), to: fault.to.to_string() }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
