//! Sessions that hold locks: who may keep a key, for how long, and what becomes of it afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{CheckId, InstanceId, Invalid, Millis, NodeName, ServiceName, Text};

/// Shortest time to live of a session. Below it, an election would end sessions whose holders are well.
pub const SESSION_TTL_MIN: Millis = Millis::new(10_000);
/// Longest time to live of a session, one day.
pub const SESSION_TTL_MAX: Millis = Millis::new(86_400_000);
/// Longest lock delay.
pub const LOCK_DELAY_MAX: Millis = Millis::new(60_000);
/// How long a key cannot be locked after its holder's session ended, unless the session said otherwise.
pub const LOCK_DELAY_DEFAULT: Millis = Millis::new(15_000);
/// Most checks that one session may hang on.
pub const SESSION_CHECKS_MAX: usize = 64;

/// Id of a session: a random number, written as a UUID (RFC 9562 §4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(u128);

impl SessionId {
    /// The id with this number.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for SessionId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let hyphens_fit =
            text.len() == 36 && text.bytes().enumerate().all(|(at, byte)| (byte == b'-') == is_hyphen(at));
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        u128::from_str_radix(&digits, 16)
            .ok()
            .filter(|_| hyphens_fit && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .map(Self)
            .ok_or_else(|| Invalid::new("be a UUID: 8-4-4-4-12 hexadecimal digits", text))
    }
}

fn is_hyphen(at: usize) -> bool {
    matches!(at, 8 | 13 | 18 | 23)
}

/// What becomes of the keys of a session when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnSessionEnd {
    /// They stay, and nobody holds them.
    #[default]
    Release,
    /// They are removed.
    Delete,
}

/// What must go on for a session to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionCheck {
    /// The session's node is alive.
    Node,
    /// An instance is registered with a check, and that is not critical.
    Instance {
        /// Its service.
        service: ServiceName,
        /// Its id.
        id: InstanceId,
        /// The check.
        check: CheckId,
    },
}

/// What is said about a session when it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// For people; may be empty.
    pub name: Text,
    /// The node it belongs to.
    pub node: NodeName,
    /// Longest silence, [`SESSION_TTL_MIN`] to [`SESSION_TTL_MAX`]; `None`: it lasts until it is closed.
    pub ttl: Option<Millis>,
    /// How long its keys cannot be locked after it ended, at most [`LOCK_DELAY_MAX`]; 0 means not at all. So much time does a
    /// holder have that did not yet hear of the end.
    pub lock_delay: Millis,
    /// What becomes of its keys.
    pub on_end: OnSessionEnd,
    /// At most [`SESSION_CHECKS_MAX`].
    pub checks: Box<[SessionCheck]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id = SessionId::new(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0011-223344556677");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("01234567-89AB-CDEF-0011-223344556677".parse(), Ok(id));
    }

    #[test]
    fn what_is_no_uuid_is_refused() {
        let texts = [
            "",
            "x",
            "0123456789abcdef0011223344556677",
            "01234567-89ab-cdef-0011-22334455667",
            "0123456789ab-cdef-0011-2233-44556677",
        ];
        for text in
            texts.into_iter().chain(["+1234567-89ab-cdef-0011-223344556677", "é1234567-89ab-cdef-0011-22334455667"])
        {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
    }
}
