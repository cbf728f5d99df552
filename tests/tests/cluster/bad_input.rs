//! Requests that break rules: each is refused with the status, the code and the field, and nothing else happens.

use std::time::Duration;

use rollcall_tests::{Node, SharedCluster, metric, raw, registration};
use serde_json::Value;

/// Longest time until a refusal has arrived.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A request that must be refused.
struct Case {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    /// Path of the field that the refusal names; empty when there is none to name.
    field: &'static str,
}

impl Case {
    fn new(method: &'static str, target: impl Into<String>) -> Self {
        let (status, code, field) = (0, "", "");
        Self { method, target: target.into(), headers: Vec::new(), body: Vec::new(), status, code, field }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// 400: the body cannot be read at all.
    fn unreadable(self) -> Self {
        Self { status: 400, code: "invalid_body", ..self }
    }

    /// 422: `field` of the body breaks a rule.
    fn field(self, field: &'static str) -> Self {
        Self { status: 422, code: "invalid_field", field, ..self }
    }

    /// 400: `field` of the path, the query or the headers breaks a rule.
    fn parameter(self, field: &'static str) -> Self {
        Self { status: 400, code: "invalid_parameter", field, ..self }
    }

    fn refused(self, status: u16, code: &'static str) -> Self {
        Self { status, code, ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || matches!(self.method, "PUT" | "POST" | "PATCH") {
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", self.body.len()));
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }

    fn describe(&self) -> String {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]).into_owned();
        format!("{} {} {:?} {body}", self.method, &self.target[..self.target.len().min(120)], self.headers)
    }

    /// Sends the request and returns what is wrong with the answer.
    async fn check(&self, node: &Node) -> Option<String> {
        let exchange = raw::send(node.options().http, &self.bytes(), ANSWER_LIMIT).await;
        let problem = exchange.json();
        let fields: Vec<&str> =
            problem["errors"].as_array().into_iter().flatten().filter_map(|error| error["field"].as_str()).collect();
        let is_right = exchange.status() == Some(self.status)
            && problem["code"] == self.code
            && problem["status"] == self.status
            && problem["type"] == format!("urn:rollcall:problem:{}", self.code)
            && problem["detail"].as_str().is_some_and(|detail| !detail.is_empty())
            && exchange.header("content-type").as_deref() == Some("application/problem+json")
            && exchange.header("x-request-id").is_some()
            && problem["instance"].as_str() == exchange.header("x-request-id").as_deref()
            && (self.field.is_empty() || fields.contains(&self.field));
        (!is_right).then(|| {
            let expected = format!("{} {} naming {:?}", self.status, self.code, self.field);
            let got = exchange.text();
            format!(
                "{}\n  expected {expected}\n  got {}",
                self.describe(),
                &got[..got.len().min(900)].replace("\r\n", "\n      ")
            )
        })
    }
}

const INSTANCE: &str = "/v1/services/bad/instances/i-1";
const LIST: &str = "/v1/services/bad/instances";
/// A session that nobody opened.
const SESSION: &str = "/v1/sessions/00000000-0000-0000-0000-000000000000";
const ID: &str = "00000000-0000-0000-0000-000000000000";

fn put(body: impl Into<Vec<u8>>) -> Case {
    Case::new("PUT", INSTANCE).body(body)
}

/// A registration with `"name": value` beside its endpoint.
fn with(name: &str, value: &str) -> Case {
    let endpoint = r#"{"protocol":"http","host":"10.0.0.7","port":8080}"#;
    put(format!(r#"{{"endpoints":[{endpoint}],"{name}":{value}}}"#))
}

fn with_port(port: &str) -> Case {
    put(format!(r#"{{"endpoints":[{{"protocol":"http","host":"10.0.0.7","port":{port}}}]}}"#))
}

fn with_host(host: &str) -> Case {
    put(format!(r#"{{"endpoints":[{{"protocol":"http","host":"{host}","port":80}}]}}"#))
}

fn with_check(check: &str) -> Case {
    with("checks", &format!("[{check}]"))
}

fn put_on(target: impl Into<String>) -> Case {
    Case::new("PUT", target).body(registration(8080).to_string())
}

fn get(target: impl Into<String>) -> Case {
    Case::new("GET", target)
}

fn open(body: &str) -> Case {
    Case::new("POST", "/v1/sessions").body(body)
}

fn fire(body: &str) -> Case {
    Case::new("POST", "/v1/events").body(body)
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn unreadable_bodies() -> Vec<Case> {
    vec![
        put("").unreadable(),
        put("{").unreadable(),
        put("not json").unreadable(),
        put(r#"{"endpoints":[]} trailing"#).unreadable(),
        put(b"{\"endpoints\":[],\"zone\":\"\xff\xfe\"}".to_vec()).unreadable(),
        put(b"\xef\xbb\xbf{}".to_vec()).unreadable(),
        put(r#"{"zone":"\ud800"}"#).unreadable(),
        put(r#"{"zone":NaN}"#).unreadable(),
        Case::new("PUT", "/v1/services/bad").body(format!(r#"{{"config_schema":{}}}"#, nested(100_000))).unreadable(),
        with("metadata", &nested(200)).field("metadata"),
        Case::new("PUT", "/v1/services/bad/config").body(nested(500)).unreadable(),
        Case::new("PUT", "/v1/services/bad/config").body(nested(100_000)).unreadable(),
        Case::new("PUT", "/v1/services/bad/config").body("{").unreadable(),
        Case::new("PATCH", INSTANCE).body("{").unreadable(),
        put(vec![b' '; 10 << 20]).refused(413, "body_too_large"),
        put(format!(r#"{{"zone":"{}"}}"#, "x".repeat(10 << 20))).refused(413, "body_too_large"),
        Case::new("PUT", "/v1/kv/bad").body(vec![0; 10 << 20]).refused(413, "body_too_large"),
        Case::new("PUT", "/v1/kv/bad").body(vec![0; 600 << 10]).refused(413, "body_too_large"),
    ]
}

fn bad_fields() -> Vec<Case> {
    let long = "x".repeat(5_000);
    vec![
        put("{}").field("endpoints"),
        put("null").field("."),
        put("[]").field("."),
        put(nested(100_000)).field("."),
        // An object is not the list of its values.
        put(r#"[[["web","http","10.0.0.7",8080]],"a"]"#).field("."),
        put(r#"{"endpoints":[["web","http","10.0.0.7",8080]]}"#).field("endpoints[0]"),
        put("7").field("."),
        put(r#"{"endpoints":[]}"#).field("endpoints"),
        put(r#"{"endpoints":"http"}"#).field("endpoints"),
        put(r#"{"endpoints":[7]}"#).field("endpoints[0]"),
        put(r#"{"endpoints":[{}]}"#).field("endpoints[0].port"),
        put(r#"{"endpoints":[],"endpoints":[]}"#).field("endpoints"),
        with("colour", "1").field("colour"),
        put(r#"{"endpoints":[{"protocol":"http","host":"a","port":1,"prot":"x"}]}"#).field("endpoints[0].prot"),
        with_port("0").field("endpoints[0].port"),
        with_port("65536").field("endpoints[0].port"),
        with_port("-1").field("endpoints[0].port"),
        with_port("80.5").field("endpoints[0].port"),
        with_port("1e999").field("endpoints[0].port"),
        with_port("99999999999999999999999999").field("endpoints[0].port"),
        with_port("\"80\"").field("endpoints[0].port"),
        with_port("null").field("endpoints[0].port"),
        with_port("[80]").field("endpoints[0].port"),
        with_host("").field("endpoints[0].host"),
        with_host("a b").field("endpoints[0].host"),
        with_host("10.0.0.256").field("endpoints[0].host"),
        with_host("[::1]").field("endpoints[0].host"),
        with_host(&"a.".repeat(200)).field("endpoints[0].host"),
        with("zone", "7").field("zone"),
        with("zone", "\"a b\"").field("zone"),
        with("version", "\"1 0\"").field("version"),
        with("tags", "\"blue\"").field("tags"),
        with("tags", "[\"a\",7]").field("tags[1]"),
        with("tags", "[\"a\\u0000b\"]").field("tags[0]"),
        with("tags", &format!("[{}\"z\"]", "\"a\",".repeat(64))).field("tags"),
        with("metadata", "[]").field("metadata"),
        with("metadata", "{\"a\":1}").field("metadata.a"),
        with("metadata", &format!("{{\"a\":\"{long}\"}}")).field("metadata.a"),
        with("weight", "0").field("weight"),
        with("weight", "65536").field("weight"),
        with("weight", "1.5").field("weight"),
        with("lease", "{}").field("lease.ttl_ms"),
        with("lease", "{\"ttl_ms\":-1}").field("lease.ttl_ms"),
        with("lease", "{\"ttl_ms\":999}").field("lease.ttl_ms"),
        with("lease", "{\"ttl_ms\":1e30}").field("lease.ttl_ms"),
        with("lease", "{\"ttl_ms\":\"1s\"}").field("lease.ttl_ms"),
        with("deregister_after_ms", "1").field("deregister_after_ms"),
        with("deregister_after_ms", "-60000").field("deregister_after_ms"),
        with("deregister_after_ms", "18446744073709551616").field("deregister_after_ms"),
        with("checks", "{}").field("checks"),
        with_check(r#"{"type":"psychic"}"#).field("checks[0].type"),
        with_check(r#"{"type":"http"}"#).field("checks[0].url"),
        with_check(r#"{"type":"http","url":"ftp://a/"}"#).field("checks[0].url"),
        with_check(r#"{"type":"http","url":"/health"}"#).field("checks[0].url"),
        with_check(r#"{"type":"tcp","address":"a"}"#).field("checks[0].address"),
        with_check(r#"{"type":"tcp","address":"a:0"}"#).field("checks[0].address"),
        with_check(r#"{"type":"ttl"}"#).field("checks[0].ttl_ms"),
        with_check(r#"{"type":"tcp","address":"a:1","interval_ms":-5}"#).field("checks[0].interval_ms"),
        with_check(r#"{"type":"tcp","address":"a:1","interval_ms":1}"#).field("checks[0].interval_ms"),
        with_check(r#"{"type":"tcp","address":"a:1","interval_ms":1e300}"#).field("checks[0].interval_ms"),
        with_check(r#"{"type":"tcp","address":"a:1","interval_ms":1000,"timeout_ms":2000}"#)
            .field("checks[0].timeout_ms"),
        with_check(r#"{"type":"tcp","address":"a:1","failures_before_critical":0}"#)
            .field("checks[0].failures_before_critical"),
        with_check(r#"{"type":"tcp","address":"a:1"},{"type":"tcp","address":"a:2"}"#).field("checks[1].id"),
        Case::new("PUT", "/v1/services/bad").body(r#"{"cost":-1}"#).field("cost"),
        Case::new("PUT", "/v1/services/bad").body(r#"{"capabilities":["a b"]}"#).field("capabilities[0]"),
        Case::new("PUT", "/v1/services/bad").body(r#"{"config_schema":7}"#).field("config_schema"),
        Case::new("PUT", "/v1/services/bad").body(r#"{"config_schema":{"type":"nonsense"}}"#).field("config_schema"),
        Case::new("PUT", "/v1/services/bad").body(r#"{"docs_url":"nowhere"}"#).field("docs_url"),
        Case::new("PUT", "/v1/services/bad").body(r#"{"price":1}"#).field("price"),
        Case::new("POST", LIST).body(r#"{"endpoints":[]}"#).field("endpoints"),
        open(r#"{"name":7}"#).field("name"),
        open(&format!(r#"{{"name":"{}"}}"#, "n".repeat(513))).field("name"),
        open(r#"{"ttl_ms":9999}"#).field("ttl_ms"),
        open(r#"{"ttl_ms":86400001}"#).field("ttl_ms"),
        open(r#"{"ttl_ms":-1}"#).field("ttl_ms"),
        open(r#"{"ttl_ms":"15s"}"#).field("ttl_ms"),
        open(r#"{"lock_delay_ms":60001}"#).field("lock_delay_ms"),
        open(r#"{"lock_delay_ms":1.5}"#).field("lock_delay_ms"),
        open(r#"{"on_end":"keep"}"#).field("on_end"),
        open(r#"{"node_check":"yes"}"#).field("node_check"),
        open(r#"{"ttl":15000}"#).field("ttl"),
        Case::new("PUT", SESSION).body(r#"{"ttl_ms":15000}"#).field("ttl_ms"),
        fire("{}").field("name"),
        fire(r#"{"name":""}"#).field("name"),
        fire(r#"{"name":"a\u0007"}"#).field("name"),
        fire(&format!(r#"{{"name":"{}"}}"#, "n".repeat(256))).field("name"),
        fire(&format!(r#"{{"name":"a","payload":"{}"}}"#, "p".repeat(513))).field("payload"),
        fire(r#"{"name":"a","payload":{}}"#).field("payload"),
        fire(r#"{"name":"a","payload_base64":"?"}"#).field("payload_base64"),
        fire(r#"{"name":"a","payload":"x","payload_base64":"eA=="}"#).field("payload_base64"),
        fire(r#"{"name":"a","nodes":"n1"}"#).field("nodes"),
        Case::new("POST", "/v1/cluster/transfer-leader").body(r#"{"to":5}"#).field("to"),
        Case::new("POST", "/v1/cluster/transfer-leader").body(r#"{"towards":"n1"}"#).field("towards"),
    ]
}

fn bad_parameters() -> Vec<Case> {
    vec![
        put_on("/v1/services/a%20b/instances/i-1").parameter("service"),
        put_on("/v1/services/a.b/instances/i-1").parameter("service"),
        put_on("/v1/services/na%C3%AFve/instances/i-1").parameter("service"),
        put_on(format!("/v1/services/{}/instances/i-1", "s".repeat(64))).parameter("service"),
        put_on(format!("/v1/services/bad/instances/{}", "i".repeat(129))).parameter("id"),
        put_on("/v1/services/bad/instances/a%0Ab").parameter("id"),
        put_on("/v1/services/bad/instances/a%00b").parameter("id"),
        put_on("/v1/services/bad/instances/%FF%FE").parameter("path"),
        put_on("/v1/services/%zz/instances/i-1").parameter("service"),
        Case::new("PUT", format!("/v1/kv/{}", "k".repeat(513))).body("x").parameter("key"),
        Case::new("PUT", "/v1/kv/bad?acquire=me").body("x").parameter("acquire"),
        Case::new("PUT", "/v1/kv/bad?release=").body("x").parameter("release"),
        Case::new("PUT", format!("/v1/kv/bad?acquire={ID}&release={ID}")).body("x").parameter("release"),
        Case::new("PUT", format!("/v1/kv/bad?acquire={ID}")).header("If-Match", "\"1\"").parameter("If-Match"),
        Case::new("PUT", format!("/v1/kv/bad?release={ID}")).header("If-None-Match", "*").parameter("If-None-Match"),
        Case::new("PUT", "/v1/kv/bad?cas=1").body("x").parameter("cas"),
        Case::new("DELETE", "/v1/kv/bad?cas=1").parameter("cas"),
        Case::new("DELETE", format!("{INSTANCE}?if=1")).parameter("if"),
        Case::new("DELETE", format!("{INSTANCE}?reason={}", "r".repeat(4_097))).parameter("reason"),
        put_on(format!("{INSTANCE}?dry_run=1")).parameter("dry_run"),
        get(format!("{LIST}?tag=%FF")).parameter("tag"),
        get(format!("/v1/kv?prefix={}", "k".repeat(513))).parameter("prefix"),
        get("/v1/kv?limit=0").parameter("limit"),
        get("/v1/kv?cursor=x").parameter("cursor"),
        get("/v1/sessions?limit=10001").parameter("limit"),
        get("/v1/sessions?cursor=1.x").parameter("cursor"),
        get("/v1/sessions/me").parameter("id"),
        Case::new("PUT", "/v1/sessions/me").parameter("id"),
        Case::new("DELETE", "/v1/sessions/me").parameter("id"),
        get("/v1/events?tag=x").parameter("tag"),
        get("/v1/capabilities/a%20b/instances").parameter("capability"),
        get(format!("{LIST}?colour=1")).parameter("colour"),
        get("/v1/services?limit=0").parameter("limit"),
        get(format!("{LIST}?limit=-1")).parameter("limit"),
        get(format!("{LIST}?limit=many")).parameter("limit"),
        get("/v1/services?limit=10001").parameter("limit"),
        get(format!("{LIST}?limit=99999999999999999999")).parameter("limit"),
        get(format!("{LIST}?cursor=nowhere")).parameter("cursor"),
        get(format!("{LIST}?cursor=1.%25ff")).parameter("cursor"),
        get(format!("{LIST}?consistency=maybe")).parameter("consistency"),
        get(format!("{LIST}?min_revision=-1")).parameter("min_revision"),
        get(format!("{LIST}?min_revision=1.5")).parameter("min_revision"),
        get(format!("{LIST}?health=good")).parameter("health"),
        get(format!("{LIST}?zone=a%20b")).parameter("zone"),
        get(format!("{LIST}?since=1&wait=999h")).parameter("wait"),
        get(format!("{LIST}?since=1&wait=-5s")).parameter("wait"),
        get(format!("{LIST}?since=1&limit=5")).parameter("limit"),
        get("/v1/services?tag=").parameter("tag"),
        get("/v1/watch?since=x").parameter("since"),
        get("/v1/watch?service=a.b").parameter("service"),
        get("/v1/watch").header("Last-Event-ID", "x").parameter("Last-Event-ID"),
        get("/v1/history?from=yesterday").parameter("from"),
        get("/v1/history?to=2026-02-30T00:00:00Z").parameter("to"),
        put_on(INSTANCE).header("If-Match", "41").parameter("If-Match"),
        put_on(INSTANCE).header("If-Match", "\"x\"").parameter("If-Match"),
        put_on(INSTANCE).header("If-None-Match", "\"41\"").parameter("If-None-Match"),
        put_on(INSTANCE).header("If-Match", "*").header("If-None-Match", "*").parameter("If-Match"),
        put_on(INSTANCE).header("Idempotency-Key", "").parameter("idempotency-key"),
        put_on(INSTANCE).header("Idempotency-Key", "k".repeat(129)).parameter("idempotency-key"),
        put_on(INSTANCE).header("X-Rollcall-Client", "c").parameter("x-rollcall-sequence"),
        put_on(INSTANCE)
            .header("X-Rollcall-Client", "c")
            .header("X-Rollcall-Sequence", "0")
            .parameter("x-rollcall-sequence"),
        put_on(INSTANCE)
            .header("X-Rollcall-Client", "c")
            .header("X-Rollcall-Sequence", "-1")
            .parameter("x-rollcall-sequence"),
        put_on(INSTANCE).header("X-Rollcall-Actor", "a".repeat(129)).parameter("x-rollcall-actor"),
    ]
}

fn nowhere() -> Vec<Case> {
    vec![
        get("/").refused(404, "not_found"),
        get("/v1").refused(404, "not_found"),
        get("/v1/nothing").refused(404, "not_found"),
        get("/v2/services").refused(404, "not_found"),
        get("/v1/services/../../etc/passwd").refused(404, "not_found"),
        get("//v1/services").refused(404, "not_found"),
        Case::new("POST", "/v1/services/a/b/c/d").refused(404, "not_found"),
        Case::new("DELETE", "/v1/services").refused(405, "method_not_allowed"),
        Case::new("POST", INSTANCE).body("{}").refused(405, "method_not_allowed"),
        Case::new("PATCH", LIST).body("{}").refused(405, "method_not_allowed"),
        Case::new("PUT", "/livez").body("{}").refused(405, "method_not_allowed"),
        Case::new("BREW", "/v1/services").refused(405, "method_not_allowed"),
        get("/v1/services/no-such").refused(404, "service_not_found"),
        get("/v1/services/no-such/instances").refused(404, "service_not_found"),
        get("/v1/services/no-such/instances/i-1").refused(404, "service_not_found"),
        get("/v1/services/no-such/config").refused(404, "service_not_found"),
        get("/v1/kv/no-such").refused(404, "key_not_found"),
        get(SESSION).refused(404, "session_not_found"),
        Case::new("PUT", SESSION).refused(404, "session_not_found"),
        Case::new("PUT", format!("/v1/kv/bad?acquire={ID}")).body("x").refused(404, "session_not_found"),
        Case::new("PUT", format!("/v1/kv/bad?release={ID}")).body("x").refused(404, "session_not_found"),
        Case::new("PATCH", "/v1/services/no-such/instances/i-1").body("{}").refused(404, "service_not_found"),
        Case::new("DELETE", "/v1/cluster/members/no-such").refused(404, "member_not_found"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_is_refused_with_its_code_and_its_field_and_changes_nothing() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let before = metric(&node.metrics().await, "rollcall_http_requests_total", &["status=\"5xx\""]);
    let mut cases = unreadable_bodies();
    cases.extend(bad_fields());
    cases.extend(bad_parameters());
    cases.extend(nowhere());
    let mut wrong = Vec::new();
    for case in &cases {
        wrong.extend(case.check(node).await);
    }
    assert!(wrong.is_empty(), "{} of {} bad requests:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let service = node.get("/v1/services/bad?consistency=linearizable").answer().await;
    assert_eq!(service.status, 404, "nothing was written: {}", service.text());
    node.register("good", "i-1", &registration(8080)).await.expect(201);
    assert!(node.is_running());
    assert!(!node.log().contains("panicked"), "{}", node.log_tail(40));
    let after = metric(&node.metrics().await, "rollcall_http_requests_total", &["status=\"5xx\""]);
    assert_eq!(after, before, "a bad request is never the node's fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_broken_rules_of_a_request_are_named_at_once() {
    let cluster = SharedCluster::get().await;
    let body = r#"{"endpoints":[{"protocol":"","host":"a b","port":0}],"zone":"a b","weight":0,"lease":{"ttl_ms":-1}}"#;
    let target = "/v1/services/bad/instances/i-1";
    let call = cluster.node(1).put(target).header("Content-Type", "application/json").body(body);
    let answer = call.answer().await.expect(422);
    let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
    let fields: Vec<&str> = errors.iter().filter_map(|error| error["field"].as_str()).collect();
    for field in ["endpoints[0].protocol", "endpoints[0].host", "endpoints[0].port", "zone", "weight", "lease.ttl_ms"] {
        assert!(fields.contains(&field), "{field} in {fields:?}");
    }
    assert!(
        errors.iter().all(|error| error["rule"].as_str().is_some_and(|rule| rule.starts_with("must "))),
        "{errors:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_closed_with_a_4xx_and_harms_nobody() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    let long_header = format!("GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(256 << 10));
    let many_headers = format!("GET /livez HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(5_000));
    let both_lengths = concat!(
        "PUT /v1/kv/smuggling HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\n\r\nPUT /v1/kv/smuggled-behind HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    );
    let two_lengths = "PUT /v1/kv/smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
    let attacks: [(&str, Vec<u8>); 7] = [
        ("noise", vec![0x9f; 1_000]),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20)),
        ("HTTP/2 without a reason", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("no version", b"GET /livez\r\n\r\n".to_vec()),
        ("a long header", long_header.into_bytes()),
        ("many headers", many_headers.into_bytes()),
        ("two lengths", two_lengths.as_bytes().to_vec()),
    ];
    for (name, bytes) in attacks {
        let exchange = raw::send(node.options().http, &bytes, ANSWER_LIMIT).await;
        assert!(exchange.closed_after.is_some(), "{name} is still open: {}", exchange.text());
        let status = exchange.status();
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{name}: {}", exchange.text());
    }
    let smuggled = node.get("/v1/kv/smuggled?consistency=linearizable").answer().await;
    assert_eq!(smuggled.status, 404, "{}", smuggled.text());

    // A length beside chunks: refused, or read by its chunks, and the connection closed (RFC 9112 §6.1), so that what
    // follows is never taken for a request.
    let exchange = raw::send(node.options().http, both_lengths.as_bytes(), ANSWER_LIMIT).await;
    assert!(exchange.closed_after.is_some(), "{}", exchange.text());
    assert!(exchange.text().matches("HTTP/1.1 ").count() <= 1, "{}", exchange.text());
    let smuggled = node.get("/v1/kv/smuggled-behind?consistency=linearizable").answer().await;
    assert_eq!(smuggled.status, 404, "{}", smuggled.text());
    assert!(node.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_cannot_change_anything() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let path = "/v1/services/cross-origin/instances/i-1";
    let refused = node.put(path).header("Origin", "http://evil.example").json(&registration(1)).answer().await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_ne!(refused.json()["code"], Value::Null);
    node.get(&format!("{path}?consistency=linearizable")).answer().await.expect(404);
    let own = format!("http://127.0.0.1:{}", node.options().http);
    node.put(path).header("Origin", own).json(&registration(1)).answer().await.expect(201);
    // A name of theirs that resolves to this node makes their page one of this origin, by name.
    let rebound = node.get(path).header("Host", "evil.example").header("Sec-Fetch-Site", "same-origin");
    rebound.answer().await.expect(403);
}
