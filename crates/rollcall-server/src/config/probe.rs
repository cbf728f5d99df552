//! The section `[probe]`: what this node may probe, and how much.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::probe::{Bounds, Network, Policy, Trust};

/// Most probes a second that can be asked for. One core makes about as many.
const PER_SECOND_MAX: u32 = 100_000;
/// Most of anything else that is counted here.
const COUNT_MAX: usize = 65_536;

/// How a node probes instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProbeConfig {
    /// When not empty, only addresses in these networks are probed. Default: private, shared and public addresses, and loopback
    /// when the node listens on loopback only. Metadata services of clouds, link-local, multicast, broadcast and reserved
    /// addresses are never probed.
    pub allowed_networks: Vec<Network>,
    /// Addresses in these networks are not probed, also when they are allowed.
    pub denied_networks: Vec<Network>,
    /// Most probes a second, after a burst of a quarter of a second's worth. Default 4000: 10,000 instances that are looked at
    /// every 10 s by two of three nodes need some 700 on each, and when all of them fail at once, all three nodes look at each three
    /// times within the time of the slowest check.
    pub per_second: u32,
    /// Most probes at once. Default 1024: as many targets that hang keep a node from probing more, for their timeout.
    pub in_flight_max: usize,
    /// Most probes at once of one address. Default 2.
    pub in_flight_per_host_max: usize,
    /// Most connections that are kept for the next probe. Default 8192. A kept connection costs a descriptor and about 4 KiB,
    /// most of it the system's; without it each probe makes one.
    pub idle_connections_max: usize,
    /// Check the certificates of `https` targets. Default true. Without it such a check only says that somebody answers.
    pub tls_verify: bool,
    /// File of certificate authorities (PEM) that are trusted beside those of the machine.
    pub tls_ca_file: Option<PathBuf>,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            allowed_networks: Vec::new(),
            denied_networks: Vec::new(),
            per_second: 4_000,
            in_flight_max: 1_024,
            in_flight_per_host_max: 2,
            idle_connections_max: 8_192,
            tls_verify: true,
            tls_ca_file: None,
        }
    }
}

impl ProbeConfig {
    /// Checks the rules between values.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if !(1..=PER_SECOND_MAX).contains(&self.per_second) {
            problems.push(format!("probe.per-second must be 1 to {PER_SECOND_MAX}; got {}", self.per_second));
        }
        for (key, count, min) in [
            ("in-flight-max", self.in_flight_max, 1),
            ("in-flight-per-host-max", self.in_flight_per_host_max, 1),
            ("idle-connections-max", self.idle_connections_max, 0),
        ] {
            if !(min..=COUNT_MAX).contains(&count) {
                problems.push(format!("probe.{key} must be {min} to {COUNT_MAX}; got {count}"));
            }
        }
        for network in &self.allowed_networks {
            if let Some(what) = network.forbidden() {
                problems
                    .push(format!("probe.allowed-networks: {network} is {what}, which is never probed: leave it out"));
            }
        }
    }

    /// Which addresses may be probed by a node that listens on loopback only, or beyond.
    pub(crate) fn policy(&self, is_on_loopback: bool) -> Policy {
        Policy {
            allowed: self.allowed_networks.clone(),
            denied: self.denied_networks.clone(),
            loopback: is_on_loopback,
        }
    }

    /// Whom `https` checks trust.
    ///
    /// # Errors
    /// When the file of certificate authorities cannot be read or holds none.
    pub(crate) fn trust(&self) -> Result<Trust, ConfigError> {
        let Some(path) = &self.tls_ca_file else {
            return Ok(Trust { verify: self.tls_verify, authorities: Vec::new() });
        };
        let unreadable = |source| ConfigError::Unreadable { path: path.clone(), source };
        let text = std::fs::read(path).map_err(unreadable)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match certificates {
            Ok(authorities) if !authorities.is_empty() => Ok(Trust { verify: self.tls_verify, authorities }),
            _ => Err(ConfigError::Invalid {
                origin: "probe.tls-ca-file".to_owned(),
                problem: format!("{} must hold certificates in PEM, and nothing broken", path.display()),
            }),
        }
    }

    /// How much is probed at once.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            in_flight_max: self.in_flight_max,
            per_host_max: self.in_flight_per_host_max,
            per_second: self.per_second,
        }
    }
}
