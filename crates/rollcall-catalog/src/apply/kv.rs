//! The key-value space: one key at a time, or several at once.
//!
//! A transaction works on a copy of the keys (a few pointers) that takes their place when every operation of it went through.

use std::sync::Arc;

use bytes::Bytes;
use rollcall_types::{KvKey, Revision, SessionId};

use super::check;
use crate::catalog::Done;
use crate::kv::{KV_BYTES_MAX, Keys};
use crate::reply::Limit;
use crate::request::{KV_OPS_MAX, KvOp, KvWrite};
use crate::{Catalog, Change, KvChange, KvEntry, KvFailure, KvProblem, KvResult, Precondition, Refusal, Reply};

/// Most keys that one session may hold: when it ends, one event tells of all of them.
const SESSION_KEYS_MAX: usize = 8_192;
/// Most bytes of values that one transaction may ask for.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Most entries that one transaction may ask for.
const ANSWER_ENTRIES_MAX: usize = 4_096;

impl Catalog {
    pub(super) fn kv_put(
        &mut self,
        revision: Revision,
        key: &KvKey,
        value: &Bytes,
        flags: u64,
        expect: Precondition,
    ) -> Result<Done, Refusal> {
        let present = self.kv.get(key).cloned();
        check(expect, present.as_ref().map(|entry| entry.modified))?;
        let is_same = |present: &Arc<KvEntry>| present.value == *value && present.flags == flags;
        if let Some(present) = present.as_ref().filter(|present| is_same(present)) {
            return Ok(Done::unchanged(present.modified));
        }
        let entry = Arc::new(written(&self.kv, key, revision, value, flags));
        let mut keys = self.kv.clone();
        keys.put(key, entry.clone());
        if keys.bytes() > KV_BYTES_MAX {
            return Err(no_room());
        }
        self.kv = keys;
        Ok(Done::written(present.is_none(), revision, Change::KvPut { key: key.clone(), entry: entry.bare() }))
    }

    pub(super) fn kv_delete(&mut self, revision: Revision, key: &KvKey, expect: Precondition) -> Result<Done, Refusal> {
        check(expect, self.kv.get(key).map(|entry| entry.modified))?;
        if !self.kv.remove(key, revision) {
            return Ok(Done::new(Reply::Removed { existed: false }, None));
        }
        Ok(Done::new(Reply::Removed { existed: true }, Some(Change::KvRemoved { key: key.clone() })))
    }

    /// Does all of the operations, in their order, or none.
    pub(super) fn kv_transact(&mut self, revision: Revision, ops: &[KvOp]) -> Result<Done, Refusal> {
        if ops.len() > KV_OPS_MAX {
            return Err(Refusal::TooManyOperations { count: ops.len() as u64, max: KV_OPS_MAX as u64 });
        }
        let mut transaction = Transaction::of(self, revision);
        let mut failures = Vec::new();
        for (op, what) in (0_u32..).zip(ops) {
            if let Err(problem) = transaction.execute(op, what) {
                failures.push(KvFailure { op, problem });
            }
        }
        if !failures.is_empty() {
            return Err(Refusal::TransactionFailed { failures: failures.into() });
        }
        let Transaction { keys, results, changes, .. } = transaction;
        if keys.bytes() > KV_BYTES_MAX {
            return Err(no_room());
        }
        self.kv = keys;
        Ok(Done::new(Reply::Transacted { results: results.into() }, Change::of_keys(changes)))
    }
}

/// A transaction under way.
struct Transaction<'c> {
    catalog: &'c Catalog,
    revision: Revision,
    keys: Keys,
    results: Vec<KvResult>,
    answer_bytes: usize,
    changes: Vec<KvChange>,
}

impl<'c> Transaction<'c> {
    fn of(catalog: &'c Catalog, revision: Revision) -> Self {
        let keys = catalog.kv.clone();
        Self { catalog, revision, keys, results: Vec::new(), answer_bytes: 0, changes: Vec::new() }
    }

