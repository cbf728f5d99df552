//! A service as it was at an earlier revision, put together from the events since then.
//!
//! The present is walked back: an instance that was registered since then goes, one that was changed or removed since then is
//! what the latest event before says of it, and one without events is what it is. Its state is the one that the journal had.
//!
//! Limits: it reaches as far as the event ring, and less far for an instance whose registration is older than the ring and
//! was changed since. What was only observed (scores, load, forecasts) is not in the log and so is not known of the past.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_catalog::{Catalog, Change, Instance, Journaled, Service, Transition};
use rollcall_types::{
    CheckStatuses, InstanceId, Revision, ServiceDefinition, ServiceKey, ServiceName, Status, StatusCause, UnixMillis,
};

use crate::health::is_watched;

/// A service at an earlier revision.
#[derive(Debug)]
pub(crate) struct Past {
    /// The service with the instances and the definition that it had.
    pub(super) service: Arc<Service>,
    /// When that was.
    pub(super) at: UnixMillis,
    states: BTreeMap<InstanceId, Journaled>,
}

/// Why the past is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPast {
    /// The revision is not reached yet.
    #[error("this node is at revision {present} and has not reached that one")]
    NotYet {
        /// Where it is.
        present: Revision,
    },
    /// The events that would tell are forgotten.
    #[error("events up to revision {compacted} are forgotten, and with them how this service was at that revision")]
    Forgotten {
        /// The last revision that is forgotten.
        compacted: Revision,
    },
    /// The service was not known then.
    #[error("this service was not known at that revision")]
    NoService,
}

impl Past {
    /// The service `name` as it was at `revision`.
    ///
    /// # Errors
    /// When the revision lies too far back or ahead, or the service was not there.
    pub(crate) fn of(catalog: &Catalog, name: &ServiceName, revision: Revision) -> Result<Self, NoPast> {
        if revision > catalog.revision() {
            return Err(NoPast::NotYet { present: catalog.revision() });
        }
        let forgotten = NoPast::Forgotten { compacted: catalog.events().compacted() };
        if revision < catalog.events().compacted() {
            return Err(forgotten);
        }
        let mut walk = Walk::from(catalog, name);
        let mut at = None;
        for event in catalog.events().iter().rev() {
            let is_later = event.revision > revision;
            if !is_later {
                at.get_or_insert(event.at);
            }
            if event.change.services().any(|service| ServiceKey::from(service) == walk.key) {
                if is_later { walk.undo(&event.change) } else { walk.find(&event.change, event.at) }
            }
        }
        walk.arrive(name, at.unwrap_or(catalog.clock())).ok_or(forgotten)?
    }

    /// What the journal said of an instance then; of one that nobody looks at, that it passes.
    pub(super) fn journaled(&self, instance: &Instance) -> Journaled {
        if !is_watched(instance) {
            return state(Status::Passing, StatusCause::Unchecked, instance.registered_at);
        }
        let known = self.states.get(&instance.id).copied();
        known.unwrap_or(state(Status::Unknown, StatusCause::Unseen, instance.registered_at))
    }
}

/// What is known of a thing on the way back.
#[derive(Debug, Clone, PartialEq)]
enum Found<T> {
    /// It was this.
    Was(T),
    /// It was something else than now, and an earlier event has to say what.
    Sought,
}

/// The way back from the present.
struct Walk {
    key: ServiceKey,
    present: Option<Arc<Service>>,
    instances: BTreeMap<InstanceId, Found<Arc<Instance>>>,
    definition: Found<Option<Arc<ServiceDefinition>>>,
    /// Whether the ring has all that ever happened to the service.
    is_whole: bool,
    /// States by later transitions, or as they are now.
    later: BTreeMap<InstanceId, Journaled>,
    /// States by the latest transition until then.
    until_then: BTreeMap<InstanceId, Journaled>,
}

impl Walk {
    fn from(catalog: &Catalog, name: &ServiceName) -> Self {
        let present = catalog.service(name).cloned();
        let instances = || present.iter().flat_map(|service| service.instances.values());
        Self {
            key: ServiceKey::from(name),
            later: instances().map(|it| (it.id.clone(), catalog.journaled(it))).collect(),
            instances: instances().map(|it| (it.id.clone(), Found::Was(it.clone()))).collect(),
            definition: Found::Was(present.as_ref().and_then(|service| service.definition.clone())),
            until_then: BTreeMap::new(),
            is_whole: {
                let compacted = catalog.events().compacted();
                compacted == Revision::ZERO || present.as_ref().is_some_and(|service| service.created > compacted)
            },
            present,
        }
    }

