//! Sessions that hold keys, and the end of them.
//!
//! Nothing here measures time: a session with a time to live ends when the leader, which measured it, says so with the renewal it
//! measured from, so that a renewal on its way wins against an end that did not know of it.

use std::sync::Arc;

use rollcall_types::{KvKey, Millis, OnSessionEnd, Revision, SessionId, SessionSpec, Text};

use crate::catalog::Done;
use crate::kv::LockDelay;
use crate::reply::Limit;
use crate::{Actor, Catalog, Change, KvChange, KvEntry, LockSession, Refusal, Reply};

/// Most sessions in one catalogue.
pub const LOCK_SESSIONS_MAX: usize = 65_536;

impl Catalog {
    pub(super) fn open_session(
        &mut self,
        revision: Revision,
        actor: &Actor,
        id: SessionId,
        spec: &Arc<SessionSpec>,
    ) -> Result<Done, Refusal> {
        if let Some(present) = self.lock_sessions.get(&id) {
            return Ok(Done::unchanged(present.created));
        }
        if self.lock_sessions.len() >= LOCK_SESSIONS_MAX {
            return Err(Refusal::LimitReached { what: Limit::LockSessions, max: LOCK_SESSIONS_MAX as u64 });
        }
        let (spec, opened_by) = (spec.clone(), actor.clone());
        let session = Arc::new(LockSession { id, spec, created: revision, renewed: revision, opened_by });
        self.lock_sessions.insert(id, session.clone());
        self.indexes.lock_sessions = revision;
        Ok(Done::written(true, revision, Change::SessionOpened { session }))
    }

    /// No event tells of a renewal: there is one every few seconds for each session.
    pub(super) fn renew_session(&mut self, revision: Revision, id: SessionId) -> Result<Done, Refusal> {
        let session = self.lock_sessions.get_mut(&id).ok_or(Refusal::SessionNotFound { session: id })?;
        Arc::make_mut(session).renewed = revision;
        Ok(Done::new(Reply::Written { created: false, changed: true, modified: revision }, None))
    }

    pub(super) fn close_session(
        &mut self,
        revision: Revision,
        id: SessionId,
        renewed: Option<Revision>,
        reason: Option<Text>,
    ) -> Result<Done, Refusal> {
        let Some(session) = self.lock_sessions.get(&id).cloned() else {
            return Ok(Done::new(Reply::Removed { existed: false }, None));
        };
        if renewed.is_some_and(|renewed| renewed != session.renewed) {
            return Err(Refusal::PreconditionFailed { actual: Some(session.renewed) });
        }
        self.lock_sessions.remove(&id);
        self.indexes.lock_sessions = revision;
        let held: Vec<KvKey> = self.kv.held_by(id).cloned().collect();
        let changes = held.iter().map(|key| self.lose_lock(revision, key, &session.spec)).collect();
        let change = Change::SessionClosed { session, changes };
        Ok(Done { reason, ..Done::new(Reply::Removed { existed: true }, Some(change)) })
    }

    /// Takes a key from its holder, whose session ended.
    fn lose_lock(&mut self, revision: Revision, key: &KvKey, spec: &SessionSpec) -> KvChange {
        if spec.lock_delay > Millis::new(0) {
            self.kv.delay(key, LockDelay { since: revision, delay: spec.lock_delay });
        }
        match self.kv.get(key).cloned() {
            Some(present) if spec.on_end == OnSessionEnd::Release => {
                let entry = Arc::new(KvEntry { session: None, modified: revision, ..(*present).clone() });
                self.kv.put(key, entry.clone());
                KvChange::Put { key: key.clone(), entry: entry.bare() }
            }
            _ => {
                self.kv.remove(key, revision);
                KvChange::Removed { key: key.clone() }
            }
        }
    }

    pub(super) fn end_lock_delays(&mut self, ended: &[(KvKey, Revision)]) -> Done {
        let count = ended.iter().filter(|(key, since)| self.kv.end_delay(key, *since)).count();
        Done::new(Reply::Removed { existed: count > 0 }, None)
    }
}
