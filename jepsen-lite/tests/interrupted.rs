//! A run that somebody ends with Ctrl-C leaves nothing behind but what it saw until then.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use support::rollcall;

/// Tells "never" from "slow".
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Whether links are cut in namespaces here, or by the nodes themselves.
fn networks() -> &'static [&'static str] {
    let may = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    // Root in a container may lack the right.
    let probe = format!("probe-{}", std::process::id());
    if may("nft", &["--version"]) && may("ip", &["netns", "add", &probe]) && may("ip", &["netns", "del", &probe]) {
        &["endpoint", "namespaces"]
    } else {
        &["endpoint"]
    }
}

#[track_caller]
#[expect(clippy::disallowed_methods, reason = "there is no runtime here, and this is the pause of a poll")]
fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(POLL);
    }
}

/// The history of the one run in `store`, when something succeeded in it.
fn history(store: &Path) -> Option<PathBuf> {
    let run = std::fs::read_dir(store).ok()?.next()?.ok()?.path();
    let history = run.join("history.jsonl");
    let text = std::fs::read_to_string(&history).ok()?;
    text.contains(r#""outcome":"ok""#).then_some(history)
}

/// Processes other than `harness` that were told of a file in `store`: the nodes.
fn processes_of(store: &Path, harness: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("a list of processes").filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_of_store = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(store.to_str().expect("the path is text"))
    };
    pids.filter(|pid| *pid != harness).filter(is_of_store).collect()
}

fn namespaces_of(harness: u32) -> Vec<String> {
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().filter_map(Result::ok);
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("jl{harness}-"))).collect()
}

fn run(store: &Path, network: &str, rollcall: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jepsen-lite"));
    command.args([
        "run",
        "--workload",
        "registers",
        "--nemesis",
        "kill,partition",
        "--nodes",
        "3",
        "--network",
        network,
    ]);
    command.arg("--time-limit=2m").arg("--store").arg(store).arg("--rollcall").arg(rollcall);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program can be started")
}

#[test]
fn an_interrupted_run_ends_its_nodes_and_keeps_a_history_that_can_be_judged() {
    let rollcall = rollcall();
    for network in networks() {
        let store = tempfile::tempdir().expect("a temporary folder");
        let mut harness = run(store.path(), network, &rollcall);
        let history = wait_until("the first success", || history(store.path()));
        assert!(!processes_of(store.path(), harness.id()).is_empty(), "nodes run");

        rustix::process::kill_process(Pid::from_child(&harness), Signal::INT).expect("it runs");
        wait_until("its end", || harness.try_wait().expect("the child is ours"));
        let pid = harness.id();
        let output = harness.wait_with_output().expect("the child is ours");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("interrupted"), "{said}");

        wait_until("the nodes to be gone", || processes_of(store.path(), pid).is_empty().then_some(()));
        let left = namespaces_of(pid);
        assert!(left.is_empty(), "{network}: {left:?} are left");
        let checked = Command::new(env!("CARGO_BIN_EXE_jepsen-lite")).arg("check").arg(&history).output();
        let checked = checked.expect("the program can be started");
        let shown = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert_eq!(checked.status.code(), Some(2), "a history that breaks off says nothing: {shown}");
    }
}
