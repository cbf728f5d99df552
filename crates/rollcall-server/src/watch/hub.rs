//! From the event ring to the subscribers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{counter, gauge};
use rollcall_catalog::Catalog;
use rollcall_raft::Consensus;
use rollcall_types::{Revision, ServiceKey, ServiceName};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
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

/// Who gets what.
///
/// Invariants:
/// - A subscriber has one sender, here; dropping it is what cuts it off, from all its topics at once.
/// - An id in `all` or `by_service` without a sender belongs to a subscriber that was cut off and is about to go.
#[derive(Default)]
struct Subscriptions {
    senders: HashMap<usize, mpsc::Sender<Arc<Frame>>>,
    all: HashSet<usize>,
    by_service: HashMap<ServiceKey, HashSet<usize>>,
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
        subscriptions.senders.insert(id, tx);
        match &topics {
            Topics::All => {
                subscriptions.all.insert(id);
            }
            Topics::Services(keys) => {
                for key in keys {
                    subscriptions.by_service.entry(key.clone()).or_default().insert(id);
                }
            }
        }
        Subscription { id, topics, frames, shared: self.shared.clone() }
    }

    /// Follows the ring from where it is now, and feeds subscribers until `shutdown`.
    ///
    /// The place in the ring is taken before this returns, so whoever subscribes afterwards misses nothing.
    pub(crate) fn follow(&self, consensus: Consensus, shutdown: CancellationToken) -> JoinHandle<()> {
        let mut revisions = consensus.revision_changes();
        revisions.mark_changed();
        let mut cursor = consensus.catalog().revision();
        let hub = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    changed = revisions.changed() => if changed.is_err() { return },
                }
                let catalog = consensus.catalog();
                hub.publish(&catalog, cursor);
                cursor = catalog.revision();
                hub.shared.published.store(cursor.get(), Ordering::Release);
            }
        })
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
            // Rendering is the larger part of the work, and most services have no watcher.
            let is_wanted = event.change.service().is_some_and(|name| subscriptions.wants(&ServiceKey::from(name)));
            if let Some(frame) = is_wanted.then(|| Frame::of(event)).flatten() {
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
    fn wants(&self, service: &ServiceKey) -> bool {
        !self.all.is_empty() || self.by_service.contains_key(service)
    }

    fn send(&mut self, frame: &Arc<Frame>) {
        let of_service = self.by_service.get(frame.service()).into_iter().flatten();
        for id in self.all.iter().chain(of_service) {
            let Some(sender) = self.senders.get(id) else { continue };
            if sender.try_send(frame.clone()).is_err() {
                counter!("rollcall_watch_cut_off_total").increment(1);
                self.senders.remove(id);
            }
        }
    }

    fn cut_off_everyone(&mut self) {
        self.senders.clear();
    }

    fn remove(&mut self, id: usize, topics: &Topics) {
        self.senders.remove(&id);
        match topics {
            Topics::All => {
                self.all.remove(&id);
            }
            Topics::Services(keys) => {
                for key in keys {
                    if let Some(subscribers) = self.by_service.get_mut(key) {
                        subscribers.remove(&id);
                        if subscribers.is_empty() {
                            self.by_service.remove(key);
                        }
                    }
                }
            }
        }
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
        self.shared.lock().remove(self.id, &self.topics);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.subscribers.fetch_sub(1, Ordering::Relaxed);
        gauge!("rollcall_watch_streams").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use rollcall_catalog::{Actor, Command, Precondition, Request};
    use rollcall_types::UnixMillis;

    use super::*;

    fn name(text: &str) -> ServiceName {
        ServiceName::try_from(text).unwrap()
    }

    /// Defines `service` anew `count` times.
    fn changed(catalog: &mut Catalog, service: &str, count: usize) {
        for number in 0..count {
            let command = Command::Define {
                service: name(service),
                definition: Arc::new(rollcall_types::ServiceDefinition {
                    max_concurrent_requests: Some(u32::try_from(number).unwrap() + 1),
                    ..Default::default()
                }),
                expect: Precondition::None,
            };
            let actor = Actor { name: "ann".parse().unwrap(), via: "n1".parse().unwrap() };
            let request = Request { id: None, at: UnixMillis::default(), actor, command };
            catalog.apply(Revision::new(catalog.revision().get() + 1), &request);
        }
    }

    #[test]
    fn a_subscriber_that_falls_behind_on_one_service_is_cut_off_from_all_of_them() {
        let hub = Hub::new(10);
        let mut subscription = hub.subscribe(Topics::of(&[name("a"), name("b")]));
        let mut catalog = Catalog::default();
        changed(&mut catalog, "a", QUEUE_MAX + 1);
        hub.publish(&catalog, Revision::ZERO);
        let cursor = catalog.revision();
        changed(&mut catalog, "b", 1);
        hub.publish(&catalog, cursor);
        let mut seen = 0;
        while let Some(frame) = subscription.ready() {
            assert_eq!(frame.service().as_str(), "a", "nothing comes after the gap");
            seen += 1;
        }
        assert_eq!(seen, QUEUE_MAX);
        assert!(subscription.is_cut_off());
    }

    #[test]
    fn a_dropped_subscription_leaves_nothing_behind() {
        let hub = Hub::new(10);
        drop(hub.subscribe(Topics::of(&[name("a"), name("B")])));
        drop(hub.subscribe(Topics::All));
        let subscriptions = hub.shared.lock();
        assert!(
            subscriptions.senders.is_empty() && subscriptions.all.is_empty() && subscriptions.by_service.is_empty()
        );
    }
}
