//! Watches: a snapshot, then every change once and in order, on whichever node.

use std::cell::Cell;
use std::collections::BTreeSet;

use rollcall_tests::{Cluster, Load, SharedCluster, Watcher, registration, wait_until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_begins_with_what_is_there_and_goes_on_with_what_changes() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(1);
    let before = node.register("watched", "i-1", &registration(1)).await.expect(201).revision();
    let mut watcher = Watcher::open(node, "service=watched", None).await;
    let first = watcher.next().await.expect("a watch begins with a snapshot");
    assert_eq!(first.event, "snapshot");
    assert_eq!(first.data["items"][0]["id"], "i-1");
    assert_eq!(first.data["last"], true);
    assert!(first.id >= Some(before), "{first:?}");

    let put = cluster.node(0).register("watched", "i-2", &registration(2)).await.expect(201).revision();
    cluster.node(0).register("not-watched", "i-1", &registration(2)).await.expect(201);
    cluster.node(2).register("watched", "i-2", &registration(2)).await.expect(200);
    let changed = cluster.node(2).register("watched", "i-2", &registration(3)).await.expect(200).revision();
    let gone = cluster.node(2).delete("/v1/services/watched/instances/i-1").answer().await.expect(204).revision();
    let defined = cluster.node(0).put("/v1/services/watched").json(&json!({"owner": "me"})).answer().await.revision();
    for (event, revision, id) in
        [("put", put, "i-2"), ("put", changed, "i-2"), ("delete", gone, "i-1"), ("definition", defined, "")]
    {
        let seen = watcher.next_change().await.expect("the stream goes on");
        assert_eq!((seen.event.as_str(), seen.id), (event, Some(revision)), "{seen:?}");
        assert_eq!(seen.data["service"], "watched");
        match event {
            "put" => assert_eq!(seen.data["instance"]["id"], id),
            "delete" => assert_eq!(seen.data["id"], id),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_resumes_on_another_node_after_the_last_id() {
    let cluster = SharedCluster::get().await;
    let mut revisions = Vec::new();
    for port in 1..=6 {
        revisions.push(cluster.node(0).register("resumed", "i-1", &registration(port)).await.revision());
    }
    for (index, query) in [(1, "service=resumed".to_owned()), (2, format!("service=resumed&since={}", revisions[2]))] {
        let last_id = (index == 1).then_some(revisions[2]);
        let mut watcher = Watcher::open(cluster.node(index), &query, last_id).await;
        for &revision in &revisions[3..] {
            let seen = watcher.next().await.expect("the stream goes on");
            assert_eq!((seen.event.as_str(), seen.id), ("put", Some(revision)), "on node {index}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_answers_with_the_changes_or_says_that_there_were_none() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    let start = node.register("polled", "i-1", &registration(1)).await.expect(201).revision();
    let none = node.get(&format!("/v1/services/polled/instances?since={start}&wait=50ms")).answer().await.expect(304);
    assert!(none.body.is_empty());
    let waiting = {
        let node = node.clone();
        let path = format!("/v1/services/polled/instances?since={start}&wait=10s");
        tokio::spawn(async move { node.get(&path).answer().await })
    };
    let put = cluster.node(0).register("polled", "i-2", &registration(2)).await.expect(201).revision();
    let answer = waiting.await.expect("the poll ends in order").expect(200).json();
    assert_eq!(answer["events"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(answer["events"][0]["revision"], put);
    assert!(answer["revision"].as_u64() >= Some(put));
    let later = node.get(&format!("/v1/services/polled/instances?since={start}")).answer().await.expect(200).json();
    assert_eq!(later["events"][0]["revision"], put, "changes of the past are answered at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_moves_between_nodes_sees_every_change_once_in_order_although_the_leader_is_killed() {
    let cluster = Cluster::start(3).await;
    let load = Load::start("moving", cluster.nodes(), 4);
    let mut seen: Vec<u64> = Vec::new();
    let mut last_id = None;
    // One hop before the kill, one onto the leader that is then killed, one after it.
    load.wait_for(20).await;
    let doomed = cluster.leader().await;
    let others = [(doomed + 1) % 3, (doomed + 2) % 3];
    for (hop, index) in [others[0], doomed, others[1], others[0]].into_iter().enumerate() {
        let mut watcher = Watcher::open(cluster.node(index), "", last_id.or(Some(0))).await;
        let goal = seen.len() + 60;
        while seen.len() < goal {
            let Some(change) = watcher.next_change().await else { break };
            let id = change.id.expect("a change has an id");
            seen.push(id);
            last_id = Some(id);
            if index == doomed && seen.len() == goal - 30 {
                cluster.node(doomed).kill9();
            }
        }
        assert!(index == doomed || seen.len() >= goal, "hop {hop} ended early");
    }
    let ledger = load.stop().await;
    let end = ledger.revision();
    let mut watcher = Watcher::open(cluster.node(others[1]), "", last_id).await;
    while last_id < Some(end) {
        last_id = watcher.next_change().await.expect("the stream goes on").id;
        seen.extend(last_id);
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "ids rise strictly");
    let seen: BTreeSet<u64> = seen.into_iter().collect();
    let counters = ledger.counters.iter().flat_map(|counter| counter.revisions.iter().copied());
    let acknowledged: BTreeSet<u64> = ledger.written.iter().map(|one| one.revision).chain(counters).collect();
    let missed: Vec<_> = acknowledged.difference(&seen).collect();
    assert!(
        missed.is_empty(),
        "{} of {} acknowledged changes were not seen: {missed:?}",
        missed.len(),
        acknowledged.len()
    );
    let strange: Vec<_> = seen.difference(&acknowledged).filter(|id| **id <= end).collect();
    assert!(strange.is_empty(), "changes that nobody made were seen: {strange:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_on_every_node_see_the_same_changes() {
    let cluster = SharedCluster::get().await;
    let start = cluster.node(0).register("fanned-out", "i-0", &registration(1)).await.expect(201).revision();
    let mut watchers = Vec::new();
    for node in cluster.nodes() {
        for _ in 0..5 {
            watchers.push(Watcher::open(node, "service=fanned-out", Some(start)).await);
        }
    }
    let mut expected = Vec::new();
    for index in 0..10_u16 {
        let node = cluster.node(usize::from(index) % 3);
        expected.push(node.register("fanned-out", "i-0", &registration(2 + index)).await.expect(200).revision());
    }
    for mut watcher in watchers {
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            seen.extend(watcher.next_change().await.expect("the stream goes on").id);
        }
        assert_eq!(seen, expected);
    }
    wait_until("the streams to be counted out", rollcall_tests::DEADLINE, async || {
        let page = cluster.node(1).metrics().await;
        match rollcall_tests::metric(&page, "rollcall_watch_streams", &[]) {
            streams if streams < 5.0 => Ok(()),
            streams => Err(format!("{streams} streams")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_begins_to_watch_where_nobody_did_misses_nothing_that_is_written_meanwhile() {
    let cluster = Cluster::start(1).await;
    let node = cluster.node(0);
    let start = node.register("beating", "i-1", &registration(1)).await.expect(201).revision();
    let (is_over, last) = (Cell::new(false), Cell::new(start));
    let writing = async {
        let mut revisions = Vec::new();
        while !is_over.get() {
            let body = registration(2 + (revisions.len() % 2) as u16);
            last.set(node.register("beating", "i-1", &body).await.expect(200).revision());
            revisions.push(last.get());
        }
        revisions
    };
    let watching = async {
        let mut seen = vec![start];
        for _ in 0..40 {
            // The task behind all streams rests while there is none.
            wait_until("all streams to end", rollcall_tests::DEADLINE, async || {
                match rollcall_tests::metric(&node.metrics().await, "rollcall_watch_streams", &[]) {
                    0.0 => Ok(()),
                    streams => Err(format!("{streams} streams")),
                }
            })
            .await;
            let mut watcher = Watcher::open(node, "service=beating", seen.last().copied()).await;
            // What was written before it began comes from the ring, the rest from that task.
            let before = last.get();
            let mut live = 0;
            while live < 5 {
                let id = watcher.next_change().await.expect("the stream goes on").id.expect("a change has an id");
                live += usize::from(id > before);
                seen.push(id);
            }
        }
        is_over.set(true);
        seen
    };
    let (written, seen) = tokio::join!(writing, watching);
    assert_eq!(seen[1..], written[..seen.len() - 1], "each change once and in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_watch_too_many_is_refused_and_there_is_room_again_when_one_ends() {
    let mut cluster = Cluster::of(0).prepare();
    let file = cluster.path().join("node.toml");
    std::fs::write(&file, "watches-max = 2\n").expect("a file in a new folder");
    let mut options = cluster.options("n1");
    options.bootstrap_expect = Some(1);
    options.arguments.push(format!("--config={}", file.display()));
    let index = cluster.join(options).await;
    let node = cluster.node(index);
    let there = node.register("crowd", "i-1", &registration(1)).await.expect(201).revision();
    let first = Watcher::open(node, "service=crowd", None).await;
    let mut second = Watcher::open(node, "service=crowd", Some(there)).await;
    let long_poll = format!("/v1/services/crowd/instances?since={there}&wait=1ms");
    for path in ["/v1/watch", "/v1/cluster/events", &long_poll] {
        assert_eq!(node.get(path).answer().await.expect(429).code(), "too_many_requests", "{path}");
    }
    let changed = node.register("crowd", "i-1", &registration(2)).await.expect(200).revision();
    assert_eq!(second.next_change().await.and_then(|seen| seen.id), Some(changed), "those that are there go on");

    drop(first);
    wait_until("room for another", rollcall_tests::DEADLINE, async || {
        let answer = node.get(&long_poll).answer().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}
