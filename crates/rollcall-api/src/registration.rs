//! Registrations: what a client says about an instance, and its way to an [`InstanceSpec`] and back.

use std::collections::BTreeMap;

use rollcall_types::{
    CHECKS_MAX, DEREGISTER_AFTER_MIN, ENDPOINTS_MAX, Endpoint, InstanceSpec, LEASE_TTL_MAX, LEASE_TTL_MIN, LeaseSpec,
    METADATA_MAX, Metadata, MetadataKey, MetadataValue, Millis, Port, TAGS_MAX, Weight,
};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::field::{Review, Scope};
use crate::{FieldError, Number, RegistrationCheck};

/// The body that registers or replaces an instance. Only `endpoints` is required; `null` is the same as left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a registration")]
#[schema(example = json!({
    "endpoints": [{"name": "http", "protocol": "http", "host": "10.0.0.7", "port": 8080}],
    "zone": "a", "version": "1.4.2", "tags": ["api"], "weight": 1, "lease": {"ttl_ms": 60000},
    "checks": [{"type": "http", "url": "http://10.0.0.7:8080/health", "interval_ms": 10000}],
    "deregister_after_ms": 60000
}))]
pub struct Registration {
    /// Where the instance listens: 1 to 16 endpoints with distinct names. The first is the default one.
    #[serde(deserialize_with = "crate::decode::objects")]
    #[schema(required, min_items = 1, max_items = 16)]
    pub endpoints: Vec<RegistrationEndpoint>,
    /// Failure domain within a region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Group of zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Version of the software that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Words to select by, at most 64. Doubles count once.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub tags: Vec<String>,
    /// Anything else to know about the instance, at most 64 entries.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Share of traffic relative to the other instances, 1 to 65535. Default 1.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 65_535, default = 1)]
    pub weight: Number,
    /// Given when the instance keeps itself registered by heartbeats.
    #[serde(deserialize_with = "crate::decode::optional_object", skip_serializing_if = "Option::is_none")]
    pub lease: Option<RegistrationLease>,
    /// At most 16 checks with distinct ids.
    #[serde(deserialize_with = "crate::decode::objects", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub checks: Vec<RegistrationCheck>,
    /// Time in `critical` after which the cluster deregisters the instance, at least 10000. Default: never.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 10_000)]
    pub deregister_after_ms: Number,
}

/// One address of an instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, an endpoint")]
pub struct RegistrationEndpoint {
    /// Name within the instance, unique there. Default: the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Application protocol: `http`, `grpc`, `h2c`, `tcp`.
    #[schema(required)]
    pub protocol: String,
    /// IP address without brackets, or DNS name.
    #[schema(required)]
    pub host: String,
    /// Port, 1 to 65535.
    #[schema(required, value_type = u64, minimum = 1, maximum = 65_535)]
    pub port: Number,
}

/// The lease that a registration asks for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a lease")]
pub struct RegistrationLease {
    /// Longest silence, 1000 to 86400000.
    #[schema(required, value_type = u64, minimum = 1_000, maximum = 86_400_000)]
    pub ttl_ms: Number,
}

impl Registration {
    /// The validated registration.
    ///
    /// # Errors
    /// Every field that breaks a rule, at most [`crate::ERRORS_MAX`]: never empty.
    pub fn into_spec(self) -> Result<InstanceSpec, Vec<FieldError>> {
        let mut review = Review::default();
        let endpoints = self.convert_endpoints(&mut review);
        let checks = self.convert_checks(&mut review);
        let lease = self.convert_lease(&mut review);
        let mut at = review.at("");
        let spec = InstanceSpec {
            endpoints,
            zone: at.optional_text("zone", self.zone.as_deref()),
            region: at.optional_text("region", self.region.as_deref()),
            version: at.optional_text("version", self.version.as_deref()),
            tags: at.texts("tags", &self.tags, TAGS_MAX).collect(),
            metadata: convert_metadata(&mut at, &self.metadata),
            weight: at.optional_number("weight", &self.weight, Weight::try_from).unwrap_or_default(),
            lease,
            checks,
            deregister_after: at.optional_number("deregister_after_ms", &self.deregister_after_ms, |raw| {
                Millis::within(raw, DEREGISTER_AFTER_MIN, Millis::MAX)
            }),
        };
        review.finish(spec)
    }

