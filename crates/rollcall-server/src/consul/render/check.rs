//! A check.

use std::borrow::Cow;

use rollcall_catalog::Instance;
use rollcall_types::{CheckKind, CheckSpec, Lifecycle, Millis, Status, Tag};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::service::service_id;
use super::{Shown, Views};
use crate::consul::duration::Go;
use crate::consul::nodes::{Member, Place};

/// With what the id of the check begins that a service in maintenance has.
pub(crate) const MAINTENANCE: &str = "_service_maintenance:";

/// A check of a service or of a node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Check<'v> {
    /// Where it is.
    pub(crate) node: &'v str,
    /// Its id.
    #[serde(rename = "CheckID")]
    pub(crate) id: Cow<'v, str>,
    /// What people call it.
    pub(crate) name: Cow<'v, str>,
    /// `passing`, `warning` or `critical`.
    pub(crate) status: &'static str,
    /// For people.
    pub(crate) notes: &'v str,
    /// Why it has this status.
    pub(crate) output: Cow<'v, str>,
    /// Of which service; empty of a node's check.
    #[serde(rename = "ServiceID")]
    pub(crate) service_id: &'v str,
    /// The same.
    pub(crate) service_name: &'v str,
    /// The same.
    pub(crate) service_tags: &'v [Tag],
    /// `http`, `tcp`, `grpc`, `ttl`, `alias`, or empty.
    #[serde(rename = "Type")]
    pub(crate) kind: &'static str,
    /// Between two probes, as Go writes it; empty where there are none.
    pub(crate) interval: String,
    /// Longest wait for an answer.
    pub(crate) timeout: String,
    /// Proxies expose none here.
    pub(crate) exposed_port: u16,
    /// Always empty, as in Consul's own answers about health.
    pub(crate) definition: Nothing,
    /// When it was registered.
    pub(crate) create_index: u64,
    /// When it or its status last changed.
    pub(crate) modify_index: u64,
}

/// `{}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nothing;

impl Serialize for Nothing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }
}

impl<'v> Check<'v> {
    /// Whether a member lives.
    pub(crate) fn serf_health(member: &'v Member) -> Self {
        let (status, output) = match member.is_alive() {
            true => ("passing", "Agent alive and reachable"),
            false => ("critical", "Agent not live or unreachable"),
        };
        Self {
            node: member.name.as_str(),
            id: "serfHealth".into(),
            name: "Serf Health Status".into(),
            status,
            notes: "",
            output: output.into(),
            service_id: "",
            service_name: "",
            service_tags: &[],
            kind: "",
            interval: String::new(),
            timeout: String::new(),
            exposed_port: 0,
            definition: Nothing,
            create_index: 1,
            modify_index: 1,
        }
    }

    /// The same check as one of the node: it belongs to no service.
    pub(crate) fn of_node(self) -> Self {
        Self { service_id: "", service_name: "", service_tags: &[], ..self }
    }
}

