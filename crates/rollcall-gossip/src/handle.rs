//! The interface: start gossip, look at the members, publish, leave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rollcall_health::detector::MEMBERS_MAX;
use rollcall_health::{DigestKind, HealthView};
use rollcall_types::{MonoTime, NodeName};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::digests::Digests;
use crate::error::Error;
use crate::events::{EVENTS_KEPT, MemberEvent};
use crate::generation::GenerationFile;
use crate::key::Keyring;
use crate::membership::{META_KEY, Meta};
use crate::options::Options;
use crate::publish::Published;
use crate::seal::{Seal, Sender};
use crate::shell::{Chosen, Command, Inboxes, Parts, Shared, Shell};
use crate::streams::{self, Outbound};
use crate::transport::Lives;
use crate::values::{UPDATES_KEPT, Update, Value, Values};
use crate::view::MembershipView;
use crate::wire::{DETECTOR_QUEUE, NOTICE_QUEUE, Wire};
use crate::{seeds, sockets::Sockets};

/// Commands that wait for the shell.
const COMMAND_QUEUE: usize = 16;
/// Gossip intervals for which a node that leaves stays, so that the others hear it from itself.
const LEAVE_ROUNDS: u32 = 3;

/// Gossip of one node.
#[derive(Debug)]
pub struct Gossip;

impl Gossip {
    /// Takes a generation, and begins to gossip. Others are found in the background; nothing is waited for.
    ///
    /// # Errors
    /// [`Error::Options`], or when the generation cannot be made durable.
    pub async fn start(options: Options) -> Result<Handle, Error> {
        options.validate()?;
        let advertised = options.advertised();
        let Options { cluster, name, meta, sockets, data_dir, keyring, seeds, gossip_interval, detector, .. } = options;
        let generations = Arc::new(GenerationFile::new(&data_dir));
        let generation = take_first(&generations).await?;
        let keyring = keyring.unwrap_or_else(|| Keyring::loopback(cluster));
        let sealing_key = keyring.sealing_key();
        let sender = Sender { name: name.clone(), generation, address: advertised };
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());

        let (detector_tx, messages) = mpsc::channel(DETECTOR_QUEUE);
        let (notice_tx, notices) = mpsc::channel(NOTICE_QUEUE);
        let (commands, command_rx) = mpsc::channel(COMMAND_QUEUE);
        let Sockets { udp, tcp, .. } = sockets;
        let outbound = Outbound::new(tasks.clone(), shutdown.clone());
        let seal = Seal::new(cluster, keyring, sender);
        let wire = Arc::new(Wire::new(seal, udp, outbound, detector_tx, notice_tx));

        let clock = Clock::start();
        let shared = Arc::new(Shared {
            clock,
            view: ArcSwap::from_pointee(MembershipView::empty(name.clone(), generation, clock.now(), sealing_key)),
            values: ArcSwap::from_pointee(Values::default()),
            events: broadcast::Sender::new(EVENTS_KEPT),
            updates: broadcast::Sender::new(UPDATES_KEPT),
            published: Published::default(),
        });
        shared.published.put(META_KEY, &meta.encode());

        let silence = detector.silence;
        let [digests, leases] = [DigestKind::Health, DigestKind::Leases].map(|kind| Digests::new(kind, shared.clone()));
        let [digest_updates, lease_updates] = [(); 2].map(|()| shared.updates.subscribe());

        let progress = Arc::new(Notify::new());
        let lives = Lives { wire: wire.clone(), gossip_interval, progress: progress.clone() };
        let resolved = Arc::default();
        let chosen = Arc::new(Chosen { members: ArcSwap::default(), meta: ArcSwap::from_pointee(meta) });
        let parts = Parts {
            shared: shared.clone(),
            chosen: chosen.clone(),
            wire: wire.clone(),
            lives,
            generations,
            seeds: Arc::clone(&resolved),
            detector,
        };
        let shell = Shell::start(parts).await?;

        let keeper = Keeper { tasks, shutdown: shutdown.clone(), failed: watch::Sender::new(None) };
        let (seed_names, seed_rx) = watch::channel(seeds.clone());
        let inboxes = Inboxes { messages, notices, commands: command_rx, progress };
        let (receiver, acceptor) = (wire.clone(), wire.clone());
        let (stop, tracker) = (shutdown.clone(), keeper.tasks.clone());
        keeper.keep("datagram", async move { receiver.receive_datagrams().await.to_string() });
        keeper.keep("stream", async move {
            streams::accept(tcp, acceptor, tracker, stop).await;
            "it stopped".to_owned()
        });
        let stop = shutdown.clone();
        keeper.keep("digest", digests.clone().run(digest_updates, gossip_interval, silence));
        keeper.keep("lease", leases.clone().run(lease_updates, gossip_interval, silence));
        keeper.keep_to_the_end("member", async move { shell.run(inboxes, stop).await });
        keeper.tasks.spawn(shutdown.clone().run_until_cancelled_owned(seeds::resolve(seed_rx, resolved)));

