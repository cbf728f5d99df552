//! From the event ring to the subscribers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{counter, gauge};
use rollcall_catalog::Catalog;
use rollcall_raft::Consensus;
use rollcall_types::{Revision, ServiceKey, ServiceName};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Frame;

/// Frames that wait for one subscriber; when full, the subscriber is cut off and reads the ring instead.
const QUEUE_MAX: usize = 256;

/// Which services a subscriber wants to hear of.
#[derive(Debug, Clone)]
pub(crate) enum Topics {
    /// All of them.
    All,
    /// These.
    Services(Vec<ServiceKey>),
}

impl Topics {
    /// The services in `names`, or all when there are none.
    pub(crate) fn of(names: &[ServiceName]) -> Self {
        if names.is_empty() { Self::All } else { Self::Services(names.iter().map(ServiceKey::from).collect()) }
    }

    pub(crate) fn contains(&self, service: &ServiceKey) -> bool {
        match self {
            Self::All => true,
            Self::Services(keys) => keys.contains(service),
        }
    }
}

/// The fan-out of events to watch streams. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    subscribers_max: usize,
    subscribers: AtomicUsize,
    next_id: AtomicUsize,
    /// Every event up to this revision was handed to its subscribers.
    published: AtomicU64,
    topics: Mutex<Subscriptions>,
}

#[derive(Default)]
struct Subscriptions {
    all: HashMap<usize, mpsc::Sender<Arc<Frame>>>,
    by_service: HashMap<ServiceKey, HashMap<usize, mpsc::Sender<Arc<Frame>>>>,
}

/// The right to one watch stream; given back when dropped.
pub(crate) struct Permit {
    shared: Arc<Shared>,
}

/// One subscriber's end. Ends (`None`) when it was cut off for falling behind.
pub(crate) struct Subscription {
    id: usize,
    topics: Topics,
    frames: mpsc::Receiver<Arc<Frame>>,
    shared: Arc<Shared>,
}

impl Hub {
    /// A hub for at most `subscribers_max` streams.
    pub(crate) fn new(subscribers_max: usize) -> Self {
        let shared = Shared {
            subscribers_max,
            subscribers: AtomicUsize::new(0),
            next_id: AtomicUsize::new(0),
            published: AtomicU64::new(0),
            topics: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The right to watch; `None` when the node has its most watchers.
    pub(crate) fn permit(&self) -> Option<Permit> {
        let before = self.shared.subscribers.fetch_add(1, Ordering::Relaxed);
        let permit = Permit { shared: self.shared.clone() };
        gauge!("rollcall_watch_streams").increment(1.0);
        (before < self.shared.subscribers_max).then_some(permit)
    }

    /// Frames of `topics` from now on.
    pub(crate) fn subscribe(&self, topics: Topics) -> Subscription {
        let (tx, frames) = mpsc::channel(QUEUE_MAX);
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut subscriptions = self.shared.lock();
        match &topics {
            Topics::All => {
                subscriptions.all.insert(id, tx);
            }
            Topics::Services(keys) => {
                for key in keys {
                    subscriptions.by_service.entry(key.clone()).or_default().insert(id, tx.clone());
                }
            }
        }
        Subscription { id, topics, frames, shared: self.shared.clone() }
    }

    /// Follows the ring and feeds subscribers until `shutdown`.
    pub(crate) async fn run(self, consensus: Consensus, shutdown: CancellationToken) {
        let mut revisions: watch::Receiver<Revision> = consensus.revision_changes();
        let mut cursor = consensus.catalog().revision();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = revisions.changed() => if changed.is_err() { return },
            }
            revisions.mark_unchanged();
            let catalog = consensus.catalog();
            self.publish(&catalog, cursor);
            cursor = catalog.revision();
            self.shared.published.store(cursor.get(), Ordering::Release);
        }
    }

    /// Every event up to this revision was handed to its subscribers.
    pub(crate) fn published(&self) -> Revision {
        Revision::new(self.shared.published.load(Ordering::Acquire))
    }

    fn publish(&self, catalog: &Catalog, cursor: Revision) {
        let Some(events) = catalog.events().after(cursor) else {
            warn!("a snapshot replaced the event ring; watchers read on from it at their own cursors");
            self.shared.lock().cut_off_everyone();
            return;
        };
        let mut subscriptions = self.shared.lock();
        for event in events {
            if let Some(frame) = Frame::of(event) {
                subscriptions.send(&Arc::new(frame));
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Subscriptions> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriptions {
    fn send(&mut self, frame: &Arc<Frame>) {
        let send = |_: &usize, tx: &mut mpsc::Sender<Arc<Frame>>| match tx.try_send(frame.clone()) {
            Ok(()) => true,
            Err(_) => {
                counter!("rollcall_watch_cut_off_total").increment(1);
                false
            }
        };
        self.all.retain(send);
        if let Some(subscribers) = self.by_service.get_mut(frame.service()) {
            subscribers.retain(send);
        }
    }

    fn cut_off_everyone(&mut self) {
        self.all.clear();
        self.by_service.clear();
    }
}

impl Subscription {
    /// The next frame; `None` when the subscriber fell behind and must read the ring.
    pub(crate) async fn next(&mut self) -> Option<Arc<Frame>> {
        self.frames.recv().await
    }

    /// Whether no frame will come any more, because the subscriber fell behind.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.frames.is_closed()
    }

    /// A frame that is there already.
    pub(crate) fn ready(&mut self) -> Option<Arc<Frame>> {
        self.frames.try_recv().ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscriptions = self.shared.lock();
        match &self.topics {
            Topics::All => {
                subscriptions.all.remove(&self.id);
            }
            Topics::Services(keys) => {
                for key in keys {
                    if let Some(subscribers) = subscriptions.by_service.get_mut(key) {
                        subscribers.remove(&self.id);
                        if subscribers.is_empty() {
                            subscriptions.by_service.remove(key);
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.subscribers.fetch_sub(1, Ordering::Relaxed);
        gauge!("rollcall_watch_streams").decrement(1.0);
    }
}
