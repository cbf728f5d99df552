//! Rollcall beside etcd and ZooKeeper on the same machine in the same session.
//!
//! ```text
//! cargo run --release -p rollcall-bench -- [WORKLOAD] [--pairs 5] [--secs 5] [--rollcall-bin PATH] [--out FILE.md]
//! ```
//! One real three-node cluster is alive at a time, on loopback, with fresh data on a real disk. The systems take turns
//! (A B B A …), a run waits until other processes are quiet, and what it reports is ratios of medians with the extremes of
//! the pairs. Nothing here passes or fails on time: it measures, and says which goals are met. See docs/benchmarks.md.

mod client;
mod cluster;
mod goals;
mod load;
mod machine;
mod process;
mod report;
mod results;
mod workload;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::Setup;
use crate::report::Origin;
use crate::results::{Results, Subject};
use crate::workload::fill::Wanted;
use crate::workload::{Plan, failover, fill, reads, syncs, watch, writes};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Everything below.
    All,
    /// Durable writes at 1, 64 and 256 clients.
    Writes,
    /// Linearizable and stale reads of five instances.
    Reads,
    /// From a write to the last of many watchers.
    Watch,
    /// The leader killed and paused.
    Failover,
    /// Memory with many instances.
    Memory,
    /// Restart of one node and of all with many instances.
    Restart,
    /// How many syncs stand behind a write (with strace; nothing is timed).
    Syncs,
}

/// Measures three-node clusters of Rollcall, etcd and ZooKeeper side by side.
///
/// The peers come from Debian: `apt-get install etcd-server zookeeper`, and `strace` for the counts of syncs.
#[derive(Debug, Clone, Parser)]
#[command(name = "rollcall-bench")]
struct Options {
    /// What to measure.
    #[arg(value_enum, default_value_t = Choice::All)]
    workload: Choice,
    /// Runs of each system. Differences below 1.3× need 10.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Measured seconds of each load, after 1 s of warm-up.
    #[arg(long, default_value_t = 5)]
    secs: u64,
    /// Our binary. Default: `cargo build --release -p rollcall`, then the one beside this program.
    #[arg(long)]
    rollcall_bin: Option<PathBuf>,
    /// Also write the report to this file.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The systems to measure.
    #[arg(long, value_delimiter = ',', default_values_t = [Subject::Rollcall, Subject::Etcd, Subject::Zookeeper].map(Named))]
    subjects: Vec<Named>,
    /// Where the clusters keep their data while they run; must be on a real disk.
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// Longest wait in seconds for other processes to be quiet, before each load.
    #[arg(long, default_value_t = 30)]
    patience: u64,
    /// Leader kills, and as many pauses, of our cluster.
    #[arg(long, default_value_t = 20)]
    faults: usize,
    /// The same for a peer.
    #[arg(long, default_value_t = 6)]
    peer_faults: usize,
    /// Instances of the memory and restart workloads.
    #[arg(long, default_value_t = 100_000)]
    instances: u64,
    /// Watchers of the watch workload.
    #[arg(long, default_value_t = 1000)]
    watchers: usize,
    #[arg(long, default_value = "etcd")]
    etcd_bin: PathBuf,
    #[arg(long, default_value = "java")]
    java_bin: PathBuf,
    #[arg(long, default_value = "/usr/share/java/zookeeper.jar")]
    zookeeper_jar: PathBuf,
}

/// A subject by its name on the command line.
#[derive(Debug, Clone, Copy)]
struct Named(Subject);

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_string().to_lowercase())
    }
}

impl std::str::FromStr for Named {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Subject::from_str(name, true).map(Self)
    }
}

