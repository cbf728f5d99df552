use std::time::Duration;

use rollcall_catalog::{Actor, Command, Precondition, Request};
use rollcall_gossip::Update;
use rollcall_health::forecast::{Forecast, Outlook, Watched, key};
use rollcall_health::{Freshness, Observation, Observer, Publication, Publisher};
use rollcall_types::{InstanceId, InstanceSpec, LeaseSpec, Metadata, Millis, MonoTime, Revision, Tags, Weight};

use super::*;
use crate::health::duties::Members;
use crate::health::slots::Slots;
use crate::health::trends::tests::foreseen;

/// A catalogue of so many instances with a lease, and one without.
fn catalog(leased: usize) -> Catalog {
    let mut catalog = Catalog::default();
    for number in 0..=leased {
        let lease = (number < leased).then_some(LeaseSpec { ttl: Millis::new(60_000) });
        let spec = InstanceSpec {
            endpoints: Box::default(),
            zone: None,
            region: None,
            version: None,
            tags: Tags::new(),
            metadata: Metadata::new(),
            weight: Weight::default(),
            lease,
            checks: Box::default(),
            deregister_after: None,
        };
        let command = Command::Register {
            service: "web".parse().unwrap(),
            id: InstanceId::try_from(&*format!("{number}")).unwrap(),
            spec: Arc::new(spec),
            expect: Precondition::None,
        };
        let actor = Actor { name: "ann".parse().unwrap(), via: "n1".parse().unwrap() };
        let request = Request { id: None, at: UnixMillis::new(1), actor, command };
        catalog.apply(Revision::new(catalog.revision().get() + 1), &request);
    }
    catalog
}

struct World {
    catalog: Arc<Catalog>,
    slots: Slots,
    duties: Duties,
    publisher: Publisher,
    version: u64,
    sightings: HealthView,
    inbox: Inbox<Forecasts>,
    view: View,
}

impl World {
    /// A node n1 that is alone with the instances.
    fn new(leased: usize) -> Self {
        let (mut slots, catalog) = (Slots::new(), Arc::new(catalog(leased)));
        slots.follow(catalog.clone());
        let mut duties = Duties::new("n1".parse().unwrap(), MonoTime::default());
        duties.reach(slots.tenants().len().div_ceil(64));
        let fit = vec![rollcall_health::assignment::Candidate { name: "n1".parse().unwrap(), zone: None }];
        duties.update(&Members { fit, all: 1, is_isolated: false }, leased, MonoTime::default());
        let mut sightings = HealthView::new();
        sightings.mark_observer(&Self::observer(), Freshness::Fresh).unwrap();
        Self {
            catalog,
            slots,
            duties,
            publisher: Publisher::new(),
            version: 0,
            sightings,
            inbox: Inbox::default(),
            view: View::new(),
        }
    }

    fn observer() -> Observer {
        Observer { name: "n1".parse().unwrap(), generation: 1 }
    }

    fn see(&mut self, number: u32, status: Status) {
        let slot = Slot::new(number).unwrap();
        let tenancy = tenancy_of(self.slots.tenant(slot).unwrap());
        let now = MonoTime::default();
        self.publisher.observe(slot, tenancy, Observation::of(status), Duration::MAX, now);
        self.version += 1;
        for publication in self.publisher.tick(now) {
            let Publication::Put { chunk, digest } = publication else { panic!("{publication:?}") };
            let text = digest.encode();
            self.sightings.receive(Self::observer(), chunk, self.version, Some(&text), now).unwrap();
        }
    }

    /// What n1 expects of the instances of chunk 0, and of nobody else.
    fn expect(&mut self, expected: &[(u32, Forecast)]) {
        let chunk = ChunkId::new(0).unwrap();
        let all = expected.iter().map(|(number, forecast)| {
            let slot = Slot::new(*number).unwrap();
            (slot, tenancy_of(self.slots.tenant(slot).unwrap()), *forecast)
        });
        let value = (!expected.is_empty()).then(|| Arc::from(Forecasts::of(chunk, all).encode()));
        self.version += 1;
        let (member, key, version) = ("n1".parse().unwrap(), key(chunk).into(), self.version);
        self.inbox.receive(&Update { member, generation: 1, key, version, value }, UnixMillis::new(1)).unwrap();
    }

    /// What changed in the outlooks since `older`: instances, from, to.
    fn turns(&self, older: &HealthSnapshot) -> Vec<(String, Outlook, Outlook)> {
        let turns = self.view.snapshot().outlooks_since(older).map(|it| (it.instance.id.to_string(), it.from, it.to));
        turns.collect()
    }

