//! When a snapshot is written, in a calm moment, and how much of the log is kept behind it.
//!
//! The shorter the log, the less a start replays, some 6 µs an entry. But writing a snapshot costs as much as applying its records
//! anew, and under a load of writes that time is taken from them: a snapshot every 20,000 entries was an eighth of all that three
//! nodes did at 12,000 writes a second. So there are two bounds:
//! - a snapshot is *due* after [`DUE`] entries, and waits for a second in which fewer than [`CALM`] come;
//! - it is *overdue* after [`OVERDUE`] entries or [`OVERDUE_BYTES`] bytes of them, and is then written whatever comes.
//!
//! They grow with the catalogue, so that what is spent on snapshots stays in proportion: to as many entries as a quarter and half of
//! the records in the last one, and to as many bytes as it has.
//!
//! Behind a snapshot [`KEPT`] entries stay, so that a node that was away a moment catches up from the log, or fewer when they are
//! longer than [`KEPT_BYTES`] together. How long they are is known by the mean of all in the log.
//!
//! Limits: short entries hide long ones in the mean, so a log may come to about twice its bytes before it is cut. A node that dies in the middle of such a load replays that much more when it starts: 70,000 entries took it 0.4 s. A leader
//! removes nothing that it is sending to a follower, however slow.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Core;

/// Between two looks at the log.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Entries after which a snapshot is worth writing when there is time.
const DUE: u64 = 20_000;
/// Entries after which it is written in any case: as many as etcd 3.4 and ZooKeeper 3.8 let come between two.
const OVERDUE: u64 = 100_000;
/// Bytes of entries after which it is written in any case, 256 MiB: the log is in files of 4 MiB, each of which is kept open.
const OVERDUE_BYTES: u64 = 256 << 20;
/// Entries between two looks below which writing disturbs nobody.
const CALM: u64 = 2_000;
/// Entries kept behind a snapshot at most.
const KEPT: u64 = 5_000;
/// Their bytes at most, 64 MiB.
const KEPT_BYTES: u64 = 64 << 20;
/// Fewer entries are not worth a cut.
const CUT_LEAST: u64 = 256;

/// The log, by its entries, and the newest snapshot. What there is not is 0.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    /// Last entry that was removed.
    purged: u64,
    /// Last entry in the newest snapshot.
    snapshot: u64,
    /// Last entry that is applied.
    applied: u64,
    /// Bytes of the log.
    log_bytes: u64,
    /// Records in the newest snapshot.
    records: u64,
    /// Bytes of the newest snapshot.
    snapshot_bytes: u64,
}

impl Look {
    /// Bytes of an entry. Of a short log it is too much, since its first file may hold what is removed.
    fn mean(&self) -> u64 {
        self.log_bytes / self.applied.saturating_sub(self.purged).max(1)
    }

    /// Whether to write a snapshot when so many entries came since the last look.
    fn is_snapshot_time(&self, recent: u64) -> bool {
        let entries = self.applied.saturating_sub(self.snapshot);
        let is_due = recent < CALM && entries >= DUE.max(self.records / 4);
        let is_long = entries.saturating_mul(self.mean()) >= OVERDUE_BYTES.max(self.snapshot_bytes);
        is_due || is_long || entries >= OVERDUE.max(self.records / 2)
    }

    /// Up to which entry to remove them; `None` when there is nothing to gain.
    fn cut(&self) -> Option<u64> {
        let kept = KEPT.min(KEPT_BYTES / self.mean().max(1));
        let upto = self.snapshot.saturating_sub(kept);
        (upto >= self.purged + CUT_LEAST).then_some(upto)
    }
}

impl Core {
    fn look_at_log(&self) -> Look {
        let newest = self.snapshots.current();
        let (records, snapshot_bytes) = newest.map_or((0, 0), |stored| (stored.info.records, stored.info.bytes));
        let data = self.data.borrow_watched();
        Look {
            purged: data.purged.map_or(0, |id| id.index),
            // The newest that openraft knows of; a file may have got its name a moment ago.
            snapshot: data.snapshot.map_or(0, |id| id.index),
            applied: self.catalog().revision().get(),
            log_bytes: self.log_size.bytes(),
            records,
            snapshot_bytes,
        }
    }
}

