//! chitchat's messages to bytes and back, in a simulation.
//!
//! Without the kernel there are no sockets that could lend their codec ([`crate::codec`] in a normal build). All nodes
//! of a simulation live in one process, so a message stays in it, and what travels is its number. The bytes that carry the
//! number are a sixth of those that the message has when it is printed, about what it takes, so that large ones go over streams.
//!
//! Not simulated therefore: chitchat's encoding, and its compression.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chitchat::ChitchatEnvelope;

/// Messages under way at once; older ones were lost on the way.
const UNDER_WAY_MAX: usize = 4_096;
const NUMBER_BYTES: usize = 8;
/// Bytes of a printed message for each that it takes.
const PRINTED_BYTES: usize = 6;

/// The messages under way, and the number of the next.
static UNDER_WAY: Mutex<(u64, BTreeMap<u64, ChitchatEnvelope>)> = Mutex::new((0, BTreeMap::new()));

/// Encodes.
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    #[expect(clippy::unused_async, reason = "as in a normal build")]
    pub(crate) async fn open() -> anyhow::Result<Self> {
        Ok(Self { bytes: Vec::new() })
    }

    /// The bytes of `envelope`.
    #[expect(clippy::unused_async, reason = "as in a normal build")]
    pub(crate) async fn encode(&mut self, envelope: ChitchatEnvelope) -> anyhow::Result<&[u8]> {
        let length = format!("{envelope:?}").len() / PRINTED_BYTES;
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        let number = under_way.0;
        under_way.0 += 1;
        under_way.1.insert(number, envelope);
        if under_way.1.len() > UNDER_WAY_MAX {
            under_way.1.pop_first();
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(&number.to_be_bytes());
        self.bytes.resize(length.clamp(NUMBER_BYTES, crate::seal::FRAME_BYTES_MAX / 2), 0);
        Ok(&self.bytes)
    }
}

/// Decodes.
pub(crate) struct Decoder;

impl Decoder {
    #[expect(clippy::unused_async, reason = "as in a normal build")]
    pub(crate) async fn open() -> anyhow::Result<Self> {
        Ok(Self)
    }

    /// The message in `bytes`; `None` when they are none, or were decoded before.
    #[expect(clippy::unused_async, reason = "as in a normal build")]
    pub(crate) async fn decode(&mut self, bytes: &[u8]) -> anyhow::Result<Option<ChitchatEnvelope>> {
        let Some((number, _)) = bytes.split_first_chunk::<NUMBER_BYTES>() else { return Ok(None) };
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(under_way.1.remove(&u64::from_be_bytes(*number)))
    }
}
