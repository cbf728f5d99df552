//! What `tests/fuzz` throws bytes at: each target takes any bytes, and panics when a promise about them is broken.
//!
//! Not part of the interface: it is there in tests, which replay the kept corpora, and under the feature `fuzzing`. A target
//! that needs what is private to a module lies in the `fuzz` of that module.
//!
//! Checksums, proofs and the version of the format would keep a fuzzer at the door, and the kept inputs when the version is raised;
//! so a target puts them right before it lets the bytes in: [`of_this_version`], [`crate::snapshot::fuzz`],
//! [`crate::log_store::fuzz`], [`crate::transport::handshake::fuzz`].

use bytes::BytesMut;
use openraft::EntryPayload;
use rollcall_catalog::{Catalog, Importer, Request, SnapshotRecord};
use rollcall_types::Revision;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::Decoder as _;

use crate::codec::{self, Kind};
use crate::identity::Identity;
use crate::log_store;
use crate::snapshot::{self, Header, Trailer};
use crate::transport::handshake;
use crate::transport::message::{
    Append, Appended, ControlReply, ControlRequest, DiscoverReply, DiscoverRequest, Transfer, Transferred,
};
use crate::transport::{DISCOVER_FRAME_BYTES_MAX, frame_codec, split_frame};
use crate::types::{LogId, Payload, Vote};

/// A promise about bytes, that panics when it is broken.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("peer_handshake", handshake::fuzz::peer_handshake),
    ("peer_message", peer_message),
    ("peer_stream", peer_stream),
    ("log_apply", log_apply),
    ("log_file", log_store::fuzz::log_file),
    ("snapshot_file", snapshot::fuzz::snapshot_file),
    ("identity_file", identity_file),
];

/// Most log entries that one input applies.
const ENTRIES_MAX: usize = 64;

/// Whatever one value of the codec can be, by its kind byte: what is read is written, no longer than it was, and reads the same.
pub fn peer_message(bytes: &[u8]) {
    type Check = fn(Kind, &[u8]);
    const KINDS: [(Kind, Check); 15] = [
        (Kind::LogId, round_trip::<LogId>),
        (Kind::Vote, round_trip::<Vote>),
        (Kind::Payload, round_trip::<Payload>),
        (Kind::SnapshotHeader, round_trip::<Header>),
        (Kind::SnapshotChunk, round_trip::<SnapshotRecord>),
        (Kind::SnapshotTrailer, round_trip::<Trailer>),
        (Kind::Handshake, round_trip::<handshake::Message>),
        (Kind::Append, round_trip::<Append>),
        (Kind::Appended, round_trip::<Appended>),
        (Kind::ControlRequest, round_trip::<ControlRequest>),
        (Kind::ControlReply, round_trip::<ControlReply>),
        (Kind::Transfer, round_trip::<Transfer>),
        (Kind::Transferred, round_trip::<Transferred>),
        (Kind::DiscoverRequest, round_trip::<DiscoverRequest>),
        (Kind::DiscoverReply, round_trip::<DiscoverReply>),
    ];
    let Some(code) = bytes.get(1) else { return };
    if let Some((kind, check)) = KINDS.into_iter().find(|(kind, _)| *kind as u8 == *code) {
        check(kind, &of_this_version(bytes));
    }
}

/// The same value, said to be of the version that is read.
pub(crate) fn of_this_version(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if let Some(version) = value.first_mut() {
        *version = codec::VERSION;
    }
    value
}

fn round_trip<T: Serialize + DeserializeOwned>(kind: Kind, bytes: &[u8]) {
    let Ok(value) = codec::decode::<T>(kind, bytes) else { return };
    let written = codec::encode(kind, &value).expect("what was read can be written");
    assert!(written.len() <= bytes.len(), "{} bytes became {}", bytes.len(), written.len());
    let again = codec::decode::<T>(kind, &written).expect("what was written can be read");
    assert_eq!(codec::encode(kind, &again).expect("and written again"), written);
}

/// A connection after its handshake: frames, however the bytes are cut, and what is in each.
pub fn peer_stream(bytes: &[u8]) {
    let frames = |step: usize| {
        let (mut codec, mut unread, mut frames) = (frame_codec(DISCOVER_FRAME_BYTES_MAX), BytesMut::new(), Vec::new());
        for part in bytes.chunks(step) {
            unread.extend_from_slice(part);
            loop {
                match codec.decode(&mut unread) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(_) => return frames,
                }
            }
        }
        frames
    };
    let whole = frames(bytes.len().max(1));
    assert_eq!(whole, frames(7), "where a segment ends is of no meaning");
    for frame in &whole {
        if let Some((_, message)) = split_frame(frame) {
            peer_message(message);
        }
    }
}

/// A list of log entries, each `[length u16 LE][payload]`: applying is total, and what comes of it is a catalogue that its own
/// snapshot restores.
pub fn log_apply(mut bytes: &[u8]) {
    let mut catalog = Catalog::default();
    for index in 1..=ENTRIES_MAX as u64 {
        let Some((len, rest)) = bytes.split_first_chunk::<2>() else { break };
        let Some((entry, rest)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len))) else { break };
        bytes = rest;
        if let Ok(EntryPayload::Normal(proposal)) = codec::decode::<Payload>(Kind::Payload, &of_this_version(entry)) {
            apply(&mut catalog, index, &proposal.open().expect("what was read is a request"));
        }
    }
    let mut importer = Importer::default();
    for record in catalog.export() {
        let body = codec::encode(Kind::SnapshotChunk, &record).expect("a record has an encoding");
        let record = codec::decode(Kind::SnapshotChunk, &body).expect("a record that was written can be read");
        importer.push(record).expect("a record of a catalogue follows those before it");
    }
    assert!(importer.finish().expect("a catalogue ends") == catalog, "a snapshot restores another catalogue");
}

/// Applies a request, twice where that must change nothing.
fn apply(catalog: &mut Catalog, index: u64, request: &Request) {
    let mut other = catalog.clone();
    let applied = catalog.apply(Revision::new(index), request);
    let again = other.apply(Revision::new(index), request);
    assert!(applied.outcome == again.outcome && *catalog == other, "two nodes that apply one entry differ");
}

/// `identity.json` of a data directory.
pub fn identity_file(bytes: &[u8]) {
    let Ok(identity) = serde_json::from_slice::<Identity>(bytes) else { return };
    let written = serde_json::to_vec(&identity).expect("what was read can be written");
    let again: Identity = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, identity);
}

#[cfg(test)]
#[path = "../../../tests/fuzz/src/replay.rs"]
mod replay;

#[test]
fn what_was_fuzzed_does_no_harm() {
    replay::all(TARGETS);
}
