//! The exit codes and messages that scripts and people rely on, against a stand-in for a node.

use std::net::TcpListener;
use std::process::Stdio;

use serde_json::json;

use crate::binary::{Ran, node_that_answers, node_with, rollcall, run};

fn problem(code: &str, status: u16, detail: &str) -> String {
    json!({ "type": format!("urn:rollcall:problem:{code}"), "title": "A title", "status": status, "detail": detail, "code": code })
        .to_string()
}

#[track_caller]
fn check(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, Some(code), "stderr: {}", ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "{part:?} in {}", ran.stderr);
    }
    assert_eq!(ran.stdout, "", "an answer that failed writes nothing to standard output");
}

fn services() -> String {
    let service = json!({
        "name": "web", "definition": null, "instance_count": 2, "config_version": null, "created_revision": 3, "revision": 9
    });
    json!({ "items": [service], "revision": 9, "next_cursor": null }).to_string()
}

fn health(status: &str) -> String {
    let service = json!({
        "service": "web", "status": status, "instances": 2, "healthy": 1, "states": { "passing": 1, status: 1 }
    });
    json!({
        "status": status, "services": { status: 1 }, "instances": { "passing": 1, status: 1 }, "healthy": 1,
        "items": [service], "revision": 9, "next_cursor": null
    })
    .to_string()
}

/// The health of a service whose worst instance is in this state.
fn service_health(status: &str) -> String {
    json!({
        "service": "web", "status": status, "instances": 2, "healthy": 1, "states": { "passing": 1, status: 1 }, "items": [],
        "omitted": 0, "revision": 9
    })
    .to_string()
}

fn node_in(status: &str) -> std::net::SocketAddr {
    node_with(vec![
        ("/v1/services/web/health", service_health(status)),
        ("/v1/services", services()),
        ("/v1/health", health(status)),
    ])
}

#[test]
fn an_answer_is_a_table_without_colour_in_a_pipe() {
    let node = node_in("warning");
    let ran = run(&format!("services --server http://{node}"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        ran.stdout,
        "NAME  INSTANCES  STATES                VERSION  CAPABILITIES  OWNER  REVISION\n\
         web           2  1 warning, 1 passing  -        -             -             9\n"
    );
}

#[test]
fn colour_can_be_asked_for() {
    let node = node_in("critical");
    assert!(run(&format!("services --server {node} --color always")).stdout.contains("\u{1b}[1mNAME\u{1b}[0m"));
}

#[test]
fn json_is_what_the_api_answers() {
    let node = node_in("critical");
    let ran = run(&format!("services --server {node} -o json"));
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(answer["items"][0]["name"], "web");
    assert_eq!(answer["revision"], 9);
    assert_eq!(answer["items"][0]["health"]["states"]["critical"], 1);
}

#[test]
fn the_verdict_on_health_is_the_exit_code() {
    for (status, code) in [("passing", 0), ("starting", 4), ("unknown", 4), ("warning", 4), ("critical", 5)] {
        let node = node_in(status);
        for line in ["health", "health web", "health web -o json"] {
            let ran = run(&format!("{line} --server {node}"));
            assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""), "{line}, {status}");
            assert!(ran.stdout.contains(status), "{line}: {}", ran.stdout);
        }
    }
}

#[test]
fn what_is_not_found_exits_1() {
    let body = problem("service_not_found", 404, "there is no service \"nope\"");
    let node = node_that_answers("404 Not Found", "application/problem+json", body);
    check(&run(&format!("instances nope --server {node}")), 1, &["there is no service \"nope\"", "rollcall services"]);
}

#[test]
fn what_breaks_a_rule_exits_1_and_lists_every_field() {
    let body = json!({
        "type": "urn:rollcall:problem:invalid_field", "title": "Fields break rules", "status": 422, "detail": "two",
        "code": "invalid_field",
        "errors": [{ "field": "endpoints[0].port", "rule": "must be a port" }, { "field": "weight", "rule": "must be a weight" }]
    });
    let node = node_that_answers("422 Unprocessable Entity", "application/problem+json", body.to_string());
    let ran = run(&format!("register web web-1 --endpoint http=h:0 --weight 0 --server {node}"));
    check(&ran, 1, &["endpoints[0].port", "weight"]);
}

#[test]
fn a_cluster_without_leader_exits_3() {
    let node = node_that_answers(
        "503 Service Unavailable",
        "application/problem+json",
        problem("no_leader", 503, "no leader"),
    );
    check(&run(&format!("kv put k v --timeout 100ms --server {node}")), 3, &["no leader", "rollcall members"]);
}

