//! A catalogue with watched instances, and what three nodes see of them, for the tests of this module's parts.

use std::sync::Arc;
use std::time::Duration;

use rollcall_catalog::{Actor, Catalog, Command, Instance, Precondition, Request, StatusChange};
use rollcall_health::assignment::Candidate;
use rollcall_health::{CHUNK_SLOTS, Freshness, HealthView, Observation, Observer, Publication, Publisher, Status};
use rollcall_types::{
    CheckKind, CheckSpec, InstanceId, InstanceSpec, Millis, MonoTime, NodeName, Revision, StatusCause, UnixMillis,
};

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
}

impl Fixture {
    /// Instances `web-0`, `web-1` … of which nobody has seen anything.
    pub(super) fn of(count: usize, deregister_after: Option<Millis>) -> Self {
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
        };
        for number in 0..count {
            fixture.apply(
                UnixMillis::new(1),
                Command::Register {
                    service: "web".parse().unwrap(),
                    id: id(number),
                    spec: Arc::new(spec(deregister_after)),
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
            }
        };
        let transitions = numbers.into_iter().map(change).collect();
        self.apply(at, Command::RecordStatuses { transitions });
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
            Evidence { sightings: &sightings, forecasts: &Inbox::default(), capabilities: &Inbox::default() },
            at,
        );
        self.view.reader().load()
    }

    /// Looks again at the slot of an instance that is gone.
    pub(super) fn see_slot(&mut self, gone: &Instance, at: UnixMillis) -> Arc<HealthSnapshot> {
        self.slots.follow(Arc::new(self.catalog.clone()));
        let mut stale = Stale::default();
        stale.slot(slot_of(gone).unwrap());
        let sightings = self.sightings();
        self.view.refresh(
            stale,
            self.slots.tenants(),
            &self.duties,
            Evidence { sightings: &sightings, forecasts: &Inbox::default(), capabilities: &Inbox::default() },
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
