//! chitchat's decoder, behind the key.

use std::cell::RefCell;

use tokio::runtime::{Builder, Runtime};

use super::*;

thread_local! {
    static DECODER: RefCell<(Runtime, Decoder)> = RefCell::new(open());
}

fn open() -> (Runtime, Decoder) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let decoder = runtime.block_on(Decoder::open()).expect("loopback has sockets");
    (runtime, decoder)
}

/// Decodes a message, with the sentinel right behind it, so that nonsense costs no time. What is decoded is not encoded again: a
/// node never does so, and chitchat asserts that a delta which it did not make itself is as long as it was.
pub(crate) fn gossip_packet(bytes: &[u8]) {
    if !is_plausible(bytes) || bytes.len() > DATAGRAM_BYTES_MAX {
        return;
    }
    DECODER.with_borrow_mut(|(runtime, decoder)| {
        let decoded = runtime.block_on(async {
            for datagram in [bytes, &SENTINEL] {
                decoder.thrower.send_to(datagram, decoder.chitchat_addr).await?;
            }
            decoder.until_sentinel().await
        });
        if let Some(envelope) = decoded.expect("loopback loses nothing of so little") {
            assert!(!matches!(envelope.message, ChitchatMessage::BadCluster));
        }
    });
}
