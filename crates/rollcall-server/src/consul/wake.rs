//! Who waits for what, and who is to be woken when something changes.
//!
//! One task follows the catalogue's event ring and wakes those whose topic an event is about, each once. With one index for
//! everything, every write would wake every watcher; here a watcher of one service or key hears of that alone, however much is
//! written elsewhere. Whoever is woken looks again for itself; nothing is carried to it.
//!
//! Prefixes are found by their lengths: a key has as many prefixes as there are lengths that somebody waits for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use rollcall_catalog::{Catalog, Change, Event, Instance, KvChange};
use rollcall_gossip::Handle as Gossip;
use rollcall_raft::Consensus;
use rollcall_types::{KvKey, Revision, ServiceKey, ServiceName};
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::meta;
use super::metrics::{BLOCKING, WAKES};
use super::nodes::HEARING;
use crate::rest::Rest;

/// Most queries that wait at once; one more is refused.
pub(crate) const WAITERS_MAX: usize = 12_000;

/// What a query waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// A service: its instances, their registrations and statuses.
    Service(ServiceKey),
    /// Which services there are, with which tags.
    Services,
    /// The status of any instance.
    Statuses,
    /// A key.
    Key(KvKey),
    /// All keys that begin so.
    Prefix(String),
    /// The nodes of the cluster, and which of them live.
    Nodes,
    /// The checks of members, besides their liveness, and of nodes of which it is not known what they are.
    MemberChecks,
    /// The checks of a machine that was registered by this name, in lower case.
    ChecksOf(String),
    /// Sessions.
    Sessions,
    /// Events that users fire.
    Events,
}

impl Topic {
    /// A service by name, in any case; `None` of a name that no service can have, which nobody need wait for.
    pub(crate) fn of_service(name: &str) -> Option<Self> {
        Some(Self::Service(ServiceKey::from(&ServiceName::try_from(name).ok()?)))
    }
}

/// Who waits for what. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Wakes {
    shared: Arc<Shared>,
}

struct Shared {
    waiters: Mutex<Waiters>,
    /// How many were woken.
    woken: AtomicU64,
    /// How often everybody was told to look again, because history is another one.
    abandoned: AtomicU64,
    /// Of the task that follows the ring.
    rest: Rest,
}

/// Invariants:
/// - `count` is the number of waiters, each of which is under each of its topics; no topic is empty.
/// - `prefix_lengths` counts the topics `Prefix` by the bytes of their prefix.
#[derive(Default)]
struct Waiters {
    next: u64,
    count: usize,
    by_topic: HashMap<Topic, BTreeMap<u64, Arc<Notify>>>,
    prefix_lengths: BTreeMap<usize, usize>,
}

/// One waiter. Ends its wait when dropped.
pub(crate) struct Waiter {
    id: u64,
    topics: Vec<Topic>,
    notify: Arc<Notify>,
    abandoned: u64,
    shared: Arc<Shared>,
}

impl Wakes {
    /// Nobody waits.
    pub(crate) fn new() -> Self {
        let (waiters, rest) = (Mutex::default(), Rest::default());
        let shared = Shared { waiters, woken: AtomicU64::new(0), abandoned: AtomicU64::new(0), rest };
        Self { shared: Arc::new(shared) }
    }

    /// Begins to wait; `None` when [`WAITERS_MAX`] wait already. Whoever has `seen` this revision before, and looks after this,
    /// misses nothing.
    pub(crate) fn wait_for(&self, topics: &[Topic], seen: Revision) -> Option<Waiter> {
        let abandoned = self.shared.abandoned.load(Ordering::Acquire);
        let notify = Arc::new(Notify::new());
        let mut waiters = self.shared.lock();
        if waiters.count >= WAITERS_MAX {
            return None;
        }
        let id = waiters.add(topics, &notify);
        drop(waiters);
        self.shared.rest.call(seen);
        gauge!(BLOCKING).increment(1.0);
        Some(Waiter { id, topics: topics.to_vec(), notify, abandoned, shared: self.shared.clone() })
    }

