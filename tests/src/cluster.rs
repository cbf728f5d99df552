//! Several nodes that form a cluster.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::rollcall;
use crate::node::{Node, NodeOptions};
use crate::ports::free_port;
use crate::wait::{DEADLINE, note, wait_until};

/// What the nodes of a test prove to each other to know.
const SECRET: &str = "a secret of the test nodes, and of nobody else";
/// Lines of each log that a failed test prints.
const LOG_LINES: usize = 40;

/// How a cluster is started.
#[derive(Debug, Default)]
pub struct ClusterBuilder {
    nodes: usize,
    arguments: Vec<String>,
}

/// Nodes that were started together, and those that joined them later.
///
/// Dropping it kills the nodes. When the test has failed it prints the end of their logs and keeps the folder.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Arc<Node>>,
    arguments: Vec<String>,
    folder: Option<TempDir>,
}

impl ClusterBuilder {
    /// Adds an argument to every node's command line.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Lets tests cut the links between nodes.
    #[must_use]
    pub fn with_fault_injection(self) -> Self {
        self.argument("--fault-injection")
    }

    /// Starts the nodes and waits until all are ready.
    pub async fn start(self) -> Cluster {
        let cluster = self.prepare();
        cluster.start_all();
        cluster.wait_ready().await;
        cluster
    }

    /// The cluster without any process: its nodes are started by the test.
    pub fn prepare(self) -> Cluster {
        let folder = TempDir::with_prefix("rollcall-test-").expect("a temporary folder");
        let ports: Vec<(u16, u16)> = (0..self.nodes).map(|_| (free_port(), free_port())).collect();
        let mut cluster = Cluster { nodes: Vec::new(), arguments: self.arguments, folder: Some(folder) };
        fs::write(cluster.secret_file(), SECRET).expect("a file in a new folder");
        for (index, &(http, peer)) in ports.iter().enumerate() {
            let others = ports.iter().map(|&(_, other)| other).filter(|&other| other != peer).collect();
            let options = NodeOptions {
                join: others,
                bootstrap_expect: Some(self.nodes),
                http,
                peer,
                ..cluster.options(&format!("n{}", index + 1))
            };
            cluster.adopt(options);
        }
        cluster
    }
}

impl Cluster {
    /// Starts a cluster of `nodes` nodes, called `n1`, `n2`, …, and waits until all are ready.
    pub async fn start(nodes: usize) -> Self {
        Self::of(nodes).start().await
    }

    /// A cluster of `nodes` nodes, to be started.
    pub fn of(nodes: usize) -> ClusterBuilder {
        ClusterBuilder { nodes, arguments: Vec::new() }
    }

    /// The nodes, in the order they were made.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The node at `index`, counting from 0.
    pub fn node(&self, index: usize) -> &Arc<Node> {
        &self.nodes[index]
    }

    /// All nodes but the ones at `indexes`.
    pub fn nodes_except(&self, indexes: &[usize]) -> Vec<Arc<Node>> {
        let kept = self.nodes.iter().enumerate().filter(|(index, _)| !indexes.contains(index));
        kept.map(|(_, node)| node.clone()).collect()
    }

    /// Starts every node that is not running.
    pub fn start_all(&self) {
        self.nodes.iter().filter(|node| !node.is_running()).for_each(|node| node.start());
    }

