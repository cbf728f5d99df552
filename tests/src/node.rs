//! One node: a real process, its folder, its log file, and what can be done to it.

use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::command::{command, command_under};
use crate::http::{Answer, Call};
use crate::wait::{DEADLINE, Waited, wait_until};

/// How a node is started. Everything else is as the defaults of the binary have it.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Its name.
    pub name: String,
    /// Port of its HTTP API.
    pub http: u16,
    /// Port for other nodes.
    pub peer: u16,
    /// Port of gossip.
    pub gossip: u16,
    /// Port of DNS.
    pub dns: u16,
    /// Port of Consul's API.
    pub consul: u16,
    /// Its data folder.
    pub data_dir: PathBuf,
    /// File with the secret of the cluster.
    pub secret_file: PathBuf,
    /// Peer ports of nodes to find the cluster by.
    pub join: Vec<u16>,
    /// How many nodes make a new cluster together; `None` only joins one.
    pub bootstrap_expect: Option<usize>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Most files that it may have open; `None` leaves that as it is.
    pub open_files_max: Option<u64>,
}

/// A node of a test.
///
/// Dropping it kills its process.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
    log: PathBuf,
    process: Mutex<Option<Child>>,
}

impl Node {
    /// A node that is not running yet and will write its log to `log`.
    pub fn new(options: NodeOptions, log: PathBuf) -> Self {
        Self { options, log, process: Mutex::new(None) }
    }

    /// How it is started.
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Starts the process and returns at once; [`Self::wait_ready`] waits for it.
    ///
    /// # Panics
    /// When it runs already or cannot be started.
    pub fn start(&self) {
        let mut process = self.process();
        assert!(process.is_none(), "{} runs already", self.name());
        let log = self.open_log();
        let mut command = match self.options.open_files_max {
            Some(most) => command_under(&["prlimit", &format!("--nofile={most}:{most}")]),
            None => command(),
        };
        // The pipe stays open as long as this process lives, however it ends: no node outlives the tests.
        command.arg("node").args(self.arguments()).arg("--stop-with-stdin");
        let started = command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a file descriptor can be copied"))
            .stderr(log)
            .spawn();
        *process = Some(started.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")));
    }

    /// The arguments after `rollcall node`.
    pub fn arguments(&self) -> Vec<String> {
        let NodeOptions {
            name,
            http,
            peer,
            gossip,
            dns,
            consul,
            data_dir,
            secret_file,
            join,
            bootstrap_expect,
            arguments,
            open_files_max: _,
        } = &self.options;
        let mut all = vec![
            format!("--name={name}"),
            format!("--http=127.0.0.1:{http}"),
            format!("--peer=127.0.0.1:{peer}"),
            format!("--gossip=127.0.0.1:{gossip}"),
            format!("--dns=127.0.0.1:{dns}"),
            format!("--consul=127.0.0.1:{consul}"),
            format!("--data-dir={}", data_dir.display()),
            format!("--secret-file={}", secret_file.display()),
        ];
        if !join.is_empty() {
            let addresses: Vec<String> = join.iter().map(|port| format!("127.0.0.1:{port}")).collect();
            all.push(format!("--join={}", addresses.join(",")));
        }
        all.extend(bootstrap_expect.map(|count| format!("--bootstrap-expect={count}")));
        all.extend(arguments.iter().cloned());
        all
    }

    /// Whether its process was started and has not ended (a paused one runs).
    pub fn is_running(&self) -> bool {
        self.process().as_mut().is_some_and(|child| child.try_wait().expect("the child is ours").is_none())
    }

    /// Ends it as a power cut would end the process: `kill -9`.
    ///
    /// # Panics
    /// When it was not started.
    pub fn kill9(&self) {
        let mut child = self.take();
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours");
    }

    /// Asks it to stop (SIGTERM) and returns how it ended.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn terminate(&self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit().await
    }

