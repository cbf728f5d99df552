//! Traces that nodes export, as a collector gets them.

mod collector;

use std::time::{Duration, Instant};

use http::Method;
use rollcall_tests::{Call, Cluster, DEADLINE, free_port, metric, registration, rollcall, wait_until};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use self::collector::Collector;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: [u8; 8] = [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];

/// `call` as a part of the trace, which its caller records or not.
fn traced(call: Call, flags: &str) -> Call {
    call.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-{flags}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_shows_the_caller_the_follower_and_the_leader() {
    let collector = Collector::start().await;
    // Callers alone decide.
    let cluster = Cluster::of(3).argument(&collector.argument()).argument("--traces-ratio=0").start().await;
    let leader = cluster.leader().await;
    let follower = cluster.node((leader + 1) % 3);
    let leader = cluster.node(leader);

    let put = |id: &str| follower.put(&format!("/v1/services/traced/instances/{id}")).json(&registration(8080));
    put("by-nobody").answer().await.expect(201);
    put("malformed").header("traceparent", format!("00-{TRACE}-01")).answer().await.expect(201);
    traced(put("not-recorded"), "00").answer().await.expect(201);
    let answer = traced(put("recorded"), "01").header("x-request-id", "request-7").answer().await.expect(201);

    let is_of = |name: &'static str, node: &str| {
        let node = node.to_owned();
        move |seen: &collector::Seen| seen.span.name == name && seen.node == node
    };
    let request = collector.wait("the span of the request", is_of("http.request", follower.name())).await;
    let forwarded = collector.wait("that of the write", is_of("raft.propose", follower.name())).await;
    let proposed = collector.wait("that of the leader", is_of("raft.propose", leader.name())).await;

    assert_eq!(request.span.parent_span_id, CALLER);
    assert_eq!(forwarded.span.parent_span_id, request.span.span_id);
    assert_eq!(proposed.span.parent_span_id, forwarded.span.span_id);
    let said = ["url.path", "http.request.method", "http.response.status_code", "request.id", "trace.id"];
    assert_eq!(
        said.map(|key| request.says(key)),
        ["/v1/services/traced/instances/recorded", "PUT", "201", "request-7", TRACE]
    );
    let revision = answer.headers["x-rollcall-revision"].to_str().unwrap().to_owned();
    assert_eq!([forwarded.says("raft.index"), proposed.says("raft.index")], [revision.clone(), revision]);
    for seen in collector.seen() {
        assert_eq!(hex(&seen.span.trace_id), TRACE, "nobody else asked for a trace: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_front_door_makes_spans_and_log_lines_name_their_trace() {
    let collector = Collector::start().await;
    let cluster = Cluster::of(1).argument(&collector.argument()).argument("--traces-ratio=1");
    let cluster = cluster.argument("--log-format=json").argument("--log-level=info,rollcall=debug").start().await;
    let node = cluster.node(0);
    let check = json!({"id": "tcp", "type": "tcp", "address": "127.0.0.1:9", "interval_ms": 1000, "timeout_ms": 500});
    let mut body = registration(8080);
    body["checks"] = json!([check]);
    node.register("traced", "1", &body).await.expect(201);
    node.post("/v1/services/traced/select").json(&json!({"fail_open": true})).answer().await;
    node.consul(Method::GET, "/v1/catalog/nodes").answer().await.expect(200);

    let is_path = |path: &'static str| move |seen: &collector::Seen| seen.says("url.path") == path;
    let select = collector.wait("a selection", is_path("/v1/services/traced/select")).await;
    assert!(select.span.parent_span_id.is_empty(), "nobody asked for the trace: it begins here");
    let picked = collector.wait("the picking", |seen| seen.span.parent_span_id == select.span.span_id).await;
    assert_eq!(picked.span.name, "mesh.select");
    let log = node.log();
    let line = log.lines().find(|line| line.contains("POST /v1/services/traced/select answered")).expect("a line");
    let line: Value = serde_json::from_str(line).expect("a JSON line");
    assert_eq!(line["span"]["trace.id"], hex(&select.span.trace_id));

    let consul = collector.wait("a request of a client of Consul", is_path("/v1/catalog/nodes")).await;
    assert_eq!(consul.says("http.response.status_code"), "200");

    let probe = collector.wait("a probe", |seen| seen.span.name == "probe.run").await;
    assert_eq!(["service.name", "instance.id", "check.id"].map(|key| probe.says(key)), ["traced", "1", "tcp"]);

    let query =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06traced\x07service\x08rollcall\x00\x00\x01\x00\x01";
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(query, ("127.0.0.1", node.options().dns)).await.unwrap();
    let asked = collector.wait("a DNS query", |seen| seen.span.name == "dns.query").await;
    assert_eq!(asked.says("dns.question"), "A traced.service.rollcall.");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_wait_for_a_collector_that_is_away_and_the_log_says_so_once() {
    let port = free_port();
    let endpoint = format!("--traces-otlp-endpoint=http://127.0.0.1:{port}");
    let cluster = Cluster::of(1).argument(&endpoint).argument("--traces-ratio=0").start().await;
    let node = cluster.node(0);
    traced(node.put("/v1/services/away/instances/1").json(&registration(8080)), "01").answer().await.expect(201);

    let complaints = || node.log().lines().filter(|line| line.contains("spans cannot be exported")).count();
    wait_until("the log to say that the collector is away", DEADLINE, async || {
        if complaints() > 0 { Ok(()) } else { Err(node.log_tail(5)) }
    })
    .await;
    let collector = Collector::at(port).await;
    collector.wait("the span of before", |seen| seen.says("url.path") == "/v1/services/away/instances/1").await;
    wait_until("the log to say that it is back", DEADLINE, async || {
        if node.log().contains("spans are exported again") { Ok(()) } else { Err(node.log_tail(5)) }
    })
    .await;
    assert_eq!(complaints(), 1);
    let page = node.metrics().await;
    assert!(metric(&page, "rollcall_traces_spans_total", &["outcome=\"exported\""]) >= 2.0, "{page}");
    assert_eq!(metric(&page, "rollcall_traces_spans_total", &["outcome=\"dropped\""]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_keeps_a_node_from_neither_answering_nor_stopping() {
    let collector = Collector::that_hangs().await;
    let cluster = Cluster::of(1).argument(&collector.argument()).argument("--traces-ratio=1").start().await;
    let node = cluster.node(0);
    for id in 0..50 {
        node.register("hung", &id.to_string(), &registration(8080)).await.expect(201);
        node.get("/v1/services/hung/instances").answer().await.expect(200);
    }
    let asked = Instant::now();
    let status = node.terminate().await;
    assert!(status.success(), "{}", node.log_tail(5));
    // Three seconds for the last spans, and what any node takes to stop on a busy machine.
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert!(node.log().contains("the last spans are lost"), "{}", node.log_tail(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_exported_when_a_node_stops() {
    let collector = Collector::start().await;
    let cluster = Cluster::of(1).argument(&collector.argument()).argument("--traces-ratio=0").start().await;
    let node = cluster.node(0);
    traced(node.get("/v1/services"), "01").answer().await.expect(200);
    assert!(node.terminate().await.success());
    let paths: Vec<String> = collector.seen().iter().map(|seen| seen.says("url.path")).collect();
    assert_eq!(paths, ["/v1/services"]);
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_refused_in_words() {
    let finished = rollcall(["node", "--traces-otlp-endpoint=collector:4317"]).await;
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    let words = "--traces-otlp-endpoint: must be a URL such as http://127.0.0.1:4318; got \"collector:4317\"";
    assert!(finished.stderr.contains(words), "{}", finished.stderr);
}
