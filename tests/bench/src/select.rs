//! Answers from memory over HTTP, beside a bare hyper server that sends the same bytes.
//!
//! One node and one bare server, each on core 0 while the client is on core 1, in turns (A B B A): plain discovery of a service
//! of three instances, `select`, and discovery once more while 1,000 registrations a second are written to the node. The bare
//! server does nothing but what any HTTP server must: it parses the request, reads its body and sends an answer that it has in
//! memory, with the head and the body that ours had. So the ratio is what our answer costs beyond HTTP. Reads through Consul's API are measured beside the same reads through
//! the native one, on the same node.
//!
//! Limits: needs two cores and `taskset`. Closed loop over loopback, one client process; where the client is the slower side,
//! the ratio of CPU per request says more than that of the rates, so both stand in the table.

mod bare;
mod table;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::client::http::HttpConnection;
use crate::cluster::{free_ports, local, rollcall};
use crate::load::percentile_ms;
use crate::machine::{self, CpuSample};
use crate::process::{Process, Spec};

pub(crate) use self::bare::serve;
pub(crate) use self::table::render;

/// Clients of every load.
const CLIENTS: usize = 32;
/// Time that is not measured at the start of a load.
const WARM_UP: Duration = Duration::from_secs(1);
/// Registrations a second of the load with writes, and the connections that they come over.
const WRITES_PER_SECOND: usize = 1_000;
const WRITERS: usize = 8;
/// Longest wait for a server to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// The core of the servers, and that of the client.
const SERVER_CORE: &str = "0";
const CLIENT_CORE: &str = "1";

const DISCOVER: &str = "/v1/services/bench/instances?health=healthy";
const SELECT: &str = "/v1/services/bench/select";
const CONSUL: &str = "/v1/health/service/bench?passing";
const KEY: &str = "/v1/kv/bench";

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) rollcall: PathBuf,
    pub(crate) pairs: usize,
    pub(crate) length: Duration,
    pub(crate) folder: PathBuf,
    pub(crate) patience: Duration,
}

impl Plan {
    /// What is done, in one line of the report.
    pub(crate) fn shape(&self) -> String {
        format!(
            "{} runs of {} s each after 1 s of warm-up, order A B B A; {CLIENTS} clients in a closed loop on core {CLIENT_CORE}, \
             the server on core {SERVER_CORE}; figures are medians [min–max], a ratio that of the pairs",
            self.pairs,
            self.length.as_secs()
        )
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// Plain discovery.
    Discover,
    /// One instance of the service.
    Select,
    /// Plain discovery while others write.
    DiscoverAmongWrites,
    /// One instance of the service while others write.
    SelectAmongWrites,
    /// Discovery through Consul's API, beside plain discovery.
    Consul,
    /// A key through Consul's API, beside the same key.
    ConsulKey,
}

impl Question {
    const ALL: [Self; 6] = [
        Self::Discover,
        Self::Select,
        Self::DiscoverAmongWrites,
        Self::SelectAmongWrites,
        Self::Consul,
        Self::ConsulKey,
    ];

