//! The section `[traces]`: whether spans are exported, where to, and of which requests.

use std::fmt;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use serde::{Deserialize, Serialize};

/// What is added to the address of a collector (OTLP, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

/// How a node exports traces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TracesConfig {
    /// The collector that spans are exported to, by OTLP over HTTP. Unset: they are not.
    pub otlp_endpoint: Option<Endpoint>,
    /// Share of requests that are traced when their caller does not say, 0 to 1. Default 0.01. With 0 only callers decide.
    pub ratio: Ratio,
}

/// Share of what comes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct Ratio(f64);

// It is a number: see below.
impl Eq for Ratio {}

impl Default for Ratio {
    fn default() -> Self {
        Self(0.01)
    }
}

impl TryFrom<f64> for Ratio {
    type Error = String;

    fn try_from(ratio: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&ratio) { Ok(Self(ratio)) } else { Err(format!("must be 0 to 1; got {ratio}")) }
    }
}

impl Ratio {
    /// Whether it takes what drew this number.
    pub(crate) fn takes(self, drawn: u32) -> bool {
        f64::from(drawn) < self.0 * (f64::from(u32::MAX) + 1.0)
    }
}

/// Where a collector takes spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(Uri);

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains(['@', '?', '#']) {
            // Not the text, which is in the log when it is taken, and here may hold a password.
            return Err("must be a URL without a user, a password or a query".to_owned());
        }
        let rule = || format!("must be a URL such as http://127.0.0.1:4318; got \"{text}\"");
        let mut parts = text.parse::<Uri>().map_err(|_| rule())?.into_parts();
        let is_web = parts.scheme.as_ref().is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let is_host = parts.authority.as_ref().is_some_and(|authority| !authority.host().is_empty());
        if !is_web || !is_host {
            return Err(rule());
        }
        let base = parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/');
        let path = if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") };
        parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| rule())?);
        Uri::from_parts(parts).map(Self).map_err(|_| rule())
    }
}

impl Endpoint {
    /// Whether it is spoken to in private.
    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// A name or an address, without brackets.
    pub(crate) fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// `Host`.
    pub(crate) fn authority(&self) -> HeaderValue {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        HeaderValue::from_str(authority).expect("an authority is printable")
    }

    /// Where batches are posted.
    pub(crate) fn path(&self) -> &PathAndQuery {
        self.0.path_and_query().expect("it was given one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Result<Endpoint, String> {
        Endpoint::try_from(text.to_owned())
    }

    #[track_caller]
    fn check(text: &str, shown: &str, host: &str, port: u16) {
        let endpoint = endpoint(text).unwrap();
        assert_eq!((endpoint.to_string().as_str(), endpoint.host(), endpoint.port()), (shown, host, port));
        assert_eq!(endpoint.is_tls(), text.starts_with("https"));
    }

    #[test]
    fn an_endpoint_is_the_address_of_a_collector_or_of_its_traces() {
        check("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces", "127.0.0.1", 4318);
        check("http://tempo:4318/", "http://tempo:4318/v1/traces", "tempo", 4318);
        check("http://tempo:4318/v1/traces", "http://tempo:4318/v1/traces", "tempo", 4318);
        check("https://otlp.internal/otlp/", "https://otlp.internal/otlp/v1/traces", "otlp.internal", 443);
        check("http://[fd00::7]", "http://[fd00::7]/v1/traces", "fd00::7", 80);
    }

    #[test]
    fn what_is_no_address_of_a_collector_is_refused_in_words() {
        for text in ["", "127.0.0.1:4318", "localhost", "/v1/traces", "ftp://a", "http://", "grpc://a:4317"] {
            let problem = endpoint(text).unwrap_err();
            assert!(problem.contains("http://127.0.0.1:4318") && problem.contains(text), "{text}: {problem}");
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_refused_and_not_repeated() {
        for text in ["http://user:secret@a", "http://a/?key=secret", "https://a#secret"] {
            let problem = endpoint(text).unwrap_err();
            assert!(problem.contains("password") && !problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn a_ratio_takes_its_share_and_the_ends_take_nothing_and_everything() {
        let takes = |ratio: f64, drawn: u32| Ratio::try_from(ratio).unwrap().takes(drawn);
        assert!(!takes(0.0, 0) && takes(1.0, u32::MAX));
        assert!(takes(0.25, (1 << 30) - 1) && !takes(0.25, 1 << 30));
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Ratio::try_from(wrong).unwrap_err().starts_with("must be 0 to 1"), "{wrong}");
        }
    }
}
