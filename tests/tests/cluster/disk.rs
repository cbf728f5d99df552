//! A disk that fills up.

use rollcall_tests::{Cluster, DEADLINE, NodeOptions, note, wait_until};

use crate::mounts::SmallDisk;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_is_full_stops_writing_says_why_and_comes_back_clean_while_the_others_go_on() {
    let disk = match SmallDisk::mount(4) {
        Ok(disk) => disk,
        Err(reason) => return note(format_args!("SKIPPED: a full disk needs the right to mount: {reason}")),
    };
    let mut cluster = Cluster::start(3).await;
    let full = cluster.join(NodeOptions { data_dir: disk.path().join("data"), ..cluster.options("small") }).await;
    let small = cluster.node(full).clone();

    // Each write is a log entry of 100 KiB on every node; 4 MiB hold about forty of them.
    let mut acknowledged = Vec::new();
    for index in 0..80 {
        let value = vec![index as u8; 100 * 1024];
        let written = cluster.node(index % 3).put(&format!("/v1/kv/big-{index}")).body(value).settled().await;
        assert!(written.status < 300, "three of four go on: {} {}", written.status, written.text());
        acknowledged.push(written.revision());
    }
    wait_until("the node to say that its disk is full", DEADLINE, async || {
        let said = small.log().to_lowercase();
        if said.contains("no space left") || said.contains("disk is full") || said.contains("storage full") {
            Ok(())
        } else {
            Err(small.log_tail(5))
        }
    })
    .await;
    assert!(!small.log().contains("panicked"), "{}", small.log_tail(40));
    if small.is_running() {
        let refused = small.put("/v1/kv/refused").body("x").answer().await;
        assert!(refused.status < 300 || refused.status == 503, "{}: {}", refused.status, refused.text());
    }

    disk.grow(64);
    if small.is_running() {
        let ended = wait_until("the node to end or to get well", DEADLINE, async || {
            if !small.is_running() {
                return Ok(true);
            }
            small.look_ready().await.map(|()| false)
        });
        if ended.await {
            note(format_args!("the node ended with {:?}", small.wait_exit().await));
            small.start();
        }
    } else {
        note(format_args!("the node ended with {:?}", small.wait_exit().await));
        small.start();
    }
    small.wait_ready().await;
    cluster.wait_converged().await;
    for (index, revision) in acknowledged.iter().enumerate() {
        let read = small.get(&format!("/v1/kv/big-{index}")).settled().await.expect(200);
        assert_eq!(read.body.len(), 100 * 1024);
        assert_eq!(read.header("etag"), Some(format!("\"{revision}\"").as_str()));
    }
    assert_eq!(cluster.digest(full).await, cluster.digest(0).await);
    small.put("/v1/kv/after").body("x").settled().await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_whose_disk_is_full_acknowledges_nothing_that_it_does_not_hold_later() {
    let disk = match SmallDisk::mount(3) {
        Ok(disk) => disk,
        Err(reason) => return note(format_args!("SKIPPED: a full disk needs the right to mount: {reason}")),
    };
    let mut cluster = Cluster::of(0).prepare();
    let options = cluster.options("small");
    let options = NodeOptions { data_dir: disk.path().join("data"), bootstrap_expect: Some(1), ..options };
    let index = cluster.join(options).await;
    let small = cluster.node(index).clone();
    let mut acknowledged = Vec::new();
    for index in 0..60 {
        let call = small.put(&format!("/v1/kv/big-{index}")).body(vec![b'x'; 100 * 1024]);
        match call.send().await {
            Ok(answer) if answer.status < 300 => acknowledged.push(index),
            Ok(answer) => assert!(matches!(answer.status, 503 | 504), "{}: {}", answer.status, answer.text()),
            Err(_) => break,
        }
    }
    assert!((1..60).contains(&acknowledged.len()), "{} of 60 writes fit", acknowledged.len());
    wait_until("the node to say that its disk is full", DEADLINE, async || {
        let said = small.log().to_lowercase();
        if said.contains("no space left") || said.contains("full") { Ok(()) } else { Err(small.log_tail(5)) }
    })
    .await;
    disk.grow(64);
    if small.is_running() {
        small.kill9();
    } else {
        let ended = small.wait_exit().await;
        assert_eq!(ended.code(), Some(1), "a node that cannot go on fails: {}", small.log_tail(20));
    }
    small.start();
    small.wait_ready().await;
    for index in acknowledged {
        let read = small.get(&format!("/v1/kv/big-{index}")).answer().await.expect(200);
        assert_eq!(read.body.len(), 100 * 1024, "key {index} was acknowledged");
    }
    small.put("/v1/kv/after").body("x").settled().await.expect(201);
}
