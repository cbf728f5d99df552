//! Runs clusters of pure parts in simulated time, one seed after the other.
//!
//! ```text
//! simulate seeds 10000 [--first N] [--seconds S]   so many seeds, on all processors
//! simulate run SEED [--seconds S] [--trace]        one of them, twice; --trace tells all that happens
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the command line")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rollcall_simulation::cluster::{Figures, Options, Run, run};

const USAGE: &str = "usage: simulate seeds COUNT [--first N] [--seconds S] | simulate run SEED [--seconds S] [--trace]";
/// Failures after which no more seeds are begun.
const FAILURES_MAX: usize = 10;
/// Every so many seeds one is run twice, and has to come to the same.
const REPLAYED: u64 = 100;

fn main() -> ExitCode {
    match Asked::read(std::env::args().skip(1)) {
        Some(Asked { is_one: true, number, options, .. }) => run_one(number, &options),
        Some(Asked { number, first, options, .. }) => run_many(first, number, &options),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// What the command line asks for.
struct Asked {
    is_one: bool,
    /// A seed, or how many.
    number: u64,
    first: u64,
    options: Options,
}

impl Asked {
    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let is_one = match words.next()?.as_str() {
            "run" => true,
            "seeds" => false,
            _ => return None,
        };
        let mut asked = Self { is_one, number: words.next()?.parse().ok()?, first: 1, options: Options::default() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--first" => asked.first = words.next()?.parse().ok()?,
                "--seconds" => asked.options.seconds = words.next()?.parse().ok()?,
                "--trace" => asked.options.keeps_lines = true,
                _ => return None,
            }
        }
        Some(asked)
    }
}

fn run_one(seed: u64, options: &Options) -> ExitCode {
    let found = run(seed, options);
    found.lines.iter().for_each(|line| println!("{line}"));
    println!("{} nodes; what went wrong:", found.nodes);
    found.schedule.faults.iter().for_each(|planned| println!("  {planned}"));
    println!("  {:8.3} s  all is healed", found.schedule.heal_at as f64 / 1e6);
    println!("{:.0?}, trace {:016x}", found.figures, found.hash);
    if run(seed, options).hash != found.hash {
        println!("NOT REPEATED: the same seed came to something else");
        return ExitCode::FAILURE;
    }
    match found.violation {
        Some(violation) => {
            println!("VIOLATED at {:.3} s: {}\n  {}", violation.at as f64 / 1e6, violation.invariant, violation.what);
            ExitCode::FAILURE
        }
        None => {
            println!("all invariants held");
            ExitCode::SUCCESS
        }
    }
}

/// What came of all seeds together.
#[derive(Default)]
struct Sum {
    seeds: u64,
    figures: Figures,
    failures: Vec<String>,
}

fn run_many(first: u64, count: u64, options: &Options) -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, sum, began) = (AtomicU64::new(first), Mutex::new(Sum::default()), Instant::now());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return;
            }
            // What panics says so on its own.
            let found = std::panic::catch_unwind(|| run(seed, options)).ok();
            let is_repeated =
                !seed.is_multiple_of(REPLAYED) || found.as_ref().is_none_or(|found| run(seed, options) == *found);
            let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            sum.seeds += 1;
            match &found {
                Some(found) => sum.add(found, is_repeated, options),
                None => sum.failures.push(format!("PANICKED: {}", again(seed, options))),
            }
            if sum.seeds.is_multiple_of(1_000) {
                eprintln!("{} seeds, {:.0?}", sum.seeds, began.elapsed());
            }
            if sum.failures.len() >= FAILURES_MAX {
                return;
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    sum.failures.iter().for_each(|failure| println!("{failure}"));
    println!("{}", sum.line(began.elapsed(), threads));
    if sum.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Sum {
    fn add(&mut self, run: &Run, is_repeated: bool, options: &Options) {
        self.figures.add(&run.figures);
        if !is_repeated {
            self.failures.push(failure(run, "the same seed comes to the same", "", options));
        }
        if let Some(violation) = &run.violation {
            let invariant = format!("{} ({:.3} s)", violation.invariant, violation.at as f64 / 1e6);
            self.failures.push(failure(run, &invariant, &violation.what, options));
        }
    }

    fn line(&self, took: Duration, threads: usize) -> String {
        let (figures, seconds) = (&self.figures, took.as_secs_f64());
        format!(
            "{} seeds, {} failures: {:.0} cluster-seconds in {seconds:.1} s on {threads} threads, {:.0} each second; {} faults, {} writes \
             in {} entries, {} heartbeats, {} selections, {} snapshots, {} statuses judged",
            self.seeds,
            self.failures.len(),
            figures.seconds,
            figures.seconds / seconds,
            figures.faults,
            figures.writes,
            figures.entries,
            figures.heartbeats,
            figures.selections,
            figures.snapshots,
            figures.judged,
        )
    }
}

fn failure(run: &Run, invariant: &str, what: &str, options: &Options) -> String {
    let faults: String = run.schedule.faults.iter().map(|planned| format!("    {planned}\n")).collect();
    format!(
        "VIOLATED: {invariant}\n  {what}\n  seed {}, {} nodes; what went wrong:\n{faults}  {}\n",
        run.seed,
        run.nodes,
        again(run.seed, options)
    )
}

/// The command that runs a seed again.
fn again(seed: u64, options: &Options) -> String {
    format!("again: cargo run --release -p rollcall-simulation -- run {seed} --seconds {}", options.seconds)
}
