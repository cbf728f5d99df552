//! A run from its first process to its verdict.
//!
//! Load and faults for the time limit; then everything is healed, all nodes must serve again, everything is read from every
//! node, and every node tells its log. Whatever happens (a fault that cannot be undone, Ctrl-C) the cluster is taken down and
//! the history up to there is kept.

mod patience;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rollcall_api::query::Consistency;
use rollcall_api::{ClusterStatus, Code, HistoryRecord, Instance, List, Members, State, paths};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::{Client, Insistence, Names, Place, Stage};
use crate::cluster::{Attached, Cluster, ClusterOptions, Network, Node};
use crate::history::{Act, Answer, Call, Event, LogEntry, Outcome, Recorder, RunInfo, Thing};
use crate::nemesis::{self, Nemesis};
use crate::watcher::Watcher;
use crate::workload::{Shared, Worker, Workload, health, leases, locks};

use patience::Patience;

/// Longest wait for a new cluster.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for all members to be back after the heal, and then for all nodes to serve.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for the nodes to reach the same revision at the end.
const CONVERGENCE_PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait of a client for one answer. Longer than an election, shorter than most faults.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_500);
/// Number of the first client that reads at the end; no worker comes so far.
const FINAL_CLIENTS: u64 = 1 << 40;
/// Looks for nodes that ended by themselves so often.
const WATCH_NODES_EVERY: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(100);
/// Longest wait until all nodes see an instance pass that the harness plays, before the load.
const REHEARSAL_PATIENCE: Duration = Duration::from_secs(40);
/// The harness was not run when it comes so much later to something than it was to.
const STALL: Duration = Duration::from_millis(300);
/// Most changes in one page of a log.
const LOG_PAGE: usize = 5_000;

/// How to run.
#[derive(Debug, Clone)]
pub(crate) struct RunOptions {
    pub(crate) workload: Workload,
    pub(crate) nemeses: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) clients: usize,
    pub(crate) watchers: usize,
    /// Operations per second of all clients together.
    pub(crate) rate: u64,
    pub(crate) time_limit: Duration,
    pub(crate) min_ok: u64,
    /// Operations on a register before another one takes its place.
    pub(crate) per_register: u64,
    pub(crate) network: Network,
    pub(crate) binary: PathBuf,
    pub(crate) planted: Option<String>,
    /// The file of a cluster that runs already.
    pub(crate) attached: Option<PathBuf>,
    /// No other run's number.
    pub(crate) number: u64,
    /// Where everything of this run goes.
    pub(crate) folder: PathBuf,
    pub(crate) command: String,
    /// Set by Ctrl-C.
    pub(crate) interrupt: Arc<AtomicBool>,
}

impl RunOptions {
    /// The file with the history.
    pub(crate) fn history(&self) -> PathBuf {
        self.folder.join("history.jsonl")
    }

    /// Waits for `work`, and drops it when somebody presses Ctrl-C.
    async fn or_interrupt<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        unless(&self.interrupt, work).await
    }
}

/// Waits for `work`, and drops it wherever it is when `interrupt` is set.
async fn unless<T>(interrupt: &AtomicBool, work: impl Future<Output = T>) -> Result<T> {
    let interrupted = async {
        while !interrupt.load(Ordering::Relaxed) {
            sleep(POLL).await;
        }
    };
    tokio::select! {
        done = work => Ok(done),
        () = interrupted => bail!("interrupted"),
    }
}

