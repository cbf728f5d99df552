//! Load, faults and judgement: whether a Rollcall cluster keeps its promises while things break.
//!
//! The harness is black-box: it knows the public HTTP API and a control plane (processes, links). Clients write down every
//! operation with times and outcomes, a nemesis breaks things on a schedule from a seed, and checkers judge the history.
//!
//! - [`workload`]: what clients do; [`client`]: how an attempt is made and read.
//! - [`nemesis`]: faults and their schedule; [`cluster`]: the control plane that makes them.
//! - [`history`]: what happened, in a file that can be judged again.
//! - [`check`]: the checkers; [`report`]: what people read.
//! - [`run`]: one run; [`session`]: from arguments to a verdict; [`suite`]: many runs.
//!
//! A run ends in one of two ways: with an outcome about the cluster, or with a failure of the harness, which says nothing about it.

mod check;
mod cli;
mod client;
mod cluster;
mod dice;
mod history;
mod nemesis;
mod report;
mod run;
mod session;
mod suite;
mod watcher;
mod workload;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clap::error::ErrorKind;

use crate::check::Verdict;
use crate::cli::{Cli, Command};

/// The harness itself failed.
const HARNESS_FAILED: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nobody is left to tell when standard output is closed.
            let _ = error.print();
            return if is_help { ExitCode::SUCCESS } else { ExitCode::from(HARNESS_FAILED) };
        }
    };
    match carry_out(cli.command) {
        Ok(verdict) => ExitCode::from(match verdict {
            Verdict::Valid => 0,
            Verdict::Invalid => 1,
            Verdict::Unknown => 2,
        }),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "jepsen-lite failed: {error:#}");
            ExitCode::from(HARNESS_FAILED)
        }
    }
}

fn carry_out(command: Command) -> Result<Verdict> {
    match command {
        Command::Run(args) => Ok(session::run(&args)?.verdict),
        Command::Check { history } => Ok(session::judge(&history)?.verdict),
        Command::List => session::list().map(|()| Verdict::Valid),
        Command::Suite { file, table, extra } => suite::run(&file, table.as_deref(), &extra),
        Command::Sweep { cluster } => session::sweep(cluster.as_deref()).map(|()| Verdict::Valid),
    }
}
