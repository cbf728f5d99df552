//! Where a service stays prepared, and how many picks were made of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use super::prepared::Prepared;

/// The place of one service, or of one capability.
#[derive(Debug, Default)]
pub(super) struct Place {
    prepared: ArcSwapOption<Prepared>,
    /// Held while it is prepared, so that requests that come meanwhile wait for that and do not all do the same.
    preparing: Mutex<()>,
    /// Picks so far; the rotating strategies go on from here.
    turn: AtomicU64,
    /// Whether it was asked for since [`Self::was_asked_for`] was asked last.
    is_in_use: AtomicBool,
}

impl Place {
    /// What is prepared here, if it `is_current`; else what `prepare` makes, given what was here before.
    pub(super) fn prepared(
        &self,
        is_current: impl Fn(&Prepared) -> bool,
        prepare: impl FnOnce(Option<&Prepared>) -> Prepared,
    ) -> Arc<Prepared> {
        if !self.is_in_use.load(Ordering::Relaxed) {
            self.is_in_use.store(true, Ordering::Relaxed);
        }
        let current = || self.prepared.load_full().filter(|prepared| is_current(prepared));
        if let Some(prepared) = current() {
            return prepared;
        }
        let _preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        current().unwrap_or_else(|| {
            let prepared = Arc::new(prepare(self.prepared.load().as_deref()));
            self.prepared.store(Some(prepared.clone()));
            prepared
        })
    }

    /// Takes the next `n` turns, and returns the first of them.
    pub(super) fn take_turns(&self, n: usize) -> u64 {
        self.turn.fetch_add(n as u64, Ordering::Relaxed)
    }

    /// The turn that is next.
    pub(super) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Whether anybody asked for it since this was asked last.
    pub(super) fn was_asked_for(&self) -> bool {
        self.is_in_use.swap(false, Ordering::Relaxed)
    }
}
