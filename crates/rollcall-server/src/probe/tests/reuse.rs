//! Connections that are kept, and those that must not be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollcall_health::check::Answer;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use super::target::{Target, ok, read_head};
use super::{LONG, SHORT, assert_answer, http, prober, until};

#[tokio::test]
async fn ten_probes_go_over_one_connection_and_then_a_new_one_is_made() {
    let target = Target::answering(ok("well")).await;
    let (prober, kind) = (prober(), http(target.url("/")));
    for _ in 0..10 {
        assert_answer(&prober.probe(&kind, LONG).await, Answer::Passed);
    }
    assert_eq!(target.accepted(), 1);
    assert_answer(&prober.probe(&kind, LONG).await, Answer::Passed);
    assert_eq!(target.accepted(), 2);
    until("the end of the first", || target.open() == 1).await;
}

#[tokio::test]
async fn a_chunked_body_leaves_a_connection_that_can_be_used() {
    let target = Target::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n\r\n").await;
    let (prober, kind) = (prober(), http(target.url("/")));
    for _ in 0..5 {
        assert_eq!(&*prober.probe(&kind, LONG).await.output, "200 OK\nwell");
    }
    assert_eq!(target.accepted(), 1);
}

#[tokio::test]
async fn a_connection_that_the_target_gives_up_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    ] {
        let target = Target::answering(answer).await;
        let (prober, kind) = (prober(), http(target.url("/")));
        for expected in 1..4 {
            assert_answer(&prober.probe(&kind, LONG).await, Answer::Passed);
            assert_eq!(target.accepted(), expected);
        }
    }
}

#[tokio::test]
async fn more_than_was_asked_for_spoils_a_connection() {
    let target = Target::answering([ok("well"), ok("unasked")].concat()).await;
    let (prober, kind) = (prober(), http(target.url("/")));
    for _ in 0..3 {
        assert_eq!(&*prober.probe(&kind, LONG).await.output, "200 OK\nwell");
    }
    assert_eq!(target.accepted(), 3);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_no_failure() {
    // Answers once on each connection, waits for the next request, and closes instead of answering it.
    let target = Target::new(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(&ok("")).await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    let (prober, kind) = (prober(), http(target.url("/")));
    for _ in 0..4 {
        assert_answer(&prober.probe(&kind, LONG).await, Answer::Passed);
    }
    assert_eq!(target.accepted(), 4);
}

#[tokio::test]
async fn a_probe_that_is_given_up_leaves_nothing_behind() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let target = Target::new(move |mut stream| {
        let asked = counted.clone();
        async move {
            while read_head(&mut stream).await.is_some() {
                asked.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let (prober, kind) = (prober(), http(target.url("/")));
    let running = tokio::spawn({
        let (prober, kind) = (prober.clone(), kind.clone());
        async move { prober.probe(&kind, LONG).await }
    });
    until("the request", || asked.load(Ordering::SeqCst) == 1).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    until("the end of the connection", || target.open() == 0).await;
    assert_eq!((prober.0.places.hosts(), prober.0.places.taken(), prober.0.pool.len()), (0, 0, 0));
}

#[tokio::test]
async fn nothing_is_kept_of_a_probe_that_failed_and_nothing_after_the_end() {
    let (prober, stop) = (prober(), CancellationToken::new());
    let silent = Target::falling_silent_after(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").await;
    prober.probe(&http(silent.url("/")), SHORT).await;
    assert_eq!(prober.0.pool.len(), 0);
    let target = Target::answering(ok("")).await;
    assert_answer(&prober.probe(&http(target.url("/")), LONG).await, Answer::Passed);
    assert_eq!(prober.0.pool.len(), 1);
    let tidying = tokio::spawn(prober.clone().tidy(stop.clone()));
    stop.cancel();
    tidying.await.unwrap();
    assert_eq!(prober.0.pool.len(), 0);
    until("the end of the connection", || target.open() == 0).await;
}
