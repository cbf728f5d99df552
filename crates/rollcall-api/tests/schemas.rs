//! What OpenAPI says about the bodies.

use rollcall_api::{Instance, List, Problem, Registration, Service, ServiceDefinition, WatchEvent};
use serde_json::{Value, json};
use utoipa::{OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(components(schemas(Registration, ServiceDefinition, Instance, List<Instance>, Service, WatchEvent, Problem)))]
struct Api;

fn schema(name: &str) -> Value {
    let api = serde_json::to_value(Api::openapi()).expect("OpenAPI is JSON");
    api["components"]["schemas"][name].clone()
}

#[test]
fn requests_are_closed_and_answers_are_open() {
    for name in ["Registration", "RegistrationEndpoint", "RegistrationCheck", "RegistrationLease", "ServiceDefinition"]
    {
        assert_eq!(schema(name)["additionalProperties"], json!(false), "{name}");
    }
    for name in ["Instance", "Endpoint", "Problem"] {
        assert!(schema(name).is_object() && schema(name)["additionalProperties"].is_null(), "{name}");
    }
}

#[test]
fn numbers_are_numbers_with_their_bounds() {
    let port = &schema("RegistrationEndpoint")["properties"]["port"];
    assert_eq!((&port["type"], &port["minimum"], &port["maximum"]), (&json!("integer"), &json!(1), &json!(65_535)));
}

#[test]
fn only_endpoints_are_required() {
    assert_eq!(schema("Registration")["required"], json!(["endpoints"]));
    assert_eq!(schema("RegistrationEndpoint")["required"], json!(["protocol", "host", "port"]));
    assert_eq!(schema("RegistrationCheck")["required"], json!(["type"]));
}

#[test]
fn envelopes_are_named_after_what_they_hold() {
    assert_eq!(List::<Instance>::name(), "List");
    assert!(schema("List_Instance").is_object());
}
