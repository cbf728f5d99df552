//! Strangers on the peer port: closed, counted, and without effect.

use std::time::Duration;

use rollcall_tests::{Cluster, DEADLINE, metric, raw, registration, wait_until};

/// How long the node may let a connection stay that has not proven itself.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn garbage_oversized_frames_and_silence_on_the_peer_port_are_closed_and_counted_and_harm_nobody() {
    let cluster = Cluster::start(3).await;
    let node = cluster.node(cluster.leader().await).clone();
    let port = node.options().peer;
    let term = node.raft().await.map(|view| view["term"].clone());
    let before = metric(&node.metrics().await, "rollcall_peer_rejected_total", &[]);
    let log_before = node.log().len();
    let mut noise: Vec<u8> = (0..4096_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    noise[0] = 0;
    let attacks: [(&str, Vec<u8>); 8] = [
        ("silence", Vec::new()),
        ("noise", noise),
        ("text", b"hello there, is this a printer?\r\n".to_vec()),
        ("an HTTP request", raw::request("GET", "/livez")),
        ("a frame of 4 GiB", [&[0xff; 4][..], &[0; 64][..]].concat()),
        ("a frame of 1 GiB", [&[0x40, 0, 0, 0][..], &[0; 64][..]].concat()),
        ("an empty frame", vec![0; 4]),
        ("half a frame", vec![0, 0, 0, 100, 1, 2, 3]),
    ];
    let rounds = 5;
    let mut connections = Vec::new();
    for round in 0..rounds {
        for (name, bytes) in &attacks {
            let (name, bytes) = (*name, bytes.clone());
            connections.push((
                round,
                name,
                tokio::spawn(async move { raw::send(port, &bytes, HANDSHAKE_LIMIT).await }),
            ));
        }
    }
    let sent = connections.len();
    // Meanwhile, the cluster serves.
    for index in 0..20_u16 {
        let written = cluster.node(usize::from(index) % 3).register("harmed", "i-1", &registration(1 + index)).await;
        assert!(written.status < 300, "{}", written.text());
    }
    for (round, name, connection) in connections {
        let exchange = connection.await.expect("the stranger ends in order");
        assert!(exchange.closed_after.is_some(), "{name} (round {round}) is open after {HANDSHAKE_LIMIT:?}");
    }
    wait_until("every stranger to be counted", DEADLINE, async || {
        match metric(&node.metrics().await, "rollcall_peer_rejected_total", &[]) - before {
            count if count >= sent as f64 => Ok(()),
            count => Err(format!("{count} of {sent}")),
        }
    })
    .await;
    assert!(node.is_running());
    assert_eq!(node.raft().await.map(|view| view["term"].clone()), term, "nobody was unseated");
    let said = node.log()[log_before..].to_owned();
    assert!(!said.contains("panicked"), "{said}");
    let complaints = said.lines().filter(|line| line.contains("turned away")).count();
    assert!(
        (1..=12).contains(&complaints),
        "{complaints} lines for {sent} strangers: one per reason and minute\n{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_strangers_at_once_do_not_keep_the_peers_out() {
    let cluster = Cluster::start(3).await;
    let follower = (cluster.leader().await + 1) % 3;
    let port = cluster.node(follower).options().peer;
    let mut strangers = Vec::new();
    for _ in 0..300 {
        strangers.push(raw::connect(port).await);
    }
    cluster.node((follower + 1) % 3).kill9();
    cluster.node((follower + 1) % 3).start();
    cluster.wait_ready().await;
    cluster.node(follower).register("reached", "i-1", &registration(8080)).await.expect(201);
    cluster.wait_converged().await;
}
