//! `health/*`: which instances there are, with what is known of them and of their nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::response::Response;
use axum::routing::get;
use rollcall_catalog::{Catalog, Service};
use rollcall_types::{ServiceKey, ServiceName};

use super::blocking::{blocking, blocking_on, blocking_on_nodes, describe_present};
use super::call::Call;
use super::failure::{Failure, Result};
use super::kept::Key;
use super::narrow::Narrow;
use super::params::Params;
use super::render::{Check, Entry, Views};
use super::router::{Front, Table};
use super::wake::Topic;
use super::{answer, index, meta};

/// The routes.
pub(super) fn table() -> Table {
    vec![
        ("/v1/health/service/{*rest}", get(service)),
        ("/v1/health/connect/{*rest}", get(nothing)),
        ("/v1/health/ingress/{*rest}", get(nothing)),
        ("/v1/health/state/{*rest}", get(state)),
        ("/v1/health/checks/{*rest}", get(checks)),
        ("/v1/health/node/{*rest}", get(node)),
    ]
}

/// Machines registered by name whose checks one query waits for by themselves; who reads more waits for those of all.
const MACHINES_MAX: usize = 64;

/// What a read of the health of a service waits for: the service, and the checks of the nodes that may be in the answer. Those
/// are all members, since one stands in for another, and the machines on which an instance was registered by name.
fn topics_of(catalog: &Catalog, service: &str) -> Vec<Topic> {
    let Ok(name) = ServiceName::try_from(service) else { return Vec::new() };
    let instances = catalog.service(&name).into_iter().flat_map(|service| service.instances.values());
    let machines = instances.filter_map(|instance| meta::of(&instance.spec, meta::NODE)).map(str::to_ascii_lowercase);
    let mut checks = BTreeSet::new();
    let are_few = machines.into_iter().all(|machine| {
        checks.insert(machine);
        checks.len() <= MACHINES_MAX
    });
    let of_service = Topic::of_service(service).into_iter();
    match are_few {
        true => of_service.chain(checks.into_iter().map(Topic::ChecksOf)).chain([Topic::MemberChecks]).collect(),
        false => of_service.chain(Topic::of_service(meta::SELF_SERVICE)).collect(),
    }
}

/// Whether an instance must be well: `passing` without a value, or with one that says so.
fn passing(call: &Call) -> Result<bool> {
    match call.params.get("passing") {
        None => Ok(false),
        Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Failure::bad_request("Invalid value for ?passing")),
    }
}

/// `GET health/service/:service`.
async fn service(call: Call) -> Result<Response> {
    let name = call.name("service name")?;
    let (narrow, only_passing) = (Narrow::of(&call)?, passing(&call)?);
    let is_about_peer = call.is_about_peer();
    let is_plain = narrow.is_nothing() && !is_about_peer;
    let render = |catalog: &Arc<Catalog>| {
        let views = Views::of(&call, catalog);
        let mut entries = match views.service(name) {
            _ if is_about_peer => Vec::new(),
            _ if name.eq_ignore_ascii_case(meta::SELF_SERVICE) => views.own_entries(),
            Some(service) if is_plain => return plain(&call, &views, service, only_passing),
            Some(service) => views.entries(service, &narrow),
            None => Vec::new(),
        };
        if only_passing {
            entries.retain(Entry::is_passing);
        }
        answer::json(&narrow.filtered(entries)?)
    };
    let topics = |catalog: &Catalog| topics_of(catalog, name);
    blocking_on(&call, topics, |catalog| index::of_service(catalog, name), render).await
}

/// All instances of a service, or those that pass: from the body that was answered last, if it still holds.
fn plain(call: &Call, views: &Views, service: &Service, only_passing: bool) -> Result<Response> {
    let entries = || {
        let mut entries = views.entries(service, &Narrow::default());
        if only_passing {
            entries.retain(Entry::is_passing);
        }
        entries
    };
    if !views.is_timeless(service) {
        return answer::json(&entries());
    }
    let key = Key { service: ServiceKey::from(&service.name), only_passing };
    let index = index::of_service(&views.catalog, key.service.as_str());
    if let Some(body) = call.layer.kept.get(&key, index, &views.nodes) {
        return Ok(answer::json_bytes(body));
    }
    let body = answer::written(&entries())?;
    call.layer.kept.put(key, index, &views.nodes, &body);
    Ok(answer::json_bytes(body))
}

