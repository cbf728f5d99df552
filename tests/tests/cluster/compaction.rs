//! Changes that a cluster has forgotten: a watch from before them is told so, and begins anew.

use rollcall_tests::{Cluster, Node, NodeOptions, Watcher, raw, registration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// More than the changes that the catalogue keeps (65,536).
const WRITES: usize = 66_000;
/// Connections that write at once.
const WRITERS: usize = 60;
/// Requests that a connection sends before it reads the answers.
const PIPELINED: usize = 50;

/// Makes [`WRITES`] changes to keys, quickly: requests are pipelined (RFC 9112 §9.3.2), and one sync serves many.
async fn make_changes(node: &Node) {
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(node.options().http, writer))).collect();
    for writer in writers {
        writer.await.expect("a writer ends in order");
    }
}

async fn write(port: u16, writer: usize) {
    // A write that changes nothing makes no event, so each value is another.
    let request = |number: usize| {
        format!("PUT /v1/kv/filler-{writer} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n{number:05}")
    };
    let mut stream = raw::connect(port).await;
    for batch in 0..WRITES / WRITERS / PIPELINED {
        let requests: String = (0..PIPELINED).map(|index| request(batch * PIPELINED + index)).collect();
        stream.write_all(requests.as_bytes()).await.expect("the node reads");
        let (mut answers, mut answered) = (Vec::new(), 0);
        while answered < PIPELINED {
            let read = stream.read_buf(&mut answers).await.expect("the node answers");
            assert!(read > 0, "the node closed a connection: {}", String::from_utf8_lossy(&answers));
            let text = String::from_utf8_lossy(&answers);
            answered = text.matches("HTTP/1.1 2").count();
            // What was read may end within a status line.
            let is_refused = ["HTTP/1.1 4", "HTTP/1.1 5"].iter().any(|refusal| text.contains(refusal));
            assert!(!is_refused, "all writes succeed: {text}");
        }
    }
}

/// Asks for the changes after `since` in each of the three ways; all are refused, and the revision from which there are changes is said.
async fn expect_gone(node: &Node, since: u64) {
    let watch = |path: String| node.get(&path);
    for call in [
        watch(format!("/v1/watch?since={since}")),
        watch("/v1/watch?service=early".to_owned()).header("Last-Event-ID", since),
        watch(format!("/v1/services/early/instances?since={since}&wait=1s")),
    ] {
        let answer = call.answer().await.expect(410);
        assert_eq!(answer.code(), "revision_compacted", "{}", answer.line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_a_forgotten_revision_is_refused_with_410_and_a_new_list_leads_on() {
    let mut cluster = Cluster::of(0).prepare();
    let options = cluster.options("forgetful");
    let index = cluster.join(NodeOptions { bootstrap_expect: Some(1), ..options }).await;
    let node = cluster.node(index).clone();
    let seen = node.register("early", "i-1", &registration(1)).await.expect(201).revision();
    let mut present = Watcher::open(&node, "service=early", Some(seen)).await;
    make_changes(&node).await;

    expect_gone(&node, seen).await;
    expect_gone(&node, 0).await;
    // Whoever was there all along missed nothing, although its cursor is as old.
    let second = node.register("early", "i-2", &registration(2)).await.expect(201).revision();
    let change = present.next_change().await.expect("the stream goes on");
    assert_eq!((change.event.as_str(), change.id), ("put", Some(second)), "{change:?}");

    // The way out that the refusal names: list, and go on from the list's revision.
    let list = node.get("/v1/services/early/instances").answer().await.expect(200);
    assert_eq!(list.items().len(), 2);
    let mut again = Watcher::open(&node, "service=early", Some(list.revision())).await;
    let third = node.register("early", "i-3", &registration(3)).await.expect(201).revision();
    let change = again.next_change().await.expect("the stream goes on");
    assert_eq!((change.event.as_str(), change.id), ("put", Some(third)), "{change:?}");

    // What is forgotten stays forgotten after a restart, and nothing more is.
    node.kill9();
    node.start();
    node.wait_ready().await;
    expect_gone(&node, seen).await;
    let mut late = Watcher::open(&node, "service=early", Some(second)).await;
    let change = late.next_change().await.expect("the stream goes on");
    assert_eq!((change.event.as_str(), change.id), ("put", Some(third)), "{change:?}");
}
