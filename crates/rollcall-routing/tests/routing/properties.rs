//! What holds for any candidates and any question.

use std::time::Duration;

use proptest::prelude::*;
use rollcall_routing::{
    Caller, Candidate, FailOpen, Forecast, LoadReport, Moment, Performance, Policy, Query, Random, RoundTrip, Scratch,
    ServiceIndex, Strategy as Way, Tally, Traits, resolve, version_req,
};
use rollcall_types::{Lifecycle, Millis, Status, Tag, Text, UnixMillis, Version};

use crate::fixture::{NOW, label, passing, weight};

/// Any number, the worst ones included.
fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-1.0), Just(0.0), Just(1.0), Just(f64::MAX), 0.0..2.0]
}

fn any_lifecycle() -> impl Strategy<Value = Lifecycle> {
    let reason = || Text::try_from("for a reason").unwrap();
    prop_oneof![
        4 => Just(Lifecycle::Active),
        1 => Just(Lifecycle::Draining { deadline: None, reason: reason() }),
        1 => Just(Lifecycle::Quarantined { until: UnixMillis::new(NOW.get() + 1), reason: reason() }),
        1 => Just(Lifecycle::Quarantined { until: NOW, reason: reason() }),
    ]
}

fn any_status() -> impl Strategy<Value = Status> {
    prop_oneof![
        1 => Just(Status::Unknown),
        1 => Just(Status::Starting),
        4 => Just(Status::Passing),
        1 => Just(Status::Warning),
        1 => Just(Status::Critical),
    ]
}

fn any_performance() -> impl Strategy<Value = Performance> {
    (0_u64..10_000, any_number(), any_number(), 0_u64..2_000_000).prop_map(|(latency, success, samples, age)| {
        Performance {
            latency: Duration::from_millis(latency),
            success,
            samples,
            at: UnixMillis::new(NOW.get() + 1_000_000 - age),
        }
    })
}

prop_compose! {
    fn any_measured()(
        health in proptest::option::of(any_number()),
        time_to_failure in proptest::option::of((0_u64..2_000).prop_map(Duration::from_secs)),
        confidence in any_number(),
        load in proptest::option::of((proptest::option::of(any::<u32>()), proptest::option::of(any_number()))),
        max_concurrent in proptest::option::of(0_u32..1_000),
        performance in proptest::option::of(any_performance()),
        context in proptest::option::of(any_performance()),
        trip in proptest::option::of(0_u64..1_000),
        cost_micros in proptest::option::of(any::<u64>()),
    ) -> Candidate {
        Candidate {
            health,
            forecast: Forecast { is_degrading: true, time_to_failure, confidence },
            load: load.map(|(in_flight, used)| LoadReport { in_flight, used, at: NOW }),
            max_concurrent,
            performance,
            contexts: context.map(|seen| (label("checkout"), seen)).into_iter().collect(),
            round_trip: trip.map(|trip| RoundTrip { from_zone: None, time: Duration::from_millis(trip) }),
            cost_micros,
            ..passing("x")
        }
    }
}

prop_compose! {
    fn any_candidate()(
        measured in any_measured(),
        status in any_status(),
        lifecycle in any_lifecycle(),
        weighs in 1_u64..=65_535,
        version in proptest::option::of(prop_oneof![Just("1.4.2"), Just("2.0.0"), Just("latest")]),
        is_tagged in any::<bool>(),
        zone in proptest::option::of(prop_oneof![Just("a"), Just("b")]),
        is_ejected in proptest::bool::weighted(0.1),
        warming in proptest::option::of(0_u64..20_000),
    ) -> Candidate {
        Candidate {
            status,
            lifecycle,
            weight: weight(weighs),
            version: version.map(|version| Version::try_from(version).unwrap()),
            tags: is_tagged.then(|| Tag::try_from("api").unwrap()).into_iter().collect(),
            zone: zone.map(label),
            ejected_until: is_ejected.then_some(UnixMillis::MAX),
            warming_since: warming.map(|warming| UnixMillis::new(NOW.get() - warming)),
            ..measured
        }
    }
}

pub(crate) fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::collection::vec(any_candidate(), 1..20).prop_map(|mut candidates| {
        for (i, candidate) in candidates.iter_mut().enumerate() {
            candidate.instance = passing(&format!("i-{i:02}")).instance;
        }
        candidates
    })
}

pub(crate) fn any_way() -> impl Strategy<Value = Way> {
    proptest::sample::select(Way::ALL.to_vec())
}

