//! What each body looks like on the wire.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use proptest::prelude::*;
use rollcall_api::{
    Change, Code, ConfigDocument, Definition, DefinitionRef, Document, Forecast, HistoryRecord, Instance, InstanceRef,
    KnownHealth, List, Overlay, Overlays, Problem, Progress, Registration, Service, ServiceDefinition, SnapshotPart,
    State, StateChange, StateChanges, Trend, WarmUp, WatchEvent, WriteReply, decode,
};
use rollcall_types::{
    ActorName, InstanceId, InstanceSpec, JsonText, Lifecycle, Millis, Revision, ServiceName, Status, StatusCause, Text,
    UnixMillis,
};
use serde::Serialize;
use serde_json::{Value, json};

fn full_registration() -> Value {
    json!({
        "endpoints": [
            {"name": "http", "protocol": "http", "host": "10.0.0.7", "port": 8080},
            {"name": "admin", "protocol": "h2c", "host": "::1", "port": 1}
        ],
        "zone": "a", "region": "eu", "version": "1.4.2",
        "tags": ["api", "v1"], "metadata": {"team": "core"}, "weight": 7,
        "lease": {"ttl_ms": 60_000},
        "checks": [
            {"id": "http", "type": "http", "url": "http://10.0.0.7:8080/health", "interval_ms": 10_000, "timeout_ms": 2_000,
             "failures_before_critical": 3, "successes_before_passing": 2},
            {"id": "tcp6", "type": "tcp", "address": "[::1]:1", "interval_ms": 500, "timeout_ms": 500,
             "failures_before_critical": 1, "successes_before_passing": 1},
            {"id": "grpc", "type": "grpc", "address": "web-1.internal:9000", "service": "shop.Cart", "interval_ms": 10_000,
             "timeout_ms": 2_000, "failures_before_critical": 3, "successes_before_passing": 2},
            {"id": "print", "type": "tcp", "capability": "print", "address": "10.0.0.7:9100", "interval_ms": 10_000,
             "timeout_ms": 2_000, "failures_before_critical": 3, "successes_before_passing": 2},
            {"id": "service:web-1 beat", "name": "Heart beat", "notes": "every minute", "type": "ttl", "ttl_ms": 30_000, "failures_before_critical": 3, "successes_before_passing": 2},
            {"id": "db", "type": "alias", "service": "db", "instance": "db/1#a", "failures_before_critical": 3,
             "successes_before_passing": 2},
            {"id": "cold", "type": "ttl", "ttl_ms": 30_000, "status": "critical", "failures_before_critical": 3,
             "successes_before_passing": 2},
            {"id": "seen", "type": "fixed", "status": "warning", "failures_before_critical": 3, "successes_before_passing": 2}
        ],
        "deregister_after_ms": 60_000
    })
}

fn spec_of(json: &Value) -> InstanceSpec {
    decode::from_json::<Registration>(json.to_string().as_bytes()).unwrap().into_spec().unwrap()
}

/// `InstanceRef` of `spec` as JSON.
fn written(spec: &InstanceSpec, lifecycle: &Lifecycle) -> Value {
    written_at(spec, lifecycle, None)
}

/// `InstanceRef` of `spec` as JSON, read at this time.
fn written_at(spec: &InstanceSpec, lifecycle: &Lifecycle, at: Option<UnixMillis>) -> Value {
    let health = KnownHealth::journaled(Status::Unknown, StatusCause::Unseen, UnixMillis::new(1_000));
    written_with(spec, lifecycle, health, at)
}

/// `InstanceRef` of `spec` as JSON, with this health, read at this time.
fn written_with(spec: &InstanceSpec, lifecycle: &Lifecycle, health: KnownHealth, at: Option<UnixMillis>) -> Value {
    let (service, id) = (ServiceName::try_from("web").unwrap(), InstanceId::try_from("web/1").unwrap());
    let actor = ActorName::try_from("deploy").unwrap();
    serde_json::to_value(InstanceRef {
        service: &service,
        id: &id,
        spec,
        lifecycle,
        health,
        at,
        registered_at: UnixMillis::new(1_000),
        modified_at: UnixMillis::new(2_500),
        registered_by: &actor,
        created_revision: Revision::new(4),
        revision: Revision::new(9),
    })
    .unwrap()
}

#[test]
fn a_registration_is_read_and_written_unchanged() {
    let spec = spec_of(&full_registration());
    assert_eq!(serde_json::to_value(Registration::from(&spec)).unwrap(), full_registration());
}

