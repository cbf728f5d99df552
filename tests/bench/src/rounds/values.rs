//! From a value's change on one node until all nodes have it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rollcall_gossip::Update;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::group::Group;

const KEY: &str = "bench/value";
/// Longest wait for an update.
const DEADLINE: Duration = Duration::from_secs(30);
/// Before each update, growing by a step that no interval divides: gossip has rounds, and every update at the same moment
/// of a round would measure that moment.
const PAUSE: Duration = Duration::from_millis(100);
const PHASE_STEP_MS: u64 = 37;
const INTERVAL_MS: u64 = 200;

/// Changes a value so many times, each time on another node; how long until the last node had it, in milliseconds.
pub(super) async fn measure(group: &Group, updates: usize) -> Result<Vec<f64>> {
    let (arrivals_tx, mut arrivals) = mpsc::channel(1_024);
    let watchers = group.nodes.iter().map(|node| {
        let watching = watch(node.handle.updates(), arrivals_tx.clone());
        AbortOnDropHandle::new(tokio::spawn(watching))
    });
    let _watchers: Vec<_> = watchers.collect();
    let mut times = Vec::with_capacity(updates);
    for number in 0..updates {
        sleep(PAUSE + Duration::from_millis(number as u64 * PHASE_STEP_MS % INTERVAL_MS)).await;
        let text = number.to_string();
        let began = Instant::now();
        group.nodes[number % group.nodes.len()].handle.publish(KEY, &text)?;
        let mut missing = group.nodes.len();
        let mut last = began;
        while missing > 0 {
            let arrival = timeout(DEADLINE, arrivals.recv()).await;
            let (value, at): (String, Instant) =
                arrival.context("an update did not arrive")?.context("a watcher ended")?;
            if value == text {
                (missing, last) = (missing - 1, last.max(at));
            }
        }
        times.push((last - began).as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Tells of each value of [`KEY`] when it arrives at one node.
async fn watch(mut updates: broadcast::Receiver<Update>, arrivals: mpsc::Sender<(String, Instant)>) {
    loop {
        match updates.recv().await {
            Ok(Update { key, value: Some(value), .. }) if &*key == KEY => {
                if arrivals.send((value.to_string(), Instant::now())).await.is_err() {
                    return;
                }
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
