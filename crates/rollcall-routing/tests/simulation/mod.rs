//! Fifty clients, ten instances of unequal speed, three nodes to ask: how long requests take under each strategy.
//!
//! In made-up time, from one seed. Clients send, wait for the answer, pause, and send again. An instance works on two requests
//! at once and queues the rest. Nodes learn as they do in earnest: load from heartbeats once a second, performance from the
//! clients' reports, both in an index that is rebuilt ten times a second; between these a node counts its own picks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use rollcall_routing::feedback::{FeedbackTable, Report, ReporterId};
use rollcall_routing::{
    Candidate, LoadReport, Moment, Policy, Query, Random, Scratch, ServiceIndex, Strategy, Tally, resolve,
};
use rollcall_types::{InstanceId, ServiceKey, ServiceName, Status, UnixMillis};

const CLIENTS: usize = 50;
const NODES: usize = 3;
/// Mean time that one request takes at each instance, in milliseconds.
const WORK: [f64; 10] = [10.0, 10.0, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0, 40.0, 40.0];
/// Requests that an instance works on at once.
const WORKERS: u32 = 2;
/// Requests in flight that a service of this kind declares as its most: the queue is a part of it.
const CONCURRENCY: u32 = 10;
/// Mean pause of a client, in milliseconds.
const PAUSE: f64 = 60.0;
const HEARTBEAT: f64 = 1_000.0;
const REBUILD: f64 = 100.0;
/// What is not counted, so that nodes have learned something, in milliseconds.
const WARM_UP: f64 = 5_000.0;
/// Where made-up time begins.
const START: u64 = 1_700_000_000_000;

/// How a strategy did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Requests that were counted.
    pub(crate) requests: usize,
    /// In milliseconds.
    pub(crate) mean: f64,
    /// In milliseconds.
    pub(crate) p50: f64,
    /// In milliseconds.
    pub(crate) p99: f64,
    /// Part of the requests that went to the two slowest.
    pub(crate) slowest: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Rebuild,
    Heartbeat(usize),
    Send(usize),
    Done { instance: usize, client: usize, sent: u64 },
}

#[derive(Debug, Default)]
struct Instance {
    busy: u32,
    queue: VecDeque<(usize, u64)>,
    load: Option<LoadReport>,
}

struct Node {
    index: ServiceIndex,
    tally: Tally,
    rng: Random,
    turn: u64,
}

struct World {
    /// In microseconds.
    now: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    rng: Random,
    policy: Policy,
    instances: Vec<Instance>,
    nodes: Vec<Node>,
    feedback: FeedbackTable,
    scratch: Scratch,
    latencies: Vec<f64>,
    to_slowest: usize,
}

/// Runs `seconds` of made-up time.
pub(crate) fn run(strategy: Strategy, seed: u64, seconds: u64) -> Outcome {
    let mut world = World::new(Policy { strategy, ..Policy::default() }, seed);
    while let Some(Reverse((at, event))) = world.events.pop() {
        if at > seconds * 1_000_000 {
            break;
        }
        world.now = at;
        world.step(event);
    }
    world.outcome()
}

