//! The catalogue as a stream of records, and back: the content of a snapshot.
//!
//! Records come in a fixed order, so equal catalogues give equal streams and a digest of the stream compares nodes. The
//! stream is read and written record by record: no snapshot is ever held in memory as a whole. An event about the
//! present version of an instance refers to it instead of repeating it.

use std::sync::Arc;

use imbl::Vector;
use rollcall_types::{
    InstanceId, KvKey, NodeId, Revision, ServiceDefinition, ServiceKey, ServiceName, Text, UnixMillis,
};
use serde::{Deserialize, Serialize};

use crate::event::{Change, Event, EventRing};
use crate::record::Service;
use crate::sessions::{KeyRecord, SessionRecord};
use crate::{Actor, Catalog, Config, Instance, KvEntry, NodeRecord};

/// One record of a snapshot. Persisted: variants are only added at the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(private_interfaces, reason = "the records of the session table are opaque outside this crate")]
pub enum SnapshotRecord {
    /// Always the first.
    Header {
        /// The last log entry in the state.
        revision: Revision,
        /// The latest time seen in the log.
        clock: UnixMillis,
        /// The next node id to give out.
        next_node: NodeId,
        /// The revision up to which events are forgotten.
        compacted: Revision,
    },
    /// A service; its instances follow.
    Service {
        /// Its name.
        name: ServiceName,
        /// Its definition.
        definition: Option<Arc<ServiceDefinition>>,
        /// When it was defined.
        defined: Option<Revision>,
        /// Its configuration.
        config: Option<Arc<Config>>,
        /// When it was made.
        created: Revision,
        /// When it or anything in it last changed.
        modified: Revision,
    },
    /// An instance of the service before it.
    Instance(Arc<Instance>),
    /// A key.
    Kv {
        /// The key.
        key: KvKey,
        /// Its entry.
        entry: Arc<KvEntry>,
    },
    /// A node that joined.
    Node(NodeRecord),
    /// A remembered idempotency key.
    Key {
        /// The key.
        key: Arc<str>,
        /// What was answered.
        record: Arc<KeyRecord>,
    },
    /// A client session.
    Session {
        /// Its name.
        client: Arc<str>,
        /// Its answers.
        record: SessionRecord,
    },
    /// A recent event.
    Event(ExportedEvent),
    /// Always the last: how many records came before it.
    End {
        /// The count.
        records: u64,
    },
}

/// An event as a snapshot holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportedEvent {
    revision: Revision,
    at: UnixMillis,
    actor: Actor,
    reason: Option<Text>,
    change: ExportedChange,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum ExportedChange {
    /// The instance is the one that the snapshot holds.
    PresentInstancePut {
        service: ServiceName,
        id: InstanceId,
        created: bool,
    },
    PresentLifecycleSet {
        service: ServiceName,
        id: InstanceId,
    },
    InstancePut {
        instance: Arc<Instance>,
        created: bool,
    },
    LifecycleSet {
        instance: Arc<Instance>,
    },
    InstanceRemoved {
        service: ServiceName,
        id: InstanceId,
    },
    ServiceDefined {
        service: ServiceName,
        definition: Arc<ServiceDefinition>,
    },
    ServiceRemoved {
        service: ServiceName,
    },
    ConfigSet {
        service: ServiceName,
        config: Arc<Config>,
    },
    KvPut {
        key: KvKey,
        entry: Arc<KvEntry>,
    },
    KvRemoved {
        key: KvKey,
    },
}

