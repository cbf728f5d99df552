//! One node: a process with its folder and its log, or something elsewhere that commands break and mend; and what can be done to it.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt as _, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::attached::{self, Commands};
use crate::client::Place;

/// Where a node listens.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) gossip: SocketAddr,
    /// Consul's API, where locks are.
    pub(crate) consul: SocketAddr,
}

/// What a node is started from.
#[derive(Debug)]
pub(crate) enum Program {
    /// A program that the harness runs.
    Own(Box<ProcessOptions>),
    /// One that runs elsewhere already, and is reached by commands.
    Attached(Commands),
}

/// How a node of the harness is started.
#[derive(Debug, Clone)]
pub(crate) struct ProcessOptions {
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

/// What runs.
#[derive(Debug)]
enum Process {
    Child(Child),
    /// Something elsewhere, of which it is known how it ended when it was asked to.
    Elsewhere {
        stopped: bool,
    },
}

/// A node. Dropping it kills its process; one that runs elsewhere goes on as it was found.
#[derive(Debug)]
pub(crate) struct Node {
    place: Place,
    program: Program,
    process: Option<Process>,
    is_paused: bool,
    /// It was given a reason to end by itself.
    may_end: bool,
    /// That its process ended by itself was noticed.
    is_end_noticed: bool,
    /// The same, until somebody was told.
    untold_end: Option<Ended>,
    /// What else it did that it must not, until somebody was told.
    complaints: Vec<String>,
    /// How often its place was taken by a new node.
    successors: u32,
}

impl Node {
    /// A node that the harness runs; it does not run yet.
    pub(crate) fn new(name: String, options: ProcessOptions) -> Self {
        let Addresses { http, consul, .. } = &options.addresses;
        let place = Place { node: name, url: format!("http://{http}"), consul: format!("http://{consul}") };
        Self::of(place, Program::Own(Box::new(options)), None)
    }

    /// A node that runs already.
    pub(crate) fn attached(place: Place, commands: Commands) -> Self {
        Self::of(place, Program::Attached(commands), Some(Process::Elsewhere { stopped: false }))
    }

    fn of(place: Place, program: Program, process: Option<Process>) -> Self {
        Self {
            place,
            program,
            process,
            is_paused: false,
            may_end: false,
            is_end_noticed: false,
            untold_end: None,
            complaints: Vec::new(),
            successors: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.place.node
    }

    /// The name under which the cluster knows whoever is in its place now.
    pub(crate) fn member(&self) -> String {
        match self.successors {
            0 => self.place.node.clone(),
            count => format!("{}-{count}", self.place.node),
        }
    }

    /// How the harness runs it.
    ///
    /// # Errors
    /// When it runs elsewhere.
    fn own(&self) -> Result<&ProcessOptions> {
        match &self.program {
            Program::Own(options) => Ok(options),
            Program::Attached(_) => bail!("{} runs elsewhere", self.name()),
        }
    }

    /// What commands do to it; `None` of one that the harness runs.
    pub(super) fn commands(&self) -> Option<&Commands> {
        match &self.program {
            Program::Own(_) => None,
            Program::Attached(commands) => Some(commands),
        }
    }

    /// Makes room for a new node in this place: another name, no data, and it joins instead of founding.
    pub(crate) fn succeed(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("{} still runs", self.name());
        }
        let data_dir = &self.own()?.data_dir;
        // One that ended early may have made none.
        if data_dir.exists() {
            std::fs::remove_dir_all(data_dir).with_context(|| format!("cannot remove {}", data_dir.display()))?;
        }
        self.successors += 1;
        self.may_end = false;
        if let Program::Own(options) = &mut self.program {
            options.bootstrap_expect = None;
        }
        Ok(())
    }

    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Where its data is.
    ///
    /// # Errors
    /// When it runs elsewhere.
    pub(crate) fn data_dir(&self) -> Result<&Path> {
        Ok(&self.own()?.data_dir)
    }

