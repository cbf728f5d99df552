//! Which addresses this node may probe, so that a registration cannot make it scan a network or read what only it can reach.
//!
//! What decides is the **address** that a connection goes to, after a name was resolved, never the name.
//!
//! | Addresses | May be probed |
//! |---|---|
//! | metadata services of clouds, link-local, multicast, broadcast, unspecified, reserved | never, whatever the configuration says |
//! | in `probe.denied-networks` | no |
//! | in `probe.allowed-networks` | yes |
//! | anything else, while `probe.allowed-networks` is set | no |
//! | loopback | only by a node that itself listens on loopback only |
//! | private (RFC 1918, ULA), shared (RFC 6598), public | yes |
//!
//! Private networks are where services are, so a registry that refuses them is of no use; public ones are where the services
//! of another provider are. Loopback is another machine on every node: what an instance calls 127.0.0.1 is not what the node
//! that probes it calls so. There it would only reach what trusts its own machine. A node that listens on loopback only has
//! nobody but its own machine to serve, and that is how people try Rollcall out.
//!
//! An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4) is judged by both.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use rollcall_api::FieldError;
use rollcall_types::{CheckKind, CheckSpec};
use serde::{Deserialize, Serialize};

use super::target::Target;

/// A network as in `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Why nothing in this network is ever probed; `None` when something may be.
    pub(crate) fn forbidden(&self) -> Option<&'static str> {
        let (first, last) = (self.0.network(), self.0.broadcast());
        special(first).filter(|what| special(last) == Some(what))
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network
            .map(|network| Self(network.trunc()))
            .map_err(|_| format!("\"{text}\" must be a network as \"10.0.0.0/8\" or \"fd00::/8\", or one address"))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which addresses may be probed; see the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy {
    /// When not empty, nothing else may be probed.
    pub(crate) allowed: Vec<Network>,
    /// What may not be probed, also when it is allowed.
    pub(crate) denied: Vec<Network>,
    /// Whether loopback may be probed without being in `allowed`.
    pub(crate) loopback: bool,
}

/// Why an address may not be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Never probed: what it is.
    Special(&'static str),
    /// In a network of `probe.denied-networks`.
    Denied(Network),
    /// In no network of `probe.allowed-networks`.
    NotAllowed,
    /// On loopback, of a node that listens beyond it.
    Loopback,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Special(what) => write!(f, "{what}, which is never probed"),
            Self::Denied(network) => write!(f, "in {network}, which probe.denied-networks names"),
            Self::NotAllowed => f.write_str("in none of the networks that probe.allowed-networks names"),
            Self::Loopback => f.write_str(
                "loopback, which is another machine on each node; give an address that every node reaches, or name it in \
                 probe.allowed-networks",
            ),
        }
    }
}

impl Policy {
    /// Why `address` may not be probed; `None` when it may.
    pub(crate) fn refusal(&self, address: IpAddr) -> Option<Refusal> {
        let address = address.to_canonical();
        let own = self.never(address).or_else(|| {
            let is_allowed = match self.allowed.as_slice() {
                [] => return (address.is_loopback() && !self.loopback).then_some(Refusal::Loopback),
                networks => networks.iter().any(|network| network.contains(address)),
            };
            (!is_allowed).then_some(Refusal::NotAllowed)
        });
        own.or_else(|| self.never(carried(address)?.into()))
    }

    /// What breaks the policy in checks whose host is an address, so that whoever registers them learns it at once. A name is
    /// judged when it is resolved, each time.
    pub(crate) fn review(&self, checks: &[CheckSpec]) -> Vec<FieldError> {
        let refused = checks.iter().enumerate().filter_map(|(place, check)| {
            let target = Target::of(&check.kind)?;
            let refusal = self.refusal(target.host.parse().ok()?)?;
            let field = if matches!(check.kind, CheckKind::Http { .. }) { "url" } else { "address" };
            Some(FieldError::new(
                format!("checks[{place}].{field}"),
                format!("must lead where instances may be probed; {} is {refusal}", target.host),
            ))
        });
        refused.collect()
    }

    /// What no network of `allowed` makes good.
    fn never(&self, address: IpAddr) -> Option<Refusal> {
        if let Some(what) = special(address) {
            return Some(Refusal::Special(what));
        }
        self.denied.iter().find(|network| network.contains(address)).map(|network| Refusal::Denied(*network))
    }
}