    /// How many were woken, ever.
    #[cfg(test)]
    pub(crate) fn woken(&self) -> u64 {
        self.shared.woken.load(Ordering::Relaxed)
    }

    /// Follows the members, and the catalogue while somebody waits, until `stop`.
    pub(crate) async fn follow(self, consensus: Consensus, gossip: Gossip, stop: CancellationToken) {
        let mut revisions = consensus.revision_changes();
        let mut followed = None;
        let mut members = gossip.events();
        let mut roles = consensus.status_changes();
        let mut unheard = pin!(tokio::time::sleep(HEARING + Duration::from_secs(1)));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                // Somebody waits; what came since is looked at at once.
                seen = self.shared.rest.called(), if followed.is_none() => {
                    followed = Some(seen);
                    revisions.mark_changed();
                }
                // The log went on.
                changed = revisions.changed(), if followed.is_some() => {
                    if changed.is_err() {
                        return;
                    }
                    let catalog = consensus.catalog();
                    if let Some(cursor) = followed {
                        self.publish(&catalog, cursor, |name| is_member(&consensus, name));
                    }
                    let rests = self.shared.rest.begins_if(|| self.shared.lock().count == 0);
                    followed = (!rests).then(|| catalog.revision());
                }
                // A node is seen to be another than before.
                event = members.recv() => match event {
                    Ok(_) | Err(RecvError::Lagged(_)) => self.nodes_changed(),
                    Err(RecvError::Closed) => return,
                },
                // Members of whom nothing was heard are not taken for alive any longer.
                () = &mut unheard, if !unheard.is_elapsed() => self.nodes_changed(),
                // A node joined or was removed, or another one leads.
                changed = roles.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.nodes_changed();
                }
            }
        }
    }

    /// Wakes those whom the events of `catalog` after `cursor` are about. `is_member` tells which names are of members.
    fn publish(&self, catalog: &Catalog, cursor: Revision, is_member: impl Fn(&str) -> bool) {
        let Some(events) = catalog.events().after(cursor) else {
            self.shared.abandoned.fetch_add(1, Ordering::Release);
            let woken = self.shared.lock().wake_all();
            return self.count(woken);
        };
        let waiters = self.shared.lock();
        // Who begins to wait while this goes on looks afterwards, and so at no less than `catalog`.
        if waiters.count > 0 {
            let woken =
                events.map(|event| waiters.wake_by(event) + waiters.wake_by_check(event, catalog, &is_member)).sum();
            drop(waiters);
            self.count(woken);
        }
    }

    fn nodes_changed(&self) {
        let woken = self.shared.lock().wake(&Topic::Nodes);
        self.count(woken);
    }

    fn count(&self, woken: usize) {
        if woken > 0 {
            self.shared.woken.fetch_add(woken as u64, Ordering::Relaxed);
            counter!(WAKES).increment(woken as u64);
        }
    }
}

