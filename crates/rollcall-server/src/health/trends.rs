//! Where an instance is heading that this node probes: a series for each thing that is measured of it.
//!
//! | sample | of | from |
//! |---|---|---|
//! | latency, against the timeout | each check that is probed | each run that was answered, or timed out |
//! | error rate | the instance | the mean that the score uses, or what the instance says, whichever is worse |
//! | CPU, memory, requests in flight | the instance | its metrics page |
//!
//! A series begins with the first sample that is not zero: an instance that never fails has no series of errors. It is evaluated
//! with each outcome, which does something once a bucket. A bucket lasts as long as is configured, but no shorter than the
//! interval of the check: below that most buckets would be empty, and a series of holes is never assessed. Memory and disks
//! fill more slowly than all else, and have buckets that are six times as long. What a node measures of itself goes the same way:
//! see [`crate::vitals`].
//!
//! Limits: all series of a node take at most [`BYTES_MAX`]; some 0.6 KB each with a window of 60, so 50,000 series. What comes
//! beyond that has no trend, and is counted in `rollcall_forecast_without_room`. Above 20,000 instances for each node, two
//! series for each still fit. Of an instance that changes its prober the new one begins anew.

use std::time::Duration;

use rollcall_health::check::{Answer, Failure, Load, Outcome};
use rollcall_health::forecast::{
    Change, Forecast, Options, Outlook, Prospect, Quantity, Scratch, Seen, Series, ThresholdError, Watched,
};
use rollcall_health::{TimeToFailure, Trend};
use rollcall_types::MonoTime;

/// Most bytes that all series of a node take.
pub(crate) const BYTES_MAX: usize = 32 << 20;
/// Buckets of memory and disks are so many times as long as those of all else.
const SLOW_BUCKETS: u32 = 6;

/// What all series of a node share.
pub(crate) struct Forecasting {
    options: Options,
    scratch: Scratch,
    bytes: usize,
    bytes_max: usize,
    without_room: u64,
}

/// One series, and what it is of.
struct Kept {
    /// The place of its check in the record; 0 of what is not of a check.
    check: usize,
    watched: Watched,
    series: Series,
}

impl Kept {
    fn seen(&self) -> Seen<'_> {
        Seen { watched: self.watched, series: &self.series }
    }
}

/// The series of one instance, or of this node.
#[derive(Default)]
pub(crate) struct Trends {
    kept: Vec<Kept>,
    outlook: Outlook,
}

/// What is expected of an instance has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct News {
    /// How.
    pub(crate) change: Change,
    /// The numbers, while anything is expected.
    pub(crate) forecast: Option<Forecast>,
}

impl Forecasting {
    /// With windows like this one.
    pub(crate) fn new(options: Options) -> Self {
        Self { options, scratch: Scratch::default(), bytes: 0, bytes_max: BYTES_MAX, without_room: 0 }
    }

    /// Bytes that all series take now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Samples that began no series because there was no room.
    pub(crate) fn without_room(&self) -> u64 {
        self.without_room
    }

    /// The windows of a quantity that is sampled once an `interval`.
    fn options_of(&self, quantity: Quantity, interval: Duration) -> Options {
        let configured = self.options.bucket();
        let is_slow = matches!(quantity, Quantity::Memory | Quantity::DiskFree);
        let slow = if is_slow { configured.saturating_mul(SLOW_BUCKETS) } else { configured };
        let bucket = slow.max(interval).min(Options::BUCKET_MAX);
        Options::new(bucket, self.options.window()).unwrap_or(self.options)
    }

    fn size_of(&self) -> usize {
        size_of::<Kept>() + size_of::<f32>() * self.options.window()
    }

    fn take_room(&mut self) -> bool {
        let has_room = self.bytes + self.size_of() <= self.bytes_max;
        if has_room {
            self.bytes += self.size_of();
        } else {
            self.without_room += 1;
        }
        has_room
    }

    /// Gives back the room of an instance that is not looked at any more.
    pub(crate) fn release(&mut self, trends: &Trends) {
        self.bytes -= trends.kept.len() * self.size_of();
    }
}

/// A check of which there is an outcome.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked {
    /// Its place in the record.
    pub(crate) index: usize,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
}