/// Runs; the history is in [`RunOptions::history`] afterwards, also when this fails.
///
/// # Errors
/// Faults of the harness: the cluster does not come up, a fault cannot be undone, the disk is full.
pub(crate) async fn run(options: &RunOptions) -> Result<()> {
    fs::create_dir_all(&options.folder).with_context(|| format!("cannot make {}", options.folder.display()))?;
    let client = Client::new(ATTEMPT_TIMEOUT)?;
    let cluster_options = ClusterOptions {
        nodes: options.nodes,
        binary: options.binary.clone(),
        folder: options.folder.clone(),
        network: options.network,
        has_fabric: any_kind(&options.nemeses, nemesis::Kind::needs_fabric)?,
        seed: options.seed,
        has_spare: any_kind(&options.nemeses, nemesis::Kind::needs_spare)?,
        has_disks: any_kind(&options.nemeses, nemesis::Kind::needs_disks)?,
        has_clocks: any_kind(&options.nemeses, nemesis::Kind::needs_clocks)?,
        planted: options.planted.clone(),
    };
    let mut cluster = match &options.attached {
        Some(path) => Cluster::attach(Attached::read(path)?, client.clone()),
        None => Cluster::prepare(&cluster_options, client.clone())?,
    };
    let places = cluster.places();
    let recorder = Arc::new(Recorder::create(&options.history(), info(options, &places))?);
    cluster.start_all()?;
    options.or_interrupt(cluster.wait_ready(START_PATIENCE)).await?.context("the cluster does not come up")?;
    cluster.learn_ids().await?;
    if options.attached.is_some() {
        cluster.check_members().await?;
    }
    let floor = client.fetch::<ClusterStatus>(&places[0], paths::CLUSTER).await?.revision;
    let client = match &options.attached {
        Some(_) => client.calling(Names::apart(options.number)),
        None => client,
    };
    let client = match options.workload {
        Workload::Health => client.on(Stage::open(cluster.own_address()).await?),
        _ => client,
    };
    let run = Run { options, client, places, recorder, cluster: Arc::new(Mutex::new(cluster)), floor };
    let done = run.carry_out().await;
    run.remove_own().await;
    done?;
    run.recorder.write(&Event::End { at: run.recorder.now() });
    run.recorder.check()
}

/// Whether a fault of these nemeses needs what `needs` says.
fn any_kind(nemeses: &[String], needs: impl Fn(nemesis::Kind) -> bool) -> Result<bool> {
    let kinds = nemeses.iter().map(|name| nemesis::Kind::of_name(name)).collect::<Result<Vec<_>>>()?;
    Ok(kinds.into_iter().flatten().any(|kind| needs(*kind)))
}

fn info(options: &RunOptions, places: &[Place]) -> RunInfo {
    RunInfo {
        format: 0,
        workload: options.workload.name().to_owned(),
        nemeses: options.nemeses.clone(),
        seed: options.seed,
        nodes: places.iter().map(|place| place.node.clone()).collect(),
        clients: options.clients,
        time_limit_ms: u64::try_from(options.time_limit.as_millis()).unwrap_or(u64::MAX),
        min_ok: options.min_ok,
        network: options.network.name().to_owned(),
        planted: options.planted.clone(),
        command: options.command.clone(),
    }
}

struct Run<'o> {
    options: &'o RunOptions,
    client: Client,
    places: Vec<Place>,
    recorder: Arc<Recorder>,
    cluster: Arc<Mutex<Cluster>>,
    /// The revision before the first operation.
    floor: u64,
}

