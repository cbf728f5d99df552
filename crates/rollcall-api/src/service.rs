//! Services: their definitions and configuration documents.

use std::collections::BTreeMap;

use rollcall_types::{
    CAPABILITIES_MAX, Invalid, JsonText, Label, Millis, Resources, SLOW_START_MAX, TAGS_MAX, Text, Version,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::check::web_url;
use crate::decode::optional_object;
use crate::field::{Review, Scope};
use crate::policy::PolicyRef;
use crate::registration::null_as_default;
use crate::{COST_MAX, Document, FieldError, Micros, Number, Policy, SelectionPolicy, Timestamp};

/// Most resources that a definition may name.
const RESOURCES_MAX: usize = 64;

/// The body that defines a service. Everything is optional; `null` is the same as left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a service definition")]
pub struct ServiceDefinition {
    /// Version of the contract the service offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the service can do, at most 64.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub capabilities: Vec<String>,
    /// What other services must be able to do for this one to work, at most 64.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub required_capabilities: Vec<String>,
    /// How long a usual request takes.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>)]
    pub expected_response_time_ms: Number,
    /// Requests that one instance can work on at once, at least 1.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub max_concurrent_requests: Number,
    /// Resources that one instance needs: `"memory": "2Gi"`. Nothing is enforced.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, String>,
    /// Cost of one request in whatever unit the operators count in: 0 to 1000000000 with at most 6 decimals.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1_000_000_000)]
    pub cost: Number,
    /// Words to select by, at most 64.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub tags: Vec<String>,
    /// Who answers for the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where its documentation is: an absolute `http` or `https` URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs_url: Option<String>,
    /// JSON Schema that its configuration document must satisfy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Value>,
    /// How long an instance that became passing is warming up, with a share of traffic that grows: 0 to 3600000. Default 0:
    /// it gets all of its share at once.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 3_600_000, default = 0)]
    pub slow_start_ms: Number,
    /// How its instances are to be chosen.
    #[serde(deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionPolicy>,
}

impl ServiceDefinition {
    /// The validated definition. Whether `config_schema` is a JSON Schema is for the caller to judge.
    ///
    /// # Errors
    /// Every field that breaks a rule, at most [`crate::ERRORS_MAX`]: never empty.
    pub fn into_definition(self) -> Result<rollcall_types::ServiceDefinition, Vec<FieldError>> {
        let mut review = Review::default();
        let selection = self.selection.as_ref().map(|selection| selection.check(&mut review, "selection"));
        let mut at = review.at("");
        let definition = rollcall_types::ServiceDefinition {
            version: at.optional_text("version", self.version.as_deref()),
            description: at.optional_text("description", self.description.as_deref()),
            capabilities: at.texts("capabilities", &self.capabilities, CAPABILITIES_MAX).collect(),
            required_capabilities: at
                .texts("required_capabilities", &self.required_capabilities, CAPABILITIES_MAX)
                .collect(),
            expected_response_time: at.optional_number(
                "expected_response_time_ms",
                &self.expected_response_time_ms,
                Millis::try_from,
            ),
            max_concurrent_requests: at.optional_number(
                "max_concurrent_requests",
                &self.max_concurrent_requests,
                concurrency,
            ),
            resources: convert_resources(&mut at, &self.resources),
            cost_micros: (!self.cost.is_absent()).then(|| at.keep("cost", self.cost.judge_micros(COST_MAX))).flatten(),
            tags: at.texts("tags", &self.tags, TAGS_MAX).collect(),
            owner: at.optional_text("owner", self.owner.as_deref()),
            docs_url: self.docs_url.as_deref().and_then(|url| at.keep("docs_url", web_url(url))),
            config_schema: convert_schema(&mut at, self.config_schema.as_ref()),
            slow_start: at
                .optional_number("slow_start_ms", &self.slow_start_ms, |raw| {
                    Millis::within(raw, Millis::new(0), SLOW_START_MAX)
                })
                .filter(|slow_start| slow_start.get() > 0),
            selection: selection.unwrap_or_default(),
        };
        review.finish(definition)
    }
}

/// The definition of a service in an answer: what [`ServiceDefinition`] says, with `null` for what it leaves out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Definition {
    /// Version of the contract the service offers.
    pub version: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// What the service can do.
    pub capabilities: Vec<String>,
    /// What other services must be able to do for this one to work.
    pub required_capabilities: Vec<String>,
    /// How long a usual request takes.
    pub expected_response_time_ms: Option<u64>,
    /// Requests that one instance can work on at once.
    pub max_concurrent_requests: Option<u32>,
    /// Resources that one instance needs.
    pub resources: BTreeMap<String, String>,
    /// Cost of one request.
    pub cost: Option<f64>,
    /// Words to select by.
    pub tags: Vec<String>,
    /// Who answers for the service.
    pub owner: Option<String>,
    /// Where its documentation is.
    pub docs_url: Option<String>,
    /// JSON Schema of its configuration document.
    #[schema(value_type = Option<Value>)]
    pub config_schema: Option<Document>,
    /// How long an instance that became passing is warming up.
    pub slow_start_ms: Option<u64>,
    /// How its instances are to be chosen.
    pub selection: Option<Policy>,
}

