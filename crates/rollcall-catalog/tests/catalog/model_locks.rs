//! What transactions and sessions must come to, written down once more with plain maps.

use std::collections::BTreeMap;

use bytes::Bytes;
use rollcall_catalog::{Command, KvEntry, KvFailure, KvOp, KvProblem, KvResult, KvWrite, Precondition, Refusal, Reply};
use rollcall_types::{KvKey, OnSessionEnd, Revision, SessionId, SessionSpec};

type Keys = BTreeMap<KvKey, KvEntry>;

/// Sessions, and keys that cannot be locked yet.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    /// What was said, when it was opened, when it was renewed last.
    pub(crate) sessions: BTreeMap<SessionId, (SessionSpec, Revision, Revision)>,
    pub(crate) delays: BTreeMap<KvKey, Revision>,
    /// How often each key was ever locked.
    locked: BTreeMap<KvKey, u64>,
}

impl Locks {
    /// How often a key was locked, whatever became of it since.
    pub(crate) fn lock_index(&self, key: &KvKey) -> u64 {
        self.locked.get(key).copied().unwrap_or_default()
    }

    pub(crate) fn transact(&mut self, keys: &mut Keys, revision: Revision, ops: &[KvOp]) -> Result<Reply, Refusal> {
        let (mut results, mut failures) = (Vec::new(), Vec::new());
        let before = self.locked.clone();
        for (op, what) in (0..).zip(ops) {
            match self.execute(keys, revision, what) {
                Ok(found) => {
                    results.extend(found.into_iter().map(|(key, entry)| KvResult { op, key, entry: entry.into() }));
                }
                Err(problem) => failures.push(KvFailure { op, problem }),
            }
        }
        if failures.is_empty() {
            Ok(Reply::Transacted { results: results.into() })
        } else {
            self.locked = before;
            Err(Refusal::TransactionFailed { failures: failures.into() })
        }
    }

    fn execute(&mut self, keys: &mut Keys, at: Revision, what: &KvOp) -> Result<Vec<(KvKey, KvEntry)>, KvProblem> {
        let holder = |keys: &Keys, key: &KvKey| keys.get(key).and_then(|entry| entry.session);
        match what {
            KvOp::Put { write, expect } => {
                require(keys, &write.key, *expect)?;
                let session = holder(keys, &write.key);
                Ok(vec![self.set(keys, at, write, session)])
            }
            KvOp::Delete { key, expect } => {
                require(keys, key, *expect)?;
                keys.remove(key);
                Ok(vec![])
            }
            KvOp::DeletePrefix { prefix } => {
                keys.retain(|key, _| !key.starts_with(prefix.as_str()));
                Ok(vec![])
            }
            KvOp::Acquire { write, session } => {
                if !self.sessions.contains_key(session) {
                    return Err(KvProblem::NoSuchSession { session: *session });
                }
                match holder(keys, &write.key) {
                    Some(by) if by != *session => Err(KvProblem::Held { by }),
                    None if self.delays.contains_key(&write.key) => Err(KvProblem::LockDelayed),
                    _ => Ok(vec![self.set(keys, at, write, Some(*session))]),
                }
            }
            KvOp::Release { write, session } => match holder(keys, &write.key) {
                Some(by) if by == *session => Ok(vec![self.set(keys, at, write, None)]),
                by => Err(KvProblem::NotHeld { by }),
            },
            KvOp::Get { key } => {
                keys.get(key).map(|entry| vec![(key.clone(), entry.clone())]).ok_or(KvProblem::Missing)
            }
            KvOp::GetPrefix { prefix } => {
                let found = keys.iter().filter(|(key, _)| key.starts_with(prefix.as_str()));
                Ok(found.map(|(key, entry)| (key.clone(), entry.clone())).collect())
            }
            KvOp::Check { key, expect } => require(keys, key, *expect).map(|()| bare(keys, key)),
            KvOp::CheckSession { key, session } => match keys.get(key) {
                None => Err(KvProblem::Missing),
                Some(entry) if entry.session == Some(*session) => Ok(bare(keys, key)),
                Some(entry) => Err(KvProblem::NotHeld { by: entry.session }),
            },
            KvOp::GetOrEmpty { key } => Ok(vec![(key.clone(), keys.get(key).cloned().unwrap_or_default())]),
        }
    }

