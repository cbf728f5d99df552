//! The task that drives the rest: time, messages and gossip go into the detector, its actions come out, readers get views.
//!
//! It is the only one that knows the detector and the present life of chitchat. When that life ends, it begins the next one
//! under a newer generation, with everything that this node publishes; others see a restart.
//!
//! Time is monotonic throughout; the wall clock is only shown. A process that was paused hands the detector a late tick, and
//! the detector judges nobody for what it did not hear meanwhile.

mod lives;
mod observe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::seq::IteratorRandom;
use rollcall_health::detector::{self, Action, Detector, Event, Message, State, TICK};
use rollcall_types::{MonoTime, NodeName, UnixMillis};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::clock::{Clock, unix_now};
use crate::error::Error;
use crate::events::{MemberEvent, log};
use crate::generation::GenerationFile;
use crate::membership::{EVIDENCE_KEY, LEFT_KEY, Meta};
use crate::metrics;
use crate::publish::Published;
use crate::scan::Progress;
use crate::seal::Kind;
use crate::seeds::Resolved;
use crate::transport::{Life, Lives};
use crate::values::{Update, Values};
use crate::view::MembershipView;
use crate::wire::{Notice, Wire};

/// Least time between two readings of chitchat's state. It bounds the cost of a burst, and adds as much to the time that a
/// value takes from one member to another.
const SCAN_INTERVAL: Duration = Duration::from_millis(25);
/// Between two rounds with seeds: while nobody is known, and after.
const LONELY_SEED_INTERVAL: Duration = Duration::from_millis(200);
const SEED_INTERVAL: Duration = Duration::from_secs(1);
/// Seeds that a round begins with at most.
const SEEDS_PER_ROUND: usize = 3;
/// Members told at once of a leave, or asked at once after a life of chitchat began.
const ROUNDS_AT_ONCE: usize = 8;
/// Rounds that begin at once with news: each hop that need not wait for the next round saves half of an interval on average.
/// Suspicions never wait. Values wait when there was news within [`PUSH_INTERVAL`], so a node that publishes all the time
/// costs no more than its rounds.
const ROUNDS_OF_NEWS: usize = 3;
const PUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Before chitchat is started again, doubled each time that its life was shorter than [`REVIVE_WAIT_MAX`].
const REVIVE_WAIT_MIN: Duration = Duration::from_millis(100);
const REVIVE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Time that a new life of chitchat gets to learn again what the last one knew.
const SETTLE: Duration = Duration::from_secs(10);
/// Least time between two generations taken because another process with this name stood in the way.
const OUTBID_INTERVAL: Duration = Duration::from_secs(10);
/// Time after the last word of a newer process with this name in which it is still shown.
const OUTRANKED_SHOWN: Duration = Duration::from_secs(30);

/// What readers and the shell share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) view: ArcSwap<MembershipView>,
    pub(crate) values: ArcSwap<Values>,
    pub(crate) events: broadcast::Sender<MemberEvent>,
    pub(crate) updates: broadcast::Sender<Update>,
    pub(crate) published: Published,
}

/// What the caller chose and may change at any time.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Whom the caller holds as members, at most [`MEMBERS_MAX`](detector::MEMBERS_MAX): they are never forgotten.
    pub(crate) members: ArcSwap<BTreeSet<NodeName>>,
    /// What this node says of itself.
    pub(crate) meta: ArcSwap<Meta>,
}

/// What a caller asks of the shell.
#[derive(Debug)]
pub(crate) enum Command {
    /// Tell the others that this node leaves.
    Leave,
}

/// Where messages for the shell come from.
pub(crate) struct Inboxes {
    pub(crate) messages: mpsc::Receiver<(NodeName, Message)>,
    pub(crate) notices: mpsc::Receiver<Notice>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) progress: Arc<Notify>,
}

/// What the shell knows of a member beside what the detector does.
#[derive(Debug)]
struct Known {
    address: SocketAddr,
    /// How far its values were read; `None` when gossip knows them no longer.
    progress: Option<Progress>,
    /// The caller holds it as a member, or did so once.
    was_member: bool,
    meta: Option<Arc<Meta>>,
    /// Since when it is in its state, by both clocks.
    since: (MonoTime, UnixMillis),
    /// The last round-trip time that was counted.
    rtt: Option<Duration>,
}

