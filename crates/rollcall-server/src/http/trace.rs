//! Which request a log line belongs to: a span with the request id, and the trace id of the caller's trace if there is one
//! (W3C Trace Context §3.2).
//!
//! Writes and requests that are part of a trace have the span at `info`, so that whatever is logged on their behalf names
//! them; plain reads at `debug`, since making a span for each costs more than answering some of them.
//!
//! Not done: exporting spans (OTLP), and carrying the trace on to the leader: its lines are found by their time.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use tracing::{Span, debug_span, info_span};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Version, trace id, parent id and flags, in hexadecimal digits; later versions may say more after them.
const LENGTHS: [usize; 4] = [2, 32, 16, 2];

/// The span of a request.
pub(super) fn span(method: &Method, headers: &HeaderMap, id: &HeaderValue) -> Span {
    let id = id.to_str().unwrap_or_default();
    match trace_id(headers) {
        Some(trace_id) => info_span!("http.request", request.id = id, trace.id = trace_id),
        None if method.is_safe() => debug_span!("http.request", request.id = id),
        None => info_span!("http.request", request.id = id),
    }
}

/// The trace that the caller says the request is part of. A header that breaks the rules is as none (§3.2.2.3).
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(TRACEPARENT).iter();
    let text = sent.next().filter(|_| sent.next().is_none())?.to_str().ok()?;
    let mut parts = text.split('-');
    let mut next = |length| {
        let is_hex = |part: &&str| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        parts.next().filter(is_hex)
    };
    let [version, trace, parent, flags] = LENGTHS.map(&mut next);
    let (version, trace, parent, _) = (version?, trace?, parent?, flags?);
    let is_nothing = |part: &str| part.bytes().all(|b| b == b'0');
    let is_whole = version != "00" || parts.next().is_none();
    (version != "ff" && is_whole && !is_nothing(trace) && !is_nothing(parent)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[track_caller]
    fn check(header: &'static str, trace: Option<&str>) {
        let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(header))]);
        assert_eq!(trace_id(&headers), trace, "{header}");
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
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn two_headers_are_as_none() {
        let header = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, header.clone());
        headers.append(TRACEPARENT, header);
        assert_eq!(trace_id(&headers), None);
    }
}
