//! Heartbeats of leases, one by one and in batches, beside etcd's lease keep-alive.
//!
//! A client of ours sends one request at a time on its own connection. A client of etcd has a keep-alive stream of its own
//! on a shared connection, as etcd's client libraries do; etcd has no batch, so there a batch is as many keep-alives sent
//! into the stream without waiting, and then as many answers: the best it can do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::node::{self, names, path};
use super::{Plan, note_noise};
use crate::client::etcd::{LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, path as etcd_path};
use crate::client::grpc::{Channel, GrpcStream, frames_in};
use crate::client::http::HttpConnection;
use crate::client::{payload, shared_connections};
use crate::cluster::Cluster;
use crate::load::{Numbers, percentile_ms};
use crate::machine::{self, CpuSample};
use crate::results::{Quantity, Results, Subject};

/// Clients of every load.
const CLIENTS: usize = 64;
/// Leases that they keep alive in turn.
const LEASES: usize = 10_000;
/// Heartbeats in a batch, the most that our API takes.
const BATCH: usize = 1000;
/// Bytes of a registration.
const BYTES: usize = 256;
/// Life of a lease of etcd in seconds: longer than any run.
const TTL_SECONDS: i64 = 3600;
/// Time that is not measured at the start of a load.
const WARM_UP: Duration = Duration::from_secs(1);
/// Longest wait for the last answers of a load.
const LAST_ANSWERS: Duration = Duration::from_secs(20);

/// A heartbeat in each request.
pub(crate) const ONE_BY_ONE: &str = "heartbeats one by one, 64 clients";
/// [`BATCH`] in each request.
pub(crate) const BATCHED: &str = "heartbeats in batches of 1,000, 64 clients";

/// One closed-loop client.
enum Beater {
    Rollcall { connection: HttpConnection, batches: Arc<Vec<Vec<u8>>> },
    Etcd { stream: GrpcStream, leases: Arc<Vec<i64>>, inbox: Vec<u8> },
}

/// What a client saw: latencies in microseconds of what it was answered in the measured time.
type Latencies = Vec<u32>;

/// Measures both systems, `plan.pairs` times.
pub(super) async fn run(plan: &Plan, results: &mut Results) -> Result<()> {
    for pair in 0..plan.pairs {
        let mut subjects = plan.subjects.clone();
        if pair % 2 == 1 {
            subjects.reverse();
        }
        for subject in subjects {
            let cluster = Cluster::start(subject, &plan.setup).await?;
            run_one(plan, pair, &cluster, results)
                .await
                .with_context(|| format!("{subject}{}", cluster.log_tails()))?;
        }
    }
    Ok(())
}

async fn run_one(plan: &Plan, pair: usize, cluster: &Cluster, results: &mut Results) -> Result<()> {
    let leases = Arc::new(make_leases(cluster).await?);
    for (workload, batch) in [(ONE_BY_ONE, 1), (BATCHED, BATCH)] {
        if let Some(remark) = machine::wait_until_quiet(&cluster.pids(), plan.patience).await? {
            results.note(format!("{}, {workload}, pair {}: {remark}", cluster.subject, pair + 1));
        }
        let beaters = connect(cluster, &leases).await?;
        load(plan, pair, cluster, (workload, batch), beaters, results).await?;
    }
    Ok(())
}

/// Registers [`LEASES`] instances, or asks etcd for as many leases and returns their ids.
async fn make_leases(cluster: &Cluster) -> Result<Vec<i64>> {
    let addresses = cluster.addresses().await?;
    if cluster.subject == Subject::Rollcall {
        node::register(&addresses, vec![payload::registration(BYTES, true); LEASES]).await?;
        return Ok(Vec::new());
    }
    let (numbers, mut granting) = (Numbers::default(), JoinSet::new());
    for address in addresses.iter().cycle().take(CLIENTS) {
        let (channel, numbers) = (Channel::connect(*address).await?, numbers.clone());
        granting.spawn(async move {
            let mut ids = Vec::new();
            while numbers.next() < LEASES as u64 {
                let request = LeaseGrantRequest { ttl: TTL_SECONDS };
                ids.push(channel.call::<LeaseGrantResponse>(etcd_path::LEASE_GRANT, &request).await?.id);
            }
            anyhow::Ok(ids)
        });
    }
    let mut ids = Vec::with_capacity(LEASES);
    while let Some(granted) = granting.join_next().await {
        ids.extend(granted??);
    }
    Ok(ids)
}

