//! One run: a cluster, clients, faults, and what came of it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rollcall_server::{NodeConfig, Secret};
use turmoil::Sim;

use crate::clocks;
use crate::faults::Schedule;
use crate::history::History;
use crate::judge::{Judge, Leaders};
use crate::logs::Committed;
use crate::trace::{Trace, set_now};
use crate::workload::{Client, Node};

/// Clients at once.
const CLIENTS: u64 = 3;
/// Ports of a node, as by default.
const HTTP: u16 = 7400;
const PEER: u16 = 7401;
const GOSSIP: u16 = 7402;
/// How often the logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Time in which a run must be over, beyond that in which things go wrong.
const OVERTIME: Duration = Duration::from_secs(300);
/// Segments and datagrams that wait at a host. turmoil panics beyond the first.
const CAPACITY: usize = 65_536;

/// For the thread of the simulation.
const STACK_BYTES: usize = 16 << 20;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// How long things go wrong.
    pub(crate) span: Duration,
    pub(crate) trace: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    /// What broke a promise, in the order in which it was found.
    pub(crate) findings: Vec<String>,
    /// The faults, with their times.
    pub(crate) schedule: Vec<String>,
    /// Figures, in one line.
    pub(crate) figures: String,
    /// Of the trace.
    pub(crate) hash: String,
}

/// Runs the plan. Once in a process: its clock and its randomness are the simulation's from now on.
pub(crate) fn run(plan: Plan) -> anyhow::Result<Report> {
    let _clocks = clocks::take()?;
    mad_turmoil::rand::set_rng(mad_rand::SeedableRng::seed_from_u64(plan.seed));
    // On a thread of its own: what threads draw once, they have not drawn yet there.
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || simulate(&plan))?;
    thread.join().map_err(|_| anyhow!("the simulation panicked"))?
}

fn simulate(plan: &Plan) -> anyhow::Result<Report> {
    let trace = Trace::install(plan.trace.as_deref())?;
    let data = data_dir(plan)?;
    let ended = Simulation::new(plan, data.path()).and_then(Simulation::run);
    let mut report = ended?;
    let (hash, lines) = trace.finish()?;
    report.hash = hash;
    report.figures = format!("{}, {lines} lines of trace", report.figures);
    Ok(report)
}

