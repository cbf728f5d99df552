//! The world: detectors and gossip of all nodes, the network between them, and what was seen.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use rollcall_health::detector::{self, Action, Detector, Event, Evidence, Message, Options, State};
use rollcall_types::{MonoTime, NodeName};

use crate::dice::Dice;
use crate::gossip::{Delta, Digest, Digests, Gossip, INTERVAL, Progress, Version};
use crate::network::Network;
use crate::queue::Queue;

/// Datagrams that a stalled process finds when it wakes: what Linux keeps by default (212,992 bytes at 832 and more each).
const BUFFER_MAX: usize = 256;
/// Microseconds that a woken process needs for each of them.
const DRAIN: u64 = 500;
const TICK: u64 = detector::TICK.as_micros() as u64;
/// Of a process that has not restarted.
const GENERATION: u64 = 1;

/// Something that an observer said at a time, in microseconds.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Microseconds since the start of the world.
    pub at: u64,
    /// Whose detector said it, by index.
    pub observer: usize,
    /// What.
    pub event: Event,
}

impl Seen {
    /// The member and its new state, when the event is a change of state.
    pub fn change(&self) -> Option<(usize, State)> {
        match &self.event {
            Event::Changed { member, to, from: Some(_), .. } => Some((index(member), *to)),
            _ => None,
        }
    }
}

#[derive(Debug)]
enum Datagram {
    Syn(Digest),
    SynAck(Digest, Delta),
    Ack(Delta),
    Detector(Vec<u8>),
}

#[derive(Debug)]
enum Next {
    /// Of a node in one of its generations.
    Round(usize, u64),
    Tick(usize, u64),
    Arrive {
        from: usize,
        to: usize,
        datagram: Datagram,
    },
    Process {
        from: usize,
        to: usize,
        datagram: Datagram,
    },
    Wake(usize),
}

#[derive(Debug)]
struct Node {
    detector: Detector,
    gossip: Gossip,
    generation: u64,
    /// What the detector was told of each member.
    told: Vec<(Progress, Version)>,
    is_crashed: bool,
    stalled_until: Option<u64>,
    /// What arrives before this waits its turn.
    busy_until: u64,
    buffer: VecDeque<(usize, Datagram)>,
}

impl Node {
    fn new(me: usize, names: &[NodeName], generation: u64, seed: u64, now: u64) -> Self {
        let seed = (seed << 16 | me as u64).wrapping_add((generation - GENERATION) << 8);
        Self {
            detector: Detector::new(names[me].clone(), generation, Options::default(), seed, mono(now)),
            gossip: Gossip::new(me, names.len(), generation),
            generation,
            told: vec![(Progress::default(), Version::default()); names.len()],
            is_crashed: false,
            stalled_until: None,
            busy_until: 0,
            buffer: VecDeque::new(),
        }
    }
}

/// A cluster of detectors in virtual time.
#[derive(Debug)]
pub struct World {
    now: u64,
    seed: u64,
    names: Vec<NodeName>,
    nodes: Vec<Node>,
    network: Network,
    dice: Dice,
    queue: Queue<Next>,
    seen: Vec<Seen>,
    sent: u64,
}

impl World {
    /// `nodes` members that know each other, about to begin.
    pub fn new(nodes: usize, seed: u64) -> Self {
        let names: Vec<NodeName> = (0..nodes).map(name).collect();
        let mut dice = Dice::new(seed);
        let starts: Vec<(u64, u64)> = (0..nodes).map(|_| (dice.below(INTERVAL), dice.below(TICK))).collect();
        let mut world = Self {
            now: 0,
            seed,
            nodes: (0..nodes).map(|me| Node::new(me, &names, GENERATION, seed, 0)).collect(),
            names,
            network: Network::default(),
            dice,
            queue: Queue::new(),
            seen: Vec::new(),
            sent: 0,
        };
        for (node, (round, tick)) in starts.into_iter().enumerate() {
            world.queue.push(round, Next::Round(node, GENERATION));
            world.queue.push(tick, Next::Tick(node, GENERATION));
        }
        world
    }

    /// Microseconds since the start.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// How many members there are, crashed ones too.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// From now on datagrams are lost with this probability.
    pub fn set_loss(&mut self, probability: f64) {
        self.network.loss = probability;
    }

