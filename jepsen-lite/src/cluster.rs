//! The control plane: nodes as processes of this machine, and the links between them.
//!
//! Everything that was started or changed is undone when the [`Cluster`] is dropped, whatever ended the run. A harness that
//! was killed with -9 leaves nothing running either: nodes stop when their standard input closes, and namespaces of a dead
//! harness are swept by the next run. Nodes that it did not start (`attached.rs`) stay as a killed harness left them, until
//! `jepsen-lite sweep --cluster`.

mod attached;
mod ballast;
mod clocks;
mod command;
mod cuts;
mod disks;
mod fabric;
mod members;
mod namespaces;
mod node;
mod ports;

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rollcall_api::{ClusterStatus, RaftRole, RaftStatus, paths};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::client::{Client, Place};

pub(crate) use attached::{Attached, Command};
use clocks::Clocks;
pub(crate) use cuts::{Cuts, Traffic};
use disks::Disks;
use fabric::Fabric;
pub(crate) use fabric::{Counts, Link, Links};
use members::Leaver;
pub(crate) use members::Unchanged;
use namespaces::Namespaces;
pub(crate) use node::{Node, ProcessOptions};

/// What the nodes of a run prove to each other to know.
const SECRET: &str = "a secret of the nodes under test, and of nobody else";
/// Pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(50);

/// How links between nodes are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// Inside the nodes, by the product's test endpoint: needs no rights, cuts both directions.
    Endpoint,
    /// In the kernel, with a network namespace per node: needs root, `ip`, `nft` and `nsenter`.
    Namespaces,
    /// By the commands of nodes that run elsewhere, which cut one node from all others.
    Commands,
}

impl Network {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Namespaces => "namespaces",
            Self::Commands => "commands",
        }
    }
}

/// How a cluster is made.
#[derive(Debug, Clone)]
pub(crate) struct ClusterOptions {
    pub(crate) nodes: usize,
    pub(crate) binary: PathBuf,
    /// Where data, logs and the secret go.
    pub(crate) folder: PathBuf,
    pub(crate) network: Network,
    /// The harness carries the packets between nodes itself, where the network is one of namespaces.
    pub(crate) has_fabric: bool,
    /// What chance in the fabric follows from.
    pub(crate) seed: u64,
    /// There is room for one node more than `nodes`.
    pub(crate) has_spare: bool,
    /// Each node has a disk of its own, whose power can be cut.
    pub(crate) has_disks: bool,
    /// Each node has a clock of its own, which can be set.
    pub(crate) has_clocks: bool,
    /// Bugs that the nodes plant in themselves, when they were built for it.
    pub(crate) planted: Option<String>,
}

/// The nodes of a run.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    /// One more, which is a member only while a fault says so.
    spare: Option<Node>,
    /// The node that leaves its place to a new one meanwhile.
    leaver: Option<Leaver>,
    /// Before the namespaces, in which its devices are.
    fabric: Option<Fabric>,
    namespaces: Option<Namespaces>,
    disks: Option<Disks>,
    clocks: Option<Clocks>,
    /// Where nodes that run elsewhere probe this machine.
    probed_at: Option<IpAddr>,
    /// Nodes that a command cut off from all others.
    isolated: Vec<usize>,
    client: Client,
    /// Their ids, in the same order, once they served.
    ids: Vec<u64>,
}

