//! Sealed messages, and what is in them behind the key.

use super::*;
use crate::fuzz;

fn seal() -> Seal {
    let name = NodeName::try_from("n1").expect("a name");
    let sender = Sender { name, generation: 3, address: ([127, 0, 0, 1], 7402).into() };
    Seal::new(ClusterId::new(9), Keyring::new(&[7; 32]), sender)
}

/// A datagram, or a frame of a stream. Whatever it is, a change of any of its first bytes or of its last makes it not authentic.
pub(crate) fn gossip_sealed(bytes: &[u8]) {
    let seal = seal();
    let Ok(opened) = seal.open(bytes) else { return };
    assert!(opened.payload.len() < bytes.len());
    for at in (0..HEADER_BYTES).chain([HEADER_BYTES, bytes.len() - 1]) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        assert!(seal.open(&changed).is_err(), "byte {at} does not count");
    }
}

/// What a member sealed: who it is from, of what kind, and the payload; each part has one way to be written.
pub(crate) fn gossip_envelope(bytes: &[u8]) {
    let Some((kind, sender, payload)) = read_envelope(bytes) else { return };
    let mut written = Vec::new();
    write_envelope(&mut written, kind, &sender);
    written.extend_from_slice(payload);
    assert_eq!(written, bytes);
    fuzz::payload(kind, payload);
}
