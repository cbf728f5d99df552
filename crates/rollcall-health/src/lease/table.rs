//! The leases whose heartbeats arrive at this node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall_types::Millis;

use crate::run_clock::{Reading, RunTime};
use crate::{Slot, Tenancy};

/// TTL of a lease that does not say.
pub const TTL_DEFAULT: Millis = Millis::new(60_000);
/// Heartbeats asked for within one TTL: two may be lost.
pub const HEARTBEATS_PER_TTL: u32 = 3;

/// A lease, as the catalogue has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Since when the instance has its slot.
    pub tenancy: Tenancy,
    /// Longest silence.
    pub ttl: Duration,
}

/// What a heartbeat is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Longest silence from now on.
    pub ttl: Duration,
    /// When to send the next heartbeat, counted from the answer: a third of the TTL, shortened by up to a tenth at random
    /// so that instances that started together do not stay together.
    pub next_heartbeat: Duration,
    /// Nobody was vouched for before: to be published.
    pub is_new: bool,
}

/// The catalogue has no such lease: the instance was removed, or never registered, and must register again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such lease, register again")]
pub struct UnknownLease;

/// A lease that this node vouches for no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// The instance's slot.
    pub slot: Slot,
    /// Which of its tenants.
    pub tenancy: Tenancy,
}

/// The leases whose heartbeats arrive at this node. At most [`SLOTS_MAX`](crate::SLOTS_MAX), some 100 bytes each.
///
/// A renewal costs one look-up: `queue` is put right only when an entry of it is due, so it holds moments that are early.
///
/// Invariant: every lease is in `queue` once, at `queued_at`, which is not after the moment at which it expires.
#[derive(Debug, Clone, Default)]
pub struct LeaseTable {
    held: BTreeMap<Slot, Held>,
    queue: BTreeSet<(RunTime, Slot)>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    grant: Grant,
    renewed_at: RunTime,
    queued_at: RunTime,
}

impl Held {
    fn expires_at(&self) -> RunTime {
        self.renewed_at.plus(self.grant.ttl)
    }
}

impl LeaseTable {
    /// A table of no leases.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a heartbeat of the instance at `slot`. `granted` is its lease in the catalogue now, if there is one; `draw` is 64
    /// random bits.
    ///
    /// # Errors
    /// [`UnknownLease`] when there is none. A node whose catalogue is behind says so too, and registering twice is harmless.
    pub fn renew(
        &mut self,
        slot: Slot,
        granted: Option<Grant>,
        at: Reading,
        draw: u64,
    ) -> Result<Renewal, UnknownLease> {
        let Some(grant) = granted else {
            self.revoke(slot);
            return Err(UnknownLease);
        };
        let expires_at = at.run.plus(grant.ttl);
        let before = self.held.get(&slot).copied();
        // A shorter TTL must not wait behind a longer one.
        let queued_at = before.map_or(expires_at, |before| before.queued_at.min(expires_at));
        if before.map(|before| before.queued_at) != Some(queued_at) {
            before.map(|before| self.queue.remove(&(before.queued_at, slot)));
            self.queue.insert((queued_at, slot));
        }
        self.held.insert(slot, Held { grant, renewed_at: at.run, queued_at });
        let third = grant.ttl / HEARTBEATS_PER_TTL;
        let next_heartbeat = third - third / 10 * (draw >> 32) as u32 / u32::MAX;
        let is_new = before.is_none_or(|before| before.grant.tenancy != grant.tenancy);
        Ok(Renewal { ttl: grant.ttl, next_heartbeat, is_new })
    }

    /// Forgets the lease of a slot: its instance was removed.
    pub fn revoke(&mut self, slot: Slot) -> Option<Lost> {
        let held = self.held.remove(&slot)?;
        self.queue.remove(&(held.queued_at, slot));
        Some(Lost { slot, tenancy: held.grant.tenancy })
    }

    /// Leases that expired: silent for longer than their TTL, without the time in which this process did not run. In the order
    /// in which they expired, each once.
    pub fn tick(&mut self, at: Reading) -> Vec<Lost> {
        if at.is_settling {
            return Vec::new();
        }
        let mut lost = Vec::new();
        while let Some(&(queued_at, slot)) = self.queue.first().filter(|(queued_at, _)| *queued_at < at.run) {
            self.queue.remove(&(queued_at, slot));
            let Some(held) = self.held.get_mut(&slot) else { continue };
            if held.expires_at() < at.run {
                lost.push((held.expires_at(), Lost { slot, tenancy: held.grant.tenancy }));
                self.held.remove(&slot);
            } else {
                held.queued_at = held.expires_at();
                self.queue.insert((held.queued_at, slot));
            }
        }
        lost.sort_unstable();
        lost.into_iter().map(|(_, lost)| lost).collect()
    }

    /// Time since the last heartbeat of the instance at `slot` that arrived here; `None` when this node does not vouch for it.
    pub fn silence(&self, slot: Slot, at: Reading) -> Option<Duration> {
        self.held.get(&slot).map(|held| at.run.since(held.renewed_at))
    }

    /// Which instance this node vouches for at `slot`; `None` when for none.
    pub fn tenancy(&self, slot: Slot) -> Option<Tenancy> {
        self.held.get(&slot).map(|held| held.grant.tenancy)
    }

    /// Leases that this node vouches for.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}
