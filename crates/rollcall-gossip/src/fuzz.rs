//! What `tests/fuzz` throws bytes at: each target takes any bytes, and panics when a promise about them is broken.
//!
//! Not part of the interface: it is there in tests, which replay the kept corpora, and under the feature `fuzzing`. A target
//! that needs what is private to a module lies in the `fuzz` of that module.

use rollcall_health::detector;

use crate::gate::Challenge;
use crate::membership::Meta;
use crate::{codec, seal};

/// A promise about bytes, that panics when it is broken.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("gossip_sealed", seal::fuzz::gossip_sealed),
    ("gossip_envelope", seal::fuzz::gossip_envelope),
    ("gossip_packet", codec::fuzz::gossip_packet),
    ("gossip_meta", gossip_meta),
];

/// A payload that is not chitchat's: exactly what would be written is read.
pub(crate) fn payload(kind: seal::Kind, payload: &[u8]) {
    match kind {
        seal::Kind::Detector => {
            if let Ok(message) = detector::Message::decode(payload) {
                assert_eq!(message.encode(), payload);
                assert!(payload.len() <= detector::Message::MAX_BYTES);
            }
        }
        seal::Kind::Challenge => {
            if let Some(challenge) = Challenge::decode(payload) {
                assert_eq!(challenge.encode(), payload);
            }
        }
        // chitchat's have a target of their own, and an answer is sixteen bytes that are compared.
        seal::Kind::Gossip | seal::Kind::Answer => {}
    }
}

/// What a member says of itself.
pub fn gossip_meta(bytes: &[u8]) {
    let Some(meta) = std::str::from_utf8(bytes).ok().and_then(Meta::decode) else { return };
    assert!(meta.problem().is_none());
    assert_eq!(Meta::decode(&meta.encode()), Some(meta));
}

#[cfg(test)]
#[path = "../../../tests/fuzz/src/replay.rs"]
mod replay;

#[test]
fn what_was_fuzzed_does_no_harm() {
    replay::all(TARGETS);
}
