//! Prints the table of strategies of docs/selection.md: `cargo run --release -p rollcall-routing --example strategies`.

#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use rollcall_routing::Strategy;

/// Seeds over which the medians are taken.
const SEEDS: u64 = 9;
/// Made-up seconds for each.
const SECONDS: u64 = 60;

fn main() {
    println!("| strategy | mean | p50 | p99 | to the two slowest | requests/s |");
    println!("|---|---|---|---|---|---|");
    let strategies = [
        Strategy::Scored,
        Strategy::P2cEwma,
        Strategy::LeastConnections,
        Strategy::WeightedRoundRobin,
        Strategy::RoundRobin,
        Strategy::Random,
    ];
    for strategy in strategies {
        let runs: Vec<_> = (1..=SEEDS).map(|seed| simulation::run(strategy, seed, SECONDS)).collect();
        let median = |of: fn(&simulation::Outcome) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "| `{strategy}` | {:.0} ms | {:.0} ms | {:.0} ms | {:.1} % | {:.0} |",
            median(|run| run.mean),
            median(|run| run.p50),
            median(|run| run.p99),
            100.0 * median(|run| run.slowest),
            median(|run| run.requests as f64) / (SECONDS - 5) as f64,
        );
    }
}
