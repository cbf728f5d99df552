//! What an instance says of its load at its metrics endpoint.
//!
//! An instance declares the endpoint with the metadata entry [`METRICS_PATH`]: a path on its first endpoint. So the host and
//! the port are those that callers use anyway, and no registration can point somewhere else with it.
//!
//! | Prometheus text, any labels | JSON, at the top or in `load` | |
//! |---|---|---|
//! | `rollcall_load_cpu_ratio` | `cpu` | processor time used, of what it may use, 0 to 1 |
//! | `rollcall_load_memory_ratio` | `memory` | memory used, of what it may use, 0 to 1 |
//! | `rollcall_load_in_flight` | `inflight` | requests that it works on |
//! | `rollcall_load_capacity` | `capacity` | requests that it can work on at once |
//! | `rollcall_load_p95_seconds` | `p95_ms` | 95th percentile of its response times |
//! | `rollcall_load_error_ratio` | `error_rate` | share of requests that failed, 0 to 1 |
//!
//! What is not there, is no number, or is below 0 is taken for not said. Of several series of one name the largest counts.
//!
//! The text is read line by line as it comes, up to [`PAGE_MAX`]; no line is held that is longer than [`LINE_MAX`]. This is
//! our own code since six values are wanted of pages of thousands: the parsers there are build a map of the whole page.
//! Generic metrics of processes are not read: a share needs a limit to be a share of, and they do not say it.

use std::time::Duration;

use rollcall_health::check::Load;
use rollcall_types::InstanceSpec;
use serde_json::Value;

use super::page::Sink;

/// Metadata entry that names the path of the metrics page on the first endpoint: `/metrics`.
pub(crate) const METRICS_PATH: &str = "metrics_path";
/// Most bytes that are read of a page. What comes later is not seen.
const PAGE_MAX: u64 = 1024 * 1024;
/// Longest page of JSON, bytes.
const JSON_MAX: usize = 64 * 1024;
/// Longest line that can hold a value, bytes. Longer ones are skipped.
const LINE_MAX: usize = 4 * 1024;

/// Where a metrics page is.
pub(crate) struct MetricsAddress<'s> {
    pub(crate) scheme: &'static str,
    /// `host:port`.
    pub(crate) authority: String,
    /// Begins with `/`.
    pub(crate) path: &'s str,
}

/// Where the metrics page is that an instance declares; `None` when it declares none, or no path.
pub(crate) fn metrics_address(spec: &InstanceSpec) -> Option<MetricsAddress<'_>> {
    let (_, path) = spec.metadata.iter().find(|(key, _)| key.as_str() == METRICS_PATH)?;
    let endpoint = spec.endpoints.first()?;
    let scheme = if endpoint.protocol.eq_ignore_ascii_case("https") { "https" } else { "http" };
    path.starts_with('/').then(|| MetricsAddress { scheme, authority: endpoint.authority(), path })
}

/// The same as one URL.
pub(crate) fn metrics_url(spec: &InstanceSpec) -> Option<String> {
    metrics_address(spec).map(|MetricsAddress { scheme, authority, path }| format!("{scheme}://{authority}{path}"))
}

/// A page of metrics, read while it comes.
#[derive(Default)]
pub(super) struct MetricsPage {
    /// What was not worked off: the line that is not over, or all of a page of JSON.
    rest: Vec<u8>,
    kind: Kind,
    /// The line is too long to be of use: skip to its end.
    is_skipping: bool,
    values: Values,
}

#[derive(Default, PartialEq, Eq)]
enum Kind {
    /// Only white space came.
    #[default]
    Unknown,
    Text,
    Json,
}

/// Values by their place in [`NAMES`].
type Values = [Option<f64>; NAMES.len()];

/// Names in Prometheus text and in JSON, and what a number in JSON is divided by.
const NAMES: [(&str, &str, f64); 6] = [
    ("rollcall_load_cpu_ratio", "cpu", 1.0),
    ("rollcall_load_memory_ratio", "memory", 1.0),
    ("rollcall_load_in_flight", "inflight", 1.0),
    ("rollcall_load_capacity", "capacity", 1.0),
    ("rollcall_load_p95_seconds", "p95_ms", 1_000.0),
    ("rollcall_load_error_ratio", "error_rate", 1.0),
];

impl Sink for MetricsPage {
    const MAX: u64 = PAGE_MAX;

    fn take(&mut self, mut bytes: &[u8]) {
        if self.kind == Kind::Unknown {
            bytes = bytes.trim_ascii_start();
            match bytes.first() {
                None => return,
                Some(b'{') => self.kind = Kind::Json,
                Some(_) => self.kind = Kind::Text,
            }
        }
        if self.kind == Kind::Json {
            self.is_skipping |= self.rest.len() + bytes.len() > JSON_MAX;
            if !self.is_skipping {
                self.rest.extend_from_slice(bytes);
            }
            return;
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.push(&bytes[..end]);
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.push(bytes);
    }
}

impl MetricsPage {
    /// What the page says; `None` when it says nothing of load.
    pub(super) fn load(mut self) -> Option<Load> {
        match self.kind {
            Kind::Json if !self.is_skipping => self.read_json(),
            Kind::Json | Kind::Unknown => {}
            Kind::Text => self.end_line(),
        }
        let [cpu, memory, in_flight, capacity, p95, error_rate] = self.values;
        // Beyond what fits, the largest that does.
        let count = |value: f64| value as u32;
        self.values.iter().any(Option::is_some).then(|| Load {
            cpu,
            memory,
            in_flight: in_flight.map(count),
            capacity: capacity.map(count),
            p95: p95.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            error_rate,
        })
    }

