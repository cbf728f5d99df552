//! What a challenge says, and its bytes.
//!
//! ```text
//! offset 0  nonce             16 bytes
//!       16  generation        u64, little-endian: of the challenged process
//!       24  newest            u64, little-endian
//!       32  whether it is gone  0 or 1
//!       33  name of the challenged process, to the end
//! ```

use rollcall_types::NodeName;

use crate::seal::Sender;

pub(crate) const NONCE_BYTES: usize = 16;
pub(crate) type Nonce = [u8; NONCE_BYTES];

/// "Prove that you live." It names whom it asks, so that nobody else heeds it, nor another life of the same node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) nonce: Nonce,
    /// The challenged process.
    pub(crate) name: NodeName,
    pub(crate) generation: u64,
    /// The newest generation known under that name; 0 when there is none but its own.
    pub(crate) newest: u64,
    /// Whether that newest process seems to be gone: it is silent, or had the very address of the challenged one.
    pub(crate) is_gone: bool,
}

impl Challenge {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.nonce.to_vec();
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.newest.to_le_bytes());
        bytes.push(u8::from(self.is_gone));
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (nonce, rest) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (newest, rest) = rest.split_first_chunk::<8>()?;
        let (is_gone, name) = match rest.split_first()? {
            (0, name) => (false, name),
            (1, name) => (true, name),
            _ => return None,
        };
        Some(Self {
            nonce: *nonce,
            name: NodeName::try_from(std::str::from_utf8(name).ok()?).ok()?,
            generation: u64::from_le_bytes(*generation),
            newest: u64::from_le_bytes(*newest),
            is_gone,
        })
    }

    /// Whether it asks `process`.
    pub(crate) fn is_for(&self, process: &Sender) -> bool {
        (&self.name, self.generation) == (&process.name, process.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of these bytes means that old and new nodes no longer understand each other.
    #[test]
    fn golden_challenge() {
        let name = NodeName::try_from("n1").unwrap();
        let challenge = Challenge { nonce: [7; NONCE_BYTES], name, generation: 0x0304, newest: 0x0102, is_gone: true };
        let bytes = challenge.encode();
        assert_eq!(bytes[..NONCE_BYTES], [7; 16]);
        assert_eq!(bytes[NONCE_BYTES..], [4, 3, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 1, b'n', b'1']);
        assert_eq!(Challenge::decode(&bytes), Some(challenge));
    }

    #[test]
    fn what_is_no_challenge_is_not_decoded() {
        let name = NodeName::try_from("n").unwrap();
        let bytes = Challenge { nonce: [7; NONCE_BYTES], name, generation: 3, newest: 1, is_gone: true }.encode();
        for length in 0..bytes.len() {
            assert_eq!(Challenge::decode(&bytes[..length]), None, "cut to {length}");
        }
        for (at, byte) in [(32, 2), (33, b' '), (33, 0xFF)] {
            let mut broken = bytes.clone();
            broken[at] = byte;
            assert_eq!(Challenge::decode(&broken), None, "byte {at} = {byte}");
        }
    }
}
