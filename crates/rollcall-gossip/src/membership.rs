//! What a member says of itself, as text in gossip.
//!
//! One JSON object under the key [`META_KEY`], with a version in `v`. Fields that a reader does not know are skipped, so a
//! newer node may say more; a text of another version, or one that breaks a rule, is as if it were not there.

use rollcall_types::{Label, NodeId, Version};
use serde::{Deserialize, Serialize};

/// Under which a member publishes its [`Meta`].
pub(crate) const META_KEY: &str = "n/meta";
/// There when the member leaves for good.
pub(crate) const LEFT_KEY: &str = "n/left";
/// Under which a member publishes what its detector holds of others.
pub(crate) const EVIDENCE_KEY: &str = "n/evidence";

/// The only version of the text.
const VERSION: u32 = 1;
/// Longest text.
const TEXT_BYTES_MAX: usize = 2 << 10;
/// Longest address: a host name (RFC 1035 §2.3.4), a colon and a port.
const ADDRESS_BYTES_MAX: usize = 255 + 6;

/// What a node is meant to be. What it is at present, Raft says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Votes.
    #[default]
    Voter,
    /// Stays without a vote for good.
    Observer,
    /// Something that this program does not know yet.
    #[serde(other)]
    Unknown,
}

impl Role {
    /// The word for it in logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Voter => "voter",
            Self::Observer => "observer",
            Self::Unknown => "unknown",
        }
    }
}

/// What a node tells the others of itself. Its name and its gossip address travel with every message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    /// Its id in Raft; `None` until it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Where its HTTP API is reached, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Where Raft peers reach it, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The zone it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Label>,
    /// The region it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Label>,
    /// The version of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What it is meant to be.
    #[serde(default)]
    pub role: Role,
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    #[serde(flatten)]
    meta: &'a Meta,
}

#[derive(Deserialize)]
struct Read {
    v: u32,
    #[serde(flatten)]
    meta: Meta,
}

impl Meta {
    /// What is wrong with it, worded for an operator.
    pub(crate) fn problem(&self) -> Option<String> {
        let is_address = |text: &String| {
            text.len() <= ADDRESS_BYTES_MAX
                && text.bytes().all(|byte| byte.is_ascii_graphic())
                && text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        let wrong = [&self.http, &self.peer].into_iter().flatten().find(|text| !is_address(text))?;
        Some(format!("the address '{wrong}' must be host:port"))
    }

    pub(crate) fn encode(&self) -> String {
        serde_json::to_string(&Written { v: VERSION, meta: self }).expect("text and numbers have a JSON form")
    }

    /// Reads what another member published; `None` for everything that breaks a rule.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let read: Read = serde_json::from_str(text).ok()?;
        (read.v == VERSION && read.meta.problem().is_none()).then_some(read.meta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Meta {
        Meta {
            node: Some(NodeId::new(7)),
            http: Some("n1.example:7400".to_owned()),
            peer: Some("[2001:db8::1]:7401".to_owned()),
            zone: Some(Label::try_from("a").unwrap()),
            region: Some(Label::try_from("eu").unwrap()),
            version: Some(Version::try_from("1.2.3").unwrap()),
            role: Role::Observer,
        }
    }

    /// Other versions of this program read this text.
    #[test]
    fn golden_text() {
        let text = r#"{"v":1,"node":7,"http":"n1.example:7400","peer":"[2001:db8::1]:7401","zone":"a","region":"eu","version":"1.2.3","role":"observer"}"#;
        assert_eq!(full().encode(), text);
        assert_eq!(Meta::decode(text), Some(full()));
        assert_eq!(Meta::default().encode(), r#"{"v":1,"role":"voter"}"#);
    }

    #[test]
    fn a_newer_node_may_say_more() {
        let meta = Meta::decode(r#"{"v":1,"role":"witness","rack":"r1"}"#).unwrap();
        assert_eq!(meta.role, Role::Unknown);
    }

    #[test]
    fn what_breaks_a_rule_is_not_there() {
        let long = format!(r#"{{"v":1,"http":"{}:1"}}"#, "h".repeat(3_000));
        for text in ["", "{}", r#"{"v":2}"#, r#"{"v":1,"http":"nowhere"}"#, r#"{"v":1,"zone":"a b"}"#, &long] {
            assert_eq!(Meta::decode(text), None, "{text}");
        }
    }

    #[test]
    fn the_longest_meta_fits_one_value() {
        let host = "h".repeat(255);
        let longest = Meta {
            node: Some(NodeId::new(u64::MAX)),
            http: Some(format!("{host}:65535")),
            peer: Some(format!("{host}:65535")),
            zone: Some(Label::try_from(&*"z".repeat(Label::MAX_BYTES)).unwrap()),
            region: Some(Label::try_from(&*"r".repeat(Label::MAX_BYTES)).unwrap()),
            version: Some(Version::try_from(&*"\"".repeat(Version::MAX_BYTES)).unwrap()),
            role: Role::Observer,
        };
        assert_eq!(Meta::decode(&longest.encode()), Some(longest));
    }
}
