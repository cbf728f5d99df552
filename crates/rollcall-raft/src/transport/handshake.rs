//! Who is there? Both sides prove that they know the cluster secret before either believes the other anything.
//!
//! ```text
//! client → hello   magic, protocol range, cluster, own id, id of the wanted node, purpose, nonce
//! server → hello   protocol range, cluster, own id, nonce
//! client → proof   HMAC-SHA256(secret, "client" label ‖ both hellos)
//! server → verdict accepted or the refusal, HMAC-SHA256(secret, "server" label ‖ both hellos ‖ verdict)
//! ```
//! Each proof covers every byte of both hellos, so also both nonces: nothing of it can be replayed, reflected (the labels
//! differ) or moved to another node. The client proves first, so a stranger that knocks learns nothing it could test
//! guesses of the secret on. Before the verdict a peer may send frames of [`HELLO_BYTES_MAX`] and has
//! [`HANDSHAKE_TIMEOUT`].
//!
//! This file is the seam for mTLS: it is generic over the stream, so it runs as well inside a TLS session, and then the
//! client's certificate would be checked against `from` here.

use std::io;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use rollcall_types::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::codec::{self, Kind};
use crate::metrics::Rejection;

/// Oldest protocol that this program speaks.
const PROTOCOL_MIN: u16 = 2;
/// Newest protocol that this program speaks.
const PROTOCOL_MAX: u16 = 2;
/// Largest message of the handshake.
pub(crate) const HELLO_BYTES_MAX: usize = 4 << 10;
/// Longest time a handshake may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

const MAGIC: [u8; 8] = *b"ROLLCALL";
const CLIENT_LABEL: &[u8] = b"rollcall peer handshake 1, client";
const SERVER_LABEL: &[u8] = b"rollcall peer handshake 1, server";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    Replication,
    Control,
    Snapshot,
    /// The client belongs to no cluster yet.
    Discover,
}

/// Who one side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Who {
    /// `None` before the node belongs to a cluster.
    pub(crate) member: Option<(ClusterId, NodeId)>,
}

/// What the server learnt of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) purpose: Purpose,
    /// `None` on a discover connection.
    pub(crate) from: Option<NodeId>,
}

/// Why the server turned the client away, said only to one that knows the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    Protocol,
    Cluster,
    Target,
    /// The server is not ready, or the link is cut on purpose.
    Unavailable,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("connection lost")]
    Io(#[from] io::Error),
    #[error("not a handshake")]
    Garbage,
    #[error("a message of {0} bytes")]
    Oversized(usize),
    #[error("not done in time")]
    Slow,
    #[error("the peer does not know the cluster secret")]
    Secret,
    /// The server is of another cluster.
    #[error("the peer belongs to {}", match .0 { Some(cluster) => format!("cluster {cluster}"), None => "no cluster yet".into() })]
    Cluster(Option<ClusterId>),
    #[error("the peer is {}", match .0 { Some(node) => format!("node {node}"), None => "no member yet".into() })]
    Target(Option<NodeId>),
    #[error("no common protocol version")]
    Protocol,
    #[error("the peer is not available")]
    Unavailable,
}

impl HandshakeError {
    /// Under what to count it; `None` when the peer merely went away.
    pub(crate) fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Io(_) => None,
            Self::Garbage => Some(Rejection::Garbage),
            Self::Oversized(_) => Some(Rejection::Oversized),
            Self::Slow => Some(Rejection::Slow),
            Self::Secret => Some(Rejection::Secret),
            Self::Cluster(_) => Some(Rejection::Cluster),
            Self::Target(_) => Some(Rejection::Target),
            Self::Protocol => Some(Rejection::Protocol),
            // Counted where it is known whether the link is cut or the node merely starts.
            Self::Unavailable => None,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    ClientHello {
        magic: [u8; 8],
        protocol_min: u16,
        protocol_max: u16,
        cluster: Option<ClusterId>,
        from: Option<NodeId>,
        target: Option<NodeId>,
        purpose: Purpose,
        nonce: [u8; 32],
    },
    ServerHello {
        protocol_min: u16,
        protocol_max: u16,
        cluster: Option<ClusterId>,
        node: Option<NodeId>,
        nonce: [u8; 32],
    },
    ClientProof([u8; 32]),
    Verdict {
        refusal: Option<Refusal>,
        proof: [u8; 32],
    },
}

/// The secret of a cluster.
#[derive(Clone)]
pub(crate) struct Secret(std::sync::Arc<[u8]>);

impl Secret {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in parts {
            // With its length, so that no two lists of parts are the same bytes.
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }

