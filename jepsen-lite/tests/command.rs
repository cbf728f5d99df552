//! The command as its user meets it: histories in, exit codes out.

use std::path::Path;
use std::process::{Command, Output};

const RUN: &str = r#"{"kind":"run","format":1,"workload":"registers","nemeses":[],"seed":1,"nodes":["n1"],"clients":1,"time_limit_ms":1000,"min_ok":1,"network":"endpoint","command":"jepsen-lite run"}"#;
const PUT: &str = r#"{"kind":"invoke","at":10,"op":1,"client":0,"node":"n1","call":{"do":"put","thing":"i/web/1","expect":"any"}}
{"kind":"return","at":20,"op":1,"outcome":"ok","answer":"written","revision":5,"created":true,"changed":true,"modified":5}"#;
const LIST_OF_IT: &str = r#"{"kind":"invoke","at":50,"op":2,"client":9,"node":"n1","call":{"do":"list","service":"web","consistency":"linearizable"}}
{"kind":"return","at":60,"op":2,"outcome":"ok","answer":"listed","revision":5,"items":[["1",{"op":1,"modified":5}]]}"#;
const LIST_OF_NOTHING: &str = r#"{"kind":"invoke","at":50,"op":2,"client":9,"node":"n1","call":{"do":"list","service":"web","consistency":"linearizable"}}
{"kind":"return","at":60,"op":2,"outcome":"ok","answer":"listed","revision":5,"items":[]}"#;
const HEALED: &str = r#"{"kind":"healed","at":30}
{"kind":"recovered","at":40}"#;
const END: &str = r#"{"kind":"log","at":70,"node":"n1","complete":true,"entries":[{"revision":5,"op":1,"removed":false}]}
{"kind":"end","at":80}"#;

fn jepsen_lite(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jepsen-lite")).args(arguments).output().expect("the program can be started")
}

#[track_caller]
fn check(expected: i32, folder: &Path, history: &str) -> String {
    let file = folder.join("history.jsonl");
    std::fs::write(&file, history).expect("the folder is writable");
    let output = jepsen_lite(&["check", file.to_str().expect("the path is text")]);
    let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(expected), "{shown}");
    shown
}

#[test]
fn the_exit_code_says_what_the_history_says() {
    let folder = tempfile::tempdir().unwrap();
    let story = |parts: &[&str]| parts.join("\n") + "\n";
    check(0, folder.path(), &story(&[RUN, PUT, HEALED, LIST_OF_IT, END]));
    let shown = check(1, folder.path(), &story(&[RUN, PUT, HEALED, LIST_OF_NOTHING, END]));
    assert!(shown.contains("INVALID [set] lost"), "{shown}");
    check(2, folder.path(), &story(&[RUN, PUT]));
    for report in ["report.txt", "report.html"] {
        assert!(folder.path().join(report).is_file(), "{report}");
    }
}

#[test]
fn a_history_whose_last_line_breaks_off_is_judged_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let shown = check(2, folder.path(), &format!("{RUN}\n{PUT}\n{{\"kind\":\"invo"));
    assert!(shown.contains("broken off"), "{shown}");
}

#[test]
fn what_is_no_history_is_a_failure_of_the_harness() {
    let folder = tempfile::tempdir().unwrap();
    check(3, folder.path(), "");
    check(3, folder.path(), "hello\n");
    check(3, folder.path(), &format!("{PUT}\n"));
    check(3, folder.path(), &format!("{RUN}\nbroken\n{PUT}\n"));
    check(3, folder.path(), &RUN.replace("\"format\":1", "\"format\":999"));
}

#[test]
fn wrong_arguments_are_a_failure_of_the_harness_and_help_is_none() {
    for arguments in [
        &["run"][..],
        &["run", "--workload", "nonsense"],
        &["run", "--workload", "set", "--nemesis", "nonsense"],
        &["run", "--workload", "set", "--time-limit", "5"],
        &["run", "--workload", "set", "--rollcall", "/nowhere"],
        &["check", "/nowhere"],
        &["suite", "/nowhere"],
    ] {
        assert_eq!(jepsen_lite(arguments).status.code(), Some(3), "{arguments:?}");
    }
    assert_eq!(jepsen_lite(&["--help"]).status.code(), Some(0));
    assert_eq!(jepsen_lite(&["list"]).status.code(), Some(0));
}
