//! Real sockets: targets that answer, and targets that do everything else.

mod cost;
mod faults;
mod grpc;
mod limits;
mod networks;
mod reuse;
mod scrape;
mod target;
mod tls;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rollcall_health::check::{Answer, Failure};
use rollcall_types::CheckKind;

use super::{Bounds, Options, Policy, Probed, Prober, Resolve, Trust};

/// Timeout of probes that are answered; long, since tests share the machine.
const LONG: Duration = Duration::from_secs(20);
/// Timeout of probes that are not answered.
const SHORT: Duration = Duration::from_millis(300);

/// A resolver that knows what it is told.
#[derive(Default)]
struct Names(HashMap<&'static str, Vec<IpAddr>>);

impl Resolve for Names {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.0.get(name).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"))
    }
}

fn options() -> Options {
    Options {
        bounds: Bounds { in_flight_max: 64, per_host_max: 2, per_second: 100_000 },
        idle_connections_max: 64,
        policy: Policy { loopback: true, ..Policy::default() },
        trust: Trust { verify: true, ..Trust::default() },
        resolver: Arc::new(Names::default()),
    }
}

fn prober() -> Prober {
    Prober::new(options())
}

/// A prober that knows the addresses of names.
fn prober_with_names(names: &[(&'static str, &[&str])]) -> Prober {
    let addresses = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    let names = names.iter().map(|(name, list)| (*name, addresses(list))).collect();
    Prober::new(Options { resolver: Arc::new(Names(names)), ..options() })
}

fn http(url: String) -> CheckKind {
    CheckKind::Http { url: url.as_str().try_into().unwrap() }
}

fn tcp(host: &str, port: u16) -> CheckKind {
    CheckKind::Tcp { host: host.try_into().unwrap(), port: u64::from(port).try_into().unwrap() }
}

#[track_caller]
fn assert_failed(probed: &Probed, failure: Failure, said: &str) {
    assert_eq!(probed.outcome.answer, Answer::Failed(failure), "{}", probed.output);
    assert!(probed.output.contains(said), "\"{said}\" in \"{}\"", probed.output);
}

#[track_caller]
fn assert_answer(probed: &Probed, answer: Answer) {
    assert_eq!(probed.outcome.answer, answer, "{}", probed.output);
}

/// Waits until `is_so`.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "{what} never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