/// The answer to a plain question about a service that was answered before, at once: it needs no waiting and nothing that is not
/// in memory. `None` of every other question.
pub(super) fn at_once(front: &Front, name: &str, params: &Params) -> Option<Response> {
    let (app, layer) = (&front.app, &front.layer);
    if !params.are_among(&["passing", "stale", "cached"]) || !(params.has("stale") || app.consensus.is_leader()) {
        return None;
    }
    let only_passing = match params.get("passing") {
        None => false,
        Some("" | "1" | "true") => true,
        Some(_) => return None,
    };
    if !Views::is_journal_of_now(app) {
        return None;
    }
    let catalog = app.consensus.catalog();
    let key = Key { service: ServiceKey::from(&ServiceName::try_from(name).ok()?), only_passing };
    let index = index::of_service(&catalog, key.service.as_str());
    let mut response = answer::json_bytes(layer.kept.get(&key, index, &layer.nodes(app))?);
    describe_present(app, layer, params.has("stale"), index, response.headers_mut());
    Some(response)
}

/// `GET health/connect/:service`, `GET health/ingress/:service`: there are no proxies.
async fn nothing(call: Call) -> Result<Response> {
    let name = call.name("service name")?;
    let topics: Vec<Topic> = Topic::of_service(name).into_iter().collect();
    blocking(&call, &topics, |catalog| index::of_service(catalog, name), |_| answer::json(&[(); 0])).await
}

/// `GET health/checks/:service`: the checks of its instances.
async fn checks(call: Call) -> Result<Response> {
    let name = call.name("service name")?;
    let narrow = Narrow::of(&call)?;
    let render = |catalog: &Arc<Catalog>| {
        let views = Views::of(&call, catalog);
        let found = views.service(name).filter(|_| !name.eq_ignore_ascii_case(meta::SELF_SERVICE));
        let checks: Vec<_> = found.into_iter().flat_map(|service| views.service_checks(service, &narrow)).collect();
        answer::json(&narrow.filtered(checks)?)
    };
    let topics: Vec<Topic> = Topic::of_service(name).into_iter().collect();
    blocking(&call, &topics, |catalog| index::of_service(catalog, name), render).await
}

/// `GET health/state/:state`: the checks of everything that have this status.
async fn state(call: Call) -> Result<Response> {
    let wanted = call.name("check state")?;
    let narrow = Narrow::of(&call)?;
    let render = |views: &Views| {
        let of_nodes = views.checks_of_nodes(&narrow);
        let of_services = views.services().flat_map(|service| views.service_checks(service, &narrow));
        let all = of_nodes.into_iter().chain(of_services);
        let checks: Vec<_> = all.filter(|check| wanted == "any" || check.status == wanted).collect();
        answer::json(&narrow.filtered(checks)?)
    };
    let topics = [Topic::Services, Topic::Statuses, Topic::Nodes];
    blocking_on_nodes(&call, &topics, index::of_statuses, render).await
}

/// `GET health/node/:node`: its checks, and those of all that is on it.
async fn node(call: Call) -> Result<Response> {
    let name = call.name("node name")?;
    let narrow = Narrow::of(&call)?;
    let render = |views: &Views| {
        let mut checks = views.node_checks().remove(&name.to_ascii_lowercase()).unwrap_or_default();
        for (instance, place) in views.on_node(name) {
            checks.extend(views.checks_of(instance, place));
        }
        answer::json(&narrow.filtered(checks)?)
    };
    let topics = [Topic::Services, Topic::Statuses, Topic::Nodes];
    blocking_on_nodes(&call, &topics, index::of_statuses, render).await
}

impl Views {
    /// The instances of a service that are wanted, with their nodes and checks.
    fn entries<'v>(&'v self, service: &'v Service, narrow: &Narrow) -> Vec<Entry<'v>> {
        let node_checks = self.node_checks();
        let mut entries = Vec::with_capacity(service.instances.len());
        for instance in service.instances.values() {
            let Some(place) = self.place(instance) else { continue };
            if !narrow.has_tags(instance.spec.tags.iter().as_slice()) || !narrow.has_node_meta(&place.meta()) {
                continue;
            }
            let of_node = node_checks.get(&place.name().to_ascii_lowercase());
            entries.push(self.entry(instance, place, of_node.map_or(&[], Vec::as_slice)));
        }
        entries
    }

    /// The checks of the instances of a service that are wanted.
    fn service_checks<'v>(&'v self, service: &'v Service, narrow: &Narrow) -> Vec<Check<'v>> {
        let instances = service.instances.values().filter_map(|instance| Some((instance, self.place(instance)?)));
        let wanted = instances.filter(|(_, place)| narrow.has_node_meta(&place.meta()));
        wanted.flat_map(|(instance, place)| self.checks_of(instance, place)).collect()
    }

    /// The checks of the nodes that are wanted.
    fn checks_of_nodes<'v>(&'v self, narrow: &Narrow) -> Vec<Check<'v>> {
        let mut all = self.node_checks();
        let places = self.places().into_values().filter(|place| narrow.has_node_meta(&place.meta()));
        places.filter_map(|place| all.remove(&place.name().to_ascii_lowercase())).flatten().collect()
    }
}
