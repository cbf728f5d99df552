//! Pings sent for others (SWIM §3.1): who wants to know of which answer.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_types::{MonoTime, NodeName};

/// Most pings for others under way. When full, a request is dropped: the monitor asks two more, and asks again.
const RELAYS_MAX: usize = 256;
/// How long an answer is waited for. Beyond it the monitor has decided anyway.
const EXPIRES_AFTER: Duration = Duration::from_secs(1);

/// A ping sent for somebody else.
#[derive(Debug)]
pub(super) struct Relay {
    /// Who asked.
    pub(super) origin: NodeName,
    /// The nonce of the request.
    pub(super) nonce: u64,
    /// Whom we pinged.
    pub(super) target: NodeName,
    /// When, in observed time.
    pub(super) at: MonoTime,
}

/// By the nonce of our own ping. At most [`RELAYS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Relays(BTreeMap<u64, Relay>);

impl Relays {
    /// Whether there was room.
    pub(super) fn insert(&mut self, nonce: u64, relay: Relay) -> bool {
        let has_room = self.0.len() < RELAYS_MAX;
        if has_room {
            self.0.insert(nonce, relay);
        }
        has_room
    }

    /// The request that an answer of `from` with `nonce` fulfils.
    pub(super) fn take(&mut self, nonce: u64, from: &NodeName) -> Option<Relay> {
        if self.0.get(&nonce)?.target != *from {
            return None;
        }
        self.0.remove(&nonce)
    }

    pub(super) fn expire(&mut self, now: MonoTime) {
        self.0.retain(|_, relay| now.since(relay.at) < EXPIRES_AFTER);
    }
}
