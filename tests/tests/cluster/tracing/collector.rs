//! A collector of traces: a real socket, OTLP over HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rollcall_tests::{DEADLINE, wait_until};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// A span that a node exported.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Who did.
    pub(crate) node: String,
    pub(crate) span: Span,
}

impl Seen {
    /// What it says of itself under `key`; empty when nothing.
    pub(crate) fn says(&self, key: &str) -> String {
        value(&self.span.attributes, key)
    }
}

fn value(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

/// Takes spans, until it is dropped.
pub(crate) struct Collector {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: AbortHandle,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// One that takes what comes.
    pub(crate) async fn start() -> Self {
        Self::at(0).await
    }

    /// The same at this port.
    pub(crate) async fn at(port: u16) -> Self {
        let seen = Arc::default();
        Self::serving(port, Arc::clone(&seen), async |stream, seen| drop(take(stream, &seen).await)).await
    }

    /// One that takes connections and says nothing.
    pub(crate) async fn that_hangs() -> Self {
        Self::serving(0, Arc::default(), async |stream, _| {
            let _held = stream;
            std::future::pending().await
        })
        .await
    }

    async fn serving<F>(
        port: u16,
        seen: Arc<Mutex<Vec<Seen>>>,
        serve: impl Fn(TcpStream, Arc<Mutex<Vec<Seen>>>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let taken = seen.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, taken.clone()));
            }
        });
        Self { address, seen, task: task.abort_handle() }
    }

    /// The argument that makes a node export to it.
    pub(crate) fn argument(&self) -> String {
        format!("--traces-otlp-endpoint=http://{}", self.address)
    }

    /// Everything that came.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the span that `is_meant`.
    pub(crate) async fn wait(&self, what: &str, is_meant: impl Fn(&Seen) -> bool) -> Seen {
        wait_until(what, DEADLINE, async || {
            let seen = self.seen();
            seen.iter().find(|seen| is_meant(seen)).cloned().ok_or_else(|| {
                let told =
                    seen.iter().map(|seen| format!("{} {} {}", seen.node, seen.span.name, seen.says("url.path")));
                told.collect::<Vec<_>>().join("\n")
            })
        })
        .await
    }
}

/// Takes one batch.
async fn take(stream: TcpStream, seen: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await?;
        let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().expect("a number"),
            "content-type" => assert_eq!(value, "application/x-protobuf"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let message = ExportTraceServiceRequest::decode(&*body).expect("a message of OTLP");
    for batch in message.resource_spans {
        let about = batch.resource.map(|resource| resource.attributes).unwrap_or_default();
        assert_eq!(value(&about, "service.name"), "rollcall");
        let node = value(&about, "node.id");
        let spans = batch.scope_spans.into_iter().flat_map(|scope| scope.spans);
        let mut all = seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(spans.map(|span| Seen { node: node.clone(), span }));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await
}
