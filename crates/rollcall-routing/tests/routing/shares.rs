//! How requests are shared out, against what the formulas predict.

use rollcall_routing::{
    Answer, Caller, Candidate, Moment, Policy, Query, Random, Refusal, Scratch, ServiceIndex, Strategy, Tally, resolve,
};
use rollcall_types::Status;

use crate::fixture::{NOW, ask, label, load, many, passing, policy, seen, shares, weight};

/// How far a share may be from the prediction.
const TOLERANCE: f64 = 0.05;
const SELECTIONS: u64 = 100_000;
/// Enough for shares that are not the point of 100,000.
const SOME: u64 = 10_000;

#[track_caller]
fn check(got: &[f64], predicted: &[f64]) {
    let near = got.iter().zip(predicted).all(|(got, predicted)| (got - predicted).abs() <= TOLERANCE);
    assert!(near && got.len() == predicted.len(), "got {got:?}, predicted {predicted:?}");
}

/// One good, one twice as slow, one overloaded.
fn unequal() -> Vec<Candidate> {
    let instance = |id, latency, in_flight| Candidate {
        performance: Some(seen(latency, 1.0)),
        load: Some(load(in_flight)),
        max_concurrent: Some(100),
        ..passing(id)
    };
    vec![instance("good", 50, 20), instance("overloaded", 50, 95), instance("slow", 100, 20)]
}

/// The score by hand: the neutral proximity, nothing preferred, no cost declared.
fn by_hand(load: f64, performance: f64) -> f64 {
    0.30 * load + 0.25 * performance + 0.15 * 0.5 + 0.20 * 1.0 + 0.10 * 1.0
}

#[test]
fn the_best_gets_all_when_no_other_is_near_it() {
    let index = ServiceIndex::build(unequal(), Policy::default());
    let (good, overloaded, slow) = (by_hand(0.8, 1.0), by_hand(0.05, 1.0), by_hand(0.8, 0.5));
    assert!(good - 0.1 > slow && good - 0.1 > overloaded);
    check(&shares(&index, &Query::default(), SELECTIONS), &[1.0, 0.0, 0.0]);
}

#[test]
fn within_the_tie_band_each_gets_its_part_of_the_scores() {
    for (band, in_band) in [(0.15, [true, false, true]), (0.3, [true, true, true])] {
        let policy = Policy { tie_band: band.try_into().unwrap(), ..Policy::default() };
        let index = ServiceIndex::build(unequal(), policy);
        let scores = [by_hand(0.8, 1.0), by_hand(0.05, 1.0), by_hand(0.8, 0.5)];
        let weights = [0, 1, 2].map(|i| if in_band[i] { scores[i] } else { 0.0 });
        let total: f64 = weights.iter().sum();
        check(&shares(&index, &Query::default(), SELECTIONS), &weights.map(|weight| weight / total));
    }
}

#[test]
fn equals_share_by_the_weight_of_their_registration() {
    let weighted = [1, 2, 5].map(|w| Candidate { weight: weight(w), ..passing(&format!("w{w}")) });
    let predicted = [0.125, 0.25, 0.625];
    for strategy in [Strategy::Scored, Strategy::WeightedRoundRobin, Strategy::HealthBased, Strategy::Locality] {
        let index = ServiceIndex::build(weighted.to_vec(), policy(strategy));
        check(&shares(&index, &Query::default(), SOME), &predicted);
    }
    for strategy in [Strategy::RoundRobin, Strategy::Random] {
        let index = ServiceIndex::build(weighted.to_vec(), policy(strategy));
        check(&shares(&index, &Query::default(), SOME), &[1.0 / 3.0; 3]);
    }
}

#[test]
fn weighted_round_robin_is_exact_after_as_many_turns_as_there_is_weight_and_evenly_spread() {
    let weighted = [5, 1, 1].map(weight).into_iter().zip(["a", "b", "c"]);
    let candidates = weighted.map(|(weight, id)| Candidate { weight, ..passing(id) }).collect();
    let index = ServiceIndex::build(candidates, policy(Strategy::WeightedRoundRobin));
    let got = shares(&index, &Query::default(), 7);
    assert_eq!(got, [5.0 / 7.0, 1.0 / 7.0, 1.0 / 7.0]);
    let picks: Vec<usize> = (0..70).map(|turn| at_turn(&index, turn).picks[0].position).collect();
    let longest = picks.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
    assert!(longest <= Some(5), "{picks:?}");
}

fn at_turn(index: &ServiceIndex, turn: u64) -> Answer {
    let moment = Moment { turn, ..Moment::at(NOW) };
    resolve(index, &Query::default(), moment, &mut Random::new(1), &mut Scratch::default()).unwrap()
}

