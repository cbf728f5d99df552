//! Which members of the cluster are alive: a failure detector without sockets, timers or a clock.
//!
//! Gossip already tells how far each member's heartbeat has come, over many paths. The detector adds what gossip alone
//! lacks: a doubt before a verdict, the word of others, and doubt about itself.
//!
//! 1. **Silence** of a member is the time since its heartbeat advanced. Its *patience* is [`Options::silence`].
//! 2. The five **monitors** of a member (rendezvous hash among those who are heard) ping it and ask three others to ping it
//!    (SWIM §3.1) shortly before its silence reaches its patience. No answer in time makes a **suspicion**, which is published.
//! 3. **Dead** takes two keys, own silence and the word of others: patience with three independent suspicions,
//!    [`CONFIRM_DELAY`] beyond it with two, 3 × patience with one, 6 × with none (Lifeguard §III-B: the more confirmations, the
//!    shorter the wait).
//! 4. Progress of `(generation, heartbeat)` **refutes** everything; no separate incarnation number is needed. The ping that
//!    precedes a suspicion warns the suspect (Lifeguard's buddy system), and it gossips at once.
//! 5. A process that was **stalled** knows nothing of the time it missed. Silence is measured on a clock that stops while the
//!    process is stopped, every input (not only the tick) notices the stall before it is looked at, and for a while after it
//!    the process abstains: it neither suspects, nor declares, and says so, and what it says about others weighs nothing.
//! 6. When more than half of the live members are silent at once, it is this node that is cut off: it is **isolated** and
//!    declares nobody, until enough of them are heard. A node counts itself among the live, so of two nodes each may declare the other, and of three one
//!    that hears nobody is isolated; halves of a split declare each other, the smaller part of an uneven one declares nobody.
//! 7. **Flapping** members are given more patience: × 2 for each return from the dead, at most × 16, halved per calm minute.
//! 8. A member that is heard by others but sends nothing that arrives here is a **link fault**, not a death.
//!
//! The shell calls [`Detector::tick`] every [`TICK`], just after it passed on with [`Detector::heartbeat`] how far gossip has
//! come; it hands in what arrives, and does what the returned [`Action`]s say. Everything is bounded by constants here, and
//! the same inputs with the same seed give the same outputs.
//!
//! Not done: two nodes cannot tell a crash from a cut link. A forged suspicion by a holder of the cluster's key counts; only a
//! signature per node would change that.

mod census;
mod clock;
mod damping;
mod evidence;
mod inputs;
mod judge;
mod links;
mod message;
mod random;
mod record;
mod relays;
mod rivals;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall_types::{MonoTime, NodeName};

use self::clock::Clock;
pub use self::evidence::{Evidence, EvidenceError, Heard, Lateness};
pub use self::message::{Message, MessageError};
use self::random::Random;
use self::record::Record;
use self::relays::Relays;
use self::rivals::Rivals;
pub use self::verdict::{Cause, Event, LinkFault, Member, SILENT_INTERVALS, Standing, State};

/// How often the shell calls [`Detector::tick`]. Probes and verdicts are as fine as this.
pub const TICK: Duration = Duration::from_millis(100);
/// Most members, this node not counted. More are ignored and counted: see [`Detector::refused`].
pub const MEMBERS_MAX: usize = 1024;
/// Most witnesses kept of a suspicion. Two decide, and five monitors are chosen: more come only from changing views.
pub const WITNESSES_MAX: usize = 16;
/// Members that probe a silent one. With fewer, loss of one message delays a verdict; with more, one death costs more packets.
pub const MONITORS: usize = 5;
/// Members that a monitor asks to ping for it (SWIM §3.1, k = 3).
pub const HELPERS: usize = 3;
/// Time that a ping or a ping-req gets to be answered.
pub const PROBE_DEADLINE: Duration = Duration::from_millis(250);
/// Silence beyond patience before two suspicions make a death: time for a refutation to cross the cluster. A third suspicion
/// makes up for it: it took as long to come here as a refutation would.
pub const CONFIRM_DELAY: Duration = Duration::from_millis(300);