impl Cluster {
    /// Prepares folders, ports and namespaces; no process runs yet.
    pub(crate) fn prepare(options: &ClusterOptions, client: Client) -> Result<Self> {
        let secret_file = options.folder.join("secret");
        fs::write(&secret_file, SECRET).with_context(|| format!("cannot write {}", secret_file.display()))?;
        let gossip_key_file = options.folder.join("gossip-key");
        make_gossip_key(&options.binary, &gossip_key_file)?;
        let slots = options.nodes + usize::from(options.has_spare);
        let namespaces = match options.network {
            Network::Endpoint | Network::Commands => None,
            Network::Namespaces => Some(Namespaces::create(slots, !options.has_fabric)?),
        };
        let fabric = match &namespaces {
            Some(namespaces) if options.has_fabric => Some(Fabric::create(namespaces.ends(), options.seed)?),
            _ => None,
        };
        let disks = options.has_disks.then(|| Disks::create(slots, &options.folder.join("disks"))).transpose()?;
        let clocks = options.has_clocks.then(|| Clocks::create(slots, &options.folder.join("clocks"))).transpose()?;
        let mut cluster = Self::of(Vec::new(), client);
        (cluster.fabric, cluster.namespaces) = (fabric, namespaces);
        (cluster.disks, cluster.clocks) = (disks, clocks);
        let addresses = match &cluster.namespaces {
            Some(namespaces) => namespaces.addresses(),
            None => ports::loopback_addresses(slots)?,
        };
        for (index, own) in addresses.iter().enumerate() {
            let others = addresses.iter().enumerate().filter(|(other, _)| *other != index);
            let name = format!("n{}", index + 1);
            let options_of_node = ProcessOptions {
                addresses: own.clone(),
                join: others.map(|(_, other)| other.peer).collect(),
                bootstrap_expect: (index < options.nodes).then_some(options.nodes),
                data_dir: match &cluster.disks {
                    Some(disks) => disks.data_dir(index),
                    None => options.folder.join("data").join(&name),
                },
                log: options.folder.join(format!("{name}.log")),
                secret_file: secret_file.clone(),
                gossip_key_file: gossip_key_file.clone(),
                binary: options.binary.clone(),
                clock: cluster.clocks.as_ref().map(|clocks| clocks.environment(index)),
                namespace: cluster.namespaces.as_ref().map(|namespaces| namespaces.name(index)),
                planted: options.planted.clone(),
            };
            let node = Node::new(name, options_of_node);
            if index < options.nodes { cluster.nodes.push(node) } else { cluster.spare = Some(node) }
        }
        Ok(cluster)
    }

    /// Nodes that run elsewhere already.
    pub(crate) fn attach(attached: Attached, client: Client) -> Self {
        let probed_at = attached.probed_at;
        let mut cluster = Self::of(attached.into_nodes(), client);
        cluster.probed_at = probed_at;
        cluster
    }

    /// These nodes, and nothing else that the harness has hold of.
    fn of(nodes: Vec<Node>, client: Client) -> Self {
        Self {
            nodes,
            spare: None,
            leaver: None,
            fabric: None,
            namespaces: None,
            disks: None,
            clocks: None,
            probed_at: None,
            isolated: Vec::new(),
            client,
            ids: Vec::new(),
        }
    }

    /// Whether the nodes are those that have a vote in one cluster, all of them, under their names there.
    ///
    /// # Errors
    /// Who is missing, or is called otherwise.
    pub(crate) async fn check_members(&self) -> Result<()> {
        for node in &self.nodes {
            let place = node.place();
            let raft: RaftStatus = self.client.fetch(&place, paths::RAFT).await?;
            if raft.node != place.node {
                bail!("{} is called '{}', and '{}' in the file", place.url, raft.node, place.node);
            }
            let is_known = |voter: &&String| self.nodes.iter().any(|node| node.name() == voter.as_str());
            if let Some(voter) = raft.voters.iter().find(|voter| !is_known(voter)) {
                bail!("'{voter}' has a vote, and the file does not name it: a majority would be another one");
            }
            if let Some(other) = self.nodes.iter().find(|other| !raft.voters.contains(&other.name().to_owned())) {
                bail!("'{}' has no vote in the cluster of '{}': leave it out of the file", other.name(), place.node);
            }
        }
        Ok(())
    }

