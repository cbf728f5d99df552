//! Candidates and questions that tests begin with.

use std::time::Duration;

use rollcall_routing::{
    Answer, Candidate, LoadReport, Moment, Performance, Policy, Query, Random, Scratch, ServiceIndex, Strategy, resolve,
};
use rollcall_types::{InstanceId, Label, ServiceKey, ServiceName, Status, UnixMillis, Weight};

/// When tests begin.
pub(crate) const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

/// A passing instance of `orders` of which nothing else is known.
pub(crate) fn passing(id: &str) -> Candidate {
    let service = ServiceKey::from(&ServiceName::try_from("orders").unwrap());
    Candidate { status: Status::Passing, ..Candidate::new(service, InstanceId::try_from(id).unwrap()) }
}

/// `n` passing instances, `i-000` and so on.
pub(crate) fn many(n: usize) -> Vec<Candidate> {
    (0..n).map(|i| passing(&format!("i-{i:03}"))).collect()
}

/// What many samples tell that ended just now.
pub(crate) fn seen(latency_ms: u64, success: f64) -> Performance {
    Performance { latency: Duration::from_millis(latency_ms), success, samples: 1e9, at: NOW }
}

pub(crate) fn load(in_flight: u32) -> LoadReport {
    LoadReport { in_flight: Some(in_flight), used: None, at: NOW }
}

pub(crate) fn weight(weight: u64) -> Weight {
    Weight::try_from(weight).unwrap()
}

pub(crate) fn label(text: &str) -> Label {
    Label::try_from(text).unwrap()
}

pub(crate) fn policy(strategy: Strategy) -> Policy {
    Policy { strategy, ..Policy::default() }
}

/// The first answer to `query` at [`NOW`] with a seed of its own.
pub(crate) fn ask(index: &ServiceIndex, query: &Query<'_>, seed: u64) -> Answer {
    resolve(index, query, Moment::at(NOW), &mut Random::new(seed), &mut Scratch::default()).unwrap()
}

/// The part of `times` answers that each instance gets, in the order of the index. Turns count on.
pub(crate) fn shares(index: &ServiceIndex, query: &Query<'_>, times: u64) -> Vec<f64> {
    let (mut rng, mut scratch) = (Random::new(1), Scratch::default());
    let mut counts = vec![0_u64; index.candidates().len()];
    for turn in 0..times {
        let moment = Moment { turn, ..Moment::at(NOW) };
        let answer = resolve(index, query, moment, &mut rng, &mut scratch).unwrap();
        counts[answer.picks[0].position] += 1;
    }
    counts.into_iter().map(|count| count as f64 / times as f64).collect()
}
