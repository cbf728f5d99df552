//! Words that all stories share.

use std::time::Duration;

use rollcall_health::{Slot, Status, Tenancy};
use rollcall_types::Revision;

pub(crate) fn read_span(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse().unwrap()),
        None => Duration::from_secs(text.strip_suffix('s').expect("10s or 200ms").parse().unwrap()),
    }
}

pub(crate) fn read_status(text: &str) -> Status {
    match text {
        "unknown" => Status::Unknown,
        "starting" => Status::Starting,
        "passing" => Status::Passing,
        "warning" => Status::Warning,
        "critical" => Status::Critical,
        other => panic!("no such status: {other}"),
    }
}

pub(crate) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Unknown => "unknown",
        Status::Starting => "starting",
        Status::Passing => "passing",
        Status::Warning => "warning",
        Status::Critical => "critical",
    }
}

pub(crate) fn slot(raw: u32) -> Slot {
    Slot::new(raw).unwrap()
}

/// `3@7`: slot 3, given at revision 7.
pub(crate) fn read_place(text: &str) -> (Slot, Tenancy) {
    let (raw, revision) = text.split_once('@').expect("SLOT@REVISION");
    (slot(raw.parse().unwrap()), Tenancy::began_at(Revision::new(revision.parse().unwrap())))
}
