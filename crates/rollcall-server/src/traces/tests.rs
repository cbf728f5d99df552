use opentelemetry_sdk::trace::SpanData;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::field::Empty;
use tracing::{debug, debug_span, info, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

use super::collector::Error;
use super::*;
use crate::config::Endpoint;

const CALLER: TraceParent = TraceParent { trace: [7; 16], span: [8; 8] };

/// What is queued of what `work` does.
fn exported(work: impl FnOnce()) -> mpsc::Receiver<SpanData> {
    let (queue, ended) = Queue::new();
    let subscriber = tracing_subscriber::registry().with(layer(tracer(queue)));
    tracing::subscriber::with_default(subscriber, work);
    ended
}

fn names(mut ended: mpsc::Receiver<SpanData>) -> Vec<String> {
    std::iter::from_fn(|| ended.try_recv().ok()).map(|span| span.name.into_owned()).collect()
}

#[test]
fn a_request_of_a_traced_caller_is_a_child_of_its_span() {
    let mut ended = exported(|| {
        let span =
            enter(info_span!(target: TARGET, "http.request", otel.kind = "server", trace.id = Empty), Some(CALLER));
        let place = place(&span).unwrap();
        assert_eq!(place.trace, CALLER.trace);
        assert_ne!(place.span, CALLER.span);
        tell(&span, "url.path", "/v1");
        fail(&span);
    });
    let span = ended.try_recv().unwrap();
    assert_eq!((span.parent_span_id.to_bytes(), span.parent_span_is_remote), (CALLER.span, true));
    assert_eq!(span.span_kind, opentelemetry::trace::SpanKind::Server);
    assert_eq!(span.status, Status::error(""));
    let said: Vec<_> = span.attributes.iter().map(|said| (said.key.as_str(), said.value.as_str())).collect();
    assert!(said.contains(&("url.path", "/v1".into())), "{said:?}");
    assert!(said.contains(&("trace.id", "07".repeat(16).into())), "{said:?}");
}

#[test]
fn only_what_happens_within_a_traced_request_is_exported() {
    let ended = exported(|| {
        // In the order of levels and owners that the filter tells apart.
        info_span!("http.request").in_scope(|| info!("said of a request that is not traced"));
        enter(info_span!(target: TARGET, "http.request", trace.id = Empty), None).in_scope(|| {
            debug_span!("mesh.select").in_scope(|| ());
            tracing::trace_span!("each.message").in_scope(|| ());
            info_span!(target: "openraft", "of.a.library").in_scope(|| ());
        });
        debug_span!("mesh.select").in_scope(|| ());
    });
    assert_eq!(names(ended), ["mesh.select", "http.request"]);
}

#[test]
fn a_span_holds_what_is_worth_a_log_line_and_nothing_finer() {
    let mut ended = exported(|| {
        enter(info_span!(target: TARGET, "http.request", trace.id = Empty), None).in_scope(|| {
            info!("a transition");
            debug!("a detail");
            info!(target: "hyper", "of a library");
        });
    });
    let events = ended.try_recv().unwrap().events;
    assert_eq!(events.iter().map(|event| &*event.name).collect::<Vec<_>>(), ["a transition"]);
}

#[test]
fn a_full_queue_keeps_what_it_has_and_makes_nobody_wait() {
    let ended = exported(|| {
        for _ in 0..5_000 {
            drop(enter(info_span!(target: TARGET, "http.request", trace.id = Empty), None));
        }
    });
    assert_eq!(ended.len(), 4_096);
}

/// What sending comes to when the collector answers with this.
async fn send(answer: &'static [u8]) -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::try_from(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // The head and the body come in one piece or in two, and are short.
        let mut asked = Vec::new();
        while !asked.ends_with(b"batch") {
            assert!(stream.read_buf(&mut asked).await.unwrap() > 0);
        }
        assert!(asked.starts_with(b"POST /v1/traces HTTP/1.1\r\n"));
        stream.write_all(answer).await.unwrap();
    });
    Collector::new(endpoint).send("batch".into()).await.map(drop)
}

#[tokio::test]
async fn a_batch_is_sent_again_when_the_collector_may_take_it_later() {
    send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    for (answer, is_passing) in [
        (&b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"[..], true),
        (b"HTTP/1.1 429 x\r\ncontent-length: 0\r\n\r\n", true),
        (b"HTTP/1.1 400 x\r\ncontent-length: 0\r\n\r\n", false),
        (b"HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", true),
        (b"no HTTP", true),
        (b"", true),
    ] {
        let error = send(answer).await.unwrap_err();
        assert_eq!(error.is_passing(), is_passing, "{}: {error}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let endless: &'static [u8] = Box::leak(
        [&b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"[..], &[b'x'; 1_000_000]].concat().into_boxed_slice(),
    );
    assert!(matches!(send(endless).await, Err(Error::Cut(_))));
}
