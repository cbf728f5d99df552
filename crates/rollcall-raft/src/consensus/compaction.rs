//! When a snapshot is written, so that the log can be cut: in a calm moment.
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
//! Limit: a node that dies in the middle of such a load replays that much more when it starts: 70,000 entries took it 0.4 s.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Core;
use crate::snapshot::SnapshotInfo;

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

/// The log at one look.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    /// Last entry that is applied.
    applied: u64,
    /// Bytes of all entries so far, whichever origin they are counted from.
    bytes: u64,
    /// The newest snapshot; all 0 when there is none.
    newest: Newest,
}

/// A snapshot: the last entry in it, its records, and its bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Newest {
    index: u64,
    records: u64,
    bytes: u64,
}

impl From<&SnapshotInfo> for Newest {
    fn from(info: &SnapshotInfo) -> Self {
        Self { index: info.index, records: info.records, bytes: info.bytes }
    }
}

/// What the looks before have shown.
#[derive(Debug, Default)]
struct Pace {
    last: Look,
    /// The bytes when the newest snapshot was first seen.
    bytes_then: u64,
}

impl Pace {
    /// Whether to write a snapshot now.
    fn is_time(&mut self, look: Look) -> bool {
        let Look { applied, bytes, newest } = look;
        if newest.index != self.last.newest.index {
            self.bytes_then = bytes;
        }
        let recent = applied.saturating_sub(self.last.applied);
        self.last = look;
        let entries = applied.saturating_sub(newest.index);
        let is_due = recent < CALM && entries >= DUE.max(newest.records / 4);
        let is_overdue = entries >= OVERDUE.max(newest.records / 2)
            || bytes.saturating_sub(self.bytes_then) >= OVERDUE_BYTES.max(newest.bytes);
        is_due || is_overdue
    }
}

impl Core {
    fn look_at_log(&self) -> Look {
        let newest = self.snapshots.current().map(|stored| Newest::from(&stored.info));
        Look { applied: self.catalog().revision().get(), bytes: self.syncs.bytes(), newest: newest.unwrap_or_default() }
    }
}

/// Has snapshots written for as long as the node runs.
pub(super) async fn run(core: Arc<Core>) {
    let mut pace = Pace { last: core.look_at_log(), bytes_then: 0 };
    // Not at once: a node that has just started may have a lot to catch up with.
    let mut looks = interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if pace.is_time(core.look_at_log()) {
            // An error means that openraft has stopped, which others notice.
            let _ = core.raft.trigger().snapshot().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_OF_ENTRY: u64 = 300;

    /// Where snapshots are taken when `per_look` entries of so many bytes come between two looks, of a catalogue of `records`.
    fn taken(per_look: u64, looks: u64, records: u64, bytes_of_entry: u64) -> Vec<u64> {
        let mut pace = Pace::default();
        let mut newest = Newest::default();
        let mut taken = Vec::new();
        for number in 1..=looks {
            let applied = number * per_look;
            // It knows how many records there are after the first snapshot only.
            newest.records = records;
            newest.bytes = records * bytes_of_entry;
            if pace.is_time(Look { applied, bytes: applied * bytes_of_entry, newest }) {
                taken.push(applied);
                newest.index = applied;
            }
        }
        taken
    }

    #[test]
    fn few_writes_a_second_leave_time_for_a_snapshot_every_20_000() {
        assert_eq!(taken(1_000, 65, 30_000, BYTES_OF_ENTRY), [20_000, 40_000, 60_000]);
        assert!(taken(1, 1_000, 0, BYTES_OF_ENTRY).is_empty());
    }

    #[test]
    fn under_a_load_of_writes_it_is_put_off_to_100_000() {
        assert_eq!(taken(10_000, 25, 150_000, BYTES_OF_ENTRY), [100_000, 200_000]);
    }

    #[test]
    fn the_first_calm_second_after_a_load_is_used() {
        let mut pace = Pace::default();
        let mut look = |applied| {
            let is_time = pace.is_time(Look { applied, ..Look::default() });
            (applied, is_time)
        };
        assert_eq!([50_000, 90_000, 90_000].map(&mut look), [(50_000, false), (90_000, false), (90_000, true)]);
    }

    #[test]
    fn a_large_catalogue_is_written_less_often() {
        assert_eq!(taken(1_000, 550, 1_000_000, BYTES_OF_ENTRY), [250_000, 500_000]);
        assert_eq!(taken(50_000, 24, 1_000_000, BYTES_OF_ENTRY), [500_000, 1_000_000]);
    }

    #[test]
    fn long_entries_are_not_let_grow_to_gigabytes() {
        assert_eq!(taken(3_000, 20, 1_000, 10 << 10), [27_000, 57_000]);
    }

    #[test]
    fn a_snapshot_that_came_from_the_leader_counts() {
        let mut pace = Pace { last: Look { applied: 1_000, ..Look::default() }, bytes_then: 0 };
        let mut look = |index| {
            let newest = Newest { index, records: 10_000, bytes: 1 << 20 };
            pace.is_time(Look { applied: 500_000, bytes: 4 << 30, newest })
        };
        assert!(!look(499_000));
        assert!(!look(501_000), "it is ahead of what is applied, for a moment");
    }
}