/// What a [`Definition`] is written from: borrowed from the catalogue, serialized without copying, but for the schema.
#[derive(Debug, Clone, Copy)]
pub struct DefinitionRef<'a>(pub &'a rollcall_types::ServiceDefinition);

impl Serialize for DefinitionRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            version: Option<&'a Version>,
            description: Option<&'a Text>,
            capabilities: &'a rollcall_types::SortedSet<rollcall_types::CapabilityName>,
            required_capabilities: &'a rollcall_types::SortedSet<rollcall_types::CapabilityName>,
            expected_response_time_ms: Option<Millis>,
            max_concurrent_requests: Option<u32>,
            resources: &'a Resources,
            cost: Option<Micros>,
            tags: &'a rollcall_types::Tags,
            owner: Option<&'a Text>,
            docs_url: Option<&'a Text>,
            config_schema: Option<Document>,
            slow_start_ms: Option<Millis>,
            selection: Option<PolicyRef<'a>>,
        }
        let Self(definition) = self;
        let schema = definition.config_schema.as_ref().map(Document::try_from).transpose();
        let wire = Wire {
            version: definition.version.as_ref(),
            description: definition.description.as_ref(),
            capabilities: &definition.capabilities,
            required_capabilities: &definition.required_capabilities,
            expected_response_time_ms: definition.expected_response_time,
            max_concurrent_requests: definition.max_concurrent_requests,
            resources: &definition.resources,
            cost: definition.cost_micros.map(Micros),
            tags: &definition.tags,
            owner: definition.owner.as_ref(),
            docs_url: definition.docs_url.as_ref(),
            config_schema: schema.map_err(serde::ser::Error::custom)?,
            slow_start_ms: definition.slow_start,
            selection: PolicyRef::of(&definition.selection),
        };
        wire.serialize(serializer)
    }
}

/// A service in an answer. `D` is [`Definition`] to read and [`DefinitionRef`] to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Service<D = Definition> {
    /// Its name, in the case in which it was first written.
    pub name: String,
    /// Its definition, if it was given one.
    pub definition: Option<D>,
    /// Registered instances.
    pub instance_count: u64,
    /// Version of its configuration document, if it has one.
    pub config_version: Option<u64>,
    /// The revision that made it.
    pub created_revision: u64,
    /// The revision that changed it last.
    pub revision: u64,
}

/// The configuration document of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigDocument {
    /// The service.
    pub service: String,
    /// Counts the documents of this service, from 1.
    pub version: u64,
    /// The revision that set it: its ETag.
    pub revision: u64,
    /// When it was set.
    #[schema(value_type = String, format = DateTime)]
    pub modified_at: Timestamp,
    /// Who set it.
    pub modified_by: String,
    /// The document as it was written.
    #[schema(value_type = Value)]
    pub document: Document,
}

fn concurrency(raw: u64) -> Result<u32, Invalid> {
    match u32::try_from(raw) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(Invalid::new("be 1 to 4294967295 requests", raw)),
    }
}

fn convert_resources(at: &mut Scope<'_>, resources: &BTreeMap<String, String>) -> Resources {
    at.at_most("resources", resources.len(), RESOURCES_MAX);
    resources
        .iter()
        .take(RESOURCES_MAX)
        .filter_map(|(name, amount)| {
            let field = format!("resources.{}", name.chars().take(Label::MAX_BYTES).collect::<String>());
            let name = at.keep(&field, Label::try_from(name.as_str()).map_err(|refused| format!("key {refused}")));
            let amount = at.text::<Text>(&field, amount);
            Some((name?, amount?))
        })
        .collect()
}

fn convert_schema(at: &mut Scope<'_>, schema: Option<&Value>) -> Option<JsonText> {
    let schema = schema?;
    if !schema.is_object() && !schema.is_boolean() {
        at.refuse("config_schema", crate::number::must("be a JSON Schema, an object or a boolean", schema));
        return None;
    }
    at.text("config_schema", &schema.to_string())
}