    /// What is asked of ours, or of the peer.
    fn request(self, is_ours: bool) -> (&'static str, &'static str, &'static [u8]) {
        match self {
            Self::Consul if is_ours => ("GET", CONSUL, b""),
            // A key has the same path in both.
            Self::ConsulKey => ("GET", KEY, b""),
            Self::Discover | Self::DiscoverAmongWrites | Self::Consul => ("GET", DISCOVER, b""),
            Self::Select | Self::SelectAmongWrites => ("POST", SELECT, br#"{"client":{"zone":"a"}}"#),
        }
    }

    /// Whether it is asked through Consul's API, and the peer is the native one.
    fn is_consul(self) -> bool {
        matches!(self, Self::Consul | Self::ConsulKey)
    }

    fn is_among_writes(self) -> bool {
        matches!(self, Self::DiscoverAmongWrites | Self::SelectAmongWrites)
    }
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) question: Question,
    pub(crate) is_ours: bool,
    pub(crate) bytes: usize,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Of the server, for a request.
    pub(crate) cpu_us: f64,
    /// Writes that were done meanwhile.
    pub(crate) writes_per_second: f64,
}

/// Measures both, `plan.pairs` times.
pub(crate) async fn run(plan: &Plan, figures: &mut Vec<Figures>, remarks: &mut Vec<String>) -> Result<()> {
    stay_on(CLIENT_CORE)?;
    let folder = tempfile::Builder::new().prefix("rollcall-bench-").tempdir_in(&plan.folder)?;
    let ports = free_ports(5)?;
    let (node, bare, consul) = (local(ports[0]), local(ports[3]), local(ports[4]));
    let mut spec = rollcall::specs(&plan.rollcall, folder.path(), 1, &ports[..3])?.remove(0);
    spec.arguments.extend(["--consul".to_owned(), consul.to_string()]);
    let process = Process::spawn(&pinned(spec))?;
    wait_ready(node).await?;
    register(node).await?;
    let answers = [answer(node, Question::Discover).await?, answer(node, Question::Select).await?];
    let bare_process = Process::spawn(&pinned(bare_spec(folder.path(), bare, &answers)?))?;
    wait_answer(bare).await?;
    for pair in 0..plan.pairs {
        for question in Question::ALL {
            let mut order = [true, false];
            if pair % 2 == 1 {
                order.reverse();
            }
            for is_ours in order {
                let (address, pid) = match (is_ours, question.is_consul()) {
                    (true, true) => (consul, process.pid()),
                    (true, false) | (false, true) => (node, process.pid()),
                    (false, false) => (bare, bare_process.pid()),
                };
                if let Some(remark) =
                    machine::wait_until_quiet(&[process.pid(), bare_process.pid()], plan.patience).await?
                {
                    remarks.push(format!("{question:?}, pair {}: {remark}", pair + 1));
                }
                let writer = (is_ours && question.is_among_writes()).then_some(node);
                let one = measure(plan, question, is_ours, address, pid, writer).await?;
                crate::progress(&format!(
                    "  {question:?} {} {:.0}/s p50 {:.3} ms p99 {:.3} ms {:.1} µs CPU, {:.0} writes/s",
                    if is_ours { "ours" } else { "peer" },
                    one.per_second,
                    one.p50_ms,
                    one.p99_ms,
                    one.cpu_us,
                    one.writes_per_second
                ));
                figures.push(one);
            }
        }
    }
    Ok(())
}

async fn measure(
    plan: &Plan,
    question: Question,
    is_ours: bool,
    address: SocketAddr,
    pid: u32,
    writer: Option<SocketAddr>,
) -> Result<Figures> {
    let begin = Instant::now() + WARM_UP;
    let end = begin + plan.length;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let connection = HttpConnection::connect(address).await?;
        clients.spawn(ask(connection, question.request(is_ours), begin, end));
    }
    let mut writers = JoinSet::new();
    if let Some(address) = writer {
        for number in 0..WRITERS {
            writers.spawn(write(HttpConnection::connect(address).await?, number, begin, end));
        }
    }
    sleep_until(begin).await;
    let before = CpuSample::take(&[pid])?;
    sleep_until(end).await;
    let used = CpuSample::take(&[pid])?.since(&before);
    let (mut latencies, mut bytes) = (Vec::new(), 0);
    while let Some(done) = clients.join_next().await {
        let (seen, length) = done??;
        latencies.extend(seen);
        bytes = length;
    }
    let mut written = 0;
    while let Some(done) = writers.join_next().await {
        written += done??;
    }
    ensure!(!latencies.is_empty(), "nothing was answered");
    latencies.sort_unstable();
    let seconds = plan.length.as_secs_f64();
    Ok(Figures {
        question,
        is_ours,
        bytes,
        per_second: latencies.len() as f64 / seconds,
        p50_ms: percentile_ms(&latencies, 0.5),
        p99_ms: percentile_ms(&latencies, 0.99),
        cpu_us: used.servers_us / latencies.len() as f64,
        writes_per_second: written as f64 / seconds,
    })
}

