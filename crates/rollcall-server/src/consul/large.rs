//! Answers as long as what is stored: rendered straight into one buffer, whose size is known before, and all of them together
//! bounded in memory until they are sent.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use metrics::counter;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer;
use super::failure::{Failure, Result};
use super::metrics::LARGE_REFUSED;

/// An answer up to this size takes nothing of what all share, bytes.
const FREE_BYTES: usize = 256 << 10;
/// What all larger answers together may hold, and so the largest of them, 512 MiB: the whole store in base64 if its values are
/// longer than a few hundred bytes.
const SHARED_BYTES: usize = 512 << 20;
/// Permits are counted in these, bytes.
const UNIT_BYTES: usize = 1 << 10;

/// The memory that large answers share.
#[derive(Debug, Clone)]
pub(crate) struct AnswerMemory(Arc<Semaphore>);

impl Default for AnswerMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SHARED_BYTES / UNIT_BYTES)))
    }
}

/// Bytes with the memory they take; it is given back when the last of those who send them is done.
struct Held {
    bytes: Vec<u8>,
    _memory: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AnswerMemory {
    /// A list as JSON, of about `size` bytes.
    ///
    /// # Errors
    /// 400 when no answer may be so large, 429 when others take the memory.
    pub(crate) fn list<T: Serialize>(&self, size: usize, items: impl Iterator<Item = T>) -> Result<Response> {
        let memory = self.take(size)?;
        let mut bytes = Vec::with_capacity(size);
        bytes.push(b'[');
        for (number, item) in items.enumerate() {
            if number > 0 {
                bytes.push(b',');
            }
            serde_json::to_writer(&mut bytes, &item).map_err(|error| Failure::internal(&error))?;
        }
        bytes.push(b']');
        Ok(answer::json_bytes(Bytes::from_owner(Held { bytes, _memory: memory })))
    }

    fn take(&self, size: usize) -> Result<Option<OwnedSemaphorePermit>> {
        if size <= FREE_BYTES {
            return Ok(None);
        }
        let mib = |bytes: usize| bytes >> 20;
        if size > SHARED_BYTES {
            return Err(Failure::bad_request(format!(
                "the answer would have {} MiB, more than {}: ask for a longer prefix",
                mib(size),
                mib(SHARED_BYTES)
            )));
        }
        let units = u32::try_from(size.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let memory = self.0.clone().try_acquire_many_owned(units).map_err(|_| {
            counter!(LARGE_REFUSED).increment(1);
            Failure::too_many(
                "this node is sending its most large answers; ask again, another node, or for a longer prefix",
            )
        })?;
        Ok(Some(memory))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn large_answers_share_their_memory_until_they_are_sent_and_small_ones_need_none() {
        let memory = AnswerMemory(Arc::new(Semaphore::new(1_024)));
        let list = |size| memory.list(size, ["a", "b"].iter());
        let first = list(1_000 * UNIT_BYTES).unwrap();
        assert_eq!(list(300 * UNIT_BYTES).unwrap_err().status, 429);
        assert!(list(FREE_BYTES).is_ok());
        let sent = first.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&sent[..], br#"["a","b"]"#);
        assert_eq!(list(300 * UNIT_BYTES).unwrap_err().status, 429, "it is on its way");
        drop(sent);
        assert!(list(300 * UNIT_BYTES).is_ok());
        assert_eq!(memory.0.available_permits(), 1_024);
        let failure = list(SHARED_BYTES + 1).unwrap_err();
        assert_eq!((failure.status.as_u16(), failure.text.contains("longer prefix")), (400, true));
    }
}
