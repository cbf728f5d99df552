//! What `tests/fuzz` throws bytes at: each target takes any bytes, and panics when a promise about them is broken.
//!
//! Not part of the interface: it is there in tests, which replay the kept corpora, and under the feature `fuzzing`. A target
//! that needs what is private to a module lies in the `fuzz` of that module. What other crates offer to everybody and this one
//! reads from outside (bodies, pages in gossip, names) is here too, so that those crates need no seam.

use std::fmt::{Debug, Display};

use rollcall_api::{host_and_port, web_url};
use rollcall_health::check_page::CheckPage;
use rollcall_health::detector::Evidence;
use rollcall_health::forecast::Forecasts;
use rollcall_health::{CHUNK_SLOTS, Digest, Freshness, HealthView, Observer, Slot, Tenancy};
use rollcall_routing::feedback::page;
use rollcall_types::{
    CapabilityName, CheckId, Host, InstanceId, KvKey, Label, MonoTime, NodeName, Protocol, Revision, ServiceName,
    SessionId, Tag, Text, UnixMillis, Version,
};

use crate::config::{self, parse_duration};
use crate::probe::Network;
use crate::{consul, dns, http, probe, schema};

/// A promise about bytes, that panics when it is broken.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("config_file", config::fuzz::config_file),
    ("config_schema", schema::fuzz::config_schema),
    ("consul_body", consul::fuzz::consul_body),
    ("consul_filter", consul::fuzz::consul_filter),
    ("dns_packet", dns::fuzz::dns_packet),
    ("gossip_page", gossip_page),
    ("http_body", http::fuzz::http_body),
    ("http_query", http::fuzz::http_query),
    ("probe_answer", probe::fuzz::probe_answer),
    ("words", words),
];

/// The first byte, and the rest as text.
pub(crate) fn choice(bytes: &[u8]) -> Option<(u8, &str)> {
    let (choice, rest) = bytes.split_first()?;
    Some((*choice, std::str::from_utf8(rest).ok()?))
}

/// A value that another member publishes: exactly the text that would be written is read, and none is longer than it may be.
pub fn gossip_page(bytes: &[u8]) {
    let Some((kind, text)) = choice(bytes) else { return };
    match kind % 5 {
        0 => {
            if let Ok(digest) = Digest::decode(text) {
                assert_eq!(digest.encode(), text);
                assert!(digest.len() <= CHUNK_SLOTS as usize);
            }
        }
        1 => {
            if let Ok(checks) = CheckPage::decode(text) {
                assert_eq!(checks.encode(), text);
            }
        }
        2 => {
            if let Ok(forecasts) = Forecasts::decode(text) {
                assert_eq!(forecasts.encode(), text);
                assert!(forecasts.len() <= CHUNK_SLOTS as usize);
            }
        }
        3 => {
            if let Ok(evidence) = Evidence::decode(text) {
                assert_eq!(evidence.encode(), text);
            }
        }
        _ => feedback(text),
    }
    observed(text);
}

/// A page of what callers report is read as a whole; what is written of it reads the same, ages apart, which are whole seconds.
fn feedback(text: &str) {
    let now = UnixMillis::new(1_700_000_000_000);
    let Ok(entries) = page::decode(text, now) else { return };
    let (written, left_out) = page::encode(&entries, now);
    assert!(written.len() <= page::PAGE_BYTES_MAX);
    if left_out == 0 {
        let again = page::decode(&written, now).expect("what was written can be read");
        assert_eq!(again.len(), entries.len());
        assert_eq!(page::encode(&again, now), (written, 0));
    }
}

/// Lines of observer, generation, chunk, version and text: in whatever order they arrive, all that is told is the same.
fn observed(text: &str) {
    let told: Vec<_> = text.lines().take(16).filter_map(sighted).collect();
    let view = |told: &mut dyn Iterator<Item = &(Observer, Slot, u64, &str)>| {
        let mut view = HealthView::new();
        for (observer, slot, version, text) in told {
            // What is refused is told nowhere, in either order.
            let _ = view.receive(observer.clone(), slot.chunk(), *version, Some(text), MonoTime::default());
            view.mark_observer(observer, Freshness::Fresh).expect("there are few observers");
        }
        view
    };
    let (one, other) = (view(&mut told.iter()), view(&mut told.iter().rev()));
    for (_, slot, _, text) in &told {
        assert_eq!(one.digest_count(), other.digest_count());
        let Ok(digest) = Digest::decode(text) else { continue };
        for bits in 0..4 {
            let tenancy = Tenancy::began_at(Revision::new(bits));
            let _ = digest.get(*slot, tenancy);
            let told = |view: &HealthView| -> Vec<_> {
                view.sightings(*slot, tenancy).map(|it| (it.observer.clone(), it.observation)).collect()
            };
            assert_eq!(told(&one), told(&other));
        }
    }
}

fn sighted(line: &str) -> Option<(Observer, Slot, u64, &str)> {
    let mut words = line.split(' ');
    let name = words.next()?.parse().ok()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let observer = Observer { name, generation: number()? };
    let slot = Slot::new(u32::try_from(number()?).ok()?)?;
    Some((observer, slot, number()?, words.next()?))
}

/// Names, addresses and times as people and programs write them: what is taken has one way to be written, which is taken too.
pub fn words(bytes: &[u8]) {
    let Some((kind, text)) = choice(bytes) else { return };
    match kind % 20 {
        0 => named::<ServiceName>(text),
        1 => named::<InstanceId>(text),
        2 => named::<NodeName>(text),
        3 => named::<CheckId>(text),
        4 => named::<Label>(text),
        5 => named::<Tag>(text),
        6 => named::<KvKey>(text),
        7 => named::<Text>(text),
        8 => named::<Version>(text),
        9 => named::<Protocol>(text),
        10 => named::<CapabilityName>(text),
        11 => named::<Host>(text),
        12 => parsed::<SessionId>(text),
        13 => parsed::<Network>(text),
        14 => drop(parse_duration(text)),
        15 => consul::fuzz::duration(text),
        16 => drop(web_url(text)),
        17 => drop(host_and_port(text)),
        18 => http::fuzz::cursor(text),
        _ => http::fuzz::traceparent(text),
    }
}

fn named<'t, T: TryFrom<&'t str> + Display>(text: &'t str) {
    if let Ok(name) = T::try_from(text) {
        assert_eq!(name.to_string(), text, "a name is what was written");
    }
}

fn parsed<T: std::str::FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert_eq!(written.parse::<T>().expect("what was written can be read"), value);
    }
}

#[cfg(test)]
#[path = "../../../tests/fuzz/src/replay.rs"]
mod replay;

#[test]
fn what_was_fuzzed_does_no_harm() {
    replay::all(TARGETS);
}
