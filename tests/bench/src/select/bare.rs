//! A server that does no more than HTTP: hyper with bytes in memory.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Answers GET with the first of `bodies` and anything else with the second, for ever.
pub(crate) async fn serve(address: SocketAddr, bodies: &[PathBuf]) -> Result<()> {
    let [get, post] = bodies else { anyhow::bail!("--bare-bodies names two files") };
    let read = |file: &PathBuf| std::fs::read(file).with_context(|| format!("no {}", file.display())).map(Bytes::from);
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

async fn answer(request: Request<Incoming>, get: &Bytes, post: &Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_get = request.method() == Method::GET;
    if !is_get {
        drop(request.into_body().collect().await);
    }
    let mut response = Response::new(Full::new(if is_get { get.clone() } else { post.clone() }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
