//! Nodes find each other, follow each other, and lose each other.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not take for tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Node, any_port, cluster, eventually, knows_all, shut_down};
use rollcall_gossip::{Cause, Event, Gossip, Keyring, Lateness, Meta, State};
use rollcall_types::{ClusterId, NodeId};
use tokio::runtime::Runtime;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_one_seed_find_all_others() {
    let nodes = cluster(5).await;
    for node in &nodes {
        let view = node.handle.view();
        assert_eq!((view.members.len(), view.count(State::Alive)), (5, 5));
        assert_eq!(view.members[&nodes[1].name].address, Some(nodes[1].address));
        assert_eq!(view.outranked_by, None);
    }
    eventually("somebody measured a round trip", || {
        nodes.iter().any(|node| node.handle.view().members.values().any(|member| member.health.rtt.is_some()))
    })
    .await;
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_reaches_all_is_replaced_and_taken_back() {
    let nodes = cluster(3).await;
    let mut updates = nodes[2].handle.updates();
    nodes[0].handle.publish("h/1", "first").unwrap();
    eventually("the value is everywhere", || {
        nodes.iter().all(|n| n.value(&nodes[0], "h/1").as_deref() == Some("first"))
    })
    .await;
    nodes[0].handle.publish("h/1", "second").unwrap();
    nodes[0].handle.publish("h/2", "other").unwrap();
    eventually("its successor too", || nodes.iter().all(|n| n.value(&nodes[0], "h/1").as_deref() == Some("second")))
        .await;
    nodes[0].handle.retract("h/1");
    eventually("it is gone", || nodes.iter().all(|n| n.value(&nodes[0], "h/1").is_none())).await;
    eventually("the rest stays", || nodes.iter().all(|n| n.handle.values("h/").len() == 1)).await;

    let mut told = Vec::new();
    while let Ok(update) = updates.try_recv() {
        assert_eq!(update.member, nodes[0].name);
        told.push((update.key.to_string(), update.version, update.value.map(|value| value.to_string())));
    }
    let versions: Vec<_> = told.iter().filter(|(key, ..)| key == "h/1").map(|(_, version, _)| *version).collect();
    assert!(versions.is_sorted(), "{told:?}");
    assert_eq!(told.last().map(|(key, _, value)| (&**key, value.clone())), Some(("h/1", None)));
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_fit_no_datagram_go_over_streams() {
    let nodes = cluster(3).await;
    // Text that does not compress, 64 KiB of it, as much as one message of gossip holds.
    let mut random = 1_u64;
    let mut text = |bytes: usize| -> String {
        (0..bytes)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'!' + (random >> 57) as u8 % 90)
            })
            .collect()
    };
    let large: Vec<_> = (0..8).map(|_| text(8_000)).collect();
    for (n, value) in large.iter().enumerate() {
        nodes[0].handle.publish(&format!("h/{n}"), value).unwrap();
    }
    eventually("all of them are everywhere", || {
        let is_there =
            |node: &Node| (0..8).all(|n| node.value(&nodes[0], &format!("h/{n}")).as_ref() == Some(&large[n]));
        nodes.iter().all(is_there)
    })
    .await;
    let late = Node::start("late", &[nodes[1].address]).await;
    eventually("a node that joins later has them too", || late.handle.values("h/").len() == 8).await;
    shut_down(nodes).await;
    late.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_says_of_itself_can_change() {
    let nodes = cluster(2).await;
    let meta = Meta { node: Some(NodeId::new(9)), ..Meta::default() };
    nodes[0].handle.set_meta(&meta).unwrap();
    let seen = || nodes[1].handle.view().members[&nodes[0].name].meta.clone();
    eventually("the other knows its id", || seen().is_some_and(|meta| meta.node == Some(NodeId::new(9)))).await;
    let nowhere = Meta { http: Some("nowhere".to_owned()), ..Meta::default() };
    assert!(nodes[0].handle.set_meta(&nowhere).is_err());
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_is_left_and_not_dead() {
    let mut nodes = cluster(3).await;
    let leaver = nodes.pop().unwrap();
    leaver.handle.leave().await;
    leaver.handle.shutdown().await;
    eventually("the others know", || nodes.iter().all(|node| node.sees(&leaver, State::Left))).await;
    let cause = nodes[0].handle.view().members[&leaver.name].health.cause;
    assert_eq!(cause, Cause::Announced);
    shut_down(nodes).await;
}

/// A node in a runtime of its own, which can be dropped in the middle of whatever it does.
fn start_to_kill(text: &'static str, seed: SocketAddr) -> (Runtime, Node) {
    let runtime = Runtime::new().unwrap();
    let node = runtime.block_on(Node::start(text, &[seed]));
    (runtime, node)
}

#[test]
fn a_node_that_is_killed_is_dead_to_all_and_its_values_stay_until_it_is_forgotten() {
    let runtime = Runtime::new().unwrap();
    let nodes = runtime.block_on(cluster(3));
    let (doomed_runtime, doomed) = start_to_kill("doomed", nodes[0].address);
    doomed.handle.publish("h/1", "last words").unwrap();
    runtime.block_on(eventually("it is known", || {
        nodes.iter().all(|node| node.sees(&doomed, State::Alive) && node.value(&doomed, "h/1").is_some())
    }));
    doomed_runtime.shutdown_background();
    runtime.block_on(eventually("it is dead to all", || nodes.iter().all(|node| node.sees(&doomed, State::Dead))));
    assert!(nodes.iter().all(|node| node.value(&doomed, "h/1").is_some()));
    let alive = nodes.iter().all(|node| node.handle.view().count(State::Alive) == 3);
    assert!(alive, "nobody else is accused");
    runtime.block_on(shut_down(nodes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_restarts_with_its_data_is_one_member_with_a_newer_generation() {
    let mut nodes = cluster(3).await;
    let old = nodes.pop().unwrap();
    old.handle.publish("h/1", "old").unwrap();
    old.handle.publish("h/2", "old").unwrap();
    eventually("its values are known", || nodes.iter().all(|node| node.value(&old, "h/2").is_some())).await;
    let before = old.handle.view().generation;
    old.handle.shutdown().await;

    let Node { address, dir, .. } = old;
    let new = Node::start_with("n3", address, dir, &[nodes[0].address], |_| {}).await;
    new.handle.publish("h/1", "new").unwrap();
    assert!(new.handle.view().generation > before);
    nodes.push(new);
    eventually("all follow the new life, and forget what the old one said", || {
        let new = &nodes[2];
        nodes.iter().all(|node| {
            let view = node.handle.view();
            view.members.get(&new.name).is_some_and(|member| member.health.generation == new.handle.view().generation)
                && knows_all(node, &nodes)
                && node.value(new, "h/1").as_deref() == Some("new")
                && node.value(new, "h/2").is_none()
                && view.members.len() == 3
        })
    })
    .await;
    shut_down(nodes).await;
}

/// A machine whose disk was replaced and whose clock was set back starts older than what the others remember.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_the_others_remember_as_newer_takes_a_newer_generation_and_comes_back() {
    let nodes = cluster(2).await;
    let future = 9_000_000_000_000_u64;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("gossip.json"), format!(r#"{{"format":1,"generation":"{future}"}}"#)).unwrap();
    let ahead = Node::start_with("x", any_port(), dir, &[nodes[0].address], |_| {}).await;
    eventually("it is known", || nodes.iter().all(|node| node.sees(&ahead, State::Alive))).await;
    ahead.handle.shutdown().await;

    let behind = Node::start_with("x", ahead.address, tempfile::tempdir().unwrap(), &[nodes[0].address], |_| {}).await;
    assert!(behind.handle.view().generation < future);
    eventually("it is taken for what it is", || {
        let generation = behind.handle.view().generation;
        generation > future
            && nodes.iter().all(|node| {
                node.handle
                    .view()
                    .members
                    .get(&behind.name)
                    .is_some_and(|member| member.health.generation == generation && member.health.state == State::Alive)
            })
    })
    .await;
    shut_down(nodes).await;
    behind.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_with_one_name_the_newer_is_the_member_and_the_older_is_told() {
    let nodes = cluster(2).await;
    let older = Node::start("twin", &[nodes[0].address]).await;
    eventually("the first is known", || nodes.iter().all(|node| node.sees(&older, State::Alive))).await;
    let newer = Node::start("twin", &[nodes[0].address]).await;
    let generation = newer.handle.view().generation;
    eventually("the newer is the member, and the older knows", || {
        older.handle.view().outranked_by == Some(generation)
            && nodes.iter().all(|node| node.handle.view().members[&newer.name].health.generation == generation)
    })
    .await;
    assert_eq!(newer.handle.view().outranked_by, None);
    assert!(older.handle.view().generation < generation, "it does not fight for the name");
    shut_down(nodes).await;
    older.handle.shutdown().await;
    newer.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_is_seen_on_both_sides_and_heals() {
    let nodes = cluster(4).await;
    let (left, right) = nodes.split_at(2);
    let names = |side: &[Node]| side.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    for (side, others) in [(left, right), (right, left)] {
        side.iter().for_each(|node| node.handle.set_blocked_peers(names(others)));
    }
    let mut events = nodes[0].handle.events();
    eventually("each side holds the other dead", || {
        let holds_dead = |side: &[Node], others: &[Node]| {
            side.iter().all(|node| others.iter().all(|other| node.sees(other, State::Dead)))
        };
        holds_dead(left, right) && holds_dead(right, left)
    })
    .await;
    nodes[3].handle.publish("h/1", "said during the split").unwrap();
    nodes.iter().for_each(|node| node.handle.set_blocked_peers([]));
    eventually("all are one cluster again", || {
        nodes.iter().all(|node| knows_all(node, &nodes) && node.value(&nodes[3], "h/1").is_some())
    })
    .await;
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Changed { member, to, .. } = event.event {
            told.push((member, to));
        }
    }
    for side in right {
        assert!(told.contains(&(side.name.clone(), State::Dead)) && told.contains(&(side.name.clone(), State::Alive)));
    }
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_while_everybody_stays_alive() {
    let nodes = cluster(3).await;
    let mut events: Vec<_> = nodes.iter().map(|node| node.handle.events()).collect();
    let (old, new) = ("07".repeat(32), "08".repeat(32));
    let steps = [format!("{old}\n{new}"), format!("{new}\n{old}"), new.clone()];
    for (step, text) in steps.iter().enumerate() {
        for (n, node) in nodes.iter().enumerate() {
            let keyring = Keyring::parse(text, "test").unwrap();
            let sealing = keyring.sealing_key();
            node.handle.set_keyring(keyring);
            // In the middle of each step, with the others a step behind, everybody still hears everybody.
            let (key, value) = ("h/step", format!("{step} {n}"));
            node.handle.publish(key, &value).unwrap();
            eventually("a value still reaches all", || {
                nodes.iter().all(|other| other.value(node, key).as_deref() == Some(&value))
                    && node.handle.view().sealing_key == sealing
            })
            .await;
        }
    }
    for events in &mut events {
        while let Ok(event) = events.try_recv() {
            assert!(!matches!(event.event, Event::Changed { .. }), "{event:?}");
        }
    }
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_another_key_or_of_another_cluster_a_node_is_no_member() {
    let nodes = cluster(2).await;
    let seeds = [nodes[0].address];
    let dir = || tempfile::tempdir().unwrap();
    let wrong_key =
        Node::start_with("x1", any_port(), dir(), &seeds, |o| o.keyring = Some(Keyring::new(&[9; 32]))).await;
    let wrong_cluster = Node::start_with("x2", any_port(), dir(), &seeds, |o| o.cluster = ClusterId::new(43)).await;
    let no_key = Node::start_with("x3", any_port(), dir(), &seeds, |o| o.keyring = None).await;
    let strangers = [wrong_key, wrong_cluster, no_key];
    // The strangers have long been asking when a node that asks later is in.
    let member = Node::start("n3", &seeds).await;
    eventually("a member is let in", || member.handle.view().members.len() == 3).await;
    for node in nodes.iter().chain([&member]) {
        assert!(strangers.iter().all(|stranger| node.state_of(stranger).is_none()));
    }
    for stranger in strangers {
        assert_eq!(stranger.handle.view().members.len(), 1, "only itself");
        stranger.handle.shutdown().await;
    }
    shut_down(nodes).await;
    member.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds_that_are_supplied_later_are_enough() {
    let (first, second) = (Node::start("n1", &[]).await, Node::start("n2", &[]).await);
    second.handle.set_seeds(&[format!("localhost:{}", first.address.port()), "no.such.host.invalid:1".to_owned()]);
    let nodes = [first, second];
    eventually("they find each other", || nodes.iter().all(|node| knows_all(node, &nodes))).await;
    shut_down(nodes.into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_shut_down_lets_go_of_its_port_and_says_nothing_failed() {
    let node = Node::start("n1", &[]).await;
    assert_eq!(node.handle.view().standing.lateness, Lateness::OnTime);
    node.handle.shutdown().await;
    let failed = tokio::time::timeout(Duration::from_millis(1), node.handle.failed()).await;
    assert!(failed.is_err());
    let Node { address, dir, handle: _handle, .. } = node;
    let again = Node::start_with("n1", address, dir, &[], |_| {}).await;
    again.handle.shutdown().await;
}

#[tokio::test]
async fn without_a_key_a_node_does_not_gossip_beyond_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = common::options("n1", "0.0.0.0:0".parse().unwrap(), dir.path(), &[]).await;
    options.keyring = None;
    options.advertise = Some("10.0.0.1:7402".parse().unwrap());
    let refused = Gossip::start(options).await.unwrap_err().to_string();
    assert!(refused.contains("rollcall keygen"), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was begun");
}
