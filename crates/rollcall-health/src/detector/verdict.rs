//! What the detector concludes, in words that people and the API can use.

use std::fmt;
use std::time::Duration;

use rollcall_types::{MonoTime, NodeName};

use super::evidence::Lateness;
use crate::Freshness;

/// Silences of the detector after which the evidence of a member counts no more though it is not dead. With three independent
/// silences in a row lost to chance, it would be dead as well.
pub const SILENT_INTERVALS: u32 = 3;

/// What an observer holds of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its heartbeat advances, or it answers.
    Alive,
    /// Silent, and somebody's probes went unanswered. It may still refute.
    Suspect,
    /// Silent for longer, and enough others agree. Its heartbeat brings it back.
    Dead,
    /// It said that it leaves. Only a newer generation brings it back.
    Left,
}

impl State {
    /// The word for it in logs, metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a member is in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Alive: gossip spoke of it for the first time.
    Discovered,
    /// Alive: a process with the same name and a newer generation took its place.
    Restarted,
    /// Alive again: its heartbeat advanced.
    Refuted,
    /// Alive again: it answered a probe, directly or through another member.
    Answered,
    /// Suspect: it answered neither our ping nor those of the members we asked.
    Unanswered,
    /// Suspect: silent here, and others suspect it.
    Accused,
    /// Suspect: silent here for long, though nobody suspects it.
    Silent,
    /// Dead: silent, and two or more members suspect it independently.
    Confirmed,
    /// Dead: silent for long, and only one member (perhaps this one) suspects it.
    OneWitness,
    /// Dead: silent for very long, and nobody suspects it.
    NoWitness,
    /// Left: it said so.
    Announced,
}

impl Cause {
    /// The word for it in logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discovered => "discovered",
            Self::Restarted => "restarted",
            Self::Refuted => "refuted",
            Self::Answered => "answered",
            Self::Unanswered => "unanswered",
            Self::Accused => "accused",
            Self::Silent => "silent",
            Self::Confirmed => "confirmed",
            Self::OneWitness => "one_witness",
            Self::NoWitness => "no_witness",
            Self::Announced => "announced",
        }
    }

    /// The same as a phrase for people.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Discovered => "seen for the first time",
            Self::Restarted => "restarted with a newer generation",
            Self::Refuted => "its heartbeat advanced",
            Self::Answered => "it answered a probe",
            Self::Unanswered => "it answered neither our ping nor the pings of other members",
            Self::Accused => "silent here and suspected by others",
            Self::Silent => "silent here, suspected by nobody",
            Self::Confirmed => "silent, and suspected by two or more members",
            Self::OneWitness => "silent for long, and suspected by one member",
            Self::NoWitness => "silent for very long, though suspected by nobody",
            Self::Announced => "it said that it leaves",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something changed that somebody should hear of: a log line, a member event, a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A member went from one state to another.
    Changed {
        /// Who.
        member: NodeName,
        /// The generation that the new state is about.
        generation: u64,
        /// `None` when it was not known before.
        from: Option<State>,
        /// The new state.
        to: State,
        /// Why.
        cause: Cause,
    },
    /// A member is in the table no longer: gossip lost it for good, or the cluster did away with it. A later heartbeat makes
    /// it known anew.
    Forgotten {
        /// Who.
        member: NodeName,
    },
    /// This process was not run for a while: `late` is how far behind its tick came. It abstains from judging now.
    Stalled {
        /// Time between when the tick was due and when something ran.
        late: Duration,
    },
    /// More than half of the live members fell silent at once, so it is this node that is cut off. It judges nobody.
    Isolated,
    /// Enough members are heard again; that members were forgotten or left meanwhile is not enough.
    Reconnected,
    /// Nothing that `link.from` sends reaches `link.to` (this node), though other members hear it.
    LinkFault(LinkFault),
    /// `link.to` (this node) hears `link.from` again.
    LinkRepaired(LinkFault),
    /// `by` holds this process for silent or dead. The detector answers with [`Action::Gossip`](super::Action::Gossip).
    Accused {
        /// Who suspects us.
        by: NodeName,
    },
    /// Two processes use one name. The newer generation is the member; the older should be stopped or renamed.
    ///
    /// When `member` is this node's own name and `newer` is not its generation, this process is the older one.
    NameShared {
        /// The name.
        member: NodeName,
        /// The generation that lost.
        older: u64,
        /// The generation that is the member.
        newer: u64,
    },
}

/// A link that carries nothing in one direction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkFault {
    /// Whose packets are lost.
    pub from: NodeName,
    /// Who does not get them, and says so.
    pub to: NodeName,
}

/// One row of the table of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub name: NodeName,
    /// The newest start of it that we know.
    pub generation: u64,
    /// The last heartbeat seen of that generation.
    pub heartbeat: u64,
    /// What we hold of it.
    pub state: State,
    /// When it came to be in this state, by this node's clock.
    pub since: MonoTime,
    /// Why it is in this state.
    pub cause: Cause,
    /// Who suspects it now and counts, in order of name; this node too when it does. At most
    /// [`WITNESSES_MAX`](super::WITNESSES_MAX) others.
    pub witnesses: Vec<NodeName>,
    /// Whether its heartbeat ever advanced or it answered since it is known here. Until then it may have died before this node came:
    /// others still tell of it.
    pub was_heard: bool,
    /// Time since its heartbeat advanced or it answered, without the time during which this process was stalled.
    pub silence: Duration,
    /// The silence after which it is probed and suspected: the base, doubled by each flap.
    pub patience: Duration,
    /// Smoothed round-trip time of direct pings (RFC 6298 §2: 7/8 old, 1/8 new). `None` before the first answer.
    pub rtt: Option<Duration>,
    /// How late it says it is.
    pub lateness: Lateness,
    /// How often patience was doubled because it flapped, 0..=4.
    pub flaps: u32,
    /// An older process with the same name that still runs, by its generation.
    pub rival: Option<u64>,
    /// Nothing that it sends reaches us directly, though others hear it.
    pub is_unheard: bool,
}

impl Member {
    /// Whether what it tells as an observer counts: while it is alive or suspected, and was heard here within [`SILENT_INTERVALS`]
    /// of `silence`, the detector's.
    ///
    /// Suspicion is no verdict; it ends in a death or is refuted within about a second. The bound on silence is for when no verdict
    /// comes: on a node that is cut off, which judges nobody, and about a member that flaps, with which the detector is patient.
    pub fn freshness(&self, silence: Duration) -> Freshness {
        match self.state {
            State::Alive | State::Suspect if self.was_heard && self.silence <= silence * SILENT_INTERVALS => {
                Freshness::Fresh
            }
            State::Alive | State::Suspect | State::Dead | State::Left => Freshness::Stale,
        }
    }
}

/// What the detector holds of its own node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Since when more than half of the live members are silent; `None` when not.
    pub isolated_since: Option<MonoTime>,
    /// How late this process was recently; anything but [`Lateness::OnTime`] means that it abstains.
    pub lateness: Lateness,
    /// Stalls since the start.
    pub stalls: u64,
    /// The sum of all stalls: time that was not held against anybody.
    pub stalled: Duration,
}
