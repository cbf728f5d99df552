//! `rollcall dev` with real processes: it comes up, tells of a death, stops everything, and comes up again.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::binary::{rollcall, run};

/// Longest wait for anything here. A start takes a few seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The line after which the cluster is up and its services are registered.
const UP: &str = "Ctrl-C stops everything";

struct Dev {
    process: Child,
    lines: Receiver<String>,
    base_port: u16,
}

impl Dev {
    fn start(data_dir: &Path, base_port: u16) -> Self {
        Self::start_with(data_dir, base_port, &[])
    }

    fn start_with(data_dir: &Path, base_port: u16, flags: &[&str]) -> Self {
        let mut process = rollcall()
            .args(["dev", "--base-port", &base_port.to_string(), "--data-dir"])
            .arg(data_dir)
            .args(flags)
            // Settings for some other node, exported in the shell.
            .envs([("ROLLCALL_OBSERVER", "true"), ("ROLLCALL_CONFIG", "/does/not/exist.toml")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        let (tx, lines) = channel();
        thread::spawn(move || {
            // The test ends when it has seen enough, and does not read the rest.
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| tx.send(line))
        });
        Self { process, lines, base_port }
    }

    /// Reads on until a line contains `part`; returns all lines read.
    #[track_caller]
    fn read_until(&self, part: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut read = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                panic!("no line with {part:?} after {read:#?}");
            };
            let is_last = line.contains(part);
            read.push(line);
            if is_last {
                return read;
            }
        }
    }

    fn node(&self, index: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.base_port + 10 * index))
    }

    fn signal(&self, signal: Signal) {
        send(self.process.id(), signal);
    }

    /// Waits until neither a node nor a demo service listens any more.
    #[track_caller]
    fn wait_until_silent(&self) {
        let deadline = Instant::now() + PATIENCE;
        while let Some(port) = taken_port(self.base_port) {
            assert!(Instant::now() < deadline, "somebody still listens on {port}");
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits until a node says that a service passes: it may hear of it later than the leader.
    #[track_caller]
    fn wait_until_healthy(&self, service: &str, node: u16) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let health = run(&format!("health {service} --server {}", self.node(node)));
            if health.code == Some(0) {
                return;
            }
            assert!(Instant::now() < deadline, "{:?} {} {}", health.code, health.stdout, health.stderr);
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn wait(mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // After a failed assertion: its children stop when it is gone. It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A base port below the range of ephemeral ports, for which the ports of nodes and services are free.
fn free_base_port() -> u16 {
    let first = u16::try_from(std::process::id() % 50).unwrap();
    (0..50).map(|step| 20_000 + (first + step) % 50 * 200).find(|base| taken_port(*base).is_none()).unwrap()
}

/// The first port of nodes and services on which somebody listens.
fn taken_port(base: u16) -> Option<u16> {
    let mut ports = (0..35).chain(100..135).chain(1200..1225).map(|offset| base + offset);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_err())
}

fn pid_of(node: &str, lines: &[String]) -> u32 {
    let line = lines.iter().find(|line| line.starts_with(node) && line.contains("  pid ")).unwrap();
    line.split("  pid ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

/// One test, one after the other: each start takes seconds, and two clusters at once would disturb each other.
#[test]
fn a_development_cluster_starts_tells_stops_and_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("dev");
    let base_port = free_base_port();

    let dev = Dev::start(&data_dir, base_port);
    let lines = dev.read_until(UP);
    assert!(lines[0].starts_with("A new cluster of 3 node(s)"), "{}", lines[0]);
    let registered = lines.iter().filter(|line| line.contains("registered through")).count();
    assert_eq!(registered, 6, "{lines:#?}");

    dev.read_until("✓ passing    orchestrator_agent/orchestrator-1");
    dev.wait_until_healthy("web_scraper_agent", 2);

    let second = run(&format!("dev --base-port {base_port} --data-dir {}", folder.path().join("other").display()));
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains(&format!("port {base_port}, for the HTTP API of node-1")), "{}", second.stderr);

    send(pid_of("node-3", &lines), Signal::KILL);
    let lines = dev.read_until("restart it:");
    assert!(lines.iter().any(|line| line.contains("node-3") && line.contains("SIGKILL")), "{lines:#?}");
    assert!(lines.last().unwrap().contains("node --name node-3"), "{lines:#?}");
    let registered = run(&format!("register web web-1 --endpoint http=10.0.0.7:8080 --server {}", dev.node(1)));
    assert_eq!(registered.code, Some(0), "{}", registered.stderr);
    dev.read_until("web/web-1");

    dev.signal(Signal::TERM);
    dev.read_until("all stopped");
    dev.wait_until_silent();
    assert_eq!(dev.wait().code(), Some(0));

    let again = Dev::start(&data_dir, base_port);
    assert!(again.read_until(UP)[0].starts_with("The cluster of 3 node(s) that was in"));
    let kept = run(&format!("instances web --server {}", again.node(2)));
    assert!(kept.stdout.contains("web-1"), "{} {}", kept.stdout, kept.stderr);

    // Nobody stops the children now but the end of the pipe.
    again.signal(Signal::KILL);
    again.wait_until_silent();

    // What was there is another number of nodes, and goes only when that is said.
    let fewer = run(&format!("dev --nodes 1 --no-demo --base-port {base_port} --data-dir {}", data_dir.display()));
    assert_eq!(fewer.code, Some(2), "{}", fewer.stderr);
    assert!(fewer.stderr.contains("--clean"), "{}", fewer.stderr);

    let clean = Dev::start_with(&data_dir, base_port, &["--clean", "--nodes", "1", "--no-demo"]);
    let lines = clean.read_until(UP);
    assert!(lines.iter().any(|line| line.starts_with("A new cluster of 1 node(s)")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("registered through")), "{lines:#?}");
    let services = run(&format!("services --output json --server {}", clean.node(0)));
    assert!(services.stdout.contains("\"items\": []"), "{} {}", services.stdout, services.stderr);
    clean.signal(Signal::INT);
    clean.read_until("all stopped");
    clean.wait_until_silent();
    assert_eq!(clean.wait().code(), Some(0));
}
