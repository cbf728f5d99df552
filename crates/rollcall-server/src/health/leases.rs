//! The heartbeats that arrive at this node.
//!
//! A heartbeat is a look-up in the catalogue and two in here, under one short lock: it is neither written to the log nor sent on.
//! What goes out through gossip is that this node vouches for an instance, once, and that it does so no more. Of an instance that
//! has more than one thing to say by heartbeats (several checks, or a lease and a check), what this node heard of each check goes
//! out beside it, its **words**: no node may have heard all.
//!
//! **The last word counts.** An instance may send its heartbeats to any node, a different one each time. When another node comes
//! to say something else of it than this node, and this node has not heard it since, this node says no more: it would hold the
//! instance to what is no longer so until its TTL is over. So it is with each word; a node that has none left goes on vouching
//! until its TTL is over. Two that were heard within [`AT_ONCE`] of each other have no order that all agree on, and the worse word
//! stays. But a node that takes a heartbeat while it sees the word of another one knows that its own is later: where that has not
//! given way after [`AT_ONCE`], it falls silent for a moment and says its own [`anew`], as news. And it does not give way itself to what
//! it saw already when it took the heartbeat, however much later it gets round to looking at that.
//!
//! **Silence.** A check that is not heard here for longer than its time to live is said to be critical, unless another node hears it.
//!
//! Limits: checks by heartbeats are looked at one by one every second, a microsecond each. What a heartbeat says of the instance as a
//! whole has no place among the words: when it is bad and the instance moves, it counts until another node says something better.

mod anew;
mod said;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollcall_catalog::Instance;
use rollcall_gossip::{Digests, Handle as Gossip};
use rollcall_health::check::{Load, Report};
use rollcall_health::lease::{Grant, HEARTBEATS_PER_TTL, LeaseTable, Lost};
use rollcall_health::{
    ChunkId, DigestKind, Freshness, HealthView, Observation, Reading, RunClock, Sighting, Slot, Status, Tenancy,
};
use rollcall_raft::planted::{Bug, is_planted};
use rollcall_types::{CheckId, CheckKind, CheckSpec, CheckStatuses, InstanceSpec, MonoTime, NodeName};

use self::anew::{Against, Next, Turn};
use self::said::Said;
use super::checks::{Outbox, Vouchers, WordsPage};
use super::metrics;
use super::notes::Notes;
use super::slots::{slot_of, tenancy_of};
use super::tracked::{is_heard_as_one, ttl_checks, ttl_of};

/// Between two looks at checks by heartbeats.
const CHECKS_INTERVAL: Duration = Duration::from_secs(1);

/// Heartbeats that arrive at two nodes within this time of each other, by when each hears of the other's, count as sent at once:
/// a few rounds of gossip.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What an instance says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heartbeat {
    /// Of all of it.
    pub(crate) status: Report,
    /// Of its load.
    pub(crate) load: Option<Load>,
    /// Of its checks by heartbeats; `None` says `status` of all of them.
    pub(crate) checks: Option<Vec<(CheckId, Report)>>,
    /// What it says of a check in words, kept here for whoever asks this node.
    pub(crate) note: Option<(CheckId, String)>,
}

/// What this node heard of a check by heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeardCheck {
    /// The check.
    pub(crate) id: CheckId,
    /// What it counts as.
    pub(crate) status: Status,
    /// What was said of it in words.
    pub(crate) note: Option<String>,
}

/// What a heartbeat is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// Longest silence from now on.
    pub(crate) ttl: Duration,
    /// When to send the next one.
    pub(crate) next_heartbeat: Duration,
}

/// Why a heartbeat was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRenewed {
    /// The registration has neither a lease nor a check by heartbeats.
    #[error("this instance has neither a lease nor a check of type ttl; register it with one to send heartbeats")]
    NoLease,
    /// It has no such check.
    #[error("'{0}' is no check of type ttl of this instance")]
    NoSuchCheck(CheckId),
}

/// The leases whose heartbeats arrive at this node.
pub(crate) struct Leases {
    me: NodeName,
    digests: Digests,
    gossip: Gossip,
    book: Mutex<Book>,
}

struct Book {
    clock: RunClock,
    table: LeaseTable,
    said: HashMap<Slot, Said>,
    /// What is heard of each check.
    words: Outbox,
    /// What may have to be said anew: of an instance, or of the check at a place of its registration.
    anew: BTreeMap<(Slot, Option<usize>), Turn>,
    notes: Notes,
    checks_at: MonoTime,
}

