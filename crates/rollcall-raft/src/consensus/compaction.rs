//! When a snapshot is written, so that the log can be cut: in a calm moment.
//!
//! The shorter the log, the less a start replays, some 6 µs an entry. But writing a snapshot costs as much as applying its records
//! anew, and under a load of writes that time is taken from them: a snapshot every 20,000 entries was an eighth of all that three
//! nodes did at 12,000 writes a second. So there are two bounds:
//! - a snapshot is *due* after [`DUE`] entries, and waits for a second in which fewer than [`CALM`] come;
//! - it is *overdue* after [`OVERDUE`] entries, and is then written whatever comes.
//!
//! Both grow with the catalogue, so that what is spent on snapshots stays in proportion: to as many entries as a quarter and half of
//! the records in the last one.
//!
//! Limit: a node that dies in the middle of such a load replays that much more when it starts: 70,000 entries took it 0.4 s.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Core;

/// Between two looks at the log.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Entries after which a snapshot is worth writing when there is time.
const DUE: u64 = 20_000;
/// Entries after which it is written in any case: as many as etcd and ZooKeeper let come between two.
const OVERDUE: u64 = 100_000;
/// Entries between two looks below which writing disturbs nobody.
const CALM: u64 = 2_000;

/// How far the log had come at the last look.
struct Pace {
    seen: u64,
}

impl Pace {
    /// Whether to write a snapshot now that entries up to `applied` are in the state. The newest one goes up to `index` and has
    /// `records`; both are 0 when there is none.
    fn is_time(&mut self, applied: u64, index: u64, records: u64) -> bool {
        let recent = applied.saturating_sub(self.seen);
        self.seen = applied;
        let entries = applied.saturating_sub(index);
        let is_due = recent < CALM && entries >= DUE.max(records / 4);
        is_due || entries >= OVERDUE.max(records / 2)
    }
}

/// Has snapshots written for as long as the node runs.
pub(super) async fn run(core: Arc<Core>) {
    let applied = || core.catalog().revision().get();
    let mut pace = Pace { seen: applied() };
    // Not at once: a node that has just started may have a lot to catch up with.
    let mut looks = interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let newest = core.snapshots.current();
        let (index, records) = newest.map_or((0, 0), |stored| (stored.info.index, stored.info.records));
        if pace.is_time(applied(), index, records) {
            // An error means that openraft has stopped, which others notice.
            let _ = core.raft.trigger().snapshot().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where snapshots are taken when `per_look` entries come between two looks, of a catalogue of `records`.
    fn taken(per_look: u64, looks: u64, records: u64) -> Vec<u64> {
        let mut pace = Pace { seen: 0 };
        let mut index = 0;
        let mut taken = Vec::new();
        for look in 1..=looks {
            let applied = look * per_look;
            if pace.is_time(applied, index, records) {
                taken.push(applied);
                index = applied;
            }
        }
        taken
    }

    #[test]
    fn few_writes_a_second_leave_time_for_a_snapshot_every_20_000() {
        assert_eq!(taken(1_000, 65, 30_000), [20_000, 40_000, 60_000]);
        assert!(taken(1, 1_000, 0).is_empty());
    }

    #[test]
    fn under_a_load_of_writes_it_is_put_off_to_100_000() {
        assert_eq!(taken(10_000, 25, 150_000), [100_000, 200_000]);
    }

    #[test]
    fn the_first_calm_second_after_a_load_is_used() {
        let mut pace = Pace { seen: 0 };
        assert!(!pace.is_time(50_000, 0, 0));
        assert!(!pace.is_time(90_000, 0, 0));
        assert!(pace.is_time(90_000, 0, 0));
        assert!(!pace.is_time(90_010, 90_000, 150_000));
    }

    #[test]
    fn a_large_catalogue_is_written_less_often() {
        assert_eq!(taken(1_000, 550, 1_000_000), [250_000, 500_000]);
        assert_eq!(taken(50_000, 24, 1_000_000), [500_000, 1_000_000]);
    }

    #[test]
    fn a_snapshot_that_came_from_the_leader_counts() {
        let mut pace = Pace { seen: 1_000 };
        assert!(!pace.is_time(500_000, 499_000, 10_000));
        // One that is ahead of what is applied, for a moment.
        assert!(!pace.is_time(500_000, 501_000, 10_000));
    }
}
