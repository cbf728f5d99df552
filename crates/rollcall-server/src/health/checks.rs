//! Each check of an instance, through gossip: what this node makes of it goes out, what all observers do comes in.
//!
//! Two kinds of pages, as there are of digests: what lookers see of the checks of an instance ([`SeenPage`]), and what those hear
//! of its checks by heartbeats to whom they are sent ([`WordsPage`]). Whoever looks joins the words with what it sees and tells the
//! result; every node joins what the lookers tell ([`agree_on_checks`]). So a check is agreed on like its instance, by the same
//! nodes, and a capability that a check stands for works while one prober sees it working.
//!
//! **A page comes before the digest of the same moment.** It is published at once, a digest with the next round of gossip; values of a
//! node arrive in the order in which it published them; and the task takes in pages before digests. So who sees the status of an
//! instance change knows of which check.
//!
//! Limits: a node tells of at most [`CHUNKS_MAX`] chunks of each kind; of those that find no room, which is counted, checks are shown
//! as their instance is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall_gossip::Handle as Gossip;
use rollcall_health::agreement::{CheckSighting, agree_on_checks, is_told_by_check};
use rollcall_health::assignment::Watch;
use rollcall_health::check_page::{CheckPage, chunk_of_key, key, prefix};
use rollcall_health::{ChunkId, DigestKind, Freshness, HealthView, Slot, Status, Tenancy};
use rollcall_types::{CheckSpec, CheckStatuses, MonoTime, NodeName};
use tracing::debug;

use super::inbox::{Inbox, Page};
use super::metrics;

/// Most chunks of each kind of which this node tells: of 32,768 instances, in some 400 KB.
const CHUNKS_MAX: usize = 512;

/// How long checks are told on that all pass: until the digest that says so for all of them has come to everybody.
const LINGER: Duration = Duration::from_secs(10);

/// What a looker sees of checks.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenPage(CheckPage);

/// What a node hears of checks by heartbeats.
#[derive(Debug, Clone, Default)]
pub(super) struct WordsPage(CheckPage);

impl Page for SeenPage {
    const PREFIX: &str = prefix(DigestKind::Health);

    fn chunk_of_key(key: &str) -> Option<ChunkId> {
        chunk_of_key(DigestKind::Health, key)
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        CheckPage::decode(text).map(Self).map_err(|error| error.reason())
    }

    fn refused(reason: &'static str) {
        metrics::check_page_refused(reason);
    }
}

impl Page for WordsPage {
    const PREFIX: &str = prefix(DigestKind::Leases);

    fn chunk_of_key(key: &str) -> Option<ChunkId> {
        chunk_of_key(DigestKind::Leases, key)
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        CheckPage::decode(text).map(Self).map_err(|error| error.reason())
    }

    fn refused(reason: &'static str) {
        metrics::check_page_refused(reason);
    }
}

impl WordsPage {
    /// What is said of the checks of an instance.
    pub(super) fn get(&self, slot: Slot, tenancy: Tenancy) -> CheckStatuses {
        self.0.get(slot, tenancy)
    }
}

/// What all observers agree on of each check of an instance; nothing of one whose status says all.
pub(super) fn agreed(
    inbox: &Inbox<SeenPage>,
    watch: &Watch,
    (slot, tenancy): (Slot, Tenancy),
    checks: &[CheckSpec],
    sightings: &HealthView,
) -> CheckStatuses {
    if !is_told_by_check(checks) {
        return CheckStatuses::default();
    }
    let seen: Vec<_> = sightings
        .sightings(slot, tenancy)
        .map(|sighting| {
            let page = inbox.of(slot.chunk(), sighting.observer);
            let told = page.map_or_else(CheckStatuses::default, |(page, _)| page.0.get(slot, tenancy));
            CheckSighting { sighting, told: told.about(checks) }
        })
        .collect();
    agree_on_checks(watch, checks, &seen)
}

/// Who hears the heartbeats of instances, and what they hear of each check.
#[derive(Clone, Copy)]
pub(super) struct Vouchers<'a> {
    pub(super) view: &'a HealthView,
    pub(super) words: &'a Inbox<WordsPage>,
}

