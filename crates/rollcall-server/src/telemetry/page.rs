//! `docs/metrics.md`, made from the descriptions in the code.
//!
//! `ROLLCALL_BLESS=1 cargo test -p rollcall-server --lib metrics_page` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::{env, fs};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, with_local_recorder};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
const HEAD: &str = "\
# Metrics

`GET /metrics` on every node, in the Prometheus text format. Every value is what that node counts or sees since it started. A
histogram has `_bucket`, `_sum` and `_count`. Values of labels come from closed sets and never name an instance.

`deploy/prometheus/` has a configuration that finds all nodes and services through `GET /v1/sd/prometheus`, and alerts;
`deploy/grafana/dashboards/` has a dashboard. [Operations](operations.md) says what to do when an alert fires.

This page is made from the code: `ROLLCALL_BLESS=1 cargo test -p rollcall-server --lib metrics_page`.
";

/// Takes descriptions and nothing else.
#[derive(Default)]
struct Descriptions(Mutex<BTreeMap<String, (&'static str, String)>>);

impl Descriptions {
    fn add(&self, name: &KeyName, kind: &'static str, help: &SharedString) {
        self.0.lock().unwrap().insert(name.as_str().to_owned(), (kind, help.to_string()));
    }
}

impl Recorder for Descriptions {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.add(&name, "counter", &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.add(&name, "gauge", &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.add(&name, "histogram", &help);
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Every metric with its kind and meaning.
fn described() -> BTreeMap<String, (&'static str, String)> {
    let descriptions = Descriptions::default();
    with_local_recorder(&descriptions, super::describe);
    let mut all = descriptions.0.into_inner().unwrap();
    all.extend(super::process::described().map(|(name, kind, help)| (name.to_owned(), (kind, help.to_owned()))));
    all
}

/// The second word of `rollcall_raft_term`, or `process`.
fn area(name: &str) -> &str {
    let name = name.strip_prefix("rollcall_").unwrap_or(name);
    name.split('_').next().unwrap_or(name)
}

#[test]
fn the_metrics_page_is_that_of_the_code() {
    let mut page = HEAD.to_owned();
    let mut before = String::new();
    for (name, (kind, help)) in described() {
        if area(&name) != before {
            before = area(&name).to_owned();
            write!(page, "\n## {before}\n\n| Metric | Kind | Meaning |\n|---|---|---|\n").unwrap();
        }
        writeln!(page, "| `{name}` | {kind} | {help} |").unwrap();
    }
    if env::var_os("ROLLCALL_BLESS").is_some() {
        fs::write(FILE, &page).unwrap();
    }
    let written = fs::read_to_string(FILE).unwrap_or_default();
    assert!(written == page, "docs/metrics.md is stale: run this test with ROLLCALL_BLESS=1");
}

#[test]
fn names_and_units_of_the_metrics_page_obey_the_rules() {
    for (name, (kind, help)) in described() {
        assert!(name.starts_with("rollcall_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}: the buckets are of seconds");
        assert!(
            !help.ends_with('.') && help.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()),
            "{name}: {help}"
        );
    }
}