    /// Takes back a change that came later.
    fn undo(&mut self, change: &Change) {
        match change {
            Change::InstancePut { instance, created: true } => {
                self.instances.remove(&instance.id);
                self.later.remove(&instance.id);
            }
            Change::InstancePut { instance, created: false } | Change::LifecycleSet { instance } => {
                self.instances.insert(instance.id.clone(), Found::Sought);
            }
            Change::InstanceRemoved { id, .. } => {
                self.instances.insert(id.clone(), Found::Sought);
            }
            Change::ServiceDefined { .. } | Change::ServiceRemoved { .. } => self.definition = Found::Sought,
            Change::StatusesChanged { transitions } => {
                for transition in self.own(transitions) {
                    // Since when it was that, an earlier transition says, if there is one.
                    let before = state(transition.from, transition.cause, UnixMillis::default());
                    self.later.insert(transition.id.clone(), before);
                }
            }
            Change::ConfigSet { .. }
            | Change::KvPut { .. }
            | Change::KvRemoved { .. }
            | Change::KvChanged { .. }
            | Change::SessionOpened { .. }
            | Change::SessionClosed { .. }
            | Change::UserEvent { .. } => {}
        }
    }

    /// Takes from a change that came until then what is still sought; later ones come first.
    fn find(&mut self, change: &Change, at: UnixMillis) {
        if let Change::InstancePut { instance, created: true } = change {
            // What was said before is about another one of that name.
            let unseen = state(Status::Unknown, StatusCause::Unseen, instance.registered_at);
            self.until_then.entry(instance.id.clone()).or_insert(unseen);
        }
        match change {
            Change::InstancePut { instance, .. } | Change::LifecycleSet { instance } => {
                if let Some(found) = self.instances.get_mut(&instance.id).filter(|found| **found == Found::Sought) {
                    *found = Found::Was(instance.clone());
                }
            }
            Change::InstanceRemoved { id, .. } if self.instances.get(id) == Some(&Found::Sought) => {
                self.instances.remove(id);
            }
            Change::ServiceDefined { definition, .. } if self.definition == Found::Sought => {
                self.definition = Found::Was(Some(definition.clone()));
            }
            Change::ServiceRemoved { .. } if self.definition == Found::Sought => self.definition = Found::Was(None),
            Change::StatusesChanged { transitions } => {
                for Transition { id, to, cause, .. } in self.own(transitions) {
                    self.until_then.entry(id).or_insert(state(to, cause, at));
                }
            }
            _ => {}
        }
    }

    /// The transitions of this service, the latest first.
    fn own(&self, transitions: &[Transition]) -> Vec<Transition> {
        let turned = transitions.iter().rev().filter(|transition| transition.is_of_instance());
        let own = turned.filter(|transition| ServiceKey::from(&transition.service) == self.key);
        own.cloned().collect()
    }

    /// What it was, at the end of the way; `None` when something is still sought.
    fn arrive(self, name: &ServiceName, at: UnixMillis) -> Option<Result<Past, NoPast>> {
        let mut instances = imbl::OrdMap::new();
        let mut states = BTreeMap::new();
        for (id, found) in self.instances {
            let Found::Was(instance) = found else { return None };
            let known = self.until_then.get(&id).or(self.later.get(&id)).copied();
            if let Some(known) = known {
                states.insert(id.clone(), Journaled { since: known.since.max(instance.registered_at), ..known });
            }
            instances.insert(id, instance);
        }
        let definition = match self.definition {
            Found::Was(definition) => definition,
            // It was defined for the first time since then.
            Found::Sought if self.is_whole => None,
            Found::Sought => return None,
        };
        if instances.is_empty() && definition.is_none() {
            return Some(Err(NoPast::NoService));
        }
        let (created, modified) =
            self.present.map_or((Revision::ZERO, Revision::ZERO), |service| (service.created, service.modified));
        let service =
            Service { name: name.clone(), definition, defined: None, config: None, instances, created, modified };
        Some(Ok(Past { service: Arc::new(service), at, states }))
    }
}

fn state(status: Status, cause: StatusCause, since: UnixMillis) -> Journaled {
    Journaled { status, cause, since, critical_since: None, revision: Revision::ZERO, checks: CheckStatuses::default() }
}

#[cfg(test)]
mod tests;
