//! Rollcall beside etcd and ZooKeeper on the same machine in the same session.
//!
//! ```text
//! cargo run --profile dist -p rollcall-bench -- [WORKLOAD] [--pairs 5] [--secs 5] [--rollcall-bin PATH] [--out FILE.md]
//! ```
//! One real three-node cluster is alive at a time, on loopback, with fresh data on a real disk. The systems take turns
//! (A B B A …), a run waits until other processes are quiet, and what it reports is ratios of medians with the extremes of
//! the pairs. Nothing here passes or fails on time: it measures, and says which goals are met. See docs/benchmarks.md.

mod client;
mod cluster;
mod dns;
mod forecast;
mod goals;
mod gossip;
mod health;
mod load;
mod machine;
mod process;
mod report;
mod results;
mod rounds;
mod select;
mod top;
mod workload;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::Setup;
use crate::health::Part;
use crate::report::Origin;
use crate::results::{Results, Subject};
use crate::workload::fill::Wanted;
use crate::workload::{Plan, detection, failover, fill, propagation, reads, syncs, watch, writes};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Everything below but detection, forecast, gossip, rounds, health, select, dns and top.
    All,
    /// Durable writes at 1, 64 and 256 clients.
    Writes,
    /// Linearizable and stale reads of five instances.
    Reads,
    /// From a write to the last of many watchers.
    Watch,
    /// From a write on one node until it is readable on all.
    Propagation,
    /// The leader killed and paused.
    Failover,
    /// Memory with many instances.
    Memory,
    /// Restart of one node and of all with many instances.
    Restart,
    /// How many syncs stand behind a write (with strace; nothing is timed).
    Syncs,
    /// Failure detection in virtual time: no processes and no peers.
    Detection,
    /// Failure prediction on made-up latencies, beside the usual ways: no processes and no peers.
    Forecast,
    /// Failure detection by real processes, beside Serf.
    Gossip,
    /// Gossip itself, many nodes in this process: updates, cost, and the health of many instances.
    Rounds,
    /// Health of instances: probing many, a mass failure, detection, heartbeats.
    Health,
    /// Discovery and selection over HTTP, beside a bare hyper server that sends the same bytes.
    Select,
    /// That bare server.
    #[value(hide = true)]
    BareHyper,
    /// A frame of the dashboard with 10,000 instances: no processes and no peers.
    Top,
    /// DNS beside dnsmasq, NSD and a trivial responder.
    Dns,
    /// The trivial responder itself, as the workload dns starts it.
    #[value(hide = true)]
    DnsResponder,
}

