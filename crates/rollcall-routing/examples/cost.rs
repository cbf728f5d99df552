//! Prints the table of costs of docs/selection.md: `cargo run --release -p rollcall-routing --example cost` (Linux).
//!
//! It counts the time in which the thread ran, not the time that passed, so that it tells something on a busy machine too. `cargo bench -p rollcall-routing` has the distribution on a quiet one.

#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "../benches/instances/mod.rs"]
mod instances;

use std::hint::black_box;

use rollcall_routing::{Caller, Moment, Policy, Query, Random, Scratch, ServiceIndex, Strategy, Tally, resolve};
use rollcall_types::Label;

use crate::instances::{NOW, candidates};

/// Instances that are looked at for one figure: long enough for a clock of some milliseconds.
const INSTANCES: u64 = 20_000_000;

fn main() -> std::io::Result<()> {
    println!("| strategy | 10 instances | 100 | 1,000 |");
    println!("|---|---|---|---|");
    for strategy in Strategy::ALL {
        let micros = |n| cost(strategy, n).map(|nanos| nanos / 1e3);
        println!("| `{strategy}` | {:.2} µs | {:.1} µs | {:.1} µs |", micros(10)?, micros(100)?, micros(1_000)?);
    }
    Ok(())
}

/// Nanoseconds for one answer.
fn cost(strategy: Strategy, n: u32) -> std::io::Result<f64> {
    let index = ServiceIndex::build(candidates(n), Policy { strategy, ..Policy::default() });
    let tally = Tally::new(&index, NOW);
    let labels = ["a", "eu", "checkout"].map(|text| Label::try_from(text).expect("a label"));
    let [zone, region, context] = labels.each_ref();
    let caller =
        Caller { id: Some("web-1"), host: None, zone: Some(zone), region: Some(region), context: Some(context) };
    let query = Query { caller, hash_key: Some(b"customer-42"), ..Query::default() };
    let (mut rng, mut scratch) = (Random::new(1), Scratch::default());
    let times = INSTANCES / u64::from(n);
    let before = ran()?;
    for turn in 0..times {
        let moment = Moment { now: NOW, turn, tally: Some(&tally) };
        let answer = resolve(black_box(&index), black_box(&query), moment, &mut rng, &mut scratch);
        drop(black_box(answer));
    }
    Ok((ran()? - before) / times as f64)
}

/// Nanoseconds for which this thread ran so far.
fn ran() -> std::io::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    first.ok_or_else(|| std::io::Error::other("the kernel keeps no time of threads"))
}
