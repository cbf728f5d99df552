//! The one format of everything that leaves a node by gossip, datagram or stream frame: sealed, so that nothing is parsed
//! before it is known to come from a member.
//!
//! ```text
//! offset 0  version     1 byte, = 1
//!        1  key id      4 bytes
//!        5  nonce      24 bytes: 16 random ‖ counter u64
//!       29  ciphertext and its 16-byte tag, XChaCha20-Poly1305, of
//!             kind u8 | generation u64 | address family u8 (4|6), IP, port u16 | name length u8, name | payload
//! ```
//! Numbers are little-endian. Associated data: a label, the cluster id, and bytes 0..29. So the header cannot be changed,
//! and what one cluster sealed does not open in another that was given the same key.
//!
//! **Who sent it** is inside, hence hidden from others and vouched for by the tag: the name, the generation (start of the
//! process), and the address at which the sender wants to be answered. Answers go to that address and never to the source
//! address of a packet, which anybody can forge; so nobody can use a member to send traffic to a third machine.
//!
//! **The nonce** must never come twice under one key, on any node, in any life of it. XChaCha20's 192 bits leave room to be
//! certain twice over: 128 bits are drawn from the operating system for each message, which keeps apart nodes, restarts and
//! clones of a virtual machine; the counter, which never repeats within a process, would keep messages apart even if those
//! bits were weak. Rejected: a subkey for each process (HKDF over key, name and a salt) with a counter as nonce. It needs
//! as many bytes, makes strangers cause key derivations, and a clone of a running machine would repeat its nonces.
//!
//! The counter is also what the receiver's replay window looks at ([`crate::gate`]).
//!
//! Limits: every member knows the key, so a member can pose as another; there is no forward secrecy: who records traffic
//! and later learns a key reads what was sealed with it. Receivers are not named, so an authentic message can be delivered
//! to another member than it was sent to, once; every payload is safe to be delivered so, and a challenge names whom it asks.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use chacha20poly1305::XNonce;
use chacha20poly1305::aead::{Aead, Payload};
use rollcall_types::{ClusterId, NodeName};

use crate::key::{KeyId, Keyring};
use crate::metrics::Rejection;

/// The only version of the format.
const VERSION: u8 = 1;
const KEY_ID: std::ops::Range<usize> = 1..5;
const NONCE: std::ops::Range<usize> = 5..HEADER_BYTES;
/// What stands before the ciphertext.
const HEADER_BYTES: usize = 29;
const TAG_BYTES: usize = 16;
const RANDOM_BYTES: usize = 16;
/// Kind, generation, an IPv4 address, a name of one byte: nothing shorter is ever sealed.
const ENVELOPE_BYTES_MIN: usize = 1 + 8 + 7 + 2;
/// Kind, generation, an IPv6 address, the longest name.
const ENVELOPE_BYTES_MAX: usize = 1 + 8 + 19 + 1 + NodeName::MAX_BYTES;

const LABEL: &[u8] = b"rollcall gossip 1";

/// Shortest sealed message.
pub(crate) const SEALED_BYTES_MIN: usize = HEADER_BYTES + ENVELOPE_BYTES_MIN + TAG_BYTES;
/// Largest datagram that is sent or looked at: what the smallest IPv6 link carries whole (1,280 bytes, RFC 8200 §5, less 40
/// for IPv6 and 8 for UDP). Fragments would multiply loss, and middle boxes drop them.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 1_232;
/// Largest payload; chitchat fills its messages up to what an IPv4 UDP datagram can hold.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 65_507;
/// Largest frame of a stream.
pub(crate) const FRAME_BYTES_MAX: usize = HEADER_BYTES + ENVELOPE_BYTES_MAX + PAYLOAD_BYTES_MAX + TAG_BYTES;

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message of chitchat.
    Gossip,
    /// A message between two failure detectors.
    Detector,
    /// "Prove that you live": see [`crate::gate`].
    Challenge,
    /// The proof.
    Answer,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Gossip, Self::Detector, Self::Challenge, Self::Answer];

    fn code(self) -> u8 {
        match self {
            Self::Gossip => 1,
            Self::Detector => 2,
            Self::Challenge => 3,
            Self::Answer => 4,
        }
    }
}

/// The process that sealed a message, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) name: NodeName,
    /// Start of the process; larger is newer.
    pub(crate) generation: u64,
    /// Where it wants to be answered.
    pub(crate) address: SocketAddr,
}

/// An authentic message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) sender: Sender,
    pub(crate) counter: u64,
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
}

/// Why bytes are not an authentic message, and which key they name when we lack it or it does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotOpened {
    pub(crate) rejection: Rejection,
    pub(crate) key: Option<KeyId>,
}

impl From<Rejection> for NotOpened {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, key: None }
    }
}

/// Seals and opens for one node.
#[derive(Debug)]
pub(crate) struct Seal {
    cluster: ClusterId,
    keyring: ArcSwap<Keyring>,
    sender: ArcSwap<Sender>,
    counter: AtomicU64,
}

impl Seal {
    pub(crate) fn new(cluster: ClusterId, keyring: Keyring, sender: Sender) -> Self {
        let (keyring, sender) = (ArcSwap::from_pointee(keyring), ArcSwap::from_pointee(sender));
        Self { cluster, keyring, sender, counter: AtomicU64::new(0) }
    }

