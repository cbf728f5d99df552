//! Nodes, services and checks as Consul's answers show them: one shape and one order for every endpoint.
//!
//! [`Views`] is what one answer is made from. What an answer says must be a function of its index, because a client that holds
//! an index waits until that changes: so the status of an instance and of each of its checks is that of the journal, which moves the index, and not what
//! this node observes at the moment, which may be other a moment later without a trace. The journal is as late as an entry of
//! the log. While there is nobody to write it (no leader for [`JOURNAL_SILENCE`]), what is observed is shown.

pub(crate) mod check;
mod node;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollcall_catalog::{Catalog, Instance, Service};
use rollcall_types::{CheckKind, CheckSpec, CheckStatuses, Lifecycle, ServiceName, Status, StatusCause, UnixMillis};
use tokio::time::Instant;

pub(crate) use self::check::{Check, word};
pub(crate) use self::node::Node;
pub(crate) use self::service::{AgentService, CatalogService, Entry, NodeService, service_id};
use super::call::Call;
use super::meta;
use super::nodes::{Nodes, Place};
use crate::app::App;
use crate::clock;
use crate::health::{HealthSnapshot, is_watched};

/// After so long without a leader the journal says nothing of now.
const JOURNAL_SILENCE: Duration = Duration::from_secs(5);

/// What one answer is made from.
pub(crate) struct Views {
    /// What is registered.
    pub(crate) catalog: Arc<Catalog>,
    /// The members.
    pub(crate) nodes: Arc<Nodes>,
    /// The datacenter.
    pub(crate) datacenter: String,
    /// What is observed, where the journal says nothing of now.
    observed: Option<Arc<HealthSnapshot>>,
    now: UnixMillis,
}

/// What an instance is shown to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its status.
    pub(crate) status: Status,
    /// Why.
    pub(crate) cause: StatusCause,
    /// Its checks, one by one; nothing of those that are as it is.
    pub(crate) checks: CheckStatuses,
}

impl Shown {
    /// What a check of it is shown to be; `None` when that is not known but of the instance.
    pub(crate) fn check(&self, checks: &[CheckSpec], check: &CheckSpec) -> Option<Status> {
        match check.kind {
            CheckKind::Fixed { status } => Some(status),
            _ => self.checks.of_check(checks, &check.id),
        }
    }
}

impl Views {
    /// What there is now, beside `catalog`.
    pub(crate) fn of(call: &Call, catalog: &Arc<Catalog>) -> Self {
        Self {
            catalog: catalog.clone(),
            nodes: call.layer.nodes(&call.app),
            datacenter: call.layer.datacenter.to_string(),
            observed: (!Self::is_journal_of_now(&call.app)).then(|| call.app.health.reader().load()),
            now: clock::now(catalog),
        }
    }

    /// Whether somebody writes the journal now, as far as this node knows.
    pub(crate) fn is_journal_of_now(app: &App) -> bool {
        app.consensus.fresh_at(Instant::now()).is_some_and(|at| at.elapsed() < JOURNAL_SILENCE)
    }

    /// Of a catalogue and nodes alone.
    #[cfg(test)]
    pub(crate) fn journaled(catalog: &Arc<Catalog>, nodes: Nodes, now: UnixMillis) -> Self {
        let (catalog, nodes) = (catalog.clone(), Arc::new(nodes));
        Self { catalog, nodes, datacenter: "dc1".to_owned(), observed: None, now }
    }

