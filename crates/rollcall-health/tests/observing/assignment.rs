//! Who probes what: the same everywhere, spread out, in different zones, and little of it moves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use rollcall_health::assignment::{Candidate, LOOKERS, PROBERS, RETURN_AFTER, Roster, Watch};
use rollcall_health::{CHUNK_SLOTS, ChunkId};
use rollcall_types::{MonoTime, NodeName};

/// Chunks of 10,000 instances.
const CHUNKS: u32 = 10_000_u32.div_ceil(CHUNK_SLOTS);

fn name(number: usize) -> NodeName {
    format!("node-{number}").parse().unwrap()
}

fn candidate(number: usize, zones: usize) -> Candidate {
    let zone = (zones > 0).then(|| format!("zone-{}", number % zones.max(1)).parse().unwrap());
    Candidate { name: name(number), zone }
}

fn nodes(count: usize, zones: usize) -> Vec<Candidate> {
    (0..count).map(|number| candidate(number, zones)).collect()
}

fn seconds(count: u64) -> MonoTime {
    MonoTime::new(Duration::from_secs(count))
}

fn roster(fit: &[Candidate]) -> Roster {
    let mut roster = Roster::new();
    roster.update(&name(0), fit, seconds(0));
    roster
}

fn watches(roster: &Roster) -> Vec<Watch> {
    (0..CHUNKS).map(|raw| roster.watch(ChunkId::new(raw).unwrap(), PROBERS)).collect()
}

/// The busiest node's share of the probing, as a multiple of the mean.
fn worst_share(count: usize, zones: usize) -> f64 {
    let mut probing: BTreeMap<NodeName, usize> = BTreeMap::new();
    let watches = watches(&roster(&nodes(count, zones)));
    watches.iter().flat_map(Watch::probers).for_each(|name| *probing.entry(name.clone()).or_default() += 1);
    let mean = (watches.len() * PROBERS) as f64 / count as f64;
    *probing.values().max().unwrap() as f64 / mean
}

#[test]
fn ten_thousand_instances_are_spread_over_3_10_and_100_nodes() {
    for (count, zones, bound) in [(3, 0, 1.2), (3, 3, 1.2), (10, 0, 1.4), (10, 3, 1.4), (100, 0, 3.0), (100, 3, 3.0)] {
        let worst = worst_share(count, zones);
        assert!(worst <= bound, "{count} nodes, {zones} zones: {worst:.2}");
    }
}

#[test]
fn the_two_probers_are_in_different_zones_when_there_are_any() {
    for zones in [2, 3, 5] {
        let fit = nodes(10, zones);
        let zone_of: BTreeMap<_, _> = fit.iter().map(|node| (node.name.clone(), node.zone.clone())).collect();
        for watch in watches(&roster(&fit)) {
            let [first, second] = watch.probers() else { panic!("two probers") };
            assert_ne!(zone_of[first], zone_of[second]);
        }
    }
}

#[test]
fn a_cluster_of_one_or_two_uses_whom_it_has_and_an_empty_one_nobody() {
    let lookers = |count: usize| watches(&roster(&nodes(count, 1)))[0].lookers().len();
    assert_eq!((lookers(0), lookers(1), lookers(2), lookers(3), lookers(4)), (0, 1, 2, 3, 3));
}

#[test]
fn whoever_asks_for_confirmation_asks_the_others() {
    let watch = &watches(&roster(&nodes(5, 0)))[0];
    for asking in watch.lookers() {
        let asked: Vec<_> = watch.confirmers(asking).collect();
        assert_eq!(asked.len(), LOOKERS - 1);
        assert!(!asked.contains(&asking));
    }
}

