//! Configuration documents against the schema their service supplies.
//!
//! A schema comes from outside, so it gets no network and no files: a `$ref` out of the schema is refused.

use jsonschema::{Retrieve, Uri};
use serde_json::Value;

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
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("references outside the schema are not followed: {uri}").into())
    }
}

/// Whether `schema` is a JSON Schema that can be used; else why not.
pub(crate) fn check_schema(schema: &Value) -> Result<(), String> {
    compile(schema).map(|_| ())
}

/// The places where `document` breaks `schema`, at most [`VIOLATIONS_MAX`].
///
/// # Errors
/// When the schema itself cannot be used.
pub(crate) fn violations(schema: &Value, document: &Value) -> Result<Vec<Violation>, String> {
    let validator = compile(schema)?;
    let violations = validator.iter_errors(document).take(VIOLATIONS_MAX);
    Ok(violations
        .map(|error| Violation { pointer: error.instance_path().to_string(), message: error.to_string() })
        .collect())
}

fn compile(schema: &Value) -> Result<jsonschema::Validator, String> {
    // The linear-time engine: a pattern from outside must not be able to backtrack for ever.
    let options = jsonschema::options().with_retriever(NoRetrieval);
    let options = options.with_pattern_options(jsonschema::PatternOptions::regex());
    options.build(schema).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn violations_point_into_the_document() {
        let schema = json!({"type": "object", "properties": {"retries": {"type": "integer", "maximum": 5}}});
        let found = violations(&schema, &json!({"retries": 9})).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pointer, "/retries");
        assert!(violations(&schema, &json!({"retries": 2})).unwrap().is_empty());
    }

    #[test]
    fn a_schema_cannot_reach_outside_itself() {
        let schema = json!({"$ref": "http://127.0.0.1:1/schema.json"});
        assert!(check_schema(&schema).unwrap_err().contains("not followed"));
        assert!(check_schema(&json!({"$ref": "file:///etc/passwd"})).is_err());
    }

    #[test]
    fn what_is_not_a_schema_is_refused() {
        assert!(check_schema(&json!({"type": 7})).is_err());
    }
}
