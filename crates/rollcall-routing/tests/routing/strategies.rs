//! Strategies against each other, in the simulation.

use rollcall_routing::Strategy;

use crate::simulation::{Outcome, run};

fn told(strategy: Strategy, outcome: &Outcome) -> String {
    let Outcome { requests, mean, p50, p99, slowest } = outcome;
    format!("{strategy}: {requests} requests, mean {mean:.1}, p50 {p50:.1}, p99 {p99:.1} ms, slowest {slowest:.3}")
}

#[test]
fn scored_and_p2c_ewma_have_a_shorter_tail_than_round_robin_and_random() {
    for seed in 1..=3 {
        let plain = [Strategy::RoundRobin, Strategy::Random].map(|strategy| (strategy, run(strategy, seed, 15)));
        for strategy in [Strategy::Scored, Strategy::P2cEwma] {
            let clever = run(strategy, seed, 15);
            for (other, plain) in &plain {
                let is_better = clever.p99 < plain.p99 && clever.mean < plain.mean && clever.slowest < plain.slowest;
                assert!(is_better, "seed {seed}: {}; {}", told(strategy, &clever), told(*other, plain));
            }
        }
    }
}
