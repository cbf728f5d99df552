//! A catalogue with watched instances, and what three nodes see of them, for the tests of this module's parts.

use std::sync::Arc;
use std::time::Duration;

use rollcall_catalog::{Actor, Catalog, Command, Instance, Precondition, Request, StatusChange};
use rollcall_gossip::Update;
use rollcall_health::assignment::Candidate;
use rollcall_health::check_page::{CheckPage, key};
use rollcall_health::{
    CHUNK_SLOTS, DigestKind, Freshness, HealthView, Observation, Observer, Publication, Publisher, Slot, Status,
    Tenancy,
};
use rollcall_types::{
    CheckKind, CheckSpec, CheckStatuses, InstanceId, InstanceSpec, Millis, MonoTime, NodeName, Revision, StatusCause,
    Text, UnixMillis,
};

use super::checks::SeenPage;
use super::duties::{Duties, Members};
use super::inbox::Inbox;
use super::slots::{Slots, slot_of, tenancy_of};
use super::view::{Evidence, HealthSnapshot, Stale, View};

/// A cluster of three nodes with instances of service `web`, as one node sees it.
pub(super) struct Fixture {
    pub(super) catalog: Catalog,
    slots: Slots,
    duties: Duties,
    publisher: Publisher,
    version: u64,
    view: View,
    pages: Inbox<SeenPage>,
}

impl Fixture {
    /// Instances `web-0`, `web-1` … of which nobody has seen anything.
    pub(super) fn of(count: usize, deregister_after: Option<Millis>) -> Self {
        Self::with(count, &spec(deregister_after))
    }

    /// The same, each with two checks.
    pub(super) fn with_two_checks(count: usize) -> Self {
        let spec = spec(None);
        let other = CheckSpec { id: "other".parse().unwrap(), ..spec.checks[0].clone() };
        let checks = [spec.checks[0].clone(), other].into();
        Self::with(count, &InstanceSpec { checks, ..spec })
    }

    fn with(count: usize, spec: &InstanceSpec) -> Self {
        let mut duties = Duties::new(name("n1"), MonoTime::default());
        let fit = ["n1", "n2", "n3"].map(|text| Candidate { name: name(text), zone: None }).into();
        duties.update(&Members { fit, all: 3, is_isolated: false }, count, MonoTime::default());
        let mut fixture = Self {
            catalog: Catalog::default(),
            slots: Slots::new(),
            duties,
            publisher: Publisher::new(),
            version: 0,
            view: View::new(),
            pages: Inbox::default(),
        };
        for number in 0..count {
            fixture.apply(
                UnixMillis::new(1),
                Command::Register {
                    service: "web".parse().unwrap(),
                    id: id(number),
                    spec: Arc::new(spec.clone()),
                    expect: Precondition::None,
                },
            );
        }
        fixture
    }

    /// Applies a command at a time of the log.
    pub(super) fn apply(&mut self, at: UnixMillis, command: Command) {
        let actor = Actor { name: "ann".parse().unwrap(), via: name("n1") };
        let revision = Revision::new(self.catalog.revision().get() + 1);
        self.catalog.apply(revision, &Request { id: None, at, actor, command });
    }

    /// Journals that instances have a status since `at`.
    pub(super) fn journal(&mut self, numbers: impl IntoIterator<Item = usize>, to: Status, at: UnixMillis) {
        let change = |number| {
            let instance = self.catalog.instance(&"web".parse().unwrap(), &id(number)).unwrap();
            StatusChange {
                service: instance.service.clone(),
                id: instance.id.clone(),
                created: instance.created,
                to,
                cause: StatusCause::Confirmed,
                checks: CheckStatuses::default(),
            }
        };
        let transitions = numbers.into_iter().map(change).collect();
        self.apply(at, Command::RecordStatuses { transitions });
    }

    /// All nodes tell the two checks of an instance so, from `at` on; the snapshot then.
    pub(super) fn tell(&mut self, number: usize, checks: [Status; 2], at: UnixMillis) -> Arc<HealthSnapshot> {
        let instance = self.catalog.instance(&"web".parse().unwrap(), &id(number)).unwrap().clone();
        let told = CheckStatuses::of(&instance.spec.checks, |place, _| Some(checks[place]));
        let mut voices = Voices::new((slot_of(&instance).unwrap(), tenancy_of(&instance)));
        voices.version = self.version;
        for name in ["n1", "n2", "n3"] {
            let update = voices.update(name, DigestKind::Health, told);
            self.pages.receive(&update, at).unwrap();
        }
        self.version = voices.version;
        self.see_slot(&instance, at)
    }

