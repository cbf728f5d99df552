//! Clients that are slow on purpose: cut off in time, while others are served.

use std::time::Duration;

use rollcall_tests::{Cluster, NodeOptions, note, raw, registration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What the API promises for a whole request head, and for a connection that says nothing.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// What the API promises for a whole body.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// Room for a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// Sends `head` at once and then one byte of `rest` every half second until the other side closes; returns when it did.
async fn trickle(port: u16, head: &[u8], rest: &[u8]) -> (Duration, String) {
    let start = std::time::Instant::now();
    let (mut reader, mut writer) = raw::connect(port).await.into_split();
    writer.write_all(head).await.expect("the head is taken");
    let mut received = Vec::new();
    let write = async {
        let mut pace = tokio::time::interval(Duration::from_millis(500));
        for byte in rest {
            pace.tick().await;
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            received.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
        () = tokio::time::sleep(BODY_LIMIT * 2) => {}
    }
    (start.elapsed(), String::from_utf8_lossy(&received).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_silent_connections_and_stalled_bodies_are_closed_in_time_while_others_are_served() {
    let cluster = Cluster::start(1).await;
    let node = cluster.node(0).clone();
    let port = node.options().http;
    let body_head = b"PUT /v1/kv/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf".as_slice();
    let chunked = b"PUT /v1/kv/slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n".as_slice();
    let silent = tokio::spawn(raw::send(port, b"", BODY_LIMIT * 2));
    let half_head = tokio::spawn(raw::send(port, b"GET /livez HTTP/1.1\r\nHost:", BODY_LIMIT * 2));
    let slow_head = tokio::spawn(trickle(port, b"GET /livez HTTP/1.1\r\nX-Slow: ", &[b'a'; 200]));
    let after_one = tokio::spawn(raw::send(port, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", BODY_LIMIT * 2));
    let stalled = tokio::spawn(raw::send(port, body_head, BODY_LIMIT * 2));
    let slow_body = tokio::spawn(trickle(port, body_head, &[b'a'; 900]));
    let stalled_chunks = tokio::spawn(raw::send(port, chunked, BODY_LIMIT * 2));

    // All the while, others are served.
    let tasks = [silent, half_head, after_one, stalled, stalled_chunks];
    let trickles = [slow_head, slow_body];
    let mut served = 0_u16;
    while !(tasks.iter().all(|task| task.is_finished()) && trickles.iter().all(|task| task.is_finished())) {
        node.register("served", &format!("i-{}", served % 50), &registration(1 + served % 60_000)).await;
        node.get("/v1/services/served/instances").answer().await.expect(200);
        served += 1;
    }
    note(format_args!("{served} writes and reads were served meanwhile"));
    assert!(served > 10);

    let mut closed = Vec::new();
    for task in tasks {
        let exchange = task.await.expect("the client ends in order");
        closed.push((exchange.closed_after.unwrap_or(Duration::MAX), exchange.text()));
    }
    for task in trickles {
        closed.push(task.await.expect("the client ends in order"));
    }
    let limits = [HEAD_LIMIT, HEAD_LIMIT, HEAD_LIMIT, BODY_LIMIT, BODY_LIMIT, HEAD_LIMIT, BODY_LIMIT];
    let names = ["silent", "half head", "idle after one", "stalled body", "stalled chunks", "slow head", "slow body"];
    for ((name, limit), (after, text)) in names.into_iter().zip(limits).zip(&closed) {
        note(format_args!("{name}: closed after {after:?}"));
        assert!(*after <= limit + SLACK, "{name}: open for {after:?}: {text}");
    }
    assert!(closed[2].1.contains("200 OK"), "the idle connection was served before it idled: {}", closed[2].1);
    for (_, text) in [&closed[3], &closed[4], &closed[6]] {
        assert!(text.is_empty() || text.contains(" 408 "), "a stalled body is told why: {text}");
    }
    node.get("/v1/kv/slow").answer().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_silent_connections_keep_nobody_else_out() {
    let cluster = Cluster::start(1).await;
    let node = cluster.node(0);
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(raw::connect(node.options().http).await);
    }
    for port in 1..20 {
        let written = node.register("crowded", "i-1", &registration(port)).await;
        assert!(written.status < 300, "{}", written.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_take_no_file_that_the_log_and_other_nodes_need() {
    let mut cluster = Cluster::start(2).await;
    let options = NodeOptions { open_files_max: Some(256), ..cluster.options("small") };
    let small = cluster.join(options).await;
    cluster.wait_caught_up().await;
    let small = cluster.node(small).clone();
    assert!(small.log().contains("open files"), "it says how many connections it has room for: {}", small.log_tail(20));
    let leading = cluster.leader().await;
    let term = cluster.node(leading).raft().await.expect("it answers")["term"].clone();

    // More than it has files; the kernel takes them all, the node takes what it has room for.
    let mut crowd = Vec::new();
    for _ in 0..250 {
        crowd.push(raw::connect(small.options().http).await);
    }
    for number in 0..20 {
        let id = format!("web-{number}");
        cluster.node(0).register("web", &id, &registration(8080)).await;
    }
    drop(crowd);
    cluster.wait_converged().await;
    let listed = small.get("/v1/services/web/instances").answer().await.expect(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(20), "{listed}");
    let after = cluster.node(leading).raft().await.expect("it answers");
    assert_eq!(after["term"], term, "nobody lost the leader meanwhile");
}