fn main() -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(Options::parse())));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what goes on, apart from the report on standard output.
#[expect(clippy::print_stderr, reason = "a bench talks to the person who started it")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "the report is the output of the program")]
async fn run(options: Options) -> Result<()> {
    machine::check_real_disk(&options.folder)?;
    machine::raise_file_limit()?;
    let plan = plan(&options)?;
    let origin = origin(&options, &plan);
    let mut results = Results::default();
    // When a signal ends the wait, the workload is dropped, and with it every process it started.
    let outcome = tokio::select! {
        outcome = measure(options.workload, &plan, &mut results) => outcome,
        outcome = asked_to_stop() => outcome,
    };
    // What was measured before a failure is not thrown away, and the failure stands below it.
    let mut text = report::render(&results, &origin, plan.instances, plan.watchers);
    if let Err(error) = &outcome {
        text.push_str(&format!("\n**Not complete: {error:#}**\n"));
    }
    println!("{text}");
    if let Some(file) = &options.out {
        std::fs::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    outcome
}

/// Runs the chosen workloads. A run that fails does not keep the others from running.
async fn measure(choice: Choice, plan: &Plan, results: &mut Results) -> Result<()> {
    let chosen = |this: Choice| choice == Choice::All || choice == this;
    if chosen(Choice::Writes) {
        writes::run(plan, results).await;
    }
    if chosen(Choice::Reads) {
        reads::run(plan, results).await;
    }
    if chosen(Choice::Watch) {
        watch::run(plan, results).await;
    }
    if chosen(Choice::Failover) {
        failover::run(plan, results).await;
    }
    // Both need the same instances, so they share one cluster.
    let wanted = Wanted { memory: chosen(Choice::Memory), restart: chosen(Choice::Restart) };
    if wanted.memory || wanted.restart {
        fill::run(plan, wanted, results).await;
    }
    if chosen(Choice::Syncs) {
        syncs::run(plan, results).await;
    }
    ensure!(results.failures() == 0, "{} runs failed, see the remarks", results.failures());
    Ok(())
}

async fn asked_to_stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}

fn plan(options: &Options) -> Result<Plan> {
    let subjects: Vec<Subject> = options.subjects.iter().map(|named| named.0).collect();
    ensure!(
        options.pairs > 0 && options.secs > 0 && options.watchers > 0,
        "--pairs, --secs, --watchers must be above 0"
    );
    let rollcall = match &options.rollcall_bin {
        _ if !subjects.contains(&Subject::Rollcall) => None,
        Some(path) => Some(path.canonicalize().with_context(|| format!("no binary at {}", path.display()))?),
        None => Some(build_rollcall()?),
    };
    let setup = Setup {
        rollcall,
        etcd: options.etcd_bin.clone(),
        java: options.java_bin.clone(),
        zookeeper_jar: options.zookeeper_jar.clone(),
        folder: options.folder.clone(),
    };
    Ok(Plan {
        setup,
        subjects,
        pairs: options.pairs,
        length: Duration::from_secs(options.secs),
        patience: Duration::from_secs(options.patience),
        faults: options.faults,
        peer_faults: options.peer_faults,
        instances: options.instances,
        watchers: options.watchers,
    })
}

/// Builds our binary as it is now, so that no old one is measured.
fn build_rollcall() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "-p", "rollcall"]).status()?;
    ensure!(status.success(), "cargo build --release -p rollcall failed");
    let folder = std::env::current_exe()?.parent().map(Path::to_owned).context("this program lies in no folder")?;
    let binary = folder.join("rollcall");
    ensure!(binary.is_file(), "no {}; run the bench with --release or give --rollcall-bin", binary.display());
    Ok(binary)
}

fn origin(options: &Options, plan: &Plan) -> Origin {
    let mut versions = Vec::new();
    for subject in &plan.subjects {
        versions.push(match subject {
            Subject::Rollcall => {
                plan.setup.rollcall.as_ref().map_or_else(String::new, |program| first_line(program, &["--version"]))
            }
            Subject::Etcd => first_line(&plan.setup.etcd, &["--version"]),
            Subject::Zookeeper => {
                let package = first_line(Path::new("dpkg-query"), &["--show", "zookeeper"]);
                format!("{} on {}", package.replace('\t', " "), first_line(&plan.setup.java, &["--version"]))
            }
        });
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    Origin {
        machine: machine::description(&plan.setup.folder),
        versions,
        command: format!("cargo run --release -p rollcall-bench -- {}", arguments.join(" ")).trim_end().to_owned(),
        date: first_line(Path::new("date"), &["--utc", "+%Y-%m-%d %H:%M UTC"]),
        shape: format!(
            "{} runs of each system, {} s each after 1 s of warm-up, order A B B A; figures are medians [min–max]; \
             CPU is user + system, servers summed over three nodes; every system with fsync on and default timers",
            plan.pairs, options.secs
        ),
    }
}

/// The first line a program prints, or why there is none.
fn first_line(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match text {
        Ok(text) => text.lines().next().unwrap_or("unknown version").to_owned(),
        Err(error) => format!("{}: {error}", program.display()),
    }
}
