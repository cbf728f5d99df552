//! What a browser may do here on behalf of a web page. The API has no log-in that would stop a page of somebody else.
//!
//! A page of another origin can make a browser send requests, so changes are taken from pages of this origin only. A page
//! can also have its own name resolve to this node's address ("DNS rebinding"), and is then of this origin by name; so a
//! browser must have come by an address, by `localhost`, or by the name this node is advertised under. Whoever sends
//! neither `Origin` nor `Sec-Fetch-Site` is no browser and is not concerned.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, Method};
use rollcall_api::Code;

use super::failure::Failure;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is refused, if it is. `own_host` is the name in the address that this node is advertised under.
pub(crate) fn refuse(method: &Method, headers: &HeaderMap, own_host: &str) -> Option<Failure> {
    let origin = headers.get(http::header::ORIGIN);
    if origin.is_none() && !headers.contains_key(SEC_FETCH_SITE) {
        return None;
    }
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host_name(host);
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if !is_address && !name.eq_ignore_ascii_case("localhost") && !name.eq_ignore_ascii_case(own_host) {
        return Some(Failure::new(
            Code::CrossOrigin,
            format!(
                "browsers are answered under an address, localhost or the advertised name only, not under '{name}'"
            ),
        ));
    }
    if method == Method::GET || method == Method::HEAD {
        return None;
    }
    let origin = origin?.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    (origin != Some(host))
        .then(|| Failure::new(Code::CrossOrigin, "changes from web pages of another origin are refused"))
}

/// The host in `host` or `host:port`, with the brackets of an IPv6 address.
pub(crate) fn host_name(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, headers: &[(&'static str, &'static str)], is_refused: bool) {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), http::HeaderValue::from_static(value)));
        let headers = HeaderMap::from_iter(headers);
        assert_eq!(refuse(&method, &headers, "registry.example").is_some(), is_refused, "{method} {headers:?}");
    }

    #[test]
    fn programs_are_not_concerned() {
        check(Method::PUT, &[("host", "anything.example:7400")], false);
    }

    #[test]
    fn a_page_changes_its_own_origin_only() {
        check(Method::PUT, &[("host", "10.0.0.7:7400"), ("origin", "http://10.0.0.7:7400")], false);
        check(Method::PUT, &[("host", "[::1]:7400"), ("origin", "http://[::1]:7400")], false);
        check(Method::PUT, &[("host", "registry.example"), ("origin", "https://registry.example")], false);
        check(Method::PUT, &[("host", "10.0.0.7:7400"), ("origin", "http://evil.example")], true);
        check(Method::PUT, &[("host", "10.0.0.7:7400"), ("origin", "null")], true);
        check(Method::GET, &[("host", "10.0.0.7:7400"), ("origin", "http://evil.example")], false);
    }

    #[test]
    fn a_name_that_was_made_to_point_here_is_not_this_node() {
        check(Method::PUT, &[("host", "evil.example:7400"), ("origin", "http://evil.example:7400")], true);
        check(Method::GET, &[("host", "evil.example:7400"), ("sec-fetch-site", "same-origin")], true);
        check(Method::GET, &[("host", "localhost:7400"), ("sec-fetch-site", "same-origin")], false);
    }
}
