//! What goes wrong, and when: two sequences that follow from the seed, one of the network and one of processes.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use turmoil::Sim;

/// Quiet before the first fault: the cluster is founded.
const FIRST_AT: Duration = Duration::from_secs(5);
/// Between two faults of a kind, in milliseconds.
const CALM_MILLIS: std::ops::Range<u64> = 500..5_000;
/// How long the network is broken, in milliseconds.
const BROKEN_MILLIS: std::ops::Range<u64> = 200..9_000;
/// How long a process is away, in milliseconds.
const AWAY_MILLIS: std::ops::Range<u64> = 50..6_000;

/// Something that is wrong until it is mended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    /// What one side sends to the other is lost.
    Partition(Vec<String>, Vec<String>),
    /// The same in one direction.
    OneWay(Vec<String>, Vec<String>),
    /// What one side sends to the other waits until it is mended: TCP that sends again.
    Hold(Vec<String>, Vec<String>),
    /// These processes end without a word, and with them what was not on their disks.
    Crash(Vec<String>),
}

/// One sequence: quiet, broken, quiet.
#[derive(Debug)]
struct Track {
    rng: StdRng,
    present: Option<Fault>,
    /// When it changes.
    next: Duration,
    broken_millis: std::ops::Range<u64>,
}

/// Both sequences.
#[derive(Debug)]
pub(crate) struct Schedule {
    nodes: Vec<String>,
    network: Track,
    processes: Track,
    /// When faults end.
    end: Duration,
    /// What was done, and when.
    pub(crate) log: Vec<String>,
}

impl Track {
    fn new(seed: u64, broken_millis: std::ops::Range<u64>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let next = FIRST_AT + Duration::from_millis(rng.random_range(CALM_MILLIS));
        Self { rng, present: None, next, broken_millis }
    }
}

impl Schedule {
    pub(crate) fn new(seed: u64, nodes: Vec<String>, end: Duration) -> Self {
        let (network, processes) = (Track::new(seed, BROKEN_MILLIS), Track::new(!seed, AWAY_MILLIS));
        Self { nodes, network, processes, end, log: Vec::new() }
    }

    /// Does what is due. After the end everything is mended. `leader` is who leads, as far as is known.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>, leader: Option<&str>) {
        let now = sim.elapsed();
        for is_network in [true, false] {
            let nodes = self.nodes.clone();
            let track = if is_network { &mut self.network } else { &mut self.processes };
            if now < track.next.min(self.end) {
                continue;
            }
            if let Some(fault) = track.present.take() {
                fault.mend(sim);
                track.next = now + Duration::from_millis(track.rng.random_range(CALM_MILLIS));
                self.log.push(format!("{:.3} mended: {fault:?}", now.as_secs_f64()));
            } else if now < self.end {
                let fault = if is_network { cut(&mut track.rng, nodes) } else { crash(&mut track.rng, nodes, leader) };
                fault.begin(sim);
                track.next = now + Duration::from_millis(track.rng.random_range(track.broken_millis.clone()));
                self.log.push(format!("{:.3} {fault:?}", now.as_secs_f64()));
                track.present = Some(fault);
            }
        }
    }
}

fn cut(rng: &mut StdRng, mut nodes: Vec<String>) -> Fault {
    nodes.shuffle(rng);
    let others = nodes.split_off(rng.random_range(1..nodes.len()));
    match rng.random_range(0..4) {
        0 => Fault::Partition(nodes, others),
        1 => Fault::OneWay(nodes, others),
        _ => Fault::Hold(nodes, others),
    }
}

fn crash(rng: &mut StdRng, mut nodes: Vec<String>, leader: Option<&str>) -> Fault {
    match (rng.random_range(0..10), leader) {
        // The whole cluster.
        (0, _) => Fault::Crash(nodes),
        (1..=5, Some(leader)) => Fault::Crash(vec![leader.to_owned()]),
        (6, _) => {
            nodes.shuffle(rng);
            nodes.truncate(nodes.len() / 2 + 1);
            Fault::Crash(nodes)
        }
        _ => Fault::Crash(nodes.choose(rng).into_iter().cloned().collect()),
    }
}

impl Fault {
    fn begin(&self, sim: &mut Sim<'_>) {
        match self {
            Self::Partition(one, other) => each_link(one, other, |a, b| sim.partition(a, b)),
            Self::OneWay(one, other) => each_link(one, other, |a, b| sim.partition_oneway(a, b)),
            Self::Hold(one, other) => each_link(one, other, |a, b| sim.hold(a, b)),
            Self::Crash(nodes) => nodes.iter().for_each(|node| sim.crash(node.as_str())),
        }
    }

    fn mend(&self, sim: &mut Sim<'_>) {
        match self {
            Self::Partition(one, other) => each_link(one, other, |a, b| sim.repair(a, b)),
            Self::OneWay(one, other) => each_link(one, other, |a, b| sim.repair_oneway(a, b)),
            Self::Hold(one, other) => each_link(one, other, |a, b| sim.release(a, b)),
            Self::Crash(nodes) => nodes.iter().for_each(|node| sim.bounce(node.as_str())),
        }
    }
}

fn each_link(one: &[String], other: &[String], mut change: impl FnMut(&str, &str)) {
    for a in one {
        other.iter().for_each(|b| change(a, b));
    }
}
