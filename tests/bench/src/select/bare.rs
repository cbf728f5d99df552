//! A server that does no more than HTTP: hyper with answers in memory, head and body.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Most header fields of an answer.
const HEADERS_MAX: usize = 64;

/// An answer that is there already.
#[derive(Clone)]
struct Ready {
    head: HeaderMap,
    body: Bytes,
}

impl Ready {
    /// From an answer as it went over the wire. Its length and date are left to hyper, which writes its own.
    fn read(answer: Vec<u8>) -> Result<Self> {
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(head_bytes) = parsed.parse(&answer)? else { bail!("half of a head") };
        let mut head = HeaderMap::new();
        for field in parsed.headers.iter() {
            let name = HeaderName::try_from(field.name)?;
            if name != header::CONTENT_LENGTH && name != header::DATE {
                head.insert(name, HeaderValue::from_bytes(field.value)?);
            }
        }
        let body = Bytes::from(answer).slice(head_bytes..);
        Ok(Self { head, body })
    }
}

/// Answers GET with the first of `answers` and anything else with the second, for ever.
pub(crate) async fn serve(address: SocketAddr, answers: &[PathBuf]) -> Result<()> {
    let [get, post] = answers else { bail!("--bare-answers names two files") };
    let read = |file: &PathBuf| {
        let bytes = std::fs::read(file).with_context(|| format!("no {}", file.display()))?;
        Ready::read(bytes).with_context(|| format!("{} is no answer", file.display()))
    };
    let (get, post) = (read(get)?, read(post)?);
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (get, post) = (get.clone(), post.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &get, &post));
            // A client that goes away is no fault.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>, get: &Ready, post: &Ready) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_get = request.method() == Method::GET;
    if !is_get {
        drop(request.into_body().collect().await);
    }
    let ready = if is_get { get } else { post };
    let mut response = Response::new(Full::new(ready.body.clone()));
    *response.headers_mut() = ready.head.clone();
    Ok(response)
}
