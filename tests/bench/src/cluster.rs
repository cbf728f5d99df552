//! A three-node cluster of any of the three systems on loopback, with fresh data on a real disk.
//!
//! At most one exists at a time. How each system is started and asked about itself is in the modules below; starting,
//! stopping, pausing and waiting are the same for all.

mod etcd;
pub(crate) mod rollcall;
mod zookeeper;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::client;
use crate::process::{Process, Spec};
use crate::results::Subject;

/// Nodes of every cluster.
pub(crate) const NODES: usize = 3;
/// Longest wait for a node or a cluster to become ready.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Pause between two looks at whether a node is ready. The resolution of the restart figures.
const READY_POLL: Duration = Duration::from_millis(5);
/// Longest wait for the answer to one look.
const LOOK_DEADLINE: Duration = Duration::from_millis(500);
/// Quiet time after the start, so that the first load does not see the end of the bootstrap.
const SETTLE: Duration = Duration::from_secs(1);
/// Ports are looked for from here upward, below the range the kernel gives to outgoing connections.
const PORT_FIRST: u16 = 21_000;
const PORT_LAST: u16 = 32_000;

/// Where the programs are and where their data goes.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Our binary; `None` when we are not measured.
    pub(crate) rollcall: Option<PathBuf>,
    pub(crate) etcd: PathBuf,
    pub(crate) java: PathBuf,
    pub(crate) zookeeper_jar: PathBuf,
    /// Holds one temporary folder per cluster.
    pub(crate) folder: PathBuf,
}

/// What one node says about who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) term: u64,
    pub(crate) is_leader: bool,
}

/// A cluster. Dropping it kills its processes and removes its data.
pub(crate) struct Cluster {
    /// Which system it is.
    pub(crate) subject: Subject,
    nodes: Vec<Node>,
    // Behind the nodes, so that it is removed after they are gone.
    folder: TempDir,
}

struct Node {
    spec: Spec,
    process: Option<Process>,
    client: SocketAddr,
}

