//! What all nodes' reports amount to, for whoever selects.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::{HashMap, OrdMap};
use rollcall_catalog::Catalog;
use rollcall_routing::feedback::{EJECTED_PART_MAX, Said};
use rollcall_types::{InstanceId, ServiceKey, ServiceName, UnixMillis};

use crate::selection::reported::{Feedback, Reported};

/// What is reported of all instances. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct View(HashMap<ServiceKey, Arc<ServiceReports>>);

/// What is reported of the instances of one service.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceReports {
    /// Changes with all that is said here, and never comes again.
    version: u64,
    instances: OrdMap<InstanceId, Arc<Said>>,
    /// Those that are ejected. Each node ejects no more than it may; of what all eject together, so much holds as one may.
    ejected: BTreeMap<InstanceId, UnixMillis>,
}

/// The view of now, one atomic load away.
#[derive(Debug, Clone, Default)]
pub(crate) struct ViewReader(Arc<ArcSwap<View>>);

impl ViewReader {
    /// The view of now.
    pub(crate) fn load(&self) -> Arc<View> {
        self.0.load_full()
    }

    pub(super) fn store(&self, view: View) {
        self.0.store(Arc::new(view));
    }
}

impl View {
    /// What is reported of a service.
    pub(crate) fn get(&self, service: &ServiceKey) -> Option<&Arc<ServiceReports>> {
        self.0.get(service)
    }

    /// How many instances something is reported of, and how many are ejected.
    pub(super) fn counts(&self) -> (usize, usize) {
        let count = |(all, ejected), service: &Arc<ServiceReports>| {
            (all + service.instances.len(), ejected + service.ejected.len())
        };
        self.0.values().fold((0, 0), count)
    }

    pub(super) fn set(&mut self, service: ServiceKey, reports: ServiceReports) {
        if reports.instances.is_empty() {
            self.0.remove(&service);
        } else {
            self.0.insert(service, Arc::new(reports));
        }
    }
}

impl ServiceReports {
    /// What is reported of each instance, by id.
    pub(crate) fn instances(&self) -> impl Iterator<Item = (&InstanceId, &Said)> {
        self.instances.iter().map(|(instance, said)| (instance, &**said))
    }

    /// Until when an instance is ejected.
    pub(crate) fn ejected_until(&self, instance: &InstanceId) -> Option<UnixMillis> {
        self.ejected.get(instance).copied()
    }

    /// With something else said of these; nothing, if `None`.
    pub(super) fn with(
        mut self,
        service: &ServiceKey,
        joined: Vec<(InstanceId, Option<Said>)>,
        catalog: &Catalog,
        version: u64,
    ) -> Self {
        for (instance, said) in joined {
            match said {
                Some(said) => self.instances.insert(instance, Arc::new(said)),
                None => self.instances.remove(&instance),
            };
        }
        let registered = ServiceName::try_from(service.as_str()).ok().and_then(|name| catalog.service(&name));
        let allowed = registered.map_or(0, |service| (service.instances.len() as f64 * EJECTED_PART_MAX) as usize);
        let ejected = self.instances.iter().filter_map(|(instance, said)| Some((said.ejected_until?, instance)));
        let mut ejected: Vec<(UnixMillis, &InstanceId)> = ejected.collect();
        // Those that are ejected longest; of equals the first by name.
        ejected.sort_by(|(one, _), (other, _)| other.cmp(one));
        self.ejected = ejected.into_iter().take(allowed).map(|(until, instance)| (instance.clone(), until)).collect();
        self.version = version;
        self
    }
}

impl Feedback for ViewReader {
    fn version(&self, service: &ServiceKey) -> u64 {
        self.0.load().get(service).map_or(0, |reports| reports.version)
    }

    fn of(&self, service: &ServiceKey, instance: &InstanceId) -> Reported {
        let view = self.0.load();
        let Some(reports) = view.get(service) else { return Reported::default() };
        let Some(said) = reports.instances.get(instance) else { return Reported::default() };
        Reported {
            performance: said.performance,
            contexts: said.contexts.clone(),
            ejected_until: reports.ejected_until(instance),
            load: said.load.map(|load| load.report),
            max_concurrent: said.load.and_then(|load| load.capacity),
        }
    }
}