type Ended = Pin<Box<dyn Future<Output = String> + Send>>;

pub(crate) struct Shell {
    shared: Arc<Shared>,
    chosen: Arc<Chosen>,
    wire: Arc<Wire>,
    lives: Lives,
    generations: Arc<GenerationFile>,
    seeds: Arc<Resolved>,
    me: NodeName,
    generation: u64,
    patience: Duration,
    detector: Detector,
    known: BTreeMap<NodeName, Known>,
    started: (MonoTime, UnixMillis),
    life: Option<Life>,
    ended: Ended,
    life_began: Instant,
    revive_wait: Duration,
    revive_at: Option<Instant>,
    seeds_asked: Instant,
    scanned: Instant,
    /// What this node has to tell must not wait for the next round.
    is_urgent: bool,
    /// Events that the view does not show yet.
    untold: Vec<Event>,
    /// When news was last not left to the next round.
    pushed: Instant,
    /// Of chitchat's state when it was last read.
    fingerprint: u64,
    sequence: u64,
    /// A newer process with our name, and when it was last told of.
    outranked: Option<(u64, Instant)>,
    /// An older process with our name, by its generation, while gossip remembers it.
    rival: Option<u64>,
    outbid: Option<Instant>,
}

/// What the shell is made of.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) chosen: Arc<Chosen>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) lives: Lives,
    pub(crate) generations: Arc<GenerationFile>,
    pub(crate) seeds: Arc<Resolved>,
    pub(crate) detector: detector::Options,
}

impl Shell {
    /// Begins the first life.
    pub(crate) async fn start(parts: Parts) -> Result<Self, Error> {
        let Parts { shared, chosen, wire, lives, generations, seeds, detector: options } = parts;
        let sender = wire.seal.sender();
        let (me, generation) = (sender.name.clone(), sender.generation);
        let (now, instant) = (shared.clock.now(), Instant::now());
        let mut shell = Self {
            detector: Detector::new(me.clone(), generation, options, rand::random(), now),
            patience: options.silence,
            me,
            generation,
            known: BTreeMap::new(),
            started: (now, unix_now()),
            life: None,
            ended: Box::pin(std::future::pending()),
            life_began: instant,
            revive_wait: REVIVE_WAIT_MIN,
            revive_at: None,
            seeds_asked: instant,
            scanned: instant,
            is_urgent: false,
            untold: Vec::new(),
            pushed: instant,
            fingerprint: 0,
            sequence: 0,
            outranked: None,
            rival: None,
            outbid: None,
            shared,
            chosen,
            wire,
            lives,
            generations,
            seeds,
        };
        shell.begin_life().await.map_err(|error| Error::TaskLost { task: "chitchat", reason: error.to_string() })?;
        shell.show();
        Ok(shell)
    }