impl Vouchers<'_> {
    /// What those say of the checks of an instance who hear it and whose evidence is so fresh; of several words the worst. Without
    /// those of `me`, if that is given.
    pub(super) fn words(
        self,
        (slot, tenancy): (Slot, Tenancy),
        checks: &[CheckSpec],
        freshness: Freshness,
        me: Option<&NodeName>,
    ) -> CheckStatuses {
        let hearers = self.view.sightings(slot, tenancy).filter(|it| it.freshness == freshness);
        let others = hearers.filter(|sighting| me != Some(sighting.observer));
        let pages = others.filter_map(|sighting| self.words.of(slot.chunk(), sighting.observer));
        let told: Vec<_> = pages.map(|(page, _)| page.get(slot, tenancy).about(checks)).collect();
        CheckStatuses::of(checks, |place, _| told.iter().filter_map(|told| told.get(place)).max())
    }

    /// Whether one of those who hear an instance tells checks of its chunk one by one, of whatever instance.
    pub(super) fn is_told_by_check(self, (slot, tenancy): (Slot, Tenancy)) -> bool {
        let mut fresh = self.view.sightings(slot, tenancy).filter(|it| it.freshness == Freshness::Fresh);
        fresh.any(|sighting| self.words.of(slot.chunk(), sighting.observer).is_some())
    }
}

/// What this node tells of the checks of one instance.
#[derive(Debug, Clone, Copy)]
struct Told {
    tenancy: Tenancy,
    checks: CheckStatuses,
    /// Until when that holds.
    until: MonoTime,
}

/// What this node tells the others, of one kind.
///
/// Invariants:
/// - `published` holds what the others know, of at most [`CHUNKS_MAX`] chunks.
/// - A chunk whose page in `told` is not the published one is in `changed` or `waiting`.
pub(super) struct Outbox {
    kind: DigestKind,
    told: BTreeMap<ChunkId, BTreeMap<Slot, Told>>,
    published: BTreeMap<ChunkId, CheckPage>,
    changed: BTreeSet<ChunkId>,
    /// What found no room.
    waiting: BTreeSet<ChunkId>,
}

impl Outbox {
    pub(super) fn new(kind: DigestKind) -> Self {
        Self {
            kind,
            told: BTreeMap::new(),
            published: BTreeMap::new(),
            changed: BTreeSet::new(),
            waiting: BTreeSet::new(),
        }
    }

    /// Tells the checks of an instance for `valid_for`; nothing takes back what was told.
    pub(super) fn tell(
        &mut self,
        slot: Slot,
        tenancy: Tenancy,
        checks: CheckStatuses,
        (now, valid_for): (MonoTime, Duration),
    ) {
        let chunk = slot.chunk();
        if checks.is_empty() {
            if self.told.get_mut(&chunk).is_some_and(|told| told.remove(&slot).is_some()) {
                self.changed.insert(chunk);
            }
            return;
        }
        let told = Told { tenancy, checks, until: now.plus(valid_for) };
        let before = self.told.entry(chunk).or_default().insert(slot, told);
        if before.is_none_or(|before| (before.tenancy, before.checks) != (tenancy, checks)) {
            self.changed.insert(chunk);
        }
    }

    /// Tells no more than its digest does of an instance whose checks all pass, after a while.
    pub(super) fn fade(&mut self, slot: Slot, tenancy: Tenancy, checks: CheckStatuses, now: MonoTime) {
        let told = self.told.get(&slot.chunk()).and_then(|told| told.get(&slot));
        let fades_at = now.plus(LINGER);
        match told.copied() {
            None => {}
            Some(told) if (told.tenancy, told.checks) == (tenancy, checks) && told.until <= fades_at => {}
            Some(_) => self.tell(slot, tenancy, checks, (now, LINGER)),
        }
    }

    /// Takes back what does not hold any more, and tries again what found no room.
    pub(super) fn tick(&mut self, gossip: &Gossip) {
        self.expire(gossip.now());
        metrics::check_chunks_untold(self.kind, self.waiting.len());
        self.publish(gossip);
    }

    fn expire(&mut self, now: MonoTime) {
        let Self { told, changed, .. } = self;
        told.retain(|chunk, told| {
            let before = told.len();
            told.retain(|_, it| it.until > now);
            if told.len() < before {
                changed.insert(*chunk);
            }
            !told.is_empty()
        });
        self.changed.append(&mut self.waiting);
    }