    /// Waits until its process has ended by itself, and returns how.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn wait_exit(&self) -> ExitStatus {
        let what = format!("the end of {}", self.name());
        let ended = wait_until(&what, DEADLINE, async || {
            let mut process = self.process();
            let child = process.as_mut().ok_or_else(|| "it was not started".to_owned())?;
            child.try_wait().expect("the child is ours").ok_or_else(|| "it still runs".to_owned())
        });
        let status = ended.await;
        drop(self.take());
        status
    }

    /// Stops its process in its tracks (SIGSTOP). When this returns no thread of it runs.
    ///
    /// # Panics
    /// When it is not running.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let stopped = rustix::process::waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT);
        stopped.expect("the child is ours");
    }

    /// Lets a paused process go on (SIGCONT).
    ///
    /// # Panics
    /// When it is not running.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Tells it to read its key file again (SIGHUP).
    ///
    /// # Panics
    /// When it is not running.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Waits until `/readyz` says that it has a leader and has caught up.
    ///
    /// # Panics
    /// When it does not get ready, or its process ends.
    pub async fn wait_ready(&self) {
        wait_until(&format!("{} to be ready", self.name()), DEADLINE, async || self.look_ready().await).await;
    }

    /// One look at `/readyz`.
    ///
    /// # Errors
    /// Why it is not ready.
    ///
    /// # Panics
    /// When its process has ended.
    pub async fn look_ready(&self) -> Waited<()> {
        assert!(self.is_running(), "{} has ended\n{}", self.name(), self.log_tail(30));
        match self.get("/readyz").timeout(Duration::from_secs(2)).send().await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
            Err(unanswered) => Err(unanswered.to_string()),
        }
    }

    /// Its view of the cluster (`/v1/cluster/raft`); `None` when it does not answer.
    pub async fn raft(&self) -> Option<serde_json::Value> {
        let asked = self.get("/v1/cluster/raft").timeout(Duration::from_secs(5)).send().await;
        asked.ok().filter(|answer| answer.status == 200).map(|answer| answer.json())
    }

    /// Its id in the cluster.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn id(&self) -> u64 {
        let answer = self.get("/v1/cluster").answer().await.expect(200);
        answer.json()["node_id"].as_u64().expect("a node id is a number")
    }

    /// `http://address` of its API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.options.http)
    }

    /// A request to its API.
    pub fn call(&self, method: Method, path: &str) -> Call {
        Call::new(method, &format!("{}{path}", self.url()))
    }

    /// A request to its Consul API.
    pub fn consul(&self, method: Method, path: &str) -> Call {
        Call::new(method, &format!("http://127.0.0.1:{}{path}", self.options.consul))
    }

    /// A GET.
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// A PUT.
    pub fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    /// A POST.
    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// A POST from another address of the loopback: 127.0.0.0/8 is all of this machine.
    pub fn post_from(&self, address: Ipv4Addr, path: &str) -> Call {
        Call::from(address.into(), Method::POST, &format!("{}{path}", self.url()))
    }

    /// A DELETE.
    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// Its page of metrics.
    pub async fn metrics(&self) -> String {
        self.get("/metrics").answer().await.expect(200).text()
    }

    /// Everything it has logged, in all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        format!("--- {} ({})\n{}", self.name(), self.log.display(), all[all.len().saturating_sub(lines)..].join("\n"))
    }

    /// Registers `body` as an instance through this node, as soon as there is a leader and a quorum.
    ///
    /// # Panics
    /// When no answer comes within [`DEADLINE`](crate::DEADLINE).
    pub async fn register(&self, service: &str, id: &str, body: &serde_json::Value) -> Answer {
        self.registration(service, id, body).settled().await
    }

    /// Tries to register `body` as an instance through this node, once.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn try_register(&self, service: &str, id: &str, body: &serde_json::Value) -> Answer {
        self.registration(service, id, body).answer().await
    }

    fn registration(&self, service: &str, id: &str, body: &serde_json::Value) -> Call {
        self.put(&format!("/v1/services/{service}/instances/{}", crate::segment(id))).json(body)
    }

    /// Its data folder.
    pub fn data_dir(&self) -> &Path {
        &self.options.data_dir
    }

    fn open_log(&self) -> File {
        let opened = OpenOptions::new().create(true).append(true).open(&self.log);
        opened.unwrap_or_else(|error| panic!("cannot open {}: {error}", self.log.display()))
    }

    /// Sends its process a signal.
    ///
    /// # Panics
    /// When it is not running.
    pub fn signal(&self, signal: Signal) {
        let sent = rustix::process::kill_process(self.pid(), signal);
        sent.unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name()));
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it is not running.
    pub fn process_id(&self) -> u32 {
        self.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// Its pid. The child is not waited for while it is in `process`, so the pid cannot have gone to another program.
    fn pid(&self) -> Pid {
        let process = self.process();
        Pid::from_child(process.as_ref().unwrap_or_else(|| panic!("{} is not running", self.name())))
    }

    fn take(&self) -> Child {
        self.process().take().unwrap_or_else(|| panic!("{} is not running", self.name()))
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.process().take() {
            // It may have ended already; then there is nothing left to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