    /// All nodes see instances so, from `at` on; the snapshot then.
    pub(super) fn see(
        &mut self,
        numbers: impl IntoIterator<Item = usize>,
        status: Option<Status>,
        at: UnixMillis,
    ) -> Arc<HealthSnapshot> {
        self.slots.follow(Arc::new(self.catalog.clone()));
        self.duties.reach(self.slots.tenants().len().div_ceil(CHUNK_SLOTS as usize));
        let mut stale = Stale::default();
        for number in numbers {
            let Some(instance) = self.catalog.instance(&"web".parse().unwrap(), &id(number)) else { continue };
            let (slot, tenancy) = (slot_of(instance).unwrap(), tenancy_of(instance));
            match status {
                Some(status) => {
                    let observation = Observation::of(status);
                    self.publisher.observe(slot, tenancy, observation, Duration::MAX, MonoTime::default());
                }
                None => self.publisher.withdraw(slot, tenancy, MonoTime::default()),
            }
            stale.slot(slot);
        }
        self.version += 1;
        let sightings = self.sightings();
        self.view.refresh(
            stale,
            self.slots.tenants(),
            &self.duties,
            Evidence { sightings: &sightings, forecasts: &Inbox::default(), checks: &self.pages },
            at,
        );
        self.view.reader().load()
    }

    /// Looks again at the slot of an instance, which may be gone.
    pub(super) fn see_slot(&mut self, gone: &Instance, at: UnixMillis) -> Arc<HealthSnapshot> {
        self.slots.follow(Arc::new(self.catalog.clone()));
        let mut stale = Stale::default();
        stale.slot(slot_of(gone).unwrap());
        let sightings = self.sightings();
        self.view.refresh(
            stale,
            self.slots.tenants(),
            &self.duties,
            Evidence { sightings: &sightings, forecasts: &Inbox::default(), checks: &self.pages },
            at,
        );
        self.view.reader().load()
    }

    fn sightings(&self) -> HealthView {
        let mut view = HealthView::new();
        for text in ["n1", "n2", "n3"] {
            let observer = Observer { name: name(text), generation: 1 };
            view.mark_observer(&observer, Freshness::Fresh).unwrap();
            for publication in self.publisher.clone().tick(MonoTime::default()) {
                if let Publication::Put { chunk, digest } = publication {
                    let text = digest.encode();
                    view.receive(observer.clone(), chunk, self.version, Some(&text), MonoTime::default()).unwrap();
                }
            }
        }
        view
    }
}

/// What nodes say of one instance in gossip.
pub(super) struct Voices {
    pub(super) view: HealthView,
    place: (Slot, Tenancy),
    version: u64,
}

impl Voices {
    pub(super) fn new(place: (Slot, Tenancy)) -> Self {
        Self { view: HealthView::new(), place, version: 0 }
    }

    /// The digest of a node says this status.
    pub(super) fn observe(&mut self, name: &str, status: Status, freshness: Freshness) {
        let (mut publisher, now) = (Publisher::new(), MonoTime::default());
        publisher.observe(self.place.0, self.place.1, Observation::of(status), Duration::MAX, now);
        let observer = Observer { name: self::name(name), generation: 1 };
        self.view.mark_observer(&observer, freshness).unwrap();
        self.version += 1;
        for publication in publisher.tick(now) {
            let Publication::Put { chunk, digest } = publication else { panic!("{publication:?}") };
            self.view.receive(observer.clone(), chunk, self.version, Some(&digest.encode()), now).unwrap();
        }
    }

    /// A node says nothing any more.
    pub(super) fn withdraw(&mut self, name: &str) {
        let observer = Observer { name: self::name(name), generation: 1 };
        self.version += 1;
        self.view.receive(observer, self.place.0.chunk(), self.version, None, MonoTime::default()).unwrap();
    }

    /// The page of a node beside its digests of this kind says these.
    pub(super) fn update(&mut self, name: &str, kind: DigestKind, checks: CheckStatuses) -> Update {
        self.version += 1;
        let (slot, tenancy) = self.place;
        let page = CheckPage::of(slot.chunk(), [(slot, tenancy, checks)]);
        let (member, key) = (self::name(name), key(kind, slot.chunk()).into());
        Update { member, generation: 1, key, version: self.version, value: Some(page.encode().into()) }
    }
}

/// The id of an instance of the fixture.
pub(super) fn id(number: usize) -> InstanceId {
    InstanceId::try_from(format!("web-{number}").as_str()).unwrap()
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn spec(deregister_after: Option<Millis>) -> InstanceSpec {
    let check = CheckSpec {
        id: "tcp".parse().unwrap(),
        name: Text::default(),
        notes: Text::default(),
        capability: None,
        kind: CheckKind::Tcp { host: "127.0.0.1".try_into().unwrap(), port: 80_u64.try_into().unwrap() },
        interval: Millis::new(1_000),
        timeout: Millis::new(500),
        failures_before_critical: 3,
        successes_before_passing: 2,
    };
    InstanceSpec {
        endpoints: Box::default(),
        zone: None,
        region: None,
        version: None,
        tags: rollcall_types::Tags::new(),
        metadata: rollcall_types::Metadata::new(),
        weight: rollcall_types::Weight::default(),
        lease: None,
        checks: [check].into(),
        deregister_after,
    }
}
