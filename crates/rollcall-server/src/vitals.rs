//! Where the nodes themselves are heading: each samples itself, and tells the others what it expects.
//!
//! | quantity | sample | how often |
//! |---|---|---|
//! | fsync latency | mean time that entries took to be on disk | each look, when anything was written |
//! | apply lag | how long what was committed has waited to be applied | each look |
//! | lateness | how much later than it was due this task ran | each look |
//! | free disk, memory | what the system says, asked on a thread of its own: a disk may hang | each fifth look |
//!
//! ```text
//! samples → Trends → NodeForecasts ── what is news, once a second at most ──► `forecast/node` → others
//! Board ◄── changes of values ── gossip ◄── all, this node too
//! ```
//! There are 50 looks in a bucket, but at least 5 and at most 50 in a second. It is the same trend, alarm and format as of
//! instances, and the same advice: nobody is removed for it.
//!
//! Limits: an idle cluster writes nothing, so of its fsync latency nothing is expected. Lags shorter than a look are not seen.
//! A node that starts anew knows no trend for half a window.

mod board;
mod readings;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rollcall_gossip::{Handle as Gossip, Lateness, Update};
use rollcall_health::forecast::{Forecast, NODE_KEY, NodeForecasts, Options, Outlook, Watched};
use rollcall_raft::Consensus;
use rollcall_types::MonoTime;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

pub(crate) use self::board::Board;
use self::board::changes;
use self::readings::{LagClock, Readings};
use crate::clock::wall_clock;
use crate::health::trends::{Forecasting, Trends};

/// Looks in a bucket.
const LOOKS: u32 = 50;
/// Shortest and longest time between two looks.
const LOOK_INTERVALS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// The system is asked once in so many looks.
const READING_LOOKS: u32 = 5;
/// Least time between two values in gossip.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// What has not changed is told again after this time: times count from when a value is heard, and some may hear it late.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Stands for a disk that is asked and not pretended.
const REAL: u64 = u64::MAX;

/// What all nodes expect of themselves. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Vitals {
    board: Arc<ArcSwap<Board>>,
    /// Told after a new board is there.
    changed: watch::Sender<()>,
    disk_free: Arc<AtomicU64>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self { board: Arc::default(), changed: watch::Sender::new(()), disk_free: Arc::new(AtomicU64::new(REAL)) }
    }
}

/// What the task works with.
pub(crate) struct Parts {
    pub(crate) consensus: Consensus,
    pub(crate) gossip: Gossip,
    pub(crate) data_dir: PathBuf,
    pub(crate) election_timeout_min: Duration,
    pub(crate) forecast: Options,
    pub(crate) stop: CancellationToken,
}

impl Vitals {
    /// What all nodes were heard to expect of themselves.
    pub(crate) fn board(&self) -> Arc<Board> {
        self.board.load_full()
    }

    /// Told when [`Self::board`] is another one; many changes at once are told once.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Makes this node take its disk to have so many bytes free; `None` for as many as it has.
    pub(crate) fn pretend_disk_free(&self, bytes: Option<u64>) {
        self.disk_free.store(bytes.unwrap_or(REAL), Ordering::Relaxed);
    }