impl Leases {
    pub(super) fn new(me: NodeName, gossip: Gossip) -> Self {
        let now = gossip.now();
        let book = Book {
            clock: RunClock::new(now),
            table: LeaseTable::new(),
            said: HashMap::new(),
            words: Outbox::new(DigestKind::Leases),
            anew: BTreeMap::new(),
            notes: Notes::default(),
            checks_at: now,
        };
        Self { me, digests: gossip.leases(), gossip, book: Mutex::new(book) }
    }

    /// Takes a heartbeat of an instance, as the catalogue has it now.
    ///
    /// # Errors
    /// [`NotRenewed`].
    pub(crate) fn renew(&self, instance: &Instance, heartbeat: &Heartbeat) -> Result<Renewed, NotRenewed> {
        let (Some(slot), Some(ttl)) = (slot_of(instance), ttl_of(instance)) else { return Err(NotRenewed::NoLease) };
        let ttl = if is_planted(Bug::EarlyExpiry) { ttl / 3 } else { ttl };
        let spec = &instance.spec;
        let strange = heartbeat.checks.iter().flatten().find(|(id, _)| !ttl_checks(spec).any(|(_, it)| it.id == *id));
        if let Some((id, _)) = strange {
            return Err(NotRenewed::NoSuchCheck(id.clone()));
        }
        let tenancy = tenancy_of(instance);
        let mut guard = self.book();
        let book = &mut *guard;
        let at = book.clock.read(self.gossip.now());
        let renewal = book.table.renew(slot, Some(Grant { tenancy, ttl }), at, rand::random());
        let renewal = renewal.map_err(|_| NotRenewed::NoLease)?;
        let before = book.said.remove(&slot).filter(|_| !renewal.is_new);
        let known = before.as_ref().map(|said| (said.observation, said.words()));
        let mut said = Said::by(before, instance, heartbeat, ttl, at);
        let others = self.others(slot, tenancy);
        let is_heard_elsewhere = !others.is_empty();
        said.saw(others);
        self.tell(&mut book.words, (slot, tenancy), &said, known.map(|(observation, _)| observation), at.now);
        if is_heard_as_one(spec) {
            let is_news = known.map(|(observation, _)| observation) != Some(said.observation);
            self.watch_for_others(&mut book.anew, (slot, tenancy), &said, is_news, at.now);
        } else if is_heard_elsewhere {
            for (place, _) in ttl_checks(spec).filter(|(_, check)| heartbeat.is_about(&check.id)) {
                let is_news = known.and_then(|(_, words)| words.get(place)) != said.words().get(place);
                book.anew.entry((slot, Some(place))).or_insert_with(|| Turn::watched(is_news, at.now));
            }
        }
        book.said.insert(slot, said);
        if let Some((check, note)) = &heartbeat.note {
            book.notes.keep(slot, tenancy, check, note);
        }
        metrics::heartbeat();
        let shortest = ttl_checks(spec).filter_map(|(_, check)| ttl_of_check(check)).min();
        let soonest = shortest.map_or(Duration::MAX, |ttl| ttl / HEARTBEATS_PER_TTL);
        Ok(Renewed { ttl: renewal.ttl, next_heartbeat: renewal.next_heartbeat.min(soonest) })
    }

    /// Tells the others what is said of an instance; `known` is what its digest said.
    fn tell(
        &self,
        words: &mut Outbox,
        (slot, tenancy): (Slot, Tenancy),
        said: &Said,
        known: Option<Observation>,
        now: MonoTime,
    ) {
        // Before the digest, so that who hears that something is critical knows what.
        words.tell(slot, tenancy, said.words(), (now, Duration::MAX));
        words.publish(&self.gossip);
        if known != Some(said.observation) {
            // What finds no room in gossip is held, counted and logged there.
            drop(self.digests.observe(slot, tenancy, said.observation, Duration::MAX));
        }
    }

    /// Sees to it that the word of this node counts, which is later than what another node says where that is seen already.
    fn watch_for_others(
        &self,
        anew: &mut BTreeMap<(Slot, Option<usize>), Turn>,
        (slot, tenancy): (Slot, Tenancy),
        said: &Said,
        is_news: bool,
        now: MonoTime,
    ) {
        if anew.contains_key(&(slot, None)) {
            return;
        }
        let turn = match self.against(slot, tenancy, said) {
            Against::Nothing => return,
            Against::Counted if !is_news => {
                self.digests.withdraw(slot, tenancy);
                Turn::silent(now)
            }
            Against::Counted | Against::Uncounted => Turn::watched(is_news, now),
        };
        anew.insert((slot, None), turn);
    }