#[test]
fn what_a_registration_leaves_out_is_defaulted() {
    let minimal = json!({
        "endpoints": [{"protocol": "http", "host": "a", "port": 80}],
        "tags": null, "metadata": null, "checks": [{"type": "tcp", "address": "a:80", "interval_ms": 1000}], "lease": null
    });
    let expected = json!({
        "endpoints": [{"name": "http", "protocol": "http", "host": "a", "port": 80}],
        "weight": 1,
        "checks": [{"id": "tcp", "type": "tcp", "address": "a:80", "interval_ms": 1000, "timeout_ms": 1000,
                    "failures_before_critical": 3, "successes_before_passing": 2}]
    });
    assert_eq!(serde_json::to_value(Registration::from(&spec_of(&minimal))).unwrap(), expected);
}

#[test]
fn an_instance_adds_what_the_cluster_knows() {
    let mut expected = full_registration();
    for (name, value) in json!({
        "service": "web", "id": "web/1", "lifecycle": {"state": "active"}, "state": "unknown",
        "since": "1970-01-01T00:00:01.000Z", "cause": "unseen", "score": null, "trend": "unknown", "forecast": null,
        "overlays": [], "looking": null, "failing": null,
        "registered_at": "1970-01-01T00:00:01.000Z", "modified_at": "1970-01-01T00:00:02.500Z",
        "registered_by": "deploy", "created_revision": 4, "revision": 9
    })
    .as_object()
    .unwrap()
    {
        expected[name] = value.clone();
    }
    assert_eq!(written(&spec_of(&full_registration()), &Lifecycle::Active), expected);
}

#[test]
fn an_instance_is_read_by_clients_as_it_is_written() {
    let reason = Text::try_from("deploy 12").unwrap();
    let minimal = json!({"endpoints": [{"protocol": "http", "host": "a", "port": 80}]});
    for (lifecycle, expected) in [
        (Lifecycle::Active, json!({"state": "active"})),
        (
            Lifecycle::Draining { deadline: None, reason: reason.clone() },
            json!({"state": "draining", "reason": "deploy 12"}),
        ),
        (
            Lifecycle::Draining { deadline: Some(UnixMillis::new(5)), reason: reason.clone() },
            json!({"state": "draining", "deadline": "1970-01-01T00:00:00.005Z", "reason": "deploy 12"}),
        ),
        (
            Lifecycle::Quarantined { until: UnixMillis::new(6), reason },
            json!({"state": "quarantined", "until": "1970-01-01T00:00:00.006Z", "reason": "deploy 12"}),
        ),
    ] {
        for registration in [&full_registration(), &minimal] {
            let json = written(&spec_of(registration), &lifecycle);
            assert_eq!(json["lifecycle"], expected);
            let read: Instance = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), json);
        }
    }
}

#[test]
fn what_an_operator_decided_is_shown_as_it_holds_when_it_is_read() {
    let spec = spec_of(&json!({"endpoints": [{"protocol": "http", "host": "a", "port": 80}]}));
    let reason = Text::try_from("deploy 12").unwrap();
    let (early, late) = (UnixMillis::new(5), UnixMillis::new(6));
    let quarantined = Lifecycle::Quarantined { until: late, reason: reason.clone() };
    let shown = |lifecycle: &Lifecycle, at| written_at(&spec, lifecycle, at)["lifecycle"].clone();
    assert_eq!(shown(&quarantined, Some(early))["state"], "quarantined");
    assert_eq!(shown(&quarantined, Some(late)), json!({"state": "active"}));
    assert_eq!(shown(&quarantined, None)["state"], "quarantined", "a frame shows what was decided");
    let draining = Lifecycle::Draining { deadline: Some(late), reason };
    assert_eq!(shown(&draining, Some(early)).get("deadline_passed"), None);
    assert_eq!(shown(&draining, Some(late))["deadline_passed"], true);
    assert_eq!(shown(&draining, None).get("deadline_passed"), None);
    let read: Instance = serde_json::from_value(written_at(&spec, &draining, Some(late))).unwrap();
    assert_eq!(serde_json::to_value(read.lifecycle).unwrap(), shown(&draining, Some(late)));
}

