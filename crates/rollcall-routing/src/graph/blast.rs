//! What a failure takes with it.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_types::{CapabilityName, NodeName, ServiceKey};

use super::{Graph, Placed, Service};

/// Why a service is hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It is what fails, or all its healthy instances are on what fails.
    Itself,
    /// Some of its healthy instances are on what fails: so many of so many are left.
    Fewer {
        /// Healthy instances that are left.
        left: usize,
        /// Healthy instances before.
        before: usize,
    },
    /// A capability that it requires has no provider left.
    NoProvider(CapabilityName),
    /// A capability that it requires has fewer providers: these are left.
    FewerProviders {
        /// Which.
        capability: CapabilityName,
        /// Who still offers it.
        left: Vec<ServiceKey>,
    },
}

/// A service that is hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Which.
    pub service: ServiceKey,
    /// Why.
    pub cause: Cause,
    /// How many steps from what fails: 0 for itself.
    pub distance: u32,
}

/// What a failure takes with it. What was broken before is in neither list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blast {
    /// Services that cannot work any more, nearest first.
    pub lost: Vec<Hit>,
    /// Services that go on with less, by name.
    pub weakened: Vec<Hit>,
}

pub(super) fn of_service(graph: &Graph, name: &ServiceKey) -> Blast {
    let first = Hit { service: name.clone(), cause: Cause::Itself, distance: 0 };
    spread(graph, vec![first], Vec::new())
}

pub(super) fn of_node(graph: &Graph, node: &NodeName) -> Blast {
    let is_here = |placed: &&Placed| placed.is_healthy && placed.node.as_ref() == Some(node);
    let (mut lost, mut weakened) = (Vec::new(), Vec::new());
    for service in graph.services() {
        let before = service.instances.iter().filter(|placed| placed.is_healthy).count();
        let left = before - service.instances.iter().filter(is_here).count();
        let hit = |cause| Hit { service: service.name.clone(), cause, distance: 0 };
        match left {
            _ if left == before => {}
            0 => lost.push(hit(Cause::Itself)),
            _ => weakened.push(hit(Cause::Fewer { left, before })),
        }
    }
    spread(graph, lost, weakened)
}

/// Lets the loss of services spread to those that need them, round by round.
fn spread(graph: &Graph, lost: Vec<Hit>, weakened: Vec<Hit>) -> Blast {
    // What works today; the rest is no consequence.
    let working = working(graph);
    let mut left: BTreeSet<&ServiceKey> = working.clone();
    let mut blast = Blast { lost, weakened };
    for hit in &blast.lost {
        left.remove(&hit.service);
    }
    for distance in 1.. {
        let round: Vec<Hit> = left
            .iter()
            .filter_map(|name| {
                let capability = lacks(graph, graph.service(name)?, &left)?;
                Some(Hit { service: (*name).clone(), cause: Cause::NoProvider(capability.clone()), distance })
            })
            .collect();
        if round.is_empty() {
            break;
        }
        for hit in &round {
            left.remove(&hit.service);
        }
        blast.lost.extend(round);
    }
    blast.weakened.retain(|hit| left.contains(&hit.service));
    let distances: BTreeMap<&ServiceKey, u32> = blast.lost.iter().map(|hit| (&hit.service, hit.distance)).collect();
    let fewer: Vec<Hit> = left.iter().filter_map(|name| fewer(graph, name, &working, &left, &distances)).collect();
    blast.weakened.extend(fewer);
    blast.weakened.sort_by(|a, b| a.service.cmp(&b.service));
    blast
}

/// Services that have a healthy instance and whose needs are met by such ones. The greatest such set: services that need
/// each other in a circle work as long as all of them do.
fn working(graph: &Graph) -> BTreeSet<&ServiceKey> {
    let mut left: BTreeSet<&ServiceKey> =
        graph.services().filter(|service| service.is_healthy()).map(|service| &service.name).collect();
    loop {
        let lacking =
            |name: &&&ServiceKey| graph.service(name).is_some_and(|service| lacks(graph, service, &left).is_some());
        let broken: Vec<&ServiceKey> = left.iter().filter(lacking).copied().collect();
        if broken.is_empty() {
            return left;
        }
        for name in broken {
            left.remove(name);
        }
    }
}

/// A capability that a service requires and that nobody who is left offers.
fn lacks<'a>(graph: &Graph, service: &'a Service, left: &BTreeSet<&ServiceKey>) -> Option<&'a CapabilityName> {
    service.requires.iter().find(|capability| !graph.providers(capability).any(|name| left.contains(name)))
}

/// Whether a service goes on with fewer providers than it had.
fn fewer(
    graph: &Graph,
    name: &ServiceKey,
    working: &BTreeSet<&ServiceKey>,
    left: &BTreeSet<&ServiceKey>,
    distances: &BTreeMap<&ServiceKey, u32>,
) -> Option<Hit> {
    graph.service(name)?.requires.iter().find_map(|capability| {
        let lost = graph.providers(capability).filter(|name| working.contains(name) && !left.contains(name));
        let distance = lost.filter_map(|name| distances.get(name)).min()? + 1;
        let left = graph.providers(capability).filter(|name| left.contains(name)).cloned().collect();
        let cause = Cause::FewerProviders { capability: capability.clone(), left };
        Some(Hit { service: name.clone(), cause, distance })
    })
}
