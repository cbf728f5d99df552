//! A question in the numbers of an index: names become symbols once per request, without an allocation.

use rollcall_types::{Status, UnixMillis};
use semver::VersionReq;

use crate::factor::Distance;
use crate::hash::hash;
use crate::index::{Entry, Life, ServiceIndex, Traits as Held};
use crate::names::{NONE, STRANGE, Symbol};
use crate::query::{EXCLUDED_MAX, Query, Traits, WANTED_MAX};
use crate::reason::{Reason, Reasons};

/// What is wanted of an instance, in symbols.
struct Wanted<'a> {
    tags: List<WANTED_MAX>,
    capabilities: List<WANTED_MAX>,
    version: Option<&'a VersionReq>,
}

/// A short list on the stack.
struct List<const MAX: usize> {
    items: [Symbol; MAX],
    len: usize,
}

impl<const MAX: usize> List<MAX> {
    /// Takes the first `MAX`; a question with more was refused before.
    fn of(symbols: impl Iterator<Item = Symbol>) -> Self {
        let mut list = Self { items: [NONE; MAX], len: 0 };
        for (place, symbol) in list.items.iter_mut().zip(symbols) {
            *place = symbol;
            list.len += 1;
        }
        list
    }

    fn as_slice(&self) -> &[Symbol] {
        &self.items[..self.len]
    }
}

/// A question in the numbers of an index.
pub(crate) struct Asked<'a> {
    require: Wanted<'a>,
    prefer: Wanted<'a>,
    preferred: u32,
    /// Instance ids.
    excluded: List<EXCLUDED_MAX>,
    zone: Symbol,
    only_passing: bool,
    caller_zone: Symbol,
    caller_region: Symbol,
    caller_host: u64,
    now: UnixMillis,
}

impl<'a> Asked<'a> {
    pub(crate) fn of(index: &ServiceIndex, query: &Query<'a>, now: UnixMillis) -> Self {
        Self {
            require: Wanted::of(index, query.require),
            prefer: Wanted::of(index, query.prefer),
            preferred: (query.prefer.tags.len() + query.prefer.capabilities.len()) as u32
                + u32::from(query.prefer.version.is_some()),
            excluded: List::of(query.exclude.iter().map(|id| index.ids.symbol(id))),
            zone: index.zones.symbol_or_none(query.zone),
            only_passing: query.only_passing,
            caller_zone: index.zones.symbol_or_none(query.caller.zone),
            caller_region: index.regions.symbol_or_none(query.caller.region),
            caller_host: query.caller.host.map_or(0, |host| hash(host.as_str().as_bytes())),
            now,
        }
    }

    /// Why an instance does not fit, apart from its health.
    #[inline]
    pub(crate) fn misfits(&self, index: &ServiceIndex, position: usize) -> Reasons {
        let entry = &index.entries[position];
        let mut out = Reasons::default();
        match entry.life {
            Life::Active => {}
            Life::Draining => out.add(Reason::Draining),
            Life::QuarantinedUntil(until) if until > self.now => out.add(Reason::Quarantined),
            Life::QuarantinedUntil(_) => {}
        }
        if self.excluded.as_slice().contains(&entry.id) {
            out.add(Reason::Excluded);
        }
        if self.zone != NONE && entry.zone != self.zone {
            out.add(Reason::ZoneMismatch);
        }
        if self.require.is_anything() { out.and(self.require.lacks(&index.traits[position])) } else { out }
    }

    /// Why an instance may not be selected by its health.
    #[inline]
    pub(crate) fn ailments(&self, entry: &Entry) -> Reasons {
        let mut out = Reasons::default();
        match entry.status {
            Status::Critical => out.add(Reason::Critical),
            Status::Starting => out.add(Reason::Starting),
            Status::Warning | Status::Unknown if self.only_passing => out.add(Reason::NotPassing),
            _ => {}
        }
        if entry.ejected_until.is_some_and(|until| until > self.now) {
            out.add(Reason::Ejected);
        }
        out
    }

    /// When a quarantine or an ejection that holds ends by itself.
    pub(crate) fn kept_out_until(&self, entry: &Entry) -> Option<UnixMillis> {
        let quarantine = match entry.life {
            Life::QuarantinedUntil(until) => Some(until),
            Life::Active | Life::Draining => None,
        };
        quarantine.max(entry.ejected_until).filter(|until| *until > self.now)
    }

    /// How many preferences an instance meets, and how many there are.
    #[inline]
    pub(crate) fn preferences(&self, index: &ServiceIndex, position: usize) -> (u32, u32) {
        let met = if self.preferred > 0 { self.prefer.met(&index.traits[position]) } else { 0 };
        (met, self.preferred)
    }

    #[inline]
    pub(crate) fn distance(&self, entry: &Entry) -> Distance {
        let is_known = |symbol| symbol != NONE;
        if self.caller_host != 0 && self.caller_host == entry.host {
            return Distance::SameHost;
        }
        if let Some(trip) = entry.trip
            && (!is_known(self.caller_zone) || self.caller_zone == entry.trip_zone)
        {
            return Distance::RoundTrip(trip);
        }
        let is_same = |one: Symbol, other: Symbol| one == other && one != NONE && one != STRANGE;
        let has_regions = is_known(self.caller_region) && is_known(entry.region);
        let is_region_same = is_same(self.caller_region, entry.region);
        if is_same(self.caller_zone, entry.zone) && (is_region_same || !has_regions) {
            Distance::SameZone
        } else if is_region_same {
            Distance::SameRegion
        } else if has_regions {
            Distance::Elsewhere
        } else {
            Distance::Unknown
        }
    }
}

impl<'a> Wanted<'a> {
    fn of(index: &ServiceIndex, traits: Traits<'a>) -> Self {
        Self {
            tags: List::of(traits.tags.iter().map(|tag| index.tags.symbol(tag))),
            capabilities: List::of(traits.capabilities.iter().map(|name| index.capabilities.symbol(name))),
            version: traits.version,
        }
    }

    fn is_anything(&self) -> bool {
        self.tags.len > 0 || self.capabilities.len > 0 || self.version.is_some()
    }

    /// How many of the tags, capabilities and versions are there.
    fn met(&self, held: &Held) -> u32 {
        let count =
            |wanted: &[Symbol], held: &[Symbol]| wanted.iter().filter(|one| held.binary_search(one).is_ok()).count();
        let found = count(self.tags.as_slice(), &held.tags) + count(self.capabilities.as_slice(), &held.capabilities);
        let is_version =
            matches!((self.version, &held.version), (Some(wanted), Some(version)) if wanted.matches(version));
        found as u32 + u32::from(is_version)
    }

    /// What is not there, as reasons.
    fn lacks(&self, held: &Held) -> Reasons {
        let lacks = |wanted: &[Symbol], held: &[Symbol]| wanted.iter().any(|one| held.binary_search(one).is_err());
        let mut out = Reasons::default();
        if lacks(self.tags.as_slice(), &held.tags) {
            out.add(Reason::TagMissing);
        }
        if lacks(self.capabilities.as_slice(), &held.capabilities) {
            out.add(Reason::CapabilityMissing);
        }
        match (self.version, &held.version) {
            (Some(_), None) => out.add(Reason::VersionUnknown),
            (Some(wanted), Some(version)) if !wanted.matches(version) => out.add(Reason::VersionMismatch),
            _ => {}
        }
        out
    }
}
