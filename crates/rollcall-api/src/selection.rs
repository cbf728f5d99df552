//! Who should serve a request: the question, and the answer.

use std::collections::BTreeMap;

use rollcall_types::{
    CapabilityName, FactorWeights, Host, InstanceId, InstanceSpec, Invalid, Label, ServiceName, Status, Tag,
};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::decode::optional_object;
use crate::field::{Review, Scope};
use crate::instance::{Each, EndpointWire, endpoint_wire};
use crate::known::thousandths;
use crate::{Endpoint, Explanation, FieldError, Number, State};

/// Most instances that one answer holds.
pub const PICKS_MAX: u64 = 100;
/// Most tags, or capabilities, that one request names; beyond it the first ones are not even looked at.
const NAMED_MAX: usize = 64;

/// The body of `POST …/select`. Everything may be left out, the body too: then it is one instance, whichever scores best.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a question")]
#[schema(example = json!({"n": 2, "client": {"zone": "a"}, "version": "^1.4", "exclude": ["web-3"]}))]
pub struct SelectRequest {
    /// At `/v1/select`, where it must be given: instances of every service that offers this capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Who asks.
    #[serde(deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub client: Option<CallerDescription>,
    /// `scored`, `round_robin`, `weighted_round_robin`, `least_connections`, `p2c_ewma`, `random`, `consistent_hash`,
    /// `locality` or `health_based`. Default: as the service says, else `scored`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// How many instances, 1 to 100; there are fewer in the answer when there are no more. Default 1.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 100)]
    pub n: Number,
    /// Ids of instances that must not be in the answer, at most 64: those that were tried already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Instances must have these tags, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Instances must have these capabilities, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// What the version of an instance must satisfy: `^1.4`, `>=1.2, <2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Instances must be in this zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Instances score higher the more they have of this.
    #[serde(deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub prefer: Option<Wish>,
    /// Whether `warning` and `unknown` are not enough.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub only_passing: bool,
    /// What `consistent_hash` hashes, at most 1024 bytes. Default: the id of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_key: Option<String>,
    /// What the factors count for, in proportion to each other. Default: as the service says, else 0.3 for load, 0.25 for
    /// performance, 0.15 for proximity, 0.2 for specialization, 0.1 for cost.
    #[serde(deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsGiven>,
    /// How far below the best a rank may be and still take part in the draw, 0 to 1. Default: as the service says, else 0.1.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1)]
    pub tie_band: Number,
    /// Health is not asked when less than this part of the fitting instances may be selected by it, 0 to 1; `true` is 0: only
    /// when none may; `false`: never. The answer says `fail_open` then. Default: as the service says, else never.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1)]
    pub fail_open: Number,
    /// Whether the answer says of every instance why it is in or out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub explain: bool,
}

/// Who asks. Everything may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a client")]
pub struct CallerDescription {
    /// Its name, at most 128 bytes: decides which subset of a big service it sees, and what `consistent_hash` hashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The host that it runs on, as instances name theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The zone that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The region that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What kind of request it is going to send; performance is kept by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// What is preferred of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, preferences")]
pub struct Wish {
    /// Tags, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Capabilities, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// A version constraint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What each factor of a score counts for: numbers from 0 on, in proportion to each other. What is left out counts for 0.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, weights")]
pub struct WeightsGiven {
    /// How busy the instance is.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<f64>, minimum = 0)]
    pub load: Number,
    /// How its requests went lately.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<f64>, minimum = 0)]
    pub performance: Number,
    /// How near it is.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<f64>, minimum = 0)]
    pub proximity: Number,
    /// How many preferences it meets.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<f64>, minimum = 0)]
    pub specialization: Number,
    /// What it costs.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<f64>, minimum = 0)]
    pub cost: Number,
}

/// A question whose names and numbers obey their rules. What only selection can judge (constraints, strategy, the proportion of
/// weights) is as it came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CheckedSelection {
    /// Instances of services that offer this.
    pub capability: Option<CapabilityName>,
    /// Name of the client.
    pub client_id: Option<String>,
    /// Its host.
    pub client_host: Option<Host>,
    /// Its zone.
    pub client_zone: Option<Label>,
    /// Its region.
    pub client_region: Option<Label>,
    /// What kind of request it sends.
    pub context: Option<Label>,
    /// How to choose.
    pub strategy: Option<String>,
    /// How many.
    pub n: usize,
    /// Which ones not.
    pub exclude: Vec<InstanceId>,
    /// What is required.
    pub require: Wished,
    /// What is preferred.
    pub prefer: Wished,
    /// The zone that is required.
    pub zone: Option<Label>,
    /// Whether `passing` alone will do.
    pub only_passing: bool,
    /// What to hash.
    pub hash_key: Option<String>,
    /// In the order load, performance, proximity, specialization, cost; each finite and from 0 on.
    pub weights: Option<[f64; 5]>,
    /// In [0, 1].
    pub tie_band: Option<f64>,
    /// When health is not to be asked, if the request says.
    pub fail_open: Option<FailOpen>,
    /// Whether to say why.
    pub explain: bool,
}

/// When a request wants health not to be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FailOpen {
    /// Never, whatever the service says.
    Never,
    /// When less than this part of the fitting instances may be selected by it, in [0, 1].
    Below(f64),
}

