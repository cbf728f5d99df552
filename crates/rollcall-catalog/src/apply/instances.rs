//! Registering and deregistering instances, and what operators decide about them.

use std::sync::Arc;

use rollcall_types::{InstanceId, InstanceSpec, Lifecycle, Revision, ServiceKey, ServiceName, Text};

use super::check;
use crate::catalog::{Done, INSTANCES_MAX};
use crate::reply::Limit;
use crate::{Actor, Catalog, Change, Instance, Precondition, Refusal, Reply};

impl Catalog {
    pub(super) fn register(
        &mut self,
        revision: Revision,
        actor: &Actor,
        service: &ServiceName,
        id: &InstanceId,
        spec: &Arc<InstanceSpec>,
        expect: Precondition,
    ) -> Result<Done, Refusal> {
        let key = self.writable_key(service)?;
        let present = self.services.get(&key).and_then(|entry| entry.instances.get(id)).cloned();
        check(expect, present.as_ref().map(|instance| instance.modified))?;
        if let Some(present) = &present
            && *present.spec == **spec
        {
            return Ok(Done::unchanged(present.modified));
        }
        if present.is_none() && self.instance_count >= INSTANCES_MAX {
            return Err(Refusal::LimitReached { what: Limit::Instances, max: INSTANCES_MAX });
        }
        self.require_room_for_service(&key)?;

        let created = present.is_none();
        let slot = present.as_ref().map_or_else(|| self.slots.take(self.clock), |old| old.slot);
        let instance = Arc::new(Instance {
            service: service.clone(),
            id: id.clone(),
            slot,
            spec: spec.clone(),
            lifecycle: present.as_ref().map(|old| old.lifecycle.clone()).unwrap_or_default(),
            registered_by: actor.clone(),
            registered_at: present.as_ref().map_or(self.clock, |old| old.registered_at),
            modified_at: self.clock,
            created: present.as_ref().map_or(revision, |old| old.created),
            modified: revision,
        });
        let before = present.as_ref().map_or(&[][..], |old| &old.spec.checks);
        if *before != *spec.checks {
            self.slots.record(slot, self.journaled(&instance).with_checks(before, &spec.checks));
        }
        self.index_tags(&key, present.iter().flat_map(|old| old.spec.tags.iter()), spec.tags.iter());
        self.service_mut(&key, service, revision).instances.insert(id.clone(), instance.clone());
        self.instance_count += u64::from(created);
        Ok(Done::written(created, revision, Change::InstancePut { instance, created }))
    }

    pub(super) fn deregister(
        &mut self,
        revision: Revision,
        service: &ServiceName,
        id: &InstanceId,
        expect: Precondition,
        reason: Option<Text>,
    ) -> Result<Done, Refusal> {
        let key = ServiceKey::from(service);
        let present = self.services.get(&key).and_then(|entry| entry.instances.get(id)).cloned();
        check(expect, present.as_ref().map(|instance| instance.modified))?;
        let Some(present) = present else {
            return Ok(Done::new(Reply::Removed { existed: false }, None));
        };
        self.index_tags(&key, present.spec.tags.iter(), std::iter::empty());
        self.service_mut(&key, service, revision).instances.remove(id);
        self.instance_count -= 1;
        self.slots.release(present.slot);
        self.drop_if_blank(&key, revision);
        let (service, id) = (present.service.clone(), id.clone());
        let change = Change::InstanceRemoved { service, id, slot: present.slot, created: present.created };
        Ok(Done { reason, ..Done::new(Reply::Removed { existed: true }, Some(change)) })
    }

    pub(super) fn set_lifecycle(
        &mut self,
        revision: Revision,
        service: &ServiceName,
        id: &InstanceId,
        lifecycle: &Lifecycle,
        expect: Precondition,
        reason: Option<Text>,
    ) -> Result<Done, Refusal> {
        let key = ServiceKey::from(service);
        let entry = self.services.get(&key).ok_or(Refusal::ServiceNotFound)?;
        let present = entry.instances.get(id).ok_or(Refusal::InstanceNotFound)?;
        check(expect, Some(present.modified))?;
        if present.lifecycle == *lifecycle {
            return Ok(Done::unchanged(present.modified));
        }
        let instance = Arc::new(Instance {
            lifecycle: lifecycle.clone(),
            modified: revision,
            modified_at: self.clock,
            ..(**present).clone()
        });
        self.service_mut(&key, service, revision).instances.insert(id.clone(), instance.clone());
        Ok(Done { reason, ..Done::written(false, revision, Change::LifecycleSet { instance }) })
    }
}
