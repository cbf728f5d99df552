//! A whole cluster of pure parts in simulated time: catalogue, health, detector and selection of three or five nodes, one seed a run.
//!
//! ```text
//! clients ── writes ──► node ──► log ──► Catalog of each node ─┐
//!         ── heartbeats ──► node ──► leases, records, digests ─┼─► index ──► resolve ──► whoever asks
//!            gossip, detector of each node (World) ────────────┘
//! ```
//! The catalogue, its export and import, the detector, leases, records of checks, digests, assignment, agreement and selection are the
//! real ones. A seed decides the number of nodes, what clients do, and what goes wrong: processes crash and come back with what they
//! have on disk, are not run, links are cut in both directions or in one, messages are lost or late. Then all is healed, and the cluster
//! must serve.
//!
//! What must hold is in `judge`, which looks while things happen; [`Planted`] breaks each of it on purpose.
//!
//! # Not modelled
//!
//! - Consensus: `log` is a model that decides on one order of entries as Raft does. Votes and logs of openraft are simulated by
//!   `tests/stack`.
//! - The shell: its wiring is written again here, in a small form. So a bug of `rollcall-server` is not found.
//! - Time is even: what arrives is worked on at once, and a node looks at health every 200 ms.
//! - Checks by heartbeats, capabilities, aliases, forecasts, reports of callers, zones, more than one chunk of instances, sessions and
//!   locks, transactions, members that join or leave.

mod beats;
mod client;
mod faults;
mod health;
mod journal;
mod judge;
mod log;
mod node;
mod outcome;
mod planted;
mod reference;
mod schedule;
mod selection;
mod trace;
mod tracked;
mod writes;

use std::time::Duration;

use rollcall_health::Observer;
use rollcall_health::assignment::Candidate;
use rollcall_health::detector::{self, Event, Lateness, State};
use rollcall_types::{Invalid, NodeName, UnixMillis};

pub use self::outcome::{Figures, Options, Run, Violation};
pub use self::planted::Planted;
pub use self::schedule::{Fault, Planned, Schedule};

use self::beats::Heard;
use self::client::{Client, Kind, Owned, SERVICES};
use self::health::Members;
use self::journal::Scribe;
use self::judge::Components;
use self::log::Log;
use self::node::{Disk, Node};
use self::reference::Reference;
use self::schedule::SECOND;
use self::trace::Trace;
use self::writes::Ask;
use crate::dice::Dice;
use crate::queue::Queue;
use crate::world::{World, mono};

/// Between two looks of a node at health: [`RUN_TICK`](rollcall_health::RUN_TICK).
const TICK: u64 = rollcall_health::RUN_TICK.as_micros() as u64;
/// Between two messages of a leader to all others.
const LEAD: u64 = 50_000;
/// How long clients write on after the heal.
const WRITES_AFTER_HEAL: u64 = 12 * SECOND;
/// The wall clock at the beginning, in milliseconds.
const WALL: u64 = 1_700_000_000_000;

/// Runs a seed.
pub fn run(seed: u64, options: &Options) -> Run {
    match Cluster::new(seed, *options) {
        Ok(cluster) => cluster.run(),
        // The names are written in this module.
        Err(invalid) => unreachable!("a name that is none: {invalid}"),
    }
}

/// What happens.
#[derive(Debug)]
enum Next {
    /// A fault begins or ends.
    Fault,
    /// A node looks at health, in one of its generations.
    Tick { node: usize, generation: u64 },
    /// Whoever leads speaks, or somebody comes to lead.
    Lead,
    /// A follower hears of what was decided.
    Append { from: usize, to: usize, commit: u64 },
    /// A write arrives at a node.
    Ask { to: usize, ask: Ask },
    /// A write arrives at the leader, from another node.
    Forward { to: usize, via: usize, ask: Ask },
    /// A majority has a write on disk.
    Commit { leader: usize, term: u64, via: usize, ask: Ask },
    /// A node hears what a write came to.
    Committed { to: usize, waiting: node::Waiting },
    /// A client hears it.
    Reply { waiting: node::Waiting },
    /// A client wants something, or asks again.
    Act { client: usize },
    /// An instance sends a heartbeat.
    Beat { instance: usize },
    /// It arrives.
    BeatArrives { to: usize, instance: usize, beat: u64 },
    /// It is answered: when to send the next one, in microseconds; `None`: the node does not know the instance.
    BeatAnswered { instance: usize, beat: u64, next: Option<u64> },
    /// It was not answered in time.
    BeatLate { instance: usize, beat: u64 },
    /// Somebody selects.
    Select,
    /// All is looked at.
    Sweep,
}

impl Next {
    /// The node that it happens at.
    fn node(&self) -> Option<usize> {
        match self {
            Self::Tick { node, .. } => Some(*node),
            Self::Append { to, .. } | Self::Ask { to, .. } | Self::Forward { to, .. } => Some(*to),
            Self::Committed { to, .. } | Self::BeatArrives { to, .. } => Some(*to),
            Self::Commit { leader, .. } => Some(*leader),
            _ => None,
        }
    }
}

