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
//! openraft keeps some thousand entries behind a snapshot, so that a node that was away a moment catches up from the log. After so
//! many bytes they are too long to be kept: the log is cut at the snapshot.
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

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    WriteSnapshot,
    /// Remove all entries up to this one, which the newest snapshot holds.
    CutLog(u64),
}

impl Pace {
    fn next(&mut self, look: Look) -> Option<Step> {
        let Look { applied, bytes, newest } = look;
        let before = std::mem::replace(&mut self.last, look);
        let is_long = bytes.saturating_sub(self.bytes_then) >= OVERDUE_BYTES.max(newest.bytes);
        if newest.index != before.newest.index {
            self.bytes_then = bytes;
            return is_long.then_some(Step::CutLog(newest.index));
        }
        let recent = applied.saturating_sub(before.applied);
        let entries = applied.saturating_sub(newest.index);
        let is_due = recent < CALM && entries >= DUE.max(newest.records / 4);
        let is_overdue = is_long || entries >= OVERDUE.max(newest.records / 2);
        (is_due || is_overdue).then_some(Step::WriteSnapshot)
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
        let trigger = core.raft.trigger();
        // An error means that openraft has stopped, which others notice.
        let _ = match pace.next(core.look_at_log()) {
            Some(Step::WriteSnapshot) => trigger.snapshot().await,
            Some(Step::CutLog(index)) => trigger.purge_log(index).await,
            None => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_OF_ENTRY: u64 = 300;

    /// What is done, and up to which entry, when `per_look` entries of so many bytes come between two looks, of a catalogue of
    /// `records`.
    fn done(per_look: u64, looks: u64, records: u64, bytes_of_entry: u64) -> Vec<(u64, Step)> {
        let mut pace = Pace::default();
        let mut newest = Newest { index: 0, records, bytes: records * bytes_of_entry };
        let mut done = Vec::new();
        for applied in (1..=looks).map(|number| number * per_look) {
            let step = pace.next(Look { applied, bytes: applied * bytes_of_entry, newest });
            done.extend(step.map(|step| (applied, step)));
            if step == Some(Step::WriteSnapshot) {
                newest.index = applied;
            }
        }
        done
    }

    #[track_caller]
    fn check_written(per_look: u64, looks: u64, records: u64, expected: &[u64]) {
        let expected: Vec<_> = expected.iter().map(|applied| (*applied, Step::WriteSnapshot)).collect();
        assert_eq!(done(per_look, looks, records, BYTES_OF_ENTRY), expected);
    }

    #[test]
    fn few_writes_a_second_leave_time_for_a_snapshot_every_20_000() {
        check_written(1_000, 65, 30_000, &[20_000, 40_000, 60_000]);
        check_written(1, 1_000, 0, &[]);
    }

    #[test]
    fn under_a_load_of_writes_it_is_put_off_to_100_000() {
        check_written(10_000, 25, 150_000, &[100_000, 200_000]);
    }

    #[test]
    fn the_first_calm_second_after_a_load_is_used() {
        let mut pace = Pace::default();
        let look = |applied| pace.next(Look { applied, ..Look::default() });
        assert_eq!([50_000, 90_000, 90_000].map(look), [None, None, Some(Step::WriteSnapshot)]);
    }

    #[test]
    fn a_large_catalogue_is_written_less_often() {
        check_written(1_000, 550, 1_000_000, &[250_000, 500_000]);
        check_written(50_000, 24, 1_000_000, &[500_000, 1_000_000]);
    }

    #[test]
    fn long_entries_are_not_let_grow_to_gigabytes_nor_kept_behind_a_snapshot() {
        let (write, cut) = (Step::WriteSnapshot, Step::CutLog);
        let expected = [(540, write), (550, cut(540)), (1_090, write), (1_100, cut(1_090))];
        assert_eq!(done(10, 115, 100, 500_000), expected);
    }

    #[test]
    fn a_snapshot_that_came_from_the_leader_counts() {
        let mut pace = Pace { last: Look { applied: 1_000, ..Look::default() }, bytes_then: 0 };
        let look = |index| {
            pace.next(Look {
                applied: 500_000,
                bytes: 1 << 20,
                newest: Newest { index, records: 10_000, bytes: 1 << 20 },
            })
        };
        // The second is ahead of what is applied, for a moment.
        assert_eq!([499_000, 501_000].map(look), [None, None]);
    }
}
