//! Instances in answers: what was registered, what operators decided, and what is known about its state.
//!
//! [`InstanceRef`] is how the server writes one: it borrows the catalogue's record and serializes straight into the
//! answer, so a list of thousands copies nothing. [`Instance`] is how a client reads it. A test holds them together.

use std::collections::BTreeMap;

use rollcall_types::{
    ActorName, CapabilityName, CheckKind, CheckSpec, InstanceId, InstanceSpec, Label, LeaseSpec, Lifecycle, Metadata,
    Protocol, Revision, ServiceName, Status, Tags, UnixMillis, Version,
};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::check::{authority, is_probed, kind_name, said};
use crate::known::thousandths;
use crate::{Forecast, KnownHealth, Overlay, Overlays, Timestamp, Trend, WarmUp};

/// What the cluster believes about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Registered, not yet passing.
    Starting,
    /// Its checks pass.
    Passing,
    /// It works, and something is not as it should be.
    Warning,
    /// Its checks fail.
    Critical,
    /// Nobody knows. A client reads a state that it does not know as this one.
    #[default]
    #[serde(other)]
    Unknown,
}

impl State {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Status> for State {
    fn from(status: Status) -> Self {
        match status {
            Status::Starting => Self::Starting,
            Status::Passing => Self::Passing,
            Status::Warning => Self::Warning,
            Status::Critical => Self::Critical,
            Status::Unknown => Self::Unknown,
        }
    }
}

/// What an operator decided about an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LifecycleState {
    /// Takes traffic as its health allows.
    Active,
    /// Finishes what it has and takes nothing new.
    Draining {
        /// When it should be done, if that was said.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, format = DateTime)]
        deadline: Option<Timestamp>,
        /// Whether the deadline had passed when this was read: it should be done by now.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        deadline_passed: bool,
        /// Why.
        reason: String,
    },
    /// Kept out of selection until `until`, then active again by itself.
    Quarantined {
        /// End of the quarantine.
        #[schema(value_type = String, format = DateTime)]
        until: Timestamp,
        /// Why.
        reason: String,
    },
}

/// An instance in an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Name of its service.
    pub service: String,
    /// Id within the service.
    pub id: String,
    /// Where it listens; the first is the default one.
    pub endpoints: Vec<Endpoint>,
    /// Failure domain within a region.
    pub zone: Option<String>,
    /// Group of zones.
    pub region: Option<String>,
    /// Version of the software that runs.
    pub version: Option<String>,
    /// Words to select by, sorted.
    pub tags: Vec<String>,
    /// Anything else to know.
    pub metadata: BTreeMap<String, String>,
    /// Share of traffic relative to the other instances.
    pub weight: u16,
    /// The lease, when the instance keeps itself registered by heartbeats.
    pub lease: Option<Lease>,
    /// How it is checked.
    pub checks: Vec<Check>,
    /// Time in `critical` after which the cluster deregisters it; `null` means never.
    pub deregister_after_ms: Option<u64>,
    /// What an operator decided about it.
    pub lifecycle: LifecycleState,
    /// What the cluster believes about it.
    pub state: State,
    /// Since when it is in this state.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Why it is in this state, in one word: `unchecked`, `unseen`, `stale`, `observed`, `confirmed`, `only_observer`,
    /// `unconfirmed` or `path`. [`cause_phrase`](crate::cause_phrase) has the sentence.
    pub cause: String,
    /// How well it does, 0 to 1; `null` when nobody looks, and in a watch.
    #[serde(default)]
    pub score: Option<f64>,
    /// Where it is heading.
    #[serde(default)]
    pub trend: Trend,
    /// When it fails, if that is predicted.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// Capabilities of its service that it does not offer now, since a check of them fails; left out when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities_down: Vec<String>,
    /// What changes how it is used.
    #[serde(default)]
    pub overlays: Vec<Overlay>,
    /// How far it is in its slow start; left out when it is in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
    /// Observers whose word counts; `null` in a watch.
    #[serde(default)]
    pub looking: Option<u16>,
    /// How many of them see it failing; `null` in a watch.
    #[serde(default)]
    pub failing: Option<u16>,
    /// When it was first registered.
    #[schema(value_type = String, format = DateTime)]
    pub registered_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub modified_at: Timestamp,
    /// Who registered it last.
    pub registered_by: String,
    /// The revision that made it.
    pub created_revision: u64,
    /// The revision that changed it last: its ETag.
    pub revision: u64,
}

/// One address of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Name within the instance.
    pub name: String,
    /// Application protocol.
    pub protocol: String,
    /// IP address without brackets, or DNS name.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The lease of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    /// Longest silence.
    pub ttl_ms: u64,
}