        info!(node.id = %name, "gossip begins as {name} at {advertised}, generation {generation}, sealing with key {sealing_key}");
        let inner = Inner {
            shared,
            chosen,
            digests,
            leases,
            wire,
            commands,
            seed_names,
            configured: seeds,
            gossip_interval,
            keeper,
        };
        Ok(Handle { inner: Arc::new(inner), _stop: Arc::new(shutdown.drop_guard()) })
    }
}

async fn take_first(generations: &Arc<GenerationFile>) -> Result<u64, Error> {
    let generations = generations.clone();
    let taken = rollcall_io::spawn_blocking(move || generations.take(0)).await;
    taken.unwrap_or_else(|panic| Err(Error::TaskLost { task: "generation", reason: panic.to_string() }))
}

/// Notices when a task ends that must not.
#[derive(Debug)]
struct Keeper {
    tasks: TaskTracker,
    shutdown: CancellationToken,
    failed: watch::Sender<Option<(&'static str, String)>>,
}

impl Keeper {
    /// Runs `task`, which is cut off at shutdown, and which says why it ended before.
    fn keep(&self, name: &'static str, task: impl Future<Output = String> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.watch(name, async move { shutdown.run_until_cancelled(task).await });
    }

    /// Runs `task`, which ends by itself at shutdown.
    fn keep_to_the_end(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.watch(name, async move {
            task.await;
            None
        });
    }

    fn watch(&self, name: &'static str, task: impl Future<Output = Option<String>> + Send + 'static) {
        let (task, failed, shutdown) = (self.tasks.spawn(task), self.failed.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            let ended = task.await;
            if shutdown.is_cancelled() {
                return;
            }
            let reason = match ended {
                Ok(reason) => reason.unwrap_or_else(|| "it stopped".to_owned()),
                Err(panic) => panic.to_string(),
            };
            error!(error = %reason, "the gossip {name} task ended: {reason}");
            failed.send_replace(Some((name, reason)));
        });
    }
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    chosen: Arc<Chosen>,
    digests: Digests,
    leases: Digests,
    wire: Arc<Wire>,
    commands: mpsc::Sender<Command>,
    seed_names: watch::Sender<Vec<String>>,
    configured: Vec<String>,
    gossip_interval: std::time::Duration,
    keeper: Keeper,
}

/// Gossip that runs. Cheap to clone; when the last clone is dropped, gossip ends without a farewell.
#[derive(Debug, Clone)]
pub struct Handle {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

impl Handle {
    /// The members as this node sees them now: one atomic load.
    pub fn view(&self) -> Arc<MembershipView> {
        self.inner.shared.view.load_full()
    }

    /// What all members say of the health of instances: one atomic load.
    pub fn health(&self) -> Arc<HealthView> {
        self.inner.digests.view()
    }

    /// For who observes instances, or wants to be told when [`Self::health`] changes.
    pub fn digests(&self) -> Digests {
        self.inner.digests.clone()
    }

    /// For who hears the heartbeats of instances, or watches who does.
    pub fn leases(&self) -> Digests {
        self.inner.leases.clone()
    }

    /// The clock of [`MembershipView::taken_at`] and of all readings in it.
    pub fn now(&self) -> MonoTime {
        self.inner.shared.clock.now()
    }

    /// What changes among the members from now on; [`Self::view`] holds it already. A receiver that falls [`EVENTS_KEPT`] behind loses the oldest and is told
    /// how many; it then reads [`Self::view`].
    pub fn events(&self) -> broadcast::Receiver<MemberEvent> {
        self.inner.shared.events.subscribe()
    }

