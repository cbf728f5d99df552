//! Services as callers of Consul's API register them, turned into instances.
//!
//! A service of Consul is an instance here: its `ID` is the id, its `Name` the service. The address is the one endpoint; what
//! Consul knows besides goes into the metadata, under keys of this layer ([`meta`]).
//!
//! Limits: tags are a set, in the order of the alphabet. Proxies, gateways and sockets are refused.

use std::collections::BTreeMap;
use std::fmt;

use rollcall_types::{
    CHECKS_MAX, Endpoint, Host, InstanceId, InstanceSpec, Invalid, Label, METADATA_MAX, MetadataKey, MetadataValue,
    Millis, Port, Protocol, ServiceName, TAGS_MAX, Tag, Tags, Weight,
};
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::checks::{CheckDefinition, Defined};
use super::failure::{Failure, Result};
use super::meta;

/// Most kinds of addresses that one instance may have.
const TAGGED_MAX: usize = 16;
/// Name of the one endpoint.
const ENDPOINT_NAME: &str = "default";
/// What is spoken there, as far as Consul says.
const ENDPOINT_PROTOCOL: &str = "tcp";

/// A service as it comes in a body; the names of its fields are those of Consul.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ServiceDefinition {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) name: String,
    /// The name, in `catalog/register`.
    pub(crate) service: String,
    pub(crate) tags: Vec<String>,
    pub(crate) port: u64,
    pub(crate) address: String,
    pub(crate) socket_path: String,
    pub(crate) tagged_addresses: BTreeMap<String, TaggedAddress>,
    pub(crate) enable_tag_override: bool,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) weights: Option<Weights>,
    pub(crate) kind: String,
    pub(crate) connect: Option<Connect>,
    pub(crate) locality: Option<Locality>,
    pub(crate) check: Option<CheckDefinition>,
    pub(crate) checks: Vec<CheckDefinition>,
}

/// Shares of traffic.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Weights {
    pub(crate) passing: i64,
    pub(crate) warning: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// What is said of a mesh.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Connect {
    pub(crate) native: bool,
    pub(crate) sidecar_service: Option<serde_json::Value>,
}

/// Where it runs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Locality {
    pub(crate) region: String,
    pub(crate) zone: String,
}

/// An address of some kind: `{"Address": …, "Port": …}`, or the address alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TaggedAddress {
    pub(crate) address: String,
    pub(crate) port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AddressAndPort {
    address: String,
    port: u16,
}

impl<'de> Deserialize<'de> for TaggedAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = TaggedAddress;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or an object with Address and Port")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<TaggedAddress, E> {
                Ok(TaggedAddress { address: text.to_owned(), port: 0 })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> std::result::Result<TaggedAddress, A::Error> {
                let mut found = AddressAndPort::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.to_ascii_lowercase().as_str() {
                        "address" => found.address = map.next_value()?,
                        "port" => found.port = map.next_value()?,
                        _ => drop(map.next_value::<de::IgnoredAny>()?),
                    }
                }
                Ok(TaggedAddress { address: found.address, port: found.port })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// An instance that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Registration {
    /// Its service.
    pub(crate) service: ServiceName,
    /// Its id.
    pub(crate) id: InstanceId,
    /// What is registered of it.
    pub(crate) spec: InstanceSpec,
}

/// Finds the service and instance of an id.
pub(crate) type ServiceOf<'f> = &'f dyn Fn(&str) -> Option<(ServiceName, InstanceId)>;

impl ServiceDefinition {
    /// The name of the service; `agent/*` and `catalog/*` call it differently.
    pub(crate) fn given_name(&self) -> &str {
        if self.name.is_empty() { &self.service } else { &self.name }
    }

    /// The id; by default the name.
    pub(crate) fn given_id(&self) -> &str {
        if self.id.is_empty() { self.given_name() } else { &self.id }
    }

