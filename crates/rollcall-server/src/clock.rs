//! The wall clock of this machine, for times that people read. Nothing orders writes by it.

use std::time::{SystemTime, UNIX_EPOCH};

use rollcall_catalog::Catalog;
use rollcall_types::UnixMillis;

/// The time of day here.
pub(crate) fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The time by which quarantines and deadlines are judged: the one here, but not before anything in the catalogue happened, so
/// that a node whose clock is behind does not hold for pending what the leader's log says is past.
pub(crate) fn now(catalog: &Catalog) -> UnixMillis {
    wall_clock().max(catalog.clock())
}