/// Measures three-node clusters of Rollcall, etcd and ZooKeeper side by side.
///
/// The peers come from Debian: `apt-get install etcd-server zookeeper serf dnsmasq-base nsd dnsperf`, and `strace` for the counts of syncs.
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
    /// Our binary. Default: `cargo build --profile dist -p rollcall`, then the one beside this program.
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
    /// Leader kills, and as many pauses, of our cluster; kills in each of our groups of the gossip workload, 0 for no group.
    #[arg(long, default_value_t = 20)]
    faults: usize,
    /// The same for a peer.
    #[arg(long, default_value_t = 6)]
    peer_faults: usize,
    /// Instances of the memory and restart workloads, and of the rounds workload, 0 for none there.
    #[arg(long, default_value_t = 100_000)]
    instances: u64,
    /// Watchers of the watch workload.
    #[arg(long, default_value_t = 1000)]
    watchers: usize,
    /// Sizes of the clusters of the detection workload.
    #[arg(long, value_delimiter = ',', default_values_t = [3, 5, 10, 50, 100])]
    nodes: Vec<usize>,
    /// Traces of each kind that fails of the forecast workload, two hours each.
    #[arg(long, default_value_t = 300)]
    ramps: usize,
    /// Days of each kind that does not fail of the forecast workload.
    #[arg(long, default_value_t = 20)]
    days: usize,
    /// Sizes of the groups of the gossip workload.
    #[arg(long, value_delimiter = ',', default_values_t = [3, 5, 10])]
    sizes: Vec<usize>,
    /// Sizes of the groups of the rounds workload.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 50, 100])]
    rounds_nodes: Vec<usize>,
    /// Updates in each group of the rounds workload.
    #[arg(long, default_value_t = 200)]
    rounds_updates: usize,
    /// Parts of the health workload.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::value_variants().to_vec())]
    part: Vec<Part>,
    /// Instances that are probed every 10 s, of the health workload.
    #[arg(long, default_value_t = 10_000)]
    probed_instances: usize,
    /// Instances that are probed every second, of its detecting part.
    #[arg(long, default_value_t = 2000)]
    fast_instances: usize,
    /// Where the bare server listens.
    #[arg(long, hide = true)]
    bare_address: Option<SocketAddr>,
    /// What it answers GET and POST with.
    #[arg(long, hide = true, value_delimiter = ',')]
    bare_answers: Vec<PathBuf>,
    /// Port of the trivial responder.
    #[arg(long, hide = true, default_value_t = 0)]
    responder_port: u16,
    #[arg(long, default_value = "etcd")]
    etcd_bin: PathBuf,
    #[arg(long, default_value = "serf")]
    serf_bin: PathBuf,
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
    match options.workload {
        Choice::Detection => return detect(&options),
        Choice::Forecast => return predict(&options),
        Choice::DnsResponder => return dns::respond(options.responder_port),
        Choice::BareHyper => {
            let address = options.bare_address.context("--bare-address must be given")?;
            return select::serve(address, &options.bare_answers).await;
        }
        Choice::Top => return publish(&options, top::measure(500, 20)?),
        _ => {}
    }
    machine::check_real_disk(&options.folder)?;
    machine::raise_file_limit()?;
    let (mut text, outcome) = match options.workload {
        Choice::Gossip => run_gossip(&options).await?,
        Choice::Rounds => run_rounds(&options).await?,
        Choice::Health => run_health(&options).await?,
        Choice::Dns => run_dns(&options).await?,
        Choice::Select => run_select(&options).await?,
        _ => run_clusters(&options).await?,
    };
    // What was measured before a failure is not thrown away, and the failure stands below it.
    if let Err(error) = &outcome {
        text.push_str(&format!("\n**Not complete: {error:#}**\n"));
    }
    println!("{text}");
    if let Some(file) = &options.out {
        std::fs::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    outcome
}

/// Runs the workload of simulated clusters.
fn detect(options: &Options) -> Result<()> {
    ensure!(options.nodes.iter().all(|nodes| (3..=500).contains(nodes)), "--nodes are 3 to 500");
    publish(options, detection::run(&options.nodes).markdown())
}

/// Runs the workload of made-up latencies.
fn predict(options: &Options) -> Result<()> {
    ensure!(options.ramps > 0 && options.days > 0, "--ramps and --days must be above 0");
    publish(options, forecast::run(forecast::Size { ramps: options.ramps, days: options.days })?)
}

/// Prints a report that needed no cluster, and writes it where it was asked for.
#[expect(clippy::print_stdout, reason = "the report is the output of the program")]
fn publish(options: &Options, text: String) -> Result<()> {
    println!("{text}");
    match &options.out {
        Some(file) => std::fs::write(file, &text).with_context(|| format!("cannot write {}", file.display())),
        None => Ok(()),
    }
}

/// The report of the workloads on three-node clusters, and whether it is complete.
async fn run_clusters(options: &Options) -> Result<(String, Result<()>)> {
    let plan = plan(options)?;
    let origin = origin(options, &plan);
    let mut results = Results::default();
    // When a signal ends the wait, the workload is dropped, and with it every process it started.
    let outcome = tokio::select! {
        outcome = measure(options.workload, &plan, &mut results) => outcome,
        outcome = asked_to_stop() => outcome,
    };
    Ok((report::render(&results, &origin, plan.instances, plan.watchers), outcome))
}

