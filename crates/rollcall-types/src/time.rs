//! Time as plain numbers. Nothing here reads a clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A reading of a monotonic clock, as the time since an arbitrary start that all readings of one process share.
///
/// It says nothing to another process: what is sent is a span ("silent for 300 ms"), never a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoTime(Duration);

impl MonoTime {
    /// The reading taken `elapsed` after the start.
    pub const fn new(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long before this reading `earlier` was taken; zero when it was not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The reading `span` later.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z. Wall-clock time for people: shown and compared, never used to order writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// Latest accepted time, 9999-12-31T23:59:59.999Z, so that every value can be printed as RFC 3339.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Wraps a count of milliseconds, held at [`Self::MAX`].
    pub const fn new(raw: u64) -> Self {
        Self(if raw > Self::MAX.0 { Self::MAX.0 } else { raw })
    }

    /// The count of milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This time and `millis` later, held at [`Self::MAX`].
    #[must_use]
    pub const fn plus(self, millis: Millis) -> Self {
        Self::new(self.0.saturating_add(millis.get()))
    }
}

impl From<u64> for UnixMillis {
    fn from(raw: u64) -> Self {
        Self::new(raw)
    }
}

impl From<UnixMillis> for u64 {
    fn from(time: UnixMillis) -> Self {
        time.0
    }
}

/// A span of time in milliseconds. At most 365 days, so that sums of a few cannot overflow anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Millis(u64);

impl Millis {
    /// The longest span, 365 days.
    pub const MAX: Self = Self(365 * 24 * 3_600_000);

    /// A span known when compiling.
    ///
    /// # Panics
    /// When `raw` is above [`Self::MAX`].
    pub const fn new(raw: u64) -> Self {
        assert!(raw <= Self::MAX.0, "a span is at most 365 days");
        Self(raw)
    }

    /// The count of milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The same span for the standard library.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Accepts `raw` when it lies in `min..=max`.
    ///
    /// # Errors
    /// [`Invalid`] with the range otherwise.
    pub fn within(raw: u64, min: Self, max: Self) -> Result<Self, Invalid> {
        if (min.0..=max.0).contains(&raw) {
            Ok(Self(raw))
        } else {
            Err(Invalid::new(format!("be {} to {} milliseconds", min.0, max.0), raw))
        }
    }
}

impl TryFrom<u64> for Millis {
    type Error = Invalid;

    fn try_from(raw: u64) -> Result<Self, Invalid> {
        Self::within(raw, Self(0), Self::MAX)
    }
}

impl From<Millis> for u64 {
    fn from(millis: Millis) -> Self {
        millis.0
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms % 1000 == 0 => write!(f, "{}s", ms / 1000),
            ms => write!(f, "{ms}ms"),
        }
    }
}
