//! Which capabilities of an instance do not work, through gossip: what this node sees failing goes out, what all observers see
//! comes in.
//!
//! A capability does not work when every prober of the instance whose word counts sees a check of it critical: one that sees it
//! working is enough to keep it, as one that is passing keeps an instance in service. Confirmers are left out, since they look
//! when the whole instance fails, and may have no verdict on a capability yet.
//!
//! Limits: a node tells of at most [`CHUNKS_MAX`] chunks, those of the lowest slots; what finds no room is counted, and its
//! instances keep their capabilities in answers, at a lower score.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_gossip::Handle as Gossip;
use rollcall_health::assignment::Watch;
use rollcall_health::capabilities::{CapabilityFailures, FailedChecks, chunk_of_key, key};
use rollcall_health::{ChunkId, HealthView, Slot, Status, Tenancy};
use rollcall_types::MonoTime;
use tracing::debug;

use super::inbox::{Inbox, Page};
use super::metrics;

/// Most chunks of which this node tells: of 32,768 instances, in some 220 KB.
const CHUNKS_MAX: usize = 512;

impl Page for CapabilityFailures {
    const PREFIX: &str = "c/";

    fn chunk_of_key(key: &str) -> Option<ChunkId> {
        chunk_of_key(key)
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        Self::decode(text).map_err(|error| error.reason())
    }

    fn refused(reason: &'static str) {
        metrics::capabilities_refused(reason);
    }
}

/// The checks of capabilities that all probers of an instance see failing.
pub(super) fn failed(
    inbox: &Inbox<CapabilityFailures>,
    watch: &Watch,
    (slot, tenancy): (Slot, Tenancy),
    sightings: &HealthView,
) -> FailedChecks {
    let counts = sightings.sightings(slot, tenancy).filter(|it| it.observation.status != Status::Unknown);
    let probers = counts.filter(|sighting| watch.is_prober(sighting.observer));
    let each = probers.map(|sighting| {
        let page = inbox.of(slot.chunk(), sighting.observer);
        page.map_or_else(FailedChecks::default, |(failures, _)| failures.get(slot, tenancy))
    });
    each.reduce(FailedChecks::and).unwrap_or_default()
}

/// What this node sees failing of one instance.
#[derive(Debug, Clone, Copy)]
struct Failing {
    tenancy: Tenancy,
    failed: FailedChecks,
    /// Until when that holds.
    until: MonoTime,
}

/// What this node tells the others.
#[derive(Default)]
pub(super) struct Outbox {
    failing: BTreeMap<ChunkId, BTreeMap<Slot, Failing>>,
    /// What the others know.
    told: BTreeMap<ChunkId, CapabilityFailures>,
}

impl Outbox {
    /// Says what this node sees failing of an instance now, for `valid_for`.
    pub(super) fn say(
        &mut self,
        slot: Slot,
        tenancy: Tenancy,
        failed: FailedChecks,
        (now, valid_for): (MonoTime, Duration),
    ) {
        if failed.is_empty() {
            if let Some(failing) = self.failing.get_mut(&slot.chunk()) {
                failing.remove(&slot);
            }
        } else {
            let failing = Failing { tenancy, failed, until: now.plus(valid_for) };
            self.failing.entry(slot.chunk()).or_default().insert(slot, failing);
        }
    }

    /// What is to be published now, by chunk; what is empty is taken back.
    fn take_news(&mut self, now: MonoTime) -> Vec<(ChunkId, CapabilityFailures)> {
        self.failing.retain(|_, failing| {
            failing.retain(|_, it| it.until > now);
            !failing.is_empty()
        });
        metrics::capabilities_untold(self.failing.len().saturating_sub(CHUNKS_MAX));
        let page = |(chunk, failing): (&ChunkId, &BTreeMap<Slot, Failing>)| {
            (*chunk, CapabilityFailures::of(*chunk, failing.iter().map(|(slot, it)| (*slot, it.tenancy, it.failed))))
        };
        let now: BTreeMap<_, _> = self.failing.iter().take(CHUNKS_MAX).map(page).collect();
        let before = std::mem::replace(&mut self.told, now);
        let over = before.keys().filter(|chunk| !self.told.contains_key(chunk));
        let over = over.map(|chunk| (*chunk, CapabilityFailures::default()));
        let changed = self.told.iter().filter(|(chunk, page)| before.get(chunk) != Some(page));
        over.chain(changed.map(|(chunk, page)| (*chunk, page.clone()))).collect()
    }