    /// Runs until the node shuts down.
    pub(crate) async fn run(mut self, mut inboxes: Inboxes, shutdown: CancellationToken) {
        let shared = self.shared.clone();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut scan_at = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                // Time passes.
                _ = tick.tick() => self.tick().await,
                // A detector speaks straight to ours.
                Some((from, message)) = inboxes.messages.recv() => {
                    let actions = self.detector.message(&from, message, shared.clock.now());
                    self.perform(actions);
                }
                // The wire met somebody.
                Some(notice) = inboxes.notices.recv() => self.heed(notice).await,
                // chitchat has done something; look at it soon, once for many.
                () = inboxes.progress.notified(), if scan_at.is_none() => scan_at = Some(self.scanned + SCAN_INTERVAL),
                () = sleep_until(scan_at.unwrap_or(self.scanned)), if scan_at.is_some() => {
                    scan_at = None;
                    self.look().await;
                }
                // This node has something to say.
                () = shared.published.changed.notified() => self.tell().await,
                Some(Command::Leave) = inboxes.commands.recv() => self.leave().await,
                // chitchat's life ended, or the next one is due.
                reason = &mut self.ended => self.mourn(&reason),
                () = sleep_until(self.revive_at.unwrap_or(self.scanned)), if self.revive_at.is_some() => {
                    self.revive(0).await;
                }
            }
            if !self.untold.is_empty() {
                self.show();
            }
        }
        if let Some(life) = self.life.take() {
            life.end().await;
        }
    }

    async fn tick(&mut self) {
        for name in self.wire.take_heard() {
            let actions = self.detector.heard(&name, self.shared.clock.now());
            self.perform(actions);
        }
        self.observe().await;
        let actions = self.detector.tick(self.shared.clock.now());
        self.perform(actions);
        self.ask_seeds();
        self.show();
    }

    /// Does what the detector asks for. Events wait for [`Self::show`].
    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { to, message } => {
                    if let Some(known) = self.known.get(&to) {
                        self.wire.send(known.address, Kind::Detector, &message.encode());
                    }
                }
                Action::Publish(evidence) => {
                    self.shared.published.put(EVIDENCE_KEY, &evidence.encode());
                    self.is_urgent = true;
                }
                Action::Gossip { with } => {
                    if let (Some(known), Some(life)) = (self.known.get(&with), &self.life) {
                        life.gossip(known.address);
                    }
                }
                Action::Event(event) => {
                    if let Event::NameShared { member, older, newer } = &event
                        && (member, newer) == (&self.me, &self.generation)
                    {
                        self.rival = Some(*older);
                    }
                    self.untold.push(event);
                }
            }
        }
    }

    /// Tells logs, metrics and subscribers.
    fn note(&mut self, event: Event) {
        match &event {
            Event::Changed { from, to, .. } => metrics::became(*from, *to),
            Event::Accused { .. } => metrics::accused(),
            Event::Stalled { late } => metrics::stalled(*late),
            _ => {}
        }
        log(&event, &self.me);
        self.sequence += 1;
        // Fails when nobody listens.
        let _ = self.shared.events.send(MemberEvent { sequence: self.sequence, at: unix_now(), event });
    }

    /// Gossips with seeds that are no living member: with some at once while nobody is known, now and then later, which heals
    /// a split in which each side forgot the other.
    fn ask_seeds(&mut self) {
        let Some(life) = &self.life else { return };
        let present: BTreeSet<_> = self
            .detector
            .members()
            .filter(|member| member.state == State::Alive)
            .filter_map(|member| self.known.get(&member.name).map(|known| known.address))
            .collect();
        let wait = if present.is_empty() { LONELY_SEED_INTERVAL } else { SEED_INTERVAL };
        if self.seeds_asked.elapsed() < wait {
            return;
        }
        self.seeds_asked = Instant::now();
        let own = self.wire.seal.sender().address;
        let seeds = self.seeds.load();
        let strange = seeds.iter().filter(|seed| **seed != own && !present.contains(*seed)).copied();
        for seed in strange.sample(&mut rand::rng(), SEEDS_PER_ROUND) {
            life.gossip(seed);
        }
    }

    /// Brings to chitchat what this node publishes and has not told yet.
    async fn tell(&mut self) {
        let Some(life) = &self.life else { return };
        let mut chitchat = life.chitchat.lock().await;
        let own = chitchat.self_node_state();
        for (key, value) in self.shared.published.take_changes() {
            match value {
                Some(value) => own.set(key, value),
                None if own.contains_key(&key) => own.delete(&key),
                None => {}
            }
        }
        drop(chitchat);
        if std::mem::take(&mut self.is_urgent) || self.pushed.elapsed() >= PUSH_INTERVAL {
            self.pushed = Instant::now();
            self.gossip_with_some(ROUNDS_OF_NEWS);
        }
    }

    async fn leave(&mut self) {
        self.shared.published.put(LEFT_KEY, "1");
        self.tell().await;
        self.gossip_with_some(ROUNDS_AT_ONCE);
        info!("this node tells the others that it leaves");
    }

    /// Starts rounds with so many members that are not known to be gone.
    fn gossip_with_some(&self, rounds: usize) {
        let Some(life) = &self.life else { return };
        let is_present = |name: &NodeName| {
            self.detector.member(name).is_some_and(|member| matches!(member.state, State::Alive | State::Suspect))
        };
        let others = self.known.iter().filter(|(name, _)| is_present(name)).map(|(_, known)| known.address);
        for address in others.sample(&mut rand::rng(), rounds) {
            life.gossip(address);
        }
    }
}
