//! Durations as people type them: `250ms`, `60s`, `5m`, `1h`.

use std::time::Duration;

pub(crate) use rollcall_server::parse_duration;

/// The duration in whole milliseconds, as the HTTP API takes it. Longer than 584 million years is capped.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
