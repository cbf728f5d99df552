//! A service instance, in the four shapes that Consul has for it.

use rollcall_catalog::Instance;
use rollcall_types::Tag;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::check::{Check, Nothing, tags};
use super::node::{Node, Pairs};
use super::{Views, meta};
use crate::consul::nodes::{Member, Place};

/// A service in `health/service`, `catalog/node` and the like.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NodeService<'v> {
    #[serde(rename = "ID")]
    id: &'v str,
    service: &'v str,
    tags: &'v [Tag],
    address: &'v str,
    tagged_addresses: TaggedAddresses<'v>,
    meta: Pairs<'v>,
    port: u16,
    weights: Weights,
    enable_tag_override: bool,
    proxy: Proxy,
    connect: Nothing,
    peer_name: &'static str,
    create_index: u64,
    modify_index: u64,
}

/// A service in `agent/services`: of a plain one these fields and no others, which clients compare whole.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AgentService<'v> {
    #[serde(rename = "ID")]
    pub(crate) id: &'v str,
    pub(crate) service: &'v str,
    pub(crate) tags: &'v [Tag],
    pub(crate) meta: Pairs<'v>,
    pub(crate) port: u16,
    pub(crate) address: &'v str,
    #[serde(skip_serializing_if = "TaggedAddresses::is_empty")]
    pub(crate) tagged_addresses: TaggedAddresses<'v>,
    pub(crate) weights: Weights,
    pub(crate) enable_tag_override: bool,
    pub(crate) datacenter: &'v str,
}

/// A line of `catalog/service`: node and service in one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CatalogService<'v> {
    #[serde(rename = "ID")]
    id: &'v str,
    node: &'v str,
    address: &'v str,
    datacenter: &'v str,
    tagged_addresses: super::node::Tagged<'v>,
    node_meta: Pairs<'v>,
    service_kind: &'static str,
    #[serde(rename = "ServiceID")]
    service_id: &'v str,
    service_name: &'v str,
    service_tags: &'v [Tag],
    service_address: &'v str,
    service_tagged_addresses: TaggedAddresses<'v>,
    service_weights: Weights,
    service_meta: Pairs<'v>,
    service_port: u16,
    service_socket_path: &'static str,
    service_enable_tag_override: bool,
    service_proxy: Proxy,
    service_connect: Nothing,
    service_peer_name: &'static str,
    create_index: u64,
    modify_index: u64,
}

/// A line of `health/service`: the node, the service, and the checks of both.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry<'v> {
    /// The node.
    pub(crate) node: Node<'v>,
    /// The service.
    pub(crate) service: NodeService<'v>,
    /// Those of the node first.
    pub(crate) checks: Vec<Check<'v>>,
}

/// Shares of traffic.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Weights {
    passing: u16,
    warning: u16,
}

/// What a service that is no proxy says of proxies.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Proxy {
    mode: &'static str,
    mesh_gateway: Nothing,
    expose: Nothing,
}

const NO_PROXY: Proxy = Proxy { mode: "", mesh_gateway: Nothing, expose: Nothing };

/// `{"lan": {"Address": …, "Port": …}}`, in order.
#[derive(Debug)]
pub(crate) struct TaggedAddresses<'v>(Vec<(&'v str, &'v str)>);

impl TaggedAddresses<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TaggedAddress<'v> {
    address: &'v str,
    port: u16,
}

impl Serialize for TaggedAddresses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, place) in &self.0 {
            let (address, port) = place.rsplit_once(':').unwrap_or((place, "0"));
            map.serialize_entry(name, &TaggedAddress { address, port: port.parse().unwrap_or_default() })?;
        }
        map.end()
    }
}

/// The id of an instance on its node: of one that was registered on a node by name it is what comes after that.
pub(crate) fn service_id<'v>(instance: &'v Instance, place: Place<'v>) -> &'v str {
    let id = instance.id.as_str();
    match place {
        Place::Member(_) => id,
        Place::External { name, .. } => {
            let parts = id.split_at_checked(name.len()).filter(|(node, _)| node.eq_ignore_ascii_case(name));
            parts.and_then(|(_, rest)| rest.strip_prefix('/')).unwrap_or(id)
        }
    }
}

/// The address that a service was registered with; empty when it was without.
fn address(instance: &Instance) -> &str {
    match instance.spec.endpoints.first() {
        Some(endpoint) if !is_without_address(instance) => endpoint.host.as_str(),
        Some(_) => "",
        None => meta::of(&instance.spec, meta::ADDRESS).unwrap_or_default(),
    }
}

fn is_without_address(instance: &Instance) -> bool {
    meta::of(&instance.spec, meta::NO_ADDRESS).is_some()
}

/// Where the node of a service is that was registered without an address, if that is elsewhere than the node.
fn fallback(instance: &Instance) -> Option<&str> {
    let endpoint = instance.spec.endpoints.first().filter(|_| is_without_address(instance))?;
    Some(endpoint.host.as_str())
}