    pub(crate) fn set_keyring(&self, keyring: Keyring) {
        self.keyring.store(Arc::new(keyring));
    }

    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// Speaks with a newer generation from now on.
    pub(crate) fn set_generation(&self, generation: u64) {
        self.sender.rcu(|sender| Sender { generation, ..Sender::clone(sender) });
    }

    pub(crate) fn sender(&self) -> Arc<Sender> {
        self.sender.load_full()
    }

    /// Seals `payload`, which must not be above [`PAYLOAD_BYTES_MAX`]. `None` when it is, or when the operating system has
    /// no randomness to give: then it is better to say nothing.
    pub(crate) fn seal(&self, kind: Kind, payload: &[u8]) -> Option<Vec<u8>> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).ok()?;
        self.seal_with_random(kind, payload, random)
    }

    fn seal_with_random(&self, kind: Kind, payload: &[u8], random: [u8; RANDOM_BYTES]) -> Option<Vec<u8>> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return None;
        }
        let keyring = self.keyring.load();
        let (id, cipher) = keyring.seal_with();
        // From 1 on, so that 0 can mean "nothing yet" to the receiver.
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        let mut header = [0; HEADER_BYTES];
        header[0] = VERSION;
        header[KEY_ID].copy_from_slice(&id.0);
        header[NONCE][..RANDOM_BYTES].copy_from_slice(&random);
        header[NONCE][RANDOM_BYTES..].copy_from_slice(&counter.to_le_bytes());

        let mut plain = Vec::with_capacity(ENVELOPE_BYTES_MAX + payload.len());
        write_envelope(&mut plain, kind, &self.sender.load());
        plain.extend_from_slice(payload);
        let sealed = Payload { msg: &plain, aad: &self.associated_data(&header) };
        let ciphertext = cipher.encrypt(&nonce(&header), sealed).ok()?;

        let mut message = Vec::with_capacity(HEADER_BYTES + ciphertext.len());
        message.extend_from_slice(&header);
        message.extend_from_slice(&ciphertext);
        Some(message)
    }

    /// Opens what [`Self::seal`] of a member of the same cluster made. Nothing but the version and the key id is looked at
    /// before the tag has been checked.
    pub(crate) fn open(&self, message: &[u8]) -> Result<Opened, NotOpened> {
        if message.len() < SEALED_BYTES_MIN {
            return Err(Rejection::TooShort.into());
        }
        let (header, ciphertext) = message.split_first_chunk::<HEADER_BYTES>().ok_or(Rejection::TooShort)?;
        if header[0] != VERSION {
            return Err(Rejection::UnknownVersion.into());
        }
        let id = KeyId([header[1], header[2], header[3], header[4]]);
        let keyring = self.keyring.load();
        let cipher = keyring.find(id).ok_or(NotOpened { rejection: Rejection::UnknownKey, key: Some(id) })?;
        let sealed = Payload { msg: ciphertext, aad: &self.associated_data(header) };
        let plain = cipher
            .decrypt(&nonce(header), sealed)
            .map_err(|_| NotOpened { rejection: Rejection::NotAuthentic, key: Some(id) })?;
        let (kind, sender, payload) = read_envelope(&plain).ok_or(Rejection::Undecodable)?;
        let counter = u64::from_le_bytes(*header.last_chunk().ok_or(Rejection::TooShort)?);
        Ok(Opened { sender, counter, kind, payload: payload.to_vec() })
    }

    fn associated_data(&self, header: &[u8; HEADER_BYTES]) -> [u8; LABEL.len() + 16 + HEADER_BYTES] {
        let mut data = [0; LABEL.len() + 16 + HEADER_BYTES];
        let (label, rest) = data.split_at_mut(LABEL.len());
        let (cluster, rest) = rest.split_at_mut(16);
        label.copy_from_slice(LABEL);
        cluster.copy_from_slice(&self.cluster.get().to_le_bytes());
        rest.copy_from_slice(header);
        data
    }
}

fn nonce(header: &[u8; HEADER_BYTES]) -> XNonce {
    let mut nonce = XNonce::default();
    nonce.copy_from_slice(&header[NONCE]);
    nonce
}

fn write_envelope(plain: &mut Vec<u8>, kind: Kind, sender: &Sender) {
    const { assert!(NodeName::MAX_BYTES <= u8::MAX as usize, "the length of a name fits its byte") };
    plain.push(kind.code());
    plain.extend_from_slice(&sender.generation.to_le_bytes());
    match sender.address.ip() {
        IpAddr::V4(ip) => {
            plain.push(4);
            plain.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            plain.push(6);
            plain.extend_from_slice(&ip.octets());
        }
    }
    plain.extend_from_slice(&sender.address.port().to_le_bytes());
    plain.push(sender.name.len() as u8);
    plain.extend_from_slice(sender.name.as_bytes());
}

fn read_envelope(mut plain: &[u8]) -> Option<(Kind, Sender, &[u8])> {
    let [code] = take(&mut plain)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.code() == code)?;
    let generation = u64::from_le_bytes(take(&mut plain)?);
    let ip = match take(&mut plain)? {
        [4] => IpAddr::from(take::<4>(&mut plain)?),
        [6] => IpAddr::from(take::<16>(&mut plain)?),
        _ => return None,
    };
    let address = SocketAddr::new(ip, u16::from_le_bytes(take(&mut plain)?));
    let [length] = take(&mut plain)?;
    let (name, payload) = plain.split_at_checked(usize::from(length))?;
    let name = NodeName::try_from(std::str::from_utf8(name).ok()?).ok()?;
    Some((kind, Sender { name, generation, address }, payload))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