impl Run<'_> {
    /// From the rehearsal to the last look.
    async fn carry_out(&self) -> Result<()> {
        let options = self.options;
        if options.workload == Workload::Health {
            options.or_interrupt(rehearse(&self.client, &self.places, &self.recorder)).await??;
        }
        let shared = Arc::new(Shared::new(self.recorder.clone(), options.per_register));
        let watch = self.watch();
        options.or_interrupt(self.load(&shared)).await??;
        options.or_interrupt(self.finish(&shared, &watch)).await??;
        watch.stop().await
    }

    /// Clients and nemesis for the time limit. Both end wherever they are when this is dropped.
    async fn load(&self, shared: &Arc<Shared>) -> Result<()> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for number in 0..self.options.clients {
            workers.spawn(self.worker(number, shared, &stop).run());
        }
        let nemesis = Nemesis {
            names: self.options.nemeses.clone(),
            quiet_max_ms: self.options.workload.quiet_max_ms(),
            has_packet_filter: self.options.network == Network::Namespaces,
            seed: self.options.seed,
            cluster: self.cluster.clone(),
            recorder: self.recorder.clone(),
            stop: stop.clone(),
        };
        let mut beside = JoinSet::new();
        beside.spawn(note_stalls(self.recorder.clone()));
        let mut nemeses = JoinSet::new();
        let nemesis = nemeses.spawn(nemesis.run());
        let until = Instant::now() + self.options.time_limit;
        let may_end = self.options.nemeses.is_empty();
        while Instant::now() < until && (may_end || !nemesis.is_finished()) {
            sleep(WATCH_NODES_EVERY).await;
            self.look_for_trouble()?;
        }
        stop.store(true, Ordering::Relaxed);
        let result = nemeses.join_next().await.context("there is no nemesis")?.context("the nemesis broke")?;
        while let Some(ended) = workers.join_next().await {
            ended.context("a client broke")?;
        }
        self.look_for_trouble()?;
        result.context("a fault could not be undone")
    }

    /// Starts the watchers.
    fn watch(&self) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut tasks, mut reached) = (JoinSet::new(), Vec::new());
        for number in 0..self.options.watchers as u64 {
            // Those of a few services may never be told of the last change, so nobody waits for them.
            let is_of_few = number % 2 == 1;
            let services = self
                .options
                .workload
                .final_reads(1, self.options.per_register)
                .into_iter()
                .take(if is_of_few { 2 } else { 0 })
                .collect();
            let far = Arc::new(AtomicU64::new(0));
            if !is_of_few {
                reached.push(far.clone());
            }
            let watcher = Watcher {
                number,
                seed: self.options.seed,
                places: self.places.clone(),
                services,
                client: self.client.clone(),
                recorder: self.recorder.clone(),
                stop: stop.clone(),
                reached: far,
            };
            tasks.spawn(watcher.run());
        }
        Watch { stop, tasks, reached }
    }

    fn worker(&self, number: usize, shared: &Arc<Shared>, stop: &Arc<AtomicBool>) -> Worker {
        let mut places = self.places.clone();
        let count = places.len();
        places.rotate_left(number % count);
        let clients = self.options.clients as u64;
        Worker {
            number,
            clients: self.options.clients,
            workload: self.options.workload,
            seed: self.options.seed,
            places,
            pause: Duration::from_micros(1_000_000 * clients / self.options.rate.max(1)),
            client: self.client.clone(),
            shared: shared.clone(),
            stop: stop.clone(),
        }
    }

    /// Notes nodes that ended though nobody killed them, unless a fault is being made.
    ///
    /// # Errors
    /// When the harness itself is broken.
    fn look_for_trouble(&self) -> Result<()> {
        self.cluster.try_lock().map_or(Ok(()), |mut cluster| self.note_trouble(&mut cluster))
    }

    fn note_trouble(&self, cluster: &mut Cluster) -> Result<()> {
        for node in cluster.all_nodes_mut() {
            for complaint in node.take_complaints() {
                self.trouble(node.name(), complaint);
            }
            if let Some(ended) = node.take_own_end() {
                let what = format!("node ended by itself ({}); see {}", ended.how, ended.log.display());
                self.trouble(node.name(), what);
            }
        }
        self.recorder.check()?;
        cluster.check_harness()
    }

    /// Notes what must not happen to a node.
    fn trouble(&self, node: &str, what: String) {
        self.recorder.write(&Event::Trouble { at: self.recorder.now(), node: node.to_owned(), what });
    }

    /// Leaves nothing in a cluster that others use, too, whatever ended the run. What cannot be done is told, and changes no
    /// verdict.
    async fn remove_own(&self) {
        let Some(file) = &self.options.attached else { return };
        let mut cluster = self.cluster.lock().await;
        let healed = nemesis::heal(&mut cluster).await;
        let ready = cluster.wait_ready(RECOVERY_PATIENCE).await.map(drop);
        let removed = self.client.remove_all(&self.places, &self.client.names).await.map(drop);
        for error in [healed, ready, removed].into_iter().filter_map(Result::err) {
            let again = format!("`jepsen-lite sweep --cluster {}` tries again", file.display());
            let _ = writeln!(std::io::stderr(), "jepsen-lite: the cluster is not as it was found: {error:#}; {again}");
        }
    }

    /// Heals, waits until everything serves, reads everything, and takes the cluster down.
    async fn finish(&self, shared: &Shared, watch: &Watch) -> Result<()> {
        let mut cluster = self.cluster.lock().await;
        nemesis::heal(&mut cluster).await.context("the cluster could not be healed")?;
        // The rest is up to the cluster: to serve, and to take back the members that it lost.
        self.recorder.write(&Event::Healed { at: self.recorder.now() });
        let refused = nemesis::make_whole(&mut cluster, RECOVERY_PATIENCE).await;
        let refused = refused.context("the cluster could not be healed")?;
        let recovered = match refused {
            Some(error) => Err(error.context("its members are not those that there were")),
            None => cluster.wait_ready(RECOVERY_PATIENCE).await,
        };
        match recovered {
            Ok(_) => {
                self.recorder.write(&Event::Recovered { at: self.recorder.now() });
                // A node that forgot its cuts over a restart may still be cut off by another that did not restart.
                cluster.mend().await?;
                if let Err(error) = self.look_at_all(shared, watch).await {
                    self.trouble("cluster", format!("after it served again: {error:#}"));
                }
            }
            Err(error) => self.trouble("cluster", format!("after the heal: {error:#}")),
        }
        self.note_trouble(&mut cluster)?;
        self.look_for_panics(cluster.all_nodes())
    }

    /// What every node says when all is over.
    ///
    /// # Errors
    /// When nodes do not answer, or do not come to agree.
    async fn look_at_all(&self, shared: &Shared, watch: &Watch) -> Result<()> {
        self.final_reads(shared).await;
        match self.options.workload {
            Workload::Leases => self.final_looks().await?,
            Workload::Locks => self.final_locks().await?,
            Workload::Health => self.final_health(shared).await,
            _ => {}
        }
        let last = self.tell_logs().await?;
        watch.wait_for(last).await;
        Ok(())
    }

    /// Every service that was used, from every node.
    async fn final_reads(&self, shared: &Shared) {
        for service in self.options.workload.final_reads(shared.begun(), shared.per_register) {
            for (index, place) in self.places.iter().enumerate() {
                let consistency = Consistency::Linearizable;
                let call = Call::List { service: service.clone(), consistency, min_revision: None };
                self.finally(FINAL_CLIENTS + index as u64, place, &call).await;
            }
        }
    }

    /// Instances with a lease, on every node, until it says that they are silent, or it should have long ago.
    async fn final_looks(&self) -> Result<()> {
        let place = self.places.first().context("no node")?;
        let path = format!("{}?limit={LOG_PAGE}", paths::instances(&self.client.names.outer(leases::SERVICE)));
        let listed: List<Instance> = self.client.fetch(place, &path).await?;
        let mut patience = Patience::new(leases::LATE, Instant::now());
        for instance in listed.items.iter().take(leases::LOOKED_AT_MAX) {
            let call = Call::Look { thing: Thing::instance(leases::SERVICE, &instance.id) };
            for (index, place) in self.places.iter().enumerate() {
                let client = FINAL_CLIENTS + index as u64;
                loop {
                    let outcome = self.finally(client, place, &call).await;
                    let is_silent = matches!(outcome, Outcome::Ok(Answer::Looked { state: State::Critical, .. }));
                    if is_silent || patience.is_over(Instant::now()) {
                        break;
                    }
                    sleep(WATCH_NODES_EVERY).await;
                    patience.observe(self.stalls().await, Instant::now());
                }
            }
        }
        if patience.is_starved() {
            self.recorder.write(&Event::Starved { at: self.recorder.now() });
        }
        Ok(())
    }

    /// When nothing else is wrong, every second one of the played instances fails and the others are drained: then all nodes must
    /// know, and pick none of these.
    async fn final_health(&self, shared: &Shared) {
        let things = shared.all_played();
        sleep(health::TOLD_WITHIN).await;
        self.look_at_played(&things).await;
        sleep(health::JOURNALED_WITHIN + POLL).await;
        self.play(things.iter().step_by(2), Act::Fail).await;
        sleep(health::TOLD_WITHIN + POLL).await;
        self.play(things.iter().skip(1).step_by(2), Act::Drain).await;
        sleep(health::SEEN_WITHIN + POLL).await;
        self.look_at_played(&things).await;
    }

    async fn play(&self, things: impl Iterator<Item = &Thing>, act: Act) {
        for (thing, place) in things.zip(self.places.iter().cycle()) {
            self.finally(FINAL_CLIENTS, place, &Call::Play { thing: thing.clone(), act }).await;
        }
    }

    /// Played instances as each node has them, and whom it picks.
    async fn look_at_played(&self, things: &[Thing]) {
        for thing in things {
            for (index, place) in self.places.iter().enumerate() {
                let client = FINAL_CLIENTS + index as u64;
                self.finally(client, place, &Call::Look { thing: thing.clone() }).await;
                let (service, n) = (health::SERVICE.to_owned(), health::PICKS_MAX);
                self.finally(client, place, &Call::Pick { service, n }).await;
            }
        }
    }

    /// How often each node says that it was not run for a while.
    async fn stalls(&self) -> Vec<Option<u64>> {
        let mut stalls = Vec::new();
        for place in &self.places {
            let members = self.client.fetch::<Members>(place, paths::MEMBERS).await;
            stalls.push(members.ok().and_then(|members| members.observer).map(|observer| observer.stalls));
        }
        stalls
    }

    /// Every lock, until somebody gets it, or should have long ago.
    async fn final_locks(&self) -> Result<()> {
        let place = self.places.first().context("no node")?;
        let until = Instant::now() + locks::LATE;
        for key in locks::KEYS {
            loop {
                let opened = self.finally(FINAL_CLIENTS, place, &Call::Open).await;
                let Outcome::Ok(Answer::Opened { session }) = opened else { bail!("no session: {opened:?}") };
                let acquire = Call::Acquire { key: key.to_owned(), session };
                let outcome = self.finally(FINAL_CLIENTS, place, &acquire).await;
                if matches!(outcome, Outcome::Ok(_)) || Instant::now() > until {
                    break;
                }
                sleep(WATCH_NODES_EVERY).await;
            }
        }
        Ok(())
    }

    /// An operation after the heal, on one node.
    async fn finally(&self, client: u64, place: &Place, call: &Call) -> Outcome {
        let op = self.recorder.next_op();
        let (at, node) = (self.recorder.now(), place.node.clone());
        self.recorder.write(&Event::Invoke { at, op, client, node, call: call.clone() });
        let outcome = self.client.run(&[place], op, call, Insistence { retries: 5, again: false }).await;
        self.recorder.write(&Event::Return { at: self.recorder.now(), op, outcome: outcome.clone() });
        outcome
    }

    /// Every node's log since the run began; returns the revision of the last change that a watch shows.
    async fn tell_logs(&self) -> Result<u64> {
        let goal = self.wait_converged().await?;
        let mut last = 0;
        for place in &self.places {
            let complete = self.has_all_since_floor(place).await;
            let mut entries = Vec::new();
            let mut cursor = String::new();
            loop {
                let path = format!("{}?limit={LOG_PAGE}{cursor}", paths::HISTORY);
                let page: List<HistoryRecord> = self.client.fetch(place, &path).await?;
                let since = page.items.iter().take_while(|record| record.revision > self.floor);
                let asked_for =
                    since.filter(|record| record.revision <= goal && is_of_things(record, &self.client.names));
                let new: Vec<LogEntry> = asked_for.map(|record| entry(record, &self.client.names)).collect();
                // Changes of keys are in no watch.
                let watched = page.items.iter().filter(|record| record.service.is_some()).map(|record| record.revision);
                last = last.max(watched.max().unwrap_or(0));
                let is_last = page.items.last().is_none_or(|oldest| oldest.revision <= self.floor);
                entries.extend(new);
                match page.next_cursor {
                    Some(next) if !is_last => cursor = format!("&cursor={next}"),
                    _ => break,
                }
            }
            entries.reverse();
            let (at, node) = (self.recorder.now(), place.node.clone());
            self.recorder.write(&Event::Log { at, node, complete, entries });
        }
        Ok(last)
    }

    /// Waits until all nodes have applied what any of them had when all were asked for the first time, and returns how far that is.
    /// Others may go on writing meanwhile, in a cluster that they use, too.
    async fn wait_converged(&self) -> Result<u64> {
        let (start, mut goal) = (Instant::now(), None);
        loop {
            let mut revisions = Vec::new();
            for place in &self.places {
                let status: Result<ClusterStatus> = self.client.fetch(place, paths::CLUSTER).await;
                revisions.extend(status.map(|status| status.revision));
            }
            let is_complete = revisions.len() == self.places.len();
            let (least, most) = (revisions.iter().min().copied(), revisions.iter().max().copied());
            goal = goal.or(most.filter(|_| is_complete));
            match (goal, least) {
                (Some(goal), Some(least)) if is_complete && least >= goal => return Ok(goal),
                _ if start.elapsed() > CONVERGENCE_PATIENCE => {
                    bail!("the nodes do not reach the same revision: {revisions:?}")
                }
                _ => sleep(POLL).await,
            }
        }
    }

    /// Whether the node still has every change since the run began: it would refuse a watch from there otherwise.
    async fn has_all_since_floor(&self, place: &Place) -> bool {
        let path = format!("{}?since={}&wait=0ms", paths::instances("none"), self.floor);
        match self.client.open(place, &path, None).await {
            Ok(response) => response.status() != Code::RevisionCompacted.status() && response.status().as_u16() < 400,
            Err(_) => false,
        }
    }

    /// A panic that the process survived shows in its log only.
    fn look_for_panics<'n>(&self, nodes: impl Iterator<Item = &'n Node>) -> Result<()> {
        for node in nodes {
            // One that never joined wrote nothing.
            let Some(path) = node.log().filter(|path| path.exists()) else { continue };
            let log = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let log = String::from_utf8_lossy(&log);
            if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
                self.trouble(node.name(), format!("its log says: {line}"));
            }
        }
        Ok(())
    }
}

