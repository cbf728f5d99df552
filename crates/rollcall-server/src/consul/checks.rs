//! Checks as callers of Consul's API define them, turned into those of the domain.
//!
//! What cannot be honoured is refused, so that nobody believes that something is looked after that is not: methods, headers,
//! scripts. What lies outside the bounds of the domain and means the same within them is moved there: an interval of 10 ms, a
//! timeout longer than the interval.
//!
//! Defaults are Consul's: one failure is critical, one success passes, an answer may take 10 s.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rollcall_api::{host_and_port, web_url};
use rollcall_types::{
    CheckId, CheckKind, CheckSpec, DEREGISTER_AFTER_MIN, INTERVAL_MAX, INTERVAL_MIN, LEASE_TTL_MAX, LEASE_TTL_MIN,
    Millis, ServiceName, Status, TIMEOUT_MAX, Text,
};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use super::duration;
use super::failure::{Failure, Result};

/// Longest wait for an answer when a check does not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Most answers in a row that a verdict may need; see [`CheckSpec`].
const ANSWERS_MAX: u64 = 10;

/// A check as it comes in a body; the names of its fields are those of Consul.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct CheckDefinition {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "CheckID")]
    pub(crate) check_id: String,
    pub(crate) name: String,
    pub(crate) notes: String,
    #[serde(rename = "ServiceID")]
    pub(crate) service_id: String,
    pub(crate) status: String,
    pub(crate) args: Vec<String>,
    pub(crate) script_args: Vec<String>,
    pub(crate) script: String,
    #[serde(rename = "HTTP")]
    pub(crate) http: String,
    pub(crate) method: String,
    pub(crate) header: BTreeMap<String, Vec<String>>,
    pub(crate) body: String,
    pub(crate) disable_redirects: bool,
    #[serde(rename = "H2PING")]
    pub(crate) h2ping: String,
    #[serde(rename = "TCP")]
    pub(crate) tcp: String,
    #[serde(rename = "TCPUseTLS")]
    pub(crate) tcp_use_tls: bool,
    #[serde(rename = "UDP")]
    pub(crate) udp: String,
    #[serde(rename = "GRPC")]
    pub(crate) grpc: String,
    #[serde(rename = "GRPCUseTLS")]
    pub(crate) grpc_use_tls: bool,
    #[serde(rename = "TLSSkipVerify")]
    pub(crate) tls_skip_verify: bool,
    #[serde(rename = "TLSServerName")]
    pub(crate) tls_server_name: String,
    #[serde(rename = "OSService")]
    pub(crate) os_service: String,
    #[serde(rename = "DockerContainerID")]
    pub(crate) docker_container_id: String,
    pub(crate) alias_node: String,
    pub(crate) alias_service: String,
    #[serde(rename = "TTL")]
    pub(crate) ttl: Span,
    pub(crate) interval: Span,
    pub(crate) timeout: Span,
    pub(crate) success_before_passing: u64,
    pub(crate) failures_before_critical: u64,
    pub(crate) deregister_critical_service_after: Span,
}

/// A time: text as Go writes it, or a whole number of nanoseconds. Nothing is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"10s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Span, E> {
                if text.is_empty() {
                    return Ok(Span::default());
                }
                duration::parse_or_nanos(text).map(Span).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, nanos: u64) -> std::result::Result<Span, E> {
                Ok(Span(Duration::from_nanos(nanos)))
            }

            fn visit_i64<E: de::Error>(self, nanos: i64) -> std::result::Result<Span, E> {
                self.visit_u64(u64::try_from(nanos).unwrap_or(0))
            }

            fn visit_f64<E: de::Error>(self, nanos: f64) -> std::result::Result<Span, E> {
                // The cast saturates and takes NaN for 0.
                self.visit_u64(nanos as u64)
            }

            fn visit_unit<E: de::Error>(self) -> std::result::Result<Span, E> {
                Ok(Span::default())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What a status is called; Consul knows three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict(pub(crate) Status);

impl Verdict {
    /// The status that a word names.
    pub(crate) fn named(word: &str) -> Option<Status> {
        [Status::Passing, Status::Warning, Status::Critical].into_iter().find(|status| status.as_str() == word)
    }
}

/// A check that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defined {
    /// The check.
    pub(crate) spec: CheckSpec,
    /// When the cluster is to deregister its instance.
    pub(crate) deregister_after: Option<Millis>,
}

