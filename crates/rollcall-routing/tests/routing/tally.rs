//! Picks that no load report tells of yet.

use rollcall_routing::{Candidate, LoadReport, Moment, Policy, Query, ServiceIndex, Signal, Tally, explain};
use rollcall_types::UnixMillis;

use crate::fixture::{NOW, ask, load, passing};

fn index(at: UnixMillis) -> ServiceIndex {
    let load = Some(LoadReport { at, ..load(2) });
    let candidate = Candidate { load, max_concurrent: Some(100), ..passing("a") };
    ServiceIndex::build(vec![candidate], Policy::default())
}

/// Requests in flight at the only instance, as they are expected `millis` later.
fn in_flight(index: &ServiceIndex, tally: &Tally, millis: u64) -> f64 {
    let moment = Moment { now: later(millis), turn: 0, tally: Some(tally) };
    let explained = explain(index, &Query::default(), moment, None).unwrap();
    match explained.lines[0].terms[0].signal {
        Signal::Load { in_flight, .. } => in_flight,
        ref other => panic!("the first term is load: {other:?}"),
    }
}

fn later(millis: u64) -> UnixMillis {
    UnixMillis::new(NOW.get() + millis)
}

fn picked(index: &ServiceIndex, times: u32) -> Tally {
    let tally = Tally::new(index, NOW);
    let answer = ask(index, &Query::default(), 1);
    (0..times).for_each(|_| tally.add(&answer));
    tally
}

#[test]
fn picks_are_expected_in_flight_by_their_rate_and_latency_and_never_less_than_what_was_reported() {
    let index = index(NOW);
    let tally = picked(&index, 40);
    // Nothing is known of latency, so 100 ms are assumed.
    assert_eq!(
        [0, 100, 200, 1_000, 9_000].map(|millis| in_flight(&index, &tally, millis)),
        [40.0, 40.0, 20.0, 4.0, 2.0]
    );
}

#[test]
fn a_new_report_begins_a_new_count_and_an_index_without_one_goes_on_with_the_old() {
    let before = index(NOW);
    let tally = picked(&before, 40);
    let same = Tally::carried(&before, later(200), &before, &tally);
    assert_eq!(in_flight(&before, &same, 200), 20.0);
    let after = index(later(200));
    let fresh = Tally::carried(&after, later(200), &before, &tally);
    assert_eq!(in_flight(&after, &fresh, 200), 2.0);
}

#[test]
fn what_is_counted_for_long_is_halved_with_its_span_so_that_the_rate_stays() {
    let index = index(NOW);
    let tally = picked(&index, 8_000);
    let (before, carried) = (in_flight(&index, &tally, 16_000), Tally::carried(&index, later(16_000), &index, &tally));
    assert_eq!((before, in_flight(&index, &carried, 16_000)), (50.0, 50.0));
    assert_eq!(in_flight(&index, &carried, 24_000), 25.0, "and old times fade faster");
}
