//! More patience with members that come and go (the shape of RFC 2439, route flap damping).
//!
//! A return from the dead counts two halves, a refuted suspicion one; two halves double the patience. A level is taken back
//! after a minute in which the member would not have been suspected at the lower one, so a member that keeps stalling keeps
//! its level instead of earning a death per minute.

use std::time::Duration;

use rollcall_types::MonoTime;

/// Most doublings: × 16.
const DOUBLINGS_MAX: u32 = 4;
/// Calm time that takes back one doubling.
const CALM: Duration = Duration::from_secs(60);

/// Invariant: `halves` is at most 2 × [`DOUBLINGS_MAX`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Damping {
    halves: u32,
    calm_since: MonoTime,
}

impl Damping {
    pub(super) fn new(now: MonoTime) -> Self {
        Self { halves: 0, calm_since: now }
    }

    pub(super) fn doublings(self) -> u32 {
        self.halves / 2
    }

    /// It came back from the dead.
    pub(super) fn revived(&mut self, now: MonoTime) {
        self.add(2, now);
    }

    /// It refuted a suspicion.
    pub(super) fn refuted(&mut self, now: MonoTime) {
        self.add(1, now);
    }

    fn add(&mut self, halves: u32, now: MonoTime) {
        self.halves = (self.halves + halves).min(2 * DOUBLINGS_MAX);
        self.calm_since = now;
    }

    /// Takes a doubling back after a calm minute. `base` is the patience with a member that never flapped.
    pub(super) fn soothe(&mut self, silence: Duration, base: Duration, now: MonoTime) {
        if self.halves == 0 {
            return;
        }
        if silence >= base * (1 << self.doublings()) / 2 {
            self.calm_since = now;
        } else if now.since(self.calm_since) >= CALM {
            self.halves = self.halves.saturating_sub(2);
            self.calm_since = now;
        }
    }
}
