//! Where an instance listens.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use ecow::EcoString;
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::deserialize_text;
use crate::{Invalid, Label, Protocol};

/// Most endpoints that one instance may have.
pub const ENDPOINTS_MAX: usize = 16;

/// A TCP or UDP port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u64> for Port {
    type Error = Invalid;

    fn try_from(raw: u64) -> Result<Self, Invalid> {
        u16::try_from(raw)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| Invalid::new("be a port, 1 to 65535", raw))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A host: an IPv4 or IPv6 address without brackets, or a DNS name (RFC 1123 §2.1, plus `_` as service names use it).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Host(EcoString);

impl Host {
    /// The text as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, when the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

impl TryFrom<&str> for Host {
    type Error = Invalid;

    fn try_from(text: &str) -> Result<Self, Invalid> {
        if text.parse::<IpAddr>().is_ok() || is_dns_name(text) {
            Ok(Self(EcoString::from(text)))
        } else {
            Err(Invalid::new("be an IP address or a DNS name of at most 253 characters", text))
        }
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn is_dns_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // A last label of digits only is a mistyped address ("10.0.0.256"), never a name (RFC 3696 §2).
    let last_is_name = name.rsplit('.').next().is_some_and(|last| !last.bytes().all(|b| b.is_ascii_digit()));
    (1..=253).contains(&name.len()) && last_is_name && name.split('.').all(is_label)
}

/// One address of an instance: a name within the instance, the protocol spoken there, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name within the instance, unique there: `http`, `admin`.
    pub name: Label,
    /// Application protocol.
    pub protocol: Protocol,
    /// Where to connect.
    pub host: Host,
    /// Where to connect.
    pub port: Port,
}

impl Endpoint {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        match self.host.ip() {
            Some(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_1_to_65535() {
        assert!(Port::try_from(0).is_err());
        assert!(Port::try_from(65_536).is_err());
        assert_eq!(Port::try_from(65_535).unwrap().get(), 65_535);
    }

    #[test]
    fn hosts_are_addresses_or_dns_names() {
        for host in ["10.0.0.7", "::1", "web-1.internal", "localhost", "data_analyst.local", "a.b."] {
            assert!(Host::try_from(host).is_ok(), "{host}");
        }
        for host in ["", "10.0.0.256", "a b", "-a", "a..b", "[::1]", "http://x", "x:80"] {
            assert!(Host::try_from(host).is_err(), "{host}");
        }
    }
}
