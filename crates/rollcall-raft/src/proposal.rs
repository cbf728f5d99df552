//! A request on its way through the log: encoded once, by the node that was asked, and decoded where it is applied.
//!
//! A write is written to three logs and sent to two followers. As a value it would be encoded for each of them, and copied each
//! time an entry leaves the log; as bytes it is passed on. In memory it is one allocation instead of one for each text, which
//! matters for the entries that the log holds for its readers.
//!
//! Whatever is read from a peer or a file is decoded once to see that it is a request; what is not is refused there.

use std::fmt;

use bytes::Bytes;
use rollcall_catalog::Request;
use rollcall_types::UnixMillis;
use serde::{Deserialize, Deserializer, Serialize};

use crate::codec::{self, CodecError};

/// A request, encoded, and when its leader proposed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Proposal {
    at: UnixMillis,
    /// The encoding of a request; its own `at` counts for nothing.
    request: Bytes,
}

impl Proposal {
    /// Encodes `request`.
    ///
    /// # Errors
    /// When it has no encoding, which no request of this program lacks.
    pub(crate) fn new(request: &Request) -> Result<Self, CodecError> {
        let mut encoded = Vec::with_capacity(512);
        codec::append_body(&mut encoded, request)?;
        // Without what was not needed of that: an entry stays in memory for a while.
        Ok(Self { at: request.at, request: encoded.into_boxed_slice().into() })
    }

    /// The same, proposed at `at`.
    pub(crate) fn dated(self, at: UnixMillis) -> Self {
        Self { at, ..self }
    }

    /// Encoded bytes of the request.
    pub(crate) fn len(&self) -> usize {
        self.request.len()
    }

    /// Decodes the request.
    ///
    /// # Errors
    /// When the bytes are not a request; those that were read are.
    pub(crate) fn open(&self) -> Result<Request, CodecError> {
        let request: Request = codec::decode_body(&self.request)?;
        Ok(Request { at: self.at, ..request })
    }
}

/// For what openraft logs of an entry.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a request of {} bytes", self.len())
    }
}

impl<'de> Deserialize<'de> for Proposal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (at, request) = Deserialize::deserialize(deserializer)?;
        let proposal = Self { at, request };
        match proposal.open() {
            Ok(_) => Ok(proposal),
            Err(error) => Err(serde::de::Error::custom(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rollcall_catalog::{Actor, Command, Precondition, RequestId};
    use rollcall_types::{ActorName, KvKey, NodeName};

    use super::*;
    use crate::codec::Kind;
    use crate::types::Payload;

    fn request() -> Request {
        Request {
            id: Some(RequestId::Key { key: "once".into(), fingerprint: 7 }),
            at: UnixMillis::new(5),
            actor: Actor { name: ActorName::try_from("me").unwrap(), via: NodeName::try_from("n1").unwrap() },
            command: Command::KvPut {
                key: KvKey::try_from("k").unwrap(),
                value: b"v".to_vec().into(),
                flags: 0,
                expect: Precondition::None,
            },
        }
    }

    #[test]
    fn a_proposal_is_its_request_at_the_time_of_its_leader() {
        let proposal = Proposal::new(&request()).unwrap();
        assert_eq!(proposal.open().unwrap(), request());
        let later = UnixMillis::new(9);
        assert_eq!(proposal.dated(later).open().unwrap(), Request { at: later, ..request() });
    }

    #[test]
    fn what_is_no_request_is_refused_where_it_is_read() {
        let proposal = Proposal::new(&request()).unwrap();
        let cut = Proposal { request: proposal.request.slice(..proposal.len() - 1), ..proposal.clone() };
        let longer = Proposal { request: [proposal.request.as_ref(), &[0]].concat().into(), ..proposal.clone() };
        let read = |proposal| {
            let written = codec::encode(Kind::Payload, &Payload::Normal(proposal)).unwrap();
            codec::decode::<Payload>(Kind::Payload, &written)
        };
        assert!(read(proposal).is_ok());
        assert!(read(cut).is_err());
        assert!(read(longer).is_err());
    }
}