/// The report of the gossip workload, and whether it is complete.
async fn run_gossip(options: &Options) -> Result<(String, Result<()>)> {
    ensure!(options.sizes.iter().all(|nodes| (2..=100).contains(nodes)), "--sizes are 2 to 100");
    let plan = gossip::Plan {
        rollcall: (options.faults > 0).then(|| rollcall_binary(options)).transpose()?,
        serf: (options.peer_faults > 0).then(|| options.serf_bin.clone()),
        sizes: options.sizes.clone(),
        kills: options.faults,
        serf_kills: options.peer_faults,
        folder: options.folder.clone(),
        patience: Duration::from_secs(options.patience),
    };
    let mut versions = Vec::new();
    versions.extend(plan.rollcall.as_deref().map(|program| first_line(program, &["--version"])));
    let package = || first_line(Path::new("dpkg-query"), &["--show", "serf"]).replace('\t', " ");
    versions.extend(plan.serf.as_ref().map(|_| package()));
    let origin = origin_of(options, versions, plan.shape());
    let (mut figures, mut remarks) = (Vec::new(), Vec::new());
    let outcome = tokio::select! {
        outcome = gossip::run(&plan, &mut figures, &mut remarks) => outcome,
        outcome = asked_to_stop() => outcome,
    };
    Ok((gossip::render(&figures, &remarks, &origin), outcome))
}

/// The report of the rounds workload, and whether it is complete.
async fn run_rounds(options: &Options) -> Result<(String, Result<()>)> {
    ensure!(options.rounds_nodes.iter().all(|nodes| (2..=200).contains(nodes)), "--rounds-nodes are 2 to 200");
    ensure!(options.instances <= u64::from(rounds::INSTANCES_MAX), "--instances are {} at most", rounds::INSTANCES_MAX);
    let plan = rounds::Plan {
        sizes: options.rounds_nodes.clone(),
        updates: options.rounds_updates,
        instances: u32::try_from(options.instances)?,
        folder: options.folder.clone(),
        patience: Duration::from_secs(options.patience),
    };
    let origin = origin_of(options, vec![concat!("rollcall ", env!("CARGO_PKG_VERSION")).to_owned()], plan.shape());
    let (mut rows, mut remarks) = (Vec::new(), Vec::new());
    let outcome = tokio::select! {
        outcome = rounds::run(&plan, &mut rows, &mut remarks) => outcome,
        outcome = asked_to_stop() => outcome,
    };
    Ok((rounds::render(&rows, &remarks, &origin), outcome))
}

/// The report of the health workload, and whether it is complete.
async fn run_health(options: &Options) -> Result<(String, Result<()>)> {
    let base = plan(options)?;
    ensure!(options.probed_instances > 0, "--probed-instances must be above 0");
    let with_etcd = options.part.contains(&Part::Heartbeats) && base.subjects.contains(&Subject::Etcd);
    let plan = health::Plan {
        subjects: if with_etcd { vec![Subject::Rollcall, Subject::Etcd] } else { vec![Subject::Rollcall] },
        parts: options.part.clone(),
        pairs: base.pairs,
        length: base.length,
        patience: base.patience,
        instances: options.probed_instances,
        fast_instances: options.fast_instances,
        rounds: options.faults,
        setup: base.setup,
    };
    let versions = plan.subjects.iter().map(|subject| match subject {
        Subject::Etcd => first_line(&plan.setup.etcd, &["--version"]),
        _ => plan.setup.rollcall.as_ref().map_or_else(String::new, |program| first_line(program, &["--version"])),
    });
    let origin = origin_of(options, versions.collect(), plan.shape());
    let mut results = Results::default();
    let outcome = tokio::select! {
        outcome = health::run(&plan, &mut results) => outcome,
        outcome = asked_to_stop() => outcome,
    };
    Ok((report::render(&results, &origin, base.instances, base.watchers), outcome))
}

