//! What a registration says about an instance.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::{
    CheckSpec, Endpoint, Invalid, Label, MetadataKey, MetadataValue, Millis, SortedMap, SortedSet, Tag, Text,
    UnixMillis, Version,
};

/// Most tags on one instance or service.
pub const TAGS_MAX: usize = 64;
/// Most metadata entries on one instance.
pub const METADATA_MAX: usize = 64;
/// Shortest lease.
pub const LEASE_TTL_MIN: Millis = Millis::new(1_000);
/// Longest lease, one day.
pub const LEASE_TTL_MAX: Millis = Millis::new(86_400_000);
/// Shortest time in `critical` after which an instance may be deregistered automatically.
pub const DEREGISTER_AFTER_MIN: Millis = Millis::new(10_000);

/// Shortest and longest time that an instance may be given to drain: a week is what the slowest batch work takes.
pub const DRAIN_DEADLINE_MIN: Millis = Millis::new(1_000);
/// See [`DRAIN_DEADLINE_MIN`].
pub const DRAIN_DEADLINE_MAX: Millis = Millis::new(7 * 86_400_000);
/// Shortest quarantine.
pub const QUARANTINE_TTL_MIN: Millis = Millis::new(1_000);
/// Longest quarantine, a week: who wants an instance out for longer drains it, which does not end by itself.
pub const QUARANTINE_TTL_MAX: Millis = Millis::new(7 * 86_400_000);
/// Longest reason for a decision about an instance, in bytes: a sentence or two.
pub const REASON_BYTES_MAX: usize = 512;

/// Tags, sorted and without doubles.
pub type Tags = SortedSet<Tag>;
/// Metadata entries by key.
pub type Metadata = SortedMap<MetadataKey, MetadataValue>;

/// Share of traffic relative to the other instances of the service, 1 to 65535. Default 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(NonZeroU16);

impl Weight {
    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(NonZeroU16::MIN)
    }
}

impl TryFrom<u64> for Weight {
    type Error = Invalid;

    fn try_from(raw: u64) -> Result<Self, Invalid> {
        u16::try_from(raw)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| Invalid::new("be a weight, 1 to 65535", raw))
    }
}

/// The right to stay registered, kept alive by heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSpec {
    /// Longest silence, [`LEASE_TTL_MIN`] to [`LEASE_TTL_MAX`].
    pub ttl: Millis,
}

/// What an operator decided about an instance, apart from its health.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Lifecycle {
    /// Takes traffic as its health allows.
    #[default]
    Active,
    /// Finishes what it has and takes nothing new.
    Draining {
        /// When it should be done, if that was said.
        deadline: Option<UnixMillis>,
        /// Why, for people.
        reason: Text,
    },
    /// Kept out of selection until `until`, then active again by itself.
    Quarantined {
        /// End of the quarantine.
        until: UnixMillis,
        /// Why, for people.
        reason: Text,
    },
}

impl Lifecycle {
    /// What holds at `now`: a quarantine that is over is [`Self::Active`]. A deadline that has passed ends nothing: what was
    /// drained does not come back by itself.
    pub fn at(&self, now: UnixMillis) -> &Self {
        match self {
            Self::Quarantined { until, .. } if *until <= now => &Self::Active,
            decided => decided,
        }
    }
}

/// A registration: all that is intent about one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// At most [`crate::ENDPOINTS_MAX`] endpoints with distinct names; the first is the default one. Whoever registers something
    /// that listens gives at least one: without any it has a health, and nobody can be sent to it.
    pub endpoints: Box<[Endpoint]>,
    /// Failure domain within a region.
    pub zone: Option<Label>,
    /// Group of zones.
    pub region: Option<Label>,
    /// Version of the software that runs.
    pub version: Option<Version>,
    /// At most [`TAGS_MAX`].
    pub tags: Tags,
    /// At most [`METADATA_MAX`].
    pub metadata: Metadata,
    /// Share of traffic.
    pub weight: Weight,
    /// The lease, when the instance keeps itself registered by heartbeats.
    pub lease: Option<LeaseSpec>,
    /// At most [`crate::CHECKS_MAX`] checks with distinct ids.
    pub checks: Box<[CheckSpec]>,
    /// Time in `critical` after which the cluster deregisters the instance; `None` means never.
    pub deregister_after: Option<Millis>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarantine_ends_by_itself_and_a_drain_does_not() {
        let (before, end) = (UnixMillis::new(999), UnixMillis::new(1_000));
        let reason: Text = "why".parse().unwrap();
        let quarantined = Lifecycle::Quarantined { until: end, reason: reason.clone() };
        assert_eq!(quarantined.at(before), &quarantined);
        assert_eq!(quarantined.at(end), &Lifecycle::Active);
        let draining = Lifecycle::Draining { deadline: Some(end), reason };
        assert_eq!(draining.at(UnixMillis::MAX), &draining);
    }
}
