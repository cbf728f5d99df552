//! What registrations become, and which are refused.

use rollcall_types::{CheckKind, Status};
use serde_json::{Value, json};

use super::*;
use crate::consul::decode::from_json;

fn register(body: &Value) -> Result<Registration> {
    let definition: ServiceDefinition = from_json(body.to_string().as_bytes())?;
    definition.register(&Host::try_from("10.9.9.9").unwrap(), &|_| None)
}

fn spec(body: &Value) -> InstanceSpec {
    register(body).unwrap().spec
}

fn check_ids(body: &Value) -> Vec<String> {
    spec(body).checks.iter().map(|check| check.id.to_string()).collect()
}

#[track_caller]
fn refused(body: Value, text: &str) {
    let failure = register(&body).expect_err(text);
    assert_eq!(failure.status, 400, "{body}");
    assert!(failure.text.contains(text), "{body}: {}", failure.text);
}

#[test]
fn a_service_becomes_an_instance() {
    let body = json!({
        "id": "web-1", "name": "web", "address": "10.0.0.7", "port": 8080, "tags": ["v1", "api", "v1", ""],
        "Meta": {"team": "core"}, "weights": {"Passing": 10, "Warning": 2}, "enabletagoverride": true,
        "tagged_addresses": {"lan": {"address": "10.0.0.7", "Port": 8080}, "wan": "192.0.2.7"},
        "Locality": {"Region": "eu", "Zone": "eu-a"}, "Connect": {}, "Proxy": null, "Token": "secret", "kind": ""
    });
    let Registration { service, id, spec } = register(&body).unwrap();
    assert_eq!((&*service, &*id), ("web", "web-1"));
    assert_eq!(spec.endpoints[0].authority(), "10.0.0.7:8080");
    assert_eq!(spec.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["api", "v1"]);
    assert_eq!((spec.weight.get(), meta::of(&spec, meta::WEIGHT_WARNING)), (10, Some("2")));
    assert_eq!((spec.region.as_deref(), spec.zone.as_deref()), (Some("eu"), Some("eu-a")));
    assert_eq!(meta::of(&spec, meta::TAG_OVERRIDE), Some("true"));
    let tagged: Vec<_> = meta::below(&spec, meta::TAGGED).collect();
    assert_eq!(tagged, [("lan", "10.0.0.7:8080"), ("wan", "192.0.2.7:0")]);
    let meta: Vec<_> = meta::of_user(&spec).collect();
    assert_eq!(meta, [("team", "core")], "what the layer keeps there is its own");
    let long = "x".repeat(255);
    assert_eq!(
        self::spec(&json!({"Name": "web", "Tags": [long]})).tags.iter().map(|tag| tag.len()).sum::<usize>(),
        255
    );
}

#[test]
fn a_bare_service_is_its_name() {
    let Registration { service, id, spec } = register(&json!({"Name": "web"})).unwrap();
    assert_eq!((&*service, &*id, spec.endpoints.len(), spec.metadata.len()), ("web", "web", 0, 0));
    assert_eq!((spec.weight, spec.checks.len(), spec.deregister_after), (Weight::default(), 0, None));
}

#[test]
fn who_gives_no_address_is_where_the_call_came_from_and_says_so() {
    let without = spec(&json!({"Name": "web", "Port": 80}));
    assert_eq!(
        (without.endpoints[0].authority().as_str(), meta::of(&without, meta::NO_ADDRESS)),
        ("10.9.9.9:80", Some("true"))
    );
    let portless = spec(&json!({"Name": "web", "Address": "10.0.0.7"}));
    assert_eq!((portless.endpoints.len(), meta::of(&portless, meta::ADDRESS)), (0, Some("10.0.0.7")));
}

