//! The keys that gossip is sealed with, and how they are changed while the cluster runs.
//!
//! A key file holds one key a line, as `rollcall keygen` prints it: 64 hexadecimal digits. The first key seals, every key
//! opens. So a key is replaced without a moment in which two nodes do not understand each other:
//!
//! 1. the new key is added *behind* the old one on every node: all can open it, nobody uses it;
//! 2. it becomes the first on every node, one after the other;
//! 3. the old key is taken out on every node.
//!
//! Messages name their key by an id that is computed from the key, so operators need not invent ids, the same key has the
//! same id everywhere, and logs can name a key without telling it.

use std::fmt;
use std::path::Path;

use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use rollcall_types::ClusterId;
use sha2::{Digest, Sha256};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Keys in one ring at most. Two are enough for a rotation; more tolerate a rotation that was left half done.
pub const KEYS_MAX: usize = 8;
/// Largest key file that is read, with its remarks.
const FILE_BYTES_MAX: u64 = 64 << 10;

const ID_LABEL: &[u8] = b"rollcall gossip key id 1";
const LOOPBACK_LABEL: &[u8] = b"rollcall gossip without a key, loopback only 1";

/// Names a key without telling it: the first 4 bytes of SHA-256 over a label and the key. Shown as 8 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(crate) [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One key, ready for use. The cipher wipes its copy of the key when it is dropped.
#[derive(Clone)]
struct Key {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

impl Key {
    fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let digest = Sha256::new().chain_update(ID_LABEL).chain_update(bytes).finalize();
        let id = KeyId([digest[0], digest[1], digest[2], digest[3]]);
        Self { id, cipher: XChaCha20Poly1305::new(bytes.into()) }
    }
}

/// Why a text is no keyring. Never shows a part of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read gossip keys from {origin}")]
    Unreadable {
        /// The file.
        origin: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A line that is neither a key nor a remark.
    #[error("{origin}, line {line}: a gossip key is {} hexadecimal digits, as `rollcall keygen` prints it", 2 * KEY_BYTES)]
    Malformed {
        /// The file or variable.
        origin: String,
        /// Counted from 1.
        line: usize,
    },
    /// The same key twice, or two keys with one id; either way one of them would never be used.
    #[error("{origin}, line {line}: key {id} is there already")]
    Twice {
        /// The file or variable.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// The key.
        id: KeyId,
    },
    /// More than [`KEYS_MAX`] keys.
    #[error("{origin}: more than {KEYS_MAX} gossip keys; take out those that no node seals with any more")]
    TooMany {
        /// The file or variable.
        origin: String,
    },
    /// No key at all.
    #[error("{origin}: no gossip key; make one with `rollcall keygen`")]
    Empty {
        /// The file or variable.
        origin: String,
    },
}