fn is_eligible(candidate: &Candidate) -> bool {
    let is_active = match candidate.lifecycle {
        Lifecycle::Active => true,
        Lifecycle::Draining { .. } => false,
        Lifecycle::Quarantined { until, .. } => until <= NOW,
    };
    let is_healthy = !matches!(candidate.status, Status::Critical | Status::Starting);
    is_active && is_healthy && candidate.ejected_until.is_none()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn only_who_is_eligible_is_picked_each_once_and_no_score_leaves_its_range(
        candidates in any_candidates(), way in any_way(), n in 1_usize..8, seed: u64, turn: u64, tag: bool, only: bool, constrain: bool,
    ) {
        let policy = Policy { slow_start: Millis::new(10_000), ..Policy::default() };
        let index = ServiceIndex::build(candidates, policy);
        let (tag_api, constraint, context, zone) = ([Tag::try_from("api").unwrap()], version_req("^1").unwrap(), label("checkout"), label("a"));
        let exclude = [passing("i-00").instance];
        let query = Query {
            n,
            caller: Caller { id: Some("web"), context: Some(&context), zone: Some(&zone), ..Caller::default() },
            require: Traits { tags: if tag { &tag_api } else { &[] }, version: constrain.then_some(&constraint), capabilities: &[] },
            prefer: Traits { tags: &tag_api, ..Traits::default() },
            exclude: &exclude,
            only_passing: only,
            strategy: Some(way),
            ..Query::default()
        };
        let fits = |candidate: &Candidate| {
            is_eligible(candidate)
                && candidate.instance != exclude[0]
                && (!tag || !candidate.tags.is_empty())
                && (!constrain || candidate.version.as_deref() == Some("1.4.2"))
                && (!only || candidate.status == Status::Passing)
        };
        let eligible = index.candidates().iter().filter(|candidate| fits(candidate)).count();
        let tally = Tally::new(&index, NOW);
        let moment = Moment { now: NOW, turn, tally: Some(&tally) };
        match resolve(&index, &query, moment, &mut Random::new(seed), &mut Scratch::default()) {
            Err(_) => prop_assert_eq!(eligible, 0),
            Ok(answer) => {
                prop_assert_eq!(answer.picks.len(), n.min(eligible));
                prop_assert_eq!(answer.eligible, eligible);
                let mut positions: Vec<usize> = answer.picks.iter().map(|pick| pick.position).collect();
                positions.sort_unstable();
                positions.dedup();
                prop_assert_eq!(positions.len(), answer.picks.len(), "each once");
                for pick in &answer.picks {
                    prop_assert!(fits(&index.candidates()[pick.position]));
                    prop_assert!(!pick.reasons.is_out() && !pick.reasons.is_empty());
                    let score = pick.score;
                    let parts = [score.sum, score.health, score.forecast, score.ramp, score.rank(), score.value()];
                    for part in score.factors.into_iter().chain(parts) {
                        prop_assert!((0.0..=1.0).contains(&part), "{:?}", score);
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_answer_whatever_the_order_of_candidates(
        candidates in any_candidates(), way in any_way(), seed: u64, n in 1_usize..8,
    ) {
        let mut reversed = candidates.clone();
        reversed.reverse();
        let answer = |candidates: Vec<Candidate>| {
            let index = ServiceIndex::build(candidates, Policy::default());
            let query = Query { n, strategy: Some(way), hash_key: Some(b"key"), ..Query::default() };
            resolve(&index, &query, Moment::at(NOW), &mut Random::new(seed), &mut Scratch::default())
        };
        prop_assert_eq!(answer(candidates), answer(reversed));
    }

    #[test]
    fn failing_open_takes_whoever_fits_and_says_so(candidates in any_candidates(), way in any_way(), seed: u64) {
        let index = ServiceIndex::build(candidates, Policy::default());
        let all = 1.0.try_into().unwrap();
        let query = Query { n: 100, strategy: Some(way), hash_key: Some(b"key"), fail_open: Some(FailOpen::Below(all)), ..Query::default() };
        if let Ok(answer) = resolve(&index, &query, Moment::at(NOW), &mut Random::new(seed), &mut Scratch::default()) {
            let picked: Vec<&Candidate> = answer.picks.iter().map(|pick| &index.candidates()[pick.position]).collect();
            prop_assert_eq!(answer.is_open, !picked.iter().all(|candidate| is_eligible(candidate)));
            for candidate in picked {
                let is_kept_out = matches!(&candidate.lifecycle, Lifecycle::Draining { .. })
                    || matches!(&candidate.lifecycle, Lifecycle::Quarantined { until, .. } if *until > NOW);
                prop_assert!(!is_kept_out, "what an operator decided holds");
            }
        }
    }
}
