//! What this process uses of its machine, under the names that every Prometheus client library has for it.
//!
//! Read from `/proc` when the page is asked for, and written here and not through the recorder: its counters are whole
//! numbers, and processor time counts in hundredths. The crate that does the same (metrics-process) brings a code
//! generator and the bindings of another operating system.

use std::fmt::Write as _;
use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// A metric with its kind, what it means, and how it is read; `None` where the system does not say.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    read: fn(&Stat) -> Option<f64>,
}

const METRICS: [Metric; 7] = [
    Metric {
        name: "process_cpu_seconds_total",
        kind: "counter",
        help: "Processor time that this process used",
        read: |stat| Some((stat.field(14)? + stat.field(15)?) / clock_ticks_per_second() as f64),
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: "gauge",
        help: "Memory that this process has in use",
        read: |stat| Some(stat.field(24)? * page_size() as f64),
    },
    Metric {
        name: "process_virtual_memory_bytes",
        kind: "gauge",
        help: "Address space of this process",
        read: |stat| stat.field(23),
    },
    Metric { name: "process_threads", kind: "gauge", help: "Threads of this process", read: |stat| stat.field(20) },
    Metric {
        name: "process_start_time_seconds",
        kind: "gauge",
        help: "When this process started, in seconds since 1970",
        read: |stat| Some(booted_at()? + stat.field(22)? / clock_ticks_per_second() as f64),
    },
    Metric {
        name: "process_open_fds",
        kind: "gauge",
        help: "Files and connections that this process has open",
        // The folder that is being read is one of them.
        read: |_| Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64),
    },
    Metric {
        name: "process_max_fds",
        kind: "gauge",
        help: "Files and connections that this process may have open",
        read: |_| Some(getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |limit| limit as f64)),
    },
];

/// `/proc/self/stat` after the name of the program, which may hold anything.
struct Stat(String);

impl Stat {
    fn read() -> Self {
        let line = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self(line.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default())
    }

    /// A field by its number in proc_pid_stat(5); the state, field 3, is the first after the name.
    fn field(&self, number: usize) -> Option<f64> {
        self.0.split_ascii_whitespace().nth(number - 3)?.parse().ok()
    }
}

/// When the machine started, in seconds since 1970.
fn booted_at() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Adds them to a page in the Prometheus text format.
pub(super) fn render(page: &mut String) {
    let stat = Stat::read();
    for Metric { name, kind, help, read } in &METRICS {
        if let Some(value) = read(&stat) {
            // Writing to a string cannot fail.
            let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        }
    }
}

/// Name, kind and meaning of each.
#[cfg(test)]
pub(super) fn described() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    METRICS.iter().map(|metric| (metric.name, metric.kind, metric.help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_files_and_started_in_this_century() {
        let mut page = String::new();
        render(&mut page);
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} is not in {page}")).parse::<f64>().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!((3.0..value("process_max_fds")).contains(&value("process_open_fds")));
        assert!(value("process_threads") >= 1.0 && value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_start_time_seconds") > 1e9);
    }

    #[test]
    fn a_program_may_have_any_name() {
        let stat = Stat("S 1 2".to_owned());
        assert_eq!((stat.field(4), stat.field(5), stat.field(6)), (Some(1.0), Some(2.0), None));
    }
}