    pub(crate) fn about_sessions(
        &mut self,
        keys: &mut Keys,
        at: Revision,
        command: &Command,
    ) -> Result<Reply, Refusal> {
        let changed = |created| Reply::Written { created, changed: true, modified: at };
        match command {
            Command::OpenSession { id, spec } => match self.sessions.get(id) {
                Some((_, opened, _)) => Ok(Reply::Written { created: false, changed: false, modified: *opened }),
                None => {
                    self.sessions.insert(*id, ((**spec).clone(), at, at));
                    Ok(changed(true))
                }
            },
            Command::RenewSession { id } => {
                let (_, _, renewed) = self.sessions.get_mut(id).ok_or(Refusal::SessionNotFound { session: *id })?;
                *renewed = at;
                Ok(changed(false))
            }
            Command::CloseSession { id, renewed, .. } => self.close(keys, at, *id, *renewed),
            Command::EndLockDelays { ended } => {
                let before = self.delays.len();
                self.delays.retain(|key, since| !ended.contains(&(key.clone(), *since)));
                Ok(Reply::Removed { existed: self.delays.len() < before })
            }
            _ => unreachable!("about sessions"),
        }
    }

    fn close(
        &mut self,
        keys: &mut Keys,
        at: Revision,
        id: SessionId,
        expected: Option<Revision>,
    ) -> Result<Reply, Refusal> {
        let Some((spec, _, renewed)) = self.sessions.get(&id).cloned() else {
            return Ok(Reply::Removed { existed: false });
        };
        if expected.is_some_and(|expected| expected != renewed) {
            return Err(Refusal::PreconditionFailed { actual: Some(renewed) });
        }
        self.sessions.remove(&id);
        let held: Vec<KvKey> =
            keys.iter().filter(|(_, entry)| entry.session == Some(id)).map(|(key, _)| key.clone()).collect();
        for key in held {
            if spec.lock_delay.get() > 0 {
                self.delays.insert(key.clone(), at);
            }
            match spec.on_end {
                OnSessionEnd::Delete => {
                    keys.remove(&key);
                }
                OnSessionEnd::Release => {
                    let entry = keys.get_mut(&key).expect("it is held");
                    (entry.session, entry.modified) = (None, at);
                }
            }
        }
        Ok(Reply::Removed { existed: true })
    }

    /// The entry after a write, as its writer is told: without the value.
    fn set(&mut self, keys: &mut Keys, at: Revision, write: &KvWrite, session: Option<SessionId>) -> (KvKey, KvEntry) {
        let old = keys.get(&write.key).cloned();
        let is_new_holder = session.is_some() && old.as_ref().and_then(|old| old.session) != session;
        let lock_index = self.locked.entry(write.key.clone()).or_default();
        *lock_index += u64::from(is_new_holder);
        let new = KvEntry {
            value: write.value.clone(),
            flags: write.flags,
            created: old.as_ref().map_or(at, |old| old.created),
            modified: at,
            lock_index: *lock_index,
            session,
        };
        let same = |old: &KvEntry| old.value == new.value && old.flags == new.flags && old.session == new.session;
        let entry = old.filter(same).unwrap_or(new);
        keys.insert(write.key.clone(), entry.clone());
        (write.key.clone(), KvEntry { value: Bytes::new(), ..entry })
    }
}

fn require(keys: &Keys, key: &KvKey, expect: Precondition) -> Result<(), KvProblem> {
    let actual = keys.get(key).map(|entry| entry.modified);
    super::model::require(expect, actual).map_err(|_| KvProblem::PreconditionFailed { actual })
}

/// The entry that is checked, as whoever checks it is told: without the value.
fn bare(keys: &Keys, key: &KvKey) -> Vec<(KvKey, KvEntry)> {
    keys.get(key).map(|entry| (key.clone(), KvEntry { value: Bytes::new(), ..entry.clone() })).into_iter().collect()
}
