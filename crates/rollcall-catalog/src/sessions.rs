//! Exactly-once: which requests were already applied, and what was answered.
//!
//! Two ways to name a request, for two kinds of clients. An *idempotency key* is remembered for
//! [`IDEMPOTENCY_RETENTION`] of log time. A *session* (Raft dissertation §6.3) numbers its requests and says which
//! replies it has seen, so its memory is as small as what is under way. Nodes use one each for the writes they forward;
//! callers may open their own, under names that begin with [`CALLER_PREFIX`]. The two are kept in pools of their own, so
//! that no number of callers can push a node's session out.
//!
//! A caller's session is never forgotten within [`SESSION_RETENTION`] of its last request: when the pool is full of such
//! sessions a new one is refused, since forgetting another one would let its retries be applied twice.
//!
//! All bounds act on the log alone (entry count and the time in the entries), so every node forgets the same things.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use rollcall_types::{Millis, Revision, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{Limit, Outcome, Refusal, RequestId};

/// Idempotency keys that are remembered; beyond it the oldest is forgotten.
pub const IDEMPOTENCY_KEYS_MAX: usize = 262_144;
/// How long an idempotency key is remembered, in log time: one hour.
pub const IDEMPOTENCY_RETENTION: Millis = Millis::new(3_600_000);
/// How the names of callers' sessions begin; those of nodes begin with the node's id.
pub const CALLER_PREFIX: &str = "c/";
/// Sessions of callers that are remembered.
pub const CALLER_SESSIONS_MAX: usize = 4_096;
/// Answers kept per session of a caller, so the most requests that one may have under way.
pub const CALLER_WINDOW: usize = 64;
/// How long a caller's session is remembered after its last request at least, in log time: one hour.
pub const SESSION_RETENTION: Millis = Millis::new(3_600_000);
/// Sessions of nodes that are remembered; beyond it the one that was silent longest is forgotten. Each start of a node
/// opens one, and a node whose session is forgotten opens another.
pub const NODE_SESSIONS_MAX: usize = 1_024;
/// Answers kept per session of a node, so the most writes that one node may forward at once.
pub const NODE_WINDOW: usize = 16_384;
/// A session's place in the order of silence is moved at most this often, so that a busy one costs no extra write.
const TOUCH_EVERY: Millis = Millis::new(60_000);

/// What is known of a request id.
pub(crate) enum Seen {
    /// Nothing: apply it, then [`Sessions::record`] the answer.
    New,
    /// It was applied; this was the answer.
    Answered(Outcome),
    /// It must not be applied.
    Refused(Refusal),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    fingerprint: u64,
    at: UnixMillis,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    touched: UnixMillis,
    /// Answers below this number are forgotten.
    floor: u64,
    answers: OrdMap<u64, Outcome>,
}

/// The tables of both kinds.
///
/// Invariant: `key_order` holds the keys of `keys`, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    keys: OrdMap<Arc<str>, Arc<KeyRecord>>,
    key_order: Vector<Arc<str>>,
    of_nodes: Pool,
    of_callers: Pool,
}

impl Sessions {
    /// What is known of `id` at log time `now`.
    pub(crate) fn look_up(&self, id: &RequestId, now: UnixMillis) -> Seen {
        match id {
            RequestId::Key { key, fingerprint } => match self.keys.get(key) {
                None => Seen::New,
                Some(record) if record.fingerprint == *fingerprint => Seen::Answered(record.outcome.clone()),
                Some(_) => Seen::Refused(Refusal::IdempotencyConflict),
            },
            RequestId::Sequence { client, sequence, acknowledged_below } => {
                let pool = if is_caller(client) { &self.of_callers } else { &self.of_nodes };
                match pool.sessions.get(client) {
                    None if *acknowledged_below > 1 => Seen::Refused(Refusal::SessionExpired),
                    None if is_caller(client) && pool.is_busy(now) => {
                        Seen::Refused(Refusal::LimitReached { what: Limit::Sessions, max: CALLER_SESSIONS_MAX as u64 })
                    }
                    None => Seen::New,
                    Some(session) if *sequence < session.floor => Seen::Refused(Refusal::AnswerForgotten),
                    Some(session) => {
                        session.answers.get(sequence).map_or(Seen::New, |outcome| Seen::Answered(outcome.clone()))
                    }
                }
            }
        }
    }

    pub(crate) fn record(&mut self, id: &RequestId, outcome: &Outcome, now: UnixMillis) {
        match id {
            RequestId::Key { key, fingerprint } => self.record_key(key, *fingerprint, outcome, now),
            RequestId::Sequence { client, sequence, acknowledged_below } => {
                let (pool, bounds) = self.pool(client);
                pool.record(bounds, client, *sequence, *acknowledged_below, outcome, now);
            }
        }
    }

    fn pool(&mut self, client: &str) -> (&mut Pool, Bounds) {
        if is_caller(client) { (&mut self.of_callers, OF_CALLERS) } else { (&mut self.of_nodes, OF_NODES) }
    }

    fn record_key(&mut self, key: &Arc<str>, fingerprint: u64, outcome: &Outcome, now: UnixMillis) {
        let record = KeyRecord { fingerprint, at: now, outcome: outcome.clone() };
        self.keys.insert(key.clone(), Arc::new(record));
        self.key_order.push_back(key.clone());
        while self.key_order.front().is_some_and(|oldest| self.is_forgettable(oldest, now)) {
            if let Some(oldest) = self.key_order.pop_front() {
                self.keys.remove(&oldest);
            }
        }
    }

