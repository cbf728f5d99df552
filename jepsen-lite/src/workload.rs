//! What clients do: one generator per workload.
//!
//! Every choice follows from the seed and the client's number; which operation meets which fault does not, since real time
//! decides that. A client has one operation under way. After one whose outcome nobody knows it goes on under a new number,
//! as the old one may be busy for ever.

mod comings;
mod documents;
pub(crate) mod health;
pub(crate) mod leases;
pub(crate) mod locks;
mod registers;
mod selection;
mod set;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

use crate::client::{Client, Insistence, Place};
use crate::dice::Dice;
use crate::history::{Call, Event, OpId, Outcome, Recorder, Thing};

/// What a client does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) call: Call,
    pub(crate) insistence: Insistence,
}

/// Draws the operations of one client.
pub(crate) trait Generator: Send {
    /// The next operation.
    fn next(&mut self, dice: &mut Dice) -> Step;
    /// Tells how it ended, so that later ones can build on it.
    fn observe(&mut self, op: OpId, call: &Call, outcome: &Outcome);
}

/// A workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Workload {
    Registers,
    Set,
    Documents,
    Leases,
    Locks,
    Selection,
    Health,
}

impl Workload {
    pub(crate) const ALL: &'static [Self] =
        &[Self::Registers, Self::Set, Self::Documents, Self::Leases, Self::Locks, Self::Selection, Self::Health];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Registers => "registers",
            Self::Set => "set",
            Self::Documents => "documents",
            Self::Leases => "leases",
            Self::Locks => "locks",
            Self::Selection => "selection",
            Self::Health => "health",
        }
    }

    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Registers => "put, compare-and-set, remove and read single instances at every consistency",
            Self::Set => "register and deregister many instances, list them; writes are retried and sent twice",
            Self::Documents => "compare-and-set of configuration documents and keys, read-your-writes",
            Self::Leases => "instances kept by heartbeats to any node, some fall silent; states as any node sees them",
            Self::Locks => {
                "contenders for locks, through Consul's API: guarded writes, renewals, holders that fall silent"
            }
            Self::Selection => "register and deregister instances, and ask any node whom of them to send requests to",
            Self::Health => {
                "instances that the harness plays: they fail, recover, are drained; states and picks as any node has them"
            }
        }
    }

    /// Longest quiet time between two faults, milliseconds: what is judged only a while after a fault needs longer ones.
    pub(crate) const fn quiet_max_ms(self) -> u64 {
        match self {
            Self::Leases | Self::Health => 14_000,
            _ => 2_500,
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        match Self::ALL.iter().find(|workload| workload.name() == text) {
            Some(workload) => Ok(*workload),
            None => bail!("there is no workload '{text}'; `jepsen-lite list` shows them"),
        }
    }

    fn generator(self, shared: &Arc<Shared>, client: usize) -> Box<dyn Generator> {
        match self {
            Self::Registers => Box::new(registers::Registers::new(shared.clone())),
            Self::Set => Box::new(set::Set::new(shared.clone(), client)),
            Self::Documents => Box::new(documents::Documents::new(shared.clone())),
            Self::Leases => Box::new(leases::Leases::new(client)),
            Self::Locks => Box::new(locks::Locks::default()),
            Self::Selection => Box::new(selection::Selection::new(shared.clone(), client)),
            Self::Health => Box::new(health::Health::new(shared.clone(), client)),
        }
    }

    /// What to read from every node at the end, when `written` operations were begun.
    pub(crate) fn final_reads(self, begun: u64, per_register: u64) -> Vec<String> {
        match self {
            Self::Registers => registers::services(begun, per_register),
            Self::Set => set::services(begun),
            Self::Documents | Self::Locks | Self::Health => Vec::new(),
            Self::Leases => vec![leases::SERVICE.to_owned()],
            Self::Selection => selection::services(begun),
        }
    }
}

/// What the clients of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) recorder: Arc<Recorder>,
    /// Operations on a register before another one takes its place.
    pub(crate) per_register: u64,
    /// Operations that were begun; what is worked on moves on with it.
    begun: AtomicU64,
    /// Instances that are played now, of all clients.
    played: Mutex<Vec<Thing>>,
}

impl Shared {
    pub(crate) fn new(recorder: Arc<Recorder>, per_register: u64) -> Self {
        Self { recorder, per_register, begun: AtomicU64::new(0), played: Mutex::default() }
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Any of those that are played now.
    fn played(&self, dice: &mut Dice) -> Option<Thing> {
        dice.pick(&self.playing()).cloned()
    }

    fn begin_play(&self, thing: Thing) {
        self.playing().push(thing);
    }

    fn end_play(&self, thing: &Thing) {
        self.playing().retain(|played| played != thing);
    }

    /// All of them.
    pub(crate) fn all_played(&self) -> Vec<Thing> {
        self.playing().clone()
    }

    fn playing(&self) -> MutexGuard<'_, Vec<Thing>> {
        self.played.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client at work, until `stop` is set.
pub(crate) struct Worker {
    pub(crate) number: usize,
    /// Clients in all: a client that is given up goes on as its number plus this.
    pub(crate) clients: usize,
    pub(crate) workload: Workload,
    pub(crate) seed: u64,
    /// The nodes, beginning with the one that this client uses.
    pub(crate) places: Vec<Place>,
    /// Mean pause between two operations.
    pub(crate) pause: Duration,
    pub(crate) client: Client,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Worker {
    pub(crate) async fn run(self) {
        let mut dice = Dice::of_part(self.seed, 1000 + self.number as u64);
        let mut generator = self.workload.generator(&self.shared, self.number);
        let places: Vec<&Place> = self.places.iter().collect();
        let (recorder, mut process) = (&self.shared.recorder, self.number as u64);
        let mut next_at = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let step = generator.next(&mut dice);
            let op = recorder.next_op();
            self.shared.begun.fetch_add(1, Ordering::Relaxed);
            let node = self.places.first().map(|place| place.node.clone()).unwrap_or_default();
            recorder.write(&Event::Invoke { at: recorder.now(), op, client: process, node, call: step.call.clone() });
            let outcome = self.client.run(&places, op, &step.call, step.insistence).await;
            recorder.write(&Event::Return { at: recorder.now(), op, outcome: outcome.clone() });
            generator.observe(op, &step.call, &outcome);
            if matches!(outcome, Outcome::Info { .. }) {
                process += self.clients as u64;
            }
            // A node that is down refuses at once; without a pause its clients would only count refusals.
            let least = if matches!(outcome, Outcome::Fail { revision: None, .. }) { 50 } else { 0 };
            next_at = (next_at + self.pause).max(Instant::now() + Duration::from_millis(least));
            if next_at > Instant::now() {
                sleep(next_at - Instant::now()).await;
            }
        }
    }
}