    fn push(&mut self, part: &[u8]) {
        self.is_skipping |= self.rest.len() + part.len() > LINE_MAX;
        if !self.is_skipping {
            self.rest.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) {
        if !self.is_skipping
            && let Some((place, value)) = std::str::from_utf8(&self.rest).ok().and_then(sample)
        {
            self.add(place, value);
        }
        self.rest.clear();
        self.is_skipping = false;
    }

    fn read_json(&mut self) {
        let Ok(page) = serde_json::from_slice::<Value>(&self.rest) else { return };
        for (place, (_, name, divisor)) in NAMES.iter().enumerate() {
            let value = page.get(name).or_else(|| page.get("load")?.get(name)).and_then(Value::as_f64);
            if let Some(value) = value {
                self.add(place, value / divisor);
            }
        }
    }

    fn add(&mut self, place: usize, value: f64) {
        if value.is_finite() && value >= 0.0 {
            let known = &mut self.values[place];
            *known = Some(known.map_or(value, |known| known.max(value)));
        }
    }
}

/// One line of the text format (`name{labels} value timestamp`), when it is one that counts.
fn sample(line: &str) -> Option<(usize, f64)> {
    let line = line.trim_start();
    let place = NAMES
        .iter()
        .position(|(name, ..)| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ', '\t'])))?;
    let rest = &line[NAMES[place].0.len()..];
    // A label's value may hold a brace; a number may not.
    let rest = if rest.starts_with('{') { &rest[rest.rfind('}')? + 1..] } else { rest };
    Some((place, rest.split_ascii_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The load that a page says, in parts of `size` bytes.
    fn read(page: &[u8], size: usize) -> Option<Load> {
        let mut sink = MetricsPage::default();
        page.chunks(size).for_each(|part| sink.take(part));
        sink.load()
    }

    #[track_caller]
    fn check(page: &str, expected: Option<Load>) {
        for size in [1, 7, 4_096] {
            assert_eq!(read(page.as_bytes(), size), expected, "in parts of {size} bytes");
        }
    }

    #[test]
    fn prometheus_text_is_read_with_labels_and_times() {
        let page = "# HELP rollcall_load_cpu_ratio 0.1\n# TYPE rollcall_load_cpu_ratio gauge\n\
            rollcall_load_cpu_ratio 0.25\nrollcall_load_memory_ratio{pool=\"a } b\"} 0.5 1700000000000\n\
            rollcall_load_memory_ratio{pool=\"c\"} 0.75\nrollcall_load_in_flight 12\nrollcall_load_capacity\t64\n\
            rollcall_load_p95_seconds 0.125\nrollcall_load_error_ratio 1e-2\nrollcall_load_cpu_ratio_max 9\nup 1\n";
        let load = Load {
            cpu: Some(0.25),
            memory: Some(0.75),
            in_flight: Some(12),
            capacity: Some(64),
            p95: Some(Duration::from_millis(125)),
            error_rate: Some(0.01),
        };
        check(page, Some(load));
        check(page.trim_end(), Some(load));
    }

    #[test]
    fn json_is_read_at_the_top_and_in_load() {
        let load = Load { cpu: Some(0.5), p95: Some(Duration::from_millis(250)), ..Load::default() };
        check(" {\"cpu\": 0.5, \"p95_ms\": 250}", Some(load));
        check("{\"load\": {\"cpu\": 0.5, \"p95_ms\": 250, \"memory\": \"much\"}, \"x\": []}", Some(load));
    }

    #[test]
    fn garbage_says_nothing() {
        for page in [
            "",
            " \n ",
            "<html><body>404</body></html>",
            "{",
            "{\"cpu\": \"high\"}",
            "[]",
            "{\"cpu\": -1}",
            "{\"load\": 7}",
            "rollcall_load_cpu_ratio",
            "rollcall_load_cpu_ratio{ 0.5",
            "rollcall_load_cpu_ratio NaN\nrollcall_load_memory_ratio -1\nrollcall_load_p95_seconds +Inf\n",
            "rollcall_load_cpu_ratio 0.5x\n",
        ] {
            check(page, None);
        }
        assert_eq!(read(b"\xff\xfe\nrollcall_load_cpu_ratio \xff\n\x00\x00", 3), None);
        assert_eq!(read("{\"a\":".repeat(10_000).as_bytes(), 1_000), None, "nested deeper than anything means");
    }

    #[test]
    fn a_page_in_one_line_takes_no_memory_and_hides_no_line_after_it() {
        let page = format!("{}\nrollcall_load_cpu_ratio 0.5\n", "x".repeat(PAGE_MAX as usize));
        let mut sink = MetricsPage::default();
        for part in page.as_bytes().chunks(8_192) {
            sink.take(part);
            assert!(sink.rest.capacity() <= 2 * LINE_MAX);
        }
        assert_eq!(sink.load().unwrap().cpu, Some(0.5));
        let mut sink = MetricsPage::default();
        sink.take(b"{");
        sink.take(&vec![b' '; 10 * JSON_MAX]);
        assert!(sink.rest.capacity() <= JSON_MAX);
        assert_eq!(sink.load(), None);
    }

    #[test]
    fn numbers_beyond_all_measure_are_held() {
        let load = read(b"rollcall_load_in_flight 1e300\nrollcall_load_p95_seconds 1e300\n", 100).unwrap();
        assert_eq!((load.in_flight, load.p95), (Some(u32::MAX), None));
    }
}