impl Catalog {
    /// All records of the state, in their fixed order.
    pub fn export(&self) -> impl Iterator<Item = SnapshotRecord> + '_ {
        let header = SnapshotRecord::Header {
            revision: self.revision,
            clock: self.clock,
            next_node: self.next_node,
            compacted: self.events.compacted(),
        };
        let services = self.services.values().flat_map(|service| {
            let instances = service.instances.values().cloned().map(SnapshotRecord::Instance);
            std::iter::once(export_service(service)).chain(instances)
        });
        let kv = self.kv.iter().map(|(key, entry)| SnapshotRecord::Kv { key: key.clone(), entry: entry.clone() });
        let nodes = self.nodes.values().cloned().map(SnapshotRecord::Node);
        let keys = self.sessions.keys_in_order();
        let keys = keys.map(|(key, record)| SnapshotRecord::Key { key: key.clone(), record: record.clone() });
        let sessions = self.sessions.sessions();
        let sessions =
            sessions.map(|(client, record)| SnapshotRecord::Session { client: client.clone(), record: record.clone() });
        let events = self.events.iter().map(|event| SnapshotRecord::Event(self.export_event(event)));
        let records = std::iter::once(header).chain(services).chain(kv).chain(nodes).chain(keys).chain(sessions);
        with_end(records.chain(events))
    }

    fn export_event(&self, event: &Event) -> ExportedEvent {
        let is_present = |instance: &Arc<Instance>| {
            let present = self.instance(&instance.service, &instance.id);
            present.is_some_and(|present| present.modified == instance.modified)
        };
        let change = match &event.change {
            Change::InstancePut { instance, created } if is_present(instance) => ExportedChange::PresentInstancePut {
                service: instance.service.clone(),
                id: instance.id.clone(),
                created: *created,
            },
            Change::LifecycleSet { instance } if is_present(instance) => {
                ExportedChange::PresentLifecycleSet { service: instance.service.clone(), id: instance.id.clone() }
            }
            Change::InstancePut { instance, created } => {
                ExportedChange::InstancePut { instance: instance.clone(), created: *created }
            }
            Change::LifecycleSet { instance } => ExportedChange::LifecycleSet { instance: instance.clone() },
            Change::InstanceRemoved { service, id } => {
                ExportedChange::InstanceRemoved { service: service.clone(), id: id.clone() }
            }
            Change::ServiceDefined { service, definition } => {
                ExportedChange::ServiceDefined { service: service.clone(), definition: definition.clone() }
            }
            Change::ServiceRemoved { service } => ExportedChange::ServiceRemoved { service: service.clone() },
            Change::ConfigSet { service, config } => {
                ExportedChange::ConfigSet { service: service.clone(), config: config.clone() }
            }
            Change::KvPut { key, entry } => ExportedChange::KvPut { key: key.clone(), entry: entry.clone() },
            Change::KvRemoved { key } => ExportedChange::KvRemoved { key: key.clone() },
        };
        ExportedEvent {
            revision: event.revision,
            at: event.at,
            actor: event.actor.clone(),
            reason: event.reason.clone(),
            change,
        }
    }
}

fn export_service(service: &Service) -> SnapshotRecord {
    SnapshotRecord::Service {
        name: service.name.clone(),
        definition: service.definition.clone(),
        defined: service.defined,
        config: service.config.clone(),
        created: service.created,
        modified: service.modified,
    }
}

/// Appends the end record with the count of the records before it.
fn with_end(records: impl Iterator<Item = SnapshotRecord>) -> impl Iterator<Item = SnapshotRecord> {
    let mut count = 0;
    let mut records = records.fuse();
    let mut ended = false;
    std::iter::from_fn(move || match records.next() {
        Some(record) => {
            count += 1;
            Some(record)
        }
        None if ended => None,
        None => {
            ended = true;
            Some(SnapshotRecord::End { records: count })
        }
    })
}

/// Why a stream of records is not a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The stream does not begin with a header, or has another one.
    #[error("record {0}: the header must be the first record, and only that")]
    MisplacedHeader(u64),
    /// An instance does not follow its service.
    #[error("record {0}: an instance must follow its service")]
    OrphanInstance(u64),
    /// Events do not rise, or refer to an instance that is not there.
    #[error("record {0}: the event does not fit the records before it")]
    BadEvent(u64),
    /// The same thing came twice.
    #[error("record {0}: the same thing came twice")]
    Duplicate(u64),
    /// The stream does not end with an end record that counts it.
    #[error("the stream is cut: {got} records, the end says {expected:?}")]
    Incomplete {
        /// Records that came.
        got: u64,
        /// What the end record says; `None` when there was none.
        expected: Option<u64>,
    },
}

/// Builds a catalogue from records.
#[derive(Debug, Default)]
pub struct Importer {
    catalog: Catalog,
    compacted: Revision,
    events: Vector<Arc<Event>>,
    service: Option<(ServiceKey, Service)>,
    records: u64,
    expected: Option<u64>,
}