    /// The nodes and the spare one.
    pub(crate) fn all_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().chain(&self.spare)
    }

    /// The same, to change them.
    pub(crate) fn all_nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.iter_mut().chain(&mut self.spare)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Where the nodes' APIs are.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.nodes.iter().map(Node::place).collect()
    }

    /// Starts every node that does not run, but none that leaves.
    pub(crate) fn start_all(&mut self) -> Result<()> {
        for index in 0..self.len() {
            if !self.nodes[index].is_started() && !self.is_vacant(&self.nodes[index]) {
                self.nodes[index].start()?;
            }
        }
        Ok(())
    }

    /// Whether a node says that it serves.
    pub(crate) async fn is_ready(&self, index: usize) -> bool {
        self.client.is_ready(&self.nodes[index].place()).await
    }

    /// Waits until all nodes serve; returns how long that took.
    ///
    /// # Errors
    /// When one ends or does not get ready in time.
    pub(crate) async fn wait_ready(&mut self, patience: Duration) -> Result<Duration> {
        let start = Instant::now();
        for index in 0..self.len() {
            let place = self.nodes[index].place();
            while !self.client.is_ready(&place).await {
                if let Some(ended) = self.nodes[index].look_ended() {
                    bail!("{} ended ({}) while it should serve; see {}", place.node, ended.how, ended.log.display());
                }
                if start.elapsed() > patience {
                    bail!("{} does not serve after {} s", place.node, patience.as_secs());
                }
                sleep(POLL).await;
            }
        }
        Ok(start.elapsed())
    }

    /// Learns the nodes' ids, when all serve.
    pub(crate) async fn learn_ids(&mut self) -> Result<()> {
        for node in &self.nodes {
            let status: ClusterStatus = self.client.fetch(&node.place(), paths::CLUSTER).await?;
            self.ids.push(status.node_id);
        }
        Ok(())
    }

    /// The index of the node that leads, as far as those that answer agree with it.
    pub(crate) async fn leader(&self) -> Option<usize> {
        let mut best: Option<(u64, usize)> = None;
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_started()) {
            let Ok(raft) = self.client.fetch::<RaftStatus>(&node.place(), paths::RAFT).await else { continue };
            if raft.role == RaftRole::Leader && best.is_none_or(|(term, _)| term < raft.term) {
                best = Some((raft.term, index));
            }
        }
        best.map(|(_, index)| index)
    }

    /// Asks the leader to hand over to the node at `to`.
    pub(crate) async fn transfer_leader(&self, to: usize) -> Result<()> {
        let body = json!({ "to": self.nodes[to].member() });
        let node = self.nodes.get(to).filter(|node| node.is_started()).context("the node does not run")?;
        self.client.post(&node.place(), paths::TRANSFER_LEADER, &body, Duration::from_secs(8)).await
    }

    /// Cuts exactly these links.
    ///
    /// # Errors
    /// When the network cannot do it, or a node does not answer.
    pub(crate) async fn cut(&mut self, cuts: &Cuts) -> Result<()> {
        if let Some(namespaces) = &self.namespaces {
            return namespaces.cut(cuts);
        }
        if self.is_attached() {
            return self.isolate(cuts);
        }
        if !cuts.is_symmetric() || !cuts.is_plain() {
            bail!("the test endpoint cuts all traffic of both directions; --network namespaces can do more");
        }
        // A node that is down, or comes up meanwhile, knows nothing of cuts; those on the other side do.
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if !node.is_running() {
                continue;
            }
            let unheard = cuts.unheard_at(index).into_iter();
            let blocked: Vec<u64> = unheard.filter_map(|other| self.ids.get(other).copied()).collect();
            let body = json!({ "nodes": blocked });
            self.client.post(&node.place(), paths::BLOCK_PEERS, &body, Duration::from_secs(5)).await?;
        }
        Ok(())
    }

    /// How many packets the present cuts have dropped; `None` when nobody counts.
    pub(crate) fn dropped(&self) -> Result<Option<u64>> {
        self.namespaces.as_ref().map(Namespaces::dropped).transpose()
    }

    /// Restores all links. A node that was restarted has forgotten its cuts, and one that is down has none.
    pub(crate) async fn mend(&mut self) -> Result<()> {
        if let Some(namespaces) = &self.namespaces {
            return namespaces.cut(&Cuts::none(self.len()));
        }
        if self.is_attached() {
            return self.rejoin();
        }
        for node in &mut self.nodes {
            if !node.is_running() {
                continue;
            }
            let body = json!({ "nodes": [] });
            self.client.post(&node.place(), paths::BLOCK_PEERS, &body, Duration::from_secs(5)).await?;
        }
        Ok(())
    }

    /// Whether the nodes run elsewhere.
    fn is_attached(&self) -> bool {
        self.nodes.iter().any(|node| node.commands().is_some())
    }

    /// Brings nodes that a killed harness broke back to where they should be, as far as there are commands for it. Says what failed.
    pub(crate) fn restore_attached(attached: Attached) -> Vec<anyhow::Error> {
        let nodes = attached.into_nodes();
        let mends = [Command::Resume, Command::Start, Command::Rejoin];
        let all = nodes.iter().flat_map(|node| mends.map(|command| (node, command)));
        let done = all.filter_map(|(node, command)| {
            let commands = node.commands().filter(|commands| commands.has(command))?;
            commands.run(command).err().map(|error| error.context(node.name().to_owned()))
        });
        done.collect()
    }

    /// Cuts off each node that is to hear nobody and to be heard by nobody.
    fn isolate(&mut self, cuts: &Cuts) -> Result<()> {
        self.rejoin()?;
        let alone: Vec<usize> = (0..self.len()).filter(|&index| cuts.isolates(index)).collect();
        let is_all = (0..self.len()).flat_map(|to| cuts.unheard_at(to).into_iter().map(move |from| (from, to)));
        if !cuts.is_plain() || is_all.into_iter().any(|(from, to)| !alone.contains(&from) && !alone.contains(&to)) {
            bail!("commands cut single nodes off, and nothing else");
        }
        for index in alone {
            // One of which the command failed may be cut off, too.
            self.isolated.push(index);
            if let Some(commands) = self.nodes[index].commands() {
                commands.run(Command::Isolate)?;
            }
        }
        Ok(())
    }

    /// Ends that.
    fn rejoin(&mut self) -> Result<()> {
        while let Some(&index) = self.isolated.last() {
            if let Some(commands) = self.nodes[index].commands() {
                commands.run(Command::Rejoin)?;
            }
            self.isolated.pop();
        }
        Ok(())
    }

    /// Cuts the power of nodes: they end, and what they had not synced is gone.
    ///
    /// # Errors
    /// When the run has no disks, or one does not come back.
    pub(crate) fn cut_power(&mut self, indexes: &[usize]) -> Result<()> {
        let disks = self.disks.as_ref().context("this run has no disks of its own")?;
        for &index in indexes {
            self.nodes[index].kill()?;
        }
        indexes.iter().try_for_each(|&index| disks.cut_power(index))
    }

    /// An address of the harness that nodes reach, whatever becomes of the links between them.
    pub(crate) fn own_address(&self) -> IpAddr {
        let of_namespaces = self.namespaces.as_ref().map(|namespaces| namespaces.own_address().into());
        self.probed_at.or(of_namespaces).unwrap_or(Ipv4Addr::LOCALHOST.into())
    }

    /// Whether nodes must answer for their links to be cut or mended: they do it themselves.
    pub(crate) fn do_nodes_cut_links(&self) -> bool {
        self.namespaces.is_none() && !self.is_attached()
    }

    /// Whether links can be cut in one direction only, or for some packets.
    pub(crate) fn has_packet_filter(&self) -> bool {
        self.namespaces.is_some()
    }

    /// Gives packets between nodes this weather.
    ///
    /// # Errors
    /// When the run has no fabric.
    pub(crate) fn set_weather(&self, links: &Links) -> Result<()> {
        self.fabric.as_ref().context("this needs --network namespaces")?.set(links)
    }

    /// Counts from here on what becomes of packets.
    pub(crate) fn count_packets_anew(&self) {
        if let Some(fabric) = &self.fabric {
            fabric.take_counts();
        }
    }

    /// Whether the harness still does its own part: it carries packets, where it must.
    ///
    /// # Errors
    /// When it does not; then nothing that the nodes do says anything.
    pub(crate) fn check_harness(&self) -> Result<()> {
        self.fabric.as_ref().map_or(Ok(()), Fabric::check)
    }

    /// Lets packets pass at once again, and says what became of them since they were counted anew.
    ///
    /// # Errors
    /// When the fabric does not work any more.
    pub(crate) fn clear_weather(&self) -> Result<Counts> {
        let Some(fabric) = &self.fabric else { return Ok(Counts::default()) };
        fabric.set(&vec![vec![Link::default(); self.len()]; self.len()])?;
        Ok(fabric.take_counts())
    }

    /// How long a packet of one node takes to another and back, in words.
    pub(crate) async fn round_trip(&self, (from, to): (usize, usize)) -> String {
        let Some(namespaces) = &self.namespaces else { return "not measured".to_owned() };
        match namespaces.round_trip(from, to).await {
            Ok(time) => format!("{:.1} ms", time.as_secs_f64() * 1_000.0),
            Err(error) => format!("not measured ({error:#})"),
        }
    }

    /// Lets the disks of nodes take so many writes a second only.
    ///
    /// # Errors
    /// When the run has no disks, or the kernel cannot do that.
    pub(crate) fn slow_disks(&self, indexes: &[usize], writes_per_second: u64) -> Result<()> {
        let disks = self.disks.as_ref().context("this run has no disks of its own")?;
        indexes.iter().try_for_each(|&index| disks.slow(index, writes_per_second))
    }

    /// Makes all disks as fast as they are.
    pub(crate) fn hasten_disks(&self) -> Result<()> {
        let Some(disks) = &self.disks else { return Ok(()) };
        (0..self.len()).try_for_each(|index| disks.hasten(index))
    }

    /// How long a small write takes until it is on a node's disk.
    ///
    /// # Errors
    /// When the run has no disks, or cannot write to it.
    pub(crate) fn synced_write(&self, index: usize) -> Result<Duration> {
        self.disks.as_ref().context("this run has no disks of its own")?.synced_write(index)
    }

    /// Leaves no room on the disks of nodes.
    ///
    /// # Errors
    /// When the run has no disks.
    pub(crate) fn fill_disks(&self, indexes: &[usize]) -> Result<()> {
        let disks = self.disks.as_ref().context("this run has no disks of its own")?;
        indexes.iter().try_for_each(|&index| disks.fill(index))
    }

    /// Gives the room back, on all disks.
    pub(crate) fn empty_disks(&self) -> Result<()> {
        let Some(disks) = &self.disks else { return Ok(()) };
        (0..self.len()).try_for_each(|index| disks.empty(index))
    }

    /// Sets all clocks right.
    pub(crate) fn mend_clocks(&self) -> Result<()> {
        let Some(clocks) = &self.clocks else { return Ok(()) };
        (0..self.len()).try_for_each(|index| clocks.set(index, 0))
    }

    /// Sets the clocks of nodes off by so many seconds.
    ///
    /// # Errors
    /// When the run has no clocks, or a node does not read its own.
    pub(crate) fn set_clocks(&self, indexes: &[usize], seconds: i64) -> Result<()> {
        let clocks = self.clocks.as_ref().context("this run has no clocks of its own")?;
        let is_deaf = |index: &&usize| !self.nodes[**index].has_loaded(clocks.library());
        if let Some(&index) = indexes.iter().find(is_deaf) {
            bail!("{} reads the real clock: {} is not in its process", self.nodes[index].name(), clocks.library());
        }
        indexes.iter().try_for_each(|&index| clocks.set(index, seconds))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.rejoin() {
            // Whoever owns the nodes must know.
            let _ = writeln!(std::io::stderr(), "jepsen-lite: nodes are still cut off: {error:#}");
        }
    }
}

