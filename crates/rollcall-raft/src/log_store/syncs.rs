//! How long the log takes to be on disk, and why it cannot get there.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The writes that were on disk since somebody last asked: their count, and the sum of their times.
///
/// A time begins when entries are handed to the flush thread, and so holds what they wait for the sync before theirs: that is
/// what a leader and its followers wait for.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    since: Mutex<(u32, Duration)>,
    failure: OnceLock<String>,
}

impl Syncs {
    pub(super) fn done(&self, took: Duration) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.0 = since.0.saturating_add(1);
        since.1 = since.1.saturating_add(took);
    }

    /// A write failed. What fails after it does so because of the first, and in words that say less.
    pub(super) fn failed(&self, error: &io::Error) {
        self.failure.get_or_init(|| format!("cannot write the log: {error}"));
    }

    /// How the first write failed that did.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The mean time of a write since this was last called; `None` when nothing was written.
    pub(crate) fn take_mean(&self) -> Option<Duration> {
        let (count, sum) = std::mem::take(&mut *self.since.lock().unwrap_or_else(PoisonError::into_inner));
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

    #[test]
    fn what_failed_first_is_the_cause() {
        let syncs = Syncs::default();
        assert_eq!(syncs.failure(), None);
        syncs.failed(&io::Error::from(io::ErrorKind::StorageFull));
        syncs.failed(&io::Error::other("sending on a closed channel"));
        assert_eq!(syncs.failure(), Some("cannot write the log: no storage space"));
    }
}