    /// The instance of the domain. `fallback` is the host of an instance that does not say where it is.
    ///
    /// # Errors
    /// 400 in Consul's words where it has some.
    pub(crate) fn register(&self, fallback: &Host, service_of: ServiceOf<'_>) -> Result<Registration> {
        if self.given_name().is_empty() {
            return Err(Failure::missing("service name"));
        }
        self.refuse_what_cannot_be_honoured()?;
        let service = read::<ServiceName>("Name", self.given_name())?;
        let id = read::<InstanceId>("ID", self.given_id())?;
        let mut metadata = self.metadata()?;
        let endpoints = self.endpoints(fallback, &mut metadata)?;
        let (checks, deregister_after) = self.checks(service_of)?;
        let place = self.locality.clone().unwrap_or_default();
        let label = |field, text: &str| match text {
            "" => Ok(None),
            text => read::<Label>(field, text).map(Some),
        };
        let spec = InstanceSpec {
            endpoints,
            zone: label("Locality.Zone", &place.zone)?,
            region: label("Locality.Region", &place.region)?,
            version: None,
            tags: self.tags()?,
            weight: self.weight(&mut metadata)?,
            metadata: metadata.into_iter().collect(),
            lease: None,
            checks: checks.into(),
            deregister_after,
        };
        Ok(Registration { service, id, spec })
    }

    fn refuse_what_cannot_be_honoured(&self) -> Result<()> {
        let has_sidecar = self.connect.as_ref().is_some_and(|connect| connect.sidecar_service.is_some());
        let problem = if !matches!(self.kind.as_str(), "" | "typical") {
            format!("Kind {:?}: there is no service mesh, so no proxies and gateways", self.kind)
        } else if has_sidecar || self.connect.as_ref().is_some_and(|connect| connect.native) {
            "Connect: there is no service mesh".to_owned()
        } else if !self.socket_path.is_empty() {
            "SocketPath: services listen at addresses".to_owned()
        } else {
            return Ok(());
        };
        Err(Failure::bad_request(format!("Invalid service: not supported: {problem}")))
    }

    fn endpoints(&self, fallback: &Host, marked: &mut Entries) -> Result<Box<[Endpoint]>> {
        if matches!(self.address.as_str(), "0.0.0.0" | "::" | "[::]") {
            return Err(Failure::bad_request("Invalid service address"));
        }
        let host = match self.address.as_str() {
            "" => None,
            address => Some(Host::try_from(address).map_err(|refused| broken("Address", &refused))?),
        };
        if self.port == 0 {
            if host.is_some() {
                mark(marked, meta::ADDRESS, &self.address)?;
            }
            return Ok(Box::default());
        }
        if host.is_none() {
            mark(marked, meta::NO_ADDRESS, "true")?;
        }
        let endpoint = Endpoint {
            name: read::<Label>("Name", ENDPOINT_NAME)?,
            protocol: read::<Protocol>("Protocol", ENDPOINT_PROTOCOL)?,
            host: host.unwrap_or_else(|| fallback.clone()),
            port: Port::try_from(self.port).map_err(|refused| broken("Port", &refused))?,
        };
        Ok([endpoint].into())
    }

    fn metadata(&self) -> Result<Entries> {
        let refused = |what: String| Failure::bad_request(format!("Invalid Service Meta: {what}"));
        if self.meta.len() > METADATA_MAX {
            return Err(refused(format!("Node metadata cannot contain more than {METADATA_MAX} key/value pairs")));
        }
        let mut entries = Entries::new();
        for (key, value) in &self.meta {
            if key.starts_with(meta::PREFIX) {
                return Err(refused(format!("Key prefix {:?} is reserved for internal use", meta::PREFIX)));
            }
            let pair =
                MetadataKey::try_from(key.as_str()).and_then(|key| Ok((key, MetadataValue::try_from(value.as_str())?)));
            let (key, value) =
                pair.map_err(|rule| refused(format!("Couldn't load metadata pair ({key:?}): {rule}")))?;
            entries.insert(key, value);
        }
        if self.tagged_addresses.len() > TAGGED_MAX {
            let given = self.tagged_addresses.len();
            return Err(broken("TaggedAddresses", &format!("must hold at most {TAGGED_MAX} items; got {given}")));
        }
        for (kind, TaggedAddress { address, port }) in &self.tagged_addresses {
            mark(&mut entries, &format!("{}{kind}", meta::TAGGED), &format!("{address}:{port}"))?;
        }
        if self.enable_tag_override {
            mark(&mut entries, meta::TAG_OVERRIDE, "true")?;
        }
        Ok(entries)
    }

