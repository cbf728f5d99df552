//! The two clocks: a monotonic one for everything that is decided, the wall clock for what people read.

use std::time::{SystemTime, UNIX_EPOCH};

use rollcall_types::{MonoTime, UnixMillis};
use tokio::time::Instant;

/// Readings of the monotonic clock since the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(self) -> MonoTime {
        MonoTime::new(self.origin.elapsed())
    }
}

/// The wall clock now.
pub(crate) fn unix_now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The wall-clock time of a reading, as seen from now.
pub(crate) fn unix_at(reading: MonoTime, clock: Clock) -> UnixMillis {
    let ago = clock.now().since(reading).as_millis();
    UnixMillis::new(unix_now().get().saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX)))
}
