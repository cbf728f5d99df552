//! Checks in a registration: one flat object whose `type` says which of its fields apply.

use http::Uri;
use rollcall_types::{
    CapabilityName, CheckId, CheckKind, CheckSpec, Host, INTERVAL_MAX, INTERVAL_MIN, InstanceId, Invalid,
    LEASE_TTL_MAX, LEASE_TTL_MIN, Millis, Port, ServiceName, Status, TIMEOUT_MAX, Text,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Number;
use crate::field::Scope;

/// Time between two probes when a check does not say.
const INTERVAL_DEFAULT: Millis = Millis::new(10_000);
/// Longest wait for an answer when a check does not say, if its interval is not shorter.
const TIMEOUT_DEFAULT: Millis = Millis::new(2_000);
/// Failures in a row that make a check critical, unless it says otherwise: one lost packet is no verdict.
const FAILURES_DEFAULT: u8 = 3;
/// Successes in a row that make it pass again, unless it says otherwise.
const SUCCESSES_DEFAULT: u8 = 2;
/// Most answers in a row that a verdict may need.
const ANSWERS_MAX: u64 = 10;

/// A check of an instance, as registered.
///
/// Fields by type: `http` has `url`; `tcp` has `address`; `grpc` has `address` and may have `service`; `ttl` has
/// `ttl_ms` and may have `status`; `alias` has `service` and may have `instance`; `fixed` has `status`. All but `ttl` may have
/// `capability`. The others must be left out. `ttl`, `alias` and `fixed` are not probed and take no `interval_ms` and `timeout_ms`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object, a check")]
pub struct RegistrationCheck {
    /// Name within the instance, unique there. Default: the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What people call it, at most 4096 bytes. Default: nothing but its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What people should know about it, at most 4096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// `http`, `tcp`, `grpc`, `ttl`, `alias` or `fixed`.
    #[serde(rename = "type")]
    #[schema(required)]
    pub kind: String,
    /// The capability of the service that it stands for: while the check fails, the instance does not offer that, and goes on
    /// with all else. Not for `ttl`. Default: it stands for the whole instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Absolute `http` or `https` URL to GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `host:port` to connect to, `[host]:port` for IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// For `grpc` the gRPC service to ask about (default: the whole server), for `alias` the other instance's service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The other instance of an `alias`. Default: all of its service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Time between two probes, 100 to 86400000. Default 10000.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 100, maximum = 86_400_000, default = 10_000)]
    pub interval_ms: Number,
    /// Longest wait for one answer, 100 to `interval_ms`. Default 2000, or `interval_ms` when that is less.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 100, maximum = 86_400_000)]
    pub timeout_ms: Number,
    /// Longest silence of a `ttl` check, 1000 to 86400000.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 1_000, maximum = 86_400_000)]
    pub ttl_ms: Number,
    /// `passing`, `warning` or `critical`. Of a `fixed` check what it says. Of a `ttl` check what it counts as until it is first
    /// heard; default `passing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Failures in a row that make the check critical, 1 to 10. Default 3.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 10, default = 3)]
    pub failures_before_critical: Number,
    /// Successes in a row that make it pass again, 1 to 10. Default 2.
    #[serde(skip_serializing_if = "Number::is_absent")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 10, default = 2)]
    pub successes_before_passing: Number,
}

impl RegistrationCheck {
    /// The definition; what breaks a rule is reported to `at` and makes `None`.
    pub(crate) fn convert(&self, at: &mut Scope<'_>) -> Option<CheckSpec> {
        self.refuse_strange_fields(at);
        let kind = self.convert_kind(at);
        // An id taken from a refused type is refused with it, not a second time.
        let id = match &self.id {
            Some(id) => at.text("id", id),
            None => CheckId::try_from(self.kind.as_str()).ok(),
        };
        let name = at.optional_text::<Text>("name", self.name.as_deref()).unwrap_or_default();
        let notes = at.optional_text::<Text>("notes", self.notes.as_deref()).unwrap_or_default();
        let capability = at.optional_text::<CapabilityName>("capability", self.capability.as_deref());
        let (interval, timeout) = self.convert_timing(at);
        let failures = at.optional_number("failures_before_critical", &self.failures_before_critical, answers);
        let successes = at.optional_number("successes_before_passing", &self.successes_before_passing, answers);
        Some(CheckSpec {
            id: id?,
            name,
            notes,
            capability,
            kind: kind?,
            interval,
            timeout,
            failures_before_critical: failures.unwrap_or(FAILURES_DEFAULT),
            successes_before_passing: successes.unwrap_or(SUCCESSES_DEFAULT),
        })
    }

    pub(crate) fn id_or_default(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.kind)
    }

    fn convert_kind(&self, at: &mut Scope<'_>) -> Option<CheckKind> {
        match self.kind.as_str() {
            "http" => Some(CheckKind::Http { url: at.keep("url", web_url(given(&self.url)))? }),
            "tcp" => {
                let (host, port) = at.keep("address", host_and_port(given(&self.address)))?;
                Some(CheckKind::Tcp { host, port })
            }
            "grpc" => {
                let service = at.text("service", given(&self.service));
                let (host, port) = at.keep("address", host_and_port(given(&self.address)))?;
                Some(CheckKind::Grpc { host, port, service: service? })
            }
            "ttl" => {
                let ttl = at.number("ttl_ms", &self.ttl_ms, |raw| Millis::within(raw, LEASE_TTL_MIN, LEASE_TTL_MAX))?;
                let initial = at.keep_some("status", self.status.as_deref().map(verdict)).unwrap_or(Status::Passing);
                Some(CheckKind::Ttl { ttl, initial })
            }
            "alias" => {
                let instance = at.optional_text::<InstanceId>("instance", self.instance.as_deref());
                let service = at.text::<ServiceName>("service", given(&self.service))?;
                Some(CheckKind::Alias { service, instance })
            }
            "fixed" => Some(CheckKind::Fixed { status: at.keep("status", verdict(given(&self.status)))? }),
            other => {
                let rule = "be \"http\", \"tcp\", \"grpc\", \"ttl\", \"alias\" or \"fixed\"";
                at.keep("type", Err::<(), _>(Invalid::new(rule, other)));
                None
            }
        }
    }

    fn convert_timing(&self, at: &mut Scope<'_>) -> (Millis, Millis) {
        let range = |raw| Millis::within(raw, INTERVAL_MIN, INTERVAL_MAX);
        let interval = at.optional_number("interval_ms", &self.interval_ms, range).unwrap_or(INTERVAL_DEFAULT);
        let within = |raw| Millis::within(raw, INTERVAL_MIN, TIMEOUT_MAX);
        let timeout = at.optional_number("timeout_ms", &self.timeout_ms, within);
        let timeout = timeout.unwrap_or_else(|| TIMEOUT_DEFAULT.min(interval));
        if timeout > interval {
            let rule = format!("must be at most interval_ms, {}; got {}", interval.get(), timeout.get());
            at.refuse("timeout_ms", rule);
        }
        (interval, timeout)
    }

    /// A field of another type is a mistake that would otherwise pass in silence.
    fn refuse_strange_fields(&self, at: &mut Scope<'_>) {
        let own: &[&str] = match self.kind.as_str() {
            "http" => &["capability", "url", "interval_ms", "timeout_ms"],
            "tcp" => &["capability", "address", "interval_ms", "timeout_ms"],
            "grpc" => &["capability", "address", "service", "interval_ms", "timeout_ms"],
            "ttl" => &["ttl_ms", "status"],
            "alias" => &["capability", "service", "instance"],
            "fixed" => &["capability", "status"],
            _ => return,
        };
        for (field, is_given) in [
            ("capability", self.capability.is_some()),
            ("url", self.url.is_some()),
            ("address", self.address.is_some()),
            ("service", self.service.is_some()),
            ("instance", self.instance.is_some()),
            ("interval_ms", !self.interval_ms.is_absent()),
            ("timeout_ms", !self.timeout_ms.is_absent()),
            ("ttl_ms", !self.ttl_ms.is_absent()),
            ("status", self.status.is_some()),
        ] {
            if is_given && !own.contains(&field) {
                at.refuse(field, format!("must be left out of a check of type \"{}\"", self.kind));
            }
        }
    }
}

