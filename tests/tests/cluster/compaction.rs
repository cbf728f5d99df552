//! Changes that a cluster has forgotten: a watch from before them is told so, and begins anew.

use rollcall_tests::{Cluster, Node, NodeOptions, Watcher, flood, registration};

/// More than the changes that the catalogue keeps (65,536).
const WRITES: usize = 66_000;

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
    flood(&node, WRITES).await;

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
