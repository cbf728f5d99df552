//! chitchat's messages to bytes and back.
//!
//! chitchat keeps its encoding private and gives it to its own UDP socket only. So that socket is the codec: to encode, it
//! sends to a socket of ours on loopback; to decode, ours sends to it. Two system calls more for each message, about 10 µs.
//!
//! What another process on this machine sends to these sockets changes nothing: ours that catches is connected, so the
//! kernel hands it chitchat's bytes only; what chitchat's decodes is dropped unless it came from our socket. It can cost
//! CPU, as anything that runs on the machine can. Nothing from the network reaches them but authentic payloads.
//!
//! chitchat's socket answers bytes that do not decode by waiting for more. A sentinel that always decodes, sent behind a
//! message that takes long, ends that wait.
//!
//! Rejected: to copy chitchat into this repository and make its codec public (8,000 lines to keep up with); to stay on
//! 0.11, whose codec is public (no compressed digests, defects that 0.13 fixed).

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use chitchat::transport::{Socket as _, UdpSocket as ChitchatSocket};
use chitchat::{ChitchatEnvelope, ChitchatMessage};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tracing::debug;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Loopback is done at once. What is not there then was lost, because somebody fills our socket or the memory is short.
const LOOPBACK_TIMEOUT: Duration = Duration::from_secs(1);
/// Time after which a message that is not yet decoded is suspected not to decode at all.
const USUAL_TIME: Duration = Duration::from_millis(20);
/// Largest datagram of IPv4.
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// chitchat's magic number, its version 0, and "bad cluster", the one message without a body.
const SENTINEL: [u8; 4] = [0x53, 0xB0, 0, 3];
const BODILESS: u8 = 3;

/// Encodes, one message at a time.
pub(crate) struct Encoder {
    chitchat: ChitchatSocket,
    catcher: UdpSocket,
    caught: Vec<u8>,
}

impl Encoder {
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let chitchat = ChitchatSocket::open(LOOPBACK).await?;
        let catcher = UdpSocket::bind(LOOPBACK).await?;
        catcher.connect(chitchat.local_addr()?).await?;
        Ok(Self { chitchat, catcher, caught: vec![0; DATAGRAM_BYTES_MAX] })
    }

    /// The bytes of `envelope`.
    ///
    /// # Errors
    /// When they did not come through loopback. The encoder must then be opened anew: they may still come.
    pub(crate) async fn encode(&mut self, envelope: ChitchatEnvelope) -> anyhow::Result<&[u8]> {
        self.chitchat.send(self.catcher.local_addr()?, envelope).await?;
        let caught = timeout(LOOPBACK_TIMEOUT, self.catcher.recv(&mut self.caught)).await;
        let bytes = caught.context("a message got lost on loopback")??;
        Ok(&self.caught[..bytes])
    }
}

/// Decodes, one message at a time.
pub(crate) struct Decoder {
    chitchat: ChitchatSocket,
    chitchat_addr: SocketAddr,
    thrower: UdpSocket,
    thrower_addr: SocketAddr,
}