impl From<&CheckSpec> for RegistrationCheck {
    fn from(spec: &CheckSpec) -> Self {
        let mut check = Self {
            id: Some(spec.id.to_string()),
            name: said(&spec.name).map(str::to_owned),
            notes: said(&spec.notes).map(str::to_owned),
            capability: spec.capability.as_ref().map(ToString::to_string),
            failures_before_critical: spec.failures_before_critical.into(),
            successes_before_passing: spec.successes_before_passing.into(),
            ..Self::default()
        };
        kind_name(&spec.kind).clone_into(&mut check.kind);
        if is_probed(&spec.kind) {
            check.interval_ms = spec.interval.get().into();
            check.timeout_ms = spec.timeout.get().into();
        }
        match &spec.kind {
            CheckKind::Http { url } => check.url = Some(url.to_string()),
            CheckKind::Tcp { host, port } => check.address = Some(authority(host, *port)),
            CheckKind::Grpc { host, port, service } => {
                check.address = Some(authority(host, *port));
                check.service = (!service.is_empty()).then(|| service.to_string());
            }
            CheckKind::Ttl { ttl, initial } => {
                check.ttl_ms = ttl.get().into();
                check.status = Some(initial.to_string()).filter(|_| *initial != Status::Passing);
            }
            CheckKind::Fixed { status } => check.status = Some(status.to_string()),
            CheckKind::Alias { service, instance } => {
                check.service = Some(service.to_string());
                check.instance = instance.as_ref().map(ToString::to_string);
            }
        }
        check
    }
}

