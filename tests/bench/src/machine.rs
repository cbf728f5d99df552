//! The machine: who uses its CPUs, how much memory a process has, and what to call it in the report.
//!
//! CPU times come from `/proc/PID/stat` and count whole processes, ended threads included, in ticks of 10 ms; over a run of
//! seconds that is exact enough. "Foreign" is what all other user processes used, with the children they have reaped, so that
//! short-lived ones count too. Not seen: other containers and other guests, except as steal.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::statfs;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, sleep};

/// Microseconds of a tick: Linux shows CPU times in 1/100 s on every architecture.
const TICK_US: f64 = 10_000.0;
/// A run may begin when other processes use less than this many cores.
const GATE_CORES: f64 = 0.3;
/// A run during which they used more is marked as noisy.
pub(crate) const NOISY_CORES: f64 = 0.35;
/// How long the gate looks.
const GATE_WINDOW: Duration = Duration::from_millis(1500);
/// Open files wanted: 1,000 watchers, a connection each, with room to spare.
const FILES_WANTED: u64 = 65_536;
/// `f_type` of a tmpfs, see statfs(2).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// CPU times at one moment, in ticks.
#[derive(Debug, Clone)]
pub(crate) struct CpuSample {
    at: Instant,
    servers: u64,
    own: u64,
    foreign: u64,
    steal: u64,
}

/// CPU use between two samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuUse {
    pub(crate) servers_us: f64,
    pub(crate) own_us: f64,
    /// Cores that other user processes used.
    pub(crate) foreign: f64,
    /// Cores that the hypervisor gave to other guests.
    pub(crate) steal: f64,
}

impl CpuSample {
    /// Looks at every process once; a few milliseconds.
    pub(crate) fn take(servers: &[u32]) -> Result<Self> {
        let own_pid = std::process::id();
        let mut sample = Self { at: Instant::now(), servers: 0, own: 0, foreign: 0, steal: steal_ticks()? };
        let servers: HashSet<u32> = servers.iter().copied().collect();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // A process that ended since the listing has no figures any more.
            let Some(times) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parse_stat)
            else {
                continue;
            };
            if pid == own_pid {
                sample.own = times.own;
            } else if servers.contains(&pid) {
                sample.servers += times.own;
            } else if !times.is_kernel_thread {
                sample.foreign += times.own + times.reaped_children;
            }
        }
        Ok(sample)
    }

    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> CpuUse {
        let ticks = |now: u64, before: u64| now.saturating_sub(before) as f64 * TICK_US;
        let wall_us = (self.at - earlier.at).as_secs_f64() * 1e6;
        CpuUse {
            servers_us: ticks(self.servers, earlier.servers),
            own_us: ticks(self.own, earlier.own),
            foreign: ticks(self.foreign, earlier.foreign) / wall_us,
            steal: ticks(self.steal, earlier.steal) / wall_us,
        }
    }
}

struct ProcessTimes {
    own: u64,
    reaped_children: u64,
    is_kernel_thread: bool,
}

/// Fields by their numbers in proc(5); the name in field 2 may hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<ProcessTimes> {
    /// The process all kernel threads are children of.
    const KTHREADD: u64 = 2;
    let pid: u64 = stat.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(ProcessTimes {
        own: field(14)? + field(15)?,
        reaped_children: field(16)? + field(17)?,
        is_kernel_thread: pid == KTHREADD || field(4)? == KTHREADD,
    })
}

fn steal_ticks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    Ok(line.split_whitespace().nth(8).and_then(|field| field.parse().ok()).unwrap_or(0))
}

/// Waits until other processes leave the CPUs alone. The cluster must be idle.
///
/// Returns a remark when they did not within `patience`; the run goes on all the same.
pub(crate) async fn wait_until_quiet(servers: &[u32], patience: Duration) -> Result<Option<String>> {
    let deadline = Instant::now() + patience;
    loop {
        let before = CpuSample::take(servers)?;
        sleep(GATE_WINDOW).await;
        let used = CpuSample::take(servers)?.since(&before);
        if used.foreign < GATE_CORES {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Ok(Some(format!("began while other processes used {:.2} cores", used.foreign)));
        }
    }
}

/// CPU time of a process so far, user and system, in microseconds.
pub(crate) fn process_us(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    Ok(parse_stat(&stat).context("/proc/PID/stat is not as expected")?.own as f64 * TICK_US)
}

/// Resident memory of a process in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Resident memory of the largest of these processes in bytes.
pub(crate) fn largest_resident(pids: &[u32]) -> Result<u64> {
    let sizes: Result<Vec<u64>> = pids.iter().map(|pid| resident_bytes(*pid)).collect();
    sizes?.into_iter().max().context("no process runs")
}

/// Raises the limit of open files as far as allowed; servers inherit it.
pub(crate) fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES_WANTED, |maximum| maximum.min(FILES_WANTED));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })?;
    }
    Ok(())
}

/// Refuses a folder in memory, where fsync costs nothing.
pub(crate) fn check_real_disk(folder: &Path) -> Result<()> {
    let status = statfs(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    let kind: i64 = status.f_type;
    ensure!(kind != TMPFS_MAGIC, "{} is a tmpfs: choose a folder on a real disk with --folder", folder.display());
    Ok(())
}

/// One line about the machine.
pub(crate) fn description(folder: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let meminfo = read("/proc/meminfo");
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let memory = kib.and_then(|kib| kib.parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0 / 1024.0);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} × {}, {memory:.0} GiB, {} {}, data on {}",
        model.trim_start_matches([' ', '\t', ':']),
        rustix::system::uname().sysname().to_string_lossy(),
        rustix::system::uname().release().to_string_lossy(),
        mount_of(folder),
    )
}

/// File system and device below `folder`: that of the longest mount point that is part of its path.
fn mount_of(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        folder.starts_with(point).then(|| (point.len(), format!("{kind} ({device})")))
    });
    below.max_by_key(|(length, _)| *length).map_or_else(|| "an unknown disk".to_owned(), |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_look_like_fields() {
        let stat = "7 (a) b (c) S 2 0 0 0 0 0 0 0 0 0 11 22 33 44 20 0";
        let times = parse_stat(stat).unwrap();
        assert_eq!((times.own, times.reaped_children, times.is_kernel_thread), (33, 77, true));
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes(std::process::id()).unwrap() > 0);
        assert!(largest_resident(&[]).is_err());
    }
}
