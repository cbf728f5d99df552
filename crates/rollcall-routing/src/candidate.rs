//! What is known of one instance, as selection needs it.
//!
//! Whoever calls fills this from its own views: intent from the catalogue, status and forecast from the merged health, load
//! from heartbeats, performance from feedback. Every measured field may be missing; [`factor`](crate::factor) says what a
//! missing one counts for. A number outside its range (NaN, negative, infinite) counts as missing.
//!
//! Limits: no credentials and no endpoints are needed to choose; who asked joins the answer with its view again.

use std::time::Duration;

use rollcall_types::{
    CapabilityName, Host, InstanceId, Label, Lifecycle, ServiceKey, SortedSet, Status, Tags, UnixMillis, Version,
    Weight,
};

/// What is expected of an instance's future.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Forecast {
    /// Whether a measured signal is getting worse.
    pub is_degrading: bool,
    /// When it is predicted to fail, counted from the time of the prediction; `None`: no failure is predicted.
    pub time_to_failure: Option<Duration>,
    /// How sure that is, in [0, 1].
    pub confidence: f64,
}

/// What an instance said of its load, in a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LoadReport {
    /// Requests that it works on.
    pub in_flight: Option<u32>,
    /// Share of the resource that it uses most (processor, memory), in [0, 1].
    pub used: Option<f64>,
    /// When it said so.
    pub at: UnixMillis,
}

/// How requests to an instance went lately, as its callers report it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Performance {
    /// Mean latency that forgets (EWMA).
    pub latency: Duration,
    /// Share of requests that succeeded, in [0, 1], forgetting at the same pace.
    pub success: f64,
    /// How many requests that rests on, forgetting at the same pace.
    pub samples: f64,
    /// When the latest of them ended.
    pub at: UnixMillis,
}

/// The time that a packet takes to an instance and back.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundTrip {
    /// Zone of the node that measured it; `None`: it does not know its zone. It counts for callers of the same zone, and
    /// for those that do not say theirs.
    pub from_zone: Option<Label>,
    /// How long it takes.
    pub time: Duration,
}

/// One instance that might be selected.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Whose instance it is.
    pub service: ServiceKey,
    /// Which.
    pub instance: InstanceId,
    /// Host of its first endpoint.
    pub host: Option<Host>,
    /// Failure domain within a region.
    pub zone: Option<Label>,
    /// Group of zones.
    pub region: Option<Label>,
    /// Version of the software that runs: its own, else that of its service.
    pub version: Option<Version>,
    /// Tags of the instance and of its service.
    pub tags: Tags,
    /// Capabilities of its service that work on this instance.
    pub capabilities: SortedSet<CapabilityName>,
    /// Share of traffic that was asked for.
    pub weight: Weight,
    /// What operators decided.
    pub lifecycle: Lifecycle,
    /// What checks say: `passing`, `warning` and `unknown` may be selected.
    pub status: Status,
    /// Since when they do.
    pub since: UnixMillis,
    /// How well it does, in [0, 1].
    pub health: Option<f64>,
    /// What is expected of it.
    pub forecast: Forecast,
    /// When it began to pass, for the slow start; `None`: long ago.
    pub warming_since: Option<UnixMillis>,
    /// Until when it is ejected for what its callers report ([`crate::feedback`]).
    pub ejected_until: Option<UnixMillis>,
    /// Its load as it reports it.
    pub load: Option<LoadReport>,
    /// Requests that it can work on at once, as its service declares or the instance reports; 0 counts as missing.
    pub max_concurrent: Option<u32>,
    /// How long a usual request takes, as its service declares; zero counts as missing.
    pub expected_response: Option<Duration>,
    /// How requests of any context went.
    pub performance: Option<Performance>,
    /// How requests of one context went, by context key.
    pub contexts: Vec<(Label, Performance)>,
    /// How far it is.
    pub round_trip: Option<RoundTrip>,
    /// Cost of one request in millionths of the operators' unit.
    pub cost_micros: Option<u64>,
}

impl Candidate {
    /// An instance of which nothing is known but its name: no signal, weight 1, status `unknown`.
    pub fn new(service: ServiceKey, instance: InstanceId) -> Self {
        Self {
            service,
            instance,
            host: None,
            zone: None,
            region: None,
            version: None,
            tags: Tags::default(),
            capabilities: SortedSet::new(),
            weight: Weight::default(),
            lifecycle: Lifecycle::Active,
            status: Status::Unknown,
            since: UnixMillis::default(),
            health: None,
            forecast: Forecast::default(),
            warming_since: None,
            ejected_until: None,
            load: None,
            max_concurrent: None,
            expected_response: None,
            performance: None,
            contexts: Vec::new(),
            round_trip: None,
            cost_micros: None,
        }
    }
}