/// A check of an instance; fields that its type does not have are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Check {
    /// Name within the instance.
    #[schema(required)]
    pub id: String,
    /// What people call it; left out when that is its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What people should know about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// `http`, `tcp`, `grpc`, `ttl`, `alias` or `fixed`.
    #[serde(rename = "type")]
    #[schema(required)]
    pub kind: String,
    /// The capability that it stands for; left out when it stands for the whole instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// URL of an `http` check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `host:port` of a `tcp` or `grpc` check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// gRPC service of a `grpc` check, service of an `alias`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Instance of an `alias`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Time between two probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Longest wait for one answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Longest silence of a `ttl` check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// What a `fixed` check says, and what a `ttl` check counts as until it is first heard; left out of the latter when that
    /// is `passing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Failures in a row that make it critical.
    #[schema(required)]
    pub failures_before_critical: u8,
    /// Successes in a row that make it pass again.
    #[schema(required)]
    pub successes_before_passing: u8,
}

/// What an [`Instance`] is written from: borrowed from the catalogue, serialized without copying.
#[derive(Debug, Clone, Copy)]
pub struct InstanceRef<'a> {
    /// Name of its service.
    pub service: &'a ServiceName,
    /// Id within the service.
    pub id: &'a InstanceId,
    /// Its registration.
    pub spec: &'a InstanceSpec,
    /// What an operator decided about it.
    pub lifecycle: &'a Lifecycle,
    /// What is known of its health.
    pub health: KnownHealth,
    /// When this is read: it decides which quarantines and deadlines are over. `None` for what many read at different times,
    /// as a watch frame is: it shows what was decided, with its times, and leaves the rest to the reader.
    pub at: Option<UnixMillis>,
    /// When it was first registered.
    pub registered_at: UnixMillis,
    /// When it was last changed.
    pub modified_at: UnixMillis,
    /// Who registered it last.
    pub registered_by: &'a ActorName,
    /// The revision that made it.
    pub created_revision: Revision,
    /// The revision that changed it last.
    pub revision: Revision,
}

impl Serialize for InstanceRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (spec, health) = (self.spec, &self.health);
        let decided = self.at.map_or(self.lifecycle, |at| self.lifecycle.at(at));
        let wire = InstanceWire {
            service: self.service,
            id: self.id,
            endpoints: Each(&spec.endpoints, endpoint_wire),
            zone: spec.zone.as_ref(),
            region: spec.region.as_ref(),
            version: spec.version.as_ref(),
            tags: &spec.tags,
            metadata: &spec.metadata,
            weight: spec.weight.get(),
            lease: spec.lease.as_ref().map(lease_wire),
            checks: Each(&spec.checks, check_wire),
            deregister_after_ms: spec.deregister_after.map(|after| after.get()),
            lifecycle: lifecycle_wire(decided, self.at),
            state: health.status.into(),
            since: health.since.into(),
            cause: health.cause.as_str(),
            score: health.score.map(thousandths),
            trend: health.trend,
            forecast: health.forecast,
            capabilities_down: CapabilitiesDown { checks: &spec.checks, failed: health.failed_checks },
            overlays: overlays(health.overlays, decided),
            warm_up: health.warm_up,
            looking: health.observers.map(|(looking, _)| looking),
            failing: health.observers.map(|(_, failing)| failing),
            registered_at: self.registered_at.into(),
            modified_at: self.modified_at.into(),
            registered_by: self.registered_by,
            created_revision: self.created_revision,
            revision: self.revision,
        };
        wire.serialize(serializer)
    }
}

/// The fields of [`Instance`], borrowed, in the same order.
#[derive(Serialize)]
struct InstanceWire<'a> {
    service: &'a ServiceName,
    id: &'a InstanceId,
    endpoints: Each<'a, rollcall_types::Endpoint, EndpointWire<'a>>,
    zone: Option<&'a Label>,
    region: Option<&'a Label>,
    version: Option<&'a Version>,
    tags: &'a Tags,
    metadata: &'a Metadata,
    weight: u16,
    lease: Option<Lease>,
    checks: Each<'a, CheckSpec, CheckWire<'a>>,
    deregister_after_ms: Option<u64>,
    lifecycle: LifecycleWire<'a>,
    state: State,
    since: Timestamp,
    cause: &'static str,
    score: Option<f64>,
    trend: Trend,
    forecast: Option<Forecast>,
    #[serde(skip_serializing_if = "CapabilitiesDown::is_empty")]
    capabilities_down: CapabilitiesDown<'a>,
    overlays: Overlays,
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_up: Option<WarmUp>,
    looking: Option<u16>,
    failing: Option<u16>,
    registered_at: Timestamp,
    modified_at: Timestamp,
    registered_by: &'a ActorName,
    created_revision: Revision,
    revision: Revision,
}

