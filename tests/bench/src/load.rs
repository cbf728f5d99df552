//! Closed-loop load: n clients, each sending its next request when the last one was answered.
//!
//! Closed, so that a slow system is not drowned, and so that its latency is what a client sees at that number of clients.
//! The load generator shares the cores with the servers; its own cost is reported beside theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::{Caller, Operation, connect};
use crate::cluster::Cluster;
use crate::machine::{self, CpuSample, CpuUse, NOISY_CORES};
use crate::results::{Quantity, Results};

/// Time that is not measured at the start of a run.
const WARM_UP: Duration = Duration::from_secs(1);
/// The same for a Java machine's first load, while it compiles.
const WARM_UP_JAVA: Duration = Duration::from_secs(10);
/// Pause of a client after a failure, so that failures do not spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);
/// Longest wait for the last answers when a run has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(20);

/// Longest time that filling may take.
const FILL_DEADLINE: Duration = Duration::from_secs(180);

/// One load on one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) workload: String,
    pub(crate) operation: Operation,
    pub(crate) clients: usize,
    pub(crate) length: Duration,
    /// How long to wait for other processes to be quiet.
    pub(crate) patience: Duration,
    pub(crate) pair: usize,
}

/// What the clients saw within the measured time.
struct Seen {
    /// Microseconds, sorted.
    latencies: Vec<u32>,
    errors: u64,
    first_error: Option<anyhow::Error>,
}

/// Numbers that no two calls of a cluster share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers(Arc<AtomicU64>);

impl From<u64> for Numbers {
    fn from(first: u64) -> Self {
        Self(Arc::new(AtomicU64::new(first)))
    }
}

