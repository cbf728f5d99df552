//! Configuration documents against the schema their service supplies.
//!
//! A schema comes from outside, so it gets no network and no files (a `$ref` out of the schema is refused), and no runtime
//! thread: references that refer to each other twice can make checking exponential, so it has a deadline and few places.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::time::Duration;

use jsonschema::{Retrieve, Uri};
use rollcall_api::{Code, FieldError};
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::http::{Failure, Result};

/// Most violations that are reported for one document.
const VIOLATIONS_MAX: usize = 20;

/// One place where a document breaks its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// JSON pointer into the document (RFC 6901); empty for the whole.
    pub(crate) pointer: String,
    /// What is wrong there.
    pub(crate) message: String,
}

struct NoRetrieval;

impl Retrieve for NoRetrieval {
    fn retrieve(&self, uri: &Uri<String>) -> std::result::Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("references outside the schema are not followed: {uri}").into())
    }
}

/// Most references in one schema: each may be followed more than once, so they multiply.
const REFERENCES_MAX: usize = 64;
/// Longest time that checking one document may take.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);
/// Checks that run at once. One that does not end within its deadline keeps its place until it does.
static CHECKS: Semaphore = Semaphore::const_new(2);

/// Checks that `schema` is a JSON Schema that can be used.
///
/// # Errors
/// A field error when it is not.
pub(crate) async fn check_schema(schema: Value) -> Result<()> {
    let compiled = off_runtime(move || compile(&schema).map(|_| ())).await?;
    compiled
        .map_err(|problem| vec![FieldError::new("config_schema", format!("must be a JSON Schema; {problem}"))].into())
}

/// The places where `document` breaks `schema`, at most [`VIOLATIONS_MAX`].
///
/// # Errors
/// When the schema cannot be used, or checking takes too long.
pub(crate) async fn violations(schema: Value, document: Value) -> Result<Vec<Violation>> {
    let found = off_runtime(move || find_violations(&schema, &document)).await?;
    found.map_err(|problem| Failure::internal(format!("a stored schema cannot be used: {problem}")))
}

/// Runs a check where it cannot hold up the node, however long the schema makes it: on a thread of its own, which neither
/// the runtime nor its shutdown waits for.
async fn off_runtime<T: Send + 'static>(check: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let too_long =
        || Failure::new(Code::TooManyRequests, "checking against the schema takes too long; simplify the schema");
    let deadline = Instant::now() + CHECK_DEADLINE;
    let permit = timeout_at(deadline, CHECKS.acquire()).await.map_err(|_| too_long())?;
    let permit = permit.map_err(|_| Failure::internal("the semaphore of schema checks is closed"))?;
    let (tx, checked) = oneshot::channel();
    let thread = std::thread::Builder::new().name("schema-check".to_owned()).spawn(move || {
        let _held_until_done = permit;
        // Nobody waits any more when the deadline has passed.
        let _ = tx.send(check());
    });
    thread.map_err(|error| Failure::internal(format!("cannot start a thread for a schema check: {error}")))?;
    let checked = timeout_at(deadline, checked).await.map_err(|_| too_long())?;
    checked.map_err(|_| Failure::internal("a schema check ended badly"))
}

fn find_violations(schema: &Value, document: &Value) -> std::result::Result<Vec<Violation>, String> {
    let validator = compile(schema)?;
    let violations = validator.iter_errors(document).take(VIOLATIONS_MAX);
    Ok(violations
        .map(|error| Violation { pointer: error.instance_path().to_string(), message: error.to_string() })
        .collect())
}

fn compile(schema: &Value) -> std::result::Result<jsonschema::Validator, String> {
    if references(schema) > REFERENCES_MAX {
        return Err(format!("it has more than {REFERENCES_MAX} references"));
    }
    // The linear-time engine: a pattern from outside must not be able to backtrack for ever.
    let options = jsonschema::options().with_retriever(NoRetrieval);
    let options = options.with_pattern_options(jsonschema::PatternOptions::regex());
    options.build(schema).map_err(|error| error.to_string())
}

/// How many references a schema has. Its depth is bounded by the JSON parser.
fn references(schema: &Value) -> usize {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| usize::from(matches!(name.as_str(), "$ref" | "$dynamicRef")) + references(value))
            .sum(),
        Value::Array(items) => items.iter().map(references).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn violations_point_into_the_document() {
        let schema = json!({"type": "object", "properties": {"retries": {"type": "integer", "maximum": 5}}});
        let found = find_violations(&schema, &json!({"retries": 9})).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pointer, "/retries");
        assert!(find_violations(&schema, &json!({"retries": 2})).unwrap().is_empty());
    }

    #[test]
    fn a_schema_cannot_reach_outside_itself() {
        let schema = json!({"$ref": "http://127.0.0.1:1/schema.json"});
        assert!(compile(&schema).unwrap_err().contains("not followed"));
        assert!(compile(&json!({"$ref": "file:///etc/passwd"})).is_err());
    }

    #[test]
    fn what_is_not_a_schema_is_refused() {
        assert!(compile(&json!({"type": 7})).is_err());
    }

    #[test]
    fn a_schema_with_many_references_is_refused_before_it_is_compiled() {
        let chain = |length: usize| {
            let definitions = (0..length).map(|at| (format!("a{at}"), json!({"$ref": format!("#/$defs/a{}", at + 1)})));
            let mut definitions: serde_json::Map<String, Value> = definitions.collect();
            definitions.insert(format!("a{length}"), json!({"type": "integer"}));
            json!({"$defs": definitions, "type": "integer"})
        };
        assert!(compile(&chain(REFERENCES_MAX)).is_ok());
        assert!(compile(&chain(REFERENCES_MAX + 1)).unwrap_err().contains("references"));
    }

    #[tokio::test]
    async fn a_schema_that_multiplies_its_references_costs_a_deadline_and_not_the_node() {
        let mut definitions = serde_json::Map::new();
        for at in 0..30 {
            let next = json!({"$ref": format!("#/$defs/a{}", at + 1)});
            definitions.insert(format!("a{at}"), json!({"allOf": [next, next]}));
        }
        definitions.insert("a30".to_owned(), json!({"type": "integer"}));
        let schema = json!({"$defs": definitions, "$ref": "#/$defs/a0"});
        assert!(references(&schema) <= REFERENCES_MAX);
        let refused = violations(schema, json!(1)).await.unwrap_err();
        assert_eq!(refused.problem.code, Code::TooManyRequests);
    }
}