    /// Cuts the link in one direction.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.network.cut.insert((from, to));
    }

    /// Cuts all links between `part` and the others.
    pub fn split(&mut self, part: &[usize]) {
        self.network.split(part, self.nodes.len());
    }

    /// Mends all links.
    pub fn mend(&mut self) {
        self.network.cut.clear();
    }

    /// From now on datagrams take longer by so many microseconds on average.
    pub fn set_delay(&mut self, mean: u64) {
        self.network.delay = mean;
    }

    /// Whether the link carries anything in this direction.
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.network.cut.contains(&(from, to))
    }

    /// Microseconds until something else that is sent now arrives; `None` when it does not.
    pub fn carry(&mut self, from: usize, to: usize) -> Option<u64> {
        self.network.carry(from, to, &mut self.dice)
    }

    /// Ends a process; for good, unless it is started again.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].is_crashed = true;
        self.nodes[node].buffer.clear();
    }

    /// Starts a crashed process again, which knows nobody.
    pub fn restart(&mut self, node: usize) {
        let generation = self.nodes[node].generation + 1;
        self.nodes[node] = Node::new(node, &self.names, generation, self.seed, self.now);
        self.queue.push(self.now, Next::Round(node, generation));
        self.queue.push(self.now + self.dice.below(TICK), Next::Tick(node, generation));
    }

    /// Which of its lives a process is in.
    pub fn generation(&self, node: usize) -> u64 {
        self.nodes[node].generation
    }

    /// A node tells all others this of instances.
    pub fn tell(&mut self, node: usize, digests: Digests) {
        self.nodes[node].gossip.publish(|value| value.digests = Rc::new(digests));
    }

    /// What `observer` has heard `member` tell of instances: the generation of the member, a version that rises, and what.
    pub fn told(&self, observer: usize, member: usize) -> (u64, u64, &Rc<Digests>) {
        let gossip = &self.nodes[observer].gossip;
        let Version { generation, version } = gossip.version(member);
        (generation, version, &gossip.value(member).digests)
    }

    /// The name of a node.
    pub fn name(&self, node: usize) -> &NodeName {
        &self.names[node]
    }

    /// Which node has this name.
    pub fn index_of(&self, name: &NodeName) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// Stops a process for `span`. What arrives meanwhile waits in its receive buffer, as far as there is room.
    pub fn stall(&mut self, node: usize, span: Duration) {
        let until = self.now + span.as_micros() as u64;
        // One that is stopped already is stopped for as long as either says.
        let until = self.nodes[node].stalled_until.map_or(until, |before| before.max(until));
        self.nodes[node].stalled_until = Some(until);
        self.queue.push(until, Next::Wake(node));
    }

    /// Whether a process ended, and was not started again.
    pub fn is_crashed(&self, node: usize) -> bool {
        self.nodes[node].is_crashed
    }

    /// Whether a process can run now.
    pub fn is_running(&self, node: usize) -> bool {
        !self.nodes[node].is_crashed && self.nodes[node].stalled_until.is_none()
    }

    /// When a stalled process runs again; `None` of one that runs, or crashed.
    pub fn wakes_at(&self, node: usize) -> Option<u64> {
        self.nodes[node].stalled_until.filter(|_| !self.nodes[node].is_crashed)
    }

    /// What an observer holds of a member.
    pub fn state(&self, observer: usize, member: usize) -> Option<State> {
        self.nodes[observer].detector.member(&self.names[member]).map(|row| row.state)
    }

    /// The detector of a node.
    pub fn detector(&self, node: usize) -> &Detector {
        &self.nodes[node].detector
    }

    /// Datagrams sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Everything seen since this was last called.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// Lets `span` of virtual time pass.
    pub fn run(&mut self, span: Duration) {
        self.run_until(self.now + span.as_micros() as u64);
    }

    /// Lets time pass until `end`.
    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some((at, next)) = self.queue.pop_until(end) {
            self.now = at;
            self.step(next);
        }
        self.now = end;
    }

    fn step(&mut self, next: Next) {
        match next {
            Next::Round(node, generation) => self.when_running(node, generation, next, Self::round),
            Next::Tick(node, generation) => self.when_running(node, generation, next, Self::tick),
            Next::Arrive { from, to, datagram } => self.arrive(from, to, datagram),
            Next::Process { from, to, datagram } => self.process(from, to, datagram),
            Next::Wake(node) => self.wake(node),
        }
    }

    /// A timer of a stalled process fires when it wakes, before or after what waits in the buffer, as it happens.
    fn when_running(&mut self, node: usize, generation: u64, again: Next, act: fn(&mut Self, usize)) {
        if self.nodes[node].is_crashed || self.nodes[node].generation != generation {
            return;
        }
        match self.nodes[node].stalled_until {
            Some(until) => {
                let delay = self.dice.below(DRAIN * BUFFER_MAX as u64 / 2);
                self.queue.push(until.max(self.now) + delay, again);
            }
            None => act(self, node),
        }
    }

    fn wake(&mut self, node: usize) {
        if self.nodes[node].stalled_until.is_none_or(|until| until > self.now) {
            return;
        }
        self.nodes[node].stalled_until = None;
        let buffered = std::mem::take(&mut self.nodes[node].buffer);
        let start = self.now;
        let count = buffered.len() as u64;
        for (i, (from, datagram)) in buffered.into_iter().enumerate() {
            self.queue.push(start + i as u64 * DRAIN, Next::Process { from, to: node, datagram });
        }
        self.nodes[node].busy_until = start + count * DRAIN;
    }

    fn arrive(&mut self, from: usize, to: usize, datagram: Datagram) {
        let node = &mut self.nodes[to];
        if node.is_crashed {
            return;
        }
        if node.stalled_until.is_some() {
            if node.buffer.len() < BUFFER_MAX {
                node.buffer.push_back((from, datagram));
            }
        } else if node.busy_until > self.now {
            node.busy_until += DRAIN;
            let at = node.busy_until;
            self.queue.push(at, Next::Process { from, to, datagram });
        } else {
            self.process(from, to, datagram);
        }
    }

    fn process(&mut self, from: usize, to: usize, datagram: Datagram) {
        let node = &mut self.nodes[to];
        if node.is_crashed {
            return;
        }
        if node.stalled_until.is_some() {
            // It fell asleep again before it came to this one.
            if node.buffer.len() < BUFFER_MAX {
                node.buffer.push_back((from, datagram));
            }
            return;
        }
        let (now, at) = (self.now, mono(self.now));
        let mut actions = node.detector.heard(&self.names[from], at);
        let mut answer = None;
        match datagram {
            Datagram::Syn(digest) => {
                node.gossip.beat();
                node.gossip.see(&digest, now);
                answer = Some(Datagram::SynAck(node.gossip.digest(), node.gossip.delta(&digest)));
            }
            Datagram::SynAck(digest, delta) => {
                node.gossip.beat();
                node.gossip.see(&digest, now);
                node.gossip.merge(&delta);
                answer = Some(Datagram::Ack(node.gossip.delta(&digest)));
            }
            Datagram::Ack(delta) => node.gossip.merge(&delta),
            Datagram::Detector(bytes) => {
                let message = Message::decode(&bytes).expect("what was encoded is decoded");
                actions.extend(node.detector.message(&self.names[from], message, at));
            }
        }
        if let Some(answer) = answer {
            self.send(to, from, answer);
        }
        self.perform(to, actions);
    }

    fn round(&mut self, node: usize) {
        self.nodes[node].gossip.beat();
        for partner in self.nodes[node].gossip.partners(self.now, &mut self.dice) {
            let digest = self.nodes[node].gossip.digest();
            self.send(node, partner, Datagram::Syn(digest));
        }
        self.queue.push(self.now + INTERVAL, Next::Round(node, self.nodes[node].generation));
    }

    /// What the shell does: tell how far gossip has come, then tick.
    fn tick(&mut self, index: usize) {
        let at = mono(self.now);
        let node = &mut self.nodes[index];
        let mut actions = Vec::new();
        for member in (0..self.names.len()).filter(|member| *member != index) {
            let (progress, version) = (node.gossip.progress(member), node.gossip.version(member));
            let (told_progress, told_version) = node.told[member];
            if progress > told_progress {
                let Progress { generation, heartbeat } = progress;
                actions.extend(node.detector.heartbeat(&self.names[member], generation, heartbeat, at));
            }
            // What a life says that the detector does not know yet waits for its first heartbeat.
            let is_known = version.generation <= progress.generation;
            if version > told_version && is_known {
                let evidence = Evidence::decode(&node.gossip.value(member).evidence).unwrap_or_default();
                actions.extend(node.detector.evidence(&self.names[member], &evidence, at));
            }
            node.told[member] = (progress, if is_known { version } else { told_version });
        }
        actions.extend(node.detector.tick(at));
        self.perform(index, actions);
        self.queue.push(self.now + TICK, Next::Tick(index, self.nodes[index].generation));
    }

    fn perform(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { to, message } => self.send(node, index(&to), Datagram::Detector(message.encode())),
                Action::Publish(evidence) => {
                    self.nodes[node].gossip.publish(|value| value.evidence = evidence.encode().into());
                }
                Action::Gossip { with } => {
                    let digest = self.nodes[node].gossip.digest();
                    self.send(node, index(&with), Datagram::Syn(digest));
                }
                Action::Event(event) => self.seen.push(Seen { at: self.now, observer: node, event }),
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, datagram: Datagram) {
        self.sent += 1;
        if let Some(delay) = self.network.carry(from, to, &mut self.dice) {
            self.queue.push(self.now + delay, Next::Arrive { from, to, datagram });
        }
    }

    /// Which of `members` every one of `observers` holds in `state`.
    pub fn agreed(&self, observers: &BTreeSet<usize>, member: usize, state: State) -> bool {
        observers.iter().filter(|observer| **observer != member).all(|node| self.state(*node, member) == Some(state))
    }
}

pub(crate) fn mono(micros: u64) -> MonoTime {
    MonoTime::new(Duration::from_micros(micros))
}

fn name(index: usize) -> NodeName {
    format!("n{index}").parse().expect("a valid name")
}

fn index(name: &NodeName) -> usize {
    name[1..].parse().expect("a name made by `name`")
}
