//! A small catalogue that is always the same.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rollcall_types::{Host, NodeName, ServiceName};

use crate::dns::message::Transport;
use crate::dns::responder::{Responder, Shared};
use crate::dns::source::{Found, Holder, Source, Target, Wanted};
use crate::dns::zone::Zone;

/// How often the fixture was asked, and what it claims to be made from.
#[derive(Debug, Default)]
pub(super) struct Version {
    number: AtomicU64,
    picks: AtomicU64,
}

impl Version {
    #[cfg(test)]
    pub(super) fn change(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn picks(&self) -> u64 {
        self.picks.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Fixture {
    pub(super) version: Arc<Version>,
}

fn target(host: &str, port: u16, weight: u16, score: f64) -> Target {
    Target { host: Host::try_from(host).expect("a name"), port, weight, score }
}

impl Fixture {
    pub(super) fn usual() -> Self {
        Self::default()
    }

    fn web(wanted: &Wanted) -> Found {
        match (wanted.tag.as_deref(), wanted.endpoint.as_deref()) {
            (Some("api"), _) => Found::Targets(vec![target("10.0.0.1", 8080, 1, 0.9)]),
            (Some("v1.2"), _) => Found::Targets(vec![target("10.0.0.2", 8080, 1, 0.9)]),
            (Some("2"), _) => Found::Between,
            (None, Some("admin")) => Found::Targets(vec![target("10.0.0.1", 9901, 1, 0.8)]),
            (None, None) => Found::Targets(vec![
                target("10.0.0.1", 8080, 1, 0.9),
                target("10.0.0.2", 8080, 2, 0.8),
                target("fd00::3", 8080, 1, 0.5),
                target("10.0.0.1", 9000, 1, 0.0),
            ]),
            _ => Found::Nobody,
        }
    }
}

impl Source for Fixture {
    type Stamp = u64;

    fn stamp(&self, _: &ServiceName) -> Option<u64> {
        Some(self.version.number.load(Ordering::Relaxed))
    }

    fn pick(&self, wanted: &Wanted) -> Found {
        self.version.picks.fetch_add(1, Ordering::Relaxed);
        match wanted.service.as_str() {
            "web" => Self::web(wanted),
            "heavy" => Found::Targets(vec![target("10.0.0.1", 1, 60_000, 1.0), target("10.0.0.2", 2, 30_000, 1.0)]),
            "named" => {
                Found::Targets(vec![target("db-1.example.com", 80, 1, 1.0), target("db-2.example.com.", 80, 1, 0.9)])
            }
            "many" => Found::Targets((0..100).map(|index| target(&format!("10.0.1.{index}"), 80, 1, 0.9)).collect()),
            _ => Found::Nobody,
        }
    }

    fn ttl_s(&self, service: &ServiceName) -> Option<u32> {
        (service.as_str() == "heavy").then_some(5)
    }

    fn node(&self, name: &str) -> Option<Host> {
        (name == "n1").then(|| Host::try_from("127.0.0.1").expect("a name"))
    }

    fn holders(&self, address: IpAddr) -> Vec<Holder> {
        match address.to_string().as_str() {
            "127.0.0.1" => vec![Holder::Node("n1".to_owned())],
            "10.0.0.2" => vec![Holder::Service("web".to_owned())],
            _ => Vec::new(),
        }
    }

    fn serial(&self) -> u32 {
        42
    }
}

pub(super) fn responder(source: Fixture, transport: Transport) -> Responder<Fixture> {
    responder_with(source, transport, 0)
}

pub(super) fn responder_with(source: Fixture, transport: Transport, per_second: u32) -> Responder<Fixture> {
    let domains = ["rollcall".to_owned(), "consul".to_owned()];
    let zone = Zone::new(&domains, "dc1", NodeName::try_from("n1").expect("a name"), 0, BTreeMap::new());
    Responder::new(Arc::new(Shared { zone, source, per_second }), transport, Instant::now())
}
