//! Selection at one node: what the shell does with the catalogue, health and the index of a service.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_catalog::{Catalog, Instance, Service};
use rollcall_routing::{Candidate, Moment, Policy, Query, Random, Refusal, Scratch, ServiceIndex, resolve};
use rollcall_types::{ServiceKey, ServiceName, Status, UnixMillis};

use super::health::Health;

/// Selection at one node.
#[derive(Debug)]
pub(crate) struct Selector {
    prepared: BTreeMap<ServiceName, Prepared>,
    rng: Random,
    scratch: Scratch,
    turn: u64,
    /// It goes on with what it prepared first.
    is_stale: bool,
}

/// The instances of a service, prepared, with what they were prepared from.
#[derive(Debug)]
struct Prepared {
    service: Arc<Service>,
    statuses: Vec<Status>,
    index: ServiceIndex,
}

/// Who was picked.
#[derive(Debug)]
pub(crate) struct Picked {
    pub(crate) instance: Arc<Instance>,
}

impl Selector {
    pub(crate) fn new(seed: u64, is_stale: bool) -> Self {
        let rng = Random::new(seed);
        Self { prepared: BTreeMap::new(), rng, scratch: Scratch::default(), turn: 0, is_stale }
    }

    /// Picks an instance of a service by what this node knows now.
    ///
    /// # Errors
    /// When nobody can be picked.
    pub(crate) fn select(&mut self, catalog: &Catalog, health: &Health, name: &ServiceName) -> Result<Picked, Refusal> {
        let service = catalog.service(name).ok_or(Refusal::NoInstance)?;
        let statuses: Vec<Status> = service.instances.values().map(|it| health.agreed(it).status).collect();
        let is_current = |prepared: &Prepared| {
            self.is_stale || (Arc::ptr_eq(&prepared.service, service) && prepared.statuses == statuses)
        };
        if !self.prepared.get(name).is_some_and(is_current) {
            self.prepared.insert(name.clone(), Prepared::of(service, statuses, health));
        }
        let prepared = self.prepared.get(name).ok_or(Refusal::NoInstance)?;
        let moment = Moment { turn: self.turn, ..Moment::at(UnixMillis::new(catalog.clock().get())) };
        let answer = resolve(&prepared.index, &Query::default(), moment, &mut self.rng, &mut self.scratch)?;
        self.turn += 1;
        let first = answer.picks.first().ok_or(Refusal::NoInstance)?;
        let candidate = &prepared.index.candidates()[first.position];
        let instance = prepared.service.instances.get(&candidate.instance).ok_or(Refusal::NoInstance)?;
        Ok(Picked { instance: instance.clone() })
    }
}

impl Prepared {
    fn of(service: &Arc<Service>, statuses: Vec<Status>, health: &Health) -> Self {
        let key = ServiceKey::from(&service.name);
        let candidates = service.instances.values().zip(&statuses).map(|(instance, status)| Candidate {
            weight: instance.spec.weight,
            lifecycle: instance.lifecycle.clone(),
            status: *status,
            health: health.agreed(instance).score.map(|score| score.score()),
            ..Candidate::new(key.clone(), instance.id.clone())
        });
        let index = ServiceIndex::build(candidates.collect(), Policy::default());
        Self { service: service.clone(), statuses, index }
    }
}