    /// Its log, if it is here.
    pub(crate) fn log(&self) -> Option<&Path> {
        self.own().ok().map(|options| options.log.as_path())
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

    /// Says whether it has a reason to end by itself. If it has ended before, that was without one.
    pub(crate) fn may_end(&mut self, may: bool) {
        self.notice_own_end();
        self.may_end = may;
    }

    /// Starts the process and returns at once.
    pub(crate) fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("{} runs already", self.name());
        }
        let process = match &self.program {
            Program::Own(options) => Process::Child(self.spawn(options)?),
            Program::Attached(commands) => {
                commands.run(attached::Command::Start)?;
                Process::Elsewhere { stopped: false }
            }
        };
        self.process = Some(process);
        self.is_end_noticed = false;
        Ok(())
    }

    fn spawn(&self, options: &ProcessOptions) -> Result<Child> {
        let opened = OpenOptions::new().create(true).append(true).open(&options.log);
        let log = opened.with_context(|| format!("cannot open {}", options.log.display()))?;
        let copy = log.try_clone().context("cannot copy a file descriptor")?;
        let mut command = self.command(options);
        // The pipe stays open as long as this process lives, however it ends: no node outlives the harness.
        // A group of its own: Ctrl-C at the terminal is for the harness, which ends it in its turn.
        let started = command.process_group(0).stdin(Stdio::piped()).stdout(copy).stderr(log).spawn();
        started.with_context(|| format!("cannot start {command:?}"))
    }

    fn command(&self, options: &ProcessOptions) -> Command {
        let ProcessOptions { addresses, join, bootstrap_expect, data_dir, secret_file, binary, namespace, .. } =
            options;
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
        command.arg(format!("--consul={}", addresses.consul));
        command.arg(format!("--gossip={}", addresses.gossip)).arg(format!("--data-dir={}", data_dir.display()));
        command.arg(format!("--secret-file={}", secret_file.display()));
        command.arg(format!("--gossip-key-file={}", options.gossip_key_file.display()));
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
        command.envs(options.clock.iter().flatten().map(|(name, value)| (name, value)));
        if let Some(planted) = &options.planted {
            command.env(PLANTED_VARIABLE, planted);
        }
        command
    }