/// A directory whose name is the same in every run of the plan: names of files are in the trace.
fn data_dir(plan: &Plan) -> anyhow::Result<DataDir> {
    let path = std::env::temp_dir().join(format!("rollcall-stack-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&path));
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {} for seed {}", path.display(), plan.seed))?;
    std::env::set_current_dir(&path)?;
    Ok(DataDir(path))
}

/// Removed when it is dropped.
struct DataDir(PathBuf);

impl DataDir {
    /// By which nodes name it.
    fn path(&self) -> &Path {
        Path::new(".")
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // What stays lies among temporary files.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

struct Simulation {
    sim: Sim<'static>,
    schedule: Schedule,
    history: Rc<RefCell<History>>,
    leaders: Rc<RefCell<Leaders>>,
    recovery: Rc<RefCell<Option<Duration>>>,
}

impl Simulation {
    fn new(plan: &Plan, data: &Path) -> anyhow::Result<Self> {
        let end = plan.span;
        let mut sim = turmoil::Builder::new()
            .rng_seed(plan.seed)
            .simulation_duration(end + OVERTIME)
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(20))
            .tcp_capacity(CAPACITY)
            .udp_capacity(CAPACITY)
            // For the signals that a node listens to; nobody sends any.
            .enable_tokio_io()
            .enable_random_order()
            .build();
        let names: Vec<String> = (1..=plan.nodes).map(|number| format!("n{number}")).collect();
        let nodes: Vec<Node> = names
            .iter()
            .map(|name| Node { name: name.clone(), http: SocketAddr::new(sim.lookup(name.as_str()), HTTP) })
            .collect();
        for node in &nodes {
            let config = config(node, &nodes, data)?;
            sim.host(node.name.as_str(), move || {
                let config = config.clone();
                // A host that crashes takes its tasks along, and not the open files that they shared: the lock is taken of a new file.
                drop(std::fs::remove_file(config.data_dir.join("LOCK")));
                async move { Ok(rollcall_server::run(config, std::future::pending()).await?) }
            });
        }
        let (history, leaders) = (Rc::<RefCell<History>>::default(), Rc::<RefCell<Leaders>>::default());
        for number in 0..CLIENTS {
            let name = format!("c{}", number + 1);
            let (nodes, history) = (nodes.clone(), history.clone());
            let seed = plan.seed.wrapping_mul(CLIENTS + 1).wrapping_add(number);
            let client = Client { name: name.clone(), nodes, history, end, seed };
            sim.client(name, async move {
                client.run().await;
                Ok(())
            });
        }
        let recovery = Rc::<RefCell<Option<Duration>>>::default();
        let judge = Judge { nodes, history: history.clone(), leaders: leaders.clone(), end };
        sim.client("judge", {
            let recovery = recovery.clone();
            async move {
                let took = judge.run().await;
                *recovery.borrow_mut() = Some(took);
                Ok(())
            }
        });
        let schedule = Schedule::new(plan.seed, names, end);
        Ok(Self { sim, schedule, history, leaders, recovery })
    }

    /// Runs until the judge has judged, or something ends that must not.
    fn run(mut self) -> anyhow::Result<Report> {
        let mut committed = Committed::default();
        let mut look_at = Duration::ZERO;
        loop {
            let now = self.sim.elapsed();
            set_now(now);
            let leader = self.leaders.borrow().latest.clone();
            self.schedule.step(&mut self.sim, leader.as_deref());
            if now >= look_at {
                look_at = now + LOOK_EVERY;
                self.history.borrow_mut().findings.extend(committed.look());
            }
            match self.sim.step() {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    self.history.borrow_mut().findings.push(format!("at {now:?} a node or a client ended: {error}"));
                    break;
                }
            }
        }
        self.history.borrow_mut().findings.extend(committed.look());
        self.report(&committed)
    }

    fn report(self, committed: &Committed) -> anyhow::Result<Report> {
        let history = self.history.borrow();
        let recovery = self.recovery.borrow().map_or_else(|| "never".to_owned(), |took| format!("{took:?}"));
        let figures = format!(
            "{} s simulated, {} faults, {} writes acknowledged and {} unknown, {} linearizable and {} stale reads, \
             {} committed entries, leaders in {} terms, recovered after {recovery}",
            self.sim.elapsed().as_secs(),
            self.schedule.log.len().div_ceil(2),
            history.writes,
            history.unknown,
            history.reads,
            history.stale_reads,
            committed.count(),
            self.leaders.borrow().terms(),
        );
        if history.writes == 0 || history.reads == 0 {
            return Err(anyhow!("too little happened: {figures}; findings: {:?}", history.findings));
        }
        Ok(Report {
            findings: history.findings.clone(),
            schedule: self.schedule.log.clone(),
            figures,
            hash: String::new(),
        })
    }
}

/// Node `node` of `all`, beyond loopback, and so with a secret and a key.
fn config(node: &Node, all: &[Node], data: &Path) -> anyhow::Result<NodeConfig> {
    let at = |port| SocketAddr::new(node.http.ip(), port);
    Ok(NodeConfig {
        name: Some(node.name.as_str().try_into().map_err(|invalid| anyhow!("{invalid}"))?),
        data_dir: data.join(&node.name),
        http: at(HTTP),
        peer: at(PEER),
        gossip: at(GOSSIP),
        join: all.iter().map(|other| SocketAddr::new(other.http.ip(), PEER).to_string()).collect(),
        bootstrap_expect: Some(u32::try_from(all.len())?),
        secret: Some(Secret::from("known to all nodes of the simulation".to_owned())),
        gossip_key: Some(Secret::from("5a".repeat(32))),
        ..NodeConfig::default()
    })
}
