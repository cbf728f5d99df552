//! A stream of records as a catalogue again.
//!
//! The one stream that [`Catalog::export`] would write for a catalogue is the one that is taken for it: a record out of
//! its place, a record that came twice, or one that contradicts those before it is refused, so that a node never goes on
//! from a state that its peers do not hold. Checksums are the business of whoever stores the stream; what is checked
//! here are the invariants of [`Catalog`] that `apply` relies on.

use std::sync::Arc;

use rollcall_types::{ENTRY_TRANSITIONS_MAX, InstanceId, Revision, ServiceKey, ServiceName};

use crate::catalog::{FIRST_ALLOCATED_NODE_ID, INSTANCES_MAX};
use crate::event::{Change, Event, EventRing, KvChange, Transition};
use crate::export::{ExportedChange, ExportedEvent, SnapshotRecord};
use crate::gone::GoneServices;
use crate::kv::Keys;
use crate::record::Service;
use crate::slots::{self, Slots};
use crate::{
    Catalog, Config, Instance, Journaled, KvEntry, LOCK_SESSIONS_MAX, LockSession, NodeRecord, USER_EVENTS_MAX,
    UserEvent,
};

/// Why a stream of records is not a catalogue. Records are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The stream does not begin with a header, or has another one.
    #[error("record {0}: the header must be the first record, and only that")]
    MisplacedHeader(u64),
    /// An instance does not follow its service.
    #[error("record {0}: an instance must follow its service")]
    OrphanInstance(u64),
    /// A record came twice, or after one that it must precede.
    #[error("record {0}: it came twice or out of order")]
    OutOfOrder(u64),
    /// No catalogue that wrote the records before it could have written this one.
    #[error("record {0}: it contradicts the records before it")]
    Contradiction(u64),
    /// An event does not rise, is no event of its revision, or refers to an instance that is not there.
    #[error("record {0}: the event does not fit the records before it")]
    BadEvent(u64),
    /// The stream does not end with an end record that counts it.
    #[error("the stream is cut or goes on after its end: {got} records, the end says {expected:?}")]
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
    /// The service whose instances are coming.
    service: Option<(ServiceKey, Service)>,
    /// What the journal says about the instance in each slot.
    slots: Vec<Option<Journaled>>,
    /// Place of the last record in the order of kinds.
    stage: u8,
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
        let stage = stage(&record);
        require(stage >= self.stage, ImportError::OutOfOrder(at))?;
        self.stage = stage;
        if !matches!(record, SnapshotRecord::Instance { .. }) {
            self.close_service(at)?;
        }
        if let SnapshotRecord::End { records } = record {
            self.expected = Some(records);
            return Ok(());
        }
        self.take(record, at)?;
        self.records += 1;
        Ok(())
    }

    fn take(&mut self, record: SnapshotRecord, at: u64) -> Result<(), ImportError> {
        let (revision, clock) = (self.catalog.revision, self.catalog.clock);
        match record {
            SnapshotRecord::Header {
                revision,
                clock,
                next_node,
                compacted,
                indexes,
                kv_modified,
                tombstones_floor,
                services_floor,
            } => {
                // Every id that was given out took a log entry.
                let allocated = next_node.get().checked_sub(FIRST_ALLOCATED_NODE_ID.get());
                let possible = allocated.is_some_and(|ids| ids <= revision.get())
                    && compacted <= revision
                    && indexes.is_possible(revision)
                    && tombstones_floor.removed <= kv_modified
                    && kv_modified <= revision
                    && services_floor <= indexes.services;
                self.catalog.gone_services = GoneServices::forgotten(services_floor);
                self.catalog.indexes = indexes;
                self.catalog.kv = Keys::restoring(kv_modified, tombstones_floor);
                self.catalog.revision = revision;
                self.catalog.clock = clock;
                self.catalog.next_node = next_node;
                self.catalog.events = EventRing::forgotten(compacted);
                require(possible, ImportError::Contradiction(at))
            }
            SnapshotRecord::Service { name, definition, defined, config, created, modified } => {
                let blank = Service::new(name, created);
                self.open_service(Service { definition, defined, config, modified, ..blank }, at)
            }
            SnapshotRecord::Instance { instance, journaled } => self.take_instance(instance, journaled, at),
            SnapshotRecord::Kv { key, entry } => {
                let is_holder_open =
                    entry.session.is_none_or(|holder| self.catalog.lock_sessions.contains_key(&holder));
                require(self.catalog.kv.restore(&key, entry) && is_holder_open, ImportError::Contradiction(at))
            }
            SnapshotRecord::Node(node) => self.take_node(node, at),
            SnapshotRecord::Key { key, record } => {
                let taken = self.catalog.sessions.restore_key(key, record, revision, clock);
                require(taken, ImportError::Contradiction(at))
            }
            SnapshotRecord::Session { client, record } => {
                let taken = self.catalog.sessions.restore_session(client, record, revision, clock);
                require(taken, ImportError::Contradiction(at))
            }
            SnapshotRecord::LockSession(session) => self.take_lock_session(session, at),
            SnapshotRecord::LockDelay { key, delay } => {
                let is_possible = delay.since <= self.catalog.indexes.lock_sessions;
                require(is_possible && self.catalog.kv.restore_delay(key, delay), ImportError::Contradiction(at))
            }
            SnapshotRecord::Tombstone { key, tombstone } => {
                require(self.catalog.kv.restore_tombstone(&key, tombstone), ImportError::Contradiction(at))
            }
            SnapshotRecord::GoneService { name, removed } => {
                let is_possible = removed <= self.catalog.indexes.services;
                require(
                    is_possible && self.catalog.gone_services.restore(name, removed),
                    ImportError::Contradiction(at),
                )
            }
            SnapshotRecord::UserEvent(event) => self.take_user_event(event, at),
            SnapshotRecord::Event(event) => self.take_event(event, at),
            SnapshotRecord::End { .. } => Ok(()),
        }
    }

    fn open_service(&mut self, service: Service, at: u64) -> Result<(), ImportError> {
        let key = ServiceKey::from(&service.name);
        let follows = self.catalog.services.get_max().is_none_or(|(last, _)| *last < key);
        require(follows, ImportError::OutOfOrder(at))?;
        let config_fits = |config: &Arc<Config>| {
            // Every version of the document took a log entry.
            config.modified <= service.modified && config.version <= config.modified.get()
        };
        let possible = service.created <= service.modified
            && service.modified <= self.catalog.revision
            && service.defined.is_some() == service.definition.is_some()
            && service.defined.is_none_or(|defined| defined <= service.modified)
            && service.config.as_ref().is_none_or(config_fits);
        require(possible, ImportError::Contradiction(at))?;
        self.service = Some((key, service));
        Ok(())
    }

    fn take_instance(&mut self, instance: Arc<Instance>, journaled: Journaled, at: u64) -> Result<(), ImportError> {
        let (key, service) = self.service.as_mut().ok_or(ImportError::OrphanInstance(at))?;
        require(instance.service == service.name, ImportError::OrphanInstance(at))?;
        let follows = service.instances.get_max().is_none_or(|(last, _)| *last < instance.id);
        require(follows, ImportError::OutOfOrder(at))?;
        let possible = instance.created <= instance.modified
            && instance.modified <= service.modified
            && is_slot_before(instance.slot, instance.created)
            && journaled.is_possible(self.catalog.clock)
            && journaled.revision <= self.catalog.indexes.statuses
            && slots::place(&mut self.slots, instance.slot, journaled);
        require(possible, ImportError::Contradiction(at))?;
        self.catalog.instance_count += 1;
        self.catalog.index_tags(key, std::iter::empty(), instance.spec.tags.iter());
        service.instances.insert(instance.id.clone(), instance);
        Ok(())
    }

    /// Puts the service whose instances have all come into the catalogue. `at` is the record after it.
    fn close_service(&mut self, at: u64) -> Result<(), ImportError> {
        let Some((key, service)) = self.service.take() else { return Ok(()) };
        require(!service.is_blank(), ImportError::Contradiction(at - 1))?;
        if let Some(definition) = &service.definition {
            self.catalog.index_tags(&key, std::iter::empty(), definition.tags.iter());
            self.catalog.index_capabilities(&key, None, Some(definition));
        }
        self.catalog.services.insert(key, Arc::new(service));
        Ok(())
    }

    fn take_node(&mut self, node: NodeRecord, at: u64) -> Result<(), ImportError> {
        let follows = self.catalog.nodes.get_max().is_none_or(|(last, _)| *last < node.node);
        require(follows, ImportError::OutOfOrder(at))?;
        let given_out = node.node >= FIRST_ALLOCATED_NODE_ID && node.node < self.catalog.next_node;
        let name_taken = self.catalog.nodes.values().any(|other| other.name == node.name);
        require(given_out && !name_taken, ImportError::Contradiction(at))?;
        self.catalog.nodes.insert(node.node, node);
        Ok(())
    }

    fn take_lock_session(&mut self, session: Arc<LockSession>, at: u64) -> Result<(), ImportError> {
        let sessions = &mut self.catalog.lock_sessions;
        let follows = sessions.get_max().is_none_or(|(last, _)| *last < session.id);
        require(follows, ImportError::OutOfOrder(at))?;
        let is_possible = session.created <= self.catalog.indexes.lock_sessions
            && session.created <= session.renewed
            && session.renewed <= self.catalog.revision
            && sessions.len() < LOCK_SESSIONS_MAX;
        require(is_possible, ImportError::Contradiction(at))?;
        sessions.insert(session.id, session);
        Ok(())
    }

    fn take_user_event(&mut self, event: Arc<UserEvent>, at: u64) -> Result<(), ImportError> {
        let events = &mut self.catalog.user_events;
        let follows = events.last().is_none_or(|last| last.revision < event.revision);
        require(follows, ImportError::OutOfOrder(at))?;
        let is_possible = event.revision <= self.catalog.revision && events.len() < USER_EVENTS_MAX;
        require(is_possible, ImportError::Contradiction(at))?;
        events.push_back(event);
        Ok(())
    }

    fn take_event(&mut self, event: ExportedEvent, at: u64) -> Result<(), ImportError> {
        let change = self.import_change(&event).filter(|_| event.revision <= self.catalog.revision);
        let change = change.ok_or(ImportError::BadEvent(at))?;
        let ExportedEvent { revision, at: time, actor, reason, .. } = event;
        let taken = self.catalog.events.restore(Event { revision, at: time, actor, reason, change });
        require(taken, ImportError::BadEvent(at))
    }

    /// The change, unless it says another revision than its event or repeats what it should refer to.
    fn import_change(&self, event: &ExportedEvent) -> Option<Change> {
        let at = event.revision;
        let present = |service: &ServiceName, id: &InstanceId| {
            let found = self.catalog.instance(service, id)?;
            (found.modified == at && found.service == *service).then(|| found.clone())
        };
        let past = |instance: &Arc<Instance>| {
            let is_past = instance.modified == at && present(&instance.service, &instance.id).is_none();
            is_past.then(|| instance.clone())
        };
        let entry_of = |entry: &Arc<KvEntry>| (entry.modified == at).then(|| entry.clone());
        let config_of = |config: &Arc<Config>| (config.modified == at).then(|| config.clone());
        Some(match &event.change {
            ExportedChange::PresentInstancePut { service, id, created } => {
                Change::InstancePut { instance: present(service, id)?, created: *created }
            }
            ExportedChange::PresentLifecycleSet { service, id } => {
                Change::LifecycleSet { instance: present(service, id)? }
            }
            ExportedChange::InstancePut { instance, created } => {
                Change::InstancePut { instance: past(instance)?, created: *created }
            }
            ExportedChange::LifecycleSet { instance } => Change::LifecycleSet { instance: past(instance)? },
            ExportedChange::InstanceRemoved { service, id, slot, created } => {
                let (service, id) = (service.clone(), id.clone());
                let is_possible = *created < at && is_slot_before(*slot, *created);
                is_possible.then_some(Change::InstanceRemoved { service, id, slot: *slot, created: *created })?
            }
            ExportedChange::ServiceDefined { service, definition } => {
                Change::ServiceDefined { service: service.clone(), definition: definition.clone() }
            }
            ExportedChange::ServiceRemoved { service } => Change::ServiceRemoved { service: service.clone() },
            ExportedChange::ConfigSet { service, config } => {
                Change::ConfigSet { service: service.clone(), config: config_of(config)? }
            }
            ExportedChange::KvPut { key, entry } => Change::KvPut { key: key.clone(), entry: entry_of(entry)? },
            ExportedChange::KvRemoved { key } => Change::KvRemoved { key: key.clone() },
            ExportedChange::StatusesChanged { transitions } => {
                let is_possible = (1..=ENTRY_TRANSITIONS_MAX).contains(&transitions.len())
                    && transitions.iter().all(|it| is_slot_before(it.slot, at));
                let transitions = transitions.iter().map(|transition| self.share_names(transition));
                is_possible.then(|| Change::StatusesChanged { transitions: transitions.collect() })?
            }
            ExportedChange::KvChanged { changes } => {
                let is_possible = !changes.is_empty() && changes.iter().all(|change| is_change_at(change, at));
                is_possible.then(|| Change::KvChanged { changes: changes.clone() })?
            }
            ExportedChange::SessionOpened { session } => {
                (session.created == at).then(|| Change::SessionOpened { session: session.clone() })?
            }
            ExportedChange::SessionClosed { session, changes } => {
                let is_possible = session.created < at && changes.iter().all(|change| is_change_at(change, at));
                is_possible.then(|| Change::SessionClosed { session: session.clone(), changes: changes.clone() })?
            }
            ExportedChange::UserEvent { event } => {
                (event.revision == at).then(|| Change::UserEvent { event: event.clone() })?
            }
        })
    }

    /// The same transition with the names of the instance's record: a name longer than 15 bytes is then there once.
    fn share_names(&self, transition: &Transition) -> Transition {
        let present = self.catalog.instance(&transition.service, &transition.id);
        match present.filter(|present| present.service == transition.service) {
            Some(present) => {
                Transition { service: present.service.clone(), id: present.id.clone(), ..transition.clone() }
            }
            None => transition.clone(),
        }
    }

    /// The catalogue, once the end record has come.
    ///
    /// # Errors
    /// [`ImportError::Incomplete`] when it has not, or counts something else.
    pub fn finish(mut self) -> Result<Catalog, ImportError> {
        if self.expected != Some(self.records) {
            return Err(ImportError::Incomplete { got: self.records, expected: self.expected });
        }
        self.catalog.slots = Slots::restore(self.slots);
        Ok(self.catalog)
    }
}

