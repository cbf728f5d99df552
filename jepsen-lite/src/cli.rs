//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Load, faults and judgement: whether a Rollcall cluster keeps its promises while things break.
#[derive(Debug, Parser)]
#[command(
    name = "jepsen-lite",
    version,
    after_help = "\
Examples:
  jepsen-lite run --workload registers --nemesis kill,pause --time-limit 30s
  jepsen-lite run --workload set --nemesis partition --seed 7 --nodes 5
  jepsen-lite suite jepsen-lite/suites/short.txt -- --store runs
  jepsen-lite run --cluster staging.toml --workload set --nemesis kill,isolate
  jepsen-lite check jepsen-lite-runs/registers-kill-7/history.jsonl
  jepsen-lite list

Exit codes: 0 every promise was kept; 1 a promise was broken; 2 the run does not
say (too little traffic, a nemesis that never struck, a bound was reached);
3 the harness failed."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts a cluster, loads it, breaks it, heals it, and judges what its clients saw
    Run(Box<RunArgs>),
    /// Judges a history again
    Check {
        /// A history.jsonl
        history: PathBuf,
    },
    /// Makes many runs: each line of a file holds the arguments of one
    Suite {
        /// The file; `#` begins a comment, `find KIND,…` before the arguments means what the run must find
        file: PathBuf,
        /// Write the table of all runs, with totals, to this file
        #[arg(long, value_name = "FILE")]
        table: Option<PathBuf>,
        /// Arguments for every run, after `--`
        #[arg(last = true)]
        extra: Vec<String>,
    },
    /// Shows workloads, nemeses and checkers
    List,
    /// Removes namespaces and disks that a killed harness left here, or what runs registered in a cluster
    Sweep {
        /// The file of the cluster, as of `run`: remove every instance and key of jepsen-lite there
        #[arg(long, value_name = "FILE")]
        cluster: Option<PathBuf>,
    },
}

/// How links are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkArg {
    /// Namespaces when this is root, else the endpoint
    Auto,
    /// The nodes' own test endpoint
    Endpoint,
    /// A network namespace per node; needs root
    Namespaces,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What the clients do
    #[arg(long)]
    pub(crate) workload: String,
    /// Faults, in turn; `none` for none
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "none")]
    pub(crate) nemesis: Vec<String>,
    /// How long clients and nemesis work
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) time_limit: Duration,
    /// What all choices follow from; default: another one each time
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Nodes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) nodes: u8,
    /// Clients, each with one operation under way; default: two per node
    #[arg(long)]
    pub(crate) clients: Option<usize>,
    /// Clients that follow changes, and come back to another node again and again
    #[arg(long, default_value_t = 4)]
    pub(crate) watchers: usize,
    /// Operations per second of all clients together
    #[arg(long, default_value_t = 400)]
    pub(crate) rate: u64,
    /// Operations that must succeed for the run to say anything; default: 10 per second
    #[arg(long)]
    pub(crate) min_ok: Option<u64>,
    /// Operations on a register before another one takes its place, of workload `registers`
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) per_register: u64,
    /// Do it to a cluster that runs already: the file names its nodes, and says by which commands they are broken and
    /// mended (see docs/testing.md)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "network", "rollcall", "plant", "keep_data"])]
    pub(crate) cluster: Option<PathBuf>,
    /// How links between nodes are cut
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) network: NetworkArg,
    /// The program to test; default: ROLLCALL_BIN, else `rollcall` beside this program
    #[arg(long, value_name = "FILE")]
    pub(crate) rollcall: Option<PathBuf>,
    /// Where runs are kept, each in a folder of its own
    #[arg(long, value_name = "FOLDER", default_value = "jepsen-lite-runs")]
    pub(crate) store: PathBuf,
    /// Keep the nodes' data of a run that was valid, too
    #[arg(long)]
    pub(crate) keep_data: bool,
    /// Bug that nodes of a special build show, to test the harness
    #[arg(long, hide = true)]
    pub(crate) plant: Option<String>,
}

/// Reads `90s`, `500ms` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("'{text}' is no duration; write 60s, 500ms or 2m"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        unit => Err(format!("'{unit}' is no unit of time; write 60s, 500ms or 2m")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(["", "s", "5", "5h", "-1s", "1.5s"].iter().all(|text| duration(text).is_err()));
    }
}
