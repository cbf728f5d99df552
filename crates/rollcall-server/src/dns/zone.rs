//! What a name means: from labels to a question about services, nodes and addresses. Pure.
//!
//! ```text
//! web.service.rollcall            a service                 api.web.service.rollcall         with a tag
//! _web._api.service.rollcall      the same, RFC 2782        _web._tcp.service.rollcall       without a tag
//! _admin._tcp.web.service.…       one endpoint of it        n1.node.rollcall                 a node
//! _web._tcp.rollcall              a service, RFC 2782       0a000007.addr.rollcall           an address
//! 7.0.0.10.in-addr.arpa           who has an address
//! ```
//! The data centre may stand before the domain: `web.service.dc1.consul`. Case never matters. A name that only leads to others
//! (`service.rollcall`) exists and holds nothing, so that resolvers that ask label by label (RFC 9156) find their way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;
use rollcall_types::{NodeName, ServiceKey, ServiceName};

use super::source::Wanted;

/// The names that a node answers for.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    domains: Vec<Domain>,
    datacenter: String,
    /// The node that answers.
    pub(super) node: NodeName,
    ttl_s: u32,
    service_ttl_s: BTreeMap<ServiceKey, u32>,
}

/// One domain, as labels in lower case.
#[derive(Debug, Clone)]
struct Domain {
    labels: Vec<String>,
    name: Name,
}

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// The domain itself.
    Apex,
    /// A name that exists because longer ones do.
    Between,
    /// A name that cannot exist.
    Nowhere,
    /// Instances.
    Service(Wanted),
    /// A node, by its name in lower case.
    Node(String),
    /// An address, spelled in the name.
    Address(IpAddr),
    /// Who has this address.
    Reverse(IpAddr),
}

/// A question, and the domain that it is asked in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    /// What it is about.
    pub(super) asked: Asked,
    /// The domain that is responsible: owner of the SOA record.
    pub(super) apex: Name,
    /// The domain for names in the answer.
    pub(super) home: Name,
}

impl Zone {
    /// A zone of these domains, which are valid ([`crate::config`] checks them).
    pub(super) fn new(
        domains: &[String],
        datacenter: &str,
        node: NodeName,
        ttl_s: u32,
        service_ttl_s: BTreeMap<ServiceKey, u32>,
    ) -> Self {
        let domain = |text: &String| {
            let labels: Vec<String> = text.trim_end_matches('.').split('.').map(str::to_ascii_lowercase).collect();
            Some(Domain { name: Name::from_labels(labels.iter().map(String::as_bytes)).ok()?, labels })
        };
        let domains = domains.iter().filter_map(domain).collect();
        Self { domains, datacenter: datacenter.to_ascii_lowercase(), node, ttl_s, service_ttl_s }
    }

    /// Seconds for which an answer about `service` may be kept when its definition does not say.
    pub(super) fn ttl_s(&self, service: &ServiceName) -> u32 {
        self.service_ttl_s.get(&ServiceKey::from(service)).copied().unwrap_or(self.ttl_s)
    }

    /// Seconds for which an answer about a node may be kept.
    pub(super) fn node_ttl_s(&self) -> u32 {
        self.ttl_s
    }

