//! How much reaches a target at once.

use std::sync::Arc;

use futures_util::future::join_all;
use rollcall_health::check::{Answer, Failure};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

use super::target::{Target, ok, read_head};
use super::{Bounds, LONG, Options, Prober, SHORT, assert_answer, assert_failed, http, options, prober, until};

/// Answers each request when the gate lets one through.
async fn gated(gate: &Arc<Semaphore>) -> Target {
    let gate = gate.clone();
    Target::new(move |mut stream| {
        let gate = gate.clone();
        async move {
            while read_head(&mut stream).await.is_some() {
                gate.acquire().await.unwrap().forget();
                if stream.write_all(&ok("")).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_host_is_asked_two_things_at_once_whatever_the_ports() {
    let gate = Arc::new(Semaphore::new(0));
    let targets = [gated(&gate).await, gated(&gate).await, gated(&gate).await];
    let prober = prober();
    let all = (0..30).map(|number| {
        let (prober, kind) = (prober.clone(), http(targets[number % 3].url("/")));
        tokio::spawn(async move { prober.probe(&kind, LONG).await })
    });
    let all: Vec<_> = all.collect();
    let open = || targets.iter().map(Target::open).sum::<usize>();
    until("two connections", || open() == 2).await;
    assert_eq!(prober.0.places.taken(), 2);
    gate.add_permits(30);
    for probed in join_all(all).await {
        assert_answer(&probed.unwrap(), Answer::Passed);
    }
    assert!(targets.iter().all(|target| target.most() <= 2));
}

#[tokio::test]
async fn hosts_together_are_asked_no_more_than_may_be() {
    let gate = Arc::new(Semaphore::new(0));
    let serve = |gate: Arc<Semaphore>| {
        move |mut stream| {
            let gate = gate.clone();
            async move {
                read_head(&mut stream).await;
                gate.acquire().await.unwrap().forget();
                stream.write_all(&ok("")).await.unwrap();
            }
        }
    };
    let mut targets = Vec::new();
    for host in 1..8 {
        targets.push(Target::on(&format!("127.0.0.{host}"), serve(gate.clone())).await);
    }
    let bounds = Bounds { in_flight_max: 3, ..options().bounds };
    let prober = Prober::new(Options { bounds, ..options() });
    let all = targets.iter().map(|target| {
        let (prober, kind) = (prober.clone(), http(target.url("/")));
        tokio::spawn(async move { prober.probe(&kind, LONG).await })
    });
    let all: Vec<_> = all.collect();
    let open = || targets.iter().map(Target::open).sum::<usize>();
    until("three connections", || open() == 3).await;
    assert_eq!((prober.0.places.taken(), prober.0.places.hosts()), (3, 7));
    gate.add_permits(7);
    for probed in join_all(all).await {
        assert_answer(&probed.unwrap(), Answer::Passed);
    }
    assert_eq!((prober.0.places.taken(), prober.0.places.hosts()), (0, 0));
}

#[tokio::test]
async fn waiting_for_a_place_is_neither_latency_nor_a_timeout() {
    let prober = prober();
    let silent = Target::falling_silent_after(b"").await;
    let hanging: Vec<_> = (0..2)
        .map(|_| {
            let (prober, kind) = (prober.clone(), http(silent.url("/")));
            tokio::spawn(async move { prober.probe(&kind, SHORT).await })
        })
        .collect();
    until("two requests that hang", || silent.open() == 2).await;
    let target = Target::answering(ok("")).await;
    // It waits longer than its timeout, and is answered at once when its turn comes.
    let probed = prober.probe(&http(target.url("/")), SHORT).await;
    assert_answer(&probed, Answer::Passed);
    assert!(probed.outcome.latency < SHORT);
    for probed in join_all(hanging).await {
        assert_failed(&probed.unwrap(), Failure::Timeout, "no head");
    }
}

#[tokio::test]
async fn targets_that_hang_leave_a_place_of_their_host_to_those_that_answer() {
    let prober = prober();
    let silent = Target::falling_silent_after(b"").await;
    let kind = http(silent.url("/"));
    assert_failed(&prober.probe(&kind, SHORT).await, Failure::Timeout, "no head");
    let hanging: Vec<_> = (0..8)
        .map(|_| {
            let (prober, kind) = (prober.clone(), kind.clone());
            tokio::spawn(async move { prober.probe(&kind, LONG).await })
        })
        .collect();
    until("a request that hangs", || silent.open() == 1).await;
    let target = Target::answering(ok("")).await;
    assert_answer(&prober.probe(&http(target.url("/")), LONG).await, Answer::Passed);
    assert_eq!(silent.open(), 1, "the others wait");
    hanging.iter().for_each(|task| task.abort());
}
