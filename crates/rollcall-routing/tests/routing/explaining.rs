//! Explanations against answers.

use proptest::prelude::*;
use rollcall_routing::{
    Caller, Candidate, FailOpen, Moment, Policy, Query, Random, Reason, Scratch, ServiceIndex, Strategy, explain,
    resolve,
};
use rollcall_types::{Lifecycle, Status, Text};

use crate::fixture::{NOW, ask, label, load, many, passing, policy, seen, shares, weight};
use crate::properties::{any_candidates, any_way};

/// Three that differ in all that strategies look at.
fn mixed() -> Vec<Candidate> {
    let instance = |id, zone, latency, in_flight, w| Candidate {
        zone: Some(label(zone)),
        region: Some(label("r")),
        performance: Some(seen(latency, 1.0)),
        load: Some(load(in_flight)),
        max_concurrent: Some(100),
        weight: weight(w),
        health: Some(0.9),
        ..passing(id)
    };
    let sick = |id| Candidate { status: Status::Critical, ..instance(id, "a", 50, 0, 1) };
    vec![
        instance("a", "a", 50, 20, 1),
        instance("b", "a", 80, 20, 2),
        instance("c", "b", 50, 30, 1),
        sick("d"),
        sick("e"),
    ]
}

#[test]
fn the_shares_that_are_told_are_those_that_are_drawn() {
    let (zone, region) = (label("a"), label("r"));
    let caller = Caller { zone: Some(&zone), region: Some(&region), ..Caller::default() };
    for strategy in Strategy::ALL {
        let wide = 0.2.try_into().unwrap();
        let index = ServiceIndex::build(mixed(), Policy { tie_band: wide, ..policy(strategy) });
        let query = Query { caller, hash_key: Some(b"k"), ..Query::default() };
        let explained = explain(&index, &query, Moment::at(NOW), None).unwrap();
        let told: Vec<f64> = explained.lines.iter().map(|line| line.share).collect();
        assert!((told.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{strategy}: {told:?}");
        let drawn = shares(&index, &query, 20_000);
        let near = told.iter().zip(&drawn).all(|(told, drawn)| (told - drawn).abs() < 0.02);
        assert!(near, "{strategy}: told {told:?}, drawn {drawn:?}");
    }
}

#[test]
fn who_is_out_is_told_why_and_until_when() {
    let text = || Text::try_from("").unwrap();
    let later = rollcall_types::UnixMillis::new(NOW.get() + 60_000);
    let mut candidates = many(6);
    candidates[0].lifecycle = Lifecycle::Draining { deadline: None, reason: text() };
    candidates[1].lifecycle = Lifecycle::Quarantined { until: later, reason: text() };
    candidates[2].ejected_until = Some(later);
    candidates[3].status = Status::Critical;
    candidates[4].health = Some(0.2);
    let index = ServiceIndex::build(candidates, Policy::default());
    let query = Query::default();
    let answer = ask(&index, &query, 1);
    let explained = explain(&index, &query, Moment::at(NOW), Some(&answer)).unwrap();
    let expected = [
        (Reason::Draining, None),
        (Reason::Quarantined, Some(later)),
        (Reason::Ejected, Some(later)),
        (Reason::Critical, None),
        (Reason::Outranked, None),
        (Reason::Best, None),
    ];
    for (line, (reason, until)) in explained.lines.iter().zip(expected) {
        assert!(line.reasons.contains(reason), "{reason}: {:?}", line.reasons.iter().collect::<Vec<_>>());
        assert_eq!(line.until, until);
        assert_eq!(line.is_in, reason == Reason::Best);
    }
    let gap = explained.lines[4].gap;
    let (best, outranked) = (explained.lines[5].score.rank(), explained.lines[4].score.rank());
    assert!((best - 0.1 - outranked - gap).abs() < 1e-9, "{gap}");
}

#[test]
fn those_without_any_health_share_evenly_and_are_in() {
    let candidates = many(4).into_iter().map(|candidate| Candidate { health: Some(0.0), ..candidate }).collect();
    let index = ServiceIndex::build(candidates, Policy::default());
    let turning = [Strategy::LeastConnections, Strategy::P2cEwma, Strategy::ConsistentHash];
    for strategy in Strategy::ALL.into_iter().filter(|strategy| !turning.contains(strategy)) {
        let query = Query { strategy: Some(strategy), ..Query::default() };
        let explained = explain(&index, &query, Moment::at(NOW), None).unwrap();
        assert!(explained.lines.iter().all(|line| line.is_in && line.share == 0.25), "{strategy}");
    }
}

#[test]
fn failing_open_is_told_for_everyone_who_is_in_by_it() {
    let mut candidates = many(3);
    candidates.iter_mut().take(2).for_each(|candidate| candidate.status = Status::Critical);
    let half = Some(0.5.try_into().unwrap());
    let index = ServiceIndex::build(candidates, Policy { fail_open: half, ..policy(Strategy::Random) });
    let explained = explain(&index, &Query::default(), Moment::at(NOW), None).unwrap();
    assert!(explained.is_open);
    assert!(explained.lines.iter().all(|line| line.is_in && line.reasons.contains(Reason::FailOpen)));
    let never = Query { fail_open: Some(FailOpen::Never), ..Query::default() };
    let explained = explain(&index, &never, Moment::at(NOW), None).unwrap();
    assert!(!explained.is_open, "the request says otherwise");
}

proptest! {
    #[test]
    fn whoever_is_picked_is_in_and_whoever_is_out_is_told_why(
        candidates in any_candidates(), way in any_way(), seed: u64, n in 1_usize..4,
    ) {
        let index = ServiceIndex::build(candidates, Policy::default());
        let query = Query { n, strategy: Some(way), hash_key: Some(b"key"), ..Query::default() };
        let answer = resolve(&index, &query, Moment::at(NOW), &mut Random::new(seed), &mut Scratch::default()).ok();
        let before = explain(&index, &query, Moment::at(NOW), None).unwrap();
        let after = explain(&index, &query, Moment::at(NOW), answer.as_ref()).unwrap();
        let picked: Vec<usize> = answer.iter().flat_map(|answer| &answer.picks).map(|pick| pick.position).collect();
        for (before, after) in before.lines.iter().zip(&after.lines) {
            prop_assert_eq!(after.is_in, picked.contains(&after.position));
            prop_assert_eq!(after.is_in, !after.reasons.is_out(), "{:?}", after.reasons.iter().collect::<Vec<_>>());
            prop_assert!((0.0..=1.0 + 1e-9).contains(&before.share), "{}", before.share);
            prop_assert!(before.is_in || before.share == 0.0);
            let sum: f64 = before.terms.iter().map(|term| term.product()).sum();
            prop_assert!((sum - before.score.sum).abs() < 1e-9, "the products add up to the sum");
        }
        let total: f64 = before.lines.iter().map(|line| line.share).sum();
        prop_assert!(answer.is_none() || (total - 1.0).abs() < 1e-6, "{total}");
    }
}

#[test]
fn a_capability_is_answered_across_services_and_an_id_is_excluded_in_all_of_them() {
    let capability = rollcall_types::CapabilityName::try_from("translate").unwrap();
    let of_service = |service: &str, cost| Candidate {
        service: rollcall_types::ServiceKey::from(&rollcall_types::ServiceName::try_from(service).unwrap()),
        capabilities: [capability.clone()].into_iter().collect(),
        cost_micros: Some(cost),
        ..passing("i-1")
    };
    let other = Candidate { instance: passing("i-2").instance, ..of_service("human", 900) };
    let index = ServiceIndex::build(
        vec![of_service("machine", 100), of_service("human", 900), other, passing("i-3")],
        policy(Strategy::Scored),
    );
    let wanted = [capability];
    let require = rollcall_routing::Traits { capabilities: &wanted, ..Default::default() };
    let query = Query { n: 10, require, ..Query::default() };
    let names = |query: &Query<'_>| -> Vec<String> {
        let told = |position: usize| {
            let candidate = &index.candidates()[position];
            format!("{}/{}", candidate.service, candidate.instance)
        };
        let mut names: Vec<String> = ask(&index, query, 1).picks.iter().map(|pick| told(pick.position)).collect();
        names.sort();
        names
    };
    assert_eq!(names(&query), ["human/i-1", "human/i-2", "machine/i-1"]);
    let exclude = [passing("i-1").instance];
    assert_eq!(names(&Query { exclude: &exclude, ..query }), ["human/i-2"]);
}
