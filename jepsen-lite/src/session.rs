//! From arguments to a verdict: what the commands do.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::check::{self, Verdict};
use crate::cli::{NetworkArg, RunArgs};
use crate::client::{Client, Names, Place, Removed};
use crate::cluster::{self, Attached, Cluster, Network, Node};
use crate::run::RunOptions;
use crate::workload::Workload;
use crate::{history, nemesis, report};

/// Exit code after Ctrl-C while a run is judged: as of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Longest time in which a cluster is asked again to let itself be swept, and the pause between two times.
const SWEEP_PATIENCE: Duration = Duration::from_secs(60);
const SWEEP_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for an answer while a cluster is swept.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(5);

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    /// Kinds of broken promises.
    pub(crate) broken: Vec<&'static str>,
    pub(crate) seed: u64,
    /// Operations that succeeded.
    pub(crate) succeeded: usize,
    /// Faults that were made.
    pub(crate) faults: usize,
    /// Its length in whole seconds.
    pub(crate) seconds: u64,
}

/// Makes a run and judges it.
///
/// # Errors
/// When the harness fails. What was recorded until then was judged and shown, but proves nothing.
pub(crate) fn run(args: &RunArgs) -> Result<Judged> {
    let options = options(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let signals = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (interrupt, is_over) = (options.interrupt.clone(), Arc::new(AtomicBool::new(false)));
    let nothing_runs = is_over.clone();
    let signals = signals.context("no runtime")?;
    signals.spawn(async move {
        loop {
            asked_to_stop().await;
            if nothing_runs.load(Ordering::Relaxed) {
                // What is left is to judge: the history stays, for `check`.
                #[expect(clippy::disallowed_methods, reason = "judging has nothing to clean up, and does not look up")]
                std::process::exit(INTERRUPTED);
            }
            interrupt.store(true, Ordering::Relaxed);
        }
    });
    let result = runtime.block_on(crate::run::run(&options));
    // What the run began is over, and what it changed is undone, before Ctrl-C may end the harness.
    drop(runtime);
    is_over.store(true, Ordering::Relaxed);
    // What was recorded until a failure is still worth a look, and says nothing for sure.
    if let Err(error) = result {
        if options.history().is_file() {
            let _ = judge(&options.history());
        }
        return Err(error);
    }
    let judged = judge(&options.history())?;
    if judged.verdict == Verdict::Valid && !args.keep_data {
        crate::run::remove_data(&options.folder);
    }
    Ok(judged)
}

/// Waits for Ctrl-C or SIGTERM.
async fn asked_to_stop() {
    let Ok(mut terminated) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        // Then it is Ctrl-C alone; without that one, too, the harness ends as any program does.
        return drop(tokio::signal::ctrl_c().await);
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// Whether the workload and the nemeses of a run are known.
///
/// # Errors
/// When one is not.
pub(crate) fn check(args: &RunArgs) -> Result<()> {
    Workload::parse(&args.workload)?;
    names_of_nemeses(args).iter().try_for_each(|name| nemesis::Kind::of_name(name).map(drop))
}

/// Whether the run can be made of the nodes in a file, and how many they are.
///
/// # Errors
/// When it cannot, and why.
fn check_attached(path: &Path, workload: Workload, nemeses: &[String]) -> Result<usize> {
    let attached = Attached::read(path)?;
    let lacks = |what: &str| bail!("workload '{}' needs {what} in {}", workload.name(), path.display());
    match workload {
        Workload::Health if attached.probed_at.is_none() => lacks("'probed_at'")?,
        Workload::Locks if !attached.has_consul() => lacks("'consul' of every node")?,
        _ => {}
    }
    nemesis::check_attached(nemeses, &attached).with_context(|| format!("in {}", path.display()))?;
    Ok(attached.len())
}

/// Removes what harnesses left that were killed: here, or in a cluster that others use, too.
///
/// # Errors
/// When the cluster does not do it.
pub(crate) fn sweep(cluster: Option<&Path>) -> Result<()> {
    let Some(path) = cluster else {
        cluster::sweep();
        return Ok(());
    };
    for error in Cluster::restore_attached(Attached::read(path)?) {
        let _ = writeln!(std::io::stderr(), "jepsen-lite: {error:#}");
    }
    // These drop at once: what they were found as is what they are.
    let places: Vec<Place> = Attached::read(path)?.into_nodes().iter().map(Node::place).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let client = Client::new(SWEEP_TIMEOUT)?;
    let removed = runtime.block_on(async {
        let start = tokio::time::Instant::now();
        loop {
            match client.remove_all(&places, &Names::of_all_runs()).await {
                // Nodes that were started a moment ago have no leader yet.
                Err(_) if start.elapsed() < SWEEP_PATIENCE => tokio::time::sleep(SWEEP_PAUSE).await,
                removed => return removed,
            }
        }
    });
    let Removed { instances, services, keys } = removed?;
    writeln!(std::io::stdout(), "removed {instances} instances, {services} services and {keys} keys")
        .context("cannot write")
}

fn names_of_nemeses(args: &RunArgs) -> Vec<String> {
    args.nemesis.iter().filter(|name| *name != "none").cloned().collect()
}

fn options(args: &RunArgs) -> Result<RunOptions> {
    check(args)?;
    cluster::sweep();
    let (workload, nemeses) = (Workload::parse(&args.workload)?, names_of_nemeses(args));
    let nodes = match &args.cluster {
        Some(path) => check_attached(path, workload, &nemeses)?,
        None => args.nodes.into(),
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seed = args.seed.unwrap_or(now.subsec_nanos().into());
    let network = match args.network {
        _ if args.cluster.is_some() => Network::Commands,
        NetworkArg::Endpoint => Network::Endpoint,
        NetworkArg::Namespaces => Network::Namespaces,
        NetworkArg::Auto if rustix::process::geteuid().is_root() => Network::Namespaces,
        NetworkArg::Auto => Network::Endpoint,
    };
    let named = if nemeses.is_empty() { "none".to_owned() } else { nemeses.join("+") };
    let folder = args.store.join(format!("{}-{}-{named}-{seed}", now.as_secs(), workload.name()));
    let clients = args.clients.unwrap_or(nodes * 2);
    if clients < nodes {
        bail!("{clients} clients leave nodes of {nodes} without load: at least one for each is needed");
    }
    let of = match &args.cluster {
        Some(path) => format!("--cluster {}", path.display()),
        None => format!("--nodes {nodes} --network {}", network.name()),
    };
    let command = format!(
        "jepsen-lite run --workload {} --nemesis {} --time-limit {}ms --seed {seed} {of} --clients {clients} --watchers {} --rate {} --per-register {}{}{}{}",
        workload.name(),
        if nemeses.is_empty() { "none".to_owned() } else { nemeses.join(",") },
        args.time_limit.as_millis(),
        args.watchers,
        args.rate,
        args.per_register,
        args.min_ok.map(|count| format!(" --min-ok {count}")).unwrap_or_default(),
        args.rollcall.as_ref().map(|file| format!(" --rollcall {}", file.display())).unwrap_or_default(),
        args.plant.as_ref().map(|bug| format!(" --plant {bug}")).unwrap_or_default(),
    );
    Ok(RunOptions {
        workload,
        nemeses,
        seed,
        nodes,
        clients,
        watchers: args.watchers,
        rate: args.rate,
        time_limit: args.time_limit,
        min_ok: args.min_ok.unwrap_or(args.time_limit.as_secs() * 10).max(1),
        per_register: args.per_register,
        network,
        binary: match args.cluster {
            // Nothing of it is started.
            Some(_) => PathBuf::new(),
            None => cluster::find_binary(args.rollcall.as_deref())?,
        },
        attached: args.cluster.clone(),
        number: u64::try_from(now.as_micros()).unwrap_or(u64::MAX),
        planted: args.plant.clone(),
        folder: std::path::absolute(&folder).with_context(|| format!("{} is no path", folder.display()))?,
        command,
        interrupt: Arc::new(AtomicBool::new(false)),
    })
}

/// Judges a history, and writes the report beside it and to standard output.
pub(crate) fn judge(path: &Path) -> Result<Judged> {
    let history = history::read_file(path)?;
    let judgements = check::check(&history);
    let text = report::text(&history, &judgements);
    write!(std::io::stdout(), "{text}").context("cannot write to standard output")?;
    let file = path.with_file_name("report.txt");
    std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    let page = path.with_file_name("report.html");
    std::fs::write(&page, report::html(&history, &judgements))
        .with_context(|| format!("cannot write {}", page.display()))?;
    writeln!(std::io::stdout(), "  {}", path.parent().unwrap_or(path).display()).context("cannot write")?;
    let findings = judgements.iter().flat_map(|judgement| &judgement.findings);
    let is_ok = |operation: &&history::Operation| matches!(operation.outcome, history::Outcome::Ok(_));
    Ok(Judged {
        verdict: check::verdict(&judgements),
        broken: findings.filter(|finding| finding.verdict == Verdict::Invalid).map(|finding| finding.kind).collect(),
        seed: history.run.seed,
        succeeded: history.operations.values().filter(is_ok).count(),
        faults: history.faults.iter().filter(|fault| !fault.skipped).count(),
        seconds: history.until / 1_000_000_000,
    })
}

/// Shows what there is to choose from.
pub(crate) fn list() -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "workloads")?;
    for workload in Workload::ALL {
        writeln!(out, "  {:<16} {}", workload.name(), workload.describe())?;
    }
    writeln!(out, "nemeses")?;
    for (name, kinds) in nemesis::Kind::names() {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.describe()).collect();
        writeln!(out, "  {name:<16} {}", kinds.join(", "))?;
    }
    writeln!(out, "checkers\n  traffic, replay, linear, set, watch, staleness, lease, lock, health, availability")?;
    Ok(())
}