impl Views {
    /// The checks of an instance that is at `place`.
    pub(crate) fn checks_of<'v>(&'v self, instance: &'v Instance, place: Place<'v>) -> Vec<Check<'v>> {
        let shown = self.shown(instance);
        let base = || Check {
            node: place.name(),
            id: Cow::Borrowed(""),
            name: Cow::Borrowed(""),
            status: word(shown.status),
            notes: "",
            output: output(shown),
            service_id: service_id(instance, place),
            service_name: instance.service.as_str(),
            service_tags: tags(instance),
            kind: "",
            interval: String::new(),
            timeout: String::new(),
            exposed_port: 0,
            definition: Nothing,
            create_index: instance.created.get(),
            modify_index: instance.modified.get(),
        };
        let of_spec = |spec| match shown.check(&instance.spec.checks, spec) {
            Some(status) => {
                Check { status: word(status), output: own_output(status, spec).into(), ..of_spec(base(), spec) }
            }
            None => of_spec(base(), spec),
        };
        let mut checks: Vec<_> = instance.spec.checks.iter().map(of_spec).collect();
        if let (true, Some(lease)) = (checks.is_empty(), instance.spec.lease) {
            // It is kept alive by heartbeats, which Consul has as a check.
            let id = format!("service:{}", service_id(instance, place));
            let check = Check { id: id.into(), kind: "ttl", ..base() };
            checks.push(Check { name: default_name(&check), timeout: go(lease.ttl), ..check });
        }
        checks.extend(self.maintenance(instance, base()));
        checks
    }

    /// What says that an operator took the instance out.
    fn maintenance<'v>(&self, instance: &'v Instance, base: Check<'v>) -> Option<Check<'v>> {
        let reason = match self.lifecycle(instance) {
            Lifecycle::Active => return None,
            Lifecycle::Draining { reason, .. } | Lifecycle::Quarantined { reason, .. } => reason.as_str(),
        };
        Some(Check {
            id: format!("{MAINTENANCE}{}", base.service_id).into(),
            name: "Service Maintenance Mode".into(),
            status: "critical",
            notes: if reason.is_empty() { "Maintenance mode is enabled for this service" } else { reason },
            output: "".into(),
            kind: "maintenance",
            ..base
        })
    }
}

fn of_spec<'v>(base: Check<'v>, spec: &'v CheckSpec) -> Check<'v> {
    let probes = !matches!(spec.kind, CheckKind::Ttl { .. } | CheckKind::Alias { .. } | CheckKind::Fixed { .. });
    let name = if spec.name.is_empty() { default_name(&base) } else { spec.name.as_str().into() };
    Check {
        id: spec.id.as_str().into(),
        name,
        notes: spec.notes.as_str(),
        kind: match spec.kind {
            CheckKind::Http { .. } => "http",
            CheckKind::Tcp { .. } => "tcp",
            CheckKind::Grpc { .. } => "grpc",
            CheckKind::Ttl { .. } => "ttl",
            CheckKind::Alias { .. } => "alias",
            CheckKind::Fixed { .. } => "",
        },
        interval: if probes { go(spec.interval) } else { String::new() },
        timeout: if probes { go(spec.timeout) } else { String::new() },
        ..base
    }
}

/// What Consul calls a check that was given no name.
fn default_name<'v>(check: &Check<'v>) -> Cow<'v, str> {
    format!("Service '{}' check", check.service_name).into()
}

/// The tags of an instance.
pub(super) fn tags(instance: &Instance) -> &[Tag] {
    instance.spec.tags.iter().as_slice()
}

/// What is no verdict yet is critical, as a new check of Consul.
pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Passing => "passing",
        Status::Warning => "warning",
        Status::Critical | Status::Unknown | Status::Starting => "critical",
    }
}

/// Why a check has its own status, in words.
fn own_output(status: Status, spec: &CheckSpec) -> String {
    let id = &spec.id;
    match (&spec.kind, status) {
        (CheckKind::Ttl { .. }, Status::Critical) => {
            format!("{status}: TTL check {id} was told so, or was not told in time")
        }
        (CheckKind::Ttl { .. }, _) => format!("{status}: TTL check {id} was told so"),
        (CheckKind::Alias { .. }, _) => format!("{status}: so is what alias check {id} names"),
        (CheckKind::Fixed { .. }, _) => format!("{status}: check {id} was registered so"),
        (_, Status::Passing) => format!("{status}: check {id} is answered"),
        (_, Status::Warning) => format!("{status}: check {id} is answered with a reserve, or not to all who look"),
        (_, _) => format!("{status}: check {id} is not answered to anybody who looks"),
    }
}

/// Why, in words, where the check is as its instance.
fn output(shown: Shown) -> Cow<'static, str> {
    format!("{}: {}", shown.status, shown.cause.phrase()).into()
}

fn go(time: Millis) -> String {
    Go(time.duration()).to_string()
}