impl Numbers {
    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Runs a load and records its figures.
pub(crate) async fn measure(cluster: &Cluster, numbers: &Numbers, load: &Load, results: &mut Results) -> Result<()> {
    let (subject, pair) = (cluster.subject, load.pair);
    let pids = cluster.pids();
    if let Some(remark) = machine::wait_until_quiet(&pids, load.patience).await? {
        results.note(format!("{subject}, {}, pair {}: {remark}", load.workload, pair + 1));
    }
    let term = cluster.term().await?;
    let (seen, used) = run(cluster, numbers, load, WARM_UP).await?;
    ensure!(
        !seen.latencies.is_empty(),
        "{subject}, {}: nothing was answered: {}",
        load.workload,
        seen.first_error.map_or_else(|| "no error either".to_owned(), |error| format!("{error:#}"))
    );
    let changes = cluster.term().await?.saturating_sub(term);
    let noisy = used.foreign > NOISY_CORES;
    if noisy {
        results.note(format!(
            "{subject}, {}, pair {}: noisy, {:.2} foreign cores",
            load.workload,
            pair + 1,
            used.foreign
        ));
    }
    if let Some(error) = &seen.first_error {
        results.note(format!(
            "{subject}, {}, pair {}: {} errors, the first: {error:#}",
            load.workload,
            pair + 1,
            seen.errors
        ));
    }
    let operations = seen.latencies.len() as f64;
    let figures = [
        (Quantity::OpsPerSecond, operations / load.length.as_secs_f64()),
        (Quantity::P50Ms, percentile_ms(&seen.latencies, 0.5)),
        (Quantity::P99Ms, percentile_ms(&seen.latencies, 0.99)),
        (Quantity::CpuUs, used.servers_us / operations),
        (Quantity::ClientCpuUs, used.own_us / operations),
        (Quantity::RssMb, machine::largest_resident(&pids)? as f64 / 1e6),
        (Quantity::LeaderChanges, changes as f64),
        (Quantity::Errors, seen.errors as f64),
    ];
    for (quantity, value) in figures {
        results.record(&load.workload, subject, pair, noisy, quantity, value);
    }
    crate::progress(&format!(
        "  {subject:<9} {:<34} {:>7.0} ops/s  p50 {:.2} ms  p99 {:.2} ms  {:.0} µs CPU/op  foreign {:.2}  steal {:.2}",
        load.workload, figures[0].1, figures[1].1, figures[2].1, figures[3].1, used.foreign, used.steal
    ));
    Ok(())
}

/// Loads a new Java machine until it has compiled what matters; nothing is recorded.
pub(crate) async fn warm_up_java(cluster: &Cluster, numbers: &Numbers, operation: Operation) -> Result<()> {
    let load = Load {
        workload: "warm-up".to_owned(),
        operation,
        clients: 64,
        length: Duration::ZERO,
        patience: Duration::ZERO,
        pair: 0,
    };
    let (seen, _) = run(cluster, numbers, &load, WARM_UP_JAVA).await?;
    if let Some(error) = seen.first_error {
        bail!("warming up {}: {} errors, the first: {error:#}", cluster.subject, seen.errors);
    }
    Ok(())
}

async fn run(cluster: &Cluster, numbers: &Numbers, load: &Load, warm_up: Duration) -> Result<(Seen, CpuUse)> {
    let callers = connect(cluster.subject, &cluster.addresses().await?, load.clients).await?;
    let pids = cluster.pids();
    let begin = Instant::now() + warm_up;
    let end = begin + load.length;
    let mut clients = JoinSet::new();
    for caller in callers {
        clients.spawn(closed_loop(caller, load.operation, numbers.clone(), begin, end));
    }
    sleep_until(begin).await;
    let before = CpuSample::take(&pids)?;
    sleep_until(end).await;
    let used = CpuSample::take(&pids)?.since(&before);
    let parts = timeout(LAST_ANSWERS, clients.join_all())
        .await
        .with_context(|| format!("a client waits for ever{}", cluster.log_tails()))?;
    Ok((merge(parts), used))
}

/// Counts what began after `begin` and was answered before `end`.
async fn closed_loop(mut caller: Caller, operation: Operation, numbers: Numbers, begin: Instant, end: Instant) -> Seen {
    let mut seen = Seen { latencies: Vec::with_capacity(1 << 14), errors: 0, first_error: None };
    loop {
        let sent = Instant::now();
        if sent >= end {
            return seen;
        }
        let outcome = caller.call(operation, numbers.next()).await;
        let answered = Instant::now();
        match outcome {
            Ok(()) if sent >= begin && answered < end => {
                seen.latencies.push(u32::try_from((answered - sent).as_micros()).unwrap_or(u32::MAX));
            }
            Ok(()) => {}
            Err(error) => {
                seen.errors += 1;
                seen.first_error.get_or_insert(error);
                sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

fn merge(parts: Vec<Seen>) -> Seen {
    let mut all = Seen { latencies: Vec::new(), errors: 0, first_error: None };
    for part in parts {
        all.latencies.extend(part.latencies);
        all.errors += part.errors;
        all.first_error = all.first_error.or(part.first_error);
    }
    all.latencies.sort_unstable();
    all
}

/// A percentile in milliseconds, by the nearest rank; `NaN` of nothing.
pub(crate) fn percentile_ms(sorted_us: &[u32], share: f64) -> f64 {
    let rank = (sorted_us.len() as f64 * share).ceil() as usize;
    sorted_us.get(rank.saturating_sub(1)).map_or(f64::NAN, |us| f64::from(*us) / 1e3)
}

/// Does `operation` with the numbers 0 to `total`, as fast as `clients` clients can. Any failure ends it.
pub(crate) async fn fill(cluster: &Cluster, operation: Operation, total: u64, clients: usize) -> Result<()> {
    let numbers = Numbers::default();
    let mut filling = JoinSet::new();
    for mut caller in connect(cluster.subject, &cluster.addresses().await?, clients).await? {
        let numbers = numbers.clone();
        filling.spawn(async move {
            loop {
                let n = numbers.next();
                if n >= total {
                    return anyhow::Ok(());
                }
                caller.call(operation, n).await?;
            }
        });
    }
    let all_filled = async {
        while let Some(finished) = filling.join_next().await {
            finished??;
        }
        anyhow::Ok(())
    };
    let outcome = timeout(FILL_DEADLINE, all_filled).await.context("not full in time").and_then(|outcome| outcome);
    outcome.with_context(|| format!("filling {}{}", cluster.subject, cluster.log_tails()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let latencies: Vec<u32> = (1..=1000).map(|ms| ms * 1000).collect();
        assert_eq!(percentile_ms(&latencies, 0.5), 500.0);
        assert_eq!(percentile_ms(&latencies, 0.99), 990.0);
        assert_eq!(percentile_ms(&[7000], 0.99), 7.0);
    }
}