impl World {
    fn new(policy: Policy, seed: u64) -> Self {
        let mut rng = Random::new(seed);
        let nodes = (0..NODES).map(|_| {
            let index = ServiceIndex::build(Vec::new(), policy);
            Node {
                tally: Tally::new(&index, UnixMillis::new(START)),
                index,
                rng: Random::new(rng.bits()),
                turn: rng.bits(),
            }
        });
        let nodes = nodes.collect();
        let mut world = Self {
            now: 0,
            events: BinaryHeap::new(),
            rng,
            policy,
            instances: WORK.iter().map(|_| Instance::default()).collect(),
            nodes,
            feedback: FeedbackTable::default(),
            scratch: Scratch::default(),
            latencies: Vec::new(),
            to_slowest: 0,
        };
        world.after(0.0, Event::Rebuild);
        for instance in 0..WORK.len() {
            let phase = HEARTBEAT * world.rng.unit();
            world.after(phase, Event::Heartbeat(instance));
        }
        for client in 0..CLIENTS {
            let phase = 1.0 + PAUSE * world.rng.unit();
            world.after(phase, Event::Send(client));
        }
        world
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Rebuild => {
                self.rebuild();
                self.after(REBUILD, Event::Rebuild);
            }
            Event::Heartbeat(instance) => {
                let (now, held) = (self.time(), &mut self.instances[instance]);
                let in_flight = held.busy + held.queue.len() as u32;
                held.load = Some(LoadReport { in_flight: Some(in_flight), used: None, at: now });
                self.after(HEARTBEAT, Event::Heartbeat(instance));
            }
            Event::Send(client) => self.send(client),
            Event::Done { instance, client, sent } => self.done(instance, client, sent),
        }
    }

    fn send(&mut self, client: usize) {
        let now = self.time();
        let node = &mut self.nodes[client % NODES];
        let moment = Moment { now, turn: node.turn, tally: Some(&node.tally) };
        let answer = resolve(&node.index, &Query::default(), moment, &mut node.rng, &mut self.scratch);
        let answer = answer.expect("every instance passes");
        node.turn = node.turn.wrapping_add(1);
        node.tally.add(&answer);
        let instance = answer.picks[0].position;
        self.instances[instance].queue.push_back((client, self.now));
        self.work(instance);
    }

    fn done(&mut self, instance: usize, client: usize, sent: u64) {
        let latency = (self.now - sent) as f64 / 1e3;
        let report = Report {
            service: service(),
            instance: id(instance),
            context: None,
            ok: true,
            latency: Duration::from_micros(self.now - sent),
        };
        let now = self.time();
        self.feedback.record(ReporterId(client as u64), &report, now).expect("no client is that fast");
        if self.now as f64 / 1e3 > WARM_UP {
            self.latencies.push(latency);
            self.to_slowest += usize::from(instance >= WORK.len() - 2);
        }
        self.instances[instance].busy -= 1;
        self.work(instance);
        let pause = self.spread(PAUSE);
        self.after(pause, Event::Send(client));
    }

    /// Takes up what is queued while there is a worker.
    fn work(&mut self, instance: usize) {
        while self.instances[instance].busy < WORKERS {
            let Some((client, sent)) = self.instances[instance].queue.pop_front() else { return };
            self.instances[instance].busy += 1;
            let work = self.spread(WORK[instance]);
            self.after(work, Event::Done { instance, client, sent });
        }
    }

    fn rebuild(&mut self) {
        let now = self.time();
        let candidates: Vec<Candidate> = (0..WORK.len())
            .map(|instance| Candidate {
                status: Status::Passing,
                load: self.instances[instance].load,
                max_concurrent: Some(CONCURRENCY),
                performance: self.feedback.performance(&service(), &id(instance)),
                ..Candidate::new(service(), id(instance))
            })
            .collect();
        for node in &mut self.nodes {
            let index = ServiceIndex::build(candidates.clone(), self.policy);
            node.tally = Tally::carried(&index, now, &node.index, &node.tally);
            node.index = index;
        }
    }

    fn outcome(mut self) -> Outcome {
        self.latencies.sort_unstable_by(f64::total_cmp);
        let requests = self.latencies.len();
        let at = |part: f64| self.latencies[((requests - 1) as f64 * part) as usize];
        Outcome {
            requests,
            mean: self.latencies.iter().sum::<f64>() / requests as f64,
            p50: at(0.5),
            p99: at(0.99),
            slowest: self.to_slowest as f64 / requests as f64,
        }
    }

    fn after(&mut self, millis: f64, event: Event) {
        self.events.push(Reverse((self.now + (millis * 1e3) as u64, event)));
    }

    /// A time drawn from the exponential distribution.
    fn spread(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.unit()).ln()
    }

    fn time(&self) -> UnixMillis {
        UnixMillis::new(START + self.now / 1_000)
    }
}

fn service() -> ServiceKey {
    ServiceKey::from(&ServiceName::try_from("orders").expect("a name"))
}

fn id(instance: usize) -> InstanceId {
    InstanceId::try_from(&*format!("i-{instance}")).expect("an id")
}