impl Importer {
    /// An importer that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`ImportError`] when the record cannot follow those before it. The importer is of no use afterwards.
    pub fn push(&mut self, record: SnapshotRecord) -> Result<(), ImportError> {
        let at = self.records;
        if self.expected.is_some() {
            return Err(ImportError::Incomplete { got: at + 1, expected: self.expected });
        }
        if matches!(record, SnapshotRecord::Header { .. }) != (at == 0) {
            return Err(ImportError::MisplacedHeader(at));
        }
        if !matches!(record, SnapshotRecord::Instance(_)) {
            self.close_service(at)?;
        }
        match record {
            SnapshotRecord::Header { revision, clock, next_node, compacted } => {
                self.catalog.revision = revision;
                self.catalog.clock = clock;
                self.catalog.next_node = next_node;
                self.compacted = compacted;
            }
            SnapshotRecord::Service { name, definition, defined, config, created, modified } => {
                let blank = Service::new(name.clone(), created);
                let service = Service { definition, defined, config, modified, ..blank };
                self.service = Some((ServiceKey::from(&name), service));
            }
            SnapshotRecord::Instance(instance) => self.push_instance(instance, at)?,
            SnapshotRecord::Kv { key, entry } => {
                self.catalog.kv_bytes += crate::apply::kv_size(&key, &entry);
                unique(self.catalog.kv.insert(key, entry), at)?;
            }
            SnapshotRecord::Node(node) => unique(self.catalog.nodes.insert(node.node, node), at)?,
            SnapshotRecord::Key { key, record } => self.catalog.sessions.restore_key(key, record),
            SnapshotRecord::Session { client, record } => self.catalog.sessions.restore_session(client, record),
            SnapshotRecord::Event(event) => self.push_event(event, at)?,
            SnapshotRecord::End { records } => {
                self.expected = Some(records);
                return Ok(());
            }
        }
        self.records += 1;
        Ok(())
    }

    fn push_instance(&mut self, instance: Arc<Instance>, at: u64) -> Result<(), ImportError> {
        let (key, service) = self.service.as_mut().ok_or(ImportError::OrphanInstance(at))?;
        if ServiceKey::from(&instance.service) != *key {
            return Err(ImportError::OrphanInstance(at));
        }
        self.catalog.instance_count += 1;
        self.catalog.index_tags(key, std::iter::empty(), instance.spec.tags.iter());
        unique(service.instances.insert(instance.id.clone(), instance), at)
    }

    /// Puts the service whose instances have all come into the catalogue.
    fn close_service(&mut self, at: u64) -> Result<(), ImportError> {
        let Some((key, service)) = self.service.take() else { return Ok(()) };
        if let Some(definition) = &service.definition {
            self.catalog.index_tags(&key, std::iter::empty(), definition.tags.iter());
            self.catalog.index_capabilities(&key, None, Some(definition));
        }
        unique(self.catalog.services.insert(key, Arc::new(service)), at)
    }

    fn push_event(&mut self, event: ExportedEvent, at: u64) -> Result<(), ImportError> {
        let floor = self.events.last().map_or(self.compacted, |last| last.revision);
        if event.revision <= floor || event.revision > self.catalog.revision {
            return Err(ImportError::BadEvent(at));
        }
        let change = self.import_change(&event).ok_or(ImportError::BadEvent(at))?;
        self.events.push_back(Arc::new(Event {
            revision: event.revision,
            at: event.at,
            actor: event.actor,
            reason: event.reason,
            change,
        }));
        Ok(())
    }

    fn import_change(&self, event: &ExportedEvent) -> Option<Change> {
        let present = |service, id| self.catalog.instance(service, id).cloned();
        Some(match event.change.clone() {
            ExportedChange::PresentInstancePut { service, id, created } => {
                Change::InstancePut { instance: present(&service, &id)?, created }
            }
            ExportedChange::PresentLifecycleSet { service, id } => {
                Change::LifecycleSet { instance: present(&service, &id)? }
            }
            ExportedChange::InstancePut { instance, created } => Change::InstancePut { instance, created },
            ExportedChange::LifecycleSet { instance } => Change::LifecycleSet { instance },
            ExportedChange::InstanceRemoved { service, id } => Change::InstanceRemoved { service, id },
            ExportedChange::ServiceDefined { service, definition } => Change::ServiceDefined { service, definition },
            ExportedChange::ServiceRemoved { service } => Change::ServiceRemoved { service },
            ExportedChange::ConfigSet { service, config } => Change::ConfigSet { service, config },
            ExportedChange::KvPut { key, entry } => Change::KvPut { key, entry },
            ExportedChange::KvRemoved { key } => Change::KvRemoved { key },
        })
    }

    /// The catalogue, once the end record has come.
    ///
    /// # Errors
    /// [`ImportError::Incomplete`] when it has not, or counts something else.
    pub fn finish(mut self) -> Result<Catalog, ImportError> {
        if self.expected != Some(self.records) {
            return Err(ImportError::Incomplete { got: self.records, expected: self.expected });
        }
        self.catalog.events = EventRing::restore(self.compacted, self.events);
        Ok(self.catalog)
    }
}

fn unique<T>(displaced: Option<T>, at: u64) -> Result<(), ImportError> {
    if displaced.is_none() { Ok(()) } else { Err(ImportError::Duplicate(at)) }
}