    /// What `name` means here; `None`: we do not answer for it.
    pub(super) fn locate(&self, name: &Name) -> Option<Located> {
        // What is no text, or has a dot within a label, is no name of ours; it stays a label that nothing equals.
        let text = |label: &[u8]| match std::str::from_utf8(label) {
            Ok(text) if !text.contains('.') => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        let labels: Vec<String> = name.iter().map(text).collect();
        for domain in &self.domains {
            if let Some(own) = labels.len().checked_sub(domain.labels.len())
                && labels[own..] == domain.labels[..]
            {
                let asked = self.asked(&labels[..own]);
                return Some(Located { asked, apex: domain.name.clone(), home: domain.name.clone() });
            }
        }
        self.located_reverse(&labels)
    }

    /// What the labels before the domain mean.
    fn asked(&self, labels: &[String]) -> Asked {
        if labels.iter().any(String::is_empty) {
            return Asked::Nowhere;
        }
        let labels = match labels.split_last() {
            None => return Asked::Apex,
            Some((last, rest)) if *last == self.datacenter => rest,
            Some(_) => labels,
        };
        let Some((kind, before)) = labels.split_last() else { return Asked::Between };
        match (kind.as_str(), before) {
            ("service" | "node" | "addr", []) => Asked::Between,
            ("service", labels) => service(labels),
            ("node", [name]) => Asked::Node(name.clone()),
            ("addr", [text]) => address(text).map_or(Asked::Nowhere, Asked::Address),
            // RFC 2782 needs no `service`, and Consul answers without.
            (kind, []) if kind.starts_with('_') => Asked::Between,
            (kind, [name]) if kind.starts_with('_') && name.starts_with('_') => service(labels),
            _ => Asked::Nowhere,
        }
    }

    /// A name under the domains that lead from addresses to names.
    fn located_reverse(&self, labels: &[String]) -> Option<Located> {
        let (arpa, labels) = labels.split_last()?;
        let (family, labels) = labels.split_last()?;
        let address = match (arpa.as_str(), family.as_str()) {
            ("arpa", "in-addr") => reverse_v4(labels),
            ("arpa", "ip6") => reverse_v6(labels),
            _ => return None,
        };
        let apex = Name::from_labels([family.as_bytes(), arpa.as_bytes()]).ok()?;
        let asked = match address {
            _ if labels.is_empty() => Asked::Apex,
            Some(Some(address)) => Asked::Reverse(address),
            Some(None) => Asked::Between,
            None => Asked::Nowhere,
        };
        Some(Located { asked, apex, home: self.domains.first()?.name.clone() })
    }

    /// `label.kind.datacenter.domain`; `None` when that is too long for a name.
    pub(super) fn name_in(&self, home: &Name, label: &str, kind: &str) -> Option<Name> {
        let own = Name::from_labels([label.as_bytes(), kind.as_bytes(), self.datacenter.as_bytes()]).ok()?;
        own.append_domain(home).ok()
    }

    /// `service.service.domain`.
    pub(super) fn service_in(&self, home: &Name, service: &str) -> Option<Name> {
        Name::from_labels([service.as_bytes(), b"service"]).ok()?.append_domain(home).ok()
    }

    /// The name of an address, which resolves to it.
    pub(super) fn address_in(&self, home: &Name, address: IpAddr) -> Option<Name> {
        let text = match address {
            IpAddr::V4(address) => format!("{:08x}", address.to_bits()),
            IpAddr::V6(address) => format!("{:032x}", address.to_bits()),
        };
        self.name_in(home, &text, "addr")
    }

    /// The name of the node that answers.
    pub(super) fn own_name_in(&self, home: &Name) -> Option<Name> {
        self.name_in(home, &self.node, "node")
    }
}

/// The labels before `service`.
fn service(labels: &[String]) -> Asked {
    let wanted = |name: &str, tag: Option<String>, endpoint: Option<&str>| match ServiceName::try_from(name) {
        Ok(service) => Asked::Service(Wanted { service, tag, endpoint: endpoint.map(str::to_owned) }),
        Err(_) => Asked::Nowhere,
    };
    let bare = |label: &'_ String| label.strip_prefix('_').filter(|rest| !rest.is_empty()).map(str::to_owned);
    match labels {
        // `_tcp.service` leads to `_web._tcp.service`.
        [name] if name.starts_with('_') => Asked::Between,
        [name] => wanted(name, None, None),
        // RFC 2782: service and protocol, where a tag may stand for the protocol.
        [first, second] if bare(first).is_some() && bare(second).is_some() => {
            let (name, tag) = (bare(first).unwrap_or_default(), bare(second).filter(|tag| tag != "tcp"));
            wanted(&name, tag, None)
        }
        // RFC 2782 below the service: an endpoint of it.
        [first, second, name] if bare(first).is_some() && matches!(second.as_str(), "_tcp" | "_udp") => {
            wanted(name, None, bare(first).as_deref())
        }
        [second, _] if matches!(second.as_str(), "_tcp" | "_udp") => Asked::Between,
        [tag @ .., name] => wanted(name, Some(tag.join(".")), None),
        [] => Asked::Between,
    }
}

/// Eight or 32 hexadecimal digits.
fn address(text: &str) -> Option<IpAddr> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.len() {
        8 if is_hex => u32::from_str_radix(text, 16).ok().map(|bits| Ipv4Addr::from_bits(bits).into()),
        32 if is_hex => u128::from_str_radix(text, 16).ok().map(|bits| Ipv6Addr::from_bits(bits).into()),
        _ => None,
    }
}

/// The labels before `in-addr.arpa`: `Some(None)` when they are the beginning of an address, `None` when they are none.
fn reverse_v4(labels: &[String]) -> Option<Option<IpAddr>> {
    let octet = |label: &String| label.parse::<u8>().ok().filter(|octet| octet.to_string() == *label);
    let octets: Vec<u8> = labels.iter().rev().map(octet).collect::<Option<_>>()?;
    match <[u8; 4]>::try_from(octets) {
        Ok(octets) => Some(Some(IpAddr::from(octets))),
        Err(octets) => (octets.len() < 4).then_some(None),
    }
}