    /// Publishes what is news.
    pub(super) fn publish(&mut self, gossip: &Gossip) {
        if self.failing.is_empty() && self.told.is_empty() {
            return;
        }
        for (chunk, page) in self.take_news(gossip.now()) {
            if page.is_empty() {
                gossip.retract(&key(chunk));
            } else if let Err(error) = gossip.publish(&key(chunk), &page.encode()) {
                debug!(%error, "capabilities that fail find no room in gossip: {error}");
                gossip.retract(&key(chunk));
                // Tried again with the next tick.
                self.told.remove(&chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rollcall_gossip::Update;
    use rollcall_health::assignment::{Candidate, Roster};
    use rollcall_health::{Freshness, Observation, Observer, Publication, Publisher};
    use rollcall_types::{CheckKind, CheckSpec, Millis, NodeName, Revision, UnixMillis};

    use super::*;

    const VALID: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> MonoTime {
        MonoTime::new(Duration::from_secs(seconds))
    }

    fn slot() -> Slot {
        Slot::new(0).unwrap()
    }

    fn tenancy() -> Tenancy {
        Tenancy::began_at(Revision::new(9))
    }

    fn failed_check() -> FailedChecks {
        let check = CheckSpec {
            id: "print".parse().unwrap(),
            capability: Some("print".parse().unwrap()),
            kind: CheckKind::Tcp { host: "localhost".try_into().unwrap(), port: 80_u64.try_into().unwrap() },
            interval: Millis::new(1_000),
            timeout: Millis::new(100),
            failures_before_critical: 3,
            successes_before_passing: 2,
        };
        FailedChecks::of(&[check], |_| true)
    }

    #[test]
    fn what_fails_is_told_once_and_taken_back_when_it_works_or_is_not_seen_again() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.take_news(at(0)), []);
        outbox.say(slot(), tenancy(), failed_check(), (at(0), VALID));
        let page = CapabilityFailures::of(slot().chunk(), [(slot(), tenancy(), failed_check())]);
        assert_eq!(outbox.take_news(at(0)), [(slot().chunk(), page.clone())]);
        outbox.say(slot(), tenancy(), failed_check(), (at(10), VALID));
        assert_eq!(outbox.take_news(at(10)), []);
        outbox.say(slot(), tenancy(), FailedChecks::default(), (at(20), VALID));
        assert_eq!(outbox.take_news(at(20)), [(slot().chunk(), CapabilityFailures::default())]);
        outbox.say(slot(), tenancy(), failed_check(), (at(30), VALID));
        assert_eq!(outbox.take_news(at(30)), [(slot().chunk(), page)]);
        assert_eq!(outbox.take_news(at(61)), [(slot().chunk(), CapabilityFailures::default())]);
        assert_eq!(outbox.take_news(at(62)), []);
    }

    #[test]
    fn a_capability_is_kept_while_one_prober_that_counts_sees_it_working() {
        let fit: Vec<_> =
            ["n1", "n2"].map(|name| Candidate { name: name.parse().unwrap(), zone: None }).into_iter().collect();
        let mut roster = Roster::new();
        let me: NodeName = "n1".parse().unwrap();
        roster.update(&me, &fit, at(0));
        let watch = roster.watch(slot().chunk(), 2);
        let mut publisher = Publisher::new();
        publisher.observe(slot(), tenancy(), Observation::of(Status::Warning), VALID, at(0));
        let publications = publisher.tick(at(0));
        let mut view = HealthView::new();
        let mut inbox = Inbox::default();
        let page = CapabilityFailures::of(slot().chunk(), [(slot(), tenancy(), failed_check())]).encode();
        let expected = [FailedChecks::default(), failed_check()];
        for (name, expected) in ["n1", "n2"].into_iter().zip(expected) {
            // Both probe; the second is heard to see it failing after the first.
            for name in ["n1", "n2"] {
                let observer = Observer { name: name.parse().unwrap(), generation: 1 };
                view.mark_observer(&observer, Freshness::Fresh).unwrap();
                for publication in &publications {
                    let Publication::Put { chunk, digest } = publication else { panic!("{publication:?}") };
                    view.receive(observer.clone(), *chunk, 1, Some(&digest.encode()), at(0)).unwrap();
                }
            }
            let member: NodeName = name.parse().unwrap();
            let update =
                Update { member, generation: 1, key: "c/0".into(), version: 1, value: Some(page.as_str().into()) };
            assert_eq!(inbox.receive(&update, UnixMillis::new(1)), Some(slot().chunk()));
            assert_eq!(failed(&inbox, &watch, (slot(), tenancy()), &view), expected);
        }
        let first = Observer { name: me, generation: 1 };
        view.mark_observer(&first, Freshness::Stale).unwrap();
        assert_eq!(
            failed(&inbox, &watch, (slot(), tenancy()), &view),
            failed_check(),
            "who may be dead does not count"
        );
    }
}
