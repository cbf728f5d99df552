//! What is told of each query: at `debug` a span `dns.query`, and in it a line with the question and its answer; to an exporter
//! of traces the span of one that chance picks.
//!
//! Where neither is wanted this costs two loads of an atomic. Where one is, the question is read a second time: prepared answers
//! are given without reading it.
//!
//! No trace of a caller: a query has no place for one.

use std::net::IpAddr;
use std::time::Instant;

use tracing::field::Empty;
use tracing::{Level, debug, debug_span, enabled, info_span};

use super::message::{Transport, question};
use crate::traces::{self, TARGET};

/// Bytes of the header that tell the code and the number of answers (RFC 1035 §4.1.1).
const CODE: usize = 3;
const ANSWERS: [usize; 2] = [6, 7];

/// Lets `respond` write the answer to a query, and says how it went. Returns what it returns.
pub(super) fn observed(
    (query, from, transport): (&[u8], IpAddr, Transport),
    out: &mut Vec<u8>,
    respond: impl FnOnce(&mut Vec<u8>) -> bool,
) -> bool {
    let is_traced = traces::begins();
    if !is_traced && !enabled!(Level::DEBUG) {
        return respond(out);
    }
    let span = if is_traced {
        traces::enter(info_span!(target: TARGET, "dns.query", otel.kind = "server", trace.id = Empty), None)
    } else {
        debug_span!("dns.query")
    };
    let _entered = span.enter();
    let started = Instant::now();
    let is_answered = respond(out);
    let duration_ms = started.elapsed().as_secs_f64() * 1e3;
    let asked = question(query).unwrap_or_else(|| "what is no question".to_owned());
    let told = if is_answered { outcome(out) } else { "nothing".to_owned() };
    let transport = transport.word();
    debug!(duration_ms, "{asked} from {from} over {transport} answered {told}");
    if is_traced {
        traces::tell(&span, "dns.question", asked);
        traces::tell(&span, "dns.answer", told);
    }
    is_answered
}

/// Code and count of an answer: `NOERROR, 2 records`.
fn outcome(answer: &[u8]) -> String {
    let byte = |place: usize| answer.get(place).copied().unwrap_or_default();
    let words = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
    let code = byte(CODE) & 0x0f;
    let code = words.get(usize::from(code)).map_or_else(|| format!("code {code}"), |word| (*word).to_owned());
    let count = u16::from_be_bytes(ANSWERS.map(byte));
    let noun = if count == 1 { "record" } else { "records" };
    format!("{code}, {count} {noun}")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// What is written to a log.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged from `level` on while a query gets an answer.
    fn logged(level: Level, query: &[u8], answer: Option<&[u8]>) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut out = Vec::new();
            let is_answered = observed((query, FROM, Transport::Udp), &mut out, |out| {
                out.extend_from_slice(answer.unwrap_or_default());
                answer.is_some()
            });
            assert_eq!((is_answered, &out[..]), (answer.is_some(), answer.unwrap_or_default()));
        });
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    /// A query for addresses of a name whose first label is these four bytes.
    fn query(label: [u8; 4]) -> Vec<u8> {
        [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4][..], &label, &[2, b'x', b'y', 0, 0, 1, 0, 1]].concat()
    }

    #[test]
    fn a_query_is_said_with_its_answer_when_that_is_wanted() {
        let answer = [0x12, 0x34, 0x81, 0x83, 0, 1, 0, 1, 0, 0, 0, 0];
        let line = logged(Level::DEBUG, &query(*b"name"), Some(&answer));
        assert!(
            line.contains("dns.query")
                && line.contains("A name.xy. from 127.0.0.1 over udp answered NXDOMAIN, 1 record"),
            "{line}"
        );
        assert_eq!(logged(Level::INFO, &query(*b"name"), Some(&answer)), "");
    }

    #[test]
    fn what_is_no_question_is_said_to_be_none_and_nothing_of_it_reaches_a_terminal() {
        let line = logged(Level::DEBUG, b"\x1b[2J", None);
        assert!(line.contains("what is no question from 127.0.0.1 over udp answered nothing"), "{line}");
        let line = logged(Level::DEBUG, &query(*b"\x1b[2J"), Some(&[]));
        assert!(!line.contains('\u{1b}') && line.contains("answered NOERROR, 0 records"), "{line}");
    }
}