/// The report of the select workload, and whether it is complete.
async fn run_select(options: &Options) -> Result<(String, Result<()>)> {
    let plan = select::Plan {
        rollcall: rollcall_binary(options)?,
        pairs: options.pairs,
        length: Duration::from_secs(options.secs),
        folder: options.folder.clone(),
        patience: Duration::from_secs(options.patience),
    };
    let origin = origin_of(options, vec![first_line(&plan.rollcall, &["--version"])], plan.shape());
    let (mut figures, mut remarks) = (Vec::new(), Vec::new());
    let outcome = tokio::select! {
        outcome = select::run(&plan, &mut figures, &mut remarks) => outcome,
        outcome = asked_to_stop() => outcome,
    };
    Ok((select::render(&figures, &remarks, &origin), outcome))
}

/// The report of the DNS workload, and whether it is complete.
async fn run_dns(options: &Options) -> Result<(String, Result<()>)> {
    ensure!(options.pairs > 0 && options.secs > 0, "--pairs, --secs must be above 0");
    let plan = dns::Plan {
        rollcall: rollcall_binary(options)?,
        rounds: options.pairs,
        length: Duration::from_secs(options.secs),
        folder: options.folder.clone(),
        patience: Duration::from_secs(options.patience),
    };
    let package = |name: &str| first_line(Path::new("dpkg-query"), &["--show", name]).replace('\t', " ");
    let versions =
        vec![first_line(&plan.rollcall, &["--version"]), package("dnsmasq-base"), package("nsd"), package("dnsperf")];
    let origin = origin_of(options, versions, plan.shape());
    let (mut rounds, mut remarks) = (Vec::new(), Vec::new());
    let outcome = tokio::select! {
        outcome = dns::run(&plan, &mut rounds, &mut remarks) => outcome,
        outcome = asked_to_stop() => outcome,
    };
    Ok((dns::render(&rounds, &remarks, &origin), outcome))
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
    if chosen(Choice::Propagation) {
        propagation::run(plan, results).await;
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
    let rollcall = subjects.contains(&Subject::Rollcall).then(|| rollcall_binary(options)).transpose()?;
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

fn rollcall_binary(options: &Options) -> Result<PathBuf> {
    match &options.rollcall_bin {
        Some(path) => path.canonicalize().with_context(|| format!("no binary at {}", path.display())),
        None => build_rollcall(),
    }
}

/// Builds our binary as it is now, so that no old one is measured.
fn build_rollcall() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--profile", "dist", "-p", "rollcall"]).status()?;
    ensure!(status.success(), "cargo build --profile dist -p rollcall failed");
    let folder = std::env::current_exe()?.parent().map(Path::to_owned).context("this program lies in no folder")?;
    let binary = folder.join("rollcall");
    // In another folder lies what another profile made, whenever that was.
    let is_built = folder.ends_with("dist") && binary.is_file();
    ensure!(is_built, "no new {}; run the bench with --profile dist or give --rollcall-bin", binary.display());
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
    let shape = format!(
        "{} runs of each system, {} s each after 1 s of warm-up, order A B B A; figures are medians [min–max]; \
         CPU is user + system, servers summed over three nodes; every system with fsync on and default timers",
        plan.pairs, options.secs
    );
    origin_of(options, versions, shape)
}

fn origin_of(options: &Options, versions: Vec<String>, shape: String) -> Origin {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    Origin {
        machine: machine::description(&options.folder),
        versions,
        command: format!("cargo run --profile dist -p rollcall-bench -- {}", arguments.join(" ")).trim_end().to_owned(),
        date: first_line(Path::new("date"), &["--utc", "+%Y-%m-%d %H:%M UTC"]),
        shape,
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
