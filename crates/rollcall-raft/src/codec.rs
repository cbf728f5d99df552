//! The one way a value becomes bytes, on disk and between nodes: `[version][kind][bincode body]`.
//!
//! The body is positional, so a format may only change together with [`VERSION`], once for each release; the golden file
//! `src/codec/golden.txt` fails a test when one changes by accident. The kind keeps one sort of value from being read as
//! another. Decoding refuses an unknown version, another kind, trailing bytes, and any claim above [`BYTES_MAX`],
//! or above 1 MiB in what is short.
//!
//! Versions 1 to 4 were never released and are not read. In version 1 instances had no slots, and could not be given any: slots
//! follow from the order of all registrations, so nodes that gave them out from snapshots at different log entries would
//! disagree. In version 2 checks had no capability, and definitions no selection policy; in version 4 an entry held its request as a
//! value instead of as bytes.
//!
//! This is the only module that names bincode (`docs/adr/0002-bincode-and-its-advisory.md`): leaving it means rewriting
//! this file.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of every format that goes through here.
pub(crate) const VERSION: u8 = 5;
/// Largest encoded value, 64 MiB. A value that claims more is refused before anything is allocated for it.
pub(crate) const BYTES_MAX: usize = 64 << 20;

/// Longest body that counts as short.
const SHORT_BYTES_MAX: usize = 64 << 10;
/// What a short body may claim, 1 MiB. bincode makes room for a text before it looks whether it is there, so that a message of 20
/// bytes could take 64 MiB. A value never claims more than 16 bytes for each that it has: a number of 128 bits may be one byte.
const SHORT_CLAIM_MAX: usize = 16 * SHORT_BYTES_MAX;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<BYTES_MAX>,
> = bincode::config::standard().with_limit::<BYTES_MAX>();

/// What a value is. Numbers are persisted: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[cfg_attr(rollcall_simulation, expect(dead_code, reason = "there is no log on disk"))]
pub(crate) enum Kind {
    /// Log id in the log.
    LogId = 1,
    /// Vote in the log.
    Vote = 2,
    /// Payload of a log entry.
    Payload = 3,
    /// First record of a snapshot file.
    SnapshotHeader = 10,
    /// Many catalogue records of a snapshot file.
    SnapshotChunk = 11,
    /// Last record of a snapshot file.
    SnapshotTrailer = 12,
    /// Handshake message.
    Handshake = 20,
    /// Entries to append, on a replication connection.
    Append = 21,
    /// Answer to [`Kind::Append`].
    Appended = 22,
    /// Question on a control connection.
    ControlRequest = 23,
    /// Answer to [`Kind::ControlRequest`].
    ControlReply = 24,
    /// Message of a snapshot transfer.
    Transfer = 25,
    /// Answer to [`Kind::Transfer`].
    Transferred = 26,
    /// Question of a node that has no cluster yet.
    DiscoverRequest = 27,
    /// Answer to [`Kind::DiscoverRequest`].
    DiscoverReply = 28,
}

/// Why bytes are not a value, or a value does not become bytes.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Written by another version of this format.
    #[error("format version {0}, this program reads {VERSION}")]
    Version(u8),
    /// Something else than was expected.
    #[error("kind {found} where {expected} was expected")]
    Kind {
        /// What it is.
        found: u8,
        /// What was expected.
        expected: u8,
    },
    /// Too short to say what it is.
    #[error("{0} bytes are too few")]
    Short(usize),
    /// More bytes than the value has.
    #[error("{0} bytes are left over")]
    Trailing(usize),
    /// Larger than any value may be.
    #[error("{0} bytes are more than the limit of {BYTES_MAX}")]
    TooLarge(usize),
    /// The body is malformed.
    #[error("malformed value")]
    Malformed(#[source] bincode::error::DecodeError),
    /// The value has no encoding.
    #[error("value cannot be encoded")]
    Unencodable(#[source] bincode::error::EncodeError),
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Appends the encoding of `value` to `buffer`.
pub(crate) fn encode_into<T: Serialize>(buffer: &mut Vec<u8>, kind: Kind, value: &T) -> Result<(), CodecError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[VERSION, kind as u8]);
    append_body(buffer, value)?;
    match buffer.len() - start {
        len if len > BYTES_MAX => Err(CodecError::TooLarge(len)),
        _ => Ok(()),
    }
}

/// The encoding of `value`.
pub(crate) fn encode<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut buffer = Vec::with_capacity(128);
    encode_into(&mut buffer, kind, value)?;
    Ok(buffer)
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, CodecError> {
    decode_body(body(kind, bytes)?)
}

/// The body of a value of this version and `kind`.
pub(crate) fn body(kind: Kind, bytes: &[u8]) -> Result<&[u8], CodecError> {
    if bytes.len() > BYTES_MAX {
        return Err(CodecError::TooLarge(bytes.len()));
    }
    match bytes {
        [VERSION, found, body @ ..] if *found == kind as u8 => Ok(body),
        [VERSION, found, ..] => Err(CodecError::Kind { found: *found, expected: kind as u8 }),
        [version, _, ..] => Err(CodecError::Version(*version)),
        _ => Err(CodecError::Short(bytes.len())),
    }
}

/// Appends `value` alone: for many records under one version and kind.
pub(crate) fn append_body<T: Serialize>(buffer: &mut Vec<u8>, value: &T) -> Result<usize, CodecError> {
    bincode::serde::encode_into_std_write(value, buffer, CONFIG).map_err(CodecError::Unencodable)
}

/// Reads what [`append_body`] wrote.
pub(crate) fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    let decoded = if body.len() <= SHORT_BYTES_MAX {
        bincode::serde::decode_from_slice(body, CONFIG.with_limit::<SHORT_CLAIM_MAX>())
    } else {
        bincode::serde::decode_from_slice(body, CONFIG)
    };
    let (value, used) = decoded.map_err(CodecError::Malformed)?;
    if used == body.len() { Ok(value) } else { Err(CodecError::Trailing(body.len() - used)) }
}

#[cfg(test)]
mod tests;
