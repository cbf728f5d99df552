//! The section `[dns]`: whether and how this node answers DNS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rollcall_types::{Label, ServiceKey, ServiceName};
use serde::{Deserialize, Serialize};

use super::duration;

/// Most domains.
const DOMAINS_MAX: usize = 8;
/// Longest domain: a service of 63 bytes with a tag of 63 still fits below it.
const DOMAIN_BYTES_MAX: usize = 100;
/// Longest time for which an answer may be kept, a day.
const TTL_MAX: Duration = Duration::from_secs(86_400);

/// How a node answers DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DnsConfig {
    /// Where it listens, UDP and TCP. Unset: it does not.
    pub listen: Option<SocketAddr>,
    /// Domains under which the names stand. Default `rollcall` and `consul`, so that what resolved names of Consul goes on to.
    pub domains: Vec<String>,
    /// The label that may stand before the domain, and does in the names of nodes and addresses. Default `dc1`, as in Consul.
    pub datacenter: Label,
    /// How long resolvers may keep an answer, whole seconds up to a day. Default 0: a change is seen by the next question.
    #[serde(with = "duration")]
    pub ttl: Duration,
    /// Answers by UDP to one network (/24 of IPv4, /56 of IPv6) per second and thread before it is sent to TCP; 0: no limit.
    /// Default 20000. Loopback has none.
    pub answers_per_network: u32,
    /// The same as `ttl` for single services.
    pub service_ttl: BTreeMap<ServiceName, Ttl>,
}

/// How long an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ttl(#[serde(with = "duration")] pub Duration);

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            listen: None,
            domains: vec!["rollcall".to_owned(), "consul".to_owned()],
            datacenter: Label::try_from("dc1").expect("`dc1` is a label"),
            ttl: Duration::ZERO,
            answers_per_network: 20_000,
            service_ttl: BTreeMap::new(),
        }
    }
}

impl DnsConfig {
    /// Seconds for which answers may be kept.
    pub(crate) fn ttl_s(&self) -> u32 {
        seconds(self.ttl)
    }

    /// The same of single services.
    pub(crate) fn service_ttl_s(&self) -> BTreeMap<ServiceKey, u32> {
        self.service_ttl.iter().map(|(service, ttl)| (ServiceKey::from(service), seconds(ttl.0))).collect()
    }

    /// Checks the rules between values.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if !(1..=DOMAINS_MAX).contains(&self.domains.len()) {
            problems.push(format!("dns.domains: 1 to {DOMAINS_MAX} domains; got {}", self.domains.len()));
        }
        for domain in self.domains.iter().filter(|domain| !is_domain(domain)) {
            problems.push(format!(
                "dns.domains: a domain is a DNS name of at most {DOMAIN_BYTES_MAX} bytes, not under arpa; got \"{domain}\""
            ));
        }
        let datacenter = self.datacenter.as_str();
        if !is_label(datacenter) || ["service", "node", "addr"].contains(&datacenter) {
            problems.push(format!(
                "dns.datacenter: a label of letters, digits and '-', and not service, node or addr; got \"{datacenter}\""
            ));
        }
        let of_services = self.service_ttl.iter().map(|(service, ttl)| (format!("dns.service-ttl.{service}"), ttl.0));
        for (key, ttl) in [("dns.ttl".to_owned(), self.ttl)].into_iter().chain(of_services) {
            if ttl > TTL_MAX || ttl.subsec_nanos() != 0 {
                problems.push(format!("{key}: whole seconds from 0s to a day; got {ttl:?}"));
            }
        }
    }
}

fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)
}

fn is_domain(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(is_label) && text.rsplit('.').next() != Some("arpa")
}

fn is_label(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&text.len()) && text.bytes().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(config: DnsConfig) -> Vec<String> {
        let mut problems = Vec::new();
        config.check(&mut problems);
        problems
    }

    #[test]
    fn the_default_is_off_and_valid() {
        assert_eq!(problems(DnsConfig::default()), [""; 0]);
        assert_eq!(DnsConfig::default().listen, None);
    }

    #[test]
    fn what_makes_no_names_is_refused() {
        let wrong = DnsConfig {
            domains: vec!["a..b".to_owned(), "x.arpa".to_owned()],
            datacenter: Label::try_from("node").unwrap(),
            ttl: Duration::from_millis(1_500),
            ..DnsConfig::default()
        };
        assert_eq!(problems(wrong).len(), 4);
        assert_eq!(problems(DnsConfig { domains: Vec::new(), ..DnsConfig::default() }).len(), 1);
    }
}