/// The place of a record's kind in the stream.
fn stage(record: &SnapshotRecord) -> u8 {
    match record {
        SnapshotRecord::Header { .. } => 0,
        SnapshotRecord::Service { .. } | SnapshotRecord::Instance { .. } => 1,
        SnapshotRecord::GoneService { .. } => 2,
        SnapshotRecord::LockSession(_) => 3,
        SnapshotRecord::Kv { .. } => 4,
        SnapshotRecord::LockDelay { .. } => 5,
        SnapshotRecord::Tombstone { .. } => 6,
        SnapshotRecord::Node(_) => 7,
        SnapshotRecord::Key { .. } => 8,
        SnapshotRecord::Session { .. } => 9,
        SnapshotRecord::UserEvent(_) => 10,
        SnapshotRecord::Event(_) => 11,
        SnapshotRecord::End { .. } => 12,
    }
}

/// Whether the event at `revision` can tell this.
fn is_change_at(change: &KvChange, revision: Revision) -> bool {
    match change {
        KvChange::Put { entry, .. } => entry.modified == revision,
        KvChange::Removed { .. } => true,
        KvChange::PrefixRemoved { keys, .. } => *keys > 0,
    }
}

/// Whether a slot may be given by the write at `revision`: every lower one was taken by an earlier entry of the log.
fn is_slot_before(slot: u32, revision: Revision) -> bool {
    u64::from(slot) < revision.get().min(INSTANCES_MAX)
}

fn require(holds: bool, otherwise: ImportError) -> Result<(), ImportError> {
    if holds { Ok(()) } else { Err(otherwise) }
}