impl Trends {
    /// Takes in how long a check took.
    pub(crate) fn latency(&mut self, check: Checked, outcome: Outcome, all: &mut Forecasting, now: MonoTime) {
        let latency = match outcome.answer {
            Answer::Passed | Answer::Strained => outcome.latency,
            Answer::Failed(Failure::Timeout) => outcome.latency.max(check.timeout),
            // What refuses at once is not fast.
            Answer::Failed(_) | Answer::PutOff => return,
        };
        let sample = latency.as_secs_f64() * 1e3;
        self.sample((check.index, || Watched::latency(check.timeout)), sample, check.interval, all, now);
    }

    /// Takes in the mean share of failures; sampled once an `interval`.
    pub(crate) fn errors(&mut self, share: f64, interval: Duration, all: &mut Forecasting, now: MonoTime) {
        self.sample((0, || Ok(Watched::error_rate())), share, interval, all, now);
    }

    /// Takes in what the instance says of its resources.
    pub(crate) fn load(&mut self, load: &Load, interval: Duration, all: &mut Forecasting, now: MonoTime) {
        let resources: [(fn() -> Watched, _); 3] =
            [(Watched::cpu, load.cpu), (Watched::memory, load.memory), (Watched::in_flight, load.in_use())];
        for (watched, used) in resources {
            if let Some(used) = used {
                self.sample((0, || Ok(watched())), used, interval, all, now);
            }
        }
    }

    /// Takes in a sample of what is not of a check; sampled once an `interval`.
    pub(crate) fn measure(
        &mut self,
        watched: Watched,
        value: f64,
        interval: Duration,
        all: &mut Forecasting,
        now: MonoTime,
    ) {
        self.sample((0, || Ok(watched)), value, interval, all, now);
    }

    fn sample(
        &mut self,
        (check, watched): (usize, impl FnOnce() -> Result<Watched, ThresholdError>),
        value: f64,
        interval: Duration,
        all: &mut Forecasting,
        now: MonoTime,
    ) {
        // A timeout of 0 is refused at registration.
        let Ok(watched) = watched() else { return };
        let is_it = |kept: &&mut Kept| (kept.check, kept.watched.quantity()) == (check, watched.quantity());
        let kept = match self.kept.iter_mut().find(is_it) {
            Some(kept) => kept,
            None if value > 0.0 && all.take_room() => {
                let series = Series::new(watched.signal(), all.options_of(watched.quantity(), interval), now);
                self.kept.push_mut(Kept { check, watched, series })
            }
            None => return,
        };
        // What is no number or below 0 is no sample; it came from the instance.
        _ = kept.series.record(value, now);
    }

    /// Looks at the buckets that are over. Returns what changed of what is expected of the instance, if anything did.
    pub(crate) fn evaluate(&mut self, all: &mut Forecasting, now: MonoTime) -> Option<News> {
        let mut is_withdrawn = false;
        for kept in &mut self.kept {
            let event = kept.series.evaluate(now, &mut all.scratch);
            is_withdrawn |= event.is_some_and(|event| event.change == Change::Withdrawn);
        }
        let after = self.prospect().outlook;
        let before = std::mem::replace(&mut self.outlook, after);
        let change = match after {
            _ if after == before => return None,
            Outlook::FailurePredicted => Change::PredictedFailure,
            Outlook::Degrading => Change::Degrading,
            Outlook::Calm if is_withdrawn => Change::Withdrawn,
            Outlook::Calm => Change::Recovered,
        };
        Some(News { change, forecast: self.forecast() })
    }

    /// Where it is heading: the worst of all.
    pub(crate) fn trend(&self) -> Trend {
        self.kept.iter().map(|kept| kept.series.trend()).max().unwrap_or_default()
    }

    /// When it is predicted to fail: the soonest of all.
    pub(crate) fn time_to_failure(&self) -> TimeToFailure {
        self.kept.iter().map(|kept| kept.series.time_to_failure()).max().unwrap_or_default()
    }

    /// The numbers of what decides; `None` while nothing is expected.
    pub(crate) fn forecast(&self) -> Option<Forecast> {
        self.prospect().decisive?.forecast()
    }

    /// The numbers of each series of which anything is expected.
    pub(crate) fn forecasts(&self) -> impl Iterator<Item = Forecast> {
        self.kept.iter().filter_map(|kept| Prospect::of([kept.seen()]).decisive?.forecast())
    }

    fn prospect(&self) -> Prospect {
        Prospect::of(self.kept.iter().map(Kept::seen))
    }
}

#[cfg(test)]
pub(super) mod tests;