#[test]
fn checks_are_numbered_from_one_when_there_are_several() {
    let ttl = json!({"TTL": "10s"});
    assert_eq!(check_ids(&json!({"ID": "w:1", "Name": "web", "Check": ttl})), ["service:w:1"]);
    assert_eq!(check_ids(&json!({"Name": "web", "Checks": [ttl]})), ["service:web"]);
    assert_eq!(check_ids(&json!({"Name": "web", "Checks": [ttl, ttl]})), ["service:web:1", "service:web:2"]);
    assert_eq!(check_ids(&json!({"Name": "web", "Check": ttl, "Checks": [ttl]})), ["service:web:1", "service:web:2"]);
    let named = json!({"TTL": "10s", "CheckID": "mine"});
    assert_eq!(check_ids(&json!({"Name": "web", "Checks": [named, ttl]})), ["mine", "service:web:2"]);
    assert_eq!(check_ids(&json!({"Name": "web", "Checks": [named, named]})), ["mine"]);
    for nothing in [json!(null), json!({})] {
        assert!(check_ids(&json!({"Name": "web", "Check": nothing, "Checks": null})).is_empty());
    }
}

#[test]
fn the_first_check_that_gives_up_decides_when_the_instance_goes() {
    let check = |after: &str| json!({"TTL": "10s", "DeregisterCriticalServiceAfter": after});
    let body = json!({"Name": "web", "Checks": [check("90m"), {"TTL": "1s", "Status": "passing"}, check("20s")]});
    let spec = spec(&body);
    assert_eq!(spec.deregister_after, Some(Millis::new(20_000)));
    assert!(matches!(spec.checks[1].kind, CheckKind::Ttl { initial: Status::Passing, .. }));
    assert_eq!(&*spec.checks[0].name, "Service 'web' check");
}

#[test]
fn what_breaks_a_rule_is_refused() {
    refused(json!({}), "Missing service name");
    refused(json!({"Name": "my service"}), "Invalid service: Name must be 1 to 63 letters");
    refused(json!({"Name": "web", "ID": "x".repeat(129)}), "Invalid service: ID must be 1 to 128 bytes");
    refused(json!({"Name": "web", "Tags": ["x".repeat(256)]}), "Invalid service: Tags must be 1 to 255 bytes");
    refused(json!({"Name": "web", "Port": 65_536}), "Port must be a port");
    refused(json!({"Name": "web", "Port": -1}), "Port");
    refused(json!({"Name": "web", "Address": "0.0.0.0"}), "Invalid service address");
    refused(json!({"Name": "web", "Address": "a b"}), "Address must be an IP address or a DNS name");
    refused(json!({"Name": "web", "Meta": {"consul:node": "x"}}), "Invalid Service Meta: Key prefix \"consul:\"");
    refused(json!({"Name": "web", "Meta": {"a": "x".repeat(4_097)}}), "Couldn't load metadata pair (\"a\")");
    let many: BTreeMap<_, _> = (0..65).map(|n| (n.to_string(), "v")).collect();
    refused(json!({"Name": "web", "Meta": many}), "cannot contain more than 64");
    refused(json!({"Name": "web", "Tags": (0..65).map(|n| n.to_string()).collect::<Vec<_>>()}), "at most 64");
    refused(json!({"Name": "web", "Weights": {"Passing": 0}}), "Invalid Weights: Passing must be greater than 0");
    refused(json!({"Name": "web", "Weights": {"Passing": 1, "Warning": -1}}), "Invalid Weights: Warning");
    refused(json!({"Name": "web", "Weights": {"Passing": 65_536}}), "Invalid Weights");
    refused(json!({"Name": "web", "Kind": "connect-proxy"}), "not supported: Kind");
    refused(json!({"Name": "web", "Connect": {"sidecar_service": {}}}), "not supported: Connect");
    refused(json!({"Name": "web", "SocketPath": "/run/x"}), "not supported: SocketPath");
    let checks = vec![json!({"TTL": "1s"}); 17];
    refused(json!({"Name": "web", "Checks": checks}), "at most 16 checks");
    refused(json!({"Name": "web", "Check": {"Name": "x"}}), "TTL must be > 0 for TTL checks");
}