/// Whether a node of this name, in any case, belongs to the cluster.
fn is_member(consensus: &Consensus, name: &str) -> bool {
    let status = consensus.status();
    let mut members = status.voters.values().chain(status.learners.values());
    members.any(|member| member.name.eq_ignore_ascii_case(name))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiters {
    fn add(&mut self, topics: &[Topic], notify: &Arc<Notify>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.count += 1;
        for topic in topics {
            let waiting = self.by_topic.entry(topic.clone()).or_default();
            if let Topic::Prefix(prefix) = topic
                && waiting.is_empty()
            {
                *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
            }
            waiting.insert(id, notify.clone());
        }
        id
    }

    fn remove(&mut self, id: u64, topics: &[Topic]) {
        self.count -= 1;
        for topic in topics {
            let Some(waiting) = self.by_topic.get_mut(topic) else { continue };
            waiting.remove(&id);
            if !waiting.is_empty() {
                continue;
            }
            self.by_topic.remove(topic);
            if let Topic::Prefix(prefix) = topic
                && let Some(count) = self.prefix_lengths.get_mut(&prefix.len())
            {
                *count -= 1;
                if *count == 0 {
                    self.prefix_lengths.remove(&prefix.len());
                }
            }
        }
    }

    /// Wakes those whom `event` is about; how many.
    fn wake_by(&self, event: &Event) -> usize {
        match &event.change {
            Change::InstancePut { instance, .. } | Change::LifecycleSet { instance } => {
                self.wake_service(&ServiceKey::from(&instance.service))
            }
            Change::InstanceRemoved { service, .. }
            | Change::ServiceDefined { service, .. }
            | Change::ServiceRemoved { service }
            | Change::ConfigSet { service, .. } => self.wake_service(&ServiceKey::from(service)),
            Change::StatusesChanged { transitions } => {
                let mut services: Vec<_> = transitions.iter().map(|it| ServiceKey::from(&it.service)).collect();
                services.sort_unstable();
                services.dedup();
                let of_services: usize = services.into_iter().map(|key| self.wake(&Topic::Service(key))).sum();
                of_services + self.wake(&Topic::Statuses)
            }
            Change::KvPut { key, .. } | Change::KvRemoved { key } => self.wake_key(key),
            Change::KvChanged { changes } => self.wake_keys(changes),
            Change::SessionOpened { .. } => self.wake(&Topic::Sessions),
            Change::SessionClosed { changes, .. } => self.wake(&Topic::Sessions) + self.wake_keys(changes),
            Change::UserEvent { .. } => self.wake(&Topic::Events),
        }
    }

    /// Wakes those whose answers hold the check of a node that `event` is about; how many. Of one that is gone it is not known any
    /// more where it was.
    fn wake_by_check(&self, event: &Event, catalog: &Catalog, is_member: impl Fn(&str) -> bool) -> usize {
        let of = |instance: Option<&Instance>| match instance.and_then(|it| meta::of(&it.spec, meta::NODE)) {
            Some(node) if !is_member(node) => Topic::ChecksOf(node.to_ascii_lowercase()),
            _ => Topic::MemberChecks,
        };
        let is_check = |service: &ServiceName| service.eq_ignore_ascii_case(meta::SELF_SERVICE);
        match &event.change {
            Change::InstancePut { instance, .. } | Change::LifecycleSet { instance } if is_check(&instance.service) => {
                self.wake(&of(Some(instance)))
            }
            Change::InstanceRemoved { service, .. } if is_check(service) => self.wake(&Topic::MemberChecks),
            Change::StatusesChanged { transitions } => {
                let turned = transitions.iter().filter(|it| is_check(&it.service));
                let topics: HashSet<_> =
                    turned.map(|it| of(catalog.instance(&it.service, &it.id).map(|it| &**it))).collect();
                topics.iter().map(|topic| self.wake(topic)).sum()
            }
            _ => 0,
        }
    }

    fn wake_service(&self, key: &ServiceKey) -> usize {
        self.wake(&Topic::Service(key.clone())) + self.wake(&Topic::Services) + self.wake(&Topic::Statuses)
    }

    fn wake_key(&self, key: &KvKey) -> usize {
        let prefixes = self.prefix_lengths.keys().filter_map(|length| key.as_str().get(..*length));
        let of_prefixes: usize = prefixes.map(|prefix| self.wake(&Topic::Prefix(prefix.to_owned()))).sum();
        of_prefixes + self.wake(&Topic::Key(key.clone()))
    }

    fn wake_keys(&self, changes: &[KvChange]) -> usize {
        let woken = changes.iter().map(|change| match change {
            KvChange::Put { key, .. } | KvChange::Removed { key } => self.wake_key(key),
            KvChange::PrefixRemoved { prefix, .. } => self.wake_under(prefix),
        });
        woken.sum()
    }

    /// Wakes those who wait for a key or prefix that meets `removed`. Looks at all topics: this is rare.
    fn wake_under(&self, removed: &str) -> usize {
        let is_met = |topic: &&Topic| match topic {
            Topic::Key(key) => key.starts_with(removed),
            Topic::Prefix(prefix) => prefix.starts_with(removed) || removed.starts_with(prefix.as_str()),
            _ => false,
        };
        self.by_topic.keys().filter(is_met).map(|topic| self.wake(topic)).sum()
    }

    fn wake(&self, topic: &Topic) -> usize {
        let Some(waiting) = self.by_topic.get(topic) else { return 0 };
        waiting.values().for_each(|notify| notify.notify_one());
        waiting.len()
    }

    fn wake_all(&self) -> usize {
        self.by_topic.keys().map(|topic| self.wake(topic)).sum()
    }
}

impl Waiter {
    /// Returns when there is something to look at; at once if that happened since it last returned.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Whether history is another one than when the wait began, so that indexes of then say nothing any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.shared.abandoned.load(Ordering::Acquire) != self.abandoned
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.lock().remove(self.id, &self.topics);
        gauge!(BLOCKING).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use rollcall_catalog::EVENTS_MAX;
    use rollcall_types::{ENTRY_TRANSITIONS_MAX, Status};

    use super::*;
    use crate::watch::story::Story;

    /// Publishes what happened since `cursor`, and says how many were woken.
    fn woken(wakes: &Wakes, story: &Story, cursor: Revision) -> u64 {
        let before = wakes.woken();
        wakes.publish(story.catalog(), cursor, |name| name == "n1");
        wakes.woken() - before
    }

    fn service(name: &str) -> Topic {
        Topic::of_service(name).unwrap()
    }

    #[test]
    fn a_hundred_watchers_of_one_service_sleep_through_a_thousand_writes_elsewhere() {
        let wakes = Wakes::new();
        let waiters: Vec<_> = (0..100).map(|_| wakes.wait_for(&[service("quiet")], Revision::ZERO).unwrap()).collect();
        let mut story = Story::default();
        for number in 0..1_000 {
            let cursor = story.catalog().revision();
            story.register(&format!("busy-{}", number % 10), &format!("{number}"));
            assert_eq!(woken(&wakes, &story, cursor), 0, "write {number}");
        }
        let cursor = story.catalog().revision();
        story.register("Quiet", "1");
        assert_eq!(woken(&wakes, &story, cursor), 100, "each once, whatever the case of the name");
        drop(waiters);
        story.register("quiet", "2");
        assert_eq!(woken(&wakes, &story, cursor), 0);
    }

    #[test]
    fn a_transition_wakes_those_who_watch_its_service_or_all_statuses() {
        let wakes = Wakes::new();
        let mut story = Story::default();
        ["a", "b"].into_iter().for_each(|name| story.register(name, "1"));
        let cursor = story.catalog().revision();
        story.record(&[("a", "1", Status::Passing), ("a", "1", Status::Critical), ("b", "1", Status::Passing)]);
        for (topics, expected) in [
            (vec![service("a")], 1),
            (vec![service("a"), service("b")], 2),
            (vec![service("c")], 0),
            (vec![Topic::Statuses], 1),
            (vec![Topic::Services], 0),
            (vec![Topic::Nodes, Topic::Sessions, Topic::Events], 0),
        ] {
            let waiter = wakes.wait_for(&topics, Revision::ZERO).unwrap();
            assert_eq!(woken(&wakes, &story, cursor), expected, "{topics:?}");
            drop(waiter);
        }
    }

    #[test]
    fn a_check_of_a_node_wakes_those_who_read_what_is_on_it() {
        let wakes = Wakes::new();
        let mut story = Story::default();
        let of = |node: &str| {
            let topics = [service("web"), Topic::MemberChecks, Topic::ChecksOf(node.to_owned())];
            wakes.wait_for(&topics, Revision::ZERO).unwrap()
        };
        let _waiting = [of("rack-1"), of("rack-2"), of("rack-2")];
        for (id, node, expected) in [
            ("Rack-1/disk", "Rack-1", 1),
            ("rack-2/disk", "rack-2", 2),
            ("rack-3/disk", "rack-3", 0),
            ("n1/x", "n1", 3),
        ] {
            let cursor = story.catalog().revision();
            story.register_with("consul", id, &[(meta::NODE, node)]);
            assert_eq!(woken(&wakes, &story, cursor), expected, "{id} is new");
            let cursor = story.catalog().revision();
            story.record(&[("consul", id, Status::Critical)]);
            assert_eq!(woken(&wakes, &story, cursor), expected, "{id} fails");
        }
        let cursor = story.catalog().revision();
        story.deregister("consul", "rack-3/disk", "it is gone");
        assert_eq!(woken(&wakes, &story, cursor), 3, "whose check it was is not known any more");
    }

    #[test]
    fn what_is_seen_of_nodes_wakes_those_who_read_them() {
        let wakes = Wakes::new();
        let _waiting = [Topic::Nodes, service("web")].map(|topic| wakes.wait_for(&[topic], Revision::ZERO).unwrap());
        wakes.nodes_changed();
        assert_eq!(wakes.woken(), 1);
    }

    #[test]
    fn a_key_wakes_itself_and_each_prefix_of_it_that_somebody_waits_for() {
        let wakes = Wakes::new();
        let prefix = |text: &str| wakes.wait_for(&[Topic::Prefix(text.to_owned())], Revision::ZERO).unwrap();
        let of_key = |text: &str| wakes.wait_for(&[Topic::Key(text.parse().unwrap())], Revision::ZERO).unwrap();
        let _waiting =
            [prefix(""), prefix("a/"), prefix("a/"), prefix("a/bc"), prefix("b"), of_key("a/b"), of_key("a/bé")];
        let lock = wakes.shared.lock();
        assert_eq!(lock.wake_key(&"a/b".parse().unwrap()), 4, "three prefixes and itself");
        assert_eq!(lock.wake_key(&"a/bé".parse().unwrap()), 4, "a prefix may end within a character of another key");
        assert_eq!(lock.wake_key(&"x".parse().unwrap()), 1, "the empty prefix is of every key");
    }

    #[test]
    fn a_history_that_is_another_one_wakes_everybody() {
        let wakes = Wakes::new();
        let waiter = wakes.wait_for(&[service("a")], Revision::ZERO).unwrap();
        assert!(!waiter.is_abandoned());
        let mut story = Story::default();
        story.register("b", "1");
        let turns = [Status::Passing, Status::Critical].map(|status| ("b", "1", status));
        let turns: Vec<_> = turns.into_iter().cycle().take(ENTRY_TRANSITIONS_MAX).collect();
        (0..=EVENTS_MAX / ENTRY_TRANSITIONS_MAX).for_each(|_| story.record(&turns));
        assert_eq!(woken(&wakes, &story, Revision::ZERO), 1, "the ring has forgotten what the follower has not seen");
        assert!(waiter.is_abandoned());
        assert!(!wakes.wait_for(&[service("a")], Revision::ZERO).unwrap().is_abandoned());
    }

    #[test]
    fn waiters_that_are_gone_leave_nothing_behind() {
        let wakes = Wakes::new();
        drop(
            wakes.wait_for(
                &[service("a"), Topic::Prefix("p".to_owned()), Topic::Prefix("q".to_owned())],
                Revision::ZERO,
            ),
        );
        let lock = wakes.shared.lock();
        assert!(lock.count == 0 && lock.by_topic.is_empty() && lock.prefix_lengths.is_empty());
    }

    #[test]
    fn one_waiter_too_many_is_refused() {
        let wakes = Wakes::new();
        let all: Vec<_> = (0..WAITERS_MAX).map(|_| wakes.wait_for(&[Topic::Events], Revision::ZERO).unwrap()).collect();
        assert!(wakes.wait_for(&[Topic::Events], Revision::ZERO).is_none());
        drop(all);
        assert!(wakes.wait_for(&[Topic::Events], Revision::ZERO).is_some());
    }
}
