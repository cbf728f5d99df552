//! Which instance has which slot, at this node: the catalogue turned round.
//!
//! It follows the event ring with a cursor; of several events about one slot the last one counts. When the ring has forgotten
//! events, or a snapshot replaced it, all slots are read anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use imbl::Vector;
use rollcall_catalog::{Catalog, Change, Instance};
use rollcall_health::{Slot, Tenancy};
use rollcall_types::{Revision, ServiceKey};

/// The instance of each slot, by number. Cheap to clone.
pub(crate) type Tenants = Vector<Option<Arc<Instance>>>;

/// The slots of the catalogue as it was last followed.
pub(crate) struct Slots {
    tenants: Tenants,
    catalog: Arc<Catalog>,
}

/// What following the catalogue changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Slots whose instance is another one, or the same with another record; in the order of slots.
    pub(crate) slots: Vec<SlotChange>,
    /// Services with another expected response time.
    pub(crate) redefined: Vec<ServiceKey>,
}

/// A slot whose instance changed.
#[derive(Debug, PartialEq)]
pub(crate) struct SlotChange {
    pub(crate) slot: Slot,
    pub(crate) before: Option<Arc<Instance>>,
    pub(crate) after: Option<Arc<Instance>>,
}

/// Where the instance is found in digests; `None` of a slot beyond all chunks, which the catalogue does not give.
pub(crate) fn slot_of(instance: &Instance) -> Option<Slot> {
    Slot::new(instance.slot)
}

/// Which of the tenants of its slot the instance is.
pub(crate) fn tenancy_of(instance: &Instance) -> Tenancy {
    Tenancy::began_at(instance.created)
}

/// Whether anybody looks at the instance: it has checks, or a lease.
pub(crate) fn is_watched(instance: &Instance) -> bool {
    !instance.spec.checks.is_empty() || instance.spec.lease.is_some()
}

/// The expected response time of a service, if it has said one.
pub(crate) fn expected(catalog: &Catalog, service: &ServiceKey) -> Option<Duration> {
    let (_, service) = catalog.services_from(service.as_str()).next().filter(|(key, _)| *key == service)?;
    Some(service.definition.as_ref()?.expected_response_time?.duration())
}

impl Slots {
    /// The slots of an empty catalogue.
    pub(crate) fn new() -> Self {
        Self { tenants: Tenants::new(), catalog: Arc::new(Catalog::default()) }
    }

    /// The instances by slot.
    pub(crate) fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// The catalogue that was followed last.
    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The instance of a slot.
    pub(crate) fn tenant(&self, slot: Slot) -> Option<&Arc<Instance>> {
        self.tenants.get(slot.get() as usize)?.as_ref()
    }

    /// Moves on to `catalog`.
    pub(crate) fn follow(&mut self, catalog: Arc<Catalog>) -> Changes {
        let touched = Touched::since(self.catalog.revision(), &catalog);
        let Touched { slots, redefined } = touched.unwrap_or_else(|| self.everything(&catalog));
        let redefined = redefined.into_iter().filter(|key| expected(&self.catalog, key) != expected(&catalog, key));
        let changes = Changes { redefined: redefined.collect(), slots: self.compare(slots) };
        for SlotChange { slot, after, .. } in &changes.slots {
            self.set(*slot, after.clone());
        }
        self.catalog = catalog;
        changes
    }

    /// All slots that were in use or are, as they are in `catalog`.
    fn everything(&self, catalog: &Catalog) -> Touched {
        let occupied = self.tenants.iter().flatten().filter_map(|instance| Some((slot_of(instance)?, None)));
        let mut slots: BTreeMap<Slot, Option<Arc<Instance>>> = occupied.collect();
        for service in catalog.services() {
            let present = service.instances.values();
            slots.extend(present.filter_map(|instance| Some((slot_of(instance)?, Some(instance.clone())))));
        }
        let redefined = catalog.services().map(|service| ServiceKey::from(&service.name)).collect();
        Touched { slots, redefined }
    }

    fn compare(&self, slots: BTreeMap<Slot, Option<Arc<Instance>>>) -> Vec<SlotChange> {
        let change = |(slot, after): (Slot, Option<Arc<Instance>>)| {
            let before = self.tenant(slot).cloned();
            let is_same = match (&before, &after) {
                (Some(before), Some(after)) => Arc::ptr_eq(before, after),
                (None, None) => true,
                _ => false,
            };
            (!is_same).then_some(SlotChange { slot, before, after })
        };
        slots.into_iter().filter_map(change).collect()
    }

    fn set(&mut self, slot: Slot, instance: Option<Arc<Instance>>) {
        let index = slot.get() as usize;
        while self.tenants.len() <= index {
            self.tenants.push_back(None);
        }
        self.tenants.set(index, instance);
        while self.tenants.last().is_some_and(Option::is_none) {
            self.tenants.pop_back();
        }
    }
}

/// What events are about, as it is after the last of them.
#[derive(Default)]
struct Touched {
    slots: BTreeMap<Slot, Option<Arc<Instance>>>,
    redefined: BTreeSet<ServiceKey>,
}

impl Touched {
    /// By the events after `cursor`; `None` when some of them are forgotten.
    fn since(cursor: Revision, catalog: &Catalog) -> Option<Self> {
        let mut touched = Self::default();
        for event in catalog.events().after(cursor)? {
            match &event.change {
                Change::InstancePut { instance, .. } | Change::LifecycleSet { instance } => {
                    touched.slots.extend(slot_of(instance).map(|slot| (slot, Some(instance.clone()))));
                }
                Change::InstanceRemoved { slot, .. } => {
                    touched.slots.extend(Slot::new(*slot).map(|slot| (slot, None)));
                }
                Change::ServiceDefined { service, .. } | Change::ServiceRemoved { service } => {
                    touched.redefined.insert(ServiceKey::from(service));
                }
                // Documents, keys and the journal change no instance.
                _ => {}
            }
        }
        Some(touched)
    }
}

#[cfg(test)]
mod tests;