/// The keys of a node: the first seals, all open. Never empty; ids are distinct.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    /// A ring of one key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { keys: vec![Key::new(key)] }
    }

    /// Reads keys from text, one a line; empty lines and lines that begin with `#` are skipped. `origin` is the file or
    /// variable the text comes from, for errors.
    ///
    /// # Errors
    /// [`KeyError`], with the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self, KeyError> {
        let origin = || origin.to_owned();
        let mut keys: Vec<Key> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = decode_hex(line).ok_or_else(|| KeyError::Malformed { origin: origin(), line: number })?;
            let key = Key::new(&bytes);
            if keys.iter().any(|present| present.id == key.id) {
                return Err(KeyError::Twice { origin: origin(), line: number, id: key.id });
            }
            if keys.len() == KEYS_MAX {
                return Err(KeyError::TooMany { origin: origin() });
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(KeyError::Empty { origin: origin() }) } else { Ok(Self { keys }) }
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError`]; a file above 64 KiB is no key file.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let origin = path.display().to_string();
        let read = || {
            use std::io::Read as _;
            let mut text = String::new();
            std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
            if text.len() as u64 > FILE_BYTES_MAX {
                return Err(std::io::Error::other("it is above 64 KiB, so it is no key file"));
            }
            Ok(text)
        };
        match read() {
            Ok(text) => Self::parse(&text, &origin),
            Err(source) => Err(KeyError::Unreadable { origin, source }),
        }
    }

    /// The ring of a node that was given no key: anyone who knows the cluster id can compute it, so it protects from
    /// accidents only. [`crate::Options::validate`] lets it be used on loopback and nowhere else.
    pub(crate) fn loopback(cluster: ClusterId) -> Self {
        let digest = Sha256::new().chain_update(LOOPBACK_LABEL).chain_update(cluster.get().to_le_bytes()).finalize();
        Self::new(&digest.into())
    }

    /// The id of the key that seals.
    pub fn sealing_key(&self) -> KeyId {
        self.keys[0].id
    }

    /// The ids of all keys, the sealing one first.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(|key| key.id)
    }

    /// The key that seals.
    pub(crate) fn seal_with(&self) -> (KeyId, &XChaCha20Poly1305) {
        (self.keys[0].id, &self.keys[0].cipher)
    }

    /// The key with this id.
    pub(crate) fn find(&self, id: KeyId) -> Option<&XChaCha20Poly1305> {
        self.keys.iter().find(|key| key.id == id).map(|key| &key.cipher)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyring").field(&self.key_ids().collect::<Vec<_>>()).finish()
    }
}

fn decode_hex(text: &str) -> Option<[u8; KEY_BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const SECOND: &str = "FF0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn refused(text: &str) -> String {
        Keyring::parse(text, "gossip.keys").unwrap_err().to_string()
    }

    #[test]
    fn the_first_key_seals_and_all_are_known() {
        let ring = Keyring::parse(&format!("# new\n\n  {SECOND}\r\n{FIRST}"), "-").unwrap();
        let alone = |text| Keyring::parse(text, "-").unwrap().sealing_key();
        assert_eq!(ring.sealing_key(), alone(SECOND));
        assert_eq!(ring.key_ids().collect::<Vec<_>>(), [alone(SECOND), alone(FIRST)]);
        assert!(ring.find(alone(FIRST)).is_some());
    }

    #[test]
    fn the_id_of_a_key_is_the_same_everywhere() {
        assert_eq!(Keyring::parse(FIRST, "-").unwrap().sealing_key().to_string(), "df0632b0");
    }

    #[test]
    fn errors_name_file_and_line_and_no_key() {
        let cut = &FIRST[..62];
        for text in [format!("{FIRST}\n{cut}"), format!("{FIRST}\n{cut}xy"), format!("{FIRST}\n{cut}äx")] {
            let said = refused(&text);
            assert!(said.starts_with("gossip.keys, line 2: "), "{said}");
            assert!(!said.contains(&FIRST[..8]), "{said}");
        }
        assert!(refused(&format!("{FIRST}\n{FIRST}")).contains("line 2: key df0632b0 is there already"));
        assert!(refused("# nothing\n").contains("rollcall keygen"));
        let many: String = (0..9).map(|n| format!("{n:064x}\n")).collect();
        assert!(refused(&many).contains("more than 8"));
    }

    #[test]
    fn a_file_that_is_not_there_or_too_large_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Keyring::read(&folder.path().join("keys")).unwrap_err();
        assert!(missing.to_string().ends_with("/keys"), "{missing}");
        let large = folder.path().join("large");
        std::fs::write(&large, vec![b'#'; 100_000]).unwrap();
        assert!(matches!(Keyring::read(&large), Err(KeyError::Unreadable { .. })));
    }

    #[test]
    fn debug_shows_ids_only() {
        assert_eq!(format!("{:?}", Keyring::parse(FIRST, "-").unwrap()), "Keyring([df0632b0])");
    }

    #[test]
    fn without_a_key_clusters_still_differ() {
        let id = |cluster| Keyring::loopback(ClusterId::new(cluster)).sealing_key();
        assert_ne!(id(1), id(2));
    }
}