/// The `type` of a check.
pub(crate) fn kind_name(kind: &CheckKind) -> &'static str {
    match kind {
        CheckKind::Http { .. } => "http",
        CheckKind::Tcp { .. } => "tcp",
        CheckKind::Grpc { .. } => "grpc",
        CheckKind::Ttl { .. } => "ttl",
        CheckKind::Alias { .. } => "alias",
        CheckKind::Fixed { .. } => "fixed",
    }
}

/// A text that may be empty.
pub(crate) fn said(text: &Text) -> Option<&str> {
    Some(text.as_str()).filter(|text| !text.is_empty())
}

/// Whether somebody asks the instance; the interval and the timeout of other checks mean nothing.
pub(crate) fn is_probed(kind: &CheckKind) -> bool {
    match kind {
        CheckKind::Http { .. } | CheckKind::Tcp { .. } | CheckKind::Grpc { .. } => true,
        CheckKind::Ttl { .. } | CheckKind::Alias { .. } | CheckKind::Fixed { .. } => false,
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn authority(host: &Host, port: Port) -> String {
    if host.as_str().contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Reads an absolute `http` or `https` URL with a host.
pub fn web_url(text: &str) -> Result<Text, Invalid> {
    let refused = || Invalid::new("be an absolute http or https URL with a host and without a password", text);
    let uri: Uri = text.parse().map_err(|_| refused())?;
    // Whoever reads the instance would read it.
    let has_user = uri.authority().is_some_and(|all| all.as_str().contains('@'));
    let is_web = matches!(uri.scheme_str(), Some("http" | "https")) && !has_user;
    let host = uri.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let has_port_if_any = uri.authority().is_some_and(|all| !all.as_str().ends_with(':') && uri.port_u16() != Some(0));
    if is_web && has_port_if_any && Host::try_from(host).is_ok() { Text::try_from(text) } else { Err(refused()) }
}

/// Reads `host:port` or `[IPv6]:port`.
pub fn host_and_port(text: &str) -> Result<(Host, Port), Invalid> {
    let refused = || Invalid::new("be host:port or [IPv6 address]:port, with a port of 1 to 65535", text);
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bare.is_some() != bare.unwrap_or(host).contains(':') || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refused());
    }
    let host = Host::try_from(bare.unwrap_or(host)).map_err(|_| refused())?;
    let port = port.parse::<u64>().ok().and_then(|raw| Port::try_from(raw).ok()).ok_or_else(refused)?;
    Ok((host, port))
}

fn answers(raw: u64) -> Result<u8, Invalid> {
    match u8::try_from(raw) {
        Ok(count) if (1..=ANSWERS_MAX).contains(&raw) => Ok(count),
        _ => Err(Invalid::new("be 1 to 10 answers in a row", raw)),
    }
}

fn verdict(text: &str) -> Result<Status, Invalid> {
    [Status::Passing, Status::Warning, Status::Critical]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| Invalid::new("be \"passing\", \"warning\" or \"critical\"", text))
}

fn given(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}