/// Has an instance played until every node has seen it pass, and gone again: else what nodes say of instances says nothing.
///
/// # Errors
/// When that does not happen in time.
async fn rehearse(client: &Client, places: &[Place], recorder: &Recorder) -> Result<()> {
    let thing = Thing::instance(health::SERVICE, "rehearsal");
    let places: Vec<&Place> = places.iter().collect();
    let patient = Insistence { retries: places.len() * 2, again: false };
    for (act, is_wished) in [(Act::Register, "passing"), (Act::Deregister, "gone")] {
        // Operations of their own, which the history does not tell of.
        let op = recorder.next_op();
        let played = client.run(&places, op, &Call::Play { thing: thing.clone(), act }, patient).await;
        if !matches!(played, Outcome::Ok(_)) {
            bail!("an instance that the harness plays cannot be registered and deregistered: {played:?}");
        }
        let start = Instant::now();
        for place in &places {
            loop {
                let look = client.run(&[place], op, &Call::Look { thing: thing.clone() }, Insistence::default()).await;
                let is_done = match (&look, act) {
                    (Outcome::Ok(Answer::Looked { state, .. }), Act::Register) => *state == State::Passing,
                    (Outcome::Fail { why, .. }, Act::Deregister) => why.ends_with("not_found"),
                    _ => false,
                };
                if is_done {
                    break;
                }
                if start.elapsed() > REHEARSAL_PATIENCE {
                    bail!(
                        "an instance that the harness plays is not {is_wished} on {} after {} s ({look:?}): can nodes connect \
                         to this machine, at `probed_at` if there is a file of the cluster?",
                        place.node,
                        REHEARSAL_PATIENCE.as_secs()
                    );
                }
                sleep(POLL).await;
            }
        }
    }
    Ok(())
}