    /// Who else vouches for it, and for what.
    fn others(&self, slot: Slot, tenancy: Tenancy) -> Box<[(NodeName, Status)]> {
        let view = self.digests.view();
        let others = view.sightings(slot, tenancy).filter(|it| *it.observer != self.me);
        others.map(|it| (it.observer.clone(), it.said)).collect()
    }

    /// Whether another node vouches for something worse.
    fn against(&self, slot: Slot, tenancy: Tenancy, said: &Said) -> Against {
        let (own, view) = (said.observation.status, self.digests.view());
        let worse = view.sightings(slot, tenancy).filter(|it| *it.observer != self.me && it.said > own);
        worse.map(|it| Against::from(it.freshness)).max().unwrap_or(Against::Nothing)
    }

    /// Lets time pass: to be called every [`RUN_TICK`](rollcall_health::RUN_TICK).
    pub(super) fn tick(&self, vouchers: Vouchers<'_>) {
        let mut guard = self.book();
        let book = &mut *guard;
        let at = book.clock.tick(self.gossip.now());
        for lost in book.table.tick(at) {
            // What it said last may tell why it is silent, so the notes stay.
            self.forget(book, lost);
            metrics::lease_expired();
        }
        metrics::leases(book.table.len());
        self.say_anew(book, vouchers, at.now);
        if at.now.since(book.checks_at) >= CHECKS_INTERVAL {
            book.checks_at = at.now;
            self.look_at_checks(book, vouchers, at);
        }
        book.words.tick(&self.gossip);
    }

    /// The instance that was at `slot` was removed. Another one that is there since may have been heard already.
    pub(super) fn revoke(&self, slot: Slot, tenancy: Tenancy) {
        let mut book = self.book();
        if book.table.tenancy(slot).is_none_or(|present| present == tenancy) {
            book.notes.forget(slot);
            self.fall_silent(&mut book, slot);
        }
    }