    /// The service of this name, in any case.
    pub(crate) fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.catalog.service(&ServiceName::try_from(name).ok()?)
    }

    /// The services that clients see: all but the one that stands for the cluster.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.catalog.services().filter(|service| !service.name.eq_ignore_ascii_case(meta::SELF_SERVICE))
    }

    /// What an instance is shown to be.
    pub(crate) fn shown(&self, instance: &Instance) -> Shown {
        if !is_watched(instance) {
            return Shown { status: Status::Passing, cause: StatusCause::Unchecked, checks: CheckStatuses::default() };
        }
        match &self.observed {
            Some(observed) => {
                let seen = observed.of(&self.catalog, instance);
                Shown { status: seen.status, cause: seen.cause, checks: seen.checks }
            }
            None => {
                let journaled = self.catalog.journaled(instance);
                Shown { status: journaled.status, cause: journaled.cause, checks: journaled.checks }
            }
        }
    }

    /// Whether what is shown of a service changes with its index and the nodes alone, and not with time or by observation.
    pub(crate) fn is_timeless(&self, service: &Service) -> bool {
        let mut instances = service.instances.values();
        self.observed.is_none() && !instances.any(|it| matches!(it.lifecycle, Lifecycle::Quarantined { .. }))
    }

    /// What an operator decided about it that holds now.
    pub(crate) fn lifecycle<'i>(&self, instance: &'i Instance) -> &'i Lifecycle {
        instance.lifecycle.at(self.now)
    }

    /// The node of an instance.
    pub(crate) fn place<'v>(&'v self, instance: &'v Instance) -> Option<Place<'v>> {
        self.nodes.place(instance)
    }

    /// All nodes by the lower case of their names: the members, and those on which something was registered by name. Looks at
    /// every instance.
    pub(crate) fn places(&self) -> BTreeMap<String, Place<'_>> {
        let members = self.nodes.members().iter().map(Place::Member);
        let all = self.catalog.services().flat_map(|service| service.instances.values());
        let named = all.filter(|instance| meta::of(&instance.spec, meta::NODE).is_some());
        let mut places = BTreeMap::new();
        for place in members.chain(named.filter_map(|instance| self.place(instance))) {
            places.entry(place.name().to_ascii_lowercase()).or_insert(place);
        }
        places
    }

    /// The instances of services that are on a node, with the node. Looks at every instance.
    pub(crate) fn on_node(&self, name: &str) -> Vec<(&Arc<Instance>, Place<'_>)> {
        let all = self.services().flat_map(|service| service.instances.values());
        let placed = all.filter_map(|instance| Some((instance, self.place(instance)?)));
        placed.filter(|(_, place)| place.name().eq_ignore_ascii_case(name)).collect()
    }

    /// The members as instances of the service that stands for the cluster.
    pub(crate) fn own_entries(&self) -> Vec<Entry<'_>> {
        let mut checks = self.node_checks();
        let entry = |member| {
            let place = Place::Member(member);
            let checks = checks.remove(&place.name().to_ascii_lowercase()).unwrap_or_default();
            Entry { node: Node::at(place, &self.datacenter, None), service: NodeService::of_member(member), checks }
        };
        self.nodes.members().iter().map(entry).collect()
    }

    /// The same as lines of the catalogue.
    pub(crate) fn own_lines(&self) -> Vec<CatalogService<'_>> {
        let lines = self.nodes.members().iter().map(|member| {
            let node = Node::at(Place::Member(member), &self.datacenter, None);
            CatalogService::joined(node, NodeService::of_member(member))
        });
        lines.collect()
    }

    /// The checks of each node that are not its services', by the lower case of its name.
    pub(crate) fn node_checks(&self) -> BTreeMap<String, Vec<Check<'_>>> {
        let mut checks: BTreeMap<String, Vec<Check<'_>>> = BTreeMap::new();
        for member in self.nodes.members() {
            checks.insert(member.name.to_ascii_lowercase(), vec![Check::serf_health(member)]);
        }
        let Some(registered) = self.service(meta::SELF_SERVICE) else { return checks };
        for instance in registered.instances.values() {
            let Some(place) = self.place(instance) else { continue };
            let of_node = checks.entry(place.name().to_ascii_lowercase()).or_default();
            of_node.extend(self.checks_of(instance, place).into_iter().map(Check::of_node));
        }
        checks
    }
}

#[cfg(test)]
mod tests;
