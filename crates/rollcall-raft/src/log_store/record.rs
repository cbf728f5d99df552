//! What raft-log stores for us, and how it becomes bytes: a length, then the encoding of [`crate::codec`].

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use openraft::storage::IOFlushed;
use raft_log::codeq::{Decode, Encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::syncs::Syncs;
use crate::codec::{self, CodecError, Kind};
use crate::types::{LogId, Payload, TypeConfig, Vote};

/// A value of the log that has a kind of its own.
pub(crate) trait Recorded: Serialize + DeserializeOwned {
    const KIND: Kind;
}

impl Recorded for LogId {
    const KIND: Kind = Kind::LogId;
}

impl Recorded for Vote {
    const KIND: Kind = Kind::Vote;
}

/// A log id or a vote as raft-log wants it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record<T>(pub(crate) T);

/// The payload of an entry, whose encoded length bounds caches and messages.
///
/// A record that was read stays encoded until its entry is asked for: opening the log reads all of it, and most entries
/// are in the snapshot already.
#[derive(Debug, Clone)]
pub(crate) enum RecordPayload {
    /// As it was appended.
    Value(Arc<Appended>),
    /// As it was read.
    Encoded(Arc<[u8]>),
}

/// A payload and its encoded length.
#[derive(Debug, Clone)]
pub(crate) struct Appended {
    value: Payload,
    encoded_len: u32,
}

thread_local! {
    /// Encoding happens on few threads, many times a millisecond; the buffer spares an allocation each.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A buffer larger than this is not kept.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

fn with_encoded<T: Serialize, R>(kind: Kind, value: &T, use_bytes: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        codec::encode_into(buffer, kind, value)?;
        let result = use_bytes(buffer);
        if buffer.capacity() > BUFFER_KEPT_BYTES {
            *buffer = Vec::new();
        }
        Ok(result)
    })
}

fn write_bytes(bytes: &[u8], writer: &mut impl Write) -> io::Result<usize> {
    // The codec limits a value to 64 MiB.
    let len = (bytes.len() as u32).encode(&mut *writer)?;
    writer.write_all(bytes)?;
    Ok(len + bytes.len())
}

/// Reads the bytes that [`write_bytes`] wrote.
fn read_bytes<R>(reader: &mut impl Read, use_bytes: impl FnOnce(&[u8]) -> Result<R, CodecError>) -> io::Result<R> {
    let len = u32::decode(&mut *reader)?;
    if len as usize > codec::BYTES_MAX {
        return Err(CodecError::TooLarge(len as usize).into());
    }
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        // By `take`, not by a buffer of the claimed length: a damaged length must not allocate what is not there.
        let read = reader.take(u64::from(len)).read_to_end(buffer)?;
        if read < len as usize {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the record is cut"));
        }
        Ok(use_bytes(buffer)?)
    })
}

impl<T: Recorded> Encode for Record<T> {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        with_encoded(T::KIND, &self.0, |bytes| write_bytes(bytes, &mut writer))?
    }
}

impl<T: Recorded> Decode for Record<T> {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        read_bytes(&mut reader, |bytes| codec::decode(T::KIND, bytes)).map(Self)
    }
}

impl RecordPayload {
    pub(crate) fn new(value: Payload) -> io::Result<Self> {
        let encoded_len = with_encoded(Kind::Payload, &value, |bytes| bytes.len() as u32)?;
        Ok(Self::Value(Arc::new(Appended { value, encoded_len })))
    }

    pub(crate) fn encoded_len(&self) -> u64 {
        match self {
            Self::Value(appended) => u64::from(appended.encoded_len),
            Self::Encoded(bytes) => bytes.len() as u64,
        }
    }

    pub(crate) fn into_value(self) -> Result<Payload, CodecError> {
        match self {
            Self::Value(appended) => Ok(Arc::unwrap_or_clone(appended).value),
            Self::Encoded(bytes) => codec::decode(Kind::Payload, &bytes),
        }
    }
}

impl Encode for RecordPayload {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        match self {
            Self::Value(appended) => {
                with_encoded(Kind::Payload, &appended.value, |bytes| write_bytes(bytes, &mut writer))?
            }
            Self::Encoded(bytes) => write_bytes(bytes, &mut writer),
        }
    }
}

impl Decode for RecordPayload {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        // What is no payload of this version is refused when the log is opened, not when the entry is asked for.
        read_bytes(&mut reader, |bytes| codec::body(Kind::Payload, bytes).map(|_| Self::Encoded(bytes.into())))
    }
}

/// Whom to tell when a write is on disk.
pub(crate) enum Callback {
    /// openraft, about entries that were handed over then.
    Flushed(IOFlushed<TypeConfig>, Instant, Arc<Syncs>),
    /// A task that waits.
    Waiting(tokio::sync::oneshot::Sender<io::Result<()>>),
    /// A thread that waits.
    Blocking(std::sync::mpsc::SyncSender<io::Result<()>>),
}

impl raft_log::Callback for Callback {
    fn send(self, result: io::Result<()>) {
        match self {
            Self::Flushed(callback, since, syncs) => {
                syncs.done(since.elapsed());
                if let Err(error) = &result {
                    syncs.failed(error);
                }
                callback.io_completed(result);
            }
            // A receiver that is gone does not wait any more.
            Self::Waiting(tx) => {
                let _ = tx.send(result);
            }
            Self::Blocking(tx) => {
                tx.send(result);
            }
        }
    }
}

/// raft-log's type parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogTypes;

impl raft_log::Types for LogTypes {
    type LogId = Record<LogId>;
    type LogPayload = RecordPayload;
    type Vote = Record<Vote>;
    type Callback = Callback;
    type UserData = String;

    fn log_index(log_id: &Self::LogId) -> u64 {
        log_id.0.index
    }

    fn payload_size(payload: &Self::LogPayload) -> u64 {
        payload.encoded_len()
    }
}
