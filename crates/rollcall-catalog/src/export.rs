//! The catalogue as a stream of records: the content of a snapshot. [`Importer`](crate::Importer) reads it back.
//!
//! Records come in a fixed order, so equal catalogues give equal streams and a digest of the stream compares nodes. The
//! stream is read and written record by record: no snapshot is ever held in memory as a whole. An event about the
//! present version of an instance refers to it instead of repeating it.

use std::sync::Arc;

use rollcall_types::{InstanceId, KvKey, NodeId, Revision, ServiceDefinition, ServiceName, Text, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::event::{Change, Event, KvChange, Transition};
use crate::indexes::Indexes;
use crate::kv::{LockDelay, Tombstone};
use crate::record::Service;
use crate::sessions::{KeyRecord, SessionRecord};
use crate::{Actor, Catalog, Config, Instance, Journaled, KvEntry, LockSession, NodeRecord, UserEvent};

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
        /// When each kind of thing last changed.
        indexes: Indexes,
        /// When any key last changed.
        kv_modified: Revision,
        /// Up to when removed keys are forgotten, and how often any of them was locked at most.
        tombstones_floor: Tombstone,
        /// Up to when services that went are forgotten.
        services_floor: Revision,
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
    Instance {
        /// Its record.
        instance: Arc<Instance>,
        /// What the journal says about it.
        journaled: Journaled,
    },
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
    /// An open session that may hold keys.
    LockSession(Arc<LockSession>),
    /// A key that cannot be locked for a while.
    LockDelay {
        /// The key.
        key: KvKey,
        /// Since when, and for how long.
        delay: LockDelay,
    },
    /// A key that was removed.
    Tombstone {
        /// The key.
        key: KvKey,
        /// When, and how often it was locked before.
        tombstone: Tombstone,
    },
    /// An event that was fired.
    UserEvent(Arc<UserEvent>),
    /// A service that went.
    GoneService {
        /// Its name.
        name: ServiceName,
        /// When it went.
        removed: Revision,
    },
}

/// An event as a snapshot holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportedEvent {
    pub(crate) revision: Revision,
    pub(crate) at: UnixMillis,
    pub(crate) actor: Actor,
    pub(crate) reason: Option<Text>,
    pub(crate) change: ExportedChange,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum ExportedChange {
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
        slot: u32,
        created: Revision,
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
    StatusesChanged {
        transitions: Arc<[Transition]>,
    },
    KvChanged {
        changes: Arc<[KvChange]>,
    },
    SessionOpened {
        session: Arc<LockSession>,
    },
    SessionClosed {
        session: Arc<LockSession>,
        changes: Arc<[KvChange]>,
    },
    UserEvent {
        event: Arc<UserEvent>,
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
            indexes: self.indexes,
            kv_modified: self.kv.modified(),
            tombstones_floor: self.kv.tombstones_floor(),
            services_floor: self.gone_services.floor(),
        };
        let services = self.services.values().flat_map(|service| {
            let instances = service.instances.values().map(|instance| SnapshotRecord::Instance {
                instance: instance.clone(),
                journaled: self.journaled(instance),
            });
            std::iter::once(export_service(service)).chain(instances)
        });
        let gone = self.gone_services.iter();
        let gone = gone.map(|(name, removed)| SnapshotRecord::GoneService { name: name.clone(), removed });
        let lock_sessions = self.lock_sessions.values().cloned().map(SnapshotRecord::LockSession);
        let kv = self.kv.iter().map(|(key, entry)| SnapshotRecord::Kv { key: key.clone(), entry: entry.clone() });
        let delays = self.kv.delays().iter();
        let delays = delays.map(|(key, delay)| SnapshotRecord::LockDelay { key: key.clone(), delay: *delay });
        let removed = self.kv.tombstones();
        let removed = removed.map(|(key, it)| SnapshotRecord::Tombstone { key: key.clone(), tombstone: *it });
        let user_events = self.user_events.iter().cloned().map(SnapshotRecord::UserEvent);
        let nodes = self.nodes.values().cloned().map(SnapshotRecord::Node);
        let keys = self.sessions.keys_in_order();
        let keys = keys.map(|(key, record)| SnapshotRecord::Key { key: key.clone(), record: record.clone() });
        let sessions = self.sessions.sessions();
        let sessions =
            sessions.map(|(client, record)| SnapshotRecord::Session { client: client.clone(), record: record.clone() });
        let events = self.events.iter().map(|event| SnapshotRecord::Event(self.export_event(event)));
        let records = std::iter::once(header)
            .chain(services)
            .chain(gone)
            .chain(lock_sessions)
            .chain(kv)
            .chain(delays)
            .chain(removed);
        let records = records.chain(nodes).chain(keys).chain(sessions).chain(user_events);
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
            Change::InstanceRemoved { service, id, slot, created } => ExportedChange::InstanceRemoved {
                service: service.clone(),
                id: id.clone(),
                slot: *slot,
                created: *created,
            },
            Change::ServiceDefined { service, definition } => {
                ExportedChange::ServiceDefined { service: service.clone(), definition: definition.clone() }
            }
            Change::ServiceRemoved { service } => ExportedChange::ServiceRemoved { service: service.clone() },
            Change::ConfigSet { service, config } => {
                ExportedChange::ConfigSet { service: service.clone(), config: config.clone() }
            }
            Change::KvPut { key, entry } => ExportedChange::KvPut { key: key.clone(), entry: entry.clone() },
            Change::KvRemoved { key } => ExportedChange::KvRemoved { key: key.clone() },
            Change::StatusesChanged { transitions } => {
                ExportedChange::StatusesChanged { transitions: transitions.clone() }
            }
            Change::KvChanged { changes } => ExportedChange::KvChanged { changes: changes.clone() },
            Change::SessionOpened { session } => ExportedChange::SessionOpened { session: session.clone() },
            Change::SessionClosed { session, changes } => {
                ExportedChange::SessionClosed { session: session.clone(), changes: changes.clone() }
            }
            Change::UserEvent { event } => ExportedChange::UserEvent { event: event.clone() },
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
