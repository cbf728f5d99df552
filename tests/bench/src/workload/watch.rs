//! From a write to the last of 1,000 watchers, each on its own connection, spread over the three nodes.
//!
//! The clock starts before the write is sent, so the write's own way through the quorum is included. One event at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Plan;
use crate::client::etcd::{WatchCreateRequest, WatchRequest, path, prefix_end};
use crate::client::grpc::{Channel, GrpcStream};
use crate::client::http::{HttpConnection, HttpStream};
use crate::client::{Operation, WATCHED, announcement, connect};
use crate::cluster::{Cluster, NODES};
use crate::machine::{self, CpuSample, NOISY_CORES};
use crate::results::{Quantity, Results, Subject, median};

/// Events of one run.
const EVENTS: u64 = 30;
/// Quiet time between opening the watches and the first event, and between two events.
const SETTLE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for an event to reach all.
const EVENT_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes without the awaited marker that are kept, because the marker may have arrived in part.
const TAIL: usize = 32;

/// Name of the workload with this many watchers.
pub(crate) fn workload(watchers: usize) -> String {
    format!("write → last of {watchers} watchers")
}

/// Name of the slowest event of each run.
pub(crate) fn workload_slowest(watchers: usize) -> String {
    format!("write → last of {watchers} watchers, slowest of {EVENTS}")
}

/// Measures us and etcd.
pub(crate) async fn run(plan: &Plan, results: &mut Results) {
    for (pair, subject) in plan.runs(&[Subject::Rollcall, Subject::Etcd], plan.pairs) {
        let outcome = run_one(plan, pair, subject, results).await;
        results.note_failure("watch", subject, pair, outcome);
    }
}

/// One run of one system.
async fn run_one(plan: &Plan, pair: usize, subject: Subject, results: &mut Results) -> Result<()> {
    let cluster = Cluster::start(subject, &plan.setup).await?;
    let arrivals = Arc::new(Arrivals::new(plan.watchers));
    let watchers = open_watchers(&cluster, &arrivals, plan.watchers).await?;
    sleep(SETTLE).await;
    let pids = cluster.pids();
    if let Some(remark) = machine::wait_until_quiet(&pids, plan.patience).await? {
        results.note(format!("{subject}, watch, pair {}: {remark}", pair + 1));
    }
    let before = CpuSample::take(&pids)?;
    let times = announce(&cluster, &arrivals).await?;
    let noisy = CpuSample::take(&pids)?.since(&before).foreign > NOISY_CORES;
    drop(watchers);
    let (typical, slowest) = median(&times).zip(times.last().copied()).context("there was at least one event")?;
    let rss = machine::largest_resident(&pids)? as f64 / 1e6;
    results.record(&workload(plan.watchers), subject, pair, noisy, Quantity::TimeMs, typical);
    results.record(&workload(plan.watchers), subject, pair, noisy, Quantity::RssMb, rss);
    results.record(&workload_slowest(plan.watchers), subject, pair, noisy, Quantity::TimeMs, slowest);
    crate::progress(&format!("  {subject:<9} {}: {typical:.1} ms, slowest {slowest:.1} ms", workload(plan.watchers)));
    Ok(())
}

