//! Runs the binary, and stands in for a node.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

/// The binary, without anything of the environment that it would listen to.
pub(crate) fn rollcall() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ROLLCALL_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.env("COLUMNS", "100");
    command
}

/// What a run wrote, as text.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs the binary with arguments that are separated by blanks.
#[track_caller]
pub(crate) fn run(line: &str) -> Ran {
    rollcall().args(line.split_whitespace()).output().unwrap().into()
}

/// A node that gives the same answer to every request, until the test process ends. Returns its address.
pub(crate) fn node_that_answers(status: &'static str, content_type: &'static str, body: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, status, content_type, &body);
        }
    });
    address
}

/// A node that answers each of these paths, and what begins with it, with JSON, the first that fits, until the test process
/// ends. Returns its address.
pub(crate) fn node_with(answers: Vec<(&'static str, String)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer_with(stream, |request| {
                let path = request.split(' ').nth(1).unwrap_or_default();
                match answers.iter().find(|(known, _)| path.starts_with(known)) {
                    Some((_, body)) => ("200 OK", "application/json", body.clone()),
                    None => ("404 Not Found", "text/plain", String::new()),
                }
            });
        }
    });
    address
}

fn answer(stream: TcpStream, status: &'static str, content_type: &'static str, body: &str) {
    answer_with(stream, |_| (status, content_type, body.to_owned()));
}

/// A client that goes away early is its own business. `choose` gets the first line of the request.
fn answer_with(mut stream: TcpStream, choose: impl Fn(&str) -> (&'static str, &'static str, String)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length) = (String::new(), 0);
    let mut request = String::new();
    if reader.read_line(&mut request).is_err() {
        return;
    }
    let (status, content_type, body) = choose(&request);
    while reader.read_line(&mut line).is_ok_and(|count| count > 0) && !line.trim().is_empty() {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    if reader.read_exact(&mut vec![0; length]).is_ok() {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }
}