    fn tags(&self) -> Result<Tags> {
        // Consul takes empty tags, which select nothing.
        let tags: Tags = self
            .tags
            .iter()
            .filter(|tag| !tag.is_empty())
            .map(|tag| read::<Tag>("Tags", tag))
            .collect::<Result<Vec<_>>>()?
            .into();
        if tags.len() > TAGS_MAX {
            return Err(broken("Tags", &format!("must hold at most {TAGS_MAX} different tags; got {}", tags.len())));
        }
        Ok(tags)
    }

    fn weight(&self, marked: &mut Entries) -> Result<Weight> {
        let refused = |what: &str| Failure::bad_request(format!("Invalid Weights: {what}"));
        let Weights { passing, warning } = self.weights.clone().unwrap_or_default();
        if passing < 1 {
            return Err(refused("Passing must be greater than 0"));
        }
        if warning < 0 {
            return Err(refused("Warning must be greater or equal than 0"));
        }
        if passing > i64::from(u16::MAX) || warning > i64::from(u16::MAX) {
            return Err(refused("values must be less or equal than 65535"));
        }
        if warning != 1 {
            mark(marked, meta::WEIGHT_WARNING, &warning.to_string())?;
        }
        Weight::try_from(passing.unsigned_abs()).map_err(|rule| refused(&rule.to_string()))
    }

    /// The checks, and after how long in `critical` the instance is to be deregistered: the shortest that one of them says.
    fn checks(&self, service_of: ServiceOf<'_>) -> Result<(Vec<rollcall_types::CheckSpec>, Option<Millis>)> {
        let single = self.check.iter().filter(|check| !check.is_empty());
        let given: Vec<&CheckDefinition> = single.chain(&self.checks).collect();
        let mut specs: Vec<rollcall_types::CheckSpec> = Vec::new();
        let mut soonest = None;
        for (index, check) in given.iter().enumerate() {
            let id = match check.given_id() {
                Some(id) => id.to_owned(),
                None if given.len() == 1 => default_check_id(self.given_id()),
                None => format!("{}:{}", default_check_id(self.given_id()), index + 1),
            };
            let name = format!("Service '{}' check", self.given_name());
            let Defined { spec, deregister_after } = check.define(&id, &name, service_of)?;
            soonest = earlier(soonest, deregister_after);
            // Of two with the same id the last counts.
            specs.retain(|other| other.id != spec.id);
            specs.push(spec);
        }
        check_count(specs.len())?;
        Ok((specs, soonest))
    }
}

/// The id of the only check of an instance that did not say.
pub(crate) fn default_check_id(instance: &str) -> String {
    format!("service:{instance}")
}

/// The shorter of two times, where nothing is never.
pub(crate) fn earlier(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    one.into_iter().chain(other).min()
}

/// An instance has so many checks at most.
///
/// # Errors
/// 400.
pub(crate) fn check_count(count: usize) -> Result<()> {
    if count > CHECKS_MAX {
        return Err(Failure::bad_request(format!(
            "Invalid check: a service has at most {CHECKS_MAX} checks; got {count}"
        )));
    }
    Ok(())
}

/// Metadata while it is gathered.
pub(crate) type Entries = BTreeMap<MetadataKey, MetadataValue>;

/// Writes a mark of this layer.
///
/// # Errors
/// 400 when what is given is no key or no value of metadata.
pub(crate) fn mark(entries: &mut Entries, key: &str, value: &str) -> Result<()> {
    let field = key.strip_prefix(meta::PREFIX).unwrap_or(key);
    entries.insert(read::<MetadataKey>(field, key)?, read::<MetadataValue>(field, value)?);
    Ok(())
}

/// Reads a name or a text.
///
/// # Errors
/// 400 with the rule that it breaks.
pub(crate) fn read<T: for<'t> TryFrom<&'t str, Error = Invalid>>(field: &str, text: &str) -> Result<T> {
    T::try_from(text).map_err(|refused| broken(field, &refused))
}

fn broken(field: &str, rule: &impl fmt::Display) -> Failure {
    Failure::bad_request(format!("Invalid service: {field} {rule}"))
}

#[cfg(test)]
mod tests;