#[test]
fn round_robin_takes_everyone_once_before_anyone_twice() {
    let index = ServiceIndex::build(many(7), policy(Strategy::RoundRobin));
    let picks: Vec<usize> = (0..14).map(|turn| at_turn(&index, turn).picks[0].position).collect();
    assert_eq!(picks, (0..7).chain(0..7).collect::<Vec<_>>());
}

#[test]
fn a_warming_or_threatened_instance_gets_a_smaller_share_and_never_none() {
    let policy = Policy { slow_start: rollcall_types::Millis::new(10_000), ..Policy::default() };
    let warming = Candidate { warming_since: Some(NOW), ..passing("warming") };
    let forecast = rollcall_routing::Forecast {
        is_degrading: true,
        time_to_failure: Some(std::time::Duration::from_secs(330)),
        confidence: 1.0,
    };
    let threatened = Candidate { forecast, ..passing("threatened") };
    let index = ServiceIndex::build(vec![passing("calm"), threatened, warming], policy);
    check(&shares(&index, &Query::default(), SOME), &[1.0 / 1.6, 0.5 / 1.6, 0.1 / 1.6]);
}

#[test]
fn two_callers_in_lock_step_do_not_always_pick_the_same() {
    let index = ServiceIndex::build(many(3), Policy::default());
    let (mut one, mut other) = (Random::new(1), Random::new(2));
    let (mut scratch, mut same) = (Scratch::default(), 0);
    for _ in 0..1_000 {
        let mut pick =
            |rng| resolve(&index, &Query::default(), Moment::at(NOW), rng, &mut scratch).unwrap().picks[0].position;
        same += u32::from(pick(&mut one) == pick(&mut other));
    }
    assert!((250..420).contains(&same), "a third is expected of three equals: {same}");
}

#[test]
fn a_burst_between_two_heartbeats_does_not_go_to_the_one_that_was_idle() {
    let instance = |id, in_flight| Candidate { load: Some(load(in_flight)), max_concurrent: Some(100), ..passing(id) };
    for strategy in [Strategy::Scored, Strategy::LeastConnections, Strategy::P2cEwma] {
        let index =
            ServiceIndex::build(vec![instance("a", 50), instance("b", 50), instance("idle", 0)], policy(strategy));
        let tally = Tally::new(&index, NOW);
        let (mut rng, mut scratch, mut to_idle) = (Random::new(1), Scratch::default(), 0);
        for _ in 0..150 {
            let moment = Moment { tally: Some(&tally), ..Moment::at(NOW) };
            let answer = resolve(&index, &Query::default(), moment, &mut rng, &mut scratch).unwrap();
            to_idle += u32::from(answer.picks[0].position == 2);
            tally.add(&answer);
        }
        assert!((40..=95).contains(&to_idle), "{strategy}: {to_idle} of 150");
    }
}

#[test]
fn consistent_hash_moves_only_the_part_of_one_that_joins_and_loads_none_by_more_than_a_quarter() {
    const KEYS: u64 = 10_000;
    let owners = |n: usize| -> Vec<usize> {
        let index = ServiceIndex::build(many(n), policy(Strategy::ConsistentHash));
        (0..KEYS)
            .map(|key| ask(&index, &Query { hash_key: Some(&key.to_be_bytes()), ..Query::default() }, 1))
            .map(|answer| answer.picks[0].position)
            .collect()
    };
    for n in [3, 10, 30] {
        // The one that joins is last by name, so positions of the others stay.
        let (before, after) = (owners(n), owners(n + 1));
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count() as f64 / KEYS as f64;
        assert!(moved <= 1.3 / n as f64, "{n}: {moved}");
        assert!(before.iter().zip(&after).all(|(a, b)| a == b || *b == n), "keys move to the newcomer only");
        let mut counts = vec![0.0; n];
        before.iter().for_each(|owner| counts[*owner] += 1.0);
        let most = counts.iter().copied().fold(0.0, f64::max);
        assert!(most <= 1.25 * KEYS as f64 / n as f64, "{n}: {counts:?}");
    }
}

#[test]
fn who_has_no_key_where_the_policy_hashes_gets_the_best_by_score() {
    let index = ServiceIndex::build(many(3), policy(Strategy::ConsistentHash));
    assert_eq!(ask(&index, &Query::default(), 1).strategy, Strategy::Scored);
    let asked = Query { strategy: Some(Strategy::ConsistentHash), ..Query::default() };
    let refused = resolve(&index, &asked, Moment::at(NOW), &mut Random::new(1), &mut Scratch::default());
    assert!(matches!(refused, Err(Refusal::Invalid(error)) if error.field == "hash_key"));
}

