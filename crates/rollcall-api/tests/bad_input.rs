//! Every refused body names the field and the rule.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use rollcall_api::decode::{self, DecodeError};
use rollcall_api::{Code, ERRORS_MAX, FieldError, Problem, Registration, ServiceDefinition};
use serde_json::{Value, json};

fn errors_of(body: &str) -> Vec<FieldError> {
    match decode::from_json::<Registration>(body.as_bytes()) {
        Ok(registration) => registration.into_spec().expect_err(body),
        Err(DecodeError::Fields(errors)) => errors,
        Err(other) => panic!("{body}: {other}"),
    }
}

/// The only problem of `body` is `field`, with a rule that contains `rule`.
#[track_caller]
fn check(body: &str, field: &str, rule: &str) {
    let errors = errors_of(body);
    assert_eq!(errors.len(), 1, "{body}: {errors:?}");
    assert_eq!(errors[0].field, field, "{body}: {errors:?}");
    assert!(errors[0].rule.contains(rule), "{body}: {errors:?}");
}

/// A good registration with `member` set to `value`.
fn with(member: &str, value: Value) -> String {
    let mut body = json!({"endpoints": [{"protocol": "http", "host": "10.0.0.7", "port": 80}]});
    body[member] = value;
    body.to_string()
}

fn with_port(port: &str) -> String {
    format!(r#"{{"endpoints":[{{"protocol":"http","host":"10.0.0.7","port":{port}}}]}}"#)
}

#[test]
fn ports_that_are_none_name_the_field_and_the_rule() {
    for (port, got) in [
        ("0", "got 0"),
        ("70000", "got 70000"),
        ("-1", "got -1"),
        ("1.5", "got 1.5"),
        ("\"80\"", "got \"80\""),
        ("1000000000000000000000000000000", "got 1e+30"),
        ("true", "got true"),
        ("[80]", "got [80]"),
    ] {
        check(&with_port(port), "endpoints[0].port", &format!("must be a port, 1 to 65535; {got}"));
    }
    check(&with_port("null"), "endpoints[0].port", "must be given, and must be a port");
    check(&with_port("1e999"), "endpoints[0].port", "must be a number of 64 bits");
}

#[test]
fn endpoints_that_break_a_rule_are_refused() {
    let endpoint = |change: Value| {
        let mut endpoint = json!({"protocol": "http", "host": "10.0.0.7", "port": 80});
        decode_merge(&mut endpoint, &change);
        with("endpoints", json!([endpoint]))
    };
    check("{}", "endpoints", "at least one endpoint");
    check(&with("endpoints", json!([])), "endpoints", "at least one endpoint");
    check(&with("endpoints", json!(null)), "endpoints", "at least one endpoint");
    check(&with("endpoints", json!("x")), "endpoints", "must be a list; got string \"x\"");
    check(&with("endpoints", json!([7])), "endpoints[0]", "must be an object; got integer 7");
    check(&endpoint(json!({"prot": "http"})), "endpoints[0].prot", "is not known here; expected one of \"name\"");
    check(&endpoint(json!({"host": "10.0.0.256"})), "endpoints[0].host", "must be an IP address or a DNS name");
    check(&endpoint(json!({"host": 5})), "endpoints[0].host", "must be a string; got integer 5");
    check(&endpoint(json!({"host": null})), "endpoints[0].host", "must be a string; got null");
    check(&endpoint(json!({"protocol": ""})), "endpoints[0].protocol", "must be 1 to 32 letters");
    check(&endpoint(json!({"name": "a b"})), "endpoints[0].name", "must be 1 to 63 letters");
}

#[test]
fn names_within_an_instance_are_distinct() {
    let web = json!({"protocol": "http", "host": "a", "port": 80});
    check(
        &with("endpoints", json!([web, web])),
        "endpoints[1].name",
        "must be distinct; \"http\" is also endpoints[0].name",
    );
    let beat = json!({"type": "ttl", "ttl_ms": 5000});
    check(&with("checks", json!([beat, beat])), "checks[1].id", "must be distinct; \"ttl\" is also checks[0].id");
}

#[test]
fn lists_and_maps_are_bounded() {
    let tags: Vec<String> = (0..65).map(|n| format!("t{n}")).collect();
    check(&with("tags", json!(tags)), "tags", "must hold at most 64 items; got 65");
    let metadata: Value = (0..65).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    check(&with("metadata", metadata), "metadata", "must hold at most 64 items; got 65");
    let endpoints: Vec<Value> =
        (0..17).map(|n| json!({"name": format!("e{n}"), "protocol": "http", "host": "a", "port": 80})).collect();
    check(&with("endpoints", json!(endpoints)), "endpoints", "must hold at most 16 items; got 17");
    let checks: Vec<Value> = (0..17).map(|n| json!({"id": format!("c{n}"), "type": "ttl", "ttl_ms": 5000})).collect();
    check(&with("checks", json!(checks)), "checks", "must hold at most 16 items; got 17");
}

#[test]
fn other_fields_that_break_a_rule_are_refused() {
    for (member, value, field, rule) in [
        ("zone", json!("a b"), "zone", "must be 1 to 63 letters"),
        ("region", json!(""), "region", "must be 1 to 63 letters"),
        ("zone", json!({}), "zone", "must be a string; got map"),
        ("version", json!("1 2"), "version", "must be 1 to 64 printable ASCII"),
        ("version", json!(1.4), "version", "must be a string; got floating point 1.4"),
        ("tags", json!(["ok", "x".repeat(256)]), "tags[1]", "must be 1 to 255 bytes"),
        ("tags", json!([1]), "tags[0]", "must be a string; got integer 1"),
        ("metadata", json!({"": "x"}), "metadata.", "key must be 1 to 128 bytes"),
        ("metadata", json!({"k": null}), "metadata.k", "must be a string; got null"),
        ("metadata", json!({"k": "x".repeat(4097)}), "metadata.k", "must be at most 4096 bytes"),
        ("weight", json!(0), "weight", "must be a weight, 1 to 65535; got 0"),
        ("weight", json!(65_536), "weight", "must be a weight, 1 to 65535; got 65536"),
        ("lease", json!({}), "lease.ttl_ms", "must be given"),
        ("lease", json!({"ttl_ms": -1}), "lease.ttl_ms", "must be 1000 to 86400000 milliseconds; got -1"),
        ("lease", json!({"ttl_ms": u64::MAX}), "lease.ttl_ms", "must be 1000 to 86400000 milliseconds"),
        ("lease", json!({"ttl": 5000}), "lease.ttl", "is not known here; expected \"ttl_ms\""),
        ("lease", json!(60), "lease", "must be an object; got integer 60"),
        ("deregister_after_ms", json!(9_999), "deregister_after_ms", "must be 10000 to 31536000000 milliseconds"),
        ("deregister_after_ms", json!("60s"), "deregister_after_ms", "milliseconds; got \"60s\""),
        ("id", json!("web-1"), "id", "is not known here"),
    ] {
        check(&with(member, value), field, rule);
    }
}

#[test]
fn checks_that_break_a_rule_are_refused() {
    for (check_json, field, rule) in [
        (json!({}), "checks[0].type", "must be \"http\", \"tcp\", \"grpc\", \"ttl\", \"alias\" or \"fixed\"; got \"\""),
        (json!({"type": "icmp"}), "checks[0].type", "got \"icmp\""),
        (
            json!({"type": "http"}),
            "checks[0].url",
            "must be an absolute http or https URL with a host and without a password",
        ),
        (json!({"type": "http", "url": "/health"}), "checks[0].url", "absolute"),
        (json!({"type": "http", "url": "ftp://a/"}), "checks[0].url", "absolute"),
        (json!({"type": "http", "url": "http://:80/"}), "checks[0].url", "with a host"),
        (json!({"type": "http", "url": "http://a:/"}), "checks[0].url", "with a host"),
        (json!({"type": "http", "url": "http://a:0/"}), "checks[0].url", "with a host"),
        (json!({"type": "http", "url": "http://a", "address": "a:1"}), "checks[0].address", "must be left out"),
        (json!({"type": "http", "url": "http://a", "ttl_ms": 5}), "checks[0].ttl_ms", "must be left out"),
        (json!({"type": "tcp", "address": "a"}), "checks[0].address", "must be host:port"),
        (json!({"type": "tcp", "address": "a:0"}), "checks[0].address", "must be host:port"),
        (json!({"type": "tcp", "address": "a:+1"}), "checks[0].address", "must be host:port"),
        (json!({"type": "tcp", "address": "::1:80"}), "checks[0].address", "[IPv6 address]:port"),
        (json!({"type": "grpc"}), "checks[0].address", "must be host:port"),
        (json!({"type": "ttl"}), "checks[0].ttl_ms", "must be given"),
        (json!({"type": "ttl", "ttl_ms": 999}), "checks[0].ttl_ms", "must be 1000 to"),
        (json!({"type": "ttl", "ttl_ms": 5000, "interval_ms": 500}), "checks[0].interval_ms", "must be left out"),
        (
            json!({"type": "ttl", "ttl_ms": 5000, "status": "fine"}),
            "checks[0].status",
            "must be \"passing\", \"warning\"",
        ),
        (json!({"type": "fixed"}), "checks[0].status", "must be \"passing\", \"warning\" or \"critical\"; got \"\""),
        (json!({"type": "tcp", "address": "a:1", "status": "passing"}), "checks[0].status", "must be left out"),
        (json!({"type": "ttl", "ttl_ms": 5000, "capability": "a"}), "checks[0].capability", "must be left out"),
        (
            json!({"type": "tcp", "address": "a:1", "capability": "a b"}),
            "checks[0].capability",
            "must be 1 to 63 letters",
        ),
        (json!({"type": "alias"}), "checks[0].service", "must be 1 to 63 letters"),
        (json!({"type": "tcp", "address": "a:1", "interval_ms": 99}), "checks[0].interval_ms", "must be 100 to"),
        (
            json!({"type": "tcp", "address": "a:1", "interval_ms": 1000, "timeout_ms": 1001}),
            "checks[0].timeout_ms",
            "must be at most interval_ms, 1000; got 1001",
        ),
        (json!({"type": "tcp", "address": "a:1", "timeout_ms": -5}), "checks[0].timeout_ms", "got -5"),
        (json!({"type": "tcp", "address": "a:1", "timeout_ms": 30_001}), "checks[0].timeout_ms", "30000"),
        (json!({"type": "http", "url": "http://ann:secret@a:1/"}), "checks[0].url", "without a password"),
        (
            json!({"type": "tcp", "address": "a:1", "failures_before_critical": 11}),
            "checks[0].failures_before_critical",
            "must be 1 to 10",
        ),
        (
            json!({"type": "tcp", "address": "a:1", "successes_before_passing": 0}),
            "checks[0].successes_before_passing",
            "must be 1 to 10",
        ),
        (json!({"id": "a\nb", "type": "tcp", "address": "a:1"}), "checks[0].id", "must be 1 to 200 bytes"),
        (json!({"id": "c".repeat(201), "type": "tcp", "address": "a:1"}), "checks[0].id", "must be 1 to 200 bytes"),
        (json!({"name": "n".repeat(4097), "type": "tcp", "address": "a:1"}), "checks[0].name", "at most 4096 bytes"),
        (json!({"notes": 5, "type": "tcp", "address": "a:1"}), "checks[0].notes", "must be a string"),
        (json!({"type": "tcp", "address": "a:1", "interval": "1s"}), "checks[0].interval", "is not known here"),
    ] {
        check(&with("checks", json!([check_json])), field, rule);
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let body = json!({
        "endpoints": [{"protocol": "http", "host": "a b", "port": 0}],
        "zone": "", "weight": -1, "lease": {"ttl_ms": 1.5},
        "checks": [{"type": "tcp", "address": "x", "timeout_ms": 1}]
    });
    let errors = errors_of(&body.to_string());
    let mut fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    fields.sort_unstable();
    let expected = [
        "checks[0].address",
        "checks[0].timeout_ms",
        "endpoints[0].host",
        "endpoints[0].port",
        "lease.ttl_ms",
        "weight",
        "zone",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn the_report_is_bounded() {
    let tags: Vec<String> = (0..64).map(|_| String::new()).collect();
    assert_eq!(errors_of(&with("tags", json!(tags))).len(), ERRORS_MAX);
    let long = errors_of(&with("zone", json!("z".repeat(1_000_000))));
    assert!(long[0].rule.len() < 300, "the excerpt is cut");
}

#[test]
fn definitions_that_break_a_rule_are_refused() {
    for (body, field, rule) in [
        (json!({"cost": -1}), "cost", "must be a number from 0"),
        (json!({"cost": 0.0000001}), "cost", "at most 6 decimals"),
        (json!({"max_concurrent_requests": 0}), "max_concurrent_requests", "must be 1 to"),
        (json!({"expected_response_time_ms": 1e30}), "expected_response_time_ms", "milliseconds"),
        (json!({"capabilities": ["a b"]}), "capabilities[0]", "must be 1 to 63 letters"),
        (json!({"resources": {"a b": "1"}}), "resources.a b", "key must be 1 to 63 letters"),
        (json!({"docs_url": "docs"}), "docs_url", "must be an absolute http or https URL"),
        (json!({"config_schema": []}), "config_schema", "must be a JSON Schema"),
        (json!({"config_schema": {"title": "x".repeat(262_144)}}), "config_schema", "at most 262144 bytes"),
        (json!({"slow_start_ms": 3_600_001}), "slow_start_ms", "must be 0 to 3600000 milliseconds; got 3600001"),
        (json!({"slow_start_ms": "30s"}), "slow_start_ms", "got \"30s\""),
        (json!({"selection": {"strategy": "best"}}), "selection.strategy", "must be scored, round_robin,"),
        (json!({"selection": {"weights": {"load": -1}}}), "selection.weights.load", "must be a number from 0 to 1000"),
        (
            json!({"selection": {"weights": {"load": "NaN"}}}),
            "selection.weights.load",
            "at most 6 decimals; got \"NaN\"",
        ),
        (json!({"selection": {"weights": {"cost": 1001}}}), "selection.weights.cost", "got 1001"),
        (json!({"selection": {"weights": {"load": 0, "cost": 0}}}), "selection.weights", "must not all be 0"),
        (json!({"selection": {"weights": {}}}), "selection.weights", "must not all be 0"),
        (json!({"selection": {"weights": {"speed": 1}}}), "selection.weights.speed", "is not known here"),
        (json!({"selection": {"weights": [1]}}), "selection.weights", "object"),
        (json!({"selection": {"tie_band": 1.1}}), "selection.tie_band", "must be a number from 0 to 1 with"),
        (json!({"selection": {"tie_band": -0.1}}), "selection.tie_band", "got -0.1"),
        (json!({"selection": {"fail_open": "yes"}}), "selection.fail_open", "must be a number from 0 to 1 with"),
        (json!({"selection": {"subset": 0}}), "selection.subset", "must be 1 to 4294967295 instances; got 0"),
        (json!({"selection": {"dns_ttl_ms": 1_500}}), "selection.dns_ttl_ms", "must be whole seconds, 0 to 86400000"),
        (json!({"selection": {"dns_ttl_ms": 86_401_000}}), "selection.dns_ttl_ms", "got 86401000"),
        (json!({"selection": {"speed": 1}}), "selection.speed", "is not known here"),
        (json!({"selection": []}), "selection", "object"),
        (json!({"ownr": "me"}), "ownr", "is not known here"),
    ] {
        let errors = match decode::from_json::<ServiceDefinition>(body.to_string().as_bytes()) {
            Ok(definition) => definition.into_definition().unwrap_err(),
            Err(DecodeError::Fields(errors)) => errors,
            Err(other) => panic!("{other}"),
        };
        assert_eq!((errors.len(), errors[0].field.as_str()), (1, field), "{errors:?}");
        assert!(errors[0].rule.contains(rule), "{errors:?}");
    }
}

#[test]
fn what_is_not_json_is_an_invalid_body() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_object = format!("{{\"a\":{deep}}}");
    let deep_metadata = format!("{{\"metadata\":{deep}}}");
    for body in [&b""[..], b"{", b"{}}", b"{\"zone\":\"\xff\"}", deep_object.as_bytes(), b"nope", b"{\"a\":NaN}"] {
        let error = decode::from_json::<Value>(body).expect_err("not JSON");
        assert_eq!(
            Problem::from(error).code,
            Code::InvalidBody,
            "{:?}",
            String::from_utf8_lossy(&body[..body.len().min(20)])
        );
    }
    assert!(decode::from_json::<Registration>(deep_metadata.as_bytes()).is_err());
    assert!(decode::document(deep.as_bytes()).is_err());
}

#[test]
fn queries_name_the_parameter() {
    use rollcall_api::query::{Consistency, InstancesQuery};
    let query: InstancesQuery = decode::from_query("tag=a%26b&limit=5&consistency=linearizable").unwrap();
    assert_eq!((query.tag.as_deref(), query.limit), (Some("a&b"), Some(5)));
    assert_eq!(query.consistency, Some(Consistency::Linearizable));
    for (text, field) in [
        ("limit=x", "limit"),
        ("limt=5", "limt"),
        ("consistency=strong", "consistency"),
        ("tag=a&tag=b", "tag"),
        ("limit=5&tag=%ff", "tag"),
    ] {
        let problem = Problem::from(decode::from_query::<InstancesQuery>(text).unwrap_err());
        assert_eq!((problem.code, problem.errors[0].field.as_str()), (Code::InvalidParameter, field), "{problem:?}");
    }
}

fn decode_merge(target: &mut Value, change: &Value) {
    for (name, value) in change.as_object().unwrap() {
        target[name] = value.clone();
    }
}

#[test]
fn an_array_of_its_fields_is_not_taken_for_an_object() {
    for body in [
        r#"[[{"protocol":"http","host":"10.0.0.7","port":80}],"zone"]"#,
        r#"{"endpoints":[["web","http","10.0.0.7",8080]]}"#,
        r#"{"endpoints":[{"protocol":"http","host":"h","port":80}],"lease":[60000]}"#,
        r#"{"endpoints":[{"protocol":"http","host":"h","port":80}],"checks":[["a","tcp"]]}"#,
    ] {
        let refused = decode::from_json::<Registration>(body.as_bytes()).expect_err(body);
        assert!(refused.to_string().contains("must be an object"), "{body}: {refused}");
    }
}