impl Cluster {
    /// Starts a new cluster and waits until every node is ready and one leads.
    pub(crate) async fn start(subject: Subject, setup: &Setup) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rollcall-bench-").tempdir_in(&setup.folder)?;
        let ports = free_ports(3 * NODES)?;
        let specs = match subject {
            Subject::Rollcall => {
                let program = setup.rollcall.as_ref().context("the rollcall binary is not known")?;
                rollcall::specs(program, folder.path(), NODES, &ports)?
            }
            Subject::Etcd => etcd::specs(setup, folder.path(), &ports),
            Subject::Zookeeper => zookeeper::specs(setup, folder.path(), &ports)?,
        };
        let nodes =
            specs.into_iter().zip(&ports).map(|(spec, port)| Node { spec, process: None, client: local(*port) });
        let mut cluster = Self { subject, nodes: nodes.collect(), folder };
        for index in 0..NODES {
            cluster.spawn(index)?;
        }
        cluster.wait_ready().await?;
        client::prepare(subject, cluster.address(0)).await?;
        sleep(SETTLE).await;
        Ok(cluster)
    }

    /// Where clients reach node `index`.
    pub(crate) fn address(&self, index: usize) -> SocketAddr {
        self.nodes[index].client
    }

    /// Where clients reach the nodes but `without`.
    pub(crate) fn addresses_without(&self, without: usize) -> Vec<SocketAddr> {
        (0..NODES).filter(|index| *index != without).map(|index| self.address(index)).collect()
    }

    /// Where clients reach the nodes, the leader first.
    pub(crate) async fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let leader = self.leader().await?;
        Ok((0..NODES).map(|step| self.address((leader + step) % NODES)).collect())
    }

    /// Process ids of the nodes that run.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| Some(node.process.as_ref()?.pid())).collect()
    }

    /// The node that leads, waiting for one.
    pub(crate) async fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            let leaders = self.leaderships().await;
            // Of two that think so, the one with the higher term is right (Raft §5.1).
            let leading = leaders.iter().enumerate().filter_map(|(index, seen)| Some((index, (*seen)?)));
            if let Some((index, _)) = leading.filter(|(_, seen)| seen.is_leader).max_by_key(|(_, seen)| seen.term) {
                return Ok(index);
            }
            ensure!(Instant::now() < deadline, "no leader within {READY_DEADLINE:?}{}", self.log_tails());
            sleep(READY_POLL).await;
        }
    }

    /// The highest term any node knows.
    pub(crate) async fn term(&self) -> Result<u64> {
        let terms = self.leaderships().await.into_iter().flatten().map(|seen| seen.term);
        terms.max().context("no node tells its term")
    }

    async fn leaderships(&self) -> Vec<Option<Leadership>> {
        let mut seen = Vec::with_capacity(NODES);
        for node in &self.nodes {
            let look = async {
                match self.subject {
                    Subject::Rollcall => rollcall::leadership(node.client).await,
                    Subject::Etcd => etcd::leadership(node.client).await,
                    Subject::Zookeeper => zookeeper::leadership(node.client).await,
                }
            };
            seen.push(timeout(LOOK_DEADLINE, look).await.ok().and_then(Result::ok));
        }
        seen
    }

    /// Starts node `index`, new or again.
    pub(crate) fn spawn(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        node.process = Some(Process::spawn(&node.spec)?);
        Ok(())
    }

    /// Kills node `index` with SIGKILL and waits for its end.
    pub(crate) fn kill(&mut self, index: usize) {
        self.nodes[index].process = None;
    }

    /// Sends a signal to node `index`.
    pub(crate) fn signal(&self, index: usize, signal: Signal) -> Result<()> {
        self.nodes[index].process.as_ref().context("the node does not run")?.signal(signal)
    }

    /// Waits until all nodes are ready and one leads.
    pub(crate) async fn wait_ready(&mut self) -> Result<()> {
        for index in 0..NODES {
            self.wait_node_ready(index).await?;
        }
        self.leader().await?;
        Ok(())
    }

    /// Waits until node `index` says that it is ready.
    pub(crate) async fn wait_node_ready(&mut self, index: usize) -> Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            let address = self.address(index);
            let look = async {
                match self.subject {
                    Subject::Rollcall => rollcall::is_ready(address).await,
                    Subject::Etcd => etcd::is_ready(address).await,
                    Subject::Zookeeper => zookeeper::is_ready(address).await,
                }
            };
            if matches!(timeout(LOOK_DEADLINE, look).await, Ok(Ok(true))) {
                return Ok(());
            }
            let ended = self.nodes[index].process.as_mut().map(Process::ended).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("node {index} of {} ended with {status}{}", self.subject, self.log_tails());
            }
            ensure!(
                Instant::now() < deadline,
                "node {index} of {} was not ready within {READY_DEADLINE:?}{}",
                self.subject,
                self.log_tails()
            );
            sleep(READY_POLL).await;
        }
    }

    /// The ends of the nodes' logs, for error messages.
    pub(crate) fn log_tails(&self) -> String {
        self.nodes.iter().map(|node| tail(&node.spec.log)).collect()
    }

    /// Folder of the cluster's data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The end of a log, for error messages.
pub(crate) fn tail(log: &Path) -> String {
    const LINES: usize = 8;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("\n--- {}\n{}", log.display(), lines[lines.len().saturating_sub(LINES)..].join("\n"))
}

/// A port of loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Finds `count` ports of loopback that nobody listens on.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let is_free = |port: &u16| TcpListener::bind(local(*port)).is_ok();
    let ports: Vec<u16> = (PORT_FIRST..PORT_LAST).filter(is_free).take(count).collect();
    ensure!(ports.len() == count, "fewer than {count} free ports from {PORT_FIRST} to {PORT_LAST}");
    Ok(ports)
}