/// Writes the events one by one; the times to the last watcher in milliseconds, sorted.
async fn announce(cluster: &Cluster, arrivals: &Arrivals) -> Result<Vec<f64>> {
    let mut caller = connect(cluster.subject, &cluster.addresses().await?, 1).await?.remove(0);
    let mut times = Vec::new();
    for event in 0..EVENTS {
        let sent = Instant::now();
        let write = timeout(EVENT_DEADLINE, caller.call(Operation::Announce, event));
        write.await.context("the write was not answered")??;
        let last = timeout(EVENT_DEADLINE, arrivals.all_have_it())
            .await
            .with_context(|| format!("event {event} reached {} watchers only", arrivals.in_round()))?;
        times.push((last - sent).as_secs_f64() * 1e3);
        sleep(PAUSE).await;
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(times)
}

/// When the watchers had the current event.
struct Arrivals {
    watchers: usize,
    base: Instant,
    count: AtomicUsize,
    /// Latest arrival, in nanoseconds since `base`.
    last_ns: AtomicU64,
    all: Notify,
}

impl Arrivals {
    fn new(watchers: usize) -> Self {
        let (count, last_ns) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { watchers, base: Instant::now(), count, last_ns, all: Notify::new() }
    }

    fn arrived(&self) {
        let since = u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last_ns.fetch_max(since, Ordering::AcqRel);
        if (self.count.fetch_add(1, Ordering::AcqRel) + 1).is_multiple_of(self.watchers) {
            self.all.notify_one();
        }
    }

    /// Waits until every watcher has the event; when the last one had it.
    async fn all_have_it(&self) -> Instant {
        self.all.notified().await;
        self.base + Duration::from_nanos(self.last_ns.load(Ordering::Acquire))
    }

    fn in_round(&self) -> usize {
        self.count.load(Ordering::Acquire) % self.watchers
    }
}

/// A watch, in either protocol.
enum Stream {
    Http(HttpStream),
    Grpc(GrpcStream),
}

impl Stream {
    async fn read(&mut self, inbox: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Http(stream) => stream.read(inbox).await,
            Self::Grpc(stream) => stream.read(inbox).await,
        }
    }
}

/// Opens the watches one after the other; each then counts its events in a task of its own.
async fn open_watchers(cluster: &Cluster, arrivals: &Arc<Arrivals>, watchers: usize) -> Result<JoinSet<Result<()>>> {
    let since = if cluster.subject == Subject::Rollcall { first_revision(cluster).await? } else { 0 };
    let mut tasks = JoinSet::new();
    for index in 0..watchers {
        let stream = open(cluster, index % NODES, since).await.with_context(|| format!("watch {index}"))?;
        tasks.spawn(count_events(stream, Arc::clone(arrivals)));
    }
    Ok(tasks)
}

async fn open(cluster: &Cluster, node: usize, since: u64) -> Result<Stream> {
    let address = cluster.address(node);
    match cluster.subject {
        Subject::Rollcall => {
            let connection = HttpConnection::connect(address).await?;
            Ok(Stream::Http(connection.open_stream(&format!("/v1/watch?service={WATCHED}&since={since}")).await?))
        }
        Subject::Etcd | Subject::Zookeeper => {
            let channel = Channel::connect(address).await?;
            let prefix = format!("{WATCHED}/");
            let create = WatchCreateRequest { range_end: prefix_end(&prefix), key: prefix.into_bytes() };
            let stream = channel.open_stream(path::WATCH, &WatchRequest { create: Some(create) }).await?;
            Ok(Stream::Grpc(stream))
        }
    }
}

/// Registers a first instance, so that the service is there; its revision is where the watches begin.
async fn first_revision(cluster: &Cluster) -> Result<u64> {
    let mut connection = HttpConnection::connect(cluster.address(0)).await?;
    let path = format!("/v1/services/{WATCHED}/instances/first");
    let body = crate::client::payload::registration(256, false);
    let reply: Value = serde_json::from_slice(connection.exchange_ok("PUT", &path, &body).await?)?;
    reply["revision"].as_u64().context("the reply to a write has no revision")
}

/// Reports each event once, known by its marker, in order.
async fn count_events(mut stream: Stream, arrivals: Arc<Arrivals>) -> Result<()> {
    let mut inbox = Vec::new();
    for event in 0..EVENTS {
        let marker = announcement(event);
        loop {
            if let Some(at) = memchr::memmem::find(&inbox, marker.as_bytes()) {
                inbox.drain(..at + marker.len());
                break;
            }
            inbox.drain(..inbox.len().saturating_sub(TAIL));
            stream.read(&mut inbox).await?;
        }
        arrivals.arrived();
    }
    Ok(())
}
