//! What a node logs, and changing that while it runs.

use rollcall_tests::{Cluster, DEADLINE, Node, registration, wait_until};
use rustix::process::Signal;
use serde_json::Value;

/// Lines of the log with `text`.
fn lines(node: &Node, text: &str) -> Vec<String> {
    node.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

async fn wait_line(node: &Node, text: &str) -> String {
    wait_until(&format!("a line with {text:?}"), DEADLINE, async || {
        lines(node, text).pop().ok_or_else(|| node.log_tail(5))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_make_a_running_node_say_more_and_less() {
    let cluster = Cluster::start(1).await;
    let node = cluster.node(0);
    node.get("/v1/services?tag=before").answer().await.expect(200);
    assert_eq!(lines(node, "/v1/services"), [""; 0], "requests are not logged from info on");

    node.signal(Signal::USR1);
    wait_line(node, "log filter is now").await;
    node.get("/v1/services?tag=during").header("x-request-id", "asked-during").answer().await.expect(200);
    let line = wait_line(node, "GET /v1/services answered 200").await;
    assert!(line.contains("asked-during"), "{line}");

    node.signal(Signal::USR2);
    wait_until("the filter as it was", DEADLINE, async || {
        if lines(node, "log filter is now").len() == 2 { Ok(()) } else { Err(node.log_tail(5)) }
    })
    .await;
    let before = lines(node, "GET /v1/services answered").len();
    node.get("/v1/services?tag=after").answer().await.expect(200);
    assert_eq!(lines(node, "GET /v1/services answered").len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_name_the_request_and_the_trace_they_belong_to() {
    let cluster = Cluster::of(1).argument("--log-format=json").argument("--log-level=debug").start().await;
    let node = cluster.node(0);
    let write = node.put("/v1/services/logged/instances/1").json(&registration(8080));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let write =
        write.header("x-request-id", "request-7").header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    write.answer().await.expect(201);
    let line: Value = serde_json::from_str(&wait_line(node, "PUT /v1/services/logged").await).expect("a JSON line");
    let span = &line["span"];
    assert_eq!(
        (&span["name"], &span["request.id"], &span["trace.id"]),
        (&"http.request".into(), &"request-7".into(), &trace.into())
    );
}
