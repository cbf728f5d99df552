//! A catalogue that tests write into, for those who read its events.

use std::sync::Arc;

use rollcall_catalog::{Actor, Catalog, Command, Precondition, Request, StatusChange};
use rollcall_types::{
    CheckStatuses, InstanceId, InstanceSpec, Metadata, Revision, ServiceName, Status, StatusCause, Tags, UnixMillis,
    Weight,
};

/// A catalogue that gets one log entry after the other, each a second after the one before.
#[derive(Default)]
pub(crate) struct Story {
    catalog: Catalog,
}

pub(crate) fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

pub(crate) fn instance(id: &str) -> InstanceId {
    id.parse().unwrap()
}

impl Story {
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(crate) fn apply(&mut self, command: Command) {
        let revision = self.catalog.revision().get() + 1;
        let actor = Actor { name: "ann".parse().unwrap(), via: "n1".parse().unwrap() };
        let request = Request { id: None, at: UnixMillis::new(revision * 1_000), actor, command };
        self.catalog.apply(Revision::new(revision), &request);
    }

    pub(crate) fn register(&mut self, name: &str, id: &str) {
        self.register_with(name, id, &[]);
    }

    pub(crate) fn register_with(&mut self, name: &str, id: &str, metadata: &[(&str, &str)]) {
        let metadata = metadata.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap()));
        let spec = InstanceSpec {
            endpoints: Box::default(),
            zone: None,
            region: None,
            version: None,
            tags: Tags::new(),
            metadata: metadata.collect::<Metadata>(),
            weight: Weight::default(),
            lease: None,
            checks: Box::default(),
            deregister_after: None,
        };
        let (service, id) = (service(name), instance(id));
        self.apply(Command::Register { service, id, spec: Arc::new(spec), expect: Precondition::None });
    }

    pub(crate) fn deregister(&mut self, name: &str, id: &str, reason: &str) {
        let (service, id, reason) = (service(name), instance(id), Some(reason.parse().unwrap()));
        self.apply(Command::Deregister { service, id, expect: Precondition::None, reason });
    }

    /// Journals a status of each of these instances, in one entry.
    pub(crate) fn record(&mut self, statuses: &[(&str, &str, Status)]) {
        let change = |(name, id, to): &(&str, &str, Status)| {
            let (service, id) = (service(name), instance(id));
            let present = self.catalog.instance(&service, &id).expect("it is registered");
            StatusChange {
                created: present.created,
                service,
                id,
                to: *to,
                cause: StatusCause::Observed,
                checks: CheckStatuses::default(),
            }
        };
        let transitions = statuses.iter().map(change).collect();
        self.apply(Command::RecordStatuses { transitions });
    }
}