fn port(instance: &Instance) -> u16 {
    instance.spec.endpoints.first().map_or(0, |endpoint| endpoint.port.get())
}

fn weights(instance: &Instance) -> Weights {
    let warning = meta::of(&instance.spec, meta::WEIGHT_WARNING).and_then(|text| text.parse().ok());
    Weights { passing: instance.spec.weight.get(), warning: warning.unwrap_or(1) }
}

fn tagged(instance: &Instance) -> TaggedAddresses<'_> {
    TaggedAddresses(meta::below(&instance.spec, meta::TAGGED).collect())
}

fn user_meta(instance: &Instance) -> Pairs<'_> {
    Pairs(meta::of_user(&instance.spec).collect())
}

fn has_tag_override(instance: &Instance) -> bool {
    meta::of(&instance.spec, meta::TAG_OVERRIDE).is_some()
}

impl<'v> NodeService<'v> {
    /// A member as an instance of the service that stands for the cluster.
    pub(crate) fn of_member(member: &'v Member) -> Self {
        Self {
            id: meta::SELF_SERVICE,
            service: meta::SELF_SERVICE,
            tags: &[],
            address: "",
            tagged_addresses: TaggedAddresses(Vec::new()),
            meta: Pairs::default(),
            port: member.port,
            weights: Weights { passing: 1, warning: 1 },
            enable_tag_override: false,
            proxy: NO_PROXY,
            connect: Nothing,
            peer_name: "",
            create_index: 1,
            modify_index: 1,
        }
    }
}

impl<'v> CatalogService<'v> {
    /// A node and its service as one line.
    pub(crate) fn joined(node: Node<'v>, service: NodeService<'v>) -> Self {
        Self {
            id: node.id,
            node: node.name,
            address: node.address,
            datacenter: node.datacenter,
            tagged_addresses: node.tagged_addresses,
            node_meta: node.meta,
            service_kind: "",
            service_id: service.id,
            service_name: service.service,
            service_tags: service.tags,
            service_address: service.address,
            service_tagged_addresses: service.tagged_addresses,
            service_weights: service.weights,
            service_meta: service.meta,
            service_port: service.port,
            service_socket_path: "",
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: service.proxy,
            service_connect: Nothing,
            service_peer_name: "",
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }
}

impl Entry<'_> {
    /// Whether the service and its node are well.
    pub(crate) fn is_passing(&self) -> bool {
        self.checks.iter().all(|check| check.status == "passing")
    }
}

impl Views {
    /// The node of an instance, as it stands in front of it.
    pub(crate) fn node_of<'v>(&'v self, instance: &'v Instance, place: Place<'v>) -> Node<'v> {
        Node::at(place, &self.datacenter, fallback(instance))
    }

    /// An instance as a service of a node.
    pub(crate) fn node_service<'v>(&'v self, instance: &'v Instance, place: Place<'v>) -> NodeService<'v> {
        NodeService {
            id: service_id(instance, place),
            service: instance.service.as_str(),
            tags: tags(instance),
            address: address(instance),
            tagged_addresses: tagged(instance),
            meta: user_meta(instance),
            port: port(instance),
            weights: weights(instance),
            enable_tag_override: has_tag_override(instance),
            proxy: NO_PROXY,
            connect: Nothing,
            peer_name: "",
            create_index: instance.created.get(),
            modify_index: instance.modified.get(),
        }
    }

    /// An instance as an agent shows it.
    pub(crate) fn agent_service<'v>(&'v self, instance: &'v Instance, place: Place<'v>) -> AgentService<'v> {
        AgentService {
            id: service_id(instance, place),
            service: instance.service.as_str(),
            tags: tags(instance),
            meta: user_meta(instance),
            port: port(instance),
            address: address(instance),
            tagged_addresses: tagged(instance),
            weights: weights(instance),
            enable_tag_override: has_tag_override(instance),
            datacenter: &self.datacenter,
        }
    }

    /// An instance as a line of the catalogue.
    pub(crate) fn catalog_service<'v>(&'v self, instance: &'v Instance, place: Place<'v>) -> CatalogService<'v> {
        CatalogService::joined(self.node_of(instance, place), self.node_service(instance, place))
    }

    /// An instance as a line of `health/service`. `node_checks` are those of its node.
    pub(crate) fn entry<'v>(
        &'v self,
        instance: &'v Instance,
        place: Place<'v>,
        node_checks: &[Check<'v>],
    ) -> Entry<'v> {
        let own = self.checks_of(instance, place);
        let mut checks = Vec::with_capacity(node_checks.len() + own.len());
        checks.extend_from_slice(node_checks);
        checks.extend(own);
        Entry { node: self.node_of(instance, place), service: self.node_service(instance, place), checks }
    }
}
