//! The key-value space.

use std::sync::Arc;

use bytes::Bytes;
use rollcall_types::{KvKey, Revision};

use super::check;
use crate::catalog::{Done, KV_BYTES_MAX};
use crate::reply::Limit;
use crate::{Catalog, Change, KvEntry, Precondition, Refusal, Reply};

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
        if let Some(present) = &present
            && present.value == *value
            && present.flags == flags
        {
            return Ok(Done::unchanged(present.modified));
        }
        let freed = present.as_ref().map_or(0, |entry| size(key, entry));
        let created = present.as_ref().map_or(revision, |entry| entry.created);
        // The value is copied out of the log entry's buffer, which it would otherwise keep alive as a whole.
        let value = Bytes::copy_from_slice(value);
        let entry = Arc::new(KvEntry { value, flags, created, modified: revision });
        let bytes = self.kv_bytes - freed + size(key, &entry);
        if bytes > KV_BYTES_MAX {
            return Err(Refusal::LimitReached { what: Limit::KvBytes, max: KV_BYTES_MAX });
        }
        self.kv_bytes = bytes;
        self.kv.insert(key.clone(), entry.clone());
        Ok(Done::written(present.is_none(), revision, Change::KvPut { key: key.clone(), entry }))
    }

    pub(super) fn kv_delete(&mut self, key: &KvKey, expect: Precondition) -> Result<Done, Refusal> {
        let present = self.kv.get(key);
        check(expect, present.map(|entry| entry.modified))?;
        let Some(present) = present else {
            return Ok(Done::new(Reply::Removed { existed: false }, None));
        };
        self.kv_bytes -= size(key, present);
        self.kv.remove(key);
        Ok(Done::new(Reply::Removed { existed: true }, Some(Change::KvRemoved { key: key.clone() })))
    }
}

/// What a key counts against [`KV_BYTES_MAX`].
pub(crate) fn size(key: &KvKey, entry: &KvEntry) -> u64 {
    (key.len() + entry.value.len()) as u64
}