/// What is wanted of an instance, in names that obey their rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wished {
    /// Tags.
    pub tags: Vec<Tag>,
    /// Capabilities.
    pub capabilities: Vec<CapabilityName>,
    /// A version constraint, not judged yet.
    pub version: Option<String>,
}

impl SelectRequest {
    /// The question with its names and numbers checked.
    ///
    /// # Errors
    /// Every field that breaks a rule: never empty.
    pub fn check(self) -> Result<CheckedSelection, Vec<FieldError>> {
        let mut review = Review::default();
        let client = self.client.unwrap_or_default();
        let prefer = self.prefer.unwrap_or_default();
        let require = Wish { tags: self.tags, capabilities: self.capabilities, version: self.version };
        let mut of_client = review.at("client");
        let client_host = of_client.keep_some("host", client.host.as_deref().map(Host::try_from));
        let client_zone = of_client.optional_text("zone", client.zone.as_deref());
        let client_region = of_client.optional_text("region", client.region.as_deref());
        let context = of_client.optional_text("context", client.context.as_deref());
        let weights = self.weights.map(|weights| weights.check(&mut review.at("weights")));
        let prefer = prefer.check(&mut review.at("prefer"));
        let mut body = review.at("");
        let checked = CheckedSelection {
            capability: body.optional_text("capability", self.capability.as_deref()),
            client_id: client.id,
            client_host,
            client_zone,
            client_region,
            context,
            strategy: self.strategy,
            n: if self.n.is_absent() { 1 } else { body.number("n", &self.n, picks).unwrap_or(1) },
            exclude: body.texts("exclude", &self.exclude, NAMED_MAX).collect(),
            require: require.check(&mut body),
            prefer,
            zone: body.optional_text("zone", self.zone.as_deref()),
            only_passing: self.only_passing,
            hash_key: self.hash_key,
            weights,
            tie_band: body.optional_real("tie_band", &self.tie_band, part),
            fail_open: match self.fail_open.as_bool() {
                Some(true) => Some(FailOpen::Below(0.0)),
                Some(false) => Some(FailOpen::Never),
                None => body.optional_real("fail_open", &self.fail_open, part).map(FailOpen::Below),
            },
            explain: self.explain,
        };
        review.finish(checked)
    }
}

impl Wish {
    fn check(self, at: &mut Scope<'_>) -> Wished {
        Wished {
            tags: at.texts("tags", &self.tags, NAMED_MAX).collect(),
            capabilities: at.texts("capabilities", &self.capabilities, NAMED_MAX).collect(),
            version: self.version,
        }
    }
}

impl WeightsGiven {
    fn check(&self, at: &mut Scope<'_>) -> [f64; 5] {
        self.named().map(|(name, number)| at.optional_real(name, number, weight).unwrap_or(0.0))
    }

    /// The weights in millionths; `None`: what breaks a rule was reported below `path`.
    pub(crate) fn micros(&self, review: &mut Review, path: &str) -> Option<[u32; 5]> {
        const MAX: u64 = FactorWeights::MAX_MICROS as u64 / 1_000_000;
        let mut at = review.at(path);
        let given = self.named().map(|(name, number)| match number.is_absent() {
            true => Some(0),
            false => at.keep(name, number.judge_micros(MAX)).and_then(|micros| u32::try_from(micros).ok()),
        });
        let known: Vec<u32> = given.into_iter().collect::<Option<_>>()?;
        known.try_into().ok()
    }

