//! Counts what is turned away, and says so now and then, whatever knocks at the port.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::key::KeyId;
use crate::metrics::{self, Rejection};

const LOG_EVERY: Duration = Duration::from_secs(60);
/// Things that are logged in a minute at most; the ids of keys that we lack are chosen by whoever sends.
const LINES_MAX: usize = 16;

/// What a line is about.
type Subject = (Rejection, Option<KeyId>);

#[derive(Debug, Default)]
pub(crate) struct Rejections {
    counts: [AtomicU64; Rejection::ALL.len()],
    logged: Mutex<Vec<(Subject, Instant)>>,
}

impl Rejections {
    /// `key` is the key that a message names and that we lack, or that does not fit.
    pub(crate) fn note(&self, rejection: Rejection, key: Option<KeyId>, from: SocketAddr) {
        metrics::rejected(rejection);
        self.counts[rejection as usize].fetch_add(1, Ordering::Relaxed);
        if !is_suspicious(rejection) {
            return debug!("gossip from {from} is refused: {}", rejection.as_str());
        }
        if !self.is_due((rejection, key), Instant::now()) {
            return;
        }
        match (rejection, key) {
            (Rejection::UnknownKey, Some(key)) => warn!(
                "gossip from {from} is sealed with key {key}, which this node does not have; if it is a member, give both \
                 the same keys; more of the kind are only counted for a minute"
            ),
            (_, Some(key)) => warn!(
                "gossip from {from} names key {key} and was not sealed with it by a member of this cluster: another cluster \
                 with the same key, or forged; more of the kind are only counted for a minute"
            ),
            (_, None) => warn!(
                "gossip from {from} is refused: {}; more of the kind are only counted for a minute",
                rejection.as_str()
            ),
        }
    }

    /// How many were turned away since the start, by reason.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Rejection, u64)> {
        Rejection::ALL.into_iter().map(|rejection| (rejection, self.counts[rejection as usize].load(Ordering::Relaxed)))
    }

    fn is_due(&self, subject: Subject, now: Instant) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|(_, at)| now.duration_since(*at) < LOG_EVERY);
        let is_due = logged.len() < LINES_MAX && logged.iter().all(|(other, _)| *other != subject);
        if is_due {
            logged.push((subject, now));
        }
        is_due
    }
}

/// Whether an operator should hear of it. The others happen in every healthy cluster, at starts and restarts.
fn is_suspicious(rejection: Rejection) -> bool {
    match rejection {
        Rejection::Unproven | Rejection::Replayed | Rejection::OldIncarnation | Rejection::Blocked => false,
        Rejection::TooShort
        | Rejection::Oversized
        | Rejection::UnknownVersion
        | Rejection::UnknownKey
        | Rejection::NotAuthentic
        | Rejection::Undecodable
        | Rejection::Rate
        | Rejection::Full
        | Rejection::Slow => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_named_once_a_minute_and_made_up_keys_do_not_fill_the_log() {
        let rejections = Rejections::default();
        let start = Instant::now();
        let key = |n: u8| (Rejection::UnknownKey, Some(KeyId([n, 0, 0, 0])));
        assert!(rejections.is_due(key(1), start) && rejections.is_due(key(2), start));
        assert!(!rejections.is_due(key(1), start + Duration::from_secs(59)));
        let lines = (10..250).filter(|n| rejections.is_due(key(*n), start)).count();
        assert_eq!(lines, LINES_MAX - 2);
        assert!(rejections.is_due(key(1), start + LOG_EVERY));
    }
}
