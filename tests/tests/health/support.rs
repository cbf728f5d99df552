//! Targets of probes, and eyes on what the nodes make of them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall_tests::{Cluster, DEADLINE, Node, registration, segment, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// A service that answers 200 to every request, owned by a test.
pub(crate) struct Target {
    port: u16,
    serving: Option<JoinHandle<()>>,
    manners: Arc<Manners>,
}

/// How a target answers.
#[derive(Debug, Default)]
struct Manners {
    /// The process that gets no answers.
    shunned: Mutex<Option<u32>>,
    /// How long it takes to answer.
    pace: Mutex<Option<Pace>>,
}

/// An answer that takes longer each time. By its answers and not by the time, so that probers which are late on a busy machine see
/// the same.
#[derive(Debug, Clone, Copy)]
struct Pace {
    answers: u32,
    at_first: Duration,
    /// How much longer an answer takes than the one before.
    step: Duration,
}

impl Pace {
    /// How long the next answer takes.
    fn next(&mut self) -> Duration {
        let delay = self.at_first + self.step * self.answers;
        self.answers += 1;
        delay
    }
}

impl Target {
    /// A target that serves.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("a bound socket").port();
        let mut target = Self { port, serving: None, manners: Arc::default() };
        target.serve(listener);
        target
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Closes its port and all connections, as the end of its process would.
    pub(crate) async fn kill(&mut self) {
        let serving = self.serving.take().expect("it serves");
        serving.abort();
        // When the task is gone its sockets are.
        let _ = serving.await;
    }

    /// Serves again, on the same port.
    pub(crate) async fn revive(&mut self) {
        let port = self.port;
        let listener = wait_until("the port to be free", DEADLINE, async || {
            TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| error.to_string())
        });
        self.serve(listener.await);
    }

    /// Gives a process no answers from now on, or all of them again: what a broken path does.
    pub(crate) fn shun(&self, process: Option<u32>) {
        *self.manners.shunned.lock().unwrap_or_else(PoisonError::into_inner) = process;
    }

    /// Takes `at_first` for an answer from now on, and `step` more with each.
    pub(crate) fn slow_down(&self, at_first: Duration, step: Duration) {
        let pace = Pace { answers: 0, at_first, step };
        *self.manners.pace.lock().unwrap_or_else(PoisonError::into_inner) = Some(pace);
    }

    /// How often it answered since [`Self::slow_down`].
    pub(crate) fn answers(&self) -> u32 {
        let pace = *self.manners.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.map_or(0, |pace| pace.answers)
    }

    fn serve(&mut self, listener: TcpListener) {
        let manners = self.manners.clone();
        self.serving = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => drop(connections.spawn(answer(stream, manners.clone()))),
                    Some(_) = connections.join_next() => {}
                }
            }
        }));
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// Answers every request on a connection until it is closed, or its other end is to get no answers.
async fn answer(mut stream: TcpStream, manners: Arc<Manners>) {
    let (mut request, mut part) = (Vec::new(), [0; 1_024]);
    loop {
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut part).await {
                Ok(read) if read > 0 => request.extend_from_slice(&part[..read]),
                _ => return,
            }
        }
        request.clear();
        let delay = manners.pace.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(Pace::next);
        if let Some(delay) = delay {
            // What is tested: an answer that takes its time.
            sleep(delay).await;
        }
        let process = *manners.shunned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_shunned = process.is_some_and(|process| is_of(&stream, process));
        if is_shunned || stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
            return;
        }
    }
}

/// Whether the other end of a connection over loopback belongs to a process: by the inode of its socket.
fn is_of(stream: &TcpStream, process: u32) -> bool {
    let (Ok(peer), Ok(own)) = (stream.peer_addr(), stream.local_addr()) else { return false };
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the system tells its sockets");
    // By both ends: the same port may be that of a connection to somebody else.
    let ends = [peer, own].map(|end| format!(":{:04X}", end.port()));
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_it = |row: &Vec<&str>| (1..).zip(&ends).all(|(at, end)| row.get(at).is_some_and(|it| it.ends_with(end)));
    let Some(inode) = rows.find(is_it).and_then(|row| row.get(9).map(|inode| format!("socket:[{inode}]"))) else {
        return false;
    };
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|link| link == Path::new(&inode))
}

/// A registration with an HTTP check of `port`, once a second.
pub(crate) fn checked_by_http(port: u16) -> Value {
    let mut body = registration(port);
    body["checks"] = json!([{
        "type": "http", "url": format!("http://127.0.0.1:{port}/health"), "interval_ms": 1_000, "timeout_ms": 500,
    }]);
    body
}

/// Registers an instance of service `web` at a node; returns the revision.
pub(crate) async fn register(node: &Node, id: &str, body: &Value) -> u64 {
    let answer = node.register("web", id, body).await;
    assert!(answer.status < 300, "{}: {}", answer.line, answer.text());
    answer.revision()
}

/// What `node` knows by itself of the health of an instance of service `web`.
pub(crate) async fn health(node: &Node, id: &str) -> Value {
    let path = format!("/v1/services/web/instances/{}/health?from=self", segment(id));
    node.get(&path).answer().await.json_or_null()
}

/// Waits until each node holds an instance of service `web` for `state`, because of one of `causes`.
pub(crate) async fn wait_state(nodes: &[&Node], id: &str, state: &str, causes: &[&str]) {
    for node in nodes {
        wait_until(&format!("{} to hold {id} for {state} {causes:?}", node.name()), DEADLINE, async || {
            let health = health(node, id).await;
            let is_so = health["state"] == state && causes.iter().any(|cause| health["cause"] == *cause);
            if is_so { Ok(()) } else { Err(health.to_string()) }
        })
        .await;
    }
}

/// All nodes of a cluster.
pub(crate) fn all(cluster: &Cluster) -> Vec<&Node> {
    cluster.nodes().iter().map(AsRef::as_ref).collect()
}

/// The nodes that probe an instance all the time, as `node` has it.
pub(crate) async fn probers(node: &Node, id: &str) -> Vec<String> {
    let health = health(node, id).await;
    let observers = health["observers"].as_array().cloned().unwrap_or_default();
    let probers = observers.iter().filter(|observer| observer["duty"] == "prober");
    probers.filter_map(|observer| observer["node"].as_str().map(str::to_owned)).collect()
}