async fn connect(cluster: &Cluster, leases: &Arc<Vec<i64>>) -> Result<Vec<Beater>> {
    let addresses = cluster.addresses().await?;
    let mut beaters = Vec::with_capacity(CLIENTS);
    if cluster.subject == Subject::Rollcall {
        let batches = Arc::new((0..LEASES / BATCH).map(batch_body).collect::<Vec<_>>());
        for address in addresses.iter().cycle().take(CLIENTS) {
            let connection = HttpConnection::connect(*address).await?;
            beaters.push(Beater::Rollcall { connection, batches: batches.clone() });
        }
        return Ok(beaters);
    }
    let mut channels = Vec::new();
    for address in addresses.iter().cycle().take(shared_connections(CLIENTS)) {
        channels.push(Channel::connect(*address).await?);
    }
    for channel in channels.iter().cycle().take(CLIENTS) {
        let first = LeaseKeepAliveRequest { id: *leases.first().context("no lease was granted")? };
        let mut stream = channel.open_stream(etcd_path::LEASE_KEEP_ALIVE, &first).await?;
        let mut inbox = Vec::new();
        read_answers(&mut stream, &mut inbox, 1).await?;
        beaters.push(Beater::Etcd { stream, leases: leases.clone(), inbox });
    }
    Ok(beaters)
}

/// The heartbeats of the instances of batch `number`.
fn batch_body(number: usize) -> Vec<u8> {
    let items = (number * BATCH..(number + 1) * BATCH).map(|index| {
        let (service, id) = names(index);
        json!({"service": service, "id": id})
    });
    json!({"items": items.collect::<Vec<_>>()}).to_string().into_bytes()
}

impl Beater {
    /// Sends `count` heartbeats, 1 or [`BATCH`], and waits for all answers. `n` says which.
    async fn beat(&mut self, n: usize, count: usize) -> Result<()> {
        match self {
            Self::Rollcall { connection, .. } if count == 1 => {
                connection.exchange_ok("PUT", &format!("{}/lease", path(n % LEASES)), b"").await?;
            }
            Self::Rollcall { connection, batches } => {
                let body = &batches[n % batches.len()];
                let answer = connection.exchange_ok("POST", "/v1/leases/renew", body).await?;
                ensure!(memmem::find(answer, b"\"code\":\"").is_none(), "not every lease was renewed");
            }
            Self::Etcd { stream, leases, inbox } => {
                let ids = (0..count).map(|step| leases[(n * count + step) % leases.len()]);
                stream.send_all(ids.map(|id| LeaseKeepAliveRequest { id }))?;
                read_answers(stream, inbox, count).await?;
            }
        }
        Ok(())
    }
}

/// Reads `count` answers.
async fn read_answers(stream: &mut GrpcStream, inbox: &mut Vec<u8>, count: usize) -> Result<()> {
    inbox.clear();
    while frames_in(inbox) < count {
        stream.read(inbox).await?;
    }
    Ok(())
}

/// Runs one load and records its figures.
async fn load(
    plan: &Plan,
    pair: usize,
    cluster: &Cluster,
    (workload, batch): (&str, usize),
    beaters: Vec<Beater>,
    results: &mut Results,
) -> Result<()> {
    let (pids, subject) = (cluster.pids(), cluster.subject);
    let begin = Instant::now() + WARM_UP;
    let end = begin + plan.length;
    let (numbers, mut clients) = (Numbers::default(), JoinSet::new());
    for beater in beaters {
        clients.spawn(closed_loop(beater, batch, numbers.clone(), begin, end));
    }
    sleep_until(begin).await;
    let before = CpuSample::take(&pids)?;
    sleep_until(end).await;
    let used = CpuSample::take(&pids)?.since(&before);
    let mut latencies = Vec::new();
    while let Some(client) = timeout(LAST_ANSWERS, clients.join_next()).await.context("a client waits for ever")? {
        latencies.extend(client??);
    }
    latencies.sort_unstable();
    let beats = (latencies.len() * batch) as f64;
    ensure!(beats > 0.0, "nothing was answered");
    let noisy = note_noise(&format!("{subject}, {workload}, pair {}", pair + 1), used, results);
    let figures = [
        (Quantity::OpsPerSecond, beats / plan.length.as_secs_f64()),
        (Quantity::P50Ms, percentile_ms(&latencies, 0.5)),
        (Quantity::P99Ms, percentile_ms(&latencies, 0.99)),
        (Quantity::CpuUs, used.servers_us / beats),
        (Quantity::ClientCpuUs, used.own_us / beats),
        (Quantity::RssMb, machine::largest_resident(&pids)? as f64 / 1e6),
    ];
    for (quantity, value) in figures {
        results.record(workload, subject, pair, noisy, quantity, value);
    }
    crate::progress(&format!(
        "  {subject:<9} {workload}: {:.0} heartbeats/s, p50 {:.2} ms",
        figures[0].1, figures[1].1
    ));
    Ok(())
}

/// Counts what began after `begin` and was answered before `end`. A failure ends it.
async fn closed_loop(
    mut beater: Beater,
    batch: usize,
    numbers: Numbers,
    begin: Instant,
    end: Instant,
) -> Result<Latencies> {
    let mut latencies = Vec::new();
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(latencies);
        }
        beater.beat(usize::try_from(numbers.next())?, batch).await?;
        let answered = Instant::now();
        if sent >= begin && answered < end {
            latencies.push(u32::try_from((answered - sent).as_micros()).unwrap_or(u32::MAX));
        }
    }
}
