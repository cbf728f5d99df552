//! Samples gathered into buckets, buckets into a window.

use std::collections::VecDeque;
use std::time::Duration;

use rollcall_types::MonoTime;

use super::signal::Options;
use super::trend::median;

/// Samples kept of one bucket. With more, only every second, fourth, … is: the median needs no more.
const SAMPLES: usize = 16;

/// The bucket that is being filled.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    samples: [f32; SAMPLES],
    len: u8,
    /// Samples seen so far.
    seen: u64,
    /// One of `2^thinned` samples is kept.
    thinned: u8,
}

impl Bucket {
    fn add(&mut self, ratio: f32) {
        let is_kept = self.seen.is_multiple_of(1 << self.thinned.min(63));
        self.seen = self.seen.saturating_add(1);
        if !is_kept {
            return;
        }
        if usize::from(self.len) == SAMPLES {
            for kept in 0..SAMPLES / 2 {
                self.samples[kept] = self.samples[2 * kept];
            }
            self.len = (SAMPLES / 2) as u8;
            self.thinned += 1;
        }
        self.samples[usize::from(self.len)] = ratio;
        self.len += 1;
    }

    /// The median of what is kept; NaN of nothing.
    fn median(&self) -> f32 {
        let mut values = self.samples.map(f64::from);
        match usize::from(self.len) {
            0 => f32::NAN,
            len => median(&mut values[..len]) as f32,
        }
    }
}

/// The latest buckets and the one being filled.
///
/// Invariants:
/// - `closed` holds at most as many buckets as its capacity allows; NaN stands for one without a sample, and the first is
///   never NaN.
/// - The open bucket began at `opened`.
///
/// Single precision: seven digits of a multiple of the threshold are more than any trend needs, in half the memory.
#[derive(Debug, Clone)]
pub(super) struct Window {
    options: Options,
    closed: VecDeque<f32>,
    present: u8,
    open: Bucket,
    opened: MonoTime,
}

impl Window {
    pub(super) fn new(options: Options, now: MonoTime) -> Self {
        let closed = VecDeque::with_capacity(options.window());
        Self { options, closed, present: 0, open: Bucket::default(), opened: now }
    }

    pub(super) const fn options(&self) -> Options {
        self.options
    }

    /// Adds a sample to the open bucket, as a multiple of the threshold.
    pub(super) fn add(&mut self, ratio: f64) {
        self.open.add(ratio as f32);
    }

    /// Closes the buckets that are over by `now`. True when one of them had a sample.
    pub(super) fn roll(&mut self, now: MonoTime) -> bool {
        let elapsed = now.since(self.opened).as_nanos();
        let bucket = self.options.bucket().as_nanos();
        let over = elapsed / bucket;
        if over == 0 {
            return false;
        }
        let (value, window) = (self.open.median(), self.options.window());
        self.push(value);
        for _ in 1..over.min(1 + window as u128) {
            self.push(f32::NAN);
        }
        self.open = Bucket::default();
        // Both are below 2^64 seconds, as `now` is.
        let into = elapsed % bucket;
        let into = Duration::new((into / 1_000_000_000) as u64, (into % 1_000_000_000) as u32);
        self.opened = self.opened.plus(now.since(self.opened) - into);
        !value.is_nan()
    }

    fn push(&mut self, value: f32) {
        if self.closed.len() == self.options.window() {
            self.drop_first();
        }
        self.closed.push_back(value);
        self.present += u8::from(!value.is_nan());
        while self.closed.front().is_some_and(|first| first.is_nan()) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let first = self.closed.pop_front();
        self.present -= u8::from(first.is_some_and(|value| !value.is_nan()));
    }

    /// Buckets with a sample.
    pub(super) fn present(&self) -> usize {
        usize::from(self.present)
    }

    /// Place and value of the closed buckets with a sample, in order of time. The latest bucket has the place
    /// [`Self::latest`].
    pub(super) fn values(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let all = self.closed.iter().map(|value| f64::from(*value)).enumerate();
        all.filter(|(_, value)| !value.is_nan())
    }

    /// The place of the latest closed bucket.
    pub(super) fn latest(&self) -> usize {
        self.closed.len().saturating_sub(1)
    }
}
