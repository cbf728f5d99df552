//! Locks, keys and events on the command line, against a stand-in for a node.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::binary::{Ran, node_that_answers, node_with, rollcall, run};

const ID: &str = "8c0b8e1f-2f0a-6a3c-94d3-1d1f0a7be5d2";

/// A node that has the lock for everybody who asks.
fn node() -> SocketAddr {
    let session = json!({"id": ID, "ttl_ms": 15_000, "renew_after_ms": 5_000, "keys": ["k"], "keys_held": 1});
    let locked = json!({"revision": 9, "lock_index": 4, "session": ID});
    let key = json!({"key": "deploy/web", "flags": 0, "bytes": 12, "revision": 9, "lock_index": 4, "session": ID});
    let free = json!({"key": "x", "flags": 0, "bytes": 3, "revision": 7, "lock_index": 0, "session": null});
    let event = json!({
        "id": ID, "name": "deploy", "payload": "web\n1.4.2", "payload_base64": "", "nodes": "", "services": "", "tag": null,
        "revision": 5, "at": "2026-11-21T12:00:00.000Z"
    });
    let fired = event.to_string();
    node_with(vec![
        ("/v1/sessions", session.to_string()),
        ("/v1/kv/", locked.to_string()),
        ("/v1/kv", json!({"items": [key, free], "revision": 9, "next_cursor": null}).to_string()),
        ("/v1/events?", json!({"items": [event], "revision": 9, "next_cursor": null}).to_string()),
        ("/v1/events", fired),
    ])
}

fn lock(node: SocketAddr, command: &[&str]) -> Ran {
    let server = node.to_string();
    let mut arguments = vec!["lock", "k", "--server", &server, "--"];
    arguments.extend(command);
    rollcall().args(arguments).stdin(Stdio::null()).output().unwrap().into()
}

#[test]
fn the_command_knows_its_lock_and_its_exit_code_is_passed_on() {
    let script = "echo $ROLLCALL_LOCK_KEY $ROLLCALL_LOCK_INDEX $ROLLCALL_LOCK_SESSION; exit 3";
    let ran = lock(node(), &["sh", "-c", script]);
    assert_eq!((ran.code, ran.stdout, ran.stderr), (Some(3), format!("k 4 {ID}\n"), String::new()));
    assert_eq!(lock(node(), &["true"]).code, Some(0));
    assert_eq!(lock(node(), &["sh", "-c", "kill -9 $$"]).code, Some(128 + 9));
}

#[test]
fn a_command_that_cannot_be_started_is_told_as_shells_tell_it() {
    let ran = lock(node(), &["no-such-command-anywhere"]);
    assert_eq!(ran.code, Some(127), "{}", ran.stderr);
    assert!(ran.stderr.contains("no-such-command-anywhere"), "{}", ran.stderr);
    assert_eq!(lock(node(), &["/"]).code, Some(126));
    let ran = run("lock k --server 127.0.0.1:1");
    assert_eq!(ran.code, Some(2), "a command must be given: {}", ran.stderr);
}

#[test]
fn what_the_cluster_refuses_exits_1_and_nothing_runs() {
    let body = json!({
        "type": "urn:rollcall:problem:invalid_field", "title": "Fields break rules", "status": 422, "code": "invalid_field",
        "detail": "ttl_ms must be 10000 to 86400000 milliseconds; got 1000"
    });
    let node = node_that_answers("422 Unprocessable Entity", "application/problem+json", body.to_string());
    let ran = lock(node, &["echo", "ran"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains("ttl_ms"), "{}", ran.stderr);
}

/// Runs until it is told to end, and says on its first line that it has begun.
fn start(script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let server = node().to_string();
    let arguments = ["lock", "k", "--server", &server, "--", "sh", "-c", script];
    let mut child =
        rollcall().args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n");
    (child, output)
}

#[test]
fn signals_are_passed_on() {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")] {
        let script = format!("trap 'echo got {name}; exit 7' {name}; echo begun; while :; do sleep 0.05; done");
        let (mut child, mut output) = start(&script);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!((child.wait().unwrap().code(), rest), (Some(7), format!("got {name}\n")), "{name}");
    }
}

#[test]
fn keys_line_up_with_their_holders() {
    let ran = run(&format!("kv list --server {}", node()));
    let table = "\
KEY         BYTES  REVISION  LOCKED  HOLDER
deploy/web     12         9       4  8c0b8e1f-2f0a-6a3c-94d3-1d1f0a7be5d2
x               3         7       0  -
";
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), table), "{}", ran.stderr);
    let json: serde_json::Value =
        serde_json::from_str(&run(&format!("kv list -o json --server {}", node())).stdout).unwrap();
    assert_eq!(json["items"][0]["session"], ID);
}

#[test]
fn events_are_fired_and_listed_each_on_its_line() {
    let ran = run(&format!("event list deploy --server {}", node()));
    let table = "\
REVISION  AT                        NAME    PAYLOAD
       5  2026-11-21T12:00:00.000Z  deploy  web\\u{a}1.4.2
";
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), table), "{}", ran.stderr);
    let ran = run(&format!("event fire deploy 1.4.2 --server {}", node()));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "fired deploy, revision 5\n"), "{}", ran.stderr);
}