/// The IPv4 address that an IPv6 address leads to: NAT64 (RFC 6052 §2.1) and 6to4 (RFC 3056 §2).
fn carried(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let [a, b, c, d, e, f, g, h] = address.segments();
    let (high, low) = match [a, b, c, d, e, f] {
        [0x64, 0xff9b, 0, 0, 0, 0] => (g, h),
        [0x2002, ..] => (b, c),
        _ => return None,
    };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

/// What an address is that is never probed (RFC 6890 and what clouds document); `None` for all others.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("an address of no host"),
        [169, 254, ..] => Some("link-local, where clouds have their metadata service"),
        // Alibaba's metadata service, within the shared networks; Azure's, a public address.
        [100, 100, 100, 200] | [168, 63, 129, 16] => Some("the metadata service of a cloud"),
        [192, 0, 0, _] => Some("reserved"),
        [224..=239, ..] => Some("multicast"),
        [255, 255, 255, 255] => Some("broadcast"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an address of no host"),
        [0, 0, 0, 0, 0, 0, 0, 1] => None,
        // IPv4-compatible, and what else begins so; RFC 4291 §2.5.5.1. Mapped ones are judged as IPv4.
        [0, 0, 0, 0, 0, 0, ..] => Some("reserved"),
        // NAT64 of a prefix's own making hides which IPv4 address it leads to (RFC 8215); so does Teredo (RFC 4380).
        [0x64, 0xff9b, 1, ..] => Some("a translated address"),
        [0x2001, 0, ..] => Some("a tunnelled address"),
        [0x100, 0, 0, 0, ..] => Some("reserved"),
        // Amazon's, and Google's.
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Some("the metadata service of a cloud"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("reserved"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rollcall_types::{Millis, Text};

    use super::*;

    fn networks(list: &[&str]) -> Vec<Network> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[track_caller]
    fn check(policy: &Policy, allowed: &[&str], refused: &[&str]) {
        for address in allowed {
            assert_eq!(policy.refusal(address.parse().unwrap()), None, "{address}");
        }
        for address in refused {
            assert!(policy.refusal(address.parse().unwrap()).is_some(), "{address}");
        }
    }

    const NEVER: [&str; 29] = [
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::7f00:1",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "2002:a9fe:a9fe::1",
        "2001:0:1::1",
        "100::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "64:ff9b::e000:1",
        "2002:0:1::",
    ];

    #[test]
    fn by_default_services_are_probed_where_they_are_and_loopback_is_not() {
        let reached = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd12::1", "2606:4700::1111"];
        check(&Policy::default(), &reached, &NEVER);
        check(&Policy::default(), &[], &["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]);
    }

    #[test]
    fn a_node_on_loopback_probes_loopback() {
        let policy = Policy { loopback: true, ..Policy::default() };
        check(&policy, &["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "10.0.0.1"], &NEVER);
    }

    #[test]
    fn an_allowed_network_makes_every_other_one_refused_and_no_special_one_good() {
        let policy = Policy { allowed: networks(&["10.0.0.0/8", "127.0.0.1", "0.0.0.0/0"]), ..Policy::default() };
        check(&policy, &["10.1.1.1", "127.0.0.1", "8.8.8.8"], &NEVER);
        let policy = Policy { allowed: networks(&["10.0.0.0/8", "fd00::/8"]), loopback: true, ..Policy::default() };
        check(&policy, &["10.1.1.1", "fd12::1", "::ffff:10.0.0.1"], &["127.0.0.1", "192.168.0.1", "8.8.8.8", "::1"]);
    }

    #[test]
    fn a_denied_network_is_refused_though_it_is_allowed_and_however_it_is_written() {
        let policy =
            Policy { allowed: networks(&["::/0", "0.0.0.0/0"]), denied: networks(&["10.9.0.0/16"]), loopback: true };
        check(
            &policy,
            &["10.8.0.1", "64:ff9b::a08:1"],
            &["10.9.0.1", "::ffff:10.9.0.1", "64:ff9b::a09:1", "2002:a09:1::1"],
        );
    }

    #[test]
    fn a_registration_learns_which_of_its_checks_lead_nowhere() {
        let check = |kind| CheckSpec {
            id: "c".parse().unwrap(),
            name: Text::default(),
            notes: Text::default(),
            capability: None,
            kind,
            interval: Millis::new(1_000),
            timeout: Millis::new(100),
            failures_before_critical: 3,
            successes_before_passing: 2,
        };
        let url = |url: &str| check(CheckKind::Http { url: url.try_into().unwrap() });
        let checks = [
            url("http://10.0.0.1/"),
            url("http://[::ffff:169.254.169.254]/latest"),
            url("http://localhost/"),
            check(CheckKind::Tcp { host: "127.0.0.1".try_into().unwrap(), port: 80_u64.try_into().unwrap() }),
        ];
        let errors = Policy::default().review(&checks);
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["checks[1].url", "checks[3].address"]);
        assert!(errors[0].to_string().contains("link-local"), "{}", errors[0]);
    }

    #[test]
    fn a_network_is_told_by_its_first_address() {
        assert_eq!("10.1.2.3/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
        assert_eq!("10.1.2.3".parse::<Network>().unwrap().to_string(), "10.1.2.3/32");
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "fd00::/129"] {
            assert!(wrong.parse::<Network>().unwrap_err().contains("must be a network"), "{wrong}");
        }
    }

    #[test]
    fn a_network_that_is_wholly_special_can_be_told_from_one_that_is_not() {
        for text in ["169.254.169.254", "169.254.0.0/16", "224.0.0.0/4", "fe80::/10", "ff00::/8"] {
            assert!(text.parse::<Network>().unwrap().forbidden().is_some(), "{text}");
        }
        for text in ["0.0.0.0/0", "10.0.0.0/8", "127.0.0.0/8", "::/0", "fd00::/8"] {
            assert!(text.parse::<Network>().unwrap().forbidden().is_none(), "{text}");
        }
    }
}
