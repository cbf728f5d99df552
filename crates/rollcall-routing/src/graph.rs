//! Who needs whom: services that require a capability, and those that offer it.
//!
//! An edge leads from a **caller**, which requires a capability, to a **callee**, a service that offers it. Nobody
//! declares edges: they follow from the definitions, so they are as true as these, and a new provider joins by itself.
//!
//! **Blast radius** of a failure: what cannot work any more (a capability that it needs has no provider left), and what still works
//! with fewer providers. Lost services take others with them, round by round, until nothing changes.
//!
//! Limits: definitions say what a service may need, not what a request does need. A service without instances offers nothing.

mod blast;
mod cycles;
mod dot;

use std::collections::{BTreeMap, BTreeSet};

use rollcall_types::{CapabilityName, NodeName, ServiceKey, SortedSet};

pub use self::blast::{Blast, Cause, Hit};

/// One service, as the graph needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Which.
    pub name: ServiceKey,
    /// What it can do.
    pub offers: SortedSet<CapabilityName>,
    /// What others must be able to do for it to work.
    pub requires: SortedSet<CapabilityName>,
    /// Its instances.
    pub instances: Vec<Placed>,
}

/// One instance, as the graph needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The node that it runs beside or is registered by, when that is known: what is lost with it.
    pub node: Option<NodeName>,
    /// Whether it may be selected.
    pub is_healthy: bool,
}

/// A caller that requires a capability, and a callee that offers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Who requires it.
    pub caller: ServiceKey,
    /// Who offers it.
    pub callee: ServiceKey,
    /// What.
    pub capability: CapabilityName,
}

/// A capability that is required and that nobody can offer now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What.
    pub capability: CapabilityName,
    /// Who requires it.
    pub callers: Vec<ServiceKey>,
    /// Services that offer it and have no healthy instance; empty: nobody offers it at all.
    pub sick: Vec<ServiceKey>,
}

/// Who needs whom.
///
/// Invariant: `edges` are sorted, each once, and of services that are in `services`.
#[derive(Debug, Clone)]
pub struct Graph {
    services: BTreeMap<ServiceKey, Service>,
    providers: BTreeMap<CapabilityName, BTreeSet<ServiceKey>>,
    edges: Vec<Edge>,
}

impl Graph {
    /// The graph of `services`; of two with the same name the last stays.
    pub fn of(services: impl IntoIterator<Item = Service>) -> Self {
        let services: BTreeMap<ServiceKey, Service> =
            services.into_iter().map(|service| (service.name.clone(), service)).collect();
        let mut providers: BTreeMap<CapabilityName, BTreeSet<ServiceKey>> = BTreeMap::new();
        for service in services.values() {
            for capability in &service.offers {
                providers.entry(capability.clone()).or_default().insert(service.name.clone());
            }
        }
        let mut edges: Vec<Edge> = services.values().flat_map(|caller| edges_of(caller, &providers)).collect();
        edges.sort();
        Self { services, providers, edges }
    }

    /// The services, by name.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// The edges, by caller, callee and capability.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Services that offer a capability, healthy or not.
    pub fn providers(&self, capability: &CapabilityName) -> impl Iterator<Item = &ServiceKey> {
        self.providers.get(capability).into_iter().flatten()
    }

    /// Capabilities that are required and that nobody can offer now.
    pub fn missing(&self) -> Vec<Missing> {
        let mut callers: BTreeMap<&CapabilityName, Vec<ServiceKey>> = BTreeMap::new();
        for service in self.services.values() {
            for capability in &service.requires {
                callers.entry(capability).or_default().push(service.name.clone());
            }
        }
        let is_healthy = |name: &&ServiceKey| self.services[*name].is_healthy();
        let lacking =
            callers.into_iter().filter(|(capability, _)| !self.providers(capability).any(|name| is_healthy(&name)));
        lacking
            .map(|(capability, callers)| {
                let sick = self.providers(capability).cloned().collect();
                Missing { capability: capability.clone(), callers, sick }
            })
            .collect()
    }

    /// Services that need each other in a circle, each group sorted, with those that need themselves.
    pub fn cycles(&self) -> Vec<Vec<ServiceKey>> {
        cycles::cycles(self)
    }

    /// What the loss of a service would mean; `None` for one that is not known.
    pub fn blast_radius_of_service(&self, name: &ServiceKey) -> Option<Blast> {
        self.services.contains_key(name).then(|| blast::of_service(self, name))
    }

    /// What the loss of a node would mean; `None` when no instance is known to be on it.
    pub fn blast_radius_of_node(&self, node: &NodeName) -> Option<Blast> {
        let is_here = |service: &Service| service.instances.iter().any(|placed| placed.node.as_ref() == Some(node));
        self.services.values().any(is_here).then(|| blast::of_node(self, node))
    }

    /// The graph in Graphviz's language: callers point to callees, dashed where the callee has no healthy instance.
    pub fn dot(&self) -> String {
        dot::dot(self)
    }

    pub(crate) fn service(&self, name: &ServiceKey) -> Option<&Service> {
        self.services.get(name)
    }
}

impl Service {
    /// Whether it has an instance that may be selected.
    pub fn is_healthy(&self) -> bool {
        self.instances.iter().any(|placed| placed.is_healthy)
    }
}

fn edges_of<'a>(
    caller: &'a Service,
    providers: &'a BTreeMap<CapabilityName, BTreeSet<ServiceKey>>,
) -> impl Iterator<Item = Edge> + 'a {
    caller.requires.iter().flat_map(move |capability| {
        let callees = providers.get(capability).into_iter().flatten();
        callees.map(move |callee| Edge {
            caller: caller.name.clone(),
            callee: callee.clone(),
            capability: capability.clone(),
        })
    })
}
