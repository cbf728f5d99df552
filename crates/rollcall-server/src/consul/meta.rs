//! What the layer writes into the metadata of an instance, because the domain has no field for it.
//!
//! Keys that begin with [`PREFIX`] are the layer's own: they are not shown as `Meta`, and a client's are refused.

use rollcall_types::InstanceSpec;

/// With what all of these begin.
pub(crate) const PREFIX: &str = "consul:";
/// The node of an instance that was registered on a node by name, and belongs to it wherever that is.
pub(crate) const NODE: &str = "consul:node";
/// The address of that node.
pub(crate) const NODE_ADDRESS: &str = "consul:node-address";
/// The id of that node, a UUID.
pub(crate) const NODE_ID: &str = "consul:node-id";
/// With what metadata of that node begins: `consul:node-meta:<key>`.
pub(crate) const NODE_META: &str = "consul:node-meta:";
/// With what tagged addresses begin: `consul:tagged:<name>` is `address:port`.
pub(crate) const TAGGED: &str = "consul:tagged:";
/// Present when others than the owner may change the tags.
pub(crate) const TAG_OVERRIDE: &str = "consul:tag-override";
/// The weight while it warns, when that is not 1.
pub(crate) const WEIGHT_WARNING: &str = "consul:weight-warning";
/// Present when the instance was registered without an address: the host of its endpoint is where it was registered from.
pub(crate) const NO_ADDRESS: &str = "consul:no-address";
/// The address of an instance without a port, which has no endpoint.
pub(crate) const ADDRESS: &str = "consul:address";
/// The service that stands for the cluster itself. Its instances are nodes and checks of nodes that were registered.
pub(crate) const SELF_SERVICE: &str = "consul";

/// The value under a key of the layer.
pub(crate) fn of<'s>(spec: &'s InstanceSpec, key: &str) -> Option<&'s str> {
    spec.metadata.iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| value.as_str())
}

/// The entries whose keys begin with `prefix`, without it.
pub(crate) fn below<'s>(spec: &'s InstanceSpec, prefix: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
    spec.metadata.iter().filter_map(move |(key, value)| Some((key.as_str().strip_prefix(prefix)?, value.as_str())))
}

/// What users wrote.
pub(crate) fn of_user(spec: &InstanceSpec) -> impl Iterator<Item = (&str, &str)> {
    spec.metadata.iter().filter(|(key, _)| !key.starts_with(PREFIX)).map(|(key, value)| (key.as_str(), value.as_str()))
}
