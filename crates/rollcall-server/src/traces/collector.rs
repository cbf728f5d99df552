//! The collector: one `POST` for each batch, as OTLP over HTTP wants it.
//!
//! A connection for each: batches are seconds apart, or large.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::either::Either;

use crate::config::Endpoint;
use crate::probe::failed::Failed;
use crate::probe::tls::{Tls, Trust};

/// Longest time for one batch, from the look-up of the collector's name to the end of its answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("rollcall/", env!("CARGO_PKG_VERSION")));
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It cannot be reached.
    #[error("no connection")]
    Unreachable(#[source] std::io::Error),
    /// It cannot be spoken to in private.
    #[error("{}", .0.what)]
    Private(Failed),
    /// The connection broke, or carried something else than HTTP.
    #[error("no answer")]
    Broken(#[source] hyper::Error),
    /// The body of its answer is too long, or broke off.
    #[error("no whole answer")]
    Cut(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It hangs.
    #[error("no answer within {DEADLINE:?}")]
    Slow,
    /// It said something else than that it took the batch.
    #[error("the answer was {0}")]
    Status(StatusCode),
}

impl Error {
    /// Whether the same batch may be taken later (OTLP, "Failures" of HTTP: these codes and no others).
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Private(_) | Self::Broken(_) | Self::Cut(_) | Self::Slow => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

/// Where batches go.
pub(super) struct Collector {
    endpoint: Endpoint,
    tls: Tls,
}

impl Collector {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let tls = Tls::new(Trust { verify: true, authorities: Vec::new() });
        Self { endpoint, tls }
    }

    /// Where that is, for people.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends an encoded batch. Returns what the collector did not want of it.
    pub(super) async fn send(&self, batch: Bytes) -> Result<ExportTracePartialSuccess, Error> {
        timeout(DEADLINE, self.post(batch)).await.unwrap_or(Err(Error::Slow))
    }

    async fn post(&self, batch: Bytes) -> Result<ExportTracePartialSuccess, Error> {
        let (host, port) = (self.endpoint.host(), self.endpoint.port());
        let stream = TcpStream::connect((host, port)).await.map_err(Error::Unreachable)?;
        let stream = if self.endpoint.is_tls() {
            Either::Right(self.tls.connect(stream, host).await.map_err(Error::Private)?)
        } else {
            Either::Left(stream)
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Error::Broken)?;
        let exchange = async move {
            let response = sender.send_request(self.request(batch)).await.map_err(Error::Broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(Error::Cut)?;
            if status.is_success() { Ok(refused(body.to_bytes())) } else { Err(Error::Status(status)) }
        };
        // What the connection says of its end, the exchange says too.
        let (answer, _) = tokio::join!(exchange, connection);
        answer
    }

    fn request(&self, batch: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(batch));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.path().clone().into();
        let headers = request.headers_mut();
        headers.insert(HOST, self.endpoint.authority());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(CONTENT_TYPE, PROTOBUF);
        headers.insert(CONNECTION, CLOSE);
        request
    }
}

/// What a good answer says of spans that were not taken all the same. Collectors that say nothing took all.
fn refused(body: Bytes) -> ExportTracePartialSuccess {
    ExportTraceServiceResponse::decode(body).ok().and_then(|answer| answer.partial_success).unwrap_or_default()
}