    fn refresh(&mut self, chunks: &[u32], at: u64) -> bool {
        let mut stale = Stale::default();
        chunks.iter().for_each(|chunk| stale.chunk(ChunkId::new(*chunk).unwrap()));
        let evidence = Evidence { sightings: &self.sightings, forecasts: &self.inbox, checks: &Inbox::default() };
        self.view.refresh(stale, self.slots.tenants(), &self.duties, evidence, UnixMillis::new(at))
    }

    fn health(&self, number: u32) -> InstanceHealth {
        let instance = self.slots.tenant(Slot::new(number).unwrap()).unwrap();
        self.view.reader().load().of(&self.catalog, instance)
    }
}

#[test]
fn what_is_not_in_the_view_yet_is_unknown_unless_there_is_nothing_to_look_at() {
    let world = World::new(1);
    let (leased, plain) = (world.health(0), world.health(1));
    assert_eq!((leased.status, leased.cause), (Status::Unknown, Cause::Unseen));
    assert_eq!((plain.status, plain.cause), (Status::Passing, Cause::Unchecked));
}

#[test]
fn a_status_is_dated_when_it_changes_and_not_when_it_is_computed_again() {
    let mut world = World::new(1);
    world.see(0, Status::Passing);
    assert!(world.refresh(&[0], 100));
    assert!(!world.refresh(&[0], 200), "nothing else is said");
    assert_eq!((world.health(0).status, world.health(0).since), (Status::Passing, UnixMillis::new(100)));
    world.see(0, Status::Critical);
    assert!(world.refresh(&[0], 300));
    let health = world.health(0);
    assert_eq!(
        (health.status, health.cause, health.since),
        (Status::Critical, Cause::OnlyObserver, UnixMillis::new(300))
    );
    assert_eq!((health.looking, health.failing), (1, 1));
}

#[test]
fn a_snapshot_names_what_changed_since_an_older_one_and_nothing_else() {
    let mut world = World::new(130);
    (0..130).for_each(|number| world.see(number, Status::Passing));
    world.refresh(&[0, 1, 2], 100);
    let older = world.view.snapshot().clone();
    world.see(70, Status::Critical);
    world.refresh(&[0, 1, 2], 200);
    let newer = world.view.snapshot().clone();
    let changed: Vec<_> = newer.changed_since(&older).map(|(slot, entry)| (slot.get(), entry.copied())).collect();
    assert!(matches!(changed[..], [(70, Some(Entry { agreed: Agreed { status: Status::Critical, .. }, .. }))]));
    assert!(Arc::ptr_eq(&older.chunks[0], &newer.chunks[0]), "chunks that did not change are shared");
    assert_eq!(newer.tenant(Slot::new(70).unwrap()).unwrap().id.as_str(), "70");
}

#[test]
fn readers_are_told_only_of_what_is_new() {
    let mut world = World::new(1);
    let changes = world.view.reader().changes();
    world.see(0, Status::Passing);
    world.refresh(&[0], 100);
    assert!(changes.has_changed().unwrap());
    let changes = world.view.reader().changes();
    world.refresh(&[0], 200);
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn another_outlook_is_news_and_other_numbers_are_not() {
    let mut world = World::new(3);
    (0..3).for_each(|number| world.see(number, Status::Passing));
    world.refresh(&[0], 100);
    let calm = world.view.snapshot().clone();
    let forecast = foreseen(Watched::cpu());
    world.expect(&[(0, forecast), (2, forecast)]);
    world.refresh(&[0], 200);
    let (calmly, gravely) = (Outlook::Calm, forecast.outlook());
    assert_eq!(world.turns(&calm), [("0".to_owned(), calmly, gravely), ("2".to_owned(), calmly, gravely)]);

    let grave = world.view.snapshot().clone();
    assert_eq!(world.turns(&grave), []);
    world.expect(&[(0, forecast.later(Duration::from_secs(9))), (2, forecast)]);
    world.refresh(&[0], 300);
    assert_eq!(world.turns(&grave), [], "only time went by");
    let stands = |after: Option<u32>| {
        let after = after.and_then(Slot::new);
        let standing = world.view.snapshot().expected_after(after).map(|(slot, it)| (slot.get(), it.to));
        standing.collect::<Vec<_>>()
    };
    assert_eq!(stands(None), [(0, gravely), (2, gravely)]);
    assert_eq!(stands(Some(0)), [(2, gravely)]);

    world.expect(&[(2, forecast)]);
    world.refresh(&[0], 400);
    assert_eq!(world.turns(&grave), [("0".to_owned(), gravely, calmly)]);
}