#[test]
fn one_hot_key_overflows_to_others_when_its_owner_is_full() {
    let index = ServiceIndex::build(many(8), policy(Strategy::ConsistentHash));
    let tally = Tally::new(&index, NOW);
    let (mut rng, mut scratch, mut counts) = (Random::new(1), Scratch::default(), [0_u32; 8]);
    let query = Query { hash_key: Some(b"the hot one"), ..Query::default() };
    for _ in 0..4_000 {
        let moment = Moment { tally: Some(&tally), ..Moment::at(NOW) };
        let answer = resolve(&index, &query, moment, &mut rng, &mut scratch).unwrap();
        counts[answer.picks[0].position] += 1;
        tally.add(&answer);
    }
    assert!(counts.iter().all(|count| *count <= 626), "{counts:?}");
}

#[test]
fn consistent_hash_shares_keys_by_weight() {
    let candidates = [1, 2, 5].map(|w| Candidate { weight: weight(w), ..passing(&format!("w{w}")) }).to_vec();
    let index = ServiceIndex::build(candidates, policy(Strategy::ConsistentHash));
    let mut counts = [0.0; 3];
    for key in 0..10_000_u64 {
        let query = Query { hash_key: Some(&key.to_be_bytes()), ..Query::default() };
        counts[ask(&index, &query, 1).picks[0].position] += 1.0 / 10_000.0;
    }
    check(&counts, &[0.125, 0.25, 0.625]);
}

#[test]
fn a_client_sees_its_subset_and_one_that_leaves_changes_one_of_it() {
    let subset = |candidates: Vec<Candidate>, client: &str| -> Vec<String> {
        let policy = Policy { subset: std::num::NonZeroU32::new(5), ..policy(Strategy::RoundRobin) };
        let index = ServiceIndex::build(candidates, policy);
        let query = Query { caller: Caller { id: Some(client), ..Caller::default() }, n: 100, ..Query::default() };
        let picks = ask(&index, &query, 1).picks;
        picks.iter().map(|pick| index.candidates()[pick.position].instance.to_string()).collect()
    };
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for client in 0..2_000 {
        let seen = subset(many(50), &format!("client-{client}"));
        assert_eq!(seen.len(), 5);
        seen.into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
    }
    assert!(counts.len() == 50 && counts.values().all(|count| (140..=260).contains(count)), "{counts:?}");
    let mut before = subset(many(50), "web-1");
    let mut rest = many(50);
    rest.retain(|candidate| candidate.instance.as_str() != before[0]);
    let mut after = subset(rest, "web-1");
    before.remove(0);
    after.retain(|id| !before.contains(id));
    assert_eq!(after.len(), 1, "the other four stay");
}

#[test]
fn locality_stays_near_and_spills_over_as_capacity_is_lost() {
    let in_zone = |zone: &str, n: usize, sick: usize| -> Vec<Candidate> {
        let status = |i| if i < sick { Status::Critical } else { Status::Passing };
        let place = |i| Candidate {
            zone: Some(label(zone)),
            region: Some(label("r")),
            status: status(i),
            ..passing(&format!("{zone}{i}"))
        };
        (0..n).map(place).collect()
    };
    let (zone, region) = (label("a"), label("r"));
    let query =
        Query { caller: Caller { zone: Some(&zone), region: Some(&region), ..Caller::default() }, ..Query::default() };
    // 1.4 times the healthy part stays: all with 3 of 4, 70 % with 2 of 4, 35 % with 1 of 4.
    for (sick, local) in [(0, 1.0), (1, 1.0), (2, 0.7), (3, 0.35), (4, 0.0)] {
        let candidates = [in_zone("a", 4, sick), in_zone("b", 4, 0)].concat();
        let index = ServiceIndex::build(candidates, policy(Strategy::Locality));
        let got: f64 = shares(&index, &query, SOME)[..4].iter().sum();
        check(&[got], &[local]);
    }
}

#[test]
fn locality_spills_over_when_the_near_ones_are_full() {
    let instance = |id: &str, zone: &str, in_flight| Candidate {
        zone: Some(label(zone)),
        region: Some(label("r")),
        load: Some(load(in_flight)),
        max_concurrent: Some(100),
        ..passing(id)
    };
    let (zone, region) = (label("a"), label("r"));
    let query =
        Query { caller: Caller { zone: Some(&zone), region: Some(&region), ..Caller::default() }, ..Query::default() };
    // 5 % of room is a quarter of what is needed: 1.4 × 0.25 stays.
    for (in_flight, local) in [(60, 1.0), (95, 0.35), (100, 0.0)] {
        let index = ServiceIndex::build(
            vec![instance("near", "a", in_flight), instance("far", "b", 0)],
            policy(Strategy::Locality),
        );
        check(&shares(&index, &query, SOME)[1..], &[local]);
    }
}
