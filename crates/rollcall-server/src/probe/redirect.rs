//! Redirects: followed where a check was allowed to ask, and nowhere else.
//!
//! The scheme, the host and the port must be those of the check. Then the connection may be too, and no redirect can lead the
//! registry to a place that its registration did not name.

use fluent_uri::{Uri, UriRef};
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode};

use super::target::{Ask, Page, Target};

/// Where on the same origin an answer redirects to; `None` when it does not redirect.
///
/// # Errors
/// Why the redirect is not followed, as what follows the status in a sentence.
pub(super) fn next_path(
    page: &Page,
    status: StatusCode,
    location: Option<&HeaderValue>,
) -> Result<Option<PathAndQuery>, String> {
    const FOLLOWED: [StatusCode; 5] = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    let Some(location) = location.filter(|_| FOLLOWED.contains(&status)) else { return Ok(None) };
    let shown = String::from_utf8_lossy(location.as_bytes());
    let next = location.to_str().ok().and_then(|text| resolve(page, text));
    let next = next.ok_or_else(|| format!("redirects to \"{shown}\", which is no URL"))?;
    let (here, there) = (origin(&url_of(page)), origin(&next));
    if here.is_none() || here != there {
        return Err(format!("redirects to {next}; redirects are followed on the host and port of the check only"));
    }
    match Target::of_url(&next).map(|target| target.ask) {
        Some(Ask::Http(next)) => Ok(Some(next.path)),
        _ => Err(format!("redirects to \"{shown}\", which is no URL")),
    }
}

fn url_of(page: &Page) -> String {
    let scheme = if page.is_tls { "https" } else { "http" };
    format!("{scheme}://{}{}", page.authority.to_str().unwrap_or_default(), page.path)
}

/// `reference` as seen from `page` (RFC 3986 §5.2).
fn resolve(page: &Page, reference: &str) -> Option<String> {
    let base = Uri::parse(url_of(page)).ok()?;
    let target = UriRef::parse(reference).ok()?.resolve_against(&base).ok()?;
    Some(target.into_string())
}

/// What must be the same for a redirect to be followed.
fn origin(url: &str) -> Option<(bool, String, u16)> {
    let target = Target::of_url(url)?;
    match target.ask {
        Ask::Http(page) => Some((page.is_tls, target.host.to_ascii_lowercase(), target.port)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(url: &str, status: u16, location: &str) -> Result<Option<String>, String> {
        let Some(Ask::Http(page)) = Target::of_url(url).map(|target| target.ask) else { panic!("{url}") };
        let location = HeaderValue::from_bytes(location.as_bytes()).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        next_path(&page, status, Some(&location)).map(|path| path.map(|path| path.to_string()))
    }

    #[test]
    fn redirects_on_the_origin_of_the_check_are_followed_however_they_are_written() {
        for (location, path) in [
            ("/up", "/up"),
            ("up?x=1", "/a/up?x=1"),
            ("../up", "/up"),
            ("?deep", "/a/b?deep"),
            ("http://web:8080/up#top", "/up"),
            ("//WEB:8080/up", "/up"),
            ("http://web:8080", "/"),
        ] {
            assert_eq!(next("http://web:8080/a/b", 302, location), Ok(Some(path.to_owned())), "{location}");
        }
    }

    #[test]
    fn redirects_to_anywhere_else_are_refused() {
        for location in [
            "http://web/up",
            "http://web:81/up",
            "https://web:8080/up",
            "http://other:8080/",
            "//169.254.169.254/latest",
            "http://web:8080@other/",
            "file:///etc/passwd",
            "http://[::1",
            "http://web:8080:1/",
        ] {
            let refused = next("http://web:8080/a/b", 302, location).unwrap_err();
            assert!(refused.starts_with("redirects to"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_redirect_is_left_alone() {
        assert_eq!(next("http://web/", 200, "/up"), Ok(None));
        assert_eq!(next("http://web/", 304, "/up"), Ok(None));
    }
}
