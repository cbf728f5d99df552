//! A session as Consul shows it.

use rollcall_catalog::LockSession;
use rollcall_types::{OnSessionEnd, SessionCheck};
use serde::Serialize;

use crate::consul::duration;

/// The check that every node has: whether it is alive.
pub(super) const NODE_CHECK: &str = "serfHealth";

#[derive(Debug, Serialize)]
pub(super) struct Created {
    #[serde(rename = "ID")]
    pub(super) id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Session<'s> {
    #[serde(rename = "ID")]
    id: String,
    name: &'s str,
    node: &'s str,
    /// Nanoseconds.
    lock_delay: u64,
    behavior: &'static str,
    #[serde(rename = "TTL")]
    ttl: String,
    checks: Vec<&'s str>,
    node_checks: Vec<&'s str>,
    service_checks: Vec<ServiceCheck<'s>>,
    create_index: u64,
    modify_index: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceCheck<'s> {
    #[serde(rename = "ID")]
    id: &'s str,
    namespace: &'static str,
}

impl<'s> Session<'s> {
    pub(super) fn of(session: &'s LockSession) -> Self {
        let spec = &session.spec;
        let node_checks = spec.checks.iter().filter(|check| matches!(check, SessionCheck::Node)).map(|_| NODE_CHECK);
        let node_checks: Vec<_> = node_checks.collect();
        let of_instances = spec.checks.iter().filter_map(|check| match check {
            SessionCheck::Instance { check, .. } => Some(check.as_str()),
            SessionCheck::Node => None,
        });
        let of_instances: Vec<_> = of_instances.collect();
        Self {
            id: session.id.to_string(),
            name: &spec.name,
            node: &spec.node,
            lock_delay: u64::try_from(spec.lock_delay.duration().as_nanos()).unwrap_or(u64::MAX),
            behavior: match spec.on_end {
                OnSessionEnd::Release => "release",
                OnSessionEnd::Delete => "delete",
            },
            ttl: spec.ttl.map_or_else(String::new, |ttl| duration::Go(ttl.duration()).to_string()),
            checks: node_checks.iter().chain(&of_instances).copied().collect(),
            service_checks: of_instances.into_iter().map(|id| ServiceCheck { id, namespace: "" }).collect(),
            node_checks,
            create_index: session.created.get(),
            modify_index: session.created.get(),
        }
    }
}
