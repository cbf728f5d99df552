//! Reads. All of them look at one immutable state, so an answer is true for exactly one revision.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use rollcall_types::{
    CapabilityName, InstanceId, KvKey, NodeId, Revision, ServiceKey, ServiceName, SessionId, Tag, UnixMillis,
};

use crate::kv::LockDelay;
use crate::sessions::Seen;
use crate::{
    Catalog, EventRing, Indexes, Instance, Journaled, KvEntry, LockSession, NodeRecord, Outcome, RequestId, Service,
    UserEvent,
};

/// A cursor points before the oldest event that is kept; the reader must list again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("events up to revision {compacted} are forgotten; list again and go on from there")]
pub struct Compacted {
    /// The last revision that is forgotten.
    pub compacted: Revision,
}

/// One page of services.
#[derive(Debug, Clone)]
pub struct ServicesPage {
    /// The services, in key order.
    pub services: Vec<Arc<Service>>,
    /// The key to continue after; `None` at the end.
    pub next: Option<ServiceKey>,
}

impl Catalog {
    /// The last log entry in this state.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The latest wall-clock time seen in the log.
    pub fn clock(&self) -> UnixMillis {
        self.clock
    }

    /// How many instances are registered.
    pub fn instance_count(&self) -> u64 {
        self.instance_count
    }

    /// How many services are known.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// A service by name, in any letter case.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(&ServiceKey::from(name))
    }

    /// An instance by service and id.
    pub fn instance(&self, service: &ServiceName, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.service(service)?.instances.get(id)
    }

    /// One above the highest slot of an instance; 0 when there are no instances. Below
    /// [`INSTANCES_MAX`](crate::INSTANCES_MAX), and with few free slots under it unless many instances were removed.
    pub fn slots_end(&self) -> u32 {
        self.slots.end()
    }

    /// What the journal says about an instance of this catalogue.
    pub fn journaled(&self, instance: &Instance) -> Journaled {
        self.slots.journaled(instance.slot).unwrap_or_default()
    }

    /// All services in key order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> + '_ {
        self.services.values()
    }

    /// The services from `key` on, itself included, in key order.
    pub fn services_from(&self, key: &str) -> impl Iterator<Item = (&ServiceKey, &Arc<Service>)> + '_ {
        self.services.range::<_, str>((std::ops::Bound::Included(key), std::ops::Bound::Unbounded))
    }

    /// At most `limit` services after `cursor` that satisfy `keep`, in key order.
    pub fn services_page(
        &self,
        cursor: Option<&str>,
        limit: usize,
        mut keep: impl FnMut(&Service) -> bool,
    ) -> ServicesPage {
        let from = match cursor {
            Some(cursor) => std::ops::Bound::Excluded(cursor),
            None => std::ops::Bound::Unbounded,
        };
        let mut page = ServicesPage { services: Vec::new(), next: None };
        let mut last = None;
        for (key, service) in self.services.range::<_, str>((from, std::ops::Bound::Unbounded)) {
            if !keep(service) {
                continue;
            }
            if page.services.len() == limit {
                page.next = last;
                break;
            }
            page.services.push(service.clone());
            last = Some(key.clone());
        }
        page
    }

    /// The services whose definition offers `capability`, in key order.
    pub fn offering(&self, capability: &CapabilityName) -> impl Iterator<Item = &Arc<Service>> + '_ {
        let keys: Option<&OrdSet<ServiceKey>> = self.by_capability.get(capability);
        keys.into_iter().flatten().filter_map(|key| self.services.get(key))
    }

    /// Every capability that some service offers, with the number of services that do.
    pub fn capabilities(&self) -> impl Iterator<Item = (&CapabilityName, usize)> + '_ {
        self.by_capability.iter().map(|(capability, services)| (capability, services.len()))
    }

    /// The services that carry `tag` on their definition or on any instance, in key order.
    pub fn tagged(&self, tag: &Tag) -> impl Iterator<Item = &Arc<Service>> + '_ {
        let keys: Option<&OrdMap<ServiceKey, u32>> = self.by_tag.get(tag);
        keys.into_iter().flat_map(OrdMap::keys).filter_map(|key| self.services.get(key))
    }

    /// A key's entry.
    pub fn kv(&self, key: &KvKey) -> Option<&Arc<KvEntry>> {
        self.kv.get(key)
    }

    /// The keys that begin with `prefix`, in order.
    pub fn kv_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a KvKey, &'a Arc<KvEntry>)> + 'a {
        self.kv.under(prefix)
    }

    /// The keys that begin with `prefix` and come after `after`, in order.
    pub fn kv_prefix_after<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
    ) -> impl Iterator<Item = (&'a KvKey, &'a Arc<KvEntry>)> + 'a {
        self.kv.under_after(prefix, after)
    }

    /// When a key was last set or removed. Of one that is not there, and was removed long ago or never was, a revision that
    /// changes only when a removal is forgotten; 0 while none was.
    pub fn kv_index(&self, key: &KvKey) -> Revision {
        self.kv.index(key)
    }

    /// When any key that begins with `prefix` was last set or removed, as [`Self::kv_index`] says it. Looks at each of them.
    pub fn kv_prefix_index(&self, prefix: &str) -> Revision {
        self.kv.index_under(prefix)
    }

    /// Keys that cannot be locked for a while.
    pub fn lock_delays(&self) -> &OrdMap<KvKey, LockDelay> {
        self.kv.delays()
    }

    /// The open sessions that may hold keys, by id.
    pub fn lock_sessions(&self) -> &OrdMap<SessionId, Arc<LockSession>> {
        &self.lock_sessions
    }

    /// The keys that a session holds, in order.
    pub fn held_by(&self, session: SessionId) -> impl Iterator<Item = &KvKey> + '_ {
        self.kv.held_by(session)
    }

    /// Events that were fired, oldest first.
    pub fn user_events(&self) -> impl DoubleEndedIterator<Item = &Arc<UserEvent>> + '_ {
        self.user_events.iter()
    }

    /// When each kind of thing last changed.
    pub fn indexes(&self) -> Indexes {
        self.indexes
    }

    /// When a service last changed: what is registered of it, and what the journal says about its instances. Of one that is
    /// not there, when it went, as far as that is remembered. Never falls. Looks at each instance.
    pub fn service_index(&self, name: &str) -> Revision {
        let key = name.to_ascii_lowercase();
        let Some(service) = self.services.get(key.as_str()) else { return self.gone_services.index(&key) };
        let statuses = service.instances.values().map(|instance| self.journaled(instance).revision);
        statuses.max().unwrap_or_default().max(service.modified)
    }

    /// What a request with this id was answered, if it was applied and is remembered.
    pub fn answer_to(&self, id: &RequestId) -> Option<Outcome> {
        match self.sessions.look_up(id, self.clock) {
            Seen::Answered(outcome) => Some(Outcome { replayed: true, ..outcome }),
            Seen::New | Seen::Refused(_) => None,
        }
    }

    /// The nodes that were given an id by joining.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeId, &NodeRecord)> + '_ {
        self.nodes.iter()
    }

    /// The ring of recent events.
    pub fn events(&self) -> &EventRing {
        &self.events
    }
}
