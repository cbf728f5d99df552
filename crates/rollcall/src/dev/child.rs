//! Child processes: started, watched, stopped.
//!
//! A child gets a pipe on its standard input and stops when that closes, so it cannot outlive us, however we end. It runs
//! in a process group of its own, so that Ctrl-C reaches us alone and we stop the children in order.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest time a child gets to stop by itself before it is killed. A node hands over its leadership in it.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Ended<T> {
    /// Which one.
    pub(crate) which: T,
    /// Its process id.
    pub(crate) pid: u32,
    /// The exit status, or why it is not known.
    pub(crate) status: io::Result<ExitStatus>,
    /// Whether it had to be killed because it did not stop in time.
    pub(crate) killed: bool,
}

impl<T> Ended<T> {
    /// The end in words.
    pub(crate) fn reason(&self) -> String {
        match &self.status {
            Ok(status) => status.to_string(),
            Err(error) => format!("its exit status is not known: {error}"),
        }
    }
}

/// A set of children. `T` tells them apart.
#[derive(Debug)]
pub(crate) struct Children<T> {
    stop: CancellationToken,
    running: JoinSet<Ended<T>>,
}

impl<T: Send + 'static> Children<T> {
    /// No children yet.
    pub(crate) fn new() -> Self {
        Self { stop: CancellationToken::new(), running: JoinSet::new() }
    }

    /// Starts `program` with `arguments` and `--stop-with-stdin`, its output appended to `log_file`. Returns its pid.
    ///
    /// # Errors
    /// When the log file cannot be opened or the program cannot be started.
    pub(crate) fn start(
        &mut self,
        which: T,
        program: &Path,
        arguments: &[OsString],
        log_file: &Path,
    ) -> io::Result<u32> {
        let log: File = OpenOptions::new().create(true).append(true).open(log_file)?;
        let mut command = Command::new(program);
        for name in foreign_settings() {
            command.env_remove(name);
        }
        let child = command
            .args(arguments)
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the child ended at once"))?;
        self.running.spawn(watch(which, pid, child, self.stop.clone()));
        Ok(pid)
    }

    /// Waits for the next child to end. Never ends while none is running.
    pub(crate) async fn next_end(&mut self) -> Ended<T> {
        loop {
            match self.running.join_next().await {
                Some(Ok(ended)) => return ended,
                // The watching tasks do not panic and are not aborted; should one be gone, its child is killed on drop.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Asks all to stop, kills those that do not within 10 s, and waits for all.
    pub(crate) async fn stop_all(&mut self) -> Vec<Ended<T>> {
        self.stop.cancel();
        let mut ends = Vec::new();
        while let Some(ended) = self.running.join_next().await {
            ends.extend(ended);
        }
        ends
    }
}

/// Variables that would configure a node: what is exported for another cluster must not reach into this one. How to log
/// stays with the person.
fn foreign_settings() -> impl Iterator<Item = OsString> {
    let is_setting = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("ROLLCALL_") && !name.starts_with("ROLLCALL_LOG")
    };
    std::env::vars_os().map(|(name, _)| name).filter(is_setting)
}

async fn watch<T>(which: T, pid: u32, mut child: Child, stop: CancellationToken) -> Ended<T> {
    let input = child.stdin.take();
    tokio::select! {
        // The pipe is held open until then.
        status = child.wait() => return Ended { which, pid, status, killed: false },
        () = stop.cancelled() => drop(input),
    }
    match timeout(STOP_TIMEOUT, child.wait()).await {
        Ok(status) => Ended { which, pid, status, killed: false },
        Err(_) => {
            // Fails only when the child has just ended, which the wait then reports.
            let _ = child.start_kill();
            Ended { which, pid, status: child.wait().await, killed: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sh` takes what stands after the script as arguments, so `--stop-with-stdin` does no harm.
    fn start(children: &mut Children<&'static str>, which: &'static str, script: &str, log: &Path) -> u32 {
        children.start(which, Path::new("/bin/sh"), &["-c".into(), script.into()], log).unwrap()
    }

    #[tokio::test]
    async fn a_child_that_ends_is_reported_with_its_status_and_its_output_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut children = Children::new();
        let pid = start(&mut children, "one", "echo said; exit 3", &log);
        let ended = children.next_end().await;
        assert_eq!((ended.which, ended.pid, ended.status.unwrap().code()), ("one", pid, Some(3)));
        assert_eq!(std::fs::read_to_string(log).unwrap(), "said\n");
    }

    #[tokio::test]
    async fn children_stop_when_their_input_closes() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut children = Children::new();
        start(&mut children, "one", "cat; exit 0", &log);
        start(&mut children, "two", "cat; exit 0", &log);
        let ends = children.stop_all().await;
        assert_eq!(ends.len(), 2);
        assert!(ends.iter().all(|ended| !ended.killed && ended.status.as_ref().unwrap().success()), "{ends:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_that_does_not_stop_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = Children::new();
        start(&mut children, "deaf", "exec sleep 600", &folder.path().join("log"));
        let ends = children.stop_all().await;
        assert!(ends[0].killed, "{ends:?}");
    }
}