    /// Looks at this node and listens to all, until it is told to stop.
    pub(crate) async fn run(self, parts: Parts) {
        let Parts { consensus, gossip, data_dir, election_timeout_min, forecast, stop } = parts;
        let (shortest, longest) = LOOK_INTERVALS;
        let period = (forecast.bucket() / LOOKS).clamp(shortest, longest);
        let mut own = Own::new(forecast, period, election_timeout_min);
        let mut updates = gossip.updates();
        self.hear_anew(&gossip);
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut readings = JoinSet::new();
        let mut looks = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                due = ticks.tick() => {
                    let now = gossip.now();
                    let status = consensus.status();
                    own.late(due.elapsed(), now);
                    own.lag(status.commit_index, status.applied_index, now);
                    if let Some(took) = consensus.take_sync_time() {
                        own.synced(took, now);
                    }
                    // One that hangs is waited for: the next would hang as well.
                    if looks % READING_LOOKS == 0 && readings.is_empty() {
                        let data_dir = data_dir.clone();
                        readings.spawn(rollcall_io::spawn_blocking(move || Readings::take(&data_dir)));
                    }
                    looks = looks.wrapping_add(1);
                    own.evaluate(now);
                    own.publish(&gossip, now);
                }
                Some(read) = readings.join_next() => match read.flatten() {
                    Ok(read) => own.read(read, self.disk_free.load(Ordering::Relaxed), gossip.now()),
                    Err(error) => debug!(%error, "a look at disk and memory was lost: {error}"),
                },
                update = updates.recv() => match update {
                    Ok(update) => self.hear(&update),
                    Err(RecvError::Lagged(_)) => self.hear_anew(&gossip),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn hear(&self, update: &Update) {
        if &*update.key == NODE_KEY {
            let mut board = Board::clone(&self.board.load());
            board.receive(update, wall_clock());
            self.put(board);
        }
    }

    fn hear_anew(&self, gossip: &Gossip) {
        let mut board = Board::default();
        board.receive_all(&self.board.load(), gossip.values(NODE_KEY), wall_clock());
        self.put(board);
    }

    fn put(&self, board: Board) {
        self.board.store(Arc::new(board));
        self.changed.send_replace(());
    }
}

/// What this node measures and expects of itself.
struct Own {
    all: Forecasting,
    trends: Trends,
    period: Duration,
    fsync: Option<Watched>,
    disk: Option<Watched>,
    lag: LagClock,
    expected: NodeForecasts,
    /// When that was measured.
    at: MonoTime,
    told: Option<(NodeForecasts, MonoTime)>,
}

impl Own {
    fn new(forecast: Options, period: Duration, election_timeout_min: Duration) -> Self {
        Self {
            all: Forecasting::new(forecast),
            trends: Trends::default(),
            period,
            fsync: Watched::fsync(election_timeout_min).ok(),
            disk: None,
            lag: LagClock::default(),
            expected: NodeForecasts::default(),
            at: MonoTime::default(),
            told: None,
        }
    }

    fn measure(&mut self, watched: Watched, value: f64, now: MonoTime) {
        self.trends.measure(watched, value, self.period * READING_LOOKS, &mut self.all, now);
    }

    fn late(&mut self, late: Duration, now: MonoTime) {
        // A stall is over when it is seen, and is told by the detector.
        if late < Lateness::THRESHOLD {
            self.measure(Watched::lateness(), late.as_secs_f64() * 1e3, now);
        }
    }

    fn lag(&mut self, committed: u64, applied: u64, now: MonoTime) {
        let lag = self.lag.look(committed, applied, now);
        self.measure(Watched::apply_lag(), lag.as_secs_f64() * 1e3, now);
    }

    fn synced(&mut self, took: Duration, now: MonoTime) {
        if let Some(fsync) = self.fsync {
            self.measure(fsync, took.as_secs_f64() * 1e3, now);
        }
    }

    fn read(&mut self, read: Readings, pretended: u64, now: MonoTime) {
        // The limit of a series stands: it is what the first look found.
        let disk = *self.disk.get_or_insert_with(|| Watched::disk_free(read.held));
        let free = if pretended == REAL { read.disk_free } else { Some(pretended) };
        if let Some(free) = free {
            self.measure(disk, free as f64, now);
        }
        if let Some(used) = read.memory_used {
            self.measure(Watched::memory(), used, now);
        }
    }

    fn evaluate(&mut self, now: MonoTime) {
        self.trends.evaluate(&mut self.all, now);
        let expected = NodeForecasts::of(self.trends.forecasts());
        if expected == self.expected {
            return;
        }
        for news in changes(&self.expected, &expected) {
            let quantity = news.quantity;
            let numbers = news.forecast.map(|forecast| format!(": {forecast}")).unwrap_or_default();
            match news.to {
                Outlook::FailurePredicted => info!("this node is predicted to fail{numbers}"),
                Outlook::Degrading => info!("this node is getting worse{numbers}"),
                Outlook::Calm => info!("this node is not predicted to fail any more by its {quantity}"),
            }
        }
        (self.expected, self.at) = (expected, now);
    }

    /// What the others are to be told `now`, if it is news.
    fn take_news(&mut self, now: MonoTime) -> Option<NodeForecasts> {
        let later = |all: &NodeForecasts, at: MonoTime| NodeForecasts::of(all.iter().map(|it| it.later(now.since(at))));
        let current = later(&self.expected, self.at);
        let is_news = match &self.told {
            None => !current.is_empty(),
            Some((_, at)) if now.since(*at) < TELL_INTERVAL => false,
            Some((told, at)) => {
                let is_old = !current.is_empty() && now.since(*at) >= TELL_AGAIN;
                let told = later(told, *at);
                let same =
                    |it: &Forecast| told.get(it.quantity()).is_some_and(|told| !it.is_news(told, Duration::ZERO));
                is_old || current.iter().count() != told.iter().count() || !current.iter().all(same)
            }
        };
        is_news.then(|| {
            self.told = Some((current.clone(), now));
            current
        })
    }

    fn publish(&mut self, gossip: &Gossip, now: MonoTime) {
        let Some(news) = self.take_news(now) else { return };
        if news.is_empty() {
            gossip.retract(NODE_KEY);
        } else if let Err(error) = gossip.publish(NODE_KEY, &news.encode()) {
            debug!(%error, "what this node expects of itself finds no room in gossip: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
