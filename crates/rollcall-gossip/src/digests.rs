//! Health digests through gossip: what this node observes goes out, what all observe comes in.
//!
//! ```text
//! prober → Digests::observe → Publisher ── once per gossip interval ──► values under `h/` → others
//! reader ← Digests::view ← HealthView ◄── changes of values, states of members ── gossip ◄─ all, this node too
//! ```
//! This node's own digests come in the way all others do, through gossip, so that a reader sees what the rest of the
//! cluster sees, and no more. A new life of gossip publishes again what is published, by itself.
//!
//! **Whose evidence counts**: that of a member which is alive or suspected, in the generation in which it is known, and which
//! was heard within [`SILENT_INTERVALS`](rollcall_health::detector::SILENT_INTERVALS) of the detector's silences. All other reads as
//! unknown.
//! - Heard means that its heartbeat advanced. What others tell of a member is no sign that it lives: for ten minutes they tell of
//!   the dead as well, and a node that starts would believe their last words until it holds them for dead.
//! - Suspicion is no verdict. If it voided evidence, one lost datagram too many would blank out thousands of instances; it
//!   ends in a death or is refuted within about a second.
//! - The bound on silence is for when no verdict comes: on a node that is cut off, which judges nobody, and about a member
//!   that flaps, with which the detector is patient.
//!
//! Digests come in two kinds that never mix: what probers see (`h/`), and who hears the heartbeats of leases (`l/`). If they
//! shared values, a prober that sees an instance pass would keep alive a lease that nobody renews.
//!
//! A value in the place of a digest that is none is refused, and counted by reason. It voids what its writer said about that chunk
//! before and changes nothing else.
//!
//! **Limits.** A node publishes at most [`KEYS_MAX`](crate::KEYS_MAX) values of
//! [`TOTAL_BYTES_MAX`](crate::TOTAL_BYTES_MAX) bytes, digests and all else. What finds no room is refused, counted and
//! logged, and what was published before about that chunk is taken back, so that it reads as unknown and never as it once
//! was; it is published as soon as there is room. 100,000
//! instances on 10 nodes, two observers for each chunk, are 313 values of 360 bytes from each node; a node that is alone with
//! them publishes 1,563. Observers that were chosen for each instance by itself would each write about every chunk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rollcall_health::detector::TICK;
use rollcall_health::{
    ChunkId, Digest, DigestKind, Freshness, HealthView, Observation, Observer, Publication, Publisher, Slot, Tenancy,
};
use rollcall_types::NodeName;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::error::Error;
use crate::metrics;
use crate::shell::Shared;
use crate::values::Update;
use crate::view::MembershipView;

/// Digests of one kind through gossip. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Digests {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: DigestKind,
    shared: Arc<Shared>,
    publishing: Mutex<Publishing>,
    view: ArcSwap<HealthView>,
    /// Told after a new view is there.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Publishing {
    publisher: Publisher,
    /// What is to be published and found no room yet.
    unpublished: BTreeMap<ChunkId, Digest>,
}

impl Digests {
    pub(crate) fn new(kind: DigestKind, shared: Arc<Shared>) -> Self {
        let (publishing, view) = (Mutex::default(), ArcSwap::default());
        Self { inner: Arc::new(Inner { kind, shared, publishing, view, changed: watch::Sender::new(()) }) }
    }

    /// Says what this node sees of an instance. It is published within a gossip interval, if it is news, and withdrawn after
    /// `valid_for`, three check intervals, unless it is said again. The last call about a slot decides whose it is.
    ///
    /// # Errors
    /// [`Error::TooMuch`] while the digest of its chunk finds no room. The observation is held all the same.
    pub fn observe(
        &self,
        slot: Slot,
        tenancy: Tenancy,
        observation: Observation,
        valid_for: Duration,
    ) -> Result<(), Error> {
        let mut publishing = self.inner.publishing();
        publishing.publisher.observe(slot, tenancy, observation, valid_for, self.inner.shared.clock.now());
        if publishing.unpublished.contains_key(&slot.chunk()) { Err(Error::TooMuch) } else { Ok(()) }
    }

    /// Takes back what this node said of an instance: it is gone, or others watch it now.
    pub fn withdraw(&self, slot: Slot, tenancy: Tenancy) {
        self.inner.publishing().publisher.withdraw(slot, tenancy, self.inner.shared.clock.now());
    }

    /// What all observers say, this node among them: one atomic load.
    pub fn view(&self) -> Arc<HealthView> {
        self.inner.view.load_full()
    }

    /// Told when [`Self::view`] is another one; many changes at once are told once.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.inner.changed.subscribe()
    }

    /// Publishes and receives for as long as it is run. `updates` must have begun before gossip did. `silence` is the
    /// detector's.
    pub(crate) async fn run(
        self,
        mut updates: broadcast::Receiver<Update>,
        gossip_interval: Duration,
        silence: Duration,
    ) -> String {
        let [mut publish, mut look] = [gossip_interval, TICK].map(interval);
        publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut receiver = Receiver::new(self.inner.clone(), silence);
        loop {
            tokio::select! {
                // What was observed since goes out.
                _ = publish.tick() => self.inner.publish(),
                // What others say, all of it that is there, comes in.
                update = updates.recv() => match update {
                    Ok(update) => receiver.take_in(update, &mut updates),
                    Err(RecvError::Lagged(_)) => receiver.begin_anew(),
                    Err(RecvError::Closed) => return "gossip has ended".to_owned(),
                },
                // Whose word counts is looked at as often as the detector judges.
                _ = look.tick() => receiver.look(&self.inner.shared.view.load()),
            }
            receiver.show();
        }
    }
}

