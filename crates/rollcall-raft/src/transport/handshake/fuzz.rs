//! The handshake with a peer that sends anything.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio::io::ReadBuf;

use super::*;

const SECRET: &[u8] = b"the secret of this cluster";
const CLUSTER: ClusterId = ClusterId::new(6);
const OURS: NodeId = NodeId::new(1);

/// The first byte says who the bytes behind it come from: a client, a client that knows the secret and so proves what it said, or
/// a server. Nobody gets in without the secret, and with it nobody but to the node and the cluster that it asked for.
pub(crate) fn peer_handshake(bytes: &[u8]) {
    let Some((who, sent)) = bytes.split_first() else { return };
    let us = Who { member: Some((CLUSTER, OURS)) };
    let secret = Secret::new(SECRET);
    let mut admitted = None;
    match who % 3 {
        0 => {
            let mut peer = Peer::new(sent, None);
            let accepted = accept(&mut peer, &secret, us, |accepted| admitted.replace(*accepted).is_none());
            assert!(accepted.now_or_never().expect("a peer that is gone is not waited for").is_err());
            assert!(admitted.is_none(), "who does not know the secret is not even considered");
            assert!(peer.written.len() <= 256, "{} bytes for a stranger", peer.written.len());
        }
        1 => {
            let mut peer = Peer::new(sent, Some(secret.clone()));
            let accepted = accept(&mut peer, &secret, us, |accepted| admitted.replace(*accepted).is_none());
            if let Ok(accepted) = accepted.now_or_never().expect("a peer that is gone is not waited for") {
                assert_eq!(admitted, Some(accepted));
                let hello = peer.hello().and_then(|hello| decode(hello).ok());
                let Some(Message::ClientHello { cluster, from, target, purpose, .. }) = hello else {
                    panic!("{accepted:?} said no hello");
                };
                assert_eq!(accepted, Accepted { purpose, from });
                let is_for_us = cluster == Some(CLUSTER) && target == Some(OURS) && from.is_some_and(|it| it != OURS);
                assert!(purpose == Purpose::Discover || is_for_us, "{accepted:?}");
            }
        }
        _ => {
            let mut peer = Peer::new(sent, None);
            let connected = connect(&mut peer, &secret, us, Some(NodeId::new(2)), Purpose::Control);
            assert!(connected.now_or_never().expect("a peer that is gone is not waited for").is_err());
        }
    }
}

/// The other end of a connection: what it sends is all there from the start, but for its proof.
struct Peer<'b> {
    sent: &'b [u8],
    read: usize,
    written: Vec<u8>,
    /// With it the peer proves what it sent, as soon as it was answered.
    secret: Option<Secret>,
    proof: Vec<u8>,
}

impl<'b> Peer<'b> {
    fn new(sent: &'b [u8], secret: Option<Secret>) -> Self {
        Self { sent, read: 0, written: Vec::new(), secret, proof: Vec::new() }
    }

    /// What it said first.
    fn hello(&self) -> Option<&'b [u8]> {
        let (len, rest) = self.sent.split_first_chunk::<4>()?;
        rest.get(..u32::from_be_bytes(*len) as usize)
    }

    /// Proves that it said its hello and heard the answer, and says nothing more.
    fn prove(&mut self, secret: &Secret) -> Option<()> {
        let (hello, answer) = (self.hello()?, self.written.get(4..)?);
        let proof = encode(&Message::ClientProof(secret.prove(&[CLIENT_LABEL, hello, answer]))).ok()?;
        self.proof = (proof.len() as u32).to_be_bytes().into_iter().chain(proof).collect();
        self.sent = &self.sent[..4 + hello.len()];
        Some(())
    }
}

impl AsyncRead for Peer<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let said = self.sent.iter().chain(&self.proof).skip(self.read).take(buffer.remaining());
        let said: Vec<u8> = said.copied().collect();
        buffer.put_slice(&said);
        self.read += said.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        if let Some(secret) = self.secret.take() {
            self.prove(&secret);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
