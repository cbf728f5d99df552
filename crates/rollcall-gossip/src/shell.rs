//! The task that drives the rest: time, messages and gossip go into the detector, its actions come out, readers get views.
//!
//! It is the only one that knows the detector and the present life of chitchat. When that life ends, it begins the next one
//! under a newer generation, with everything that this node publishes; others see a restart.
//!
//! Time is monotonic throughout; the wall clock is only shown. A process that was paused hands the detector a late tick, and
//! the detector judges nobody for what it did not hear meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rand::seq::IteratorRandom;
use rollcall_health::detector::{self, Action, Detector, Event, Evidence, Heard, Message, State, TICK};
use rollcall_types::{MonoTime, NodeName, UnixMillis};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::error::Error;
use crate::events::MemberEvent;
use crate::generation::GenerationFile;
use crate::membership::{EVIDENCE_KEY, LEFT_KEY, META_KEY, Meta};
use crate::metrics;
use crate::publish::Published;
use crate::scan::{Newest, Progress, Scan, fingerprint, scan};
use crate::seal::Kind;
use crate::seeds::Resolved;
use crate::transport::{Life, Lives};
use crate::values::{Change, Update, Values, is_public};
use crate::view::{Member, MembershipView};
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
/// Rounds that begin at once when this node came to suspect somebody, or no longer does: each hop of that news that need not
/// wait for the next round is 100 ms less to a verdict, on average.
const ROUNDS_WITH_EVIDENCE: usize = 3;
/// Before chitchat is started again, doubled each time that its life was shorter than [`REVIVE_WAIT_MAX`].
const REVIVE_WAIT_MIN: Duration = Duration::from_millis(100);
const REVIVE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Time that a new life of chitchat gets to learn again what the last one knew.
const SETTLE: Duration = Duration::from_secs(10);
/// Least time between two generations taken because another process with this name stood in the way.
const OUTBID_INTERVAL: Duration = Duration::from_secs(10);
/// Time after the last word of a newer process with this name in which it is still shown.
const OUTRANKED_SHOWN: Duration = Duration::from_secs(30);

/// Readings of the monotonic clock since the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(self) -> MonoTime {
        MonoTime::new(self.origin.elapsed())
    }
}

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
    progress: Progress,
    meta: Option<Arc<Meta>>,
    /// Since when it is in its state, by both clocks.
    since: (MonoTime, UnixMillis),
    /// The last round-trip time that was counted.
    rtt: Option<Duration>,
}

type Ended = Pin<Box<dyn Future<Output = String> + Send>>;

pub(crate) struct Shell {
    shared: Arc<Shared>,
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
    pub(crate) wire: Arc<Wire>,
    pub(crate) lives: Lives,
    pub(crate) generations: Arc<GenerationFile>,
    pub(crate) seeds: Arc<Resolved>,
    pub(crate) detector: detector::Options,
}