impl CheckDefinition {
    /// Whether it says nothing, as `"Check": {}` does.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The id that it was given, if it was.
    pub(crate) fn given_id(&self) -> Option<&str> {
        [self.check_id.as_str(), self.id.as_str()].into_iter().find(|id| !id.is_empty())
    }

    /// The check of the domain. `service_of` finds the service of an instance by the id of the instance alone.
    ///
    /// # Errors
    /// 400 in Consul's words where it has some.
    pub(crate) fn define(
        &self,
        id: &str,
        name: &str,
        service_of: impl Fn(&str) -> Option<(ServiceName, rollcall_types::InstanceId)>,
    ) -> Result<Defined> {
        self.refuse_what_cannot_be_honoured()?;
        let initial = match self.status.as_str() {
            "" => None,
            word => Some(Verdict::named(word).ok_or_else(|| Failure::bad_request("Bad check status"))?),
        };
        let kind = self.kind(initial.unwrap_or(Status::Critical), service_of)?;
        let interval = within(self.interval.0, INTERVAL_MIN, INTERVAL_MAX);
        let timeout = if self.timeout.0.is_zero() { TIMEOUT_DEFAULT } else { self.timeout.0 };
        let timeout = within(timeout, INTERVAL_MIN, interval.min(TIMEOUT_MAX));
        let text = |field: &str, text: &str| Text::try_from(text).map_err(|invalid| broken(field, &invalid));
        let deregister_after = self.deregister_critical_service_after.0;
        let spec = CheckSpec {
            id: CheckId::try_from(id).map_err(|invalid| broken("CheckID", &invalid))?,
            name: text("Name", if self.name.is_empty() { name } else { &self.name })?,
            notes: text("Notes", &self.notes)?,
            capability: None,
            kind,
            interval,
            timeout,
            failures_before_critical: answers("FailuresBeforeCritical", self.failures_before_critical)?,
            successes_before_passing: answers("SuccessBeforePassing", self.success_before_passing)?,
        };
        let deregister_after =
            (!deregister_after.is_zero()).then(|| within(deregister_after, DEREGISTER_AFTER_MIN, Millis::MAX));
        Ok(Defined { spec, deregister_after })
    }

    fn kind(
        &self,
        initial: Status,
        service_of: impl Fn(&str) -> Option<(ServiceName, rollcall_types::InstanceId)>,
    ) -> Result<CheckKind> {
        let asks = [&self.http, &self.tcp, &self.grpc].into_iter().filter(|address| !address.is_empty()).count();
        let is_alias = !self.alias_service.is_empty();
        let has_interval = !self.interval.0.is_zero();
        let has_ttl = !self.ttl.0.is_zero();
        match (asks, is_alias) {
            _ if has_interval && has_ttl => Err(invalid("Interval and TTL cannot both be specified")),
            (0, true) if has_ttl => Err(invalid("TTL must be not be set for Alias checks")),
            (0, true) => {
                let (service, instance) = service_of(&self.alias_service)
                    .ok_or_else(|| invalid(&format!("AliasService {:?} is not registered", self.alias_service)))?;
                Ok(CheckKind::Alias { service, instance: Some(instance) })
            }
            (0, false) if has_ttl => {
                Ok(CheckKind::Ttl { ttl: within(self.ttl.0, LEASE_TTL_MIN, LEASE_TTL_MAX), initial })
            }
            (0, false) => Err(invalid("TTL must be > 0 for TTL checks")),
            (_, true) => Err(invalid("Interval cannot be set for Alias checks")),
            (1, false) if !has_interval => {
                Err(invalid("Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"))
            }
            (1, false) => self.probed(),
            (_, false) => Err(invalid("HTTP, TCP and GRPC exclude each other: give one of them")),
        }
    }

