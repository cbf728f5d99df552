//! From the event ring to the subscribers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{counter, gauge};
use rollcall_catalog::Catalog;
use rollcall_raft::Consensus;
use rollcall_raft::planted::{Bug, is_planted};
use rollcall_types::{ENTRY_TRANSITIONS_MAX, Revision, ServiceKey, ServiceName};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Frame;
use crate::rest::Rest;

/// Frames that wait for one subscriber; when full, the subscriber is cut off and reads the ring instead.
const QUEUE_MAX: usize = 256;
/// Changes in these frames, since one frame can hold thousands of transitions; beyond it the same happens. Four full ones.
const QUEUE_CHANGES_MAX: usize = 4 * ENTRY_TRANSITIONS_MAX;

/// Which services a subscriber wants to hear of.
#[derive(Debug, Clone)]
pub(crate) enum Topics {
    /// All of them.
    All,
    /// These, in order and none twice.
    Services(Vec<ServiceKey>),
}

impl Topics {
    /// The services in `names`, or all when there are none.
    pub(crate) fn of(names: &[ServiceName]) -> Self {
        if names.is_empty() {
            return Self::All;
        }
        let mut keys: Vec<_> = names.iter().map(ServiceKey::from).collect();
        keys.sort_unstable();
        keys.dedup();
        Self::Services(keys)
    }

    /// This service alone.
    pub(crate) fn one(key: &ServiceKey) -> Self {
        Self::Services(vec![key.clone()])
    }

