//! The command line, and many seeds: a process for each run, and two runs for each seed.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::clocks;
use crate::run::{Plan, run};

/// Begins the line of a run's output that two runs of a seed must have in common.
const HASH: &str = "trace ";

/// Whole nodes on a simulated network, clock and disk.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One run in this process.
    Run {
        /// What everything follows from.
        seed: u64,
        #[command(flatten)]
        size: Size,
        /// Writes every packet and every log line into this file.
        #[arg(long)]
        trace: Option<PathBuf>,
    },
    /// Runs of many seeds, each twice, in processes of their own.
    Seeds {
        /// How many.
        count: u64,
        /// The first one.
        #[arg(long, default_value_t = 1)]
        first: u64,
        #[command(flatten)]
        size: Size,
    },
}

#[derive(Debug, Clone, Args)]
struct Size {
    /// Nodes; without it, three for odd seeds and five for even ones.
    #[arg(long)]
    nodes: Option<usize>,
    /// How long things go wrong, in simulated seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

impl Size {
    fn nodes(&self, seed: u64) -> usize {
        self.nodes.unwrap_or(if seed % 2 == 1 { 3 } else { 5 })
    }
}

/// Does what the command line says. Exit codes: 0 every promise was kept; 1 one was broken, or a seed ran in two ways; 2 the
/// program failed.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the command line")]
pub(crate) fn main() -> ExitCode {
    let done = match Cli::parse().command {
        What::Run { seed, size, trace } => one(seed, &size, trace),
        What::Seeds { count, first, size } => many(first, count, &size),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("FAILED");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("simulate-stack: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Answers whether every promise was kept.
#[expect(clippy::print_stdout, reason = "a program for the command line")]
fn one(seed: u64, size: &Size, trace: Option<PathBuf>) -> Result<bool> {
    let nodes = size.nodes(seed);
    let trace = trace.map(std::path::absolute).transpose()?;
    let report = run(Plan { seed, nodes, span: Duration::from_secs(size.seconds), trace })?;
    report.schedule.iter().for_each(|line| println!("fault {line}"));
    println!("seed {seed}, {nodes} nodes: {}", report.figures);
    println!("{HASH}{}", report.hash);
    report.findings.iter().for_each(|finding| println!("finding: {finding}"));
    if !report.findings.is_empty() {
        println!("again: {}", command(seed, size, nodes));
    }
    Ok(report.findings.is_empty())
}

/// Answers whether every promise was kept in every run, and every seed ran in one way.
#[expect(clippy::print_stdout, reason = "a program for the command line")]
fn many(first: u64, count: u64, size: &Size) -> Result<bool> {
    let began = clocks::real();
    let mut bad = Vec::new();
    for seed in first..first + count {
        let [one, two] = [start(seed, size)?, start(seed, size)?];
        let (one, two) = (one.wait_with_output()?, two.wait_with_output()?);
        let text = String::from_utf8_lossy(&one.stdout);
        let hash = |text: &str| text.lines().find(|line| line.starts_with(HASH)).map(str::to_owned);
        let is_same = hash(&text).is_some() && hash(&text) == hash(&String::from_utf8_lossy(&two.stdout));
        text.lines().filter(|line| line.starts_with("seed ")).for_each(|line| println!("{line}"));
        if !is_same {
            println!("seed {seed} ran in two ways");
        }
        if !is_same || !one.status.success() {
            bad.push(seed);
            println!("{text}{}again: {}", String::from_utf8_lossy(&one.stderr), command(seed, size, size.nodes(seed)));
        }
    }
    println!("{count} seeds, each twice, in {} s; failed: {bad:?}", clocks::real().saturating_sub(began).as_secs());
    Ok(bad.is_empty())
}

fn start(seed: u64, size: &Size) -> Result<std::process::Child> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(&program);
    command.args(["run", &seed.to_string(), "--seconds", &size.seconds.to_string()]);
    command.args(["--nodes", &size.nodes(seed).to_string()]);
    ensure!(size.seconds >= 10, "a cluster takes some seconds to be founded: --seconds 10 at least");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("cannot start {}", program.display()))
}

fn command(seed: u64, size: &Size, nodes: usize) -> String {
    format!("just simulate-stack-run {seed} --nodes {nodes} --seconds {}", size.seconds)
}