    /// Says no more of instances of a chunk of which another node has heard something else since. `before` and `after` are what
    /// all nodes said and say.
    pub(super) fn give_way(&self, chunk: ChunkId, before: &HealthView, after: &HealthView) {
        let (mut guard, now) = (self.book(), self.gossip.now());
        let book = &mut *guard;
        for slot in chunk.slots() {
            let Some((said, tenancy)) = book.said.get_mut(&slot).zip(book.table.tenancy(slot)) else { continue };
            let is_news = |sighting: &Sighting<'_>| {
                let earlier = before.sightings(slot, tenancy).find(|earlier| earlier.observer == sighting.observer);
                let is_same = earlier.map(|earlier| earlier.said) == Some(sighting.said);
                !is_same && !said.has_seen(sighting.observer, sighting.said)
            };
            // What came before the last heartbeat is no later word than that.
            let heard_at = said.heard_at;
            let others = after.sightings(slot, tenancy).filter(|sighting| *sighting.observer != self.me);
            let fresh = others.filter(|it| it.freshness == Freshness::Fresh && it.received_at > heard_at);
            let news: Vec<_> = fresh.filter(is_news).map(|it| it.said).collect();
            said.has_looked();
            if said.spec().is_none_or(|spec| is_heard_as_one(spec)) {
                if news.iter().any(|other| said.gives_way_to(*other, now)) {
                    self.fall_silent(book, slot);
                }
            } else if news.into_iter().any(|other| said.relent(other, now)) {
                self.settle(&mut book.words, (slot, tenancy), said, now);
            }
        }
    }

    /// Takes back what this node says of checks of which another node has heard something else since: `before` and `after` are what
    /// that said and says of the checks of a chunk.
    pub(super) fn give_way_by_check(
        &self,
        chunk: ChunkId,
        other: &NodeName,
        (before, after): (&WordsPage, &WordsPage),
    ) {
        let (mut guard, now) = (self.book(), self.gossip.now());
        let book = &mut *guard;
        for slot in chunk.slots() {
            let Some((said, tenancy)) = book.said.get_mut(&slot).zip(book.table.tenancy(slot)) else { continue };
            let words = (before.get(slot, tenancy), after.get(slot, tenancy));
            let overtaken = said.give_way_by_check(other, words, now);
            for place in &overtaken {
                book.anew.remove(&(slot, Some(*place)));
            }
            if !overtaken.is_empty() {
                self.settle(&mut book.words, (slot, tenancy), said, now);
            }
        }
    }

    /// What this node heard last of the checks by heartbeats of an instance, in the order of its registration; those of which it
    /// heard nothing are left out.
    pub(crate) fn heard(&self, instance: &Instance) -> Vec<HeardCheck> {
        let Some(slot) = slot_of(instance) else { return Vec::new() };
        let tenancy = tenancy_of(instance);
        let book = self.book();
        let said = book.said.get(&slot).filter(|_| book.table.tenancy(slot) == Some(tenancy));
        let said = said.filter(|said| said.spec().is_some_and(|spec| spec.checks == instance.spec.checks));
        let heard = ttl_checks(&instance.spec).filter_map(|(place, check)| {
            let status = said?.heard(place)?;
            let note = book.notes.of(slot, tenancy, &check.id).map(str::to_owned);
            Some(HeardCheck { id: check.id.clone(), status, note })
        });
        heard.collect()
    }

    fn fall_silent(&self, book: &mut Book, slot: Slot) {
        if let Some(lost) = book.table.revoke(slot) {
            self.forget(book, lost);
        }
    }

    /// Takes back all that was said of an instance.
    fn forget(&self, book: &mut Book, Lost { slot, tenancy }: Lost) {
        book.said.remove(&slot);
        let of_slot: Vec<_> = book.anew.range((slot, None)..=(slot, Some(usize::MAX))).map(|(key, _)| *key).collect();
        for key in of_slot {
            book.anew.remove(&key);
        }
        self.digests.withdraw(slot, tenancy);
        book.words.tell(slot, tenancy, CheckStatuses::default(), (self.gossip.now(), Duration::ZERO));
        book.words.publish(&self.gossip);
    }

    /// Tells what is said of an instance as far as it is something else now.
    fn settle(&self, words: &mut Outbox, place: (Slot, Tenancy), said: &mut Said, now: MonoTime) {
        let before = said.observation;
        said.settle(now);
        self.tell(words, place, said, Some(before), now);
    }

    fn say_anew(&self, book: &mut Book, vouchers: Vouchers<'_>, now: MonoTime) {
        let Book { table, said, words, anew, .. } = book;
        anew.retain(|(slot, place), turn| {
            let Some((said, tenancy)) = said.get_mut(slot).zip(table.tenancy(*slot)) else { return false };
            let (slot, place) = (*slot, *place);
            if place.is_none() && said.spec().is_some_and(|spec| !is_heard_as_one(spec)) {
                // It was registered anew, and now has words, which are said anew one by one.
                drop(self.digests.observe(slot, tenancy, said.observation, Duration::MAX));
                return false;
            }
            let against = || match place {
                None => self.against(slot, tenancy, said),
                Some(place) => against_check(said, place, |spec, freshness| {
                    vouchers.words((slot, tenancy), &spec.checks, freshness, Some(&self.me))
                }),
            };
            let (next, is_hushed) = match turn.next(against, now) {
                Next::Stay => return true,
                Next::Done => return false,
                Next::Say(next) => (next, false),
                Next::Hush(next) => (next, true),
            };
            *turn = next;
            match place {
                None if is_hushed => self.digests.withdraw(slot, tenancy),
                None => drop(self.digests.observe(slot, tenancy, said.observation, Duration::MAX)),
                Some(place) => {
                    said.hush(place, is_hushed);
                    self.settle(words, (slot, tenancy), said, now);
                }
            }
            true
        });
    }

    fn look_at_checks(&self, book: &mut Book, vouchers: Vouchers<'_>, at: Reading) {
        let Book { table, said, words, .. } = book;
        for (slot, said) in said.iter_mut().filter(|(_, said)| said.spec().is_some()) {
            let Some(tenancy) = table.tenancy(*slot) else { continue };
            said.tick(at, |spec| vouchers.words((*slot, tenancy), &spec.checks, Freshness::Fresh, Some(&self.me)));
            self.settle(words, (*slot, tenancy), said, at.now);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another node says something worse of a check than this one; `others` is what those say whose evidence is so fresh.
fn against_check(said: &Said, place: usize, others: impl Fn(&InstanceSpec, Freshness) -> CheckStatuses) -> Against {
    let Some((own, spec)) = said.heard(place).zip(said.spec()) else { return Against::Nothing };
    let is_worse = |freshness: &Freshness| others(spec, *freshness).get(place).is_some_and(|other| other > own);
    [Freshness::Fresh, Freshness::Stale].into_iter().find(is_worse).map_or(Against::Nothing, Against::from)
}

impl Heartbeat {
    /// Whether it says something of this check.
    fn is_about(&self, check: &CheckId) -> bool {
        self.checks.as_ref().is_none_or(|checks| checks.iter().any(|(id, _)| id == check))
    }
}

fn ttl_of_check(check: &CheckSpec) -> Option<Duration> {
    match check.kind {
        CheckKind::Ttl { ttl, .. } => Some(ttl.duration()),
        _ => None,
    }
}