impl Inner {
    fn publishing(&self) -> MutexGuard<'_, Publishing> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self) {
        let published = &self.shared.published;
        let mut publishing = self.publishing();
        let was_full = !publishing.unpublished.is_empty();
        for publication in publishing.publisher.tick(self.shared.clock.now()) {
            match publication {
                Publication::Put { chunk, digest } => {
                    publishing.unpublished.insert(chunk, digest);
                }
                Publication::Delete { chunk } => {
                    publishing.unpublished.remove(&chunk);
                    published.remove(&chunk.key(self.kind));
                }
            }
        }
        publishing.unpublished.retain(|chunk, digest| {
            let key = chunk.key(self.kind);
            let is_refused = published.set(&key, &digest.encode()).is_err();
            if is_refused {
                published.remove(&key);
            }
            is_refused
        });
        let refused = publishing.unpublished.len();
        drop(publishing);
        metrics::digests_unpublished(self.kind, refused);
        match (was_full, refused > 0) {
            (false, true) => warn!(
                "this node observes more than it may publish: {refused} chunks of instances find no room, and nobody knows \
                 what it sees of them; let more nodes observe"
            ),
            (true, false) => info!("all that this node observes is published again"),
            _ => {}
        }
    }
}

/// The one writer of the view.
struct Receiver {
    inner: Arc<Inner>,
    view: HealthView,
    /// What was last said about each member.
    marked: BTreeMap<NodeName, (u64, Freshness)>,
    silence: Duration,
    /// The view that readers have is older than this one.
    has_news: bool,
}

impl Receiver {
    fn new(inner: Arc<Inner>, silence: Duration) -> Self {
        Self { inner, view: HealthView::new(), marked: BTreeMap::new(), silence, has_news: false }
    }

    /// Takes in a change and all that wait behind it.
    fn take_in(&mut self, update: Update, updates: &mut broadcast::Receiver<Update>) {
        let mut next = Ok(update);
        loop {
            match next {
                Ok(Update { member, generation, key, version, value }) => {
                    self.receive(member, generation, &key, version, value.as_deref());
                }
                Err(TryRecvError::Lagged(_)) => self.begin_anew(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
            next = updates.try_recv();
        }
    }

    fn receive(&mut self, member: NodeName, generation: u64, key: &str, version: u64, text: Option<&str>) {
        let kind = self.inner.kind;
        if !key.starts_with(kind.prefix()) {
            return;
        }
        let Some(chunk) = ChunkId::from_key(kind, key) else { return metrics::digest_refused("no_chunk") };
        let observer = Observer { name: member, generation };
        // Who takes something back does so in a version of its own. This was lost with all that gossip knew of the member.
        if text.is_none() && self.view.lose(&observer, chunk, version) {
            self.has_news = true;
            return;
        }
        match self.view.receive(observer, chunk, version, text, self.inner.shared.clock.now()) {
            Ok(has_changed) => self.has_news |= has_changed,
            Err(refused) => {
                metrics::digest_refused(refused.reason());
                // Of what is unreadable, what was there before is dropped.
                self.has_news = true;
            }
        }
    }

    /// Reads everything there is, and forgets what there was: among the changes that were missed may be removals.
    fn begin_anew(&mut self) {
        self.view = HealthView::new();
        self.marked.clear();
        self.receive_all();
        self.look(&self.inner.shared.view.load_full());
        self.has_news = true;
    }

    fn receive_all(&mut self) {
        for value in self.inner.shared.values.load_full().with_prefix(self.inner.kind.prefix()) {
            self.receive(value.member, value.generation, &value.key, value.version, Some(&value.value));
        }
    }

    /// Finds out whose evidence counts, and forgets who was forgotten.
    fn look(&mut self, members: &MembershipView) {
        let mut marked = BTreeMap::new();
        for (name, member) in &members.members {
            let mark = (member.health.generation, member.health.freshness(self.silence));
            if self.marked.get(name) != Some(&mark) {
                let observer = Observer { name: name.clone(), generation: mark.0 };
                if let Err(refused) = self.view.mark_observer(&observer, mark.1) {
                    metrics::digest_refused(refused.reason());
                }
                self.has_news = true;
            }
            marked.insert(name.clone(), mark);
        }
        let before = std::mem::replace(&mut self.marked, marked);
        let forgotten: Vec<_> = before.keys().filter(|name| !self.marked.contains_key(*name)).collect();
        if !forgotten.is_empty() {
            forgotten.into_iter().for_each(|name| self.view.remove_observer(name));
            // One that came back since is in the values and not yet among the members.
            self.receive_all();
            self.has_news = true;
        }
    }

    /// Gives readers the view if it is another one.
    fn show(&mut self) {
        if std::mem::take(&mut self.has_news) {
            self.inner.view.store(Arc::new(self.view.clone()));
            metrics::digests(self.inner.kind, self.view.digest_count());
            self.inner.changed.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests;
