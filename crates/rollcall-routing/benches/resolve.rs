//! What a question costs: `cargo bench -p rollcall-routing`.
//!
//! Expected: 2 µs for 10 instances and 60 µs for 1,000, with one allocation (the list of the answer). Scoring one instance
//! is about a hundred multiplications and no division that is not needed; the list of those that take part stays in the cache.

mod instances;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rollcall_routing::{
    Caller, Moment, Policy, Query, Random, Scratch, ServiceIndex, Strategy, Tally, explain, resolve,
};
use rollcall_types::Label;

use crate::instances::{NOW, candidates};

fn bench(criterion: &mut Criterion) {
    let (zone, region, context) = ["a", "eu", "checkout"].map(|text| Label::try_from(text).expect("a label")).into();
    let caller =
        Caller { id: Some("web-1"), host: None, zone: Some(&zone), region: Some(&region), context: Some(&context) };
    let (mut rng, mut scratch) = (Random::new(1), Scratch::default());
    for strategy in Strategy::ALL {
        let mut group = criterion.benchmark_group(format!("resolve/{strategy}"));
        for n in [10, 100, 1_000] {
            let index = ServiceIndex::build(candidates(n), Policy { strategy, ..Policy::default() });
            let tally = Tally::new(&index, NOW);
            let query = Query { caller, hash_key: Some(b"customer-42"), ..Query::default() };
            let mut turn = 0;
            let mut ask = || {
                turn += 1;
                let moment = Moment { now: NOW, turn, tally: Some(&tally) };
                resolve(black_box(&index), black_box(&query), moment, &mut rng, &mut scratch).expect("an answer")
            };
            ask();
            let used = allocation_counter::measure(|| drop(ask()));
            assert_eq!(used.count_total, 1, "the list of the answer");
            group.bench_function(BenchmarkId::from_parameter(n), |bencher| bencher.iter(&mut ask));
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group("index");
    for n in [10, 1_000] {
        let list = candidates(n);
        let build = |list| ServiceIndex::build(list, Policy::default());
        group.bench_function(BenchmarkId::new("build", n), |bencher| {
            bencher.iter_batched(|| list.clone(), build, criterion::BatchSize::LargeInput);
        });
        let index = build(list.clone());
        let query = Query { caller, ..Query::default() };
        group.bench_function(BenchmarkId::new("explain", n), |bencher| {
            bencher.iter(|| explain(&index, &query, Moment::at(NOW), None));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