    pub(crate) fn contains(&self, service: &ServiceKey) -> bool {
        match self {
            Self::All => true,
            Self::Services(keys) => keys.binary_search(service).is_ok(),
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
    /// Of the task that follows the ring.
    rest: Rest,
}

/// Who gets what.
///
/// Invariants:
/// - A subscriber has one outlet, here; dropping it is what cuts it off, from all its topics at once.
/// - An id in `all` or `by_service` without an outlet belongs to a subscriber that was cut off and is about to go.
#[derive(Default)]
struct Subscriptions {
    outlets: HashMap<usize, Outlet>,
    all: HashSet<usize>,
    by_service: HashMap<ServiceKey, HashSet<usize>>,
}

/// Where a subscriber's frames go in.
struct Outlet {
    frames: mpsc::Sender<Arc<Frame>>,
    /// Changes in the frames that wait.
    waiting: Arc<AtomicUsize>,
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
    waiting: Arc<AtomicUsize>,
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
            rest: Rest::default(),
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

    /// Frames of `topics` from now on, for somebody who has `seen` this revision and reads the ring after this.
    pub(crate) fn subscribe(&self, topics: Topics, seen: Revision) -> Subscription {
        let (tx, frames) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut subscriptions = self.shared.lock();
        subscriptions.outlets.insert(id, Outlet { frames: tx, waiting: waiting.clone() });
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
        drop(subscriptions);
        self.shared.rest.call(seen);
        Subscription { id, topics, frames, waiting, shared: self.shared.clone() }
    }

    /// Follows the ring while there are subscribers, and feeds them, until `shutdown`.
    pub(crate) fn follow(&self, consensus: Consensus, shutdown: CancellationToken) -> JoinHandle<()> {
        let hub = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = hub.feed(&consensus) => {}
            }
        })
    }

    /// Feeds subscribers whenever there are some, until there are no revisions any more.
    async fn feed(&self, consensus: &Consensus) {
        let mut revisions = consensus.revision_changes();
        loop {
            let mut cursor = self.shared.rest.called().await;
            // What came since is looked at at once.
            revisions.mark_changed();
            while !self.shared.rest.begins_if(|| self.shared.lock().outlets.is_empty()) {
                if revisions.changed().await.is_err() {
                    return;
                }
                let catalog = consensus.catalog();
                self.publish(&catalog, cursor);
                cursor = catalog.revision();
                self.shared.published.store(cursor.get(), Ordering::Release);
            }
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
            if event.revision.get() % 50 == 0 && is_planted(Bug::SkippedEvent) {
                continue;
            }
            // Rendering is the larger part of the work, and most services have no watcher.
            let is_wanted = event.change.services().any(|name| subscriptions.wants(&ServiceKey::from(name)));
            if let Some(frame) = is_wanted.then(|| Frame::of(catalog, event)).flatten() {
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
        for id in self.addressees(frame) {
            let Some(outlet) = self.outlets.get(&id) else { continue };
            if !outlet.offer(frame) {
                counter!("rollcall_watch_cut_off_total").increment(1);
                self.outlets.remove(&id);
            }
        }
    }

    /// Who watches anything that the frame is about, each once.
    fn addressees(&self, frame: &Frame) -> Vec<usize> {
        let of_services = frame.services().filter_map(|service| self.by_service.get(service)).flatten();
        let mut ids: Vec<usize> = self.all.iter().chain(of_services).copied().collect();
        if frame.services().nth(1).is_some() {
            ids.sort_unstable();
            ids.dedup();
        }
        ids
    }

    fn cut_off_everyone(&mut self) {
        self.outlets.clear();
    }

    fn remove(&mut self, id: usize, topics: &Topics) {
        self.outlets.remove(&id);
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

impl Outlet {
    /// Whether there was room for the frame.
    fn offer(&self, frame: &Arc<Frame>) -> bool {
        let waiting = self.waiting.fetch_add(frame.changes(), Ordering::Relaxed) + frame.changes();
        waiting <= QUEUE_CHANGES_MAX && self.frames.try_send(frame.clone()).is_ok()
    }
}

impl Subscription {
    /// The next frame; `None` when the subscriber fell behind and must read the ring.
    pub(crate) async fn next(&mut self) -> Option<Arc<Frame>> {
        let frame = self.frames.recv().await?;
        Some(self.taken(frame))
    }

    /// Whether no frame will come any more, because the subscriber fell behind.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.frames.is_closed()
    }

    /// A frame that is there already.
    pub(crate) fn ready(&mut self) -> Option<Arc<Frame>> {
        let frame = self.frames.try_recv().ok()?;
        Some(self.taken(frame))
    }

    fn taken(&self, frame: Arc<Frame>) -> Arc<Frame> {
        self.waiting.fetch_sub(frame.changes(), Ordering::Relaxed);
        frame
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
    use rollcall_catalog::{Command, Precondition};
    use rollcall_types::Status;
    use serde_json::Value;

    use super::*;
    use crate::watch::story::{Story, service as name};

    /// Defines `service` anew `count` times.
    fn changed(story: &mut Story, service: &str, count: u32) {
        for number in 1..=count {
            let definition = rollcall_types::ServiceDefinition {
                max_concurrent_requests: Some(number),
                ..rollcall_types::ServiceDefinition::default()
            };
            story.apply(Command::Define {
                service: name(service),
                definition: Arc::new(definition),
                expect: Precondition::None,
            });
        }
    }

    /// Three services with an instance each, and a journal that says something about all of them.
    fn journaled() -> (Story, Revision) {
        let mut story = Story::default();
        ["a", "b", "c"].into_iter().for_each(|service| story.register(service, "1"));
        let cursor = story.catalog().revision();
        story.record(&[("a", "1", Status::Passing), ("b", "1", Status::Passing), ("c", "1", Status::Critical)]);
        (story, cursor)
    }

    fn items(bytes: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(bytes).unwrap();
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("a frame has data");
        let frame: Value = serde_json::from_str(data).unwrap();
        let items = frame["items"].as_array().expect("a state frame has items");
        items.iter().map(|item| format!("{} {}", item["service"], item["state"]).replace('"', "")).collect()
    }

    #[test]
    fn a_subscriber_that_falls_behind_on_one_service_is_cut_off_from_all_of_them() {
        let hub = Hub::new(10);
        let topics = Topics::of(&[name("a"), name("b")]);
        let mut subscription = hub.subscribe(topics.clone(), Revision::ZERO);
        let mut story = Story::default();
        changed(&mut story, "a", QUEUE_MAX as u32 + 1);
        hub.publish(story.catalog(), Revision::ZERO);
        let cursor = story.catalog().revision();
        changed(&mut story, "b", 1);
        hub.publish(story.catalog(), cursor);
        let mut seen = 0;
        while let Some(frame) = subscription.ready() {
            assert!(frame.services().all(|service| service.as_str() == "a"), "nothing comes after the gap");
            assert!(frame.bytes(&topics).is_some());
            seen += 1;
        }
        assert_eq!(seen, QUEUE_MAX);
        assert!(subscription.is_cut_off());
    }

    #[test]
    fn transitions_are_one_frame_with_what_each_subscriber_asked_for() {
        let hub = Hub::new(10);
        let check = |topics: Topics, expected: &[&str]| {
            let mut subscription = hub.subscribe(topics.clone(), Revision::ZERO);
            let (story, cursor) = journaled();
            hub.publish(story.catalog(), cursor);
            let frame = subscription.ready().expect("it is about one of the topics");
            assert_eq!(items(&frame.bytes(&topics).unwrap()), expected);
            assert_eq!(frame.revision(), story.catalog().revision());
            assert!(subscription.ready().is_none(), "once, whatever the number of topics");
        };
        check(Topics::All, &["a passing", "b passing", "c critical"]);
        check(Topics::of(&[name("b")]), &["b passing"]);
        check(Topics::of(&[name("C"), name("x"), name("a"), name("A")]), &["a passing", "c critical"]);
        check(Topics::of(&[name("c"), name("b"), name("a")]), &["a passing", "b passing", "c critical"]);
        let mut stranger = hub.subscribe(Topics::of(&[name("x")]), Revision::ZERO);
        let (story, cursor) = journaled();
        hub.publish(story.catalog(), cursor);
        assert!(stranger.ready().is_none());
    }

    #[test]
    fn who_watches_the_same_shares_one_rendering() {
        let (story, cursor) = journaled();
        let event = story.catalog().events().after(cursor).unwrap().next().unwrap().clone();
        let frame = Frame::of(story.catalog(), &event).unwrap();
        let one = |topics: &Topics| frame.bytes(topics).unwrap().as_ptr();
        let (all, every) = (Topics::All, Topics::of(&[name("a"), name("b"), name("c")]));
        assert_eq!(one(&all), one(&every));
        let (lower, upper) = (Topics::of(&[name("b")]), Topics::of(&[name("B"), name("x")]));
        assert_eq!(one(&lower), one(&upper));
        assert_eq!(frame.bytes(&Topics::of(&[name("x")])), None);
    }

    #[test]
    fn a_subscriber_with_too_many_transitions_before_it_is_cut_off_and_what_it_takes_makes_room() {
        let hub = Hub::new(10);
        let mut idle = hub.subscribe(Topics::All, Revision::ZERO);
        let mut busy = hub.subscribe(Topics::All, Revision::ZERO);
        let mut story = Story::default();
        story.register("a", "1");
        let turns = [Status::Passing, Status::Critical].map(|status| ("a", "1", status));
        let turns: Vec<_> = turns.into_iter().cycle().take(ENTRY_TRANSITIONS_MAX).collect();
        for _ in 0..QUEUE_CHANGES_MAX / ENTRY_TRANSITIONS_MAX + 1 {
            let cursor = story.catalog().revision();
            story.record(&turns);
            hub.publish(story.catalog(), cursor);
            assert!(busy.ready().is_some());
        }
        assert!(idle.is_cut_off());
        assert!(!busy.is_cut_off());
        let waiting = std::iter::from_fn(|| idle.ready()).count();
        assert_eq!(waiting, QUEUE_CHANGES_MAX / ENTRY_TRANSITIONS_MAX, "what came before the gap is still there");
    }

    #[test]
    fn a_dropped_subscription_leaves_nothing_behind() {
        let hub = Hub::new(10);
        drop(hub.subscribe(Topics::of(&[name("a"), name("B")]), Revision::ZERO));
        drop(hub.subscribe(Topics::All, Revision::ZERO));
        let subscriptions = hub.shared.lock();
        assert!(
            subscriptions.outlets.is_empty() && subscriptions.all.is_empty() && subscriptions.by_service.is_empty()
        );
    }
}
