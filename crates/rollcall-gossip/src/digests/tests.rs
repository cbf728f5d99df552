use rollcall_health::detector::{Cause, Lateness, State};
use rollcall_health::{DIGEST_TEXT_MAX, Status};
use rollcall_types::{MonoTime, Revision, UnixMillis};

use super::*;
use crate::clock::Clock;
use crate::publish::{KEYS_MAX, Published};
use crate::values::{MemberValues, Values};
use crate::view::Member;

/// The detector's silence, and one after which evidence counts no more.
const SILENCE: Duration = Duration::from_secs(1);
const TOO_LONG: Duration = Duration::from_secs(6);
const LONG: Duration = Duration::from_secs(3_600);
/// Gossip's version of the values that tests receive.
const VERSION: u64 = 5;

fn shared(this: &str) -> Arc<Shared> {
    let clock = Clock::start();
    let key = crate::key::Keyring::new(&[1; 32]).sealing_key();
    Arc::new(Shared {
        clock,
        view: ArcSwap::from_pointee(MembershipView::empty(name(this), 1, clock.now(), key)),
        values: ArcSwap::from_pointee(Values::default()),
        events: broadcast::Sender::new(1),
        updates: broadcast::Sender::new(4),
        published: Published::default(),
    })
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn slot(number: u32) -> Slot {
    Slot::new(number).unwrap()
}

fn tenancy() -> Tenancy {
    Tenancy::began_at(Revision::new(9))
}

/// The text of a digest that says "passing" of slot 0 of its chunk.
fn passing() -> String {
    let mut publisher = Publisher::new();
    publisher.observe(slot(0), tenancy(), Observation::of(Status::Passing), LONG, MonoTime::default());
    match publisher.tick(MonoTime::default()).as_slice() {
        [Publication::Put { digest, .. }] => digest.encode(),
        other => panic!("{other:?}"),
    }
}

/// A member in its generation 1, in this state and silent for so long.
fn member(text: &str, state: State, silence: Duration) -> Member {
    let health = rollcall_health::detector::Member {
        name: name(text),
        generation: 1,
        heartbeat: 1,
        state,
        since: MonoTime::default(),
        cause: Cause::Discovered,
        witnesses: Vec::new(),
        was_heard: true,
        silence,
        patience: Duration::from_secs(1),
        rtt: None,
        lateness: Lateness::OnTime,
        flaps: 0,
        rival: None,
        is_unheard: false,
    };
    Member { address: None, meta: None, since: UnixMillis::new(0), health }
}

fn members(shared: &Shared, members: impl IntoIterator<Item = Member>) {
    let mut view = (**shared.view.load()).clone();
    view.members = members.into_iter().map(|member| (member.health.name.clone(), member)).collect();
    shared.view.store(Arc::new(view));
}

fn update(member: &str, key: &str, version: u64, value: Option<&str>) -> Update {
    Update { member: name(member), generation: 1, key: key.into(), version, value: value.map(Into::into) }
}

/// A receiver, and the updates it takes in.
fn receiver(shared: &Arc<Shared>) -> (Receiver, broadcast::Receiver<Update>, Digests) {
    let digests = Digests::new(DigestKind::Health, shared.clone());
    (Receiver::new(digests.inner.clone(), SILENCE), shared.updates.subscribe(), digests)
}

/// What `member` is seen to say of slot 0, as it counts; `None` when it says nothing.
fn status(receiver: &Receiver, member: &str) -> Option<Status> {
    let mut sightings = receiver.view.sightings(slot(0), tenancy());
    sightings.find(|sighting| sighting.observer.as_str() == member).map(|sighting| sighting.observation.status)
}

#[test]
fn evidence_counts_while_its_observer_is_heard_and_not_dead() {
    let short = Duration::from_secs(2);
    for (state, silence, expected) in [
        (State::Alive, short, Status::Passing),
        (State::Suspect, short, Status::Passing),
        (State::Alive, TOO_LONG, Status::Unknown),
        (State::Suspect, TOO_LONG, Status::Unknown),
        (State::Dead, short, Status::Unknown),
        (State::Left, short, Status::Unknown),
    ] {
        let shared = shared("n1");
        let (mut receiver, mut updates, _) = receiver(&shared);
        receiver.take_in(update("n2", "h/0", VERSION, Some(&passing())), &mut updates);
        assert_eq!(status(&receiver, "n2"), Some(Status::Unknown), "of a stranger");
        members(&shared, [member("n2", state, silence)]);
        receiver.look(&shared.view.load());
        assert_eq!(status(&receiver, "n2"), Some(expected), "{state} {silence:?}");
    }
}

/// A node that started believed, for a second or three, the last word of one that was dead already.
#[test]
fn of_a_member_that_is_only_told_of_no_evidence_counts_until_it_is_heard() {
    let shared = shared("n1");
    let (mut receiver, mut updates, _) = receiver(&shared);
    receiver.take_in(update("n2", "h/0", VERSION, Some(&passing())), &mut updates);
    let mut told_of = member("n2", State::Alive, Duration::ZERO);
    for (was_heard, expected) in [(false, Status::Unknown), (true, Status::Passing)] {
        told_of.health.was_heard = was_heard;
        members(&shared, [told_of.clone()]);
        receiver.look(&shared.view.load());
        assert_eq!(status(&receiver, "n2"), Some(expected));
    }
}

/// What a member said, gossip forgot after ten minutes of silence; it was kept, and counted again when the member came back without it.
#[test]
fn what_gossip_lost_of_a_member_is_gone_and_comes_back_only_if_it_is_still_said() {
    let shared = shared("n1");
    let (mut receiver, mut updates, _) = receiver(&shared);
    members(&shared, [member("n2", State::Alive, Duration::ZERO)]);
    receiver.look(&shared.view.load());
    receiver.take_in(update("n2", "h/0", VERSION, Some(&passing())), &mut updates);
    assert_eq!(status(&receiver, "n2"), Some(Status::Passing));
    receiver.take_in(update("n2", "h/0", VERSION, None), &mut updates);
    assert_eq!(status(&receiver, "n2"), None);
    receiver.take_in(update("n2", "h/0", VERSION, Some(&passing())), &mut updates);
    assert_eq!(status(&receiver, "n2"), Some(Status::Passing), "it never took that back");
    receiver.take_in(update("n2", "h/0", VERSION + 1, None), &mut updates);
    receiver.take_in(update("n2", "h/0", VERSION, Some(&passing())), &mut updates);
    assert_eq!(status(&receiver, "n2"), None, "this it did take back, and what is older comes late");
}

#[test]
fn garbage_voids_the_chunk_it_stands_for_and_nothing_else() {
    let shared = shared("n1");
    let (mut receiver, mut updates, digests) = receiver(&shared);
    members(&shared, [member("n2", State::Alive, Duration::ZERO), member("n3", State::Alive, Duration::ZERO)]);
    receiver.look(&shared.view.load());
    for observer in ["n2", "n3"] {
        receiver.take_in(update(observer, "h/0", VERSION, Some(&passing())), &mut updates);
    }
    receiver.show();
    let (before, changes) = (digests.view(), digests.changes());
    let long = "A".repeat(DIGEST_TEXT_MAX + 1);
    for key in ["h/", "h/x", "h/01", "h/32768", "h/0/0", "a", "h"] {
        receiver.take_in(update("n2", key, VERSION + 1, Some(&passing())), &mut updates);
        receiver.take_in(update("n2", key, VERSION + 1, None), &mut updates);
    }
    receiver.show();
    assert!(Arc::ptr_eq(&before, &digests.view()) && !changes.has_changed().unwrap(), "no key of a chunk");
    for garbage in ["", "naïve", "AgAAAAAAAAAA", &long] {
        receiver.take_in(update("n2", "h/0", VERSION - 1, Some(garbage)), &mut updates);
        assert_eq!(status(&receiver, "n2"), Some(Status::Passing), "older garbage");
    }
    receiver.take_in(update("n2", "h/0", VERSION + 1, Some("garbage")), &mut updates);
    assert_eq!((status(&receiver, "n2"), status(&receiver, "n3")), (None, Some(Status::Passing)));
    receiver.take_in(update("n2", "h/0", VERSION + 2, Some(&passing())), &mut updates);
    assert_eq!(status(&receiver, "n2"), Some(Status::Passing));
}

#[test]
fn who_falls_behind_reads_everything_and_keeps_nothing_that_is_gone() {
    let shared = shared("n1");
    let (mut receiver, mut updates, _) = receiver(&shared);
    members(&shared, [member("n2", State::Alive, Duration::ZERO), member("n3", State::Alive, Duration::ZERO)]);
    receiver.take_in(update("n2", "h/0", VERSION, Some(&passing())), &mut updates);
    // Of five updates the queue keeps four: that n2 took its digest back is lost, and so is what n3 publishes.
    let (present, _) = MemberValues::default().follow(1, 9, [("h/0", VERSION, Some(&*passing()))].into_iter());
    shared.values.store(Arc::new(Values(BTreeMap::from([(name("n3"), Arc::new(present))]))));
    shared.updates.send(update("n2", "h/0", VERSION + 1, None)).unwrap();
    for version in 1..=4 {
        shared.updates.send(update("n4", "h/1", version, None)).unwrap();
    }
    let next = update("n4", "h/2", 9, None);
    receiver.take_in(next, &mut updates);
    assert_eq!((status(&receiver, "n2"), status(&receiver, "n3")), (None, Some(Status::Passing)));
}

#[test]
fn an_observer_that_gossip_forgets_is_forgotten() {
    let shared = shared("n1");
    let (mut receiver, mut updates, digests) = receiver(&shared);
    members(&shared, [member("n2", State::Dead, Duration::ZERO)]);
    receiver.look(&shared.view.load());
    receiver.take_in(update("n2", "h/0", VERSION, Some(&passing())), &mut updates);
    members(&shared, []);
    receiver.look(&shared.view.load());
    receiver.show();
    assert_eq!((digests.view().observer_count(), digests.view().digest_count()), (0, 0));
}

#[test]
fn what_finds_no_room_is_refused_taken_back_and_published_when_there_is_room() {
    let shared = shared("n1");
    let digests = Digests::new(DigestKind::Health, shared.clone());
    let observe = |chunk: u32| digests.observe(slot(64 * chunk), tenancy(), Observation::of(Status::Passing), LONG);
    let published = |key: &str| shared.published.take_all().iter().any(|(present, _)| present == key);
    observe(0).unwrap();
    digests.inner.publish();
    assert!(published("h/0"));
    let mut others = 0;
    while shared.published.set(&format!("k{others}"), "").is_ok() {
        others += 1;
    }
    assert!(others < KEYS_MAX);
    observe(1).unwrap();
    digests.inner.publish();
    assert!(matches!(observe(1), Err(Error::TooMuch)) && !published("h/1"));
    observe(0).unwrap();
    shared.published.remove("k0");
    digests.inner.publish();
    assert!(published("h/0") && published("h/1"));
    observe(1).unwrap();
}

#[test]
fn a_digest_that_outgrows_its_room_says_nothing_rather_than_something_old() {
    let shared = shared("n1");
    let digests = Digests::new(DigestKind::Health, shared.clone());
    let observe = |number| digests.observe(slot(number), tenancy(), Observation::of(Status::Passing), LONG);
    observe(0).unwrap();
    digests.inner.publish();
    let large = "v".repeat(crate::VALUE_BYTES_MAX);
    let mut others = 0;
    while shared.published.set(&format!("k{others}"), &large).is_ok() {
        others += 1;
    }
    let mut rest = large.len();
    while shared.published.set("rest", &large[..rest]).is_err() {
        rest -= 1;
    }
    observe(1).unwrap();
    digests.inner.publish();
    assert!(matches!(observe(1), Err(Error::TooMuch)));
    assert!(shared.published.take_all().iter().all(|(key, _)| key != "h/0"));
}

#[test]
fn a_node_may_observe_100_000_instances_alone() {
    let digests = Digests::new(DigestKind::Health, shared("n1"));
    let observe_all = || {
        for number in 0..100_000 {
            digests.observe(slot(number), tenancy(), Observation::of(Status::Critical), LONG).unwrap();
        }
    };
    observe_all();
    digests.inner.publish();
    observe_all();
    assert_eq!(digests.inner.shared.published.take_all().len(), 1_563);
}

#[test]
fn digests_of_one_kind_are_not_taken_for_those_of_the_other() {
    let shared = shared("n1");
    let [health, leases] = [DigestKind::Health, DigestKind::Leases].map(|kind| Digests::new(kind, shared.clone()));
    leases.observe(slot(0), tenancy(), Observation::of(Status::Passing), LONG).unwrap();
    leases.inner.publish();
    health.inner.publish();
    let published = shared.published.take_all();
    assert_eq!(published.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["l/0"]);
    let mut updates = shared.updates.subscribe();
    let mut receivers = [health, leases].map(|digests| Receiver::new(digests.inner, SILENCE));
    for receiver in &mut receivers {
        receiver.take_in(update("n2", "l/0", VERSION, Some(&passing())), &mut updates);
    }
    assert_eq!(receivers.map(|receiver| receiver.view.digest_count()), [0, 1]);
}