    /// Whether its process has this library in memory. One that is linked statically takes none.
    pub(crate) fn has_loaded(&self, library: &str) -> bool {
        let Some(Process::Child(child)) = &self.process else { return false };
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id()));
        maps.is_ok_and(|maps| maps.lines().any(|line| line.ends_with(library)))
    }

    /// Ends it in its tracks: `kill -9`. That it had ended by itself before is not forgotten: see [`Self::take_own_end`].
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.notice_own_end();
        let name = self.place.node.clone();
        match self.process.take() {
            None => bail!("{name} does not run"),
            Some(Process::Child(mut child)) => {
                self.is_paused = false;
                child.kill().with_context(|| format!("cannot kill {name}"))?;
                let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
                // Between the look and the signal there is a moment.
                if status.signal() != Some(Signal::KILL.as_raw()) {
                    self.notice(&status.to_string());
                }
            }
            Some(Process::Elsewhere { .. }) => {
                if let Some(commands) = self.commands() {
                    commands.run(attached::Command::Kill)?;
                }
                self.is_paused = false;
            }
        }
        Ok(())
    }

    /// Stops its process (SIGSTOP). When this returns no thread of it runs.
    pub(crate) fn pause(&mut self) -> Result<()> {
        if let (Some(Process::Elsewhere { .. }), Some(commands)) = (&self.process, self.commands()) {
            let paused = commands.run(attached::Command::Pause);
            // One of which the command failed may be paused, too.
            self.is_paused = true;
            return paused;
        }
        let pid = self.signal(Signal::STOP)?.with_context(|| format!("{} has ended", self.name()))?;
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(pid), options).with_context(|| format!("{} did not stop", self.name()))?;
        self.is_paused = true;
        Ok(())
    }

    /// Lets a paused process go on (SIGCONT).
    pub(crate) fn resume(&mut self) -> Result<()> {
        // One that could not be stopped or killed while it was paused may still be.
        if let Some(commands) = self.commands() {
            commands.run(attached::Command::Resume)?;
        } else {
            self.signal(Signal::CONT)?;
        }
        self.is_paused = false;
        Ok(())
    }

    /// Notes something that it must not do; [`Self::take_complaints`] tells of it.
    pub(crate) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// What was noted and nobody was told yet.
    pub(crate) fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// Asks it to stop (SIGTERM); [`Self::look_ended`] says when it has.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        self.notice_own_end();
        if let (Some(Process::Elsewhere { .. }), Some(commands)) = (&self.process, self.commands()) {
            let stopped = commands.run(attached::Command::Stop);
            // One of which the command failed may stop yet: it counts as one to be started.
            self.process = stopped.is_ok().then_some(Process::Elsewhere { stopped: true });
            stopped?;
        } else {
            self.signal(Signal::TERM)?;
        }
        // What ends from here on was asked to.
        self.is_end_noticed = true;
        Ok(())
    }

    /// How the process ended; `None` while it runs, or when it was not started. Ended or not, it counts as started until
    /// [`Self::forget`]. That one elsewhere ended is seen only when it was asked to.
    pub(crate) fn look_ended(&mut self) -> Option<Ended> {
        let how = self.process.as_mut()?.how_ended()?;
        Some(self.ended(&how))
    }

    fn ended(&self, how: &str) -> Ended {
        Ended { how: how.to_owned(), log: self.log().unwrap_or(Path::new("its log")).to_owned() }
    }

    /// How its process ended, if it did so by itself, without a reason, and nobody was told yet.
    pub(crate) fn take_own_end(&mut self) -> Option<Ended> {
        self.notice_own_end();
        self.untold_end.take()
    }

    fn notice_own_end(&mut self) {
        if let Some(how) = self.process.as_mut().and_then(Process::how_ended) {
            self.notice(&how);
        }
    }

    /// The process ended so, and the harness did not do that.
    fn notice(&mut self, how: &str) {
        if !self.may_end && !self.is_end_noticed {
            self.is_end_noticed = true;
            self.untold_end = Some(self.ended(how));
        }
    }

    /// Takes note that the process ended, so that it can be started again.
    pub(crate) fn forget(&mut self) {
        self.notice_own_end();
        if self.look_ended().is_some() {
            self.process = None;
            self.is_paused = false;
        }
    }

    /// Sends a signal; `None` when the process has ended.
    fn signal(&mut self, signal: Signal) -> Result<Option<Pid>> {
        let Some(Process::Child(child)) = &mut self.process else { bail!("{} does not run", self.place.node) };
        // The pid of one that ended and was looked at may be another program's by now; one that ends from here on keeps its pid.
        if child.try_wait().context("cannot look at a process")?.is_some() {
            return Ok(None);
        }
        let pid = Pid::from_child(child);
        rustix::process::kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.place.node))?;
        Ok(Some(pid))
    }
}

impl Process {
    /// How it ended, if it has.
    fn how_ended(&mut self) -> Option<String> {
        match self {
            Self::Child(child) => child.try_wait().ok()?.map(|status| status.to_string()),
            Self::Elsewhere { stopped } => stopped.then(|| "stopped".to_owned()),
        }
    }
}

/// The variable in which a node of a special build reads which bug to show.
const PLANTED_VARIABLE: &str = "PLANTED_BUG";

impl Drop for Node {
    fn drop(&mut self) {
        match self.process.take() {
            Some(Process::Child(mut child)) => {
                // It may have ended already; then there is nothing left to do.
                let _ = child.kill();
                let _ = child.wait();
            }
            process => self.leave_as_found(
                process.is_some_and(|process| !matches!(process, Process::Elsewhere { stopped: true })),
            ),
        }
    }
}

