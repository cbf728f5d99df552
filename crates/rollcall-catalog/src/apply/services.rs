//! Definitions, configuration documents, and the indexes over services.

use std::sync::Arc;

use rollcall_types::{CapabilityName, JsonText, Revision, ServiceDefinition, ServiceKey, ServiceName, Tag};

use super::check;
use crate::catalog::{Done, SERVICES_MAX};
use crate::record::Service;
use crate::reply::Limit;
use crate::{Actor, Catalog, Change, Config, Precondition, Refusal, Reply};

impl Catalog {
    pub(super) fn define(
        &mut self,
        revision: Revision,
        service: &ServiceName,
        definition: &Arc<ServiceDefinition>,
        expect: Precondition,
    ) -> Result<Done, Refusal> {
        let key = self.writable_key(service)?;
        let present = self.services.get(&key);
        let (old, defined) = present.map_or((None, None), |entry| (entry.definition.clone(), entry.defined));
        check(expect, defined)?;
        if let (Some(old), Some(defined)) = (&old, defined)
            && old == definition
        {
            return Ok(Done::unchanged(defined));
        }
        self.require_room_for_service(&key)?;

        self.index_tags(&key, old.iter().flat_map(|old| old.tags.iter()), definition.tags.iter());
        self.index_capabilities(&key, old.as_deref(), Some(definition));
        let entry = self.service_mut(&key, service, revision);
        entry.definition = Some(definition.clone());
        entry.defined = Some(revision);
        let change = Change::ServiceDefined { service: entry.name.clone(), definition: definition.clone() };
        Ok(Done::written(old.is_none(), revision, change))
    }

    pub(super) fn remove_service(
        &mut self,
        revision: Revision,
        service: &ServiceName,
        expect: Precondition,
    ) -> Result<Done, Refusal> {
        let key = ServiceKey::from(service);
        let Some(entry) = self.services.get(&key).cloned() else {
            check(expect, None)?;
            return Ok(Done::new(Reply::Removed { existed: false }, None));
        };
        check(expect, entry.defined)?;
        if !entry.instances.is_empty() {
            return Err(Refusal::ServiceNotEmpty { instances: entry.instances.len() as u64 });
        }
        let definition = entry.definition.as_deref();
        self.index_tags(&key, definition.iter().flat_map(|old| old.tags.iter()), std::iter::empty());
        self.index_capabilities(&key, definition, None);
        self.drop_service(&key, revision);
        let change = Change::ServiceRemoved { service: entry.name.clone() };
        Ok(Done::new(Reply::Removed { existed: true }, Some(change)))
    }

    pub(super) fn set_config(
        &mut self,
        revision: Revision,
        actor: &Actor,
        service: &ServiceName,
        document: &JsonText,
        schema_at: Option<Revision>,
        expect: Precondition,
    ) -> Result<Done, Refusal> {
        let key = self.writable_key(service)?;
        let present = self.services.get(&key);
        let old = present.and_then(|entry| entry.config.clone());
        check(expect, old.as_ref().map(|config| config.modified))?;
        if present.and_then(|entry| entry.defined) != schema_at {
            return Err(Refusal::SchemaChanged);
        }
        if let Some(old) = &old
            && old.document == *document
        {
            return Ok(Done::unchanged(old.modified));
        }
        self.require_room_for_service(&key)?;

        let config = Arc::new(Config {
            document: document.clone(),
            version: old.as_ref().map_or(1, |old| old.version + 1),
            modified: revision,
            modified_at: self.clock,
            modified_by: actor.clone(),
        });
        let entry = self.service_mut(&key, service, revision);
        entry.config = Some(config.clone());
        let service = entry.name.clone();
        Ok(Done::written(old.is_none(), revision, Change::ConfigSet { service, config }))
    }

    /// The key under which `service` may be written: free, or held by a service of exactly this name.
    pub(super) fn writable_key(&self, service: &ServiceName) -> Result<ServiceKey, Refusal> {
        let key = ServiceKey::from(service);
        match self.services.get(&key) {
            Some(entry) if entry.name != *service => Err(Refusal::ServiceNameConflict { existing: entry.name.clone() }),
            _ => Ok(key),
        }
    }

    pub(super) fn require_room_for_service(&self, key: &ServiceKey) -> Result<(), Refusal> {
        if self.services.len() as u64 >= SERVICES_MAX && !self.services.contains_key(key) {
            return Err(Refusal::LimitReached { what: Limit::Services, max: SERVICES_MAX });
        }
        Ok(())
    }

    /// The service to change at `revision`, made when it does not exist.
    pub(super) fn service_mut(&mut self, key: &ServiceKey, name: &ServiceName, revision: Revision) -> &mut Service {
        let entry = self.services.entry(key.clone()).or_insert_with(|| Arc::new(Service::new(name.clone(), revision)));
        let entry = Arc::make_mut(entry);
        entry.modified = revision;
        self.indexes.services = revision;
        entry
    }

    pub(super) fn drop_if_blank(&mut self, key: &ServiceKey, revision: Revision) {
        if self.services.get(key).is_some_and(|entry| entry.is_blank()) {
            self.drop_service(key, revision);
        }
    }

    fn drop_service(&mut self, key: &ServiceKey, revision: Revision) {
        if let Some(service) = self.services.remove(key) {
            self.gone_services.add(key, &service.name, revision);
            self.indexes.services = revision;
        }
    }

    /// Moves the tag index from what something in the service carried to what it carries now.
    pub(crate) fn index_tags<'a>(
        &mut self,
        key: &ServiceKey,
        before: impl Iterator<Item = &'a Tag>,
        after: impl Iterator<Item = &'a Tag>,
    ) {
        for tag in after {
            let services = self.by_tag.entry(tag.clone()).or_default();
            *services.entry(key.clone()).or_insert(0) += 1;
        }
        for tag in before {
            let Some(services) = self.by_tag.get_mut(tag) else { continue };
            if let Some(count) = services.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    services.remove(key);
                }
            }
            if services.is_empty() {
                self.by_tag.remove(tag);
            }
        }
    }

    /// Moves the capability index from an old definition to a new one.
    pub(crate) fn index_capabilities(
        &mut self,
        key: &ServiceKey,
        before: Option<&ServiceDefinition>,
        after: Option<&ServiceDefinition>,
    ) {
        let offers = |definition: Option<&ServiceDefinition>, capability: &CapabilityName| {
            definition.is_some_and(|definition| definition.capabilities.contains(capability))
        };
        for capability in after.iter().flat_map(|definition| definition.capabilities.iter()) {
            if !offers(before, capability) {
                self.by_capability.entry(capability.clone()).or_default().insert(key.clone());
            }
        }
        for capability in before.iter().flat_map(|definition| definition.capabilities.iter()) {
            if offers(after, capability) {
                continue;
            }
            if let Some(services) = self.by_capability.get_mut(capability) {
                services.remove(key);
                if services.is_empty() {
                    self.by_capability.remove(capability);
                }
            }
        }
    }
}