/// A client: latencies in microseconds of what was answered in the measured time, and the bytes of an answer.
async fn ask(
    mut connection: HttpConnection,
    (method, path, body): (&str, &str, &[u8]),
    begin: Instant,
    end: Instant,
) -> Result<(Vec<u32>, usize)> {
    let (mut seen, mut bytes) = (Vec::with_capacity(1 << 16), 0);
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok((seen, bytes));
        }
        bytes = connection.exchange_ok(method, path, body).await?.len();
        let answered = Instant::now();
        if sent >= begin && answered < end {
            seen.push(u32::try_from((answered - sent).as_micros()).unwrap_or(u32::MAX));
        }
    }
}

/// Registers instances of other services at its part of the pace; how many in the measured time.
async fn write(mut connection: HttpConnection, writer: usize, begin: Instant, end: Instant) -> Result<usize> {
    let mut pace = interval(Duration::from_secs(1) * WRITERS as u32 / WRITES_PER_SECOND as u32);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut written = 0;
    for number in 0_usize.. {
        pace.tick().await;
        let now = Instant::now();
        if now >= end {
            break;
        }
        let path = format!("/v1/services/other-{}/instances/{writer}", number % 200);
        connection.exchange_ok("PUT", &path, &registration(number)).await?;
        written += usize::from(now >= begin);
    }
    Ok(written)
}

fn registration(number: usize) -> Vec<u8> {
    let endpoint = json!({"name": "http", "protocol": "http", "host": "10.0.0.7", "port": 8_080});
    json!({"endpoints": [endpoint], "zone": "a", "metadata": {"number": number.to_string()}}).to_string().into_bytes()
}

async fn register(node: SocketAddr) -> Result<()> {
    let mut connection = HttpConnection::connect(node).await?;
    for number in 0..3 {
        let path = format!("/v1/services/bench/instances/bench-{number}");
        connection.exchange_ok("PUT", &path, &registration(number)).await?;
    }
    connection.exchange_ok("PUT", KEY, b"a value of some length, as configuration has it").await?;
    Ok(())
}

/// Our answer, head and body, which must hold what was asked for.
async fn answer(node: SocketAddr, question: Question) -> Result<Vec<u8>> {
    let (method, path, body) = question.request(true);
    let mut connection = HttpConnection::connect(node).await?;
    let answer = connection.exchange(method, path, body).await?;
    let value: Value = serde_json::from_slice(answer.body)?;
    let (field, count) = if question == Question::Discover { ("items", 3) } else { ("picks", 1) };
    ensure!(value[field].as_array().map(Vec::len) == Some(count), "an answer without {count} {field}: {value}");
    Ok([answer.head, answer.body].concat())
}

/// The same program on the core of the servers. `taskset` becomes the program, so its process id stays.
fn pinned(spec: Spec) -> Spec {
    let program = spec.program.display().to_string();
    let arguments = ["-c", SERVER_CORE, &program].map(str::to_owned).into_iter().chain(spec.arguments);
    Spec { program: PathBuf::from("taskset"), arguments: arguments.collect(), log: spec.log }
}

/// Keeps this process to one core.
fn stay_on(core: &str) -> Result<()> {
    let own = std::process::id().to_string();
    let status =
        Command::new("taskset").args(["-a", "-p", "-c", core, &own]).stdout(std::process::Stdio::null()).status();
    ensure!(status.context("taskset, of util-linux")?.success(), "this process cannot be kept to core {core}");
    Ok(())
}

/// This program as the bare server of `answers`.
fn bare_spec(folder: &Path, address: SocketAddr, answers: &[Vec<u8>; 2]) -> Result<Spec> {
    let files = [folder.join("get.http"), folder.join("post.http")];
    for (file, answer) in files.iter().zip(answers) {
        std::fs::write(file, answer)?;
    }
    let [get, post] = files.map(|file| file.display().to_string());
    let arguments = ["bare-hyper", "--bare-address", &address.to_string(), "--bare-answers", &format!("{get},{post}")];
    Ok(Spec {
        program: std::env::current_exe()?,
        arguments: arguments.map(str::to_owned).to_vec(),
        log: folder.join("bare.log"),
    })
}

async fn wait_ready(node: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    while !rollcall::is_ready(node).await.unwrap_or(false) {
        ensure!(Instant::now() < deadline, "the node is not ready in time");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn wait_answer(bare: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    while HttpConnection::connect(bare).await.is_err() {
        ensure!(Instant::now() < deadline, "the bare server does not answer in time");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