impl Shell {
    /// Begins the first life.
    pub(crate) async fn start(parts: Parts) -> Result<Self, Error> {
        let Parts { shared, wire, lives, generations, seeds, detector: options } = parts;
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
            fingerprint: 0,
            sequence: 0,
            outranked: None,
            rival: None,
            outbid: None,
            shared,
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

    /// Reads chitchat's state if it changed. Heartbeats always do; they are read with the next tick.
    async fn look(&mut self) {
        self.scanned = Instant::now();
        let Some(life) = &self.life else { return };
        let fingerprint = fingerprint(&*life.chitchat.lock().await);
        if fingerprint != self.fingerprint {
            self.observe().await;
        }
    }

    /// Brings what chitchat knows to the detector, the readers and the wire.
    async fn observe(&mut self) {
        self.scanned = Instant::now();
        let Some(life) = &self.life else { return };
        let values = self.shared.values.load();
        let known = |name: &NodeName| self.known.get(name).map(|known| known.progress);
        let chitchat = life.chitchat.lock().await;
        self.fingerprint = fingerprint(&chitchat);
        let Scan { lives, newest } = scan(&chitchat, known, &values);
        drop(chitchat);
        for (name, heard) in &lives {
            let Heard { generation, heartbeat } = *heard;
            let actions = self.detector.heartbeat(name, generation, heartbeat, self.shared.clock.now());
            self.perform(actions);
        }
        if let Some(rival) = self.rival {
            let is_remembered = lives.iter().any(|(name, heard)| *name == self.me && heard.generation == rival);
            self.rival = is_remembered.then_some(rival);
        }
        self.follow(newest, &values);
    }

    /// Takes in the newest life of each member, and lets go of those that gossip forgot.
    fn follow(&mut self, newest: BTreeMap<NodeName, Newest>, values: &Values) {
        let mut next: Option<Values> = None;
        // A new life of chitchat knows nobody and learns anew; what the last one knew is not forgotten for that.
        let is_settled = self.life_began.elapsed() >= SETTLE;
        let is_gone = |name: &NodeName| is_settled && !newest.contains_key(name);
        let forgotten: Vec<_> = self.known.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in &forgotten {
            self.known.remove(name);
            self.detector.forget(name);
            if let Some(gone) = next.get_or_insert_with(|| values.clone()).0.remove(name) {
                self.publish_updates(name, gone.generation, gone.vanish());
            }
        }
        let mut has_moved = !forgotten.is_empty();
        for (name, Newest { address, progress, news }) in newest {
            let since = self.started;
            let known = self.known.entry(name.clone()).or_insert_with(|| {
                has_moved = true;
                Known { address, progress, meta: None, since, rtt: None }
            });
            if !is_settled && progress.is_behind(known.progress) {
                continue;
            }
            has_moved |= known.address != address;
            known.address = address;
            known.progress = progress;
            let Some((all, changes)) = news else { continue };
            known.meta = match all.get(META_KEY) {
                Some(text) => Meta::decode(text).map(Arc::new),
                None => None,
            };
            next.get_or_insert_with(|| values.clone()).0.insert(name.clone(), all);
            self.heed_changes(&name, progress.generation, changes);
        }
        if let Some(next) = next {
            self.shared.values.store(Arc::new(next));
        }
        if has_moved {
            let names = self.known.iter().map(|(name, known)| (known.address, name.clone()));
            self.wire.set_names(names.collect());
        }
    }

    fn heed_changes(&mut self, name: &NodeName, generation: u64, changes: Vec<Change>) {
        let is_own = *name == self.me;
        for change in changes.iter().filter(|change| !is_public(&change.key) && !is_own) {
            let now = self.shared.clock.now();
            let actions = match (&*change.key, &change.value) {
                (EVIDENCE_KEY, Some(text)) => match Evidence::decode(text) {
                    Ok(evidence) => self.detector.evidence(name, &evidence, now),
                    Err(_) => skip(),
                },
                (EVIDENCE_KEY, None) => self.detector.evidence(name, &Evidence::default(), now),
                (LEFT_KEY, Some(_)) => self.detector.left(name, now),
                (META_KEY, Some(text)) if Meta::decode(text).is_none() => skip(),
                (META_KEY | LEFT_KEY, _) => Vec::new(),
                _ => skip(),
            };
            self.perform(actions);
        }
        self.publish_updates(name, generation, changes);
    }

    fn publish_updates(&self, member: &NodeName, generation: u64, changes: Vec<Change>) {
        for Change { key, version, value } in changes {
            if is_public(&key) {
                // Fails when nobody listens.
                let _ = self.shared.updates.send(Update { member: member.clone(), generation, key, version, value });
            }
        }
    }

    /// Does what the detector asks for.
    fn perform(&mut self, actions: Vec<Action>) {
        let mut has_changed = false;
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
                    self.note(event);
                    has_changed = true;
                }
            }
        }
        if has_changed {
            self.show();
        }
    }

    /// Tells logs, metrics and subscribers.
    fn note(&mut self, event: Event) {
        match &event {
            Event::Changed { from, to, .. } => metrics::became(*from, *to),
            Event::Accused { .. } => metrics::accused(),
            Event::Stalled { late } => metrics::stalled(*late),
            Event::NameShared { member, older, newer } if *member == self.me && *newer == self.generation => {
                self.rival = Some(*older);
            }
            _ => {}
        }
        log(&event, &self.me);
        self.sequence += 1;
        // Fails when nobody listens.
        let _ = self.shared.events.send(MemberEvent { sequence: self.sequence, at: unix_now(), event });
    }

    /// Gives readers a new view.
    fn show(&mut self) {
        let standing = self.detector.standing();
        let mut members = BTreeMap::new();
        for health in self.detector.members() {
            let known = self.known.get_mut(&health.name);
            let (address, meta, since) = match known {
                Some(known) => {
                    if let Some(rtt) = health.rtt.filter(|rtt| known.rtt.replace(*rtt) != Some(*rtt)) {
                        metrics::rtt(rtt);
                    }
                    if known.since.0 != health.since {
                        known.since = (health.since, unix_at(health.since, self.shared.clock));
                    }
                    (Some(known.address), known.meta.clone(), known.since.1)
                }
                None => (None, None, unix_at(health.since, self.shared.clock)),
            };
            members.insert(health.name.clone(), Member { address, meta, since, health });
        }
        members.insert(self.me.clone(), self.own_row(standing.lateness));
        for state in [State::Alive, State::Suspect, State::Dead, State::Left] {
            metrics::members(state, members.values().filter(|member| member.health.state == state).count());
        }
        metrics::isolated(standing.isolated_since.is_some());
        let outranked = self.outranked.filter(|(_, told)| told.elapsed() < OUTRANKED_SHOWN);
        self.shared.view.store(Arc::new(MembershipView {
            this: self.me.clone(),
            generation: self.generation,
            taken_at: self.shared.clock.now(),
            members,
            standing,
            link_faults: self.detector.link_faults(),
            outranked_by: outranked.map(|(generation, _)| generation),
            sealing_key: self.wire.seal.keyring().sealing_key(),
        }));
    }

    fn own_row(&self, lateness: detector::Lateness) -> Member {
        let own = self.known.get(&self.me);
        let health = detector::Member {
            name: self.me.clone(),
            generation: self.generation,
            heartbeat: 0,
            state: State::Alive,
            since: self.started.0,
            cause: detector::Cause::Discovered,
            witnesses: Vec::new(),
            silence: Duration::ZERO,
            patience: self.patience,
            rtt: None,
            lateness,
            flaps: 0,
            rival: self.rival,
            is_unheard: false,
        };
        let meta = own.and_then(|own| own.meta.clone());
        Member { address: Some(self.wire.seal.sender().address), meta, since: self.started.1, health }
    }

    async fn heed(&mut self, notice: Notice) {
        match notice {
            Notice::Proven(address) => {
                if let Some(life) = &self.life {
                    life.gossip(address);
                }
            }
            Notice::Outranked { newest, is_gone } if newest > self.generation => {
                let is_news = self
                    .outranked
                    .is_none_or(|(generation, told)| generation != newest || told.elapsed() >= OUTRANKED_SHOWN);
                self.outranked = Some((newest, Instant::now()));
                let may_outbid = self.outbid.is_none_or(|at| at.elapsed() >= OUTBID_INTERVAL);
                if is_gone && may_outbid {
                    warn!(
                        "the others remember a newer life of this node that is gone (generation {newest}, this one is {}); \
                         taking a newer generation",
                        self.generation
                    );
                    self.outbid = Some(Instant::now());
                    if let Some(life) = self.life.take() {
                        life.end().await;
                    }
                    self.revive(newest).await;
                } else if is_news {
                    error!(
                        "another process has this node's name '{}' and is newer (generation {newest}, this one is {}): the \
                         others refuse this one; stop one of them, or give it a name of its own",
                        self.me, self.generation
                    );
                }
            }
            Notice::Outranked { .. } => {}
        }
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
        if std::mem::take(&mut self.is_urgent) {
            self.gossip_with_some(ROUNDS_WITH_EVIDENCE);
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

    async fn begin_life(&mut self) -> anyhow::Result<()> {
        let life = self.lives.begin(self.shared.published.take_all()).await?;
        self.ended = Box::pin(life.ended());
        self.life = Some(life);
        self.life_began = Instant::now();
        self.revive_at = None;
        self.gossip_with_some(ROUNDS_AT_ONCE);
        Ok(())
    }

    /// The present life ended by itself.
    fn mourn(&mut self, reason: &str) {
        self.life = None;
        self.ended = Box::pin(std::future::pending());
        metrics::restarted();
        let was_short = self.life_began.elapsed() < REVIVE_WAIT_MAX;
        self.revive_wait = if was_short { (self.revive_wait * 2).min(REVIVE_WAIT_MAX) } else { REVIVE_WAIT_MIN };
        self.revive_at = Some(Instant::now() + self.revive_wait);
        error!(error = reason, "gossip ended, which is a defect: {reason}; it begins again in {:?}", self.revive_wait);
    }

    /// Begins the next life, under a generation above `floor`.
    async fn revive(&mut self, floor: u64) {
        let generations = self.generations.clone();
        let floor = floor.max(self.generation);
        let taken = tokio::task::spawn_blocking(move || generations.take(floor)).await;
        let begun = match taken {
            Ok(Ok(generation)) => {
                self.generation = generation;
                self.wire.seal.set_generation(generation);
                self.detector.renew(generation);
                self.rival = None;
                self.begin_life().await
            }
            Ok(Err(error)) => Err(error.into()),
            Err(panic) => Err(panic.into()),
        };
        match begun {
            Ok(()) => info!("gossip goes on with generation {}", self.generation),
            Err(error) => {
                self.revive_wait = (self.revive_wait * 2).min(REVIVE_WAIT_MAX);
                self.revive_at = Some(Instant::now() + self.revive_wait);
                error!(error = %error, "gossip cannot begin again: {error:#}; next attempt in {:?}", self.revive_wait);
            }
        }
    }
}

/// A value of this crate's own that makes no sense to it.
fn skip() -> Vec<Action> {
    metrics::value_skipped();
    Vec::new()
}

fn unix_now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The wall-clock time of a reading, as seen from now.
fn unix_at(reading: MonoTime, clock: Clock) -> UnixMillis {
    let ago = clock.now().since(reading).as_millis();
    UnixMillis::new(unix_now().get().saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX)))
}

fn log(event: &Event, me: &NodeName) {
    match event {
        Event::Changed { member, from: None, to, .. } => info!(peer.id = %member, "node {member} is {to}"),
        Event::Changed { member, from: Some(from), to, cause, .. } => {
            info!(peer.id = %member, %from, %to, "node {member} went from {from} to {to}: {}", cause.phrase());
        }
        Event::Stalled { late } => warn!("this process was not run for {late:?}; it judges no other node for a while"),
        Event::Isolated => warn!("more than half of the nodes fell silent at once: this node seems to be cut off"),
        Event::Reconnected => info!("this node hears the others again"),
        Event::LinkFault(link) => {
            warn!("nothing that node {} sends reaches node {}, though others hear it", link.from, link.to);
        }
        Event::LinkRepaired(link) => info!("node {} hears node {} again", link.to, link.from),
        Event::Accused { by } => warn!(peer.id = %by, "node {by} does not hear this node"),
        Event::NameShared { member, older, newer } if member == me => warn!(
            "two processes use this node's name '{member}': generations {older} and {newer}; the newer is the member"
        ),
        Event::NameShared { member, older, newer } => warn!(
            peer.id = %member,
            "two processes use the name '{member}': generations {older} and {newer}; the newer is the member"
        ),
    }
}