/// Removes what harnesses left that were killed.
pub(crate) fn sweep() {
    namespaces::sweep();
    disks::sweep();
}

/// Has the program make a key for gossip: without one it listens on loopback only.
fn make_gossip_key(binary: &Path, file: &Path) -> Result<()> {
    let made = std::process::Command::new(binary).arg("keygen").output();
    let made = made.with_context(|| format!("cannot start {}", binary.display()))?;
    if !made.status.success() {
        bail!("{} keygen: {}", binary.display(), String::from_utf8_lossy(&made.stderr).trim());
    }
    fs::write(file, made.stdout).with_context(|| format!("cannot write {}", file.display()))
}

/// The program to test: what was given, else `ROLLCALL_BIN`, else `rollcall` beside this program.
///
/// # Errors
/// When there is no such file.
pub(crate) fn find_binary(given: Option<&Path>) -> Result<PathBuf> {
    let path = match (given, std::env::var_os("ROLLCALL_BIN")) {
        (Some(path), _) => path.to_owned(),
        (None, Some(path)) => PathBuf::from(path),
        (None, None) => std::env::current_exe().context("cannot find this program")?.with_file_name("rollcall"),
    };
    if !path.is_file() {
        bail!("there is no program {}; build it (cargo build -p rollcall) or give --rollcall", path.display());
    }
    std::path::absolute(&path).with_context(|| format!("{} is no path", path.display()))
}
