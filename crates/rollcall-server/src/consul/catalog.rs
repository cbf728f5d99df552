//! `catalog/*`: what is registered, by service and by node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::response::Response;
use axum::routing::get;
use rollcall_catalog::{Catalog, Instance, Service};
use serde::Serialize;

use super::blocking::{blocking, blocking_on_nodes};
use super::call::Call;
use super::failure::Result;
use super::narrow::Narrow;
use super::nodes::Place;
use super::render::{CatalogService, Node, NodeService, Views, service_id};
use super::router::Table;
use super::wake::Topic;
use super::{answer, index, meta};

/// The routes.
pub(super) fn table() -> Table {
    vec![
        ("/v1/catalog/datacenters", get(datacenters)),
        ("/v1/catalog/services", get(services)),
        ("/v1/catalog/service/{*rest}", get(service)),
        ("/v1/catalog/connect/{*rest}", get(nothing)),
        ("/v1/catalog/nodes", get(nodes)),
        ("/v1/catalog/node/{*rest}", get(node)),
        ("/v1/catalog/node-services/{*rest}", get(node_services)),
    ]
}

/// `GET catalog/datacenters`.
async fn datacenters(call: Call) -> Result<Response> {
    answer::json(&[call.layer.datacenter.as_str()])
}

/// `GET catalog/services`: the names of all services with the tags of their instances. An expression is about instances, as
/// `catalog/service` shows them.
async fn services(call: Call) -> Result<Response> {
    let narrow = Narrow::of(&call)?;
    let render = |catalog: &Arc<Catalog>| {
        let views = Views::of(&call, catalog);
        let mut tags_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        if !narrow.filtered(views.own_lines())?.is_empty() {
            // That of the cluster itself, which has no tags.
            tags_of.insert(meta::SELF_SERVICE, BTreeSet::new());
        }
        for service in views.services() {
            for instance in views.wanted(service, &narrow)? {
                let tags = instance.spec.tags.iter().map(|tag| tag.as_str());
                tags_of.entry(service.name.as_str()).or_default().extend(tags);
            }
        }
        answer::json(&tags_of)
    };
    blocking(&call, &[Topic::Services], |catalog| index::of_services(catalog), render).await
}

/// `GET catalog/service/:service`.
async fn service(call: Call) -> Result<Response> {
    let name = call.name("service name")?;
    let narrow = Narrow::of(&call)?;
    let is_about_peer = call.is_about_peer();
    let render = |catalog: &Arc<Catalog>| {
        let views = Views::of(&call, catalog);
        let lines = match views.service(name) {
            _ if is_about_peer => Vec::new(),
            _ if name.eq_ignore_ascii_case(meta::SELF_SERVICE) => views.own_lines(),
            Some(service) => views.lines(service, &narrow),
            None => Vec::new(),
        };
        answer::json(&narrow.filtered(lines)?)
    };
    let topics: Vec<Topic> = Topic::of_service(name).into_iter().collect();
    blocking(&call, &topics, |catalog| index::of_service(catalog, name), render).await
}

/// `GET catalog/connect/:service`: there are no proxies.
async fn nothing(call: Call) -> Result<Response> {
    let name = call.name("service name")?;
    let topics: Vec<Topic> = Topic::of_service(name).into_iter().collect();
    blocking(&call, &topics, |catalog| index::of_service(catalog, name), |_| answer::json(&[(); 0])).await
}

/// `GET catalog/nodes`.
async fn nodes(call: Call) -> Result<Response> {
    let narrow = Narrow::of(&call)?;
    let render = |views: &Views| {
        let places = views.places();
        let wanted = places.values().filter(|place| narrow.has_node_meta(&place.meta()));
        let nodes: Vec<_> = wanted.map(|place| Node::at(*place, &views.datacenter, None)).collect();
        answer::json(&narrow.filtered(nodes)?)
    };
    let topics = [Topic::Services, Topic::Nodes];
    blocking_on_nodes(&call, &topics, index::of_services, render).await
}

/// A node with its services by their ids.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeWithServices<'v> {
    node: Node<'v>,
    services: BTreeMap<&'v str, NodeService<'v>>,
}

/// The same as a list.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeServices<'v> {
    node: Node<'v>,
    services: Vec<NodeService<'v>>,
}

/// `GET catalog/node/:node`: `null` when there is none. An expression is about its services.
async fn node(call: Call) -> Result<Response> {
    read_node(&call, |node, services| {
        let services = services.into_iter().collect();
        answer::json(&NodeWithServices { node, services })
    })
    .await
}

/// `GET catalog/node-services/:node`: the same as a list.
async fn node_services(call: Call) -> Result<Response> {
    read_node(&call, |node, services| {
        let services = services.into_iter().map(|(_, service)| service).collect();
        answer::json(&NodeServices { node, services })
    })
    .await
}

/// A service of a node with its id.
type OfNode<'v> = (&'v str, NodeService<'v>);

async fn read_node(
    call: &Call,
    render_found: impl Fn(Node<'_>, Vec<OfNode<'_>>) -> Result<Response>,
) -> Result<Response> {
    let name = call.name("node name")?;
    let narrow = Narrow::of(call)?;
    let render = |views: &Views| {
        let Some(place) = views.places().remove(&name.to_ascii_lowercase()) else { return answer::json(&()) };
        let mut services: Vec<(&str, NodeService<'_>)> = Vec::new();
        if let Place::Member(member) = place {
            services.push((meta::SELF_SERVICE, NodeService::of_member(member)));
        }
        let on_node = views.on_node(name).into_iter();
        services.extend(
            on_node.map(|(instance, place)| (service_id(instance, place), views.node_service(instance, place))),
        );
        let kept = narrow.filtered_by(services, |(_, service)| service)?;
        render_found(Node::at(place, &views.datacenter, None), kept)
    };
    let topics = [Topic::Services, Topic::Nodes];
    blocking_on_nodes(call, &topics, index::of_services, render).await
}

impl Views {
    /// The instances of a service that are wanted, whatever their tags.
    fn wanted<'v>(&'v self, service: &'v Service, narrow: &Narrow) -> Result<Vec<&'v Instance>> {
        let all = service.instances.values().map(|instance| &**instance);
        if narrow.is_nothing() {
            return Ok(all.collect());
        }
        let placed = all.filter_map(|instance| Some((instance, self.place(instance)?)));
        let placed = placed.filter(|(_, place)| narrow.has_node_meta(&place.meta()));
        let lines = placed.map(|(instance, place)| (instance, self.catalog_service(instance, place))).collect();
        let kept = narrow.filtered_by(lines, |(_, line)| line)?;
        Ok(kept.into_iter().map(|(instance, _)| instance).collect())
    }

    /// The instances of a service that are wanted, a line for each.
    fn lines<'v>(&'v self, service: &'v Service, narrow: &Narrow) -> Vec<CatalogService<'v>> {
        let instances = service.instances.values().filter_map(|instance| Some((instance, self.place(instance)?)));
        let wanted = instances.filter(|(instance, place)| {
            narrow.has_tags(instance.spec.tags.iter().as_slice()) && narrow.has_node_meta(&place.meta())
        });
        wanted.map(|(instance, place)| self.catalog_service(instance, place)).collect()
    }
}
