//! What one node observes, all nodes see, for as long as it lives to vouch for it.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not take for tests")]

mod common;

use std::time::Duration;

use common::{Node, any_port, cluster, eventually, shut_down};
use rollcall_gossip::{Digests, State};
use rollcall_health::{Observation, Slot, Status, Tenancy};
use rollcall_types::Revision;

const LONG: Duration = Duration::from_secs(3_600);

fn slot(number: u32) -> Slot {
    Slot::new(number).unwrap()
}

fn tenancy() -> Tenancy {
    Tenancy::began_at(Revision::new(7))
}

fn observe(digests: &Digests, number: u32, status: Status) {
    digests.observe(slot(number), tenancy(), Observation::of(status), LONG).unwrap();
}

/// What `of` is seen to say of an instance, as it counts for `node`; `None` when it says nothing.
fn status(node: &Node, of: &Node, number: u32) -> Option<Status> {
    let health = node.handle.health();
    let mut sightings = health.sightings(slot(number), tenancy());
    sightings.find(|sighting| *sighting.observer == of.name).map(|sighting| sighting.observation.status)
}

fn all_see<'a>(nodes: impl IntoIterator<Item = &'a Node>, of: &Node, number: u32, expected: Option<Status>) -> bool {
    nodes.into_iter().all(|node| status(node, of, number) == expected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_observes_all_see_until_it_is_withdrawn() {
    let nodes = cluster(3).await;
    let digests = nodes[0].handle.digests();
    let mut changes = nodes[2].handle.digests().changes();
    changes.mark_unchanged();
    observe(&digests, 3, Status::Passing);
    observe(&digests, 70_000, Status::Critical);
    observe(&nodes[1].handle.digests(), 3, Status::Warning);
    eventually("all see it, the observer too", || {
        all_see(&nodes, &nodes[0], 3, Some(Status::Passing))
            && all_see(&nodes, &nodes[0], 70_000, Some(Status::Critical))
            && all_see(&nodes, &nodes[1], 3, Some(Status::Warning))
    })
    .await;
    assert!(changes.has_changed().unwrap());
    observe(&digests, 3, Status::Critical);
    eventually("a change", || all_see(&nodes, &nodes[0], 3, Some(Status::Critical))).await;
    digests.withdraw(slot(3), tenancy());
    eventually("its end", || all_see(&nodes, &nodes[0], 3, None)).await;
    assert!(all_see(&nodes, &nodes[1], 3, Some(Status::Warning)), "others go on to say what they see");
    eventually("it is seen while it is said again", || {
        digests.observe(slot(4), tenancy(), Observation::of(Status::Passing), Duration::from_secs(1)).unwrap();
        all_see(&nodes, &nodes[0], 4, Some(Status::Passing))
    })
    .await;
    eventually("and not seen again, it expires", || all_see(&nodes, &nodes[0], 4, None)).await;
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_observer_said_is_unknown_and_its_next_life_speaks_anew() {
    let mut nodes = cluster(3).await;
    let digests = nodes[2].handle.digests();
    observe(&digests, 1, Status::Passing);
    observe(&digests, 100, Status::Passing);
    drop(digests);
    let is_known = |nodes: &[Node], of: &Node| {
        all_see(nodes, of, 1, Some(Status::Passing)) && all_see(nodes, of, 100, Some(Status::Passing))
    };
    eventually("it is seen", || is_known(&nodes, &nodes[2])).await;

    let dead = nodes.pop().unwrap();
    dead.handle.shutdown().await;
    eventually("its evidence counts no more", || {
        all_see(&nodes, &dead, 1, Some(Status::Unknown)) && all_see(&nodes, &dead, 100, Some(Status::Unknown))
    })
    .await;
    eventually("it is dead", || nodes.iter().all(|node| node.sees(&dead, State::Dead))).await;

    let Node { handle, dir, .. } = dead;
    drop(handle);
    let again = Node::start_with("n3", any_port(), dir, &[nodes[0].address], |_| {}).await;
    observe(&again.handle.digests(), 1, Status::Critical);
    nodes.push(again);
    eventually("the new life is seen, and the old one is not", || {
        all_see(&nodes, &nodes[2], 1, Some(Status::Critical)) && all_see(&nodes, &nodes[2], 100, None)
    })
    .await;
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_takes_nobody_at_their_old_word() {
    let nodes = cluster(3).await;
    for node in &nodes {
        observe(&node.handle.digests(), 1, Status::Passing);
    }
    eventually("all see all", || nodes.iter().all(|of| all_see(&nodes, of, 1, Some(Status::Passing)))).await;
    nodes[0].handle.set_blocked_peers(nodes[1..].iter().map(|node| node.name.clone()));
    eventually("it trusts its own eyes only", || {
        nodes[1..].iter().all(|of| status(&nodes[0], of, 1) == Some(Status::Unknown))
    })
    .await;
    assert_eq!(status(&nodes[0], &nodes[0], 1), Some(Status::Passing));
    nodes[0].handle.set_blocked_peers([]);
    eventually("it hears the others again", || nodes.iter().all(|of| all_see(&nodes, of, 1, Some(Status::Passing))))
        .await;
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_no_digest_changes_nothing_but_what_it_replaces() {
    let nodes = cluster(2).await;
    for number in [1, 64] {
        observe(&nodes[0].handle.digests(), number, Status::Passing);
    }
    eventually("both are seen", || [1, 64].iter().all(|n| all_see(&nodes, &nodes[0], *n, Some(Status::Passing)))).await;
    for (key, value) in [("h/1", "garbage"), ("h/x", "garbage"), ("h/99999", "AQAAAAAAAAAA")] {
        nodes[0].handle.publish(key, value).unwrap();
    }
    eventually("garbage is there", || nodes[1].value(&nodes[0], "h/x").as_deref() == Some("garbage")).await;
    eventually("it replaces one digest", || all_see(&nodes, &nodes[0], 64, None)).await;
    assert!(all_see(&nodes, &nodes[0], 1, Some(Status::Passing)));
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_learns_more_digests_than_it_can_be_told_one_by_one() {
    const CHUNKS: u32 = 3_000;
    let nodes = cluster(2).await;
    let all = || (0..CHUNKS).map(|chunk| 64 * chunk);
    for node in &nodes {
        all().for_each(|number| observe(&node.handle.digests(), number, Status::Passing));
    }
    let joiner = Node::start("n3", &[nodes[0].address]).await;
    eventually("it knows all of them", || joiner.handle.health().digest_count() == 2 * CHUNKS as usize).await;
    eventually("and they count", || {
        nodes.iter().all(|of| all().all(|number| status(&joiner, of, number) == Some(Status::Passing)))
    })
    .await;
    joiner.handle.shutdown().await;
    shut_down(nodes).await;
}
