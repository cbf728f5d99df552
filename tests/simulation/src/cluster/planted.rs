//! Bugs on purpose: each invariant has one that breaks it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rollcall_catalog::{Command, Precondition, Request};
use rollcall_types::{InstanceSpec, Revision, Weight};

/// A bug on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// One node passes over an entry.
    SkippedEntry,
    /// Snapshots lack a record.
    TornSnapshot,
    /// A request is applied each time that it arrives.
    RepeatedRetry,
    /// A write is acknowledged that is not in the log.
    LostWrite,
    /// All nodes answer a request as if it were another one.
    WrongCatalog,
    /// All nodes lose the weight of a registration.
    LostWeight,
    /// A node vouches for a quarter of a lease's time to live.
    EarlyExpiry,
    /// A node vouches for ever.
    NoExpiry,
    /// A node picks from what it prepared first.
    StaleSelection,
    /// One node stays cut off when everything is healed.
    UnhealedNode,
    /// A node that is down goes on.
    UndeadNode,
    /// One node never lets those share the work that it dropped once.
    StuckRoster,
    /// Nobody writes the journal.
    NoJournal,
    /// Nobody leads once everything is healed.
    NoLeader,
    /// A run depends on what ran before it.
    Unseeded,
}

impl Planted {
    /// A request as it comes into the log.
    pub(super) fn change(self, request: &Request) -> Request {
        let mut changed = request.clone();
        match (self, &mut changed.command) {
            (Self::WrongCatalog, Command::KvPut { expect, .. }) => *expect = Precondition::At(Revision::ZERO),
            (Self::LostWeight, Command::Register { spec, .. }) => {
                *spec = Arc::new(InstanceSpec { weight: Weight::default(), ..(**spec).clone() });
            }
            _ => {}
        }
        changed
    }
}

/// What a run takes from those before it: nothing, unless that is the bug.
pub(super) fn leak(planted: Option<Planted>) -> u64 {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    match planted {
        Some(Planted::Unseeded) => RUNS.fetch_add(1, Ordering::Relaxed),
        _ => 0,
    }
}
