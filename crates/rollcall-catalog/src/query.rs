//! Reads. All of them look at one immutable state, so an answer is true for exactly one revision.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use rollcall_types::{CapabilityName, InstanceId, KvKey, NodeId, Revision, ServiceKey, ServiceName, Tag, UnixMillis};

use crate::sessions::Seen;
use crate::{Catalog, EventRing, Instance, Journaled, KvEntry, NodeRecord, Outcome, RequestId, Service};

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
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.kv.range::<_, str>(from).take_while(move |(key, _)| key.starts_with(prefix))
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