    /// Waits until every running node is ready.
    pub async fn wait_ready(&self) {
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            node.wait_ready().await;
        }
    }

    /// Options for another node that finds this cluster by its first nodes, with free ports and an empty folder.
    pub fn options(&self, name: &str) -> NodeOptions {
        NodeOptions {
            name: name.to_owned(),
            http: free_port(),
            peer: free_port(),
            gossip: free_port(),
            dns: free_port(),
            consul: free_port(),
            data_dir: self.path().join(name),
            secret_file: self.secret_file(),
            join: self.nodes.iter().map(|node| node.options().peer).collect(),
            bootstrap_expect: None,
            arguments: self.arguments.clone(),
            open_files_max: None,
        }
    }

    /// Adds a node without starting it; returns its index.
    pub fn adopt(&mut self, options: NodeOptions) -> usize {
        let log = self.path().join(format!("{}-{}.log", options.name, self.nodes.len() + 1));
        self.nodes.push(Arc::new(Node::new(options, log)));
        self.nodes.len() - 1
    }

    /// Starts another node that joins this cluster, and waits until it is ready; returns its index.
    pub async fn join(&mut self, options: NodeOptions) -> usize {
        let index = self.adopt(options);
        self.node(index).start();
        self.node(index).wait_ready().await;
        index
    }

    /// Waits until all running nodes agree on one leader among them; returns its index.
    pub async fn leader(&self) -> usize {
        let running: Vec<usize> = (0..self.nodes.len()).filter(|&index| self.node(index).is_running()).collect();
        self.leader_among(&running).await
    }

    /// Waits until the nodes at `indexes` agree on one leader among them; returns its index.
    pub async fn leader_among(&self, indexes: &[usize]) -> usize {
        wait_until(&format!("one leader among nodes {indexes:?}"), DEADLINE, async || {
            let mut views = Vec::new();
            for &index in indexes {
                views.push((index, self.node(index).raft().await.unwrap_or_default()));
            }
            let leader = views.iter().find(|(_, view)| view["role"] == "leader");
            let agreed = leader.filter(|(_, own)| views.iter().all(|(_, view)| view["leader"] == own["node"]));
            agreed.map(|&(index, _)| index).ok_or_else(|| describe(&views))
        })
        .await
    }

    /// Waits until all running nodes have applied the same log to its end; returns the revision.
    pub async fn wait_converged(&self) -> u64 {
        wait_until("the same revision on every node", DEADLINE, async || {
            let mut views = Vec::new();
            for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_running()) {
                views.push((index, node.raft().await.unwrap_or_default()));
            }
            let applied: Vec<Option<u64>> = views.iter().map(|(_, view)| view["applied_index"].as_u64()).collect();
            let ends = views.iter().map(|(_, view)| view["last_log_index"].as_u64());
            match applied.first() {
                Some(&Some(first)) if applied.iter().chain(&ends.collect::<Vec<_>>()).all(|&it| it == Some(first)) => {
                    Ok(first)
                }
                _ => Err(describe(&views)),
            }
        })
        .await
    }

    /// Waits until all running nodes have applied what is committed now, whatever is written meanwhile.
    pub async fn wait_caught_up(&self) {
        let mut committed = None;
        wait_until("what is committed on every node", DEADLINE, async || {
            let mut views = Vec::new();
            for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_running()) {
                views.push((index, node.raft().await.unwrap_or_default()));
            }
            let all = |key: &str| views.iter().map(|(_, view)| view[key].as_u64()).collect::<Vec<_>>();
            committed = committed.or(all("commit_index").into_iter().max().flatten());
            if all("applied_index").iter().all(|applied| *applied >= committed) {
                Ok(())
            } else {
                Err(describe(&views))
            }
        })
        .await;
    }

    /// Cuts all links between the nodes at `one_side` and the others, in both directions.
    pub async fn cut_off(&self, one_side: &[usize]) {
        let mut ids = Vec::new();
        for node in &self.nodes {
            ids.push(node.id().await);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let is_beyond = |other: &usize| one_side.contains(other) != one_side.contains(&index);
            let blocked: Vec<u64> = (0..ids.len()).filter(is_beyond).map(|other| ids[other]).collect();
            node.block_peers(&blocked).await;
        }
    }

    /// Restores all links.
    pub async fn heal(&self) {
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            node.block_peers(&[]).await;
        }
    }

    /// Saves an image of a node's whole catalogue; returns the file.
    pub async fn snapshot(&self, index: usize) -> PathBuf {
        let path = self.path().join(format!("image-of-{}", self.node(index).name()));
        // An older image of the same node may be there.
        let _ = fs::remove_file(&path);
        let (command, url) = (["snapshot", "save"].map(OsStr::new), self.node(index).url());
        let arguments = command.into_iter().chain([path.as_os_str(), "--server".as_ref(), url.as_ref()]);
        let saved = rollcall(arguments).await;
        assert_eq!(saved.code, Some(0), "{saved:?}");
        path
    }

    /// The digest of a node's whole catalogue, as `rollcall snapshot inspect` computes it.
    pub async fn digest(&self, index: usize) -> String {
        let path = self.snapshot(index).await;
        let command = ["snapshot", "inspect", "--output", "json"].map(OsStr::new);
        let inspected = rollcall(command.into_iter().chain([path.as_os_str()])).await;
        assert_eq!(inspected.code, Some(0), "{inspected:?}");
        let report: Value = serde_json::from_str(&inspected.stdout).expect("--output json writes JSON");
        report["digest"].as_str().unwrap_or_else(|| panic!("no digest in {report}")).to_owned()
    }

    /// Prints the end of every node's log.
    pub fn print_logs(&self) {
        for node in &self.nodes {
            note(node.log_tail(LOG_LINES));
        }
    }

    /// The folder of the test.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().expect("the folder is there until the cluster is dropped").path()
    }

    /// The file with the secret.
    pub fn secret_file(&self) -> PathBuf {
        self.path().join("secret")
    }

    /// The addresses of all nodes as `--server` takes them.
    pub fn servers(&self) -> String {
        self.nodes.iter().map(|node| node.url()).collect::<Vec<_>>().join(",")
    }
}

impl Node {
    /// Cuts the links to the nodes with these ids and restores all others.
    ///
    /// # Panics
    /// When the node was started without `--fault-injection`.
    pub async fn block_peers(&self, ids: &[u64]) {
        let call = self.post("/v1/debug/block-peers").json(&json!({ "nodes": ids }));
        let answer = call.timeout(Duration::from_secs(5)).answer().await;
        assert!((200..300).contains(&answer.status), "{}: {}", answer.line, answer.text());
    }

    /// Makes the node take its disk to have so many bytes free; `None` for as many as it has.
    ///
    /// # Panics
    /// When the node was started without `--fault-injection`.
    pub async fn pretend_disk_free(&self, bytes: Option<u64>) {
        let call = self.post("/v1/debug/disk-free").json(&json!({ "bytes": bytes }));
        let answer = call.timeout(Duration::from_secs(5)).answer().await;
        assert!((200..300).contains(&answer.status), "{}: {}", answer.line, answer.text());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
            if let Some(folder) = self.folder.take() {
                note(format_args!("the folder of the failed test is kept: {}", folder.keep().display()));
            }
        }
    }
}

fn describe(views: &[(usize, Value)]) -> String {
    let one = |(index, view): &(usize, Value)| {
        let [role, term, leader] = ["role", "term", "leader"].map(|key| &view[key]);
        let [applied, last] = ["applied_index", "last_log_index"].map(|key| &view[key]);
        format!("\n  {index}: role {role}, term {term}, leader {leader}, applied {applied} of {last}")
    };
    views.iter().map(one).collect()
}