    fn execute(&mut self, op: u32, what: &KvOp) -> Result<(), KvProblem> {
        match what {
            KvOp::Put { write, expect } => {
                self.expect(&write.key, *expect)?;
                self.write(op, write, |_| {});
                Ok(())
            }
            KvOp::Delete { key, expect } => {
                self.expect(key, *expect)?;
                if self.keys.remove(key, self.revision) {
                    self.changes.push(KvChange::Removed { key: key.clone() });
                }
                Ok(())
            }
            KvOp::DeletePrefix { prefix } => {
                let keys = self.keys.remove_under(prefix, self.revision);
                if keys > 0 {
                    self.changes.push(KvChange::PrefixRemoved { prefix: prefix.clone(), keys });
                }
                Ok(())
            }
            KvOp::Acquire { write, session } => self.acquire(op, write, *session),
            KvOp::Release { write, session } => self.release(op, write, *session),
            KvOp::Get { key } => {
                let entry = self.keys.get(key).cloned().ok_or(KvProblem::Missing)?;
                self.answer(op, key, entry)
            }
            KvOp::GetPrefix { prefix } => {
                let found: Vec<_> = self.keys.under(prefix).take(ANSWER_ENTRIES_MAX + 1).collect();
                let found: Vec<_> = found.into_iter().map(|(key, entry)| (key.clone(), entry.clone())).collect();
                found.into_iter().try_for_each(|(key, entry)| self.answer(op, &key, entry))
            }
            KvOp::Check { key, expect } => {
                self.expect(key, *expect)?;
                self.show(op, key);
                Ok(())
            }
            KvOp::CheckSession { key, session } => match self.keys.get(key).map(|entry| entry.session) {
                Some(holder) if holder == Some(*session) => {
                    self.show(op, key);
                    Ok(())
                }
                Some(by) => Err(KvProblem::NotHeld { by }),
                None => Err(KvProblem::Missing),
            },
            KvOp::GetOrEmpty { key } => {
                let entry = self.keys.get(key).cloned().unwrap_or_default();
                self.answer(op, key, entry)
            }
        }
    }

    /// Tells of a key that was checked, without its value.
    fn show(&mut self, op: u32, key: &KvKey) {
        let entry = self.keys.get(key).map(|entry| entry.bare());
        self.results.extend(entry.map(|entry| KvResult { op, key: key.clone(), entry }));
    }

    fn expect(&self, key: &KvKey, expect: Precondition) -> Result<(), KvProblem> {
        let actual = self.keys.get(key).map(|entry| entry.modified);
        check(expect, actual).map_err(|_| KvProblem::PreconditionFailed { actual })
    }

    fn acquire(&mut self, op: u32, write: &KvWrite, session: SessionId) -> Result<(), KvProblem> {
        if !self.catalog.lock_sessions.contains_key(&session) {
            return Err(KvProblem::NoSuchSession { session });
        }
        let holder = self.keys.get(&write.key).and_then(|entry| entry.session);
        match holder {
            Some(holder) if holder == session => self.write(op, write, |_| {}),
            Some(by) => return Err(KvProblem::Held { by }),
            None if self.keys.delays().contains_key(&write.key) => return Err(KvProblem::LockDelayed),
            None if self.keys.held_by(session).nth(SESSION_KEYS_MAX - 1).is_some() => {
                return Err(KvProblem::TooManyKeys { max: SESSION_KEYS_MAX as u64 });
            }
            None => self.write(op, write, |entry| {
                entry.lock_index += 1;
                entry.session = Some(session);
            }),
        }
        Ok(())
    }

    fn release(&mut self, op: u32, write: &KvWrite, session: SessionId) -> Result<(), KvProblem> {
        let holder = self.keys.get(&write.key).and_then(|entry| entry.session);
        if holder != Some(session) {
            return Err(KvProblem::NotHeld { by: holder });
        }
        self.write(op, write, |entry| entry.session = None);
        Ok(())
    }

    /// Writes a key, with what `lock` does to it; nothing when it is like that already.
    fn write(&mut self, op: u32, write: &KvWrite, lock: impl FnOnce(&mut KvEntry)) {
        let present = self.keys.get(&write.key).cloned();
        let mut entry = written(&self.keys, &write.key, self.revision, &write.value, write.flags);
        lock(&mut entry);
        let is_same = |present: &Arc<KvEntry>| KvEntry { modified: present.modified, ..entry.clone() } == **present;
        let entry = match present.filter(is_same) {
            Some(present) => present,
            None => {
                let entry = Arc::new(entry);
                self.keys.put(&write.key, entry.clone());
                self.changes.push(KvChange::Put { key: write.key.clone(), entry: entry.bare() });
                entry
            }
        };
        self.results.push(KvResult { op, key: write.key.clone(), entry: entry.bare() });
    }

    fn answer(&mut self, op: u32, key: &KvKey, entry: Arc<KvEntry>) -> Result<(), KvProblem> {
        self.answer_bytes += key.len() + entry.value.len();
        if self.answer_bytes > ANSWER_BYTES_MAX || self.results.len() >= ANSWER_ENTRIES_MAX {
            return Err(KvProblem::AnswerTooLong { bytes_max: ANSWER_BYTES_MAX as u64 });
        }
        self.results.push(KvResult { op, key: key.clone(), entry });
        Ok(())
    }
}

/// The entry after a write of `value`: who holds the key is another matter.
fn written(keys: &Keys, key: &KvKey, revision: Revision, value: &Bytes, flags: u64) -> KvEntry {
    let present = keys.get(key);
    KvEntry {
        // The value is copied out of the log entry's buffer, which it would otherwise keep alive as a whole.
        value: Bytes::copy_from_slice(value),
        flags,
        created: present.map_or(revision, |entry| entry.created),
        modified: revision,
        lock_index: keys.lock_index(key),
        session: present.and_then(|entry| entry.session),
    }
}

fn no_room() -> Refusal {
    Refusal::LimitReached { what: Limit::KvBytes, max: KV_BYTES_MAX }
}
