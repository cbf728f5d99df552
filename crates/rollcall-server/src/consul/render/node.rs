//! A node.

use rollcall_types::Host;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use crate::consul::nodes::Place;

/// A node, as it stands in front of its services.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Node<'v> {
    /// Its id.
    #[serde(rename = "ID")]
    pub(crate) id: &'v str,
    /// Its name.
    #[serde(rename = "Node")]
    pub(crate) name: &'v str,
    /// Its address.
    pub(crate) address: &'v str,
    /// Where it is.
    pub(crate) datacenter: &'v str,
    /// The same address by the names under which clients look for it.
    pub(crate) tagged_addresses: Tagged<'v>,
    /// What is told of it besides.
    pub(crate) meta: Pairs<'v>,
    /// Nodes have no history in the log.
    pub(crate) create_index: u64,
    /// As `create_index`.
    pub(crate) modify_index: u64,
}

impl<'v> Node<'v> {
    /// The node at `place`. `address` stands in for its own: that of a service which was registered without one, so that
    /// clients who fall back to the address of the node reach it.
    pub(crate) fn at(place: Place<'v>, datacenter: &'v str, address: Option<&'v str>) -> Self {
        let address = address.unwrap_or_else(|| place.address());
        Self {
            id: place.id(),
            name: place.name(),
            address,
            datacenter,
            tagged_addresses: Tagged(address),
            meta: Pairs(place.meta()),
            create_index: 1,
            modify_index: 1,
        }
    }
}

/// `lan`, `lan_ipv4`, `wan`, `wan_ipv4` (or `_ipv6`) with one address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tagged<'v>(&'v str);

impl Serialize for Tagged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let version = match Host::try_from(self.0).ok().and_then(|host| host.ip()) {
            Some(address) if address.is_ipv4() => Some(["lan_ipv4", "wan_ipv4"]),
            Some(_) => Some(["lan_ipv6", "wan_ipv6"]),
            None => None,
        };
        let mut map = serializer.serialize_map(None)?;
        for name in ["lan", "wan"].into_iter().chain(version.into_iter().flatten()) {
            map.serialize_entry(name, self.0)?;
        }
        map.end()
    }
}

/// Keys with their values, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pairs<'v>(pub(crate) Vec<(&'v str, &'v str)>);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}