    fn named(&self) -> [(&'static str, &Number); 5] {
        let [load, performance, proximity, specialization, cost] = FactorWeights::FACTORS;
        [
            (load, &self.load),
            (performance, &self.performance),
            (proximity, &self.proximity),
            (specialization, &self.specialization),
            (cost, &self.cost),
        ]
    }
}

fn picks(raw: u64) -> Result<usize, Invalid> {
    let n = usize::try_from(raw).ok().filter(|_| (1..=PICKS_MAX).contains(&raw));
    n.ok_or_else(|| Invalid::new(format!("be 1 to {PICKS_MAX}"), raw))
}

fn part(raw: f64) -> Result<f64, Invalid> {
    if (0.0..=1.0).contains(&raw) { Ok(raw) } else { Err(Invalid::new("be a number from 0 to 1", raw)) }
}

fn weight(raw: f64) -> Result<f64, Invalid> {
    if raw.is_finite() && raw >= 0.0 { Ok(raw) } else { Err(Invalid::new("be a number from 0 on", raw)) }
}

/// The answer: who should serve, best first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Selection {
    /// Whom to send to, best first: as many as were asked for, or all that there are. Not empty.
    pub picks: Vec<SelectionPick>,
    /// How they were chosen.
    pub strategy: String,
    /// How many could have been chosen.
    pub eligible: u64,
    /// Whether health was not asked, since too few are healthy.
    pub fail_open: bool,
    /// The revision of the registrations that they were chosen from.
    pub revision: u64,
    /// Why each instance is in or out, when that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// One instance that was picked: what is needed to send it a request, and why it was picked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SelectionPick {
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
    /// What the cluster believes about it.
    pub state: State,
    /// Its score, in [0, 1].
    pub score: f64,
    /// Why it is here and what else is to be said of it, in codes of a closed list.
    pub reasons: Vec<String>,
}

/// What a [`Selection`] is written from: borrowed, serialized without copying.
#[derive(Debug, Serialize)]
pub struct SelectionRef<'a, P: Serialize> {
    /// The picks.
    pub picks: P,
    /// How they were chosen.
    pub strategy: &'a str,
    /// How many could have been chosen.
    pub eligible: usize,
    /// Whether health was not asked.
    pub fail_open: bool,
    /// The revision of the registrations.
    pub revision: u64,
    /// Why each instance is in or out, when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// What a [`SelectionPick`] is written from.
#[derive(Debug, Clone, Copy)]
pub struct PickRef<'a, R> {
    /// Name of its service.
    pub service: &'a ServiceName,
    /// Id within the service.
    pub id: &'a InstanceId,
    /// Its registration.
    pub spec: &'a InstanceSpec,
    /// What its checks say.
    pub status: Status,
    /// Its score.
    pub score: f64,
    /// The codes, as a list.
    pub reasons: R,
}

impl<R: Serialize> Serialize for PickRef<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a, R: Serialize> {
            service: &'a ServiceName,
            id: &'a InstanceId,
            endpoints: Each<'a, rollcall_types::Endpoint, EndpointWire<'a>>,
            zone: Option<&'a Label>,
            region: Option<&'a Label>,
            version: Option<&'a rollcall_types::Version>,
            tags: &'a rollcall_types::Tags,
            metadata: &'a rollcall_types::Metadata,
            weight: u16,
            state: State,
            score: f64,
            reasons: &'a R,
        }
        let spec = self.spec;
        let wire = Wire {
            service: self.service,
            id: self.id,
            endpoints: Each(&spec.endpoints, endpoint_wire),
            zone: spec.zone.as_ref(),
            region: spec.region.as_ref(),
            version: spec.version.as_ref(),
            tags: &spec.tags,
            metadata: &spec.metadata,
            weight: spec.weight.get(),
            state: self.status.into(),
            score: thousandths(self.score),
            reasons: &self.reasons,
        };
        wire.serialize(serializer)
    }
}