/// A slice, each item converted while it is written.
pub(crate) struct Each<'a, T, W>(pub(crate) &'a [T], pub(crate) fn(&'a T) -> W);

impl<T, W: Serialize> Serialize for Each<'_, T, W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(self.1))
    }
}

/// The capabilities of failed checks, each once, in the order of the checks.
struct CapabilitiesDown<'a> {
    checks: &'a [CheckSpec],
    /// Bit n for check n.
    failed: u16,
}

impl<'a> CapabilitiesDown<'a> {
    fn is_empty(&self) -> bool {
        self.names().next().is_none()
    }

    fn names(&self) -> impl Iterator<Item = &'a CapabilityName> {
        let (checks, failed) = (self.checks, self.failed);
        let of = move |place: usize| checks[place].capability.as_ref().filter(|_| failed >> place & 1 == 1);
        let places = 0..checks.len().min(u16::BITS as usize);
        places.filter_map(move |place| of(place).filter(|name| (0..place).all(|before| of(before) != Some(*name))))
    }
}

impl Serialize for CapabilitiesDown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

#[derive(Serialize)]
pub(crate) struct EndpointWire<'a> {
    name: &'a Label,
    protocol: &'a Protocol,
    host: &'a str,
    port: u16,
}

pub(crate) fn endpoint_wire(endpoint: &rollcall_types::Endpoint) -> EndpointWire<'_> {
    EndpointWire {
        name: &endpoint.name,
        protocol: &endpoint.protocol,
        // `Host` itself would serialize through a `String`.
        host: endpoint.host.as_str(),
        port: endpoint.port.get(),
    }
}

fn lease_wire(lease: &LeaseSpec) -> Lease {
    Lease { ttl_ms: lease.ttl.get() }
}

#[derive(Serialize)]
struct CheckWire<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    capability: Option<&'a CapabilityName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    failures_before_critical: u8,
    successes_before_passing: u8,
}

fn check_wire(check: &CheckSpec) -> CheckWire<'_> {
    let probed = is_probed(&check.kind);
    let mut wire = CheckWire {
        id: &check.id,
        name: said(&check.name),
        notes: said(&check.notes),
        kind: kind_name(&check.kind),
        capability: check.capability.as_ref(),
        url: None,
        address: None,
        service: None,
        instance: None,
        interval_ms: probed.then(|| check.interval.get()),
        timeout_ms: probed.then(|| check.timeout.get()),
        ttl_ms: None,
        status: None,
        failures_before_critical: check.failures_before_critical,
        successes_before_passing: check.successes_before_passing,
    };
    match &check.kind {
        CheckKind::Http { url } => wire.url = Some(url),
        CheckKind::Tcp { host, port } => wire.address = Some(authority(host, *port)),
        CheckKind::Grpc { host, port, service } => {
            wire.address = Some(authority(host, *port));
            wire.service = Some(service.as_str()).filter(|service| !service.is_empty());
        }
        CheckKind::Ttl { ttl, initial } => {
            wire.ttl_ms = Some(ttl.get());
            wire.status = Some(initial.as_str()).filter(|_| *initial != Status::Passing);
        }
        CheckKind::Fixed { status } => wire.status = Some(status.as_str()),
        CheckKind::Alias { service, instance } => {
            wire.service = Some(service);
            wire.instance = instance.as_deref();
        }
    }
    wire
}

#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum LifecycleWire<'a> {
    Active,
    Draining {
        #[serde(skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        deadline_passed: bool,
        reason: &'a str,
    },
    Quarantined {
        until: Timestamp,
        reason: &'a str,
    },
}

fn lifecycle_wire(lifecycle: &Lifecycle, at: Option<UnixMillis>) -> LifecycleWire<'_> {
    match lifecycle {
        Lifecycle::Active => LifecycleWire::Active,
        Lifecycle::Draining { deadline, reason } => {
            let deadline_passed = deadline.zip(at).is_some_and(|(deadline, at)| deadline <= at);
            LifecycleWire::Draining { deadline: deadline.map(Timestamp), deadline_passed, reason }
        }
        Lifecycle::Quarantined { until, reason } => LifecycleWire::Quarantined { until: (*until).into(), reason },
    }
}

/// `known` and what the lifecycle adds to it.
fn overlays(known: Overlays, lifecycle: &Lifecycle) -> Overlays {
    match lifecycle {
        Lifecycle::Active => known,
        Lifecycle::Draining { .. } => known.with(Overlay::Draining),
        Lifecycle::Quarantined { .. } => known.with(Overlay::Quarantined),
    }
}
