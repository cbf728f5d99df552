//! What a check asks, and whom.

use std::borrow::Cow;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use rollcall_types::CheckKind;

/// Where a check leads, and what it asks there.
pub(super) struct Target<'a> {
    /// A name or an address, without brackets.
    pub(super) host: Cow<'a, str>,
    pub(super) port: u16,
    pub(super) ask: Ask<'a>,
}

/// What is asked.
pub(super) enum Ask<'a> {
    /// Whether a connection is accepted.
    Tcp,
    /// `GET`.
    Http(Page),
    /// The gRPC health protocol, of this service.
    Grpc(&'a str),
}

/// A page of an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) is_tls: bool,
    /// `Host`: the host and the port, as the URL has them, without what may stand before an `@`.
    pub(super) authority: HeaderValue,
    pub(super) path: PathAndQuery,
}

impl Ask<'_> {
    /// The type of the check, as in the API.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http(_) => "http",
            Self::Grpc(_) => "grpc",
        }
    }
}

impl<'a> Target<'a> {
    /// What `kind` asks; `None` for checks that nobody probes, and for a URL that breaks the rules of registrations.
    pub(super) fn of(kind: &'a CheckKind) -> Option<Self> {
        match kind {
            CheckKind::Http { url } => Self::of_url(url),
            CheckKind::Tcp { host, port } => Some(Self { host: host.as_str().into(), port: port.get(), ask: Ask::Tcp }),
            CheckKind::Grpc { host, port, service } => {
                Some(Self { host: host.as_str().into(), port: port.get(), ask: Ask::Grpc(service) })
            }
            CheckKind::Ttl { .. } | CheckKind::Alias { .. } | CheckKind::Fixed { .. } => None,
        }
    }

    /// What a `GET` of `url` asks.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let parts = url.parse::<Uri>().ok()?.into_parts();
        let is_tls = match parts.scheme? {
            scheme if scheme == Scheme::HTTP => false,
            scheme if scheme == Scheme::HTTPS => true,
            _ => return None,
        };
        let authority = parts.authority?;
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let shown = authority.as_str().rsplit('@').next().unwrap_or_default();
        let page = Page {
            is_tls,
            authority: HeaderValue::from_str(shown).ok()?,
            path: parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")),
        };
        Some(Self { host: host.to_owned().into(), port, ask: Ask::Http(page) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, host: &str, port: u16, authority: &str, path: &str) {
        let target = Target::of_url(url).unwrap();
        let Ask::Http(page) = target.ask else { panic!("a page") };
        assert_eq!((&*target.host, target.port), (host, port));
        assert_eq!((page.authority.to_str().unwrap(), page.path.as_str()), (authority, path));
        assert_eq!(page.is_tls, url.starts_with("https"));
    }

    #[test]
    fn a_url_says_whom_to_ask_what() {
        check("http://web.internal/health?deep=1", "web.internal", 80, "web.internal", "/health?deep=1");
        check("https://10.0.0.7:8443", "10.0.0.7", 8443, "10.0.0.7:8443", "/");
        check("https://[fd00::7]/x", "fd00::7", 443, "[fd00::7]", "/x");
        check("http://user:secret@web:81/", "web", 81, "web:81", "/");
    }

    #[test]
    fn what_is_no_web_address_is_no_target() {
        for url in ["", "/health", "ftp://a/", "web:80", "http:///x"] {
            assert!(Target::of_url(url).is_none(), "{url}");
        }
    }
}