/// Notes when the harness itself was not run, until this is dropped.
async fn note_stalls(recorder: Arc<Recorder>) {
    loop {
        let before = Instant::now();
        sleep(POLL).await;
        let late = before.elapsed().saturating_sub(POLL);
        if late >= STALL {
            let ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
            recorder.write(&Event::Stalled { at: recorder.now(), ms });
        }
    }
}

/// The watchers of a run. They end when this is dropped.
struct Watch {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    /// How far each of those is that watch everything.
    reached: Vec<Arc<AtomicU64>>,
}

impl Watch {
    /// Waits until all were told of `revision`, or long enough; the checker says who was not.
    async fn wait_for(&self, revision: u64) {
        let start = Instant::now();
        let is_behind = || self.reached.iter().any(|reached| reached.load(Ordering::Relaxed) < revision);
        while is_behind() && start.elapsed() < CONVERGENCE_PATIENCE {
            sleep(POLL).await;
        }
    }

    async fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a watcher broke")?;
        }
        Ok(())
    }
}

/// Whether a record is about what is written and read as a whole. Nobody asks for a transition of states: the cluster journals
/// what it observed; and locks and played instances are judged by checkers of their own.
fn is_of_things(record: &HistoryRecord, names: &Names) -> bool {
    let is_own_service = |name: &str| names.inner(name).is_some_and(|service| !health::is_played(service));
    let is_own_key = |name: &str| names.inner(name).is_some_and(|key| !locks::is_ours(key));
    let (service, key) = (record.service.as_deref(), record.key.as_deref());
    // What names neither is an event of somebody, or a change of the cluster.
    let is_own = service.is_some_and(is_own_service) || key.is_some_and(is_own_key);
    is_own && record.action != "state" && record.session.is_none()
}

fn entry(record: &HistoryRecord, names: &Names) -> LogEntry {
    LogEntry {
        revision: record.revision,
        op: names.op_of_actor(&record.actor),
        removed: matches!(record.action.as_str(), "deregistered" | "removed" | "kv_removed"),
    }
}

/// Removes the nodes' data, which is large, and keeps history, logs and reports.
pub(crate) fn remove_data(folder: &Path) {
    // Whoever wants room can remove the rest by hand.
    for part in ["data", "disks"] {
        let _ = fs::remove_dir_all(folder.join(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_interrupt_ends_what_would_wait_for_ever_and_the_tasks_that_it_began() {
        let (interrupt, held) = (AtomicBool::new(true), Arc::new(()));
        let of_task = held.clone();
        let work = async {
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                let _held = of_task;
                std::future::pending::<()>().await;
            });
            tasks.join_next().await
        };
        assert_eq!(unless(&interrupt, work).await.unwrap_err().to_string(), "interrupted");
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn without_an_interrupt_work_is_done() {
        assert_eq!(unless(&AtomicBool::new(false), async { 7 }).await.unwrap(), 7);
    }
}
