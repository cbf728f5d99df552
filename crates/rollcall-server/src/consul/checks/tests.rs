//! Which checks are taken, as what, and which are refused.

use rollcall_types::InstanceId;
use serde_json::{Value, json};

use super::*;
use crate::consul::decode::from_json;

fn read(check: &Value) -> Result<CheckDefinition> {
    from_json(check.to_string().as_bytes())
}

fn define(check: &Value) -> Result<Defined> {
    let known = |id: &str| {
        (id == "db-1").then(|| (ServiceName::try_from("db").unwrap(), InstanceId::try_from("db-1").unwrap()))
    };
    read(check)?.define("service:web-1", "Service 'web' check", known)
}

#[track_caller]
fn refused(check: Value, text: &str) {
    let failure = define(&check).expect_err(text);
    assert_eq!(failure.status, 400, "{check}");
    assert!(failure.text.contains(text), "{check}: {}", failure.text);
}

#[test]
fn a_check_of_each_kind_is_taken_with_the_defaults_of_consul() {
    let http = define(&json!({"http": "http://10.0.0.7:8080/health", "interval": "10s"})).unwrap().spec;
    assert_eq!((&*http.id, &*http.name), ("service:web-1", "Service 'web' check"));
    assert_eq!((http.interval, http.timeout), (Millis::new(10_000), Millis::new(10_000)));
    assert_eq!((http.failures_before_critical, http.successes_before_passing), (1, 1));
    assert!(matches!(http.kind, CheckKind::Http { url } if &*url == "http://10.0.0.7:8080/health"));

    let kind = |check: Value| define(&check).unwrap().spec.kind;
    let tcp = kind(json!({"TCP": "[::1]:80", "Interval": "1s"}));
    assert!(matches!(tcp, CheckKind::Tcp { host, port } if (host.as_str(), port.get()) == ("::1", 80)));
    let grpc = kind(json!({"GRPC": "localhost:9000/shop.Cart", "Interval": "1s"}));
    assert!(matches!(grpc, CheckKind::Grpc { service, .. } if &*service == "shop.Cart"));
    let ttl = kind(json!({"ttl": "15s"}));
    assert_eq!(ttl, CheckKind::Ttl { ttl: Millis::new(15_000), initial: Status::Critical });
    let passing = kind(json!({"TTL": 15_000_000_000_u64, "Status": "passing"}));
    assert_eq!(passing, CheckKind::Ttl { ttl: Millis::new(15_000), initial: Status::Passing });
    let alias = kind(json!({"AliasService": "db-1"}));
    assert!(matches!(alias, CheckKind::Alias { instance: Some(id), .. } if &*id == "db-1"));
}

#[test]
fn what_is_said_is_kept() {
    let check = json!({
        "Name": "alive", "Notes": "asks", "HTTP": "http://a/", "Interval": "2.5s", "Timeout": 1_000_000_000,
        "FailuresBeforeCritical": 3, "SuccessBeforePassing": 2, "DeregisterCriticalServiceAfter": "30s", "Header": null,
        "Method": "get", "tls_skip_verify": true
    });
    let Defined { spec, deregister_after } = define(&check).unwrap();
    assert_eq!((&*spec.name, &*spec.notes), ("alive", "asks"));
    assert_eq!((spec.interval, spec.timeout), (Millis::new(2_500), Millis::new(1_000)));
    assert_eq!((spec.failures_before_critical, spec.successes_before_passing), (3, 2));
    assert_eq!(deregister_after, Some(Millis::new(30_000)), "less than the minute of Consul");
}

#[test]
fn times_beyond_the_bounds_are_moved_to_them() {
    let times = |check: Value| {
        let spec = define(&check).unwrap().spec;
        (spec.interval.get(), spec.timeout.get())
    };
    assert_eq!(times(json!({"HTTP": "http://a/", "Interval": "10ms"})), (100, 100));
    assert_eq!(times(json!({"HTTP": "http://a/", "Interval": "5s", "Timeout": "1m"})), (5_000, 5_000));
    assert_eq!(times(json!({"HTTP": "http://a/", "Interval": "1h", "Timeout": "5m"})), (3_600_000, 30_000));
    let ttl = |ttl: &str| define(&json!({"TTL": ttl})).unwrap().spec.kind;
    assert!(matches!(ttl("100ms"), CheckKind::Ttl { ttl, .. } if ttl == LEASE_TTL_MIN));
    let after = |after: &str| define(&json!({"TTL": "1s", "DeregisterCriticalServiceAfter": after})).unwrap();
    assert_eq!(after("1ms").deregister_after, Some(DEREGISTER_AFTER_MIN));
    assert_eq!(after("0s").deregister_after, None);
}

#[test]
fn what_cannot_be_honoured_is_refused_in_words() {
    let with = |field: &str, value: Value| {
        let mut check = json!({"HTTP": "https://a/", "Interval": "10s"});
        check[field] = value;
        check
    };
    refused(json!({"Args": ["/bin/true"], "Interval": "10s"}), "Scripts are disabled on this agent");
    refused(json!({"Script": "/bin/true", "Interval": "10s"}), "Scripts are disabled on this agent");
    refused(json!({"docker_container_id": "x", "shell": "/bin/sh", "Interval": "10s"}), "Scripts are disabled");
    for (field, value) in [
        ("Method", json!("POST")),
        ("Header", json!({"X-Foo": ["bar"]})),
        ("Body", json!("{}")),
        ("DisableRedirects", json!(true)),
        ("TLSSkipVerify", json!(true)),
        ("TLSServerName", json!("b")),
        ("GRPCUseTLS", json!(true)),
        ("TCPUseTLS", json!(true)),
        ("UDP", json!("a:1")),
        ("AliasNode", json!("n1")),
    ] {
        refused(with(field, value), &format!("not supported: {}", if field == "UDP" { "H2PING, UDP" } else { field }));
    }
}

#[test]
fn what_breaks_a_rule_is_refused_in_the_words_of_consul() {
    refused(json!({"Name": "x"}), "Invalid check: TTL must be > 0 for TTL checks");
    refused(json!({"HTTP": "http://a/"}), "Invalid check: Interval must be > 0 for Script");
    refused(json!({"TTL": "1s", "Interval": "1s"}), "Invalid check: Interval and TTL cannot both be specified");
    refused(json!({"AliasService": "db-1", "TTL": "1s"}), "for Alias checks");
    refused(json!({"AliasService": "nobody"}), "AliasService \"nobody\" is not registered");
    refused(json!({"TTL": "1s", "Status": "fine"}), "Bad check status");
    refused(json!({"HTTP": "ftp://a/", "Interval": "1s"}), "Invalid check: HTTP must be an absolute http or https URL");
    refused(json!({"TCP": "a", "Interval": "1s"}), "Invalid check: TCP must be host:port");
    refused(json!({"HTTP": "http://a/", "TCP": "a:1", "Interval": "1s"}), "exclude each other");
    refused(json!({"TTL": "1s", "FailuresBeforeCritical": 11}), "FailuresBeforeCritical must be at most 10");
    refused(json!({"TTL": "soon"}), "TTL: time: invalid duration");
    refused(json!({"TTL": "1s", "Notes": "x".repeat(4_097)}), "Notes must be at most 4096 bytes");
}

#[test]
fn a_check_that_says_nothing_is_none() {
    for check in [json!({}), json!(null), json!({"Name": "", "Interval": null, "Args": null})] {
        assert!(read(&check).unwrap().is_empty(), "{check}");
    }
    assert!(!read(&json!({"TTL": "1s"})).unwrap().is_empty());
}