/// A cluster in a run.
#[derive(Debug)]
struct Cluster {
    seed: u64,
    options: Options,
    dice: Dice,
    world: World,
    queue: Queue<Next>,
    nodes: Vec<Node>,
    log: Log,
    scribe: Scribe,
    reference: Reference,
    clients: Vec<Client>,
    owned: Vec<Owned>,
    /// Heartbeats that were taken, by instance.
    heard: Vec<Vec<Heard>>,
    components: Components,
    /// Who looks at instances, as the first node sees it, and since when all agree on that.
    lookers: Vec<NodeName>,
    lookers_since: u64,
    schedule: Schedule,
    end_at: u64,
    /// How far the wall clock of each node is ahead, in milliseconds.
    ahead: Vec<u64>,
    loss: f64,
    trace: Trace,
    figures: Figures,
    violation: Option<Violation>,
}

impl Cluster {
    fn new(seed: u64, options: Options) -> Result<Self, Invalid> {
        let mut dice = Dice::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ planted::leak(options.planted));
        let count = if dice.chance(0.5) { 3 } else { 5 };
        let world = World::new(count, seed);
        let schedule = Schedule::draw(count, options.seconds.max(6) * SECOND, &mut dice);
        let end_at = schedule.heal_at + judge::longest_bound(&schedule);
        let ahead: Vec<u64> = (0..count).map(|_| dice.below(4_000)).collect();
        let mut nodes = Vec::new();
        for (index, ahead) in ahead.iter().enumerate() {
            let disk = Disk { every: 10 + dice.below(50), ..Disk::default() };
            let is_stale = options.planted == Some(Planted::StaleSelection);
            let own = Dice::new(dice.roll());
            let (name, generation) = (world.name(index).clone(), world.generation(index));
            let node = Node::start(name, generation, disk, is_stale, WALL + ahead, mono(0), own);
            nodes.extend(node);
        }
        let (mut owned, mut clients) = (Vec::new(), Vec::new());
        for index in 0..4 {
            let instances: Vec<usize> = (owned.len()..owned.len() + 3).collect();
            for _ in &instances {
                owned.push(draw_instance(owned.len(), count, schedule.heal_at, &mut dice)?);
            }
            clients.push(Client::new(index, instances, index % 2 == 0)?);
        }
        let mut cluster = Self {
            seed,
            options,
            world,
            queue: Queue::new(),
            log: Log { elect_at: SECOND / 2, ..Log::default() },
            scribe: Scribe::default(),
            reference: Reference::default(),
            heard: owned.iter().map(|_| Vec::new()).collect(),
            components: Components::new(count),
            lookers: Vec::new(),
            lookers_since: 0,
            ahead,
            loss: 0.0,
            trace: Trace::new(options.keeps_lines),
            figures: Figures::default(),
            violation: None,
            nodes,
            clients,
            owned,
            schedule,
            end_at,
            dice,
        };
        cluster.begin();
        Ok(cluster)
    }

    /// Puts into the queue what goes on by itself from then on.
    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            let (at, generation) = (self.dice.below(TICK), self.nodes[node].generation);
            self.queue.push(at, Next::Tick { node, generation });
        }
        for planned in &self.schedule.faults {
            self.queue.push(planned.at, Next::Fault);
            planned.until.into_iter().for_each(|until| self.queue.push(until, Next::Fault));
        }
        self.queue.push(self.schedule.heal_at, Next::Fault);
        self.queue.push(LEAD, Next::Lead);
        for client in 0..self.clients.len() {
            let at = 2 * SECOND + self.dice.below(SECOND);
            self.queue.push(at, Next::Act { client });
        }
        for instance in 0..self.owned.len() {
            let at = 3 * SECOND + self.dice.below(SECOND);
            self.queue.push(at, Next::Beat { instance });
        }
        self.queue.push(4 * SECOND, Next::Select);
        self.queue.push(SECOND, Next::Sweep);
    }

    fn run(mut self) -> Run {
        while self.violation.is_none() {
            let Some((at, next)) = self.queue.pop_until(self.end_at) else { break };
            self.world.run_until(at);
            self.hear_detectors();
            self.step(next);
        }
        if self.violation.is_none() {
            self.judge_end();
        }
        self.figures.seconds = self.world.now() as f64 / SECOND as f64;
        self.figures.entries = self.log.end();
        let (hash, lines) = self.trace.finish();
        Run {
            seed: self.seed,
            nodes: self.nodes.len(),
            schedule: self.schedule,
            violation: self.violation,
            hash,
            lines,
            figures: self.figures,
        }
    }

    fn step(&mut self, next: Next) {
        if let Some(node) = next.node().filter(|node| !self.world.is_running(*node)) {
            // What comes to a process that is not run waits in its sockets; a crash loses it.
            if let Some(wakes_at) = self.world.wakes_at(node) {
                let at = wakes_at.max(self.now()) + 1 + self.dice.below(1_000);
                self.queue.push(at, next);
            }
            return;
        }
        match next {
            Next::Fault => self.follow_schedule(),
            Next::Tick { node, generation } => self.tick(node, generation),
            Next::Lead => self.lead(),
            Next::Append { from, to, commit } => self.append(from, to, commit),
            Next::Ask { to, ask } => self.ask(to, ask),
            Next::Forward { to, via, ask } => self.propose(to, via, ask),
            Next::Commit { leader, term, via, ask } => self.commit(leader, term, via, ask),
            Next::Committed { to, waiting } => self.committed(to, waiting),
            Next::Reply { waiting } => self.reply(waiting),
            Next::Act { client } => self.act(client),
            Next::Beat { instance } => self.beat(instance),
            Next::BeatArrives { to, instance, beat } => self.beat_arrives(to, instance, beat),
            Next::BeatAnswered { instance, beat, next } => self.beat_answered(instance, beat, next),
            Next::BeatLate { instance, beat } => self.beat_late(instance, beat),
            Next::Select => self.select(),
            Next::Sweep => self.sweep(),
        }
    }

    fn now(&self) -> u64 {
        self.world.now()
    }

    /// The wall clock of a node.
    fn wall(&self, node: usize) -> UnixMillis {
        UnixMillis::new(self.epoch(node) + self.now() / 1_000)
    }

    /// The same when time began, in milliseconds.
    fn epoch(&self, node: usize) -> u64 {
        WALL + self.ahead[node]
    }

    /// Something must hold and does not. The first counts.
    fn violate(&mut self, invariant: &'static str, what: String) {
        let at = self.now();
        self.violation.get_or_insert(Violation { invariant, at, what });
    }

    /// Tells each node what its detector says.
    fn hear_detectors(&mut self) {
        for seen in self.world.take_seen() {
            let Event::Changed { member, generation, to, .. } = seen.event else { continue };
            let numbers = [1, seen.observer as u64, generation, to as u64];
            self.trace.add(seen.at, &numbers, || format!("n{} holds {member} for {to}", seen.observer));
        }
    }

    /// A node looks at health.
    fn tick(&mut self, node: usize, generation: u64) {
        if self.nodes[node].generation != generation {
            return;
        }
        let (now, at) = (self.now(), mono(self.now()));
        let members = self.members(node);
        for member in self.world.detector(node).members() {
            let observer = Observer { name: member.name.clone(), generation: member.generation };
            self.nodes[node].health.mark(&observer, member.freshness(detector::Options::default().silence));
        }
        for member in (0..self.nodes.len()).filter(|member| *member != node) {
            let (generation, version, told) = self.world.told(node, member);
            self.nodes[node].health.receive(self.world.name(member), (generation, version), told, at);
        }
        let forgets = self.options.planted == Some(Planted::NoExpiry);
        let Node { health, catalog, .. } = &mut self.nodes[node];
        let owned = &self.owned;
        let told = health.tick(catalog, &members, forgets, |instance| !beats::fails(owned, instance, now), at);
        if let Some(told) = told {
            self.trace.add(now, &[2, node as u64], || format!("n{node} tells {told:?}"));
            self.world.tell(node, told);
        }
        self.queue.push(now + TICK, Next::Tick { node, generation });
    }

    fn members(&self, node: usize) -> Members {
        let detector = self.world.detector(node);
        let standing = detector.standing();
        let candidate = |name: &NodeName| Candidate { name: name.clone(), zone: None };
        let fit = detector.members().filter(|it| it.state == State::Alive && it.lateness < Lateness::VeryLate);
        let mut fit: Vec<Candidate> = fit.map(|member| candidate(&member.name)).collect();
        if standing.lateness < Lateness::VeryLate {
            fit.push(candidate(&self.nodes[node].name));
        }
        if self.options.planted == Some(Planted::StuckRoster) && node == 0 {
            fit.retain(|candidate| candidate.name != self.nodes[1].name);
        }
        Members { fit, all: self.nodes.len(), is_isolated: standing.isolated_since.is_some() }
    }
}

fn draw_instance(number: usize, nodes: usize, heal_at: u64, dice: &mut Dice) -> Result<Owned, Invalid> {
    let kind = match dice.below(8) {
        0 => Kind::Unchecked,
        1 | 2 => Kind::Probed,
        _ => Kind::Lease(4_000 + dice.below(5) * 1_000),
    };
    Ok(Owned {
        service: SERVICES[number % SERVICES.len()].parse()?,
        id: format!("i{number}").parse()?,
        kind,
        state: None,
        fails_from: dice.chance(0.35).then(|| dice.below(heal_at)),
        node: dice.below(nodes as u64) as usize,
        beat: 0,
    })
}

/// A span in microseconds.
const fn micros(span: Duration) -> u64 {
    span.as_micros() as u64
}
