//! Which request a log line belongs to: a span with the request id, and the trace id of the caller's trace if there is one
//! (W3C Trace Context §3.2).
//!
//! Writes and requests that are part of a trace have the span at `info`, so that whatever is logged on their behalf names
//! them; plain reads at `debug`, since making a span for each costs more than answering some of them.
//!
//! A request that is [traced](crate::traces) has a span that is exported instead: with an exporter, when its caller records the
//! trace, or chance says so.
//!
//! Probes carry no `traceparent`: no request causes them, and what they ask would record the question every few seconds.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use tracing::field::Empty;
use tracing::{Span, debug_span, info_span};

use super::meter;
use crate::traces::{self, TARGET, TraceParent};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Version, trace id, parent id and flags, in hexadecimal digits; later versions may say more after them.
const LENGTHS: [usize; 4] = [2, 32, 16, 2];
/// The one flag that has a meaning (§3.2.2.5.1): the caller records the trace.
const SAMPLED: u8 = 1;
/// What stands behind these is not told.
const PRIVATE: [&str; 4] = ["/v1/kv/", "/v1/sessions/", "/v1/session/", "/v1/acl/"];
/// As much of a path as a span tells, bytes.
const PATH_BYTES_MAX: usize = 256;

/// The span of a request that is not traced; one that is a plain read changes nothing, and there are many of them.
pub(super) fn span(is_plain_read: bool, headers: &HeaderMap, id: &HeaderValue) -> Span {
    let id = id.to_str().unwrap_or_default();
    match caller(headers) {
        Some(caller) => info_span!("http.request", request.id = id, trace.id = caller.trace),
        None if is_plain_read => debug_span!("http.request", request.id = id),
        None => info_span!("http.request", request.id = id),
    }
}

/// The span of a request that is traced; `None` of one that is not. `id` is its request id if it has one.
pub(crate) fn traced<B>(request: &Request<B>, id: Option<&HeaderValue>) -> Option<Span> {
    if !traces::is_on() {
        return None;
    }
    let parent = match caller(request.headers()) {
        Some(caller) if caller.is_sampled => Some(caller.parent),
        None if traces::begins() => None,
        _ => return None,
    };
    let id = id.and_then(|id| id.to_str().ok());
    let span = info_span!(target: TARGET, "http.request", otel.kind = "server", request.id = id, trace.id = Empty);
    let span = traces::enter(span, parent);
    traces::tell(&span, "http.request.method", meter::label(request.method()));
    traces::tell(&span, "url.path", told(request.uri().path()).to_owned());
    Some(span)
}

/// What a span tells of a path: all of it, but for what is secret by itself and what callers choose at will. Who knows the id of
/// a session can end it, old clients of Consul send tokens in paths, and keys are data.
fn told(path: &str) -> &str {
    let private = PRIVATE.iter().find(|prefix| path.starts_with(**prefix));
    let length = private.map_or(path.len(), |prefix| prefix.len());
    &path[..path.floor_char_boundary(length.min(PATH_BYTES_MAX))]
}

/// Says in the span of a request that is traced how it was answered.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    traces::tell(span, "http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        traces::fail(span);
    }
}

/// What a caller says of the trace that its request is part of.
struct Caller<'a> {
    /// In hexadecimal digits.
    trace: &'a str,
    parent: TraceParent,
    is_sampled: bool,
}

/// What the caller says. A header that breaks the rules is as none (§3.2.2.3).
fn caller(headers: &HeaderMap) -> Option<Caller<'_>> {
    let mut sent = headers.get_all(TRACEPARENT).iter();
    let text = sent.next().filter(|_| sent.next().is_none())?.to_str().ok()?;
    let mut parts = text.split('-');
    let mut next = |length| {
        let is_hex = |part: &&str| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        parts.next().filter(is_hex)
    };
    let [version, trace, parent, flags] = LENGTHS.map(&mut next);
    let (version, trace, parent, flags) = (version?, trace?, parent?, flags?);
    let is_nothing = |part: &str| part.bytes().all(|b| b == b'0');
    let is_whole = version != "00" || parts.next().is_none();
    if version == "ff" || !is_whole || is_nothing(trace) || is_nothing(parent) {
        return None;
    }
    let place = TraceParent {
        trace: u128::from_str_radix(trace, 16).ok()?.to_be_bytes(),
        span: u64::from_str_radix(parent, 16).ok()?.to_be_bytes(),
    };
    let is_sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & SAMPLED != 0);
    Some(Caller { trace, parent: place, is_sampled })
}

/// A header that is taken is one that can be passed on.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(headers: &HeaderMap) {
    if let Some(Caller { trace, parent, .. }) = caller(headers) {
        assert_eq!(format!("{:032x}", u128::from_be_bytes(parent.trace)), trace);
        assert!(parent.trace != [0; 16] && parent.span != [0; 8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[track_caller]
    fn check(header: &'static str, trace: Option<&str>) {
        let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(header))]);
        assert_eq!(caller(&headers).map(|caller| caller.trace), trace, "{header}");
    }

    #[test]
    fn a_trace_is_taken_over_from_a_header_that_obeys_the_rules() {
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some(TRACE));
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like", Some(TRACE));
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_caller_says_where_it_is_and_whether_it_records_that() {
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let header = format!("00-{TRACE}-00f067aa0ba902b7-{flags}").parse().unwrap();
            let headers = HeaderMap::from_iter([(TRACEPARENT, header)]);
            let caller = caller(&headers).unwrap();
            assert_eq!(caller.is_sampled, is_sampled, "{flags}");
            assert_eq!(caller.parent.trace[..2], [0x4b, 0xf9]);
            assert_eq!(caller.parent.span, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        }
    }

    #[test]
    fn two_headers_are_as_none() {
        let header = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, header.clone());
        headers.append(TRACEPARENT, header);
        assert!(caller(&headers).is_none());
    }

    #[test]
    fn a_span_tells_a_path_without_what_is_private_in_it() {
        for (path, expected) in [
            ("/v1/services/web/instances", "/v1/services/web/instances"),
            ("/v1/kv/customers/ann", "/v1/kv/"),
            ("/v1/session/destroy/5d4c", "/v1/session/"),
            ("/v1/acl/info/secret", "/v1/acl/"),
        ] {
            assert_eq!(told(path), expected);
        }
        assert_eq!(told(&format!("/{}", "é".repeat(500))).len(), 255);
    }

    #[test]
    fn without_an_exporter_nothing_is_traced() {
        let header = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let request = Request::get("/").header(TRACEPARENT, header).body(()).unwrap();
        assert!(traced(&request, None).is_none());
    }
}