    fn probed(&self) -> Result<CheckKind> {
        if !self.http.is_empty() {
            let url = web_url(&self.http).map_err(|refused| broken("HTTP", &refused))?;
            return Ok(CheckKind::Http { url });
        }
        if !self.tcp.is_empty() {
            let (host, port) = host_and_port(&self.tcp).map_err(|refused| broken("TCP", &refused))?;
            return Ok(CheckKind::Tcp { host, port });
        }
        let (address, service) = self.grpc.split_once('/').unwrap_or((&self.grpc, ""));
        let (host, port) = host_and_port(address).map_err(|refused| broken("GRPC", &refused))?;
        let service = Text::try_from(service).map_err(|refused| broken("GRPC", &refused))?;
        Ok(CheckKind::Grpc { host, port, service })
    }

    fn refuse_what_cannot_be_honoured(&self) -> Result<()> {
        let is_script = !self.args.is_empty() || !self.script_args.is_empty() || !self.script.is_empty();
        if is_script || !self.docker_container_id.is_empty() {
            return Err(Failure::bad_request(
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
                 'enable_local_script_checks' to true. (Rollcall runs no scripts: use an HTTP, TCP, GRPC or TTL check)",
            ));
        }
        let is_https = self.http.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        let problem = if !matches!(self.method.to_ascii_uppercase().as_str(), "" | "GET") {
            "Method: checks ask with GET"
        } else if !self.header.is_empty() {
            "Header: checks send no headers of their own"
        } else if !self.body.is_empty() {
            "Body: checks send no body"
        } else if self.disable_redirects {
            "DisableRedirects: redirects on the host and port of the check are followed"
        } else if self.tls_skip_verify && is_https {
            "TLSSkipVerify: whether certificates are verified is set for all checks of the cluster (probe.tls-verify)"
        } else if !self.tls_server_name.is_empty() {
            "TLSServerName: certificates are verified for the host of the check"
        } else if self.grpc_use_tls {
            "GRPCUseTLS: gRPC checks speak plain text"
        } else if self.tcp_use_tls {
            "TCPUseTLS: TCP checks speak plain text"
        } else if !self.h2ping.is_empty() || !self.udp.is_empty() || !self.os_service.is_empty() {
            "H2PING, UDP and OSService checks: use an HTTP, TCP, GRPC or TTL check"
        } else if !self.alias_node.is_empty() && self.alias_service.is_empty() {
            "AliasNode without AliasService: the nodes' own health counts for every instance already"
        } else {
            return Ok(());
        };
        Err(invalid(&format!("not supported: {problem}")))
    }
}

/// A field that broke a rule.
pub(crate) fn broken(field: &str, rule: &impl fmt::Display) -> Failure {
    Failure::bad_request(format!("Invalid check: {field} {rule}"))
}

fn invalid(what: &str) -> Failure {
    Failure::bad_request(format!("Invalid check: {what}"))
}

/// The nearest time within the bounds.
fn within(span: Duration, min: Millis, max: Millis) -> Millis {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Millis::new(millis.clamp(min.get(), max.get()))
}

/// Answers in a row; nothing said is one.
fn answers(field: &str, count: u64) -> Result<u8> {
    match u8::try_from(count.max(1)) {
        Ok(count) if u64::from(count) <= ANSWERS_MAX => Ok(count),
        _ => Err(invalid(&format!("{field} must be at most {ANSWERS_MAX}; got {count}"))),
    }
}

#[cfg(test)]
mod tests;