/// What an operator may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Silence after which a member is suspected; all other times follow from it. Five gossip intervals are right: with
    /// three gossip partners per interval, a heartbeat takes at most that long to everyone at 30 % loss and 100 nodes.
    /// 500 ms to 10 s is sensible.
    pub silence: Duration,
}

impl Default for Options {
    /// For a gossip interval of 200 ms.
    fn default() -> Self {
        Self { silence: Duration::from_secs(1) }
    }
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send it straight to the member, as one datagram. It may get lost.
    Send {
        /// To whom.
        to: NodeName,
        /// What.
        message: Message,
    },
    /// Put this in place of what was published before.
    Publish(Evidence),
    /// Start a gossip round with this member now: it has not seen our heartbeat for long.
    Gossip {
        /// With whom.
        with: NodeName,
    },
    /// Tell people and subscribers.
    Event(Event),
}

/// The failure detector of one process.
///
/// `now` must not go backwards; an older `now` is treated as the latest seen. What is returned is to be done in order.
///
/// Invariants:
/// - `members` holds at most [`MEMBERS_MAX`] records and never `me`.
/// - Stamps in records are in observed time: the time that `clock` did not count as stalled.
/// - A record that is `Alive` carries no suspicion of our own.
#[derive(Debug)]
pub struct Detector {
    me: NodeName,
    generation: u64,
    options: Options,
    random: Random,
    clock: Clock,
    members: BTreeMap<NodeName, Record>,
    relays: Relays,
    /// Other processes with our name.
    rivals: Rivals,
    /// Who suspects this process now.
    accusers: BTreeSet<NodeName>,
    published: Evidence,
    isolated_since: Option<MonoTime>,
    /// Members forgotten since then that were live until then: at most [`MEMBERS_MAX`].
    missed: BTreeSet<NodeName>,
    /// The member at which the next round of link checks begins.
    link_cursor: Option<NodeName>,
    refused: u64,
    false_deaths: u64,
}

impl Detector {
    /// A detector that knows nobody. `generation` is that of this process and `seed` makes its choices of helpers and
    /// nonces differ from those of other members.
    pub fn new(me: NodeName, generation: u64, options: Options, seed: u64, now: MonoTime) -> Self {
        let clock = Clock::new(now);
        Self {
            rivals: Rivals::new(clock.observed()),
            me,
            generation,
            options,
            random: Random::new(seed),
            clock,
            members: BTreeMap::new(),
            relays: Relays::default(),
            accusers: BTreeSet::new(),
            published: Evidence::default(),
            isolated_since: None,
            missed: BTreeSet::new(),
            link_cursor: None,
            refused: 0,
            false_deaths: 0,
        }
    }

    /// Lets time pass: probes, verdicts, link checks, and the evidence to publish. Call it every [`TICK`], after
    /// [`Self::heartbeat`] for the members whose heartbeat advanced. How late it comes is measured here.
    #[must_use]
    pub fn tick(&mut self, now: MonoTime) -> Vec<Action> {
        let mut actions = self.arrive(now);
        self.clock.ticked();
        self.relays.expire(self.clock.observed());
        self.take_census(&mut actions);
        if !self.is_abstaining() {
            self.judge(&mut actions);
            self.check_links(&mut actions);
        }
        self.soothe();
        self.publish(&mut actions);
        actions
    }

    /// Gossip saw this life of `member`. Calling it with what is known already changes nothing. A newer generation takes the
    /// place of the older at once; `member` may be this node's own name.
    #[must_use]
    pub fn heartbeat(&mut self, member: &NodeName, generation: u64, heartbeat: u64, now: MonoTime) -> Vec<Action> {
        let mut actions = self.arrive(now);
        self.see_heartbeat(member, Heard { generation, heartbeat }, &mut actions);
        actions
    }

    /// `from` published this in place of what it published before. Ignored from a member that no heartbeat told of.
    #[must_use]
    pub fn evidence(&mut self, from: &NodeName, evidence: &Evidence, now: MonoTime) -> Vec<Action> {
        let mut actions = self.arrive(now);
        self.see_evidence(from, evidence, &mut actions);
        actions
    }