/// The labels before `ip6.arpa`, a hexadecimal digit each.
fn reverse_v6(labels: &[String]) -> Option<Option<IpAddr>> {
    let is_digit = |label: &String| label.len() == 1 && label.as_bytes()[0].is_ascii_hexdigit();
    if labels.len() > 32 || !labels.iter().all(is_digit) {
        return None;
    }
    let text: String = labels.iter().rev().map(String::as_str).collect();
    if text.len() < 32 { Some(None) } else { Some(address(&text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let domains = ["rollcall".to_owned(), "Consul.".to_owned()];
        Zone::new(&domains, "dc1", NodeName::try_from("n1").unwrap(), 0, BTreeMap::new())
    }

    fn asked(name: &str) -> Option<Asked> {
        let labels = name.trim_end_matches('.').split('.').map(str::as_bytes);
        zone().locate(&Name::from_labels(labels).unwrap()).map(|located| located.asked)
    }

    fn service(name: &str, tag: Option<&str>, endpoint: Option<&str>) -> Option<Asked> {
        let service = ServiceName::try_from(name).unwrap();
        let (tag, endpoint) = (tag.map(str::to_owned), endpoint.map(str::to_owned));
        Some(Asked::Service(Wanted { service, tag, endpoint }))
    }

    #[test]
    fn names_of_services_carry_tags_and_endpoints_and_may_name_the_data_centre() {
        assert_eq!(asked("web.service.rollcall."), service("web", None, None));
        assert_eq!(asked("WEB.Service.DC1.conSUL."), service("web", None, None));
        assert_eq!(asked("api.web.service.consul"), service("web", Some("api"), None));
        assert_eq!(asked("v1.2.web.service.consul"), service("web", Some("v1.2"), None));
        assert_eq!(asked("_web._tcp.service.consul"), service("web", None, None));
        assert_eq!(asked("_web._tcp.consul"), service("web", None, None));
        assert_eq!(asked("_web._tcp.dc1.consul"), service("web", None, None));
        assert_eq!(asked("_web._api.service.consul"), service("web", Some("api"), None));
        assert_eq!(asked("_admin._tcp.web.service.consul"), service("web", None, Some("admin")));
    }

    #[test]
    fn nodes_addresses_and_the_way_back() {
        assert_eq!(asked("N1.node.rollcall"), Some(Asked::Node("n1".to_owned())));
        let v4 = IpAddr::from([10, 0, 0, 7]);
        assert_eq!(asked("0A000007.addr.dc1.consul"), Some(Asked::Address(v4)));
        assert_eq!(asked("7.0.0.10.in-addr.arpa"), Some(Asked::Reverse(v4)));
        assert_eq!(asked("0.0.10.in-addr.arpa"), Some(Asked::Between));
        let digits = "1.".to_owned() + &"0.".repeat(31);
        assert_eq!(asked(&format!("{digits}ip6.arpa")), Some(Asked::Reverse(IpAddr::from(Ipv6Addr::LOCALHOST))));
        assert_eq!(
            asked("00000000000000000000000000000001.addr.rollcall"),
            Some(Asked::Address(Ipv6Addr::LOCALHOST.into()))
        );
    }

    #[test]
    fn names_that_lead_to_others_exist_and_the_rest_does_not() {
        assert_eq!(asked("rollcall"), Some(Asked::Apex));
        for name in [
            "service.rollcall",
            "dc1.rollcall",
            "node.dc1.rollcall",
            "_tcp.service.rollcall",
            "_tcp.rollcall",
            "_tcp.web.service.rollcall",
        ] {
            assert_eq!(asked(name), Some(Asked::Between), "{name}");
        }
        for name in [
            "web.rollcall",
            "web._tcp.rollcall",
            "a._web._tcp.rollcall",
            "web.service.dc2.rollcall",
            "a.b.node.rollcall",
            "zz.addr.rollcall",
            "+a000007.addr.rollcall",
            "a b.service.rollcall",
            "1.256.in-addr.arpa",
            "01.0.0.10.in-addr.arpa",
            "1.2.3.4.5.in-addr.arpa",
            "zz.ip6.arpa",
        ] {
            assert_eq!(asked(name), Some(Asked::Nowhere), "{name}");
        }
        for name in ["example.com", "rollcall.com", "arpa", "xrollcall"] {
            assert_eq!(asked(name), None, "{name}");
        }
        let dotted = Name::from_labels([&b"a.web"[..], b"service", b"rollcall"]).unwrap();
        assert_eq!(zone().locate(&dotted).unwrap().asked, Asked::Nowhere, "a dot within a label parts nothing");
    }
}