impl Decoder {
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let chitchat = ChitchatSocket::open(LOOPBACK).await?;
        let thrower = UdpSocket::bind(LOOPBACK).await?;
        let (chitchat_addr, thrower_addr) = (chitchat.local_addr()?, thrower.local_addr()?);
        Ok(Self { chitchat, chitchat_addr, thrower, thrower_addr })
    }

    /// The message in `bytes`; `None` when they are not one that carries state.
    ///
    /// # Errors
    /// When the bytes did not come through loopback. The decoder must then be opened anew: they may still come.
    pub(crate) async fn decode(&mut self, bytes: &[u8]) -> anyhow::Result<Option<ChitchatEnvelope>> {
        if !is_plausible(bytes) {
            return Ok(None);
        }
        self.thrower.send_to(bytes, self.chitchat_addr).await?;
        if let Ok(decoded) = timeout(USUAL_TIME, self.collect()).await {
            return Ok(Some(decoded?));
        }
        // Either it does not decode, or it is late: then it comes before the sentinel.
        self.thrower.send_to(&SENTINEL, self.chitchat_addr).await?;
        self.until_sentinel().await
    }

    /// What came before the sentinel, which was sent.
    async fn until_sentinel(&mut self) -> anyhow::Result<Option<ChitchatEnvelope>> {
        let rest = async {
            let mut decoded = None;
            loop {
                let envelope = self.collect().await?;
                match envelope.message {
                    ChitchatMessage::BadCluster => return Ok(decoded),
                    _ => decoded = Some(envelope),
                }
            }
        };
        timeout(LOOPBACK_TIMEOUT, rest).await.context("a message got lost on loopback")?
    }

    /// The next message that our socket sent.
    async fn collect(&mut self) -> anyhow::Result<ChitchatEnvelope> {
        loop {
            let received = self.chitchat.recv().await?;
            if received.from_addr == self.thrower_addr {
                return Ok(received.envelope);
            }
            debug!("a process on this machine, {}, sends to a private socket of gossip", received.from_addr);
        }
    }
}

/// Whether bytes can be a message that carries state. "Bad cluster" is the sentinel's shape: it carries nothing, and what another
/// cluster sealed does not get here.
fn is_plausible(bytes: &[u8]) -> bool {
    bytes.starts_with(&SENTINEL[..2]) && bytes.get(3).is_some_and(|kind| *kind < BODILESS)
}

#[cfg(test)]
mod tests {
    use chitchat::ProtocolVersion;

    use super::*;

    fn bad_cluster() -> ChitchatEnvelope {
        ChitchatEnvelope { version: ProtocolVersion::V0, message: ChitchatMessage::BadCluster }
    }

    /// A SYN of version 0 of a cluster "c" whose digest names nobody.
    const SYN: [u8; 9] = [0x53, 0xB0, 0, 0, 0, 0, 1, 0, b'c'];

    #[tokio::test]
    async fn the_sentinel_is_what_chitchat_says_it_is() {
        let mut encoder = Encoder::open().await.unwrap();
        assert_eq!(encoder.encode(bad_cluster()).await.unwrap(), SENTINEL);
    }

    #[tokio::test]
    async fn what_was_decoded_encodes_to_the_same_bytes() {
        let (mut encoder, mut decoder) = (Encoder::open().await.unwrap(), Decoder::open().await.unwrap());
        for _ in 0..3 {
            let envelope = decoder.decode(&SYN).await.unwrap().unwrap();
            assert_eq!(encoder.encode(envelope).await.unwrap(), SYN);
        }
    }

    #[tokio::test]
    async fn bytes_that_are_no_message_cost_nothing_but_themselves() {
        let mut decoder = Decoder::open().await.unwrap();
        for length in 0..SYN.len() {
            assert!(decoder.decode(&SYN[..length]).await.unwrap().is_none(), "cut to {length}");
        }
        for kind in [3, 4, 255] {
            assert!(decoder.decode(&[0x53, 0xB0, 0, kind]).await.unwrap().is_none());
        }
        assert!(decoder.decode(&SYN).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_a_stranger_on_this_machine_sends_is_not_taken_for_ours() {
        let mut decoder = Decoder::open().await.unwrap();
        let stranger = UdpSocket::bind(LOOPBACK).await.unwrap();
        let mut other = SYN;
        other[8] = b'x';
        for _ in 0..10 {
            stranger.send_to(&other, decoder.chitchat_addr).await.unwrap();
            stranger.send_to(&SENTINEL, decoder.chitchat_addr).await.unwrap();
        }
        let decoded = decoder.decode(&SYN).await.unwrap().unwrap();
        let ChitchatMessage::Syn { cluster_id, .. } = decoded.message else { panic!("not a SYN") };
        assert_eq!(cluster_id, "c");
    }
}