impl Node {
    /// Lets one elsewhere run as it did before the harness came.
    fn leave_as_found(&self, is_up: bool) {
        let Some(commands) = self.commands() else { return };
        let mends = [(self.is_paused, attached::Command::Resume), (!is_up, attached::Command::Start)];
        for (_, command) in mends.into_iter().filter(|(is_needed, _)| *is_needed) {
            if let Err(error) = commands.run(command) {
                // Whoever owns it must know.
                let _ = writeln!(std::io::stderr(), "jepsen-lite: {} is not as it was found: {error:#}", self.name());
            }
        }
    }
}

#[cfg(test)]
impl Node {
    /// A node of a test, whose process is a shell that runs this, and whose program cannot be started again.
    pub(super) fn of_shell(name: &str, http: SocketAddr, script: &str) -> Self {
        let mut node = Self::new(
            name.to_owned(),
            ProcessOptions {
                addresses: Addresses { http, peer: http, gossip: http, consul: http },
                join: Vec::new(),
                bootstrap_expect: None,
                data_dir: PathBuf::from("no such folder"),
                log: PathBuf::from("/dev/null"),
                secret_file: PathBuf::new(),
                gossip_key_file: PathBuf::new(),
                binary: PathBuf::from("no such program"),
                namespace: None,
                clock: None,
                planted: None,
            },
        );
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).stdin(Stdio::piped());
        node.process = Some(Process::Child(shell.spawn().expect("there is a shell")));
        node
    }

    /// Closes the input of its script, and waits until that has ended.
    pub(super) fn let_end(&mut self) {
        let Some(Process::Child(child)) = &mut self.process else { panic!("it does not run") };
        drop(child.stdin.take());
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(Pid::from_child(child)), ended).expect("the child is ours");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(script: &str) -> Node {
        Node::of_shell("n1", SocketAddr::from(([127, 0, 0, 1], 1)), script)
    }

    /// The same, when it has ended and nobody has looked.
    fn ended(script: &str) -> Node {
        let node = running(script);
        wait_ended(&node);
        node
    }

    fn wait_ended(node: &Node) {
        let Some(Process::Child(child)) = &node.process else { panic!("it does not run") };
        let pid = Pid::from_child(child);
        rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    }

    fn own_end(node: &mut Node) -> Option<String> {
        node.take_own_end().map(|ended| ended.how)
    }

    #[test]
    fn a_node_that_ended_by_itself_before_it_is_killed_is_told_of_once() {
        let mut node = ended("exit 3");
        node.kill().unwrap();
        assert_eq!(own_end(&mut node).as_deref(), Some("exit status: 3"));
        assert_eq!(own_end(&mut node), None);

        let mut node = ended("exit 3");
        assert!(own_end(&mut node).is_some());
        node.kill().unwrap();
        assert_eq!(own_end(&mut node), None, "it was told of already");
    }

    #[test]
    fn a_node_that_ended_by_itself_before_it_is_restarted_is_told_of() {
        let mut node = ended("exit 3");
        node.terminate().unwrap();
        node.forget();
        assert_eq!(own_end(&mut node).as_deref(), Some("exit status: 3"));
    }

    #[test]
    fn a_reason_to_end_explains_no_end_before_it() {
        let mut node = ended("exit 3");
        node.may_end(true);
        assert_eq!(own_end(&mut node).as_deref(), Some("exit status: 3"));
    }

    #[test]
    fn what_the_harness_ends_or_gave_a_reason_to_end_did_not_end_by_itself() {
        let mut killed = running("exec sleep 600");
        killed.kill().unwrap();
        assert_eq!(own_end(&mut killed), None);

        let mut stopped = running("exec sleep 600");
        stopped.terminate().unwrap();
        wait_ended(&stopped);
        assert_eq!(own_end(&mut stopped), None);

        let mut full = running("read line; exit 3");
        full.may_end(true);
        full.let_end();
        full.forget();
        assert_eq!(own_end(&mut full), None);
    }
}
