//! How a service wants its instances to be chosen and named: the part of its definition that selection and DNS read.
//!
//! Weights and parts of a whole are integers, in millionths: a definition is replicated and compared bit for bit, so nothing in it
//! is a floating-point number. Whoever computes with them turns them into one.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, Millis};

/// How one of several instances is chosen. The order is persisted: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Strategy {
    /// The best by score; near-ties at random by weight.
    #[default]
    Scored,
    /// One after the other.
    RoundRobin,
    /// One after the other, more often by weight and health, evenly spread.
    WeightedRoundRobin,
    /// Fewest requests in flight for its weight.
    LeastConnections,
    /// The better of two drawn at random, by latency and requests in flight.
    P2cEwma,
    /// Drawn evenly.
    Random,
    /// The same instance for the same key.
    ConsistentHash,
    /// Near ones first, farther ones as the near ones lack capacity.
    Locality,
    /// Drawn by weight and health.
    HealthBased,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Scored,
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::LeastConnections,
        Self::P2cEwma,
        Self::Random,
        Self::ConsistentHash,
        Self::Locality,
        Self::HealthBased,
    ];

    /// The word for it in configuration and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scored => "scored",
            Self::RoundRobin => "round_robin",
            Self::WeightedRoundRobin => "weighted_round_robin",
            Self::LeastConnections => "least_connections",
            Self::P2cEwma => "p2c_ewma",
            Self::Random => "random",
            Self::ConsistentHash => "consistent_hash",
            Self::Locality => "locality",
            Self::HealthBased => "health_based",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "be scored, round_robin, weighted_round_robin, least_connections, p2c_ewma, random, \
                            consistent_hash, locality or health_based";
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == text).ok_or_else(|| Invalid::new(RULE, text))
    }
}

/// What each factor of a score counts for, in millionths and in proportion to each other: at most
/// [`FactorWeights::MAX_MICROS`] each, and not all 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[u32; 5]", into = "[u32; 5]")]
pub struct FactorWeights([u32; 5]);

impl FactorWeights {
    /// The factors, in the order in which their weights stand.
    pub const FACTORS: [&'static str; 5] = ["load", "performance", "proximity", "specialization", "cost"];
    /// The greatest weight, 1000.
    pub const MAX_MICROS: u32 = 1_000_000_000;

    /// The weights, in the order of [`Self::FACTORS`].
    pub const fn micros(self) -> [u32; 5] {
        self.0
    }
}

impl TryFrom<[u32; 5]> for FactorWeights {
    type Error = Invalid;

    fn try_from(micros: [u32; 5]) -> Result<Self, Invalid> {
        if let Some(wrong) = micros.into_iter().find(|weight| *weight > Self::MAX_MICROS) {
            return Err(Invalid::new(format!("be at most {} millionths", Self::MAX_MICROS), wrong));
        }
        if micros == [0; 5] {
            return Err(Invalid::new("not all be 0", 0));
        }
        Ok(Self(micros))
    }
}

impl From<FactorWeights> for [u32; 5] {
    fn from(weights: FactorWeights) -> Self {
        weights.0
    }
}

/// A part of a whole, 0 to 1, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Part(u32);

impl Part {
    /// The whole.
    pub const WHOLE_MICROS: u32 = 1_000_000;

    /// The part in millionths.
    pub const fn micros(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Part {
    type Error = Invalid;

    fn try_from(micros: u32) -> Result<Self, Invalid> {
        if micros <= Self::WHOLE_MICROS {
            Ok(Self(micros))
        } else {
            Err(Invalid::new(format!("be 0 to {} millionths", Self::WHOLE_MICROS), micros))
        }
    }
}

impl From<Part> for u32 {
    fn from(part: Part) -> Self {
        part.0
    }
}

/// How long resolvers may keep an answer of DNS: whole seconds, as in its records, up to a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct DnsTtl(u32);

impl DnsTtl {
    /// The longest, a day.
    pub const MAX_S: u32 = 86_400;

    /// In seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// As a span.
    pub const fn millis(self) -> Millis {
        Millis::new(self.0 as u64 * 1_000)
    }

    /// The TTL of so many milliseconds.
    ///
    /// # Errors
    /// When they are no whole seconds, or more than a day.
    pub fn from_millis(raw: u64) -> Result<Self, Invalid> {
        let seconds =
            u32::try_from(raw / 1_000).ok().filter(|seconds| *seconds <= Self::MAX_S && raw.is_multiple_of(1_000));
        let rule = || format!("be whole seconds, 0 to {}000 milliseconds", Self::MAX_S);
        seconds.map(Self).ok_or_else(|| Invalid::new(rule(), raw))
    }
}

impl TryFrom<u32> for DnsTtl {
    type Error = Invalid;

    fn try_from(seconds: u32) -> Result<Self, Invalid> {
        Self::from_millis(u64::from(seconds) * 1_000)
    }
}

impl From<DnsTtl> for u32 {
    fn from(ttl: DnsTtl) -> Self {
        ttl.0
    }
}

/// How a service wants its instances to be chosen when the request does not say. What is `None` is as it is for every service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SelectionPolicy {
    /// How to choose.
    pub strategy: Option<Strategy>,
    /// What the factors of a score count for.
    pub weights: Option<FactorWeights>,
    /// How far below the best a rank may be and still take part in the draw.
    pub tie_band: Option<Part>,
    /// When less than this part of the instances that fit are healthy, health is not asked.
    pub fail_open: Option<Part>,
    /// How many instances one client gets to see.
    pub subset: Option<NonZeroU32>,
    /// How long resolvers may keep answers about the service.
    pub dns_ttl: Option<DnsTtl>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_reads_back_as_written() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }
        assert!("best".parse::<Strategy>().is_err());
    }

    #[test]
    fn a_policy_out_of_bounds_is_not_read_back() {
        let read = |text: &str| serde_json::from_str::<SelectionPolicy>(text).is_ok();
        assert!(read(r#"{"weights": [1, 0, 0, 0, 1000000000], "tie_band": 1000000, "dns_ttl": 86400}"#));
        for wrong in [
            r#"{"weights": [0, 0, 0, 0, 0]}"#,
            r#"{"weights": [1000000001, 0, 0, 0, 0]}"#,
            r#"{"tie_band": 1000001}"#,
            r#"{"fail_open": 1000001}"#,
            r#"{"subset": 0}"#,
            r#"{"dns_ttl": 86401}"#,
        ] {
            assert!(!read(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_ttl_is_whole_seconds_up_to_a_day() {
        assert_eq!(DnsTtl::from_millis(5_000).map(DnsTtl::seconds), Ok(5));
        for wrong in [1, 1_500, 86_401_000, u64::MAX] {
            assert!(DnsTtl::from_millis(wrong).is_err(), "{wrong}");
        }
    }
}