    /// What is to be published now, by chunk; what is empty is taken back.
    fn take_news(&mut self) -> Vec<(ChunkId, CheckPage)> {
        let mut news = Vec::new();
        for chunk in std::mem::take(&mut self.changed) {
            let told = self.told.get(&chunk).into_iter().flatten();
            let page = CheckPage::of(chunk, told.map(|(slot, it)| (*slot, it.tenancy, it.checks)));
            let before = self.published.get(&chunk);
            if page.is_empty() {
                news.extend(self.published.remove(&chunk).map(|_| (chunk, page)));
            } else if before.is_none() && self.published.len() >= CHUNKS_MAX {
                self.waiting.insert(chunk);
            } else if before != Some(&page) {
                self.published.insert(chunk, page.clone());
                news.push((chunk, page));
            }
        }
        news
    }

    /// Publishes what is news.
    pub(super) fn publish(&mut self, gossip: &Gossip) {
        for (chunk, page) in self.take_news() {
            let key = key(self.kind, chunk);
            if page.is_empty() {
                gossip.retract(&key);
            } else if let Err(error) = gossip.publish(&key, &page.encode()) {
                debug!(%error, "the checks of a chunk of instances find no room in gossip: {error}");
                gossip.retract(&key);
                self.published.remove(&chunk);
                self.waiting.insert(chunk);
            }
        }
    }
}

/// Whether these say that each check passes.
pub(super) fn all_pass(told: CheckStatuses, checks: &[CheckSpec]) -> bool {
    (0..checks.len()).all(|place| told.get(place) == Some(Status::Passing))
}

#[cfg(test)]
mod tests {
    use rollcall_health::assignment::{Candidate, Roster};
    use rollcall_types::{CheckKind, Millis, Revision, Text, UnixMillis};

    use super::*;
    use crate::health::fixture::Voices;

    const VALID: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> MonoTime {
        MonoTime::new(Duration::from_secs(seconds))
    }

    fn slot(number: u32) -> Slot {
        Slot::new(number).unwrap()
    }

    fn tenancy() -> Tenancy {
        Tenancy::began_at(Revision::new(9))
    }

    fn checks() -> [CheckSpec; 2] {
        ["db", "print"].map(|id| CheckSpec {
            id: id.parse().unwrap(),
            name: Text::default(),
            notes: Text::default(),
            capability: (id == "print").then(|| id.parse().unwrap()),
            kind: CheckKind::Tcp { host: "localhost".try_into().unwrap(), port: 80_u64.try_into().unwrap() },
            interval: Millis::new(1_000),
            timeout: Millis::new(100),
            failures_before_critical: 3,
            successes_before_passing: 2,
        })
    }

    fn told(statuses: [Status; 2]) -> CheckStatuses {
        CheckStatuses::of(&checks(), |place, _| Some(statuses[place]))
    }

    fn page(number: u32, checks: CheckStatuses) -> CheckPage {
        CheckPage::of(slot(number).chunk(), [(slot(number), tenancy(), checks)])
    }

    #[test]
    fn checks_are_told_once_and_taken_back_when_they_are_not_seen_again() {
        let mut outbox = Outbox::new(DigestKind::Health);
        let (fine, failed) = (told([Status::Passing; 2]), told([Status::Passing, Status::Critical]));
        let chunk = slot(0).chunk();
        outbox.fade(slot(0), tenancy(), fine, at(0));
        assert_eq!(outbox.take_news(), [], "the digest says so");
        outbox.tell(slot(0), tenancy(), failed, (at(0), VALID));
        assert_eq!(outbox.take_news(), [(chunk, page(0, failed))]);
        outbox.tell(slot(0), tenancy(), failed, (at(10), VALID));
        assert_eq!(outbox.take_news(), []);
        outbox.expire(at(39));
        assert_eq!(outbox.take_news(), []);
        outbox.expire(at(41));
        assert_eq!(outbox.take_news(), [(chunk, CheckPage::default())]);
        outbox.tell(slot(0), tenancy(), failed, (at(50), VALID));
        outbox.tell(slot(0), tenancy(), CheckStatuses::default(), (at(50), VALID));
        assert_eq!(outbox.take_news(), []);
    }

    #[test]
    fn that_all_checks_pass_again_is_told_until_everybody_has_the_digest_that_says_so() {
        let mut outbox = Outbox::new(DigestKind::Health);
        let (fine, failed) = (told([Status::Passing; 2]), told([Status::Passing, Status::Critical]));
        outbox.tell(slot(0), tenancy(), failed, (at(0), VALID));
        outbox.take_news();
        for seconds in [1, 2, 9] {
            outbox.fade(slot(0), tenancy(), fine, at(seconds));
        }
        assert_eq!(outbox.take_news(), [(slot(0).chunk(), page(0, fine))]);
        outbox.expire(at(10));
        assert_eq!(outbox.take_news(), []);
        outbox.expire(at(12));
        assert_eq!(outbox.take_news(), [(slot(0).chunk(), CheckPage::default())]);
    }

