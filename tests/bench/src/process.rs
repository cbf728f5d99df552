//! Server processes that never outlive the bench: a dropped [`Process`] is killed and waited for.
//!
//! Only processes started here are ever signalled, each by its own id. A panic or a Ctrl-C unwinds through the drops; only a
//! `kill -9` of the bench itself would leave servers behind.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// Pause between two looks at whether a process has ended.
const END_POLL: Duration = Duration::from_millis(10);

/// How to start a server; used again when it is restarted.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Standard output and error are appended here.
    pub(crate) log: PathBuf,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a server.
    pub(crate) fn spawn(spec: &Spec) -> Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(&spec.log)?;
        let child = Command::new(&spec.program)
            .args(&spec.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", spec.program.display()))?;
        Ok(Self { child })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. The process was not waited for yet, so its id cannot be another's.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a process id is positive")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal process {}", self.pid()))
    }

    /// Waits for its end, at most `patience`.
    pub(crate) async fn wait(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while self.ended()?.is_none() {
            ensure!(Instant::now() < deadline, "process {} did not end within {patience:?}", self.pid());
            sleep(END_POLL).await;
        }
        Ok(())
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