    fn is_forgettable(&self, key: &str, now: UnixMillis) -> bool {
        self.keys.len() > IDEMPOTENCY_KEYS_MAX
            || self.keys.get(key).is_none_or(|record| record.at.plus(IDEMPOTENCY_RETENTION) < now)
    }

    pub(crate) fn keys_in_order(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<KeyRecord>)> + '_ {
        self.key_order.iter().filter_map(|key| self.keys.get_key_value(key))
    }

    /// All sessions, in the order of their names: a node's begins with a digit, a caller's with a letter.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = (&Arc<str>, &SessionRecord)> + '_ {
        self.of_nodes.sessions.iter().chain(self.of_callers.sessions.iter())
    }

    /// Takes back an idempotency key; keys come oldest first. `false` when it cannot follow those before it in a
    /// catalogue that has come to `revision` and `clock`.
    pub(crate) fn restore_key(
        &mut self,
        key: Arc<str>,
        record: Arc<KeyRecord>,
        revision: Revision,
        clock: UnixMillis,
    ) -> bool {
        let newest = self.key_order.last().and_then(|key| self.keys.get(key));
        let follows = newest.is_none_or(|newest| newest.outcome.revision < record.outcome.revision);
        let fits = record.outcome.revision <= revision && record.at <= clock && self.keys.len() < IDEMPOTENCY_KEYS_MAX;
        self.key_order.push_back(key.clone());
        self.keys.insert(key, record).is_none() && follows && fits
    }

    /// Takes back a session; sessions come in the order of their names. `false` as for [`Self::restore_key`].
    pub(crate) fn restore_session(
        &mut self,
        client: Arc<str>,
        record: SessionRecord,
        revision: Revision,
        clock: UnixMillis,
    ) -> bool {
        let (pool, bounds) = self.pool(&client);
        let follows = pool.sessions.get_max().is_none_or(|(last, _)| *last < client);
        let fits = record.is_possible(bounds, revision, clock) && pool.sessions.len() < bounds.sessions_max;
        pool.by_silence.insert((record.touched, client.clone()));
        pool.sessions.insert(client, record);
        follows && fits
    }
}

fn is_caller(client: &str) -> bool {
    client.starts_with(CALLER_PREFIX)
}

/// How much one pool remembers.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    sessions_max: usize,
    window: usize,
}

const OF_NODES: Bounds = Bounds { sessions_max: NODE_SESSIONS_MAX, window: NODE_WINDOW };
const OF_CALLERS: Bounds = Bounds { sessions_max: CALLER_SESSIONS_MAX, window: CALLER_WINDOW };

/// The sessions of nodes, or those of callers.
///
/// Invariant: `by_silence` holds `(touched, client)` for every entry of `sessions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pool {
    sessions: OrdMap<Arc<str>, SessionRecord>,
    by_silence: OrdSet<(UnixMillis, Arc<str>)>,
}

impl Pool {
    /// Whether callers hold all places with sessions that must not be forgotten yet.
    fn is_busy(&self, now: UnixMillis) -> bool {
        let is_full = self.sessions.len() >= CALLER_SESSIONS_MAX;
        // `touched` may lie a touch behind the last request.
        let retention = SESSION_RETENTION.get() + TOUCH_EVERY.get();
        is_full && self.by_silence.get_min().is_some_and(|(touched, _)| now.get() <= touched.get() + retention)
    }

    fn record(
        &mut self,
        bounds: Bounds,
        client: &Arc<str>,
        sequence: u64,
        floor: u64,
        outcome: &Outcome,
        now: UnixMillis,
    ) {
        if !self.sessions.contains_key(client) {
            // Room is made first: among sessions equally silent the new one must not be the one to go.
            self.evict(bounds.sessions_max);
            self.by_silence.insert((now, client.clone()));
            self.sessions.insert(client.clone(), SessionRecord { touched: now, ..SessionRecord::default() });
        }
        let Some(session) = self.sessions.get_mut(client) else { return };
        session.record(bounds.window, sequence, floor, outcome);
        if session.touched.plus(TOUCH_EVERY) < now {
            self.by_silence.remove(&(session.touched, client.clone()));
            session.touched = now;
            self.by_silence.insert((now, client.clone()));
        }
    }

    /// Forgets the most silent sessions until there is room for one more.
    fn evict(&mut self, max: usize) {
        while self.sessions.len() >= max {
            let Some(silent) = self.by_silence.get_min().cloned() else { return };
            self.sessions.remove(&silent.1);
            self.by_silence.remove(&silent);
        }
    }
}

impl SessionRecord {
    fn record(&mut self, window: usize, sequence: u64, floor: u64, outcome: &Outcome) {
        self.answers.insert(sequence, outcome.clone());
        // A floor above this request would forget the answer it is about to get.
        self.floor = self.floor.max(floor.min(sequence));
        while let Some(&(oldest, _)) = self.answers.get_min() {
            if oldest >= self.floor && self.answers.len() <= window {
                break;
            }
            self.answers.remove(&oldest);
            self.floor = self.floor.max(oldest + 1);
        }
    }

    /// Whether a session can look like this in a catalogue that has come to `revision` and `clock`.
    fn is_possible(&self, bounds: Bounds, revision: Revision, clock: UnixMillis) -> bool {
        self.touched <= clock
            && (1..=bounds.window).contains(&self.answers.len())
            && self.answers.keys().all(|sequence| *sequence >= self.floor)
            && self.answers.values().all(|outcome| outcome.revision <= revision)
    }
}
