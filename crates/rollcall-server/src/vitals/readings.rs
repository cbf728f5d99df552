//! What a node reads of itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rollcall_types::MonoTime;
use rustix::param::page_size;

/// Folders in folders that are looked into for what the node holds.
const DEPTH_MAX: usize = 4;

/// What the system says; `None` where it does not. Blocks as long as the disk does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Readings {
    /// Bytes that this process may still write to the disk of the data directory.
    pub(super) disk_free: Option<u64>,
    /// Bytes of the files in the data directory: the next snapshot and the log beside it need about as many.
    pub(super) held: u64,
    /// Share of the memory in use: of the limit of this process' group or of the machine, whichever is nearer.
    pub(super) memory_used: Option<f64>,
}

impl Readings {
    /// Reads.
    pub(super) fn take(data_dir: &Path) -> Self {
        if cfg!(rollcall_simulation) {
            // What this machine has free is no part of a simulation.
            return Self { disk_free: None, held: 0, memory_used: None };
        }
        let disk = rustix::fs::statvfs(data_dir).ok();
        Self {
            disk_free: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            held: held(data_dir, DEPTH_MAX),
            memory_used: [machine_memory(), group_memory()].into_iter().flatten().reduce(f64::max),
        }
    }
}

fn held(dir: &Path, depth: usize) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() && depth > 0 => held(&entry.path(), depth - 1),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => 0,
    };
    entries.map(size).sum()
}

/// Share of the machine's memory that nobody can have any more (proc_meminfo(5)).
fn machine_memory() -> Option<f64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes = |name: &str| -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let (total, available) = (kilobytes("MemTotal:")?, kilobytes("MemAvailable:")?);
    (total > 0.0).then(|| 1.0 - available / total)
}

/// Share of the limit of this process' control group that this process has in use; `None` without a limit.
fn group_memory() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = fs::read_to_string(Path::new("/sys/fs/cgroup").join(path).join("memory.max")).ok()?;
    let limit: f64 = limit.trim().parse().ok()?;
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let resident: f64 = pages.split_ascii_whitespace().nth(1)?.parse().ok()?;
    (limit > 0.0).then(|| resident * page_size() as f64 / limit)
}

/// How long what is committed waits to be applied: since the first look at which it was committed.
#[derive(Debug, Default)]
pub(super) struct LagClock {
    /// An entry that was committed and not applied, and when that was seen first.
    waiting: Option<(u64, MonoTime)>,
}

impl LagClock {
    /// The lag `now`, at these positions.
    pub(super) fn look(&mut self, committed: u64, applied: u64, now: MonoTime) -> Duration {
        let (lag, is_over) = match self.waiting {
            Some((index, since)) => (now.since(since), applied >= index),
            None => (Duration::ZERO, true),
        };
        if is_over {
            self.waiting = (committed > applied).then_some((committed, now));
        }
        lag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_and_memory_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        fs::write(dir.path().join("log/1"), [0; 1_000]).unwrap();
        let read = Readings::take(dir.path());
        assert!(read.disk_free > Some(0));
        assert_eq!(read.held, 1_000);
        assert!(read.memory_used.is_some_and(|used| used > 0.0 && used.is_finite()), "{read:?}");
        let gone = Readings::take(Path::new("/no/such/folder"));
        assert_eq!((gone.disk_free, gone.held), (None, 0));
    }

    #[test]
    fn an_entry_lags_from_when_it_is_seen_committed_until_it_is_seen_applied() {
        let at = |millis: u64| MonoTime::new(Duration::from_millis(millis));
        let millis = Duration::from_millis;
        let mut lag = LagClock::default();
        assert_eq!(lag.look(5, 5, at(0)), millis(0));
        assert_eq!(lag.look(9, 5, at(200)), millis(0), "seen first");
        assert_eq!(lag.look(12, 8, at(400)), millis(200), "9 still waits");
        assert_eq!(lag.look(14, 10, at(600)), millis(400), "9 is applied, 14 waits from now on");
        assert_eq!(lag.look(14, 13, at(800)), millis(200));
        assert_eq!(lag.look(14, 14, at(1_000)), millis(400));
        assert_eq!(lag.look(14, 14, at(1_200)), millis(0));
    }
}
