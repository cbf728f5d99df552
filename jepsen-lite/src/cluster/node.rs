//! One node: a process, its folder, its log, and what can be done to it.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::client::Place;

/// Where a node listens.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) gossip: SocketAddr,
}

/// How a node is started.
#[derive(Debug, Clone)]
pub(crate) struct NodeOptions {
    pub(crate) name: String,
    pub(crate) addresses: Addresses,
    /// Peer addresses of the others.
    pub(crate) join: Vec<SocketAddr>,
    /// How many nodes make the cluster together; `None` only joins one.
    pub(crate) bootstrap_expect: Option<usize>,
    pub(crate) data_dir: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) secret_file: PathBuf,
    pub(crate) gossip_key_file: PathBuf,
    pub(crate) binary: PathBuf,
    /// The network namespace it runs in.
    pub(crate) namespace: Option<String>,
    /// Variables that give it a clock of its own.
    pub(crate) clock: Option<Vec<(&'static str, String)>>,
    pub(crate) planted: Option<String>,
}

/// How a process ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) how: String,
    pub(crate) log: PathBuf,
}

/// A node. Dropping it kills its process.
#[derive(Debug)]
pub(crate) struct Node {
    options: NodeOptions,
    process: Option<Child>,
    is_paused: bool,
    /// It was given a reason to end by itself.
    may_end: bool,
    /// How often its place was taken by a new node.
    successors: u32,
}

impl Node {
    pub(crate) fn new(options: NodeOptions) -> Self {
        Self { options, process: None, is_paused: false, may_end: false, successors: 0 }
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    /// The name under which the cluster knows whoever is in its place now.
    pub(crate) fn member(&self) -> String {
        match self.successors {
            0 => self.options.name.clone(),
            count => format!("{}-{count}", self.options.name),
        }
    }

    /// Makes room for a new node in this place: another name, no data, and it joins instead of founding.
    pub(crate) fn succeed(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("{} still runs", self.name());
        }
        let data_dir = &self.options.data_dir;
        std::fs::remove_dir_all(data_dir).with_context(|| format!("cannot remove {}", data_dir.display()))?;
        self.successors += 1;
        self.options.bootstrap_expect = None;
        Ok(())
    }

    pub(crate) fn place(&self) -> Place {
        Place { node: self.options.name.clone(), url: format!("http://{}", self.options.addresses.http) }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.options.data_dir
    }

    pub(crate) fn log(&self) -> &Path {
        &self.options.log
    }

    /// Whether it was started and not stopped since by the harness.
    pub(crate) fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Whether its process was started and has not ended, by itself or otherwise.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.is_some() && self.look_ended().is_none()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Whether it was given a reason to end by itself, so that doing so is no trouble.
    pub(crate) fn has_reason_to_end(&self) -> bool {
        self.may_end
    }

    /// Says whether it has a reason to end by itself.
    pub(crate) fn may_end(&mut self, may: bool) {
        self.may_end = may;
    }

    /// Starts the process and returns at once.
    pub(crate) fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("{} runs already", self.name());
        }
        let log = self.open_log()?;
        let copy = log.try_clone().context("cannot copy a file descriptor")?;
        let mut command = self.command();
        // The pipe stays open as long as this process lives, however it ends: no node outlives the harness.
        let started = command.stdin(Stdio::piped()).stdout(copy).stderr(log).spawn();
        self.process = Some(started.with_context(|| format!("cannot start {command:?}"))?);
        Ok(())
    }

    fn command(&self) -> Command {
        let NodeOptions { addresses, join, bootstrap_expect, data_dir, secret_file, binary, namespace, .. } =
            &self.options;
        let mut command = match namespace {
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                // nsenter becomes the node, so signals to the child reach it.
                command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.arg("node").arg(format!("--name={}", self.member()));
        command.arg(format!("--http={}", addresses.http)).arg(format!("--peer={}", addresses.peer));
        command.arg(format!("--gossip={}", addresses.gossip)).arg(format!("--data-dir={}", data_dir.display()));
        command.arg(format!("--secret-file={}", secret_file.display()));
        command.arg(format!("--gossip-key-file={}", self.options.gossip_key_file.display()));
        if !join.is_empty() {
            let addresses: Vec<String> = join.iter().map(ToString::to_string).collect();
            command.arg(format!("--join={}", addresses.join(",")));
        }
        if let Some(count) = bootstrap_expect {
            command.arg(format!("--bootstrap-expect={count}"));
        }
        command.args(["--fault-injection", "--stop-with-stdin"]);
        // Settings of whoever started the harness are none of the nodes'.
        command.env_remove(PLANTED_VARIABLE);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ROLLCALL_")) {
            command.env_remove(name);
        }
        command.envs(self.options.clock.iter().flatten().map(|(name, value)| (name, value)));
        if let Some(planted) = &self.options.planted {
            command.env(PLANTED_VARIABLE, planted);
        }
        command
    }

    /// Ends it in its tracks: `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.process.take() else { bail!("{} does not run", self.name()) };
        self.is_paused = false;
        child.kill().with_context(|| format!("cannot kill {}", self.name()))?;
        child.wait().with_context(|| format!("cannot wait for {}", self.name()))?;
        Ok(())
    }

    /// Stops its process (SIGSTOP). When this returns no thread of it runs.
    pub(crate) fn pause(&mut self) -> Result<()> {
        let pid = self.signal(Signal::STOP)?;
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(pid), options).with_context(|| format!("{} did not stop", self.name()))?;
        self.is_paused = true;
        Ok(())
    }

    /// Lets a paused process go on (SIGCONT).
    pub(crate) fn resume(&mut self) -> Result<()> {
        self.is_paused = false;
        self.signal(Signal::CONT).map(drop)
    }

    /// Asks it to stop (SIGTERM); [`Self::look_ended`] says when it has.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM).map(drop)
    }

    /// How the process ended; `None` while it runs, or when it was not started. Ended or not, it counts as started until
    /// [`Self::forget`].
    pub(crate) fn look_ended(&mut self) -> Option<Ended> {
        let status = self.process.as_mut()?.try_wait().ok()??;
        Some(Ended { how: status.to_string(), log: self.options.log.clone() })
    }

    /// Takes note that the process ended, so that it can be started again.
    pub(crate) fn forget(&mut self) {
        if self.look_ended().is_some() {
            self.process = None;
            self.is_paused = false;
        }
    }

    fn signal(&self, signal: Signal) -> Result<Pid> {
        // The child is not waited for while it is here, so its pid cannot have gone to another program.
        let child = self.process.as_ref().with_context(|| format!("{} does not run", self.name()))?;
        let pid = Pid::from_child(child);
        rustix::process::kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name()))?;
        Ok(pid)
    }

    fn open_log(&self) -> Result<File> {
        let opened = OpenOptions::new().create(true).append(true).open(&self.options.log);
        opened.with_context(|| format!("cannot open {}", self.options.log.display()))
    }
}

/// The variable in which a node of a special build reads which bug to show.
const PLANTED_VARIABLE: &str = "PLANTED_BUG";

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // It may have ended already; then there is nothing left to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
