//! How soon one log entry may follow another.

use std::time::Duration;

use rollcall_types::MonoTime;

/// Shortest gap between two entries.
pub const ENTRY_GAP_MIN: Duration = Duration::from_millis(50);
/// Longest gap, in a stream of transitions. What history tells is late by at most so much; a failure of thousands, noticed over
/// some 15 s, then makes a dozen entries.
pub const ENTRY_GAP_MAX: Duration = Duration::from_secs(2);

/// Invariant: `gap` is in [`ENTRY_GAP_MIN`]..=[`ENTRY_GAP_MAX`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Pacing {
    ready_at: MonoTime,
    gap: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { ready_at: MonoTime::default(), gap: ENTRY_GAP_MIN }
    }
}

impl Pacing {
    pub(super) fn ready_at(self) -> MonoTime {
        self.ready_at
    }

    /// An entry is written; when it is full, more waits and should not wait long.
    pub(super) fn wrote(&mut self, is_full: bool, now: MonoTime) {
        let is_stream = self.ready_at != MonoTime::default() && now.since(self.ready_at) < self.gap;
        self.gap = if is_stream && !is_full { (self.gap * 2).min(ENTRY_GAP_MAX) } else { ENTRY_GAP_MIN };
        self.ready_at = now.plus(self.gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When entries are written, in milliseconds, if something new comes all the time until `end`.
    fn stream(end: u64) -> Vec<u64> {
        let mut pacing = Pacing::default();
        let at = |millis| MonoTime::new(Duration::from_millis(millis));
        (1..=end)
            .filter(|millis| {
                let is_ready = pacing.ready_at() <= at(*millis);
                if is_ready {
                    pacing.wrote(false, at(*millis));
                }
                is_ready
            })
            .collect()
    }

    #[test]
    fn gaps_double_in_a_stream() {
        assert_eq!(stream(5_000), [1, 51, 151, 351, 751, 1_551, 3_151]);
    }

    #[test]
    fn fifteen_seconds_of_transitions_are_a_dozen_entries() {
        assert!(stream(15_000).len() <= 12, "and one for what is left");
    }

    #[test]
    fn a_quiet_gap_ends_the_stream_and_a_full_entry_is_followed_soon() {
        let mut pacing = Pacing { ready_at: MonoTime::new(Duration::from_secs(1)), gap: ENTRY_GAP_MAX };
        pacing.wrote(false, pacing.ready_at().plus(ENTRY_GAP_MAX));
        assert_eq!(pacing.gap, ENTRY_GAP_MIN);
        pacing.wrote(true, pacing.ready_at());
        assert_eq!(pacing.gap, ENTRY_GAP_MIN);
    }
}
