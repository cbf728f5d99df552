//! How a service wants its instances to be chosen: a part of its definition, in requests and in answers.

use std::num::NonZeroU32;

use rollcall_types::{DnsTtl, FactorWeights, Invalid, Part, Strategy};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::decode::optional_object;
use crate::field::Review;
use crate::{Micros, Number, WeightsGiven};

/// How a service wants its instances to be chosen when a request does not say. Everything may be left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a selection policy")]
#[schema(example = json!({"strategy": "p2c_ewma", "weights": {"load": 3, "cost": 1}, "tie_band": 0.05, "dns_ttl_ms": 5000}))]
pub struct SelectionPolicy {
    /// `scored` (default), `round_robin`, `weighted_round_robin`, `least_connections`, `p2c_ewma`, `random`, `consistent_hash`
    /// (for requests with a key or a client, the others are `scored`), `locality` or `health_based`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// What the factors count for, in proportion to each other: 0 to 1000 with at most 6 decimals, not all 0.
    #[serde(deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsGiven>,
    /// How far below the best a rank may be and still take part in the draw: 0 to 1 with at most 6 decimals. Default 0.1.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1)]
    pub tie_band: Number,
    /// Health is not asked when less than this part of the fitting instances may be selected by it: 0 to 1 with at most 6
    /// decimals; `true` is 0: only when none may. Default: never.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1)]
    pub fail_open: Number,
    /// How many instances one client gets to see, at least 1. Takes effect when the client says who it is. Default: all.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub subset: Number,
    /// How long resolvers may keep DNS answers about the service: whole seconds up to a day. Default: as the node that answers
    /// is configured.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 86_400_000, multiple_of = 1_000)]
    pub dns_ttl_ms: Number,
}

impl SelectionPolicy {
    /// The validated policy; what breaks a rule is reported below `path`.
    pub(crate) fn check(&self, review: &mut Review, path: &str) -> rollcall_types::SelectionPolicy {
        let weights = self.weights.as_ref().and_then(|given| {
            let micros = given.micros(review, &format!("{path}.weights"))?;
            review.at(path).keep("weights", FactorWeights::try_from(micros))
        });
        let mut at = review.at(path);
        rollcall_types::SelectionPolicy {
            strategy: at.keep_some("strategy", self.strategy.as_deref().map(str::parse::<Strategy>)),
            weights,
            tie_band: (!self.tie_band.is_absent()).then(|| at.keep("tie_band", part(&self.tie_band))).flatten(),
            fail_open: match self.fail_open.as_bool() {
                Some(is_wanted) => is_wanted.then(|| Part::try_from(0).ok()).flatten(),
                None if self.fail_open.is_absent() => None,
                None => at.keep("fail_open", part(&self.fail_open)),
            },
            subset: at.optional_number("subset", &self.subset, |raw| {
                let subset = u32::try_from(raw).ok().and_then(NonZeroU32::new);
                subset.ok_or_else(|| Invalid::new("be 1 to 4294967295 instances", raw))
            }),
            dns_ttl: at.optional_number("dns_ttl_ms", &self.dns_ttl_ms, DnsTtl::from_millis),
        }
    }
}

fn part(number: &Number) -> Result<Part, String> {
    let micros = number.judge_micros(1)?;
    Part::try_from(u32::try_from(micros).unwrap_or(u32::MAX)).map_err(|refused| refused.to_string())
}

/// A selection policy in an answer; what is `null` is as it is for every service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Policy {
    /// How instances are chosen.
    pub strategy: Option<String>,
    /// What the factors count for, in proportion to each other.
    pub weights: Option<PolicyWeights>,
    /// How far below the best a rank may be and still take part in the draw.
    #[schema(value_type = Option<f64>)]
    pub tie_band: Number,
    /// Health is not asked when less than this part of the fitting instances may be selected by it.
    #[schema(value_type = Option<f64>)]
    pub fail_open: Number,
    /// How many instances one client gets to see.
    pub subset: Option<u32>,
    /// How long resolvers may keep DNS answers about the service.
    pub dns_ttl_ms: Option<u64>,
}

/// What each factor counts for, in an answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PolicyWeights {
    /// How busy the instance is.
    #[schema(value_type = f64)]
    pub load: Number,
    /// How its requests went lately.
    #[schema(value_type = f64)]
    pub performance: Number,
    /// How near it is.
    #[schema(value_type = f64)]
    pub proximity: Number,
    /// How many preferences it meets.
    #[schema(value_type = f64)]
    pub specialization: Number,
    /// What it costs.
    #[schema(value_type = f64)]
    pub cost: Number,
}

/// What a [`Policy`] is written from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PolicyRef<'a>(&'a rollcall_types::SelectionPolicy);

impl<'a> PolicyRef<'a> {
    /// The policy, if it says anything.
    pub(crate) fn of(policy: &'a rollcall_types::SelectionPolicy) -> Option<Self> {
        (*policy != rollcall_types::SelectionPolicy::default()).then_some(Self(policy))
    }
}

impl Serialize for PolicyRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire {
            strategy: Option<&'static str>,
            weights: Option<WeightsWire>,
            tie_band: Option<Micros>,
            fail_open: Option<Micros>,
            subset: Option<NonZeroU32>,
            dns_ttl_ms: Option<u64>,
        }
        #[derive(Serialize)]
        struct WeightsWire {
            load: Micros,
            performance: Micros,
            proximity: Micros,
            specialization: Micros,
            cost: Micros,
        }
        let Self(policy) = self;
        let micros = |part: Part| Micros(part.micros().into());
        let weights = policy.weights.map(|weights| {
            let [load, performance, proximity, specialization, cost] =
                weights.micros().map(|weight| Micros(weight.into()));
            WeightsWire { load, performance, proximity, specialization, cost }
        });
        let wire = Wire {
            strategy: policy.strategy.map(Strategy::as_str),
            weights,
            tie_band: policy.tie_band.map(micros),
            fail_open: policy.fail_open.map(micros),
            subset: policy.subset,
            dns_ttl_ms: policy.dns_ttl.map(|ttl| ttl.millis().get()),
        };
        wire.serialize(serializer)
    }
}