#[test]
fn a_node_that_was_dropped_waits_before_it_gets_its_share_back() {
    let (me, all) = (name(0), nodes(5, 0));
    let mut roster = roster(&all);
    assert!(roster.update(&me, &all[..4], seconds(100)), "it is gone at once");
    assert!(!roster.update(&me, &all, seconds(101)), "and not back at once");
    assert_eq!(roster.returning().collect::<Vec<_>>(), [&name(4)]);
    assert!(!roster.update(&me, &all[..4], seconds(120)), "it flaps, and its time begins anew");
    assert!(!roster.update(&me, &all, seconds(121)));
    assert!(!roster.update(&me, &all, seconds(121 + RETURN_AFTER.as_secs() - 1)));
    assert!(roster.update(&me, &all, seconds(121 + RETURN_AFTER.as_secs())));
    assert_eq!((roster.len(), roster.returning().count()), (5, 0));
}

/// Of three nodes two bounced, and the third looked at everything alone for half a minute, confirmed by nobody.
#[test]
fn nobody_waits_while_fewer_than_three_share_the_work() {
    let me = name(0);
    for (count, away) in [(3, 1), (3, 2), (5, 3)] {
        let all = nodes(count, 0);
        let mut roster = roster(&all);
        assert!(roster.update(&me, &all[..count - away], seconds(100)), "they are gone at once");
        assert!(roster.update(&me, &all, seconds(101)), "{away} of {count} are back at once");
        assert_eq!((roster.len(), roster.returning().count()), (count, 0));
    }
}

#[test]
fn a_node_that_is_new_or_was_away_for_long_gets_its_share_at_once_and_so_does_this_one() {
    let (me, all) = (name(0), nodes(5, 0));
    let mut roster = roster(&all[..4]);
    assert!(roster.update(&me, &all, seconds(1)), "new");
    roster.update(&me, &all[..4], seconds(2));
    roster.update(&me, &all[..4], seconds(700));
    assert!(roster.update(&me, &all, seconds(701)), "away for long");
    roster.update(&me, &all[1..], seconds(702));
    assert!(roster.update(&me, &all, seconds(703)), "this one");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_in_which_nodes_are_named_changes_nothing(
        shuffled in Just(nodes(9, 3)).prop_shuffle()
    ) {
        prop_assert_eq!(watches(&roster(&shuffled)), watches(&roster(&nodes(9, 3))));
    }

    #[test]
    fn a_node_that_goes_moves_only_its_share(count in 4..40_usize, zones in 0..4_usize, gone in 0..40_usize) {
        let gone = name(gone % count);
        let all = nodes(count, zones);
        let fewer: Vec<Candidate> = all.iter().filter(|node| node.name != gone).cloned().collect();
        let (before, after) = (watches(&roster(&all)), watches(&roster(&fewer)));
        let mut moved = 0;
        for (before, after) in before.iter().zip(&after) {
            if before.lookers().contains(&gone) {
                moved += 1;
                let kept = |watch: &Watch| watch.lookers().iter().filter(|it| **it != gone).cloned().collect::<BTreeSet<_>>();
                prop_assert!(kept(before).intersection(&kept(after)).count() >= 1, "somebody goes on looking");
            } else {
                prop_assert_eq!(before, after, "who did not have it keeps what it has");
            }
        }
        let share = before.len() as f64 * LOOKERS as f64 / count as f64;
        prop_assert!(f64::from(moved) <= share * 1.5 + 12.0, "{} of {} moved", moved, before.len());
    }

    #[test]
    fn a_probers_death_leaves_the_other_prober_in_place(count in 4..40_usize, zones in 0..4_usize) {
        let all = nodes(count, zones);
        let before = watches(&roster(&all));
        for watch in before.iter().zip(0..CHUNKS).step_by(29) {
            let (watch, raw) = watch;
            let [first, second] = watch.probers() else { panic!("two probers") };
            for (gone, stays) in [(first, second), (second, first)] {
                let fewer: Vec<Candidate> = all.iter().filter(|node| node.name != *gone).cloned().collect();
                let after = roster(&fewer).watch(ChunkId::new(raw).unwrap(), PROBERS);
                prop_assert!(after.lookers().contains(stays));
            }
        }
    }
}
