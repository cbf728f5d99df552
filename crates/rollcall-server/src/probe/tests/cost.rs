//! What a probe costs the node: the processor time of the thread that runs it.
//!
//! Expected over a kept connection: one write and two reads (5 µs), a wakeup (3 µs), two dozen allocations, hyper's head in and
//! out (5 µs); and a tenth of a connection (40 µs / 10). A thousand a second at less than a tenth of a core allow 100 µs.
//!
//! `cargo test --release -p rollcall-server --lib probe::tests::cost -- --nocapture`

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rollcall_health::check::Answer;
use rollcall_types::CheckKind;

use super::target::ok;
use super::{LONG, assert_answer, http, prober, tcp};

/// Answers on threads of its own, so that its cost is not the prober's.
fn target() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = accepted.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let stream = stream.unwrap();
            std::thread::spawn(move || answer(stream));
        }
    });
    (port, accepted)
}

fn answer(mut stream: TcpStream) {
    let (answer, mut buffer) = (ok("all is well"), [0; 1_024]);
    // A request is one segment.
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) && stream.write_all(&answer).is_ok() {}
}

/// Processor time of this thread so far (proc_pid_schedstat: nanoseconds).
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Runs `kind` so many times, and says what one cost.
fn measure(what: &str, kind: &CheckKind, count: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let prober = prober();
        let before = spent();
        for _ in 0..count {
            assert_answer(&prober.probe(kind, LONG).await, Answer::Passed);
        }
        println!("{what}: {:?} of processor time a probe", (spent() - before) / count);
    });
}

#[test]
fn two_thousand_probes_take_two_hundred_connections() {
    let (port, accepted) = target();
    measure("http", &http(format!("http://127.0.0.1:{port}/health")), 2_000);
    assert_eq!(accepted.load(Ordering::SeqCst), 200);
    measure("tcp", &tcp("127.0.0.1", port), 500);
    // The target counts a connection a moment after the system has taken it.
    let deadline = Instant::now() + LONG;
    while accepted.load(Ordering::SeqCst) < 700 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 700);
}