    /// A message came straight from `from`, authenticated and not replayed.
    #[must_use]
    pub fn message(&mut self, from: &NodeName, message: Message, now: MonoTime) -> Vec<Action> {
        let mut actions = self.arrive(now);
        self.hear(from, &mut actions);
        self.see_message(from, message, &mut actions);
        actions
    }

    /// Anything at all came straight from `from`, authenticated and not replayed: its link to us works. Optional; it saves
    /// link checks. Not needed for what goes to [`Self::message`].
    #[must_use]
    pub fn heard(&mut self, from: &NodeName, now: MonoTime) -> Vec<Action> {
        let mut actions = self.arrive(now);
        self.hear(from, &mut actions);
        actions
    }

    /// `member` says that it leaves. Heartbeats of the same generation change nothing afterwards.
    #[must_use]
    pub fn left(&mut self, member: &NodeName, now: MonoTime) -> Vec<Action> {
        let mut actions = self.arrive(now);
        self.see_leave(member, &mut actions);
        actions
    }

    /// Forgets `member` and what it said, as nothing was heard of it for long. A later heartbeat makes it known anew.
    ///
    /// While this node is isolated, a member that was silent because of that still counts as silent: a shorter table does not
    /// end the isolation.
    #[must_use]
    pub fn forget(&mut self, member: &NodeName) -> Vec<Action> {
        self.miss(member);
        self.drop_member(member)
    }

    /// Forgets `member` and what it said, as the cluster has no such member any more: nobody waits for it.
    #[must_use]
    pub fn remove(&mut self, member: &NodeName) -> Vec<Action> {
        self.missed.remove(member);
        self.drop_member(member)
    }

    /// This process goes on under a newer generation, as after its gossip was started again.
    pub fn renew(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
        self.accusers.clear();
        self.rivals = Rivals::new(self.clock.observed());
    }

    /// The table of members, in order of name, this node not among them. Silence is as of the latest input.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.members.iter().map(|(name, record)| self.row(name, record))
    }

    /// One row of the table.
    pub fn member(&self, name: &NodeName) -> Option<Member> {
        self.members.get(name).map(|record| self.row(name, record))
    }

    /// What is held of this node itself.
    pub fn standing(&self) -> Standing {
        Standing {
            isolated_since: self.isolated_since,
            lateness: self.clock.lateness(),
            stalls: self.clock.stalls(),
            stalled: self.clock.stalled(),
        }
    }

    /// Links that carry nothing in one direction, as this node and others say, in order.
    pub fn link_faults(&self) -> BTreeSet<LinkFault> {
        let link = |from: &NodeName, to: &NodeName| LinkFault { from: from.clone(), to: to.clone() };
        let live = self.members.iter().filter(|(_, record)| record.is_live());
        let said = live.flat_map(|(to, record)| record.unheard_by_it.iter().map(move |from| link(from, to)));
        let own = self.members.iter().filter(|(_, record)| record.is_unheard).map(|(from, _)| link(from, &self.me));
        own.chain(said).collect()
    }

    /// What the last [`Action::Publish`] said: for a shell whose gossip had to start again.
    pub fn published(&self) -> &Evidence {
        &self.published
    }

    /// Heartbeats that were ignored because [`MEMBERS_MAX`] members were known already.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Times that another member told this process that it had held it dead: once for each member and each such verdict, so
    /// one partition counts as often as there are members on the other side. Who was heard again tells once, by a datagram that
    /// may get lost, so there may have been more.
    pub fn false_deaths(&self) -> u64 {
        self.false_deaths
    }

    fn row(&self, name: &NodeName, record: &Record) -> Member {
        let mut witnesses: Vec<NodeName> = self.witnesses_of(record).cloned().collect();
        if record.suspected.is_some() {
            witnesses.push(self.me.clone());
            witnesses.sort();
        }
        Member {
            name: name.clone(),
            generation: record.life.generation,
            heartbeat: record.life.heartbeat,
            state: record.state,
            since: record.since,
            cause: record.cause,
            witnesses,
            was_heard: record.has_progressed,
            silence: record.silence(self.clock.observed()),
            patience: self.patience(record),
            rtt: record.rtt,
            lateness: record.lateness,
            flaps: record.damping.doublings(),
            rival: record.rivals.running(self.clock.observed()),
            is_unheard: record.is_unheard,
        }
    }
}