#[test]
fn an_instance_shows_what_is_known_of_its_health() {
    let spec = spec_of(&json!({"endpoints": [{"protocol": "http", "host": "a", "port": 80}]}));
    let forecast = Forecast { time_to_failure_ms: Some(120_000), confidence: Some(0.75), ..Forecast::default() };
    let until = UnixMillis::new(9_000).into();
    let health = KnownHealth {
        score: Some(61.0 / 63.0),
        trend: Trend::Degrading,
        forecast: Some(forecast),
        overlays: Overlays::default().with(Overlay::Warming),
        warm_up: Some(WarmUp { share: 0.55, until }),
        observers: Some((2, 1)),
        ..KnownHealth::journaled(Status::Warning, StatusCause::Path, UnixMillis::new(3_000))
    };
    let draining = Lifecycle::Draining { deadline: None, reason: Text::default() };
    let json = written_with(&spec, &draining, health, Some(UnixMillis::new(5_000)));
    for (name, value) in json!({
        "state": "warning", "since": "1970-01-01T00:00:03.000Z", "cause": "path", "score": 0.968, "trend": "degrading",
        "forecast": {"time_to_failure_ms": 120_000, "confidence": 0.75}, "overlays": ["draining", "warming"],
        "warm_up": {"share": 0.55, "until": "1970-01-01T00:00:09.000Z"}, "looking": 2, "failing": 1
    })
    .as_object()
    .unwrap()
    {
        assert_eq!(&json[name], value, "{name}");
    }
    let read: Instance = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), json);
}

#[test]
fn an_instance_names_each_capability_that_does_not_work_once() {
    let check = |id: &str, capability: Option<&str>| {
        let mut check = json!({"id": id, "type": "tcp", "address": "a:1"});
        if let Some(capability) = capability {
            check["capability"] = json!(capability);
        }
        check
    };
    let checks = [check("1", None), check("2", Some("scan")), check("3", Some("print")), check("4", Some("scan"))];
    let spec = spec_of(&json!({"endpoints": [{"protocol": "http", "host": "a", "port": 80}], "checks": checks}));
    let down = |failed_checks| {
        let known = KnownHealth::journaled(Status::Warning, StatusCause::Observed, UnixMillis::new(1));
        let json = written_with(&spec, &Lifecycle::Active, KnownHealth { failed_checks, ..known }, None);
        serde_json::from_value::<Instance>(json).unwrap().capabilities_down
    };
    assert_eq!(down(0b1110), ["scan", "print"]);
    assert_eq!(down(0b1000), ["scan"]);
    assert_eq!(down(0b1111_0000_0000_0001), [""; 0], "of no check, and of one of the whole instance");
}

#[test]
fn a_client_reads_answers_of_a_newer_server() {
    let mut json = written(&spec_of(&full_registration()), &Lifecycle::Active);
    json["luck"] = json!(0.97);
    json["overlays"] = json!(["glowing"]);
    json["trend"] = json!("sideways");
    json["state"] = json!("glowing");
    json["endpoints"][0]["alpn"] = json!("h3");
    assert!(serde_json::from_value::<Instance>(json).is_ok());
    let problem = json!({"type": "urn:x", "title": "t", "status": 418, "code": "teapot", "brew": true});
    assert_eq!(serde_json::from_value::<Problem>(problem).unwrap().code, Code::Unrecognized);
}

