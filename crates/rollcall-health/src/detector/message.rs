//! What detectors say to each other straight, and its bytes.
//!
//! ```text
//! version u8 = 1 | kind u8 | nonce u64 | body
//! 1 ping        flags u8 (bit 0: suspected)
//! 2 ack         generation u64
//! 3 ping-req    target: length u8, bytes
//! 4 relayed ack generation u64, target: length u8, bytes
//! 5 false death generation u64
//! ```
//! Numbers are little-endian. Whoever sent it is known from the transport, which authenticates it, so no message names its
//! sender. Decoding accepts exactly the bytes that encoding makes.

use rollcall_types::NodeName;
use thiserror::Error;

/// The only version of the format.
const VERSION: u8 = 1;
const PING: u8 = 1;
const ACK: u8 = 2;
const PING_REQ: u8 = 3;
const RELAYED_ACK: u8 = 4;
const FALSE_DEATH: u8 = 5;
const SUSPECTED: u8 = 1;

/// A datagram between two detectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// "Answer me."
    Ping {
        /// Comes back in the answer.
        nonce: u64,
        /// "I have not seen your heartbeat for long" (Lifeguard §III-C, buddy system): gossip with me at once.
        suspected: bool,
    },
    /// The answer to a ping.
    Ack {
        /// Of the ping.
        nonce: u64,
        /// Of the process that answers.
        generation: u64,
    },
    /// "Ping `target` for me and tell me if it answers" (SWIM §3.1).
    PingReq {
        /// Comes back in the relayed answer.
        nonce: u64,
        /// Whom to ping.
        target: NodeName,
    },
    /// "`target` answered me."
    RelayedAck {
        /// Of the ping-req.
        nonce: u64,
        /// Of the process that answered.
        generation: u64,
        /// Who answered.
        target: NodeName,
    },
    /// "I held you dead, and you live."
    FalseDeath {
        /// Of no meaning; every message has one.
        nonce: u64,
        /// Of the process that was held dead.
        generation: u64,
    },
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Another version, newer or never made.
    #[error("version {0} of a detector message is unknown")]
    Version(u8),
    /// A kind that this version does not have.
    #[error("kind {0} of a detector message is unknown")]
    Kind(u8),
    /// Ends too early, goes on too long, or holds a value that is never written.
    #[error("a detector message is malformed")]
    Malformed,
}

impl Message {
    /// Longest encoding, in bytes.
    pub const MAX_BYTES: usize = 2 + 8 + 8 + 1 + NodeName::MAX_BYTES;

    /// The bytes of it.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, nonce) = match self {
            Self::Ping { nonce, .. } => (PING, nonce),
            Self::Ack { nonce, .. } => (ACK, nonce),
            Self::PingReq { nonce, .. } => (PING_REQ, nonce),
            Self::RelayedAck { nonce, .. } => (RELAYED_ACK, nonce),
            Self::FalseDeath { nonce, .. } => (FALSE_DEATH, nonce),
        };
        let mut bytes = Vec::with_capacity(Self::MAX_BYTES);
        bytes.extend([VERSION, kind]);
        bytes.extend(nonce.to_le_bytes());
        match self {
            Self::Ping { suspected, .. } => bytes.push(if *suspected { SUSPECTED } else { 0 }),
            Self::Ack { generation, .. } | Self::FalseDeath { generation, .. } => {
                bytes.extend(generation.to_le_bytes())
            }
            Self::PingReq { target, .. } => write_name(&mut bytes, target),
            Self::RelayedAck { generation, target, .. } => {
                bytes.extend(generation.to_le_bytes());
                write_name(&mut bytes, target);
            }
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`MessageError`] for everything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut reader = Reader(bytes);
        match reader.byte()? {
            VERSION => {}
            other => return Err(MessageError::Version(other)),
        }
        let kind = reader.byte()?;
        if !(PING..=FALSE_DEATH).contains(&kind) {
            return Err(MessageError::Kind(kind));
        }
        let nonce = reader.number()?;
        let message = match kind {
            PING => match reader.byte()? {
                flags @ (0 | SUSPECTED) => Self::Ping { nonce, suspected: flags == SUSPECTED },
                _ => return Err(MessageError::Malformed),
            },
            ACK => Self::Ack { nonce, generation: reader.number()? },
            PING_REQ => Self::PingReq { nonce, target: reader.name()? },
            RELAYED_ACK => Self::RelayedAck { nonce, generation: reader.number()?, target: reader.name()? },
            _ => Self::FalseDeath { nonce, generation: reader.number()? },
        };
        if reader.0.is_empty() { Ok(message) } else { Err(MessageError::Malformed) }
    }
}

fn write_name(bytes: &mut Vec<u8>, name: &NodeName) {
    const { assert!(NodeName::MAX_BYTES <= u8::MAX as usize, "the length of a name fits its byte") };
    bytes.push(name.len() as u8);
    bytes.extend(name.as_bytes());
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(MessageError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, MessageError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, MessageError> {
        let bytes = self.take(8)?.try_into().map_err(|_| MessageError::Malformed)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn name(&mut self) -> Result<NodeName, MessageError> {
        let length = usize::from(self.byte()?);
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| MessageError::Malformed)?;
        NodeName::try_from(text).map_err(|_| MessageError::Malformed)
    }
}
