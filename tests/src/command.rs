//! The command line: run to its end, with everything it said, or followed as long as it goes on.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc;

use crate::binary;
use crate::wait::DEADLINE;

/// Longest a command may run.
const RUN_DEADLINE: Duration = Duration::from_secs(60);
/// Pause between two looks at a running command.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A command that ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// A command of the binary under test, without the `ROLLCALL_…` variables of the test run.
pub(crate) fn command() -> Command {
    own(Command::new(binary()))
}

/// The same, started by another program, which becomes it.
pub(crate) fn command_under(starter: &[&str]) -> Command {
    let (program, arguments) = starter.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(arguments).arg(binary());
    own(command)
}

fn own(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"ROLLCALL_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `rollcall` with `arguments` to its end.
///
/// # Panics
/// When it cannot be started, or does not end within a minute (it is killed then).
pub async fn rollcall<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Finished {
    let mut command = command();
    command.args(arguments);
    tokio::task::spawn_blocking(move || run(command)).await.expect("the command was run")
}

/// A command that goes on until it is dropped.
#[derive(Debug)]
pub struct Following {
    /// Killed when it is dropped.
    _child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Following {
    /// Reads on until a line of its output contains `part`; returns that line.
    ///
    /// # Panics
    /// When no such line comes.
    pub async fn line_with(&mut self, part: &str) -> String {
        let mut passed = Vec::new();
        let search = async {
            while let Some(line) = self.lines.recv().await {
                if line.contains(part) {
                    return Some(line);
                }
                passed.push(line);
            }
            None
        };
        let found = tokio::time::timeout(DEADLINE, search).await;
        found.ok().flatten().unwrap_or_else(|| panic!("no line with {part:?} after {passed:#?}"))
    }
}

/// Starts `rollcall` with `arguments`, for a command that does not end by itself.
///
/// # Panics
/// When it cannot be started.
pub fn follow<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Following {
    let mut command = tokio::process::Command::from(command());
    // As with nodes: what is started with `--stop-with-stdin` ends with this process, however that ends.
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (tx, lines) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(line)) = output.next_line().await {
            // The test may have seen enough: what follows is read, so that the command does not stop at a full pipe.
            drop(tx.send(line));
        }
    });
    Following { _child: child, lines }
}

fn run(mut command: Command) -> Finished {
    let shown = format!("{command:?}");
    let out = tempfile::NamedTempFile::new().expect("a file for standard output");
    let err = tempfile::NamedTempFile::new().expect("a file for standard error");
    let reopen = |file: &tempfile::NamedTempFile| Stdio::from(file.reopen().expect("the file is there"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(reopen(&out))
        .stderr(reopen(&err))
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
    let read = |file: &tempfile::NamedTempFile| {
        String::from_utf8_lossy(&std::fs::read(file.path()).expect("the file is there")).into_owned()
    };
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Finished { code: status.code(), stdout: read(&out), stderr: read(&err) };
        }
        if start.elapsed() > RUN_DEADLINE {
            child.kill().expect("the child is ours");
            child.wait().expect("the child is ours");
            panic!("{shown} did not end\nstdout: {}\nstderr: {}", read(&out), read(&err));
        }
        std::thread::park_timeout(POLL_INTERVAL);
    }
}