/// Has snapshots written and the log cut for as long as the node runs.
pub(super) async fn run(core: Arc<Core>) {
    let mut seen = core.look_at_log().applied;
    // Not at once: a node that has just started may have a lot to catch up with.
    let mut looks = interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let look = core.look_at_log();
        let recent = look.applied.saturating_sub(seen);
        seen = look.applied;
        // Errors mean that openraft has stopped, which others notice.
        if look.is_snapshot_time(recent) {
            let _ = core.raft.trigger().snapshot().await;
        }
        if let Some(upto) = look.cut() {
            let _ = core.raft.trigger().purge_log(upto).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log of a node that writes and cuts as it is told.
    #[derive(Default)]
    struct Log {
        look: Look,
        bytes_of_entry: u64,
    }

    impl Log {
        fn new(records: u64, bytes_of_entry: u64) -> Self {
            let look = Look { records, snapshot_bytes: records * bytes_of_entry, ..Look::default() };
            Self { look, bytes_of_entry }
        }

        /// So many entries come until the next look. Returns whether a snapshot is written then.
        fn add(&mut self, entries: u64) -> bool {
            self.look.applied += entries;
            self.look.log_bytes = (self.look.applied - self.look.purged) * self.bytes_of_entry;
            let is_time = self.look.is_snapshot_time(entries);
            if let Some(upto) = self.look.cut() {
                self.look.purged = upto;
            }
            if is_time {
                self.look.snapshot = self.look.applied;
            }
            is_time
        }

        /// Where snapshots are written when so many come between two looks.
        fn written(&mut self, entries: u64, looks: usize) -> Vec<u64> {
            let mut written = Vec::new();
            for _ in 0..looks {
                if self.add(entries) {
                    written.push(self.look.applied);
                }
            }
            written
        }
    }

    #[test]
    fn few_writes_a_second_leave_time_for_a_snapshot_every_20_000() {
        assert_eq!(Log::new(30_000, 300).written(1_000, 65), [20_000, 40_000, 60_000]);
        assert!(Log::new(0, 300).written(1, 1_000).is_empty());
    }

    #[test]
    fn under_a_load_of_writes_it_is_put_off_to_100_000() {
        assert_eq!(Log::new(150_000, 300).written(10_000, 25), [100_000, 200_000]);
    }

    #[test]
    fn the_first_calm_second_after_a_load_is_used() {
        let mut log = Log::new(0, 300);
        assert_eq!([50_000, 40_000, 0, 0].map(|entries| log.add(entries)), [false, false, true, false]);
    }

    #[test]
    fn a_large_catalogue_is_written_less_often() {
        assert_eq!(Log::new(1_000_000, 100).written(1_000, 550), [250_000, 500_000]);
        assert_eq!(Log::new(1_000_000, 100).written(50_000, 24), [500_000, 1_000_000]);
        // 400 MB of keys, of which 500 KB are written anew at a time.
        assert_eq!(Log::new(800, 500_000).written(100, 20), [800, 1_600]);
    }

    #[test]
    fn behind_a_snapshot_5_000_entries_stay() {
        let mut log = Log::new(0, 300);
        log.written(1_000, 41);
        assert_eq!((log.look.snapshot, log.look.purged), (40_000, 35_000));
    }

    #[test]
    fn long_entries_make_a_snapshot_overdue_and_are_not_kept_behind_it() {
        let mut log = Log::new(100, 500_000);
        assert_eq!(log.written(10, 115), [540, 1_080]);
        assert_eq!(log.look.purged, 1_080 - KEPT_BYTES / 500_000);
        let most = (0..200).map(|_| (log.add(10), log.look.log_bytes).1).max();
        assert!(most.is_some_and(|bytes| bytes < OVERDUE_BYTES + KEPT_BYTES + 20 * 500_000));
    }

    #[test]
    fn a_node_that_starts_again_goes_by_what_is_in_its_log() {
        let look = Look { applied: 600, log_bytes: 600 * 500_000, ..Look::default() };
        assert!(look.is_snapshot_time(0));
        let look = Look { snapshot: 600, ..look };
        assert!(!look.is_snapshot_time(0) && look.cut().is_some());
    }

    #[test]
    fn a_snapshot_that_came_from_the_leader_counts() {
        // The second is ahead of what is applied, for a moment.
        for snapshot in [499_000, 501_000] {
            let look = Look { purged: 496_000, snapshot, applied: 500_000, log_bytes: 2 << 20, ..Look::default() };
            assert!(!look.is_snapshot_time(0) && look.cut().is_none());
        }
    }
}
