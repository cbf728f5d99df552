//! The section `[consul]`: whether and how this node speaks Consul's HTTP API.

use std::net::SocketAddr;

use rollcall_types::Label;
use serde::{Deserialize, Serialize};

/// How a node answers clients of Consul.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConsulConfig {
    /// Where it listens. Unset: it does not. Consul's own port is 8500.
    pub listen: Option<SocketAddr>,
    /// What clients see as their datacenter, and may name in `dc=`. Default `dc1`, as in Consul.
    pub datacenter: Label,
    /// Take GET where Consul takes PUT only (`agent/check/pass/…` and the like), for clients as old as Consul 0.9. Default no.
    pub legacy_get: bool,
}

impl Default for ConsulConfig {
    fn default() -> Self {
        Self { listen: None, datacenter: Label::try_from("dc1").expect("`dc1` is a label"), legacy_get: false }
    }
}

impl ConsulConfig {
    /// Checks the rules between values.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let datacenter = self.datacenter.as_str();
        if !datacenter.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            problems.push(format!("consul.datacenter: letters, digits, '-' and '_'; got \"{datacenter}\""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_off_and_a_datacenter_is_one_word() {
        let mut problems = Vec::new();
        ConsulConfig::default().check(&mut problems);
        assert_eq!((ConsulConfig::default().listen, problems.as_slice()), (None, [].as_slice()));
        let wrong = ConsulConfig { datacenter: Label::try_from("a/b").unwrap(), ..ConsulConfig::default() };
        wrong.check(&mut problems);
        assert!(problems[0].starts_with("consul.datacenter: "), "{problems:?}");
    }
}
