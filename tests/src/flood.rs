//! Many small writes, fast: requests are pipelined (RFC 9112 §9.3.2), and one sync of the log serves many.

use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::node::Node;
use crate::raw;
use crate::wait::DEADLINE;

/// Connections that write at once.
const WRITERS: usize = 60;
/// Requests that a connection sends before it reads the answers.
const PIPELINED: usize = 50;

/// Makes `count` changes to keys through `node`, or some more. What is refused because nobody leads is written again.
///
/// # Panics
/// When the node refuses a write for another reason, or closes a connection.
pub async fn flood(node: &Node, count: usize) {
    let batches = count.div_ceil(WRITERS * PIPELINED);
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(node.options().http, writer, batches))).collect();
    for writer in writers {
        writer.await.expect("a writer ends in order");
    }
}

async fn write(port: u16, writer: usize, batches: usize) {
    // A write that changes nothing is no change, so each value is another.
    let request = |number: usize| {
        format!("PUT /v1/kv/filler-{writer} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n{number:05}")
    };
    let mut stream = raw::connect(port).await;
    for batch in 0..batches {
        let requests: String = (0..PIPELINED).map(|index| request(batch * PIPELINED + index)).collect();
        let began = Instant::now();
        loop {
            stream.write_all(requests.as_bytes()).await.expect("the node reads");
            let refused = read_answers(&mut stream).await;
            if refused == 0 {
                break;
            }
            assert!(began.elapsed() < DEADLINE, "{refused} of {PIPELINED} writes are refused all the time");
        }
    }
}

/// Reads the answers to a batch; returns how many of them say that nobody leads, or that no quorum answered in time.
async fn read_answers(stream: &mut TcpStream) -> usize {
    let mut received = Vec::new();
    loop {
        let read = stream.read_buf(&mut received).await.expect("the connection stays");
        let text = String::from_utf8_lossy(&received);
        assert!(read > 0, "the node closed a connection: {text}");
        let (done, refused) = count_answers(&text);
        // The body of the last answer is one JSON object.
        if done + refused == PIPELINED && text.ends_with('}') {
            return refused;
        }
    }
}

/// How many answers say that a write was done, and how many that there was no quorum for it.
fn count_answers(text: &str) -> (usize, usize) {
    let (mut done, mut refused) = (0, 0);
    // What was read may end within a status line.
    for status in text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)) {
        match status {
            "503" | "504" => refused += 1,
            _ => {
                assert!(status.starts_with('2'), "all writes succeed: {text}");
                done += 1;
            }
        }
    }
    (done, refused)
}
