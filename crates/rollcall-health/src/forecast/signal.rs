//! What is watched, and how finely.

use std::time::Duration;

/// On which side of its threshold a signal has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fails {
    /// At or above it: latency, error rate, fsync latency, lateness, memory in use.
    Above,
    /// At or below it: free disk.
    Below,
}

/// A measured quantity with the level at which its subject has failed.
///
/// Quantities are positive and have a meaningful zero, in any unit. What lies below [`Self::FLOOR`] or above
/// [`Self::CEILING`] of the threshold counts as that: there is nothing to tell apart out there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signal {
    threshold: f64,
    fails: Fails,
}

/// Why a threshold is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a threshold is a normal number above 0")]
pub struct ThresholdError;

/// Why a sample is refused. It changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// NaN or infinite.
    #[error("a sample is a finite number")]
    NotFinite,
    /// Below 0.
    #[error("a sample is not negative")]
    Negative,
}

impl Signal {
    /// Smallest value that is told apart, as a share of the threshold: 0.1 ms of a second.
    pub const FLOOR: f64 = 1e-4;
    /// Greatest value that is told apart, as a multiple of the threshold.
    pub const CEILING: f64 = 1e4;

    /// A signal that has failed at `threshold` and above.
    ///
    /// # Errors
    /// When `threshold` is not a normal number above 0.
    pub fn above(threshold: f64) -> Result<Self, ThresholdError> {
        Self::new(threshold, Fails::Above)
    }

    /// A signal that has failed at `threshold` and below.
    ///
    /// # Errors
    /// When `threshold` is not a normal number above 0.
    pub fn below(threshold: f64) -> Result<Self, ThresholdError> {
        Self::new(threshold, Fails::Below)
    }

    fn new(threshold: f64, fails: Fails) -> Result<Self, ThresholdError> {
        // A subnormal threshold would have no floor.
        if threshold.is_normal() && threshold > 0.0 { Ok(Self { threshold, fails }) } else { Err(ThresholdError) }
    }

    /// The level at which it has failed.
    pub const fn threshold(self) -> f64 {
        self.threshold
    }

    /// The side of the threshold on which it has failed.
    pub const fn fails(self) -> Fails {
        self.fails
    }

    /// A sample as a multiple of the threshold, within floor and ceiling.
    pub(super) fn ratio(self, value: f64) -> Result<f64, SampleError> {
        if !value.is_finite() {
            Err(SampleError::NotFinite)
        } else if value < 0.0 {
            Err(SampleError::Negative)
        } else {
            Ok((value / self.threshold).clamp(Self::FLOOR, Self::CEILING))
        }
    }

    /// +1 when rising is what makes it fail, −1 when falling is.
    pub(super) const fn towards_failure(self) -> f64 {
        match self.fails {
            Fails::Above => 1.0,
            Fails::Below => -1.0,
        }
    }
}

/// How finely and how far back a series looks. It looks as far ahead as it looks back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Options {
    bucket: Duration,
    window: u8,
}

/// Why options are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The bucket lies outside [`Options::BUCKET_MIN`] to [`Options::BUCKET_MAX`].
    #[error("a bucket lasts from 10 ms to an hour")]
    Bucket,
    /// The window lies outside [`Options::WINDOW_MIN`] to [`Options::WINDOW_MAX`].
    #[error("a window has 20 to 240 buckets")]
    Window,
}

impl Options {
    /// Shortest bucket.
    pub const BUCKET_MIN: Duration = Duration::from_millis(10);
    /// Longest bucket.
    pub const BUCKET_MAX: Duration = Duration::from_secs(3600);
    /// Fewest buckets: half of them must do for the normal score of Mann and Kendall, which needs 10.
    pub const WINDOW_MIN: usize = 20;
    /// Most buckets. An evaluation takes time in proportion to their square.
    pub const WINDOW_MAX: usize = 240;

    /// Buckets of a minute, 60 of them, for what fills over hours.
    pub const SLOW: Self = Self { bucket: Duration::from_secs(60), window: 60 };

    /// `bucket` is at least the time between two samples, better several times that; `window` counts buckets.
    ///
    /// # Errors
    /// When either is out of range.
    pub fn new(bucket: Duration, window: usize) -> Result<Self, OptionsError> {
        if !(Self::BUCKET_MIN..=Self::BUCKET_MAX).contains(&bucket) {
            return Err(OptionsError::Bucket);
        }
        if !(Self::WINDOW_MIN..=Self::WINDOW_MAX).contains(&window) {
            return Err(OptionsError::Window);
        }
        Ok(Self { bucket, window: window as u8 })
    }

    /// Time that one bucket covers.
    pub const fn bucket(self) -> Duration {
        self.bucket
    }

    /// Buckets looked back, and looked ahead.
    pub const fn window(self) -> usize {
        self.window as usize
    }
}

impl Default for Options {
    /// Buckets of 10 s, 60 of them: ten minutes back, ten minutes ahead.
    fn default() -> Self {
        Self { bucket: Duration::from_secs(10), window: 60 }
    }
}