    fn prove(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// In constant time.
    fn verify(&self, parts: &[&[u8]], proof: &[u8; 32]) -> Result<(), HandshakeError> {
        self.mac(parts).verify_slice(proof).map_err(|_| HandshakeError::Secret)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

fn nonce() -> [u8; 32] {
    rand::random()
}

/// The client's side. `target` is the node that must answer; `None` when anyone may, on a discover connection.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    secret: &Secret,
    us: Who,
    target: Option<NodeId>,
    purpose: Purpose,
) -> Result<(), HandshakeError> {
    let hello = encode(&Message::ClientHello {
        magic: MAGIC,
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        cluster: us.member.map(|(cluster, _)| cluster),
        from: us.member.map(|(_, node)| node),
        target,
        purpose,
        nonce: nonce(),
    })?;
    write(stream, &hello).await?;
    let answer = read(stream).await?;
    let Message::ServerHello { cluster, node, .. } = decode(&answer)? else { return Err(HandshakeError::Garbage) };
    let proof = secret.prove(&[CLIENT_LABEL, &hello, &answer]);
    write(stream, &encode(&Message::ClientProof(proof))?).await?;
    let Message::Verdict { refusal, proof } = decode(&read(stream).await?)? else {
        return Err(HandshakeError::Garbage);
    };
    secret.verify(&[SERVER_LABEL, &hello, &answer, &verdict_bytes(refusal)], &proof)?;
    match refusal {
        None => Ok(()),
        Some(Refusal::Protocol) => Err(HandshakeError::Protocol),
        Some(Refusal::Cluster) => Err(HandshakeError::Cluster(cluster)),
        Some(Refusal::Target) => Err(HandshakeError::Target(node)),
        Some(Refusal::Unavailable) => Err(HandshakeError::Unavailable),
    }
}

/// The server's side. `admit` has the last word on a peer that proved to be who it says.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    secret: &Secret,
    us: Who,
    admit: impl FnOnce(&Accepted) -> bool,
) -> Result<Accepted, HandshakeError> {
    let hello = read(stream).await?;
    let Message::ClientHello { magic: MAGIC, protocol_min, protocol_max, cluster, from, target, purpose, .. } =
        decode(&hello)?
    else {
        return Err(HandshakeError::Garbage);
    };
    let answer = encode(&Message::ServerHello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        cluster: us.member.map(|(cluster, _)| cluster),
        node: us.member.map(|(_, node)| node),
        nonce: nonce(),
    })?;
    write(stream, &answer).await?;
    let Message::ClientProof(proof) = decode(&read(stream).await?)? else { return Err(HandshakeError::Garbage) };
    secret.verify(&[CLIENT_LABEL, &hello, &answer], &proof)?;

    let accepted = Accepted { purpose, from };
    let refusal = if protocol_max < PROTOCOL_MIN || protocol_min > PROTOCOL_MAX {
        Some(Refusal::Protocol)
    } else if purpose != Purpose::Discover {
        refuse_member(us, cluster, from, target)
    } else {
        None
    };
    let refusal = refusal.or_else(|| (!admit(&accepted)).then_some(Refusal::Unavailable));
    let proof = secret.prove(&[SERVER_LABEL, &hello, &answer, &verdict_bytes(refusal)]);
    write(stream, &encode(&Message::Verdict { refusal, proof })?).await?;
    match refusal {
        None => Ok(accepted),
        Some(Refusal::Protocol) => Err(HandshakeError::Protocol),
        Some(Refusal::Cluster) => Err(HandshakeError::Cluster(cluster)),
        Some(Refusal::Target) => Err(HandshakeError::Target(target)),
        Some(Refusal::Unavailable) => Err(HandshakeError::Unavailable),
    }
}

fn refuse_member(us: Who, cluster: Option<ClusterId>, from: Option<NodeId>, target: Option<NodeId>) -> Option<Refusal> {
    match us.member {
        None => Some(Refusal::Unavailable),
        Some((ours, _)) if cluster != Some(ours) => Some(Refusal::Cluster),
        Some((_, node)) if target != Some(node) || from.is_none() || from == Some(node) => Some(Refusal::Target),
        Some(_) => None,
    }
}

fn verdict_bytes(refusal: Option<Refusal>) -> [u8; 1] {
    [match refusal {
        None => 0,
        Some(Refusal::Protocol) => 1,
        Some(Refusal::Cluster) => 2,
        Some(Refusal::Target) => 3,
        Some(Refusal::Unavailable) => 4,
    }]
}

fn encode(message: &Message) -> Result<Vec<u8>, HandshakeError> {
    codec::encode(Kind::Handshake, message).map_err(|_| HandshakeError::Garbage)
}

fn decode(bytes: &[u8]) -> Result<Message, HandshakeError> {
    codec::decode(Kind::Handshake, bytes).map_err(|_| HandshakeError::Garbage)
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, message: &[u8]) -> Result<(), HandshakeError> {
    let mut frame = Vec::with_capacity(4 + message.len());
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    stream.write_all(&frame).await?;
    Ok(stream.flush().await?)
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, HandshakeError> {
    let len = stream.read_u32().await? as usize;
    if len > HELLO_BYTES_MAX {
        return Err(HandshakeError::Oversized(len));
    }
    let mut message = vec![0; len];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
