//! Request bodies: each bounded in size and time, all of them together bounded in memory.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use rollcall_api::{Code, FieldError, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::{Failure, Result};

/// Largest request body, bytes; the largest legal one is a key's value of 512 KiB.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// Longest wait for a whole request body.
const BODY_DEADLINE: Duration = Duration::from_secs(20);
/// The part of a body that every request may hold, bytes. Registrations are smaller.
const FREE_BYTES: usize = 16 << 10;
/// What all bodies together may hold beyond their free part, bytes: 128 MiB. When it is taken, large bodies are refused.
const SHARED_BYTES: usize = 128 << 20;

/// The memory that large bodies share.
#[derive(Debug, Clone)]
pub(crate) struct BodyMemory(Arc<Semaphore>);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SHARED_BYTES)))
    }
}

/// A body that was read, with the memory it holds.
#[derive(Debug)]
pub(crate) struct HeldBody {
    pub(crate) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

impl BodyMemory {
    /// Reads a body of at most [`BODY_BYTES_MAX`] within [`BODY_DEADLINE`].
    pub(crate) async fn read(&self, body: Body) -> Result<HeldBody> {
        self.read_within(body, BODY_BYTES_MAX).await
    }

    /// Reads a body of at most `bytes_max` within [`BODY_DEADLINE`].
    pub(crate) async fn read_within<B>(&self, body: B, bytes_max: usize) -> Result<HeldBody>
    where
        B: hyper::body::Body<Data = Bytes, Error: Display> + Unpin,
    {
        match tokio::time::timeout(BODY_DEADLINE, self.collect(body, bytes_max)).await {
            Ok(read) => read,
            Err(_) => {
                let detail = format!("the body did not arrive within {} s", BODY_DEADLINE.as_secs());
                Err(Failure::new(Code::RequestTimeout, detail))
            }
        }
    }

    async fn collect<B>(&self, mut body: B, bytes_max: usize) -> Result<HeldBody>
    where
        B: hyper::body::Body<Data = Bytes, Error: Display> + Unpin,
    {
        let mut bytes = BytesMut::new();
        let mut memory: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| Failure::new(Code::InvalidBody, format!("the body could not be read: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > bytes_max {
                return Err(too_large(bytes_max));
            }
            bytes.extend_from_slice(&data);
            let held = memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let missing = bytes.len().saturating_sub(FREE_BYTES + held);
            if missing > 0 {
                let more = self.0.clone().try_acquire_many_owned(missing as u32).map_err(|_| {
                    Failure::new(Code::TooManyRequests, "this node holds its most large request bodies; send it again")
                })?;
                match &mut memory {
                    Some(memory) => memory.merge(more),
                    None => memory = Some(more),
                }
            }
        }
        Ok(HeldBody { bytes: bytes.freeze(), _memory: memory })
    }
}

fn too_large(bytes_max: usize) -> Failure {
    let rule = format!("must be at most {bytes_max} bytes");
    let mut problem = Problem::new(Code::BodyTooLarge, format!("the body {rule}"));
    problem.errors.push(FieldError::new(".", rule));
    problem.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(read: Result<HeldBody>) -> Option<Code> {
        read.err().map(|failure| failure.problem.code)
    }

    #[tokio::test]
    async fn large_bodies_share_their_memory_and_small_ones_need_none() {
        let memory = BodyMemory(Arc::new(Semaphore::new(BODY_BYTES_MAX)));
        let large = || Body::from(vec![b'x'; BODY_BYTES_MAX]);
        let first = memory.read(large()).await.unwrap();
        assert_eq!(first.bytes.len(), BODY_BYTES_MAX);
        assert_eq!(code(memory.read(large()).await), Some(Code::TooManyRequests));
        assert!(memory.read(Body::from(vec![b'x'; FREE_BYTES])).await.is_ok());
        drop(first);
        assert!(memory.read(large()).await.is_ok(), "memory comes back with the request that held it");
        assert_eq!(code(memory.read(Body::from(vec![b'x'; BODY_BYTES_MAX + 1])).await), Some(Code::BodyTooLarge));
        assert_eq!(memory.0.available_permits(), BODY_BYTES_MAX);
    }
}
