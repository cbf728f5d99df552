//! gRPC servers, good and bad, made with the server half of h2.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use rollcall_health::check::{Answer, Failure};
use rollcall_types::CheckKind;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::target::{Target, ok, read_to_end};
use super::{LONG, SHORT, assert_answer, assert_failed, http, prober, until};

fn check(target: &Target, service: &str) -> CheckKind {
    CheckKind::Grpc {
        host: "127.0.0.1".try_into().unwrap(),
        port: u64::from(target.address.port()).try_into().unwrap(),
        service: service.try_into().unwrap(),
    }
}

/// What a server says: the bytes of its body, and its `grpc-status`.
#[derive(Clone)]
struct Says(Vec<u8>, Option<&'static str>);

/// A message that holds `status`.
fn serving(status: u8) -> Says {
    Says(vec![0, 0, 0, 0, 2, 8, status], Some("0"))
}

async fn serve(stream: TcpStream, says: Says, asked: Arc<AtomicUsize>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut stream = respond.send_response(response, false).unwrap();
        let Says(body, status) = says.clone();
        // A stream that the other side gave up takes no more.
        let _ = stream.send_data(Bytes::from(body), status.is_none());
        if let Some(status) = status {
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))]);
            let _ = stream.send_trailers(trailers);
        }
    }
}

async fn saying(says: Says) -> (Target, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    (Target::new(move |stream| serve(stream, says.clone(), counted.clone())).await, asked)
}

#[tokio::test]
async fn a_server_that_serves_passes_over_one_connection_ten_times() {
    let (target, asked) = saying(serving(1)).await;
    let (prober, kind) = (prober(), check(&target, "shop.Orders"));
    for _ in 0..10 {
        let probed = prober.probe(&kind, LONG).await;
        assert_answer(&probed, Answer::Passed);
        assert_eq!(&*probed.output, "SERVING");
    }
    assert_eq!((target.accepted(), asked.load(Ordering::SeqCst)), (1, 10));
    assert_answer(&prober.probe(&kind, LONG).await, Answer::Passed);
    assert_eq!(target.accepted(), 2);
    until("the end of the first", || target.open() == 1).await;
}

#[tokio::test]
async fn a_server_that_does_not_serve_says_so() {
    for (says, said) in [
        (serving(0), "UNKNOWN"),
        (serving(2), "NOT_SERVING"),
        (serving(3), "SERVICE_UNKNOWN"),
        (serving(9), "serving status 9"),
        (Says(Vec::new(), Some("5")), "NOT_FOUND: the server has no service \"shop.Orders\""),
        (Says(Vec::new(), Some("14")), "gRPC status 14"),
    ] {
        let (target, _) = saying(says).await;
        let probed = prober().probe(&check(&target, "shop.Orders"), LONG).await;
        assert_failed(&probed, Failure::Status, said);
    }
}

#[tokio::test]
async fn a_server_without_the_health_protocol_fails_it() {
    for (says, said) in [
        (Says(Vec::new(), Some("12")), "UNIMPLEMENTED"),
        (Says(vec![0, 0, 0, 0, 2, 8, 1], None), "no grpc-status"),
        (Says(vec![1, 0, 0, 0, 2, 8, 1], Some("0")), "no HealthCheckResponse"),
        (Says(vec![0, 0, 0, 0, 9, 8, 1], Some("0")), "no HealthCheckResponse"),
        (Says(vec![0], Some("0")), "no HealthCheckResponse"),
        (Says(vec![b'x'; 100_000], Some("0")), "longer than"),
    ] {
        let (target, _) = saying(says).await;
        assert_failed(&prober().probe(&check(&target, ""), LONG).await, Failure::Protocol, said);
    }
}

#[tokio::test]
async fn what_is_not_grpc_is_a_fault_of_protocol() {
    let web = Target::answering(ok("")).await;
    assert_failed(&prober().probe(&check(&web, ""), LONG).await, Failure::Protocol, "not gRPC");
    let (grpc, _) = saying(serving(1)).await;
    let probed = prober().probe(&http(grpc.url("/")), LONG).await;
    assert!(matches!(probed.outcome.answer, Answer::Failed(Failure::Protocol | Failure::Refused)), "{}", probed.output);
}

#[tokio::test]
async fn a_server_that_hangs_times_out_and_is_closed() {
    let silent = Target::new(|mut stream| async move { read_to_end(&mut stream).await }).await;
    assert_failed(&prober().probe(&check(&silent, ""), SHORT).await, Failure::Timeout, "no answer of gRPC");
    until("the end of the connection", || silent.open() == 0).await;
}

#[tokio::test]
async fn a_flood_of_frames_is_cut() {
    // SETTINGS without end: each is to be acknowledged.
    let target = Target::new(|mut stream| async move {
        let frames = [0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(1_000);
        while stream.write_all(&frames).await.is_ok() {}
    })
    .await;
    let probed = prober().probe(&check(&target, ""), LONG).await;
    assert!(matches!(probed.outcome.answer, Answer::Failed(Failure::Protocol | Failure::Refused)), "{}", probed.output);
    until("the end of the connection", || target.open() == 0).await;
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_no_failure() {
    // One answer a connection, and then its end.
    let target = Target::new(|stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        if let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from(serving(1).0), false).unwrap();
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
            stream.send_trailers(trailers).unwrap();
            connection.graceful_shutdown();
            while connection.accept().await.is_some() {}
        }
    })
    .await;
    let (prober, kind) = (prober(), check(&target, ""));
    for _ in 0..4 {
        assert_answer(&prober.probe(&kind, LONG).await, Answer::Passed);
    }
    assert_eq!(target.accepted(), 4);
}