#[test]
fn a_service_shows_its_definition() {
    let body = json!({
        "version": "2", "description": "answers questions", "capabilities": ["analyse"], "required_capabilities": ["scrape"],
        "expected_response_time_ms": 250, "max_concurrent_requests": 8, "resources": {"memory": "2Gi"}, "cost": 0.0025,
        "tags": ["agents"], "owner": "data team", "docs_url": "https://docs.example/analyst",
        "config_schema": {"type": "object"}, "slow_start_ms": 30_000,
        "selection": {
            "strategy": "p2c_ewma",
            "weights": {"load": 3, "performance": 0.5, "proximity": 0, "specialization": 0.000_001, "cost": 1000},
            "tie_band": 0.05, "fail_open": 0.3, "subset": 20, "dns_ttl_ms": 5_000
        }
    });
    let request: ServiceDefinition = decode::from_json(body.to_string().as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&request).unwrap(), body, "a request is written as it is read");
    let definition = request.into_definition().unwrap();
    assert_eq!(definition.cost_micros, Some(2_500));
    assert_eq!(definition.slow_start, Some(Millis::new(30_000)));
    let service = Service {
        name: "data_analyst".into(),
        definition: Some(DefinitionRef(&definition)),
        instance_count: 3,
        config_version: None,
        created_revision: 1,
        revision: 8,
    };
    let text = serde_json::to_string(&service).unwrap();
    let expected = json!({
        "name": "data_analyst", "definition": body, "instance_count": 3, "config_version": null, "created_revision": 1,
        "revision": 8
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    let read: Service<Definition> = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

#[test]
fn a_configuration_document_keeps_its_text() {
    let text = r#"{"z": 1, "a": 100000000000000000000000000000001}"#;
    let kept: JsonText = decode::document(format!(" {text}\n").as_bytes()).unwrap();
    let document = ConfigDocument {
        service: "web".into(),
        version: 2,
        revision: 7,
        modified_at: UnixMillis::new(0).into(),
        modified_by: "me".into(),
        document: Document::try_from(&kept).unwrap(),
    };
    let expected = format!(
        r#"{{"service":"web","version":2,"revision":7,"modified_at":"1970-01-01T00:00:00.000Z","modified_by":"me","document":{text}}}"#
    );
    assert_eq!(serde_json::to_string(&document).unwrap(), expected);
    assert_eq!(serde_json::from_str::<ConfigDocument>(&expected).unwrap(), document);
}

#[track_caller]
fn check(body: impl Serialize, expected: Value) {
    assert_eq!(serde_json::to_value(body).unwrap(), expected);
}

#[test]
fn envelopes_are_small() {
    check(
        List { items: vec![1], revision: 5, next_cursor: None },
        json!({"items": [1], "revision": 5, "next_cursor": null}),
    );
    let removed = WriteReply { revision: 5, existed: Some(false), ..WriteReply::default() };
    check(removed, json!({"revision": 5, "existed": false}));
}

#[test]
fn a_problem_is_rfc_9457() {
    let problem = Problem::new(Code::NoQuorum, "1 of 3 voters answers")
        .with_request_id("r-1")
        .with_retry_after_ms(1_200)
        .with_leader(None);
    assert_eq!(problem.retry_after_seconds(), Some(2));
    check(
        problem,
        json!({
            "type": "urn:rollcall:problem:no_quorum", "title": "No quorum", "status": 503, "detail": "1 of 3 voters answers",
            "instance": "r-1", "code": "no_quorum", "retry_after_ms": 1200
        }),
    );
}

#[test]
fn codes_are_distinct_and_read_back() {
    let mut seen = std::collections::BTreeSet::new();
    for code in Code::ALL {
        assert!(seen.insert(code.as_str()), "{code:?}");
        let json = serde_json::to_value(code).unwrap();
        assert_eq!(json, code.as_str());
        assert_eq!(serde_json::from_value::<Code>(json).unwrap(), *code);
        assert!(code.status().is_client_error() || code.status().is_server_error());
    }
}

#[test]
fn frames_are_self_describing_server_sent_events() {
    let delete: WatchEvent = WatchEvent::Delete(Change {
        revision: 8,
        at: UnixMillis::new(0).into(),
        service: "web".into(),
        instance: None,
        id: Some("a\nb".into()),
        version: None,
        cause: "deregistered".into(),
        actor: "me".into(),
    });
    let expected = concat!(
        "event: delete\nid: 8\ndata: {\"event\":\"delete\",\"revision\":8,\"at\":\"1970-01-01T00:00:00.000Z\",",
        "\"service\":\"web\",\"id\":\"a\\nb\",\"cause\":\"deregistered\",\"actor\":\"me\"}\n\n"
    );
    assert_eq!(delete.to_sse().unwrap(), expected);
    let bookmark: WatchEvent = WatchEvent::Bookmark(Progress { revision: 9 });
    assert_eq!(bookmark.to_sse().unwrap(), "event: bookmark\nid: 9\ndata: {\"event\":\"bookmark\",\"revision\":9}\n\n");
}

#[test]
fn transitions_are_one_frame_that_can_be_resumed_from() {
    let at = UnixMillis::new(1_000).into();
    let state: WatchEvent = WatchEvent::State(StateChanges {
        revision: 8,
        at,
        items: vec![StateChange {
            service: "web".into(),
            id: "a".into(),
            from: State::Passing,
            state: State::Critical,
            cause: "confirmed".into(),
            since: at,
        }],
    });
    let data = concat!(
        "{\"event\":\"state\",\"revision\":8,\"at\":\"1970-01-01T00:00:01.000Z\",\"items\":[{\"service\":\"web\",\"id\":\"a\",",
        "\"from\":\"passing\",\"state\":\"critical\",\"cause\":\"confirmed\",\"since\":\"1970-01-01T00:00:01.000Z\"}]}"
    );
    assert_eq!(state.to_sse().unwrap(), format!("event: state\nid: 8\ndata: {data}\n\n"));
    assert_eq!(serde_json::from_str::<WatchEvent>(data).unwrap(), state);
    assert_eq!(state.resume_from(), Some(8));
}

#[test]
fn a_history_record_of_a_node_that_knows_no_states_reads() {
    let record = json!({ "revision": 1, "at": "1970-01-01T00:00:01.000Z", "actor": "me", "via": "n1", "service": "web",
                         "instance": null, "action": "defined", "cause": null });
    let read: HistoryRecord = serde_json::from_value(record.clone()).unwrap();
    assert_eq!((read.from, read.state), (None, None));
    assert_eq!(serde_json::to_value(&read).unwrap(), record, "and only a record of a state has them");
}

#[test]
fn only_the_last_part_of_a_snapshot_can_be_resumed_from() {
    let part = |part, last| WatchEvent::<Instance>::Snapshot(SnapshotPart { revision: 3, items: vec![], part, last });
    assert_eq!((part(0, false).resume_from(), part(1, true).resume_from()), (None, Some(3)));
    assert!(!part(0, false).to_sse().unwrap().contains("id:"));
}

#[test]
fn a_put_frame_carries_the_instance() {
    let instance: Instance =
        serde_json::from_value(written(&spec_of(&full_registration()), &Lifecycle::Active)).unwrap();
    let put = WatchEvent::Put(Change {
        revision: 9,
        at: UnixMillis::new(0).into(),
        service: "web".into(),
        instance: Some(instance),
        id: Some("web/1".into()),
        version: None,
        cause: "registered".into(),
        actor: "me".into(),
    });
    let json = serde_json::to_string(&put).unwrap();
    assert_eq!(serde_json::from_str::<WatchEvent>(&json).unwrap(), put);
}

prop_compose! {
    fn any_check()(
        id in "[a-z]{1,8}", kind in 0..5u8, port in 1..=u16::MAX, interval in 100..86_400_000u64, timeout in 100..=30_000u64,
        failures in 1..=10u8, successes in 1..=10u8, v6 in any::<bool>(), named in any::<bool>(),
    ) -> Value {
        let address = format!("{}:{port}", if v6 { "[fe80::1]" } else { "db.internal" });
        let mut check = match kind {
            0 => json!({"type": "http", "url": format!("https://{address}/?q=1")}),
            1 => json!({"type": "tcp", "address": address}),
            2 if named => json!({"type": "grpc", "address": address, "service": "a.B"}),
            2 => json!({"type": "grpc", "address": address}),
            3 => json!({"type": "ttl", "ttl_ms": interval.max(1_000)}),
            _ if named => json!({"type": "alias", "service": "db", "instance": id}),
            _ => json!({"type": "alias", "service": "db"}),
        };
        if kind < 3 {
            check["interval_ms"] = json!(interval);
            check["timeout_ms"] = json!(timeout.min(interval));
        }
        check["id"] = json!(id);
        check["failures_before_critical"] = json!(failures);
        check["successes_before_passing"] = json!(successes);
        check
    }
}

prop_compose! {
    fn any_registration()(
        ports in prop::collection::vec(1..=u16::MAX, 1..16), zone in prop::option::of("[a-z.:/]{1,63}"),
        tags in prop::collection::btree_set("[^\\p{Cc}]{1,20}", 0..8),
        metadata in prop::collection::btree_map("[^\\p{Cc}]{1,20}", ".{0,40}", 0..8),
        weight in 1..=u16::MAX, lease in prop::option::of(1_000..=86_400_000u64),
        checks in prop::collection::vec(any_check(), 0..6), after in prop::option::of(10_000..31_536_000_000u64),
    ) -> Value {
        let endpoints: Vec<Value> = ports
            .iter()
            .enumerate()
            .map(|(n, port)| json!({"name": format!("e{n}"), "protocol": "http", "host": "10.0.0.7", "port": port}))
            .collect();
        let mut ids = std::collections::BTreeSet::new();
        let checks: Vec<&Value> = checks.iter().filter(|check| ids.insert(check["id"].to_string())).collect();
        json!({
            "endpoints": endpoints, "zone": zone, "tags": tags, "metadata": metadata, "weight": weight,
            "lease": lease.map(|ttl| json!({"ttl_ms": ttl})), "checks": checks, "deregister_after_ms": after
        })
    }
}

proptest! {
    #[test]
    fn a_registration_survives_the_way_to_a_spec_and_back(json in any_registration()) {
        let spec = spec_of(&json);
        let registration = Registration::from(&spec);
        prop_assert_eq!(registration.clone().into_spec().unwrap(), spec.clone());
        let rewritten: Registration = serde_json::from_value(serde_json::to_value(&registration).unwrap()).unwrap();
        prop_assert_eq!(&rewritten, &registration);
        let instance = written(&spec, &Lifecycle::Active);
        let read: Instance = serde_json::from_value(instance.clone()).unwrap();
        prop_assert_eq!(serde_json::to_value(read).unwrap(), instance);
    }

    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(registration) = decode::from_json::<Registration>(&body) {
            let _ = registration.into_spec();
        }
    }
}