    fn convert_endpoints(&self, review: &mut Review) -> Box<[Endpoint]> {
        let mut at = review.at("");
        if self.endpoints.is_empty() {
            at.refuse("endpoints", "must be given, with at least one endpoint");
        }
        at.at_most("endpoints", self.endpoints.len(), ENDPOINTS_MAX);
        at.distinct("endpoints", "name", self.endpoints.iter().map(|endpoint| Some(endpoint.name_or_default())));
        let looked_at = self.endpoints.iter().take(ENDPOINTS_MAX).enumerate();
        looked_at
            .filter_map(|(index, endpoint)| endpoint.convert(&mut review.at(format_args!("endpoints[{index}]"))))
            .collect()
    }

    fn convert_checks(&self, review: &mut Review) -> Box<[rollcall_types::CheckSpec]> {
        let mut at = review.at("");
        at.at_most("checks", self.checks.len(), CHECKS_MAX);
        at.distinct("checks", "id", self.checks.iter().map(|check| Some(check.id_or_default())));
        let looked_at = self.checks.iter().take(CHECKS_MAX).enumerate();
        looked_at.filter_map(|(index, check)| check.convert(&mut review.at(format_args!("checks[{index}]")))).collect()
    }

    fn convert_lease(&self, review: &mut Review) -> Option<LeaseSpec> {
        let lease = self.lease.as_ref()?;
        let range = |raw| Millis::within(raw, LEASE_TTL_MIN, LEASE_TTL_MAX);
        review.at("lease").number("ttl_ms", &lease.ttl_ms, range).map(|ttl| LeaseSpec { ttl })
    }
}

impl RegistrationEndpoint {
    /// An endpoint that is named after its protocol.
    pub fn new(protocol: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        Self { name: None, protocol: protocol.into(), host: host.into(), port: port.into() }
    }

    fn name_or_default(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.protocol)
    }

    fn convert(&self, at: &mut Scope<'_>) -> Option<Endpoint> {
        let protocol = at.text("protocol", &self.protocol);
        let host = at.text("host", &self.host);
        let port = at.number("port", &self.port, Port::try_from);
        // A name taken from a refused protocol is refused with it, not a second time.
        let name = match &self.name {
            Some(name) => at.text("name", name),
            None => protocol.as_ref().and_then(|_| at.text("name", &self.protocol)),
        };
        Some(Endpoint { name: name?, protocol: protocol?, host: host?, port: port? })
    }
}

impl TryFrom<Registration> for InstanceSpec {
    type Error = Vec<FieldError>;

    fn try_from(registration: Registration) -> Result<Self, Vec<FieldError>> {
        registration.into_spec()
    }
}

impl From<&InstanceSpec> for Registration {
    /// The registration that makes this spec, with all defaults written out.
    fn from(spec: &InstanceSpec) -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            endpoints: spec.endpoints.iter().map(RegistrationEndpoint::from).collect(),
            zone: spec.zone.as_deref().map(text),
            region: spec.region.as_deref().map(text),
            version: spec.version.as_deref().map(text),
            tags: spec.tags.iter().map(ToString::to_string).collect(),
            metadata: spec.metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            weight: spec.weight.get().into(),
            lease: spec.lease.map(|lease| RegistrationLease { ttl_ms: lease.ttl.get().into() }),
            checks: spec.checks.iter().map(RegistrationCheck::from).collect(),
            deregister_after_ms: spec.deregister_after.map(|after| after.get().into()).unwrap_or_default(),
        }
    }
}

impl From<&Endpoint> for RegistrationEndpoint {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            name: Some(endpoint.name.to_string()),
            protocol: endpoint.protocol.to_string(),
            host: endpoint.host.to_string(),
            port: endpoint.port.get().into(),
        }
    }
}

fn convert_metadata(at: &mut Scope<'_>, metadata: &BTreeMap<String, String>) -> Metadata {
    at.at_most("metadata", metadata.len(), METADATA_MAX);
    metadata
        .iter()
        .take(METADATA_MAX)
        .filter_map(|(key, value)| {
            // The path holds the key as it came, cut: a key can be as long as the body.
            let field = format!("metadata.{}", key.chars().take(MetadataKey::MAX_BYTES).collect::<String>());
            let key = at.keep(&field, MetadataKey::try_from(key.as_str()).map_err(|refused| format!("key {refused}")));
            let value = at.text::<MetadataValue>(&field, value);
            Some((key?, value?))
        })
        .collect()
}

/// `null` is "left out" for lists and maps too: Go writes an empty slice so.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
