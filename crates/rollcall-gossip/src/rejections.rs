//! Counts what is turned away, and says so now and then, whatever knocks at the port.
//!
//! The ids of keys that this node lacks are chosen by whoever sends. So that made-up ones do not hide the id of a member
//! that has the wrong key, ids are collected for a few seconds, and then one is named: first those that came from the
//! address of a known member, then the one that came most often. A member knocks again and again with the same id.
//!
//! Limits: addresses of datagrams can be forged too, by who knows a member's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::key::KeyId;
use crate::metrics::{self, Rejection};

const LOG_EVERY: Duration = Duration::from_secs(60);
/// Time for which ids of unknown keys are collected before one of them is named: at most 15 lines a minute.
const COLLECT: Duration = Duration::from_secs(4);
/// Ids that are collected at once. When full, one that came least often gives way.
const IDS_MAX: usize = 256;

/// What a line is about. There are few of them: a key is one that this node has.
type Subject = (Rejection, Option<KeyId>);

#[derive(Debug, Default)]
pub(crate) struct Rejections {
    counts: [AtomicU64; Rejection::ALL.len()],
    logged: Mutex<BTreeMap<Subject, Instant>>,
    unknown_keys: Mutex<UnknownKeys>,
}

impl Rejections {
    /// `key` is the key that a message names and that we lack, or that does not fit. `is_member` tells whether `from` is the
    /// address of a known member.
    pub(crate) fn note(
        &self,
        rejection: Rejection,
        key: Option<KeyId>,
        from: SocketAddr,
        is_member: impl FnOnce() -> bool,
    ) {
        metrics::rejected(rejection);
        self.counts[rejection as usize].fetch_add(1, Ordering::Relaxed);
        if !is_suspicious(rejection) {
            return debug!("gossip from {from} is refused: {}", rejection.as_str());
        }
        let now = Instant::now();
        if let (Rejection::UnknownKey, Some(key)) = (rejection, key) {
            let mut unknown_keys = self.unknown_keys.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = unknown_keys.note(key, from, is_member(), now) {
                warn!(
                    "gossip from {} is sealed with key {}, which this node does not have ({} messages, and {} other such \
                     keys beside it); if it is a member, give both the same keys; more of the kind are only counted for a \
                     minute",
                    line.from, line.key, line.messages, line.other_keys
                );
            }
            return;
        }
        if !self.is_due((rejection, key), now) {
            return;
        }
        match key {
            Some(key) => warn!(
                "gossip from {from} names key {key} and was not sealed with it by a member of this cluster: another cluster \
                 with the same key, or forged; more of the kind are only counted for a minute"
            ),
            None => warn!(
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
        logged.retain(|_, at| now.duration_since(*at) < LOG_EVERY);
        let is_due = !logged.contains_key(&subject);
        logged.entry(subject).or_insert(now);
        is_due
    }
}

/// Ids of keys that this node lacks.
#[derive(Debug, Default)]
struct UnknownKeys {
    /// Since when they are collected.
    since: Option<Instant>,
    collected: BTreeMap<KeyId, Collected>,
    /// What was named within the last [`LOG_EVERY`].
    named: BTreeMap<KeyId, Instant>,
}

#[derive(Debug)]
struct Collected {
    is_member: bool,
    messages: u32,
    from: SocketAddr,
}

impl Collected {
    fn weight(&self) -> (bool, u32) {
        (self.is_member, self.messages)
    }
}

/// What is to be said of an unknown key.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    key: KeyId,
    from: SocketAddr,
    messages: u32,
    other_keys: usize,
}

impl UnknownKeys {
    fn note(&mut self, key: KeyId, from: SocketAddr, is_member: bool, now: Instant) -> Option<Line> {
        self.named.retain(|_, at| now.duration_since(*at) < LOG_EVERY);
        if !self.named.contains_key(&key) {
            self.collect(key, from, is_member);
        }
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) < COLLECT {
            return None;
        }
        self.since = None;
        let collected = std::mem::take(&mut self.collected);
        let other_keys = collected.len().saturating_sub(1);
        let (key, heaviest) = collected.into_iter().max_by_key(|(_, collected)| collected.weight())?;
        self.named.insert(key, now);
        Some(Line { key, from: heaviest.from, messages: heaviest.messages, other_keys })
    }

    fn collect(&mut self, key: KeyId, from: SocketAddr, is_member: bool) {
        if !self.collected.contains_key(&key) && self.collected.len() >= IDS_MAX {
            let lightest = self.collected.iter().min_by_key(|(_, collected)| collected.weight());
            let Some((lightest, _)) = lightest.filter(|(_, collected)| collected.weight() <= (is_member, 1)) else {
                return;
            };
            let lightest = *lightest;
            self.collected.remove(&lightest);
        }
        let collected = self.collected.entry(key).or_insert(Collected { is_member, messages: 0, from });
        collected.messages = collected.messages.saturating_add(1);
        if is_member {
            (collected.is_member, collected.from) = (true, from);
        }
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

    fn id(n: u32) -> KeyId {
        KeyId(n.to_be_bytes())
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 7_402))
    }

    /// `seconds` of `made_up` ids a second, each of which comes twice, and five messages a second that name `real`. What is
    /// said meanwhile.
    fn lines(seconds: u32, made_up: u32, real: KeyId, is_member: bool) -> Vec<Line> {
        let (mut keys, start) = (UnknownKeys::default(), Instant::now());
        let mut lines = Vec::new();
        for tick in 0..seconds * 5 {
            let now = start + Duration::from_millis(200) * tick;
            for n in 0..made_up / 5 {
                let key = id((tick * made_up + n).wrapping_mul(2_654_435_761));
                lines.extend([key, key].into_iter().filter_map(|key| keys.note(key, address(9), false, now)));
                assert!(keys.collected.len() <= IDS_MAX);
            }
            lines.extend(keys.note(real, address(1), is_member, now));
        }
        lines
    }

    #[test]
    fn made_up_keys_do_not_hide_the_key_of_a_node_that_knocks_again_and_again() {
        for made_up in [0, 5, 100, 500] {
            let lines = lines(60, made_up, id(7), false);
            assert_eq!(lines[0].key, id(7), "{made_up} a second: {lines:?}");
            assert!(lines.len() <= 15, "{made_up} a second make {} lines", lines.len());
            assert_eq!(lines[0].other_keys > 0, made_up > 0);
            let times = lines.iter().filter(|line| line.key == id(7)).count();
            assert_eq!(times, 1, "once a minute");
        }
    }

    #[test]
    fn the_key_that_a_members_address_names_comes_first_however_many_others_there_are() {
        let lines = lines(8, 5_000, id(7), true);
        assert_eq!((lines[0].key, lines[0].from), (id(7), address(1)));
    }

    #[test]
    fn every_other_reason_is_told_of_once_a_minute() {
        let (rejections, start) = (Rejections::default(), Instant::now());
        for subject in [(Rejection::TooShort, None), (Rejection::NotAuthentic, Some(id(1)))] {
            assert!(rejections.is_due(subject, start));
            assert!(!rejections.is_due(subject, start + Duration::from_secs(59)));
            assert!(rejections.is_due(subject, start + LOG_EVERY));
        }
    }
}