    /// Publishes `value` under `key`, in place of what was there. Others have it a few gossip rounds later; what is changed
    /// again before is not sent. It outlives a restart of gossip, and not one of the process. Keys under `h/` and `l/` are
    /// those of [`Digests`].
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::ValueTooLarge`], [`Error::TooMuch`].
    pub fn publish(&self, key: &str, value: &str) -> Result<(), Error> {
        self.inner.shared.published.set(key, value)
    }

    /// Takes back what [`Self::publish`] published.
    pub fn retract(&self, key: &str) {
        if !key.starts_with(crate::publish::OWN_PREFIX) {
            self.inner.shared.published.remove(key);
        }
    }

    /// What members publish under keys that begin with `prefix`, this node included, by member and key. Members that are
    /// dead or left are among them until gossip forgets their values, about 10 minutes later: [`Self::view`] tells.
    pub fn values(&self, prefix: &str) -> Vec<Value> {
        self.inner.shared.values.load().with_prefix(prefix)
    }

    /// Changes of what members publish from now on, this node included. Subscribe first and then read [`Self::values`], so
    /// that nothing is missed; versions tell which is newer. A receiver that falls [`UPDATES_KEPT`] behind loses the oldest
    /// and is told so; it then reads [`Self::values`] again.
    pub fn updates(&self) -> broadcast::Receiver<Update> {
        self.inner.shared.updates.subscribe()
    }

    /// Changes what this node says of itself.
    ///
    /// # Errors
    /// [`Error::Options`] when an address is not `host:port`.
    pub fn set_meta(&self, meta: &Meta) -> Result<(), Error> {
        if let Some(problem) = meta.problem() {
            return Err(Error::Options(problem));
        }
        self.inner.chosen.meta.store(Arc::new(meta.clone()));
        self.inner.shared.published.put(META_KEY, &meta.encode());
        Ok(())
    }

    /// Whom the caller holds as members, in place of whom it held before: the members that Raft knows. They stay in
    /// [`Self::view`] once they were seen, with the state, the cause and the time that they had, however long they are silent.
    /// Others are forgotten about 10 minutes after they fell silent, and so are those that are no longer held; each time an
    /// [`Event::Forgotten`](crate::Event::Forgotten) says so. Of more than [`MEMBERS_MAX`], the first are held.
    pub fn set_members(&self, names: impl IntoIterator<Item = NodeName>) {
        let members: BTreeSet<_> = names.into_iter().take(MEMBERS_MAX).collect();
        self.inner.chosen.members.store(Arc::new(members));
    }

    /// Where to look for members beside the configured seeds, `host:port`, in place of what was set before: the gossip
    /// addresses of the members that Raft knows. More than 256 in all are not asked.
    pub fn set_seeds(&self, seeds: &[String]) {
        let all: Vec<_> = self.inner.configured.iter().chain(seeds).cloned().collect();
        self.inner.seed_names.send_if_modified(|present| {
            let is_new = *present != all;
            if is_new {
                *present = all;
            }
            is_new
        });
    }

    /// Replaces the keys. What was sealed before and is under way opens only if its key is still among them.
    pub fn set_keyring(&self, keyring: Keyring) {
        info!("gossip seals with key {} from now on, and knows {:?}", keyring.sealing_key(), keyring);
        self.inner.wire.seal.set_keyring(keyring);
    }

    /// How many messages and streams were refused since the start, by the label that the metric gives the reason.
    pub fn rejected(&self) -> BTreeMap<&'static str, u64> {
        self.inner.wire.rejected().map(|(rejection, count)| (rejection.as_str(), count)).collect()
    }

    /// Cuts the links to these members, both ways, and mends all others: fault injection.
    pub fn set_blocked_peers(&self, members: impl IntoIterator<Item = NodeName>) {
        self.inner.wire.set_blocked(BTreeSet::from_iter(members));
    }

    /// Tells the others that this node leaves, so that they take it for [`Left`](crate::State::Left) and not for dead, and
    /// stays for three gossip intervals so that they hear it. To be followed by [`Self::shutdown`].
    pub async fn leave(&self) {
        if self.inner.commands.send(Command::Leave).await.is_ok() {
            sleep(self.inner.gossip_interval * LEAVE_ROUNDS).await;
        }
    }

    /// Ends gossip, waits until all of its tasks have ended, and lets go of the port.
    pub async fn shutdown(&self) {
        self.inner.keeper.shutdown.cancel();
        self.inner.keeper.tasks.close();
        self.inner.keeper.tasks.wait().await;
        self.inner.wire.close();
    }

    /// Waits until gossip fails for good, and says how. Ends of chitchat are mended and not reported here.
    pub async fn failed(&self) -> Error {
        let mut failed = self.inner.keeper.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|failure| failure.clone()) {
            Ok(Some((task, reason))) => Error::TaskLost { task, reason },
            // The sender lives as long as this handle.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.keeper.shutdown.is_cancelled() {
            warn!("gossip ends because nobody holds it any more");
        }
    }
}
