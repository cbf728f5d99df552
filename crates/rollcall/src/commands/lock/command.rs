//! The command that runs while the lock is held.
//!
//! Away from a terminal it leads a process group of its own, so that what it started is stopped with it when the lock is lost. At a
//! terminal it stays in ours: another group could not read from the terminal. There the terminal itself sends Ctrl-C and
//! Ctrl-\ to the command, so they are not passed on a second time, and only the command itself is stopped.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::holding::Lost;
use super::signals::{Came, SIGNAL_BASE, Signals};
use crate::failure::{Exit, Failure};
use crate::terminal::remark;

/// How long a command that lost its lock gets to end by itself.
const KILL_AFTER: Duration = Duration::from_secs(5);
/// Between two looks at what the command has left running.
const GROUP_LOOK: Duration = Duration::from_millis(50);

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself or by a signal, as a shell would tell it.
    With(u8),
    /// It was stopped, since the lock was lost.
    Lost(Lost),
    /// The operating system does not say.
    Unknown(io::Error),
}

/// A command that runs.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pid: Option<Pid>,
    has_group: bool,
}

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn start<const N: usize>(
        command: &[OsString],
        environment: [(&'static str, String); N],
    ) -> io::Result<Self> {
        let [program, arguments @ ..] = command else { return Err(io::ErrorKind::InvalidInput.into()) };
        let has_group = !io::stdin().is_terminal();
        let mut starting = Command::new(program);
        starting.args(arguments).envs(environment);
        if has_group {
            starting.process_group(0);
        }
        let child = starting.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, pid, has_group })
    }

    /// Passes signals on until it ends, and stops it when `lost` comes first.
    pub(super) async fn run(mut self, signals: &mut Signals, lost: impl Future<Output = Lost>) -> Ended {
        let mut lost = pin!(lost);
        loop {
            tokio::select! {
                status = self.child.wait() => return status.map_or_else(Ended::Unknown, |it| Ended::With(exit_code(it))),
                signal = signals.next() => self.pass_on(signal),
                lost = &mut lost => {
                    remark(&format!("the lock is lost, the command is stopped: {lost}\n"));
                    self.stop().await;
                    return Ended::Lost(lost);
                }
            }
        }
    }

    fn pass_on(&self, signal: Came) {
        let comes_anyway = signal.is_of_terminal() && !self.has_group;
        // Not reaped while `child` has an id, so the pid is still its own.
        if let Some(pid) = self.pid.filter(|_| self.child.id().is_some() && !comes_anyway) {
            // It may have ended just now.
            let _ = kill_process(pid, signal.0);
        }
    }

    /// SIGTERM, and SIGKILL for what is left after [`KILL_AFTER`].
    async fn stop(&mut self) {
        self.signal(Signal::TERM);
        if timeout(KILL_AFTER, self.gone()).await.is_err() {
            self.signal(Signal::KILL);
            // Nothing survives SIGKILL; an error says that it is gone already.
            let _ = self.child.wait().await;
        }
    }

    async fn gone(&mut self) {
        let _ = self.child.wait().await;
        // The number of a group is not given to others while anybody is in it.
        while self.pid.is_some_and(|pid| self.has_group && test_kill_process_group(pid).is_ok()) {
            sleep(GROUP_LOOK).await;
        }
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = self.pid else { return };
        // What is gone cannot be signalled, and need not be.
        let _ = match self.has_group {
            true => kill_process_group(pid, signal),
            false if self.child.id().is_some() => kill_process(pid, signal),
            false => Ok(()),
        };
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| SIGNAL_BASE + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// The failure of a command that did not start.
pub(super) fn not_started(command: &[OsString], error: &io::Error) -> Failure {
    let program = command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::NotStarted };
    Failure::new(exit, format!("cannot start {program:?}")).because(error)
}