    #[test]
    fn chunks_beyond_the_bound_wait_for_room() {
        let mut outbox = Outbox::new(DigestKind::Leases);
        let failed = told([Status::Critical; 2]);
        let numbers = (0..=CHUNKS_MAX as u32).map(|chunk| 64 * chunk);
        numbers.for_each(|number| outbox.tell(slot(number), tenancy(), failed, (at(0), VALID)));
        assert_eq!((outbox.take_news().len(), outbox.waiting.len()), (CHUNKS_MAX, 1));
        outbox.tell(slot(64), tenancy(), CheckStatuses::default(), (at(1), VALID));
        assert_eq!(outbox.take_news(), [(slot(64).chunk(), CheckPage::default())]);
        outbox.expire(at(1));
        let last = 64 * CHUNKS_MAX as u32;
        assert_eq!((outbox.take_news(), outbox.waiting.len()), (vec![(slot(last).chunk(), page(last, failed))], 0));
    }

    #[test]
    fn lookers_agree_on_each_check_and_who_may_be_dead_does_not_count() {
        let fit: Vec<_> = ["n1", "n2"].map(|name| Candidate { name: name.parse().unwrap(), zone: None }).into();
        let mut roster = Roster::new();
        roster.update(&"n1".parse().unwrap(), &fit, at(0));
        let watch = roster.watch(slot(0).chunk(), 2);
        let (mut said, mut inbox) = (Voices::new((slot(0), tenancy())), Inbox::<SeenPage>::default());
        let failed = told([Status::Passing, Status::Critical]);
        let join =
            |inbox: &Inbox<SeenPage>, said: &Voices| agreed(inbox, &watch, (slot(0), tenancy()), &checks(), &said.view);
        for (name, expected) in [("n1", Status::Warning), ("n2", Status::Critical)] {
            // Both look; the second is heard to see it failing after the first.
            ["n1", "n2"].into_iter().for_each(|name| said.observe(name, Status::Passing, Freshness::Fresh));
            assert_eq!(
                inbox.receive(&said.update(name, DigestKind::Health, failed), UnixMillis::new(1)),
                Some(slot(0).chunk())
            );
            assert_eq!(join(&inbox, &said), told([Status::Passing, expected]));
        }
        let fine = said.update("n2", DigestKind::Health, told([Status::Passing; 2]));
        inbox.receive(&fine, UnixMillis::new(1)).unwrap();
        said.observe("n2", Status::Passing, Freshness::Stale);
        assert_eq!(join(&inbox, &said), failed);
        let single = agreed(&inbox, &watch, (slot(0), tenancy()), &checks()[..1], &said.view);
        assert!(single.is_empty(), "its status says all");
    }

    #[test]
    fn of_the_words_of_those_who_hear_an_instance_the_worst_counts() {
        let (mut said, mut inbox) = (Voices::new((slot(0), tenancy())), Inbox::<WordsPage>::default());
        let db = |status| CheckStatuses::of(&checks(), |place, _| (place == 0).then_some(status));
        for (name, words) in [("n1", db(Status::Passing)), ("n2", told([Status::Warning, Status::Passing]))] {
            inbox.receive(&said.update(name, DigestKind::Leases, words), UnixMillis::new(1)).unwrap();
        }
        let words = |said: &Voices, me: Option<&str>| {
            let me = me.map(|name| name.parse().unwrap());
            let vouchers = Vouchers { view: &said.view, words: &inbox };
            vouchers.words((slot(0), tenancy()), &checks(), Freshness::Fresh, me.as_ref())
        };
        assert!(words(&said, None).is_empty(), "nobody vouches for it");
        ["n1", "n2"].into_iter().for_each(|name| said.observe(name, Status::Passing, Freshness::Fresh));
        assert_eq!(words(&said, None), told([Status::Warning, Status::Passing]));
        assert_eq!(words(&said, Some("n2")), db(Status::Passing));
        said.observe("n2", Status::Passing, Freshness::Stale);
        assert_eq!(words(&said, None), db(Status::Passing));
    }
}
