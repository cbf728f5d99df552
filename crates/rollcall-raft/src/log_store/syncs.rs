//! How long the log takes to be on disk.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The writes that were on disk since somebody last asked: their count, and the sum of their times.
///
/// A time begins when entries are handed to the flush thread, and so holds what they wait for the sync before theirs: that is
/// what a leader and its followers wait for.
#[derive(Debug, Default)]
pub(crate) struct Syncs(Mutex<(u32, Duration)>);

impl Syncs {
    pub(super) fn done(&self, took: Duration) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.0 = since.0.saturating_add(1);
        since.1 = since.1.saturating_add(took);
    }

    /// The mean time of a write since this was last called; `None` when nothing was written.
    pub(crate) fn take_mean(&self) -> Option<Duration> {
        let (count, sum) = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        sum.checked_div(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_of_what_was_written_since_the_last_one() {
        let syncs = Syncs::default();
        assert_eq!(syncs.take_mean(), None);
        syncs.done(Duration::from_millis(1));
        syncs.done(Duration::from_millis(3));
        assert_eq!(syncs.take_mean(), Some(Duration::from_millis(2)));
        assert_eq!(syncs.take_mean(), None);
    }
}
