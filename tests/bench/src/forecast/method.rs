//! Ours and the three usual ways, each fed one latency a bucket.
//!
//! All have the same hysteresis: three buckets in a row set an alarm, five clear it.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use rollcall_health::forecast::{Options, Outlook, Scratch, Series, Signal};
use rollcall_types::MonoTime;

use super::trace::THRESHOLD_MS;

/// Buckets of ten minutes: how far ahead a method looks.
pub(crate) const HORIZON: f64 = 60.0;
/// Buckets of no alarm at the beginning, while a method gets to know its series.
const WARM_UP: usize = 20;

/// What a method says after a bucket.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Say {
    pub(crate) alarm: bool,
    /// Buckets until the failure: earliest, likely, latest. The outer ones are for methods that know an interval.
    pub(crate) due: Option<(f64, f64, f64)>,
}

/// A way to predict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    /// Ours.
    Rollcall,
    /// Alarm at this share of the threshold.
    Static { share: f64 },
    /// Double exponential smoothing of the logarithm (Holt 1957): `level` and `trend` are its two factors. Alarm when
    /// the threshold is within the horizon.
    Holt { level: f64, trend: f64 },
    /// Cumulative sum (Page 1954) of the logarithm in deviations above what the first ten minutes were: slack and limit.
    Cusum { slack: f64, limit: f64 },
}

/// A method at work on one series.
pub(crate) enum Worker {
    Rollcall { series: Box<Series>, scratch: Scratch, bucket: u32 },
    Static { limit: f64, latch: Latch },
    Holt { factors: (f64, f64), level: f64, slope: f64, seen: usize, latch: Latch },
    Cusum { slack: f64, limit: f64, seen: usize, mean: f64, squares: f64, sum: f64 },
}

#[derive(Debug, Default)]
pub(crate) struct Latch {
    is_set: bool,
    against: u32,
}

impl Latch {
    fn turn(&mut self, input: bool) -> bool {
        self.against = if input == self.is_set { 0 } else { self.against + 1 };
        if self.against == if self.is_set { 5 } else { 3 } {
            *self = Self { is_set: input, against: 0 };
        }
        self.is_set
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rollcall => f.write_str("**Rollcall**"),
            Self::Static { share } => write!(f, "static at {share}"),
            Self::Holt { level, trend } => write!(f, "Holt {level}, {trend}"),
            Self::Cusum { slack, limit } => write!(f, "CUSUM {slack}, {limit}"),
        }
    }
}

impl Method {
    /// Starts it on a new series.
    pub(crate) fn start(self) -> Result<Worker> {
        Ok(match self {
            Self::Rollcall => {
                let signal = Signal::above(THRESHOLD_MS)?;
                let series = Box::new(Series::new(signal, Options::default(), MonoTime::default()));
                Worker::Rollcall { series, scratch: Scratch::default(), bucket: 0 }
            }
            Self::Static { share } => Worker::Static { limit: share * THRESHOLD_MS, latch: Latch::default() },
            Self::Holt { level, trend } => {
                Worker::Holt { factors: (level, trend), level: 0.0, slope: 0.0, seen: 0, latch: Latch::default() }
            }
            Self::Cusum { slack, limit } => Worker::Cusum { slack, limit, seen: 0, mean: 0.0, squares: 0.0, sum: 0.0 },
        })
    }
}

impl Worker {
    /// Takes in the latency of one bucket.
    pub(crate) fn push(&mut self, latency_ms: f64) -> Result<Say> {
        let log = latency_ms.ln();
        Ok(match self {
            Self::Rollcall { series, scratch, bucket } => {
                let width = Options::default().bucket();
                series.record(latency_ms, MonoTime::new(width * *bucket))?;
                *bucket += 1;
                let _ = series.evaluate(MonoTime::new(width * *bucket), scratch);
                let buckets = |time: Duration| time.as_secs_f64() / width.as_secs_f64();
                let due = series.assessment().and_then(|assessment| assessment.time_to_threshold);
                let due = due
                    .map(|due| (buckets(due.earliest), buckets(due.likely), due.latest.map_or(f64::INFINITY, buckets)));
                Say { alarm: series.outlook() == Outlook::FailurePredicted, due }
            }
            Self::Static { limit, latch } => Say { alarm: latch.turn(latency_ms >= *limit), due: None },
            Self::Holt { factors, level, slope, seen, latch } => {
                *seen += 1;
                let before = *level;
                *level = if *seen == 1 { log } else { factors.0 * log + (1.0 - factors.0) * (before + *slope) };
                *slope = if *seen == 1 { 0.0 } else { factors.1 * (*level - before) + (1.0 - factors.1) * *slope };
                let gap = THRESHOLD_MS.ln() - *level;
                let due = if gap <= 0.0 { Some(0.0) } else { (*slope > 1e-9).then_some(gap / *slope) };
                let alarm = latch.turn(*seen > WARM_UP && due.is_some_and(|due| due <= HORIZON));
                Say { alarm, due: due.map(|due| (due, due, due)) }
            }
            Self::Cusum { slack, limit, seen, mean, squares, sum } => {
                *seen += 1;
                if *seen as f64 <= HORIZON {
                    let off = log - *mean;
                    *mean += off / *seen as f64;
                    *squares += off * (log - *mean);
                } else {
                    let deviation = (*squares / (HORIZON - 1.0)).sqrt() + 1e-6;
                    *sum = (*sum + ((log - *mean) / deviation).min(4.0) - *slack).max(0.0);
                }
                Say { alarm: *sum > *limit, due: None }
            }
        })
    }
}
