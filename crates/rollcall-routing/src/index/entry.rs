//! One candidate as numbers.

use rollcall_types::{Lifecycle, Status, UnixMillis};
use semver::Version;

use super::ServiceIndex;
use crate::candidate::Candidate;
use crate::factor::{CONCURRENCY_ASSUMED, cost};
use crate::hash::{hash, hash_pair};
use crate::multiplier::{forecast, health};
use crate::names::{NONE, Symbol};

/// What operators decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Life {
    Active,
    Draining,
    QuarantinedUntil(UnixMillis),
}

/// One candidate as numbers. None of them is NaN.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its instance id.
    pub(crate) id: Symbol,
    pub(crate) status: Status,
    pub(crate) life: Life,
    pub(crate) ejected_until: Option<UnixMillis>,
    pub(crate) warming_since: Option<UnixMillis>,
    pub(crate) zone: Symbol,
    pub(crate) region: Symbol,
    /// Zone from which the round trip was measured.
    pub(crate) trip_zone: Symbol,
    /// Round trip in milliseconds; `None`: not measured.
    pub(crate) trip: Option<f64>,
    /// Hash of the host; 0: not known.
    pub(crate) host: u64,
    /// Weight of the registration.
    pub(crate) weight: f64,
    pub(crate) health: f64,
    pub(crate) forecast: f64,
    /// The factor cost.
    pub(crate) cost: f64,
    pub(crate) in_flight: f64,
    /// Above 0.
    pub(crate) concurrency: f64,
    pub(crate) used: f64,
    /// Whether it reports its load.
    pub(crate) is_load_reported: bool,
    /// Hash of service and instance.
    pub(crate) hash: u64,
}

/// What only some questions ask about; apart, so that the others read less memory.
#[derive(Debug, Clone)]
pub(crate) struct Traits {
    /// Sorted.
    pub(crate) tags: Box<[Symbol]>,
    /// Sorted.
    pub(crate) capabilities: Box<[Symbol]>,
    pub(crate) version: Option<Version>,
}

impl Traits {
    pub(super) fn of(candidate: &Candidate, index: &ServiceIndex) -> Self {
        Self {
            tags: candidate.tags.iter().map(|tag| index.tags.symbol(tag)).collect(),
            capabilities: candidate.capabilities.iter().map(|name| index.capabilities.symbol(name)).collect(),
            version: candidate.version.as_ref().and_then(|version| parse(version)),
        }
    }
}

impl Entry {
    pub(super) fn of(candidate: &Candidate, index: &ServiceIndex) -> Self {
        let report = candidate.load.unwrap_or_default();
        let used = report.used.filter(|used| used.is_finite() && *used >= 0.0);
        let trip = candidate.round_trip.as_ref();
        Self {
            id: index.ids.symbol(&candidate.instance),
            status: candidate.status,
            life: match &candidate.lifecycle {
                Lifecycle::Active => Life::Active,
                Lifecycle::Draining { .. } => Life::Draining,
                Lifecycle::Quarantined { until, .. } => Life::QuarantinedUntil(*until),
            },
            ejected_until: candidate.ejected_until,
            warming_since: candidate.warming_since,
            zone: index.zones.symbol_or_none(candidate.zone.as_ref()),
            region: index.regions.symbol_or_none(candidate.region.as_ref()),
            trip_zone: trip.map_or(NONE, |trip| index.zones.symbol_or_none(trip.from_zone.as_ref())),
            trip: trip.map(|trip| trip.time.as_secs_f64() * 1e3),
            host: candidate.host.as_ref().map_or(0, |host| hash(host.as_str().as_bytes())),
            weight: f64::from(candidate.weight.get()),
            health: health(candidate.status, candidate.health),
            forecast: forecast(candidate.forecast),
            cost: cost(candidate.cost_micros, index.lowest_cost),
            in_flight: f64::from(report.in_flight.unwrap_or(0)),
            concurrency: candidate.max_concurrent.filter(|most| *most > 0).map_or(CONCURRENCY_ASSUMED, f64::from),
            used: used.unwrap_or(0.0),
            is_load_reported: report.in_flight.is_some() || used.is_some(),
            hash: hash_pair(hash(candidate.service.as_str().as_bytes()), hash(candidate.instance.as_bytes())),
        }
    }
}

/// A semantic version, with a leading `v` forgiven.
fn parse(text: &str) -> Option<Version> {
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}