#[test]
fn nobody_there_exits_3_and_says_how_to_start() {
    // A port that was free a moment ago and that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let ran = run(&format!("members --timeout 0ms --server http://{address}"));
    check(&ran, 3, &[&address.to_string(), "rollcall dev", "ROLLCALL_SERVER"]);
}

#[test]
fn another_node_answers_for_one_that_is_gone() {
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let node = node_in("critical");
    assert_eq!(run(&format!("services --server {gone},{node}")).code, Some(0));
}

#[test]
fn what_is_not_a_node_exits_1() {
    let node = node_that_answers("200 OK", "text/html", "<html>".to_owned());
    check(&run(&format!("services --server {node}")), 1, &["unexpected answer", "--server"]);
}

#[test]
fn a_wrong_command_line_exits_2() {
    for line in ["instances", "register web", "register web w --endpoint nonsense", "dev --nodes 0", "dev --nodes 10"] {
        assert_eq!(run(line).code, Some(2), "{line}");
    }
    check(&run("services --server ftp://x"), 2, &["ftp://x"]);
}

#[test]
fn a_wrong_configuration_exits_2_and_names_the_flag() {
    check(&run("node --http nonsense"), 2, &["--http"]);
    check(&run("node --bootstrap-expect 3"), 2, &["bootstrap-expect", "join"]);
    check(&run("node --config /does/not/exist.toml"), 2, &["/does/not/exist.toml"]);
}

#[test]
fn a_file_that_is_no_registration_exits_2_and_names_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.toml");
    std::fs::write(&file, "endpoint = []").unwrap();
    check(&run(&format!("register web --file {}", file.display())), 2, &["web.toml", "endpoint"]);
}

#[test]
fn a_key_that_is_not_there_exits_1() {
    let node =
        node_that_answers("404 Not Found", "application/problem+json", problem("key_not_found", 404, "no such key"));
    check(&run(&format!("kv get a/b --server {node}")), 1, &["a/b"]);
}

#[test]
fn a_value_is_printed_byte_for_byte() {
    let node = node_that_answers("200 OK", "application/octet-stream", "a\u{1b}\nb".to_owned());
    let ran = run(&format!("kv get a/b --server {node}"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "a\u{1b}\nb"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let node = node_in("critical");
    let mut child = rollcall()
        .args(["services", "--server", &node.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_secret_is_written_once_and_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    assert_eq!(run(&format!("keygen --out {}", file.display())).code, Some(0));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    check(&run(&format!("keygen --out {}", file.display())), 1, &["cannot write", "another file"]);
    let secret = std::fs::read_to_string(&file).unwrap();
    let kept = run(&format!("keygen --keep --out {}", file.display()));
    check(&kept, 0, &["stays as it is"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
    assert_eq!(run("keygen").stdout.trim().len(), 64);
}

#[test]
fn whether_a_node_serves_is_the_exit_code() {
    let ready = node_that_answers("200 OK", "application/json", json!({ "ready": true, "revision": 9 }).to_string());
    let ran = run(&format!("ready --server http://{ready}"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "ready\n"), "{}", ran.stderr);
    let starting = problem("no_leader", 503, "this node knows no leader yet");
    let starting = node_that_answers("503 Service Unavailable", "application/problem+json", starting);
    check(&run(&format!("ready --timeout 100ms --server http://{starting}")), 3, &["knows no leader yet"]);
}

#[test]
fn a_file_that_is_no_snapshot_exits_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.snap");
    std::fs::write(&file, "no snapshot").unwrap();
    check(&run(&format!("snapshot inspect {}", file.display())), 1, &["x.snap"]);
}

#[test]
fn an_import_from_what_does_not_speak_consuls_api_copies_nothing_and_says_where_that_is() {
    let other = node_that_answers("404 Not Found", "text/plain", "404 page not found\n".to_owned());
    for part in ["services", "kv"] {
        let ran = run(&format!("import consul http://{other} --to http://127.0.0.1:1 --only {part}"));
        check(&ran, 1, &["404 Not Found", "404 page not found", "--consul"]);
        assert_eq!(ran.stdout, "");
    }
    // Of keys that begin so there may be none, which is told with the same status and no body.
    let empty = node_that_answers("404 Not Found", "text/plain", String::new());
    let ran = run(&format!("import consul http://{empty} --to http://127.0.0.1:1 --only kv"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "copied 0 keys\n"), "{}", ran.stderr);
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&format!("completions {shell}"));
        assert_eq!(ran.code, Some(0), "{shell}");
        assert!(ran.stdout.contains("transfer-leader"), "{shell}");
    }
}
