//! The help texts, held beside the code in `tests/help/`, so that a change of the command line is seen in review.
//!
//! `ROLLCALL_BLESS=1 cargo test -p rollcall --test cli` writes them anew.

use std::fs;
use std::path::Path;

use crate::binary::run;

const COMMANDS: &[&str] = &[
    "",
    "dev",
    "node",
    "join",
    "register",
    "deregister",
    "services",
    "instances",
    "select",
    "explain",
    "health",
    "graph",
    "top",
    "drain",
    "undrain",
    "quarantine",
    "release",
    "watch",
    "history",
    "config get",
    "config set",
    "kv list",
    "kv get",
    "kv put",
    "kv delete",
    "lock",
    "event fire",
    "event list",
    "members",
    "ready",
    "leave",
    "remove",
    "transfer-leader",
    "snapshot save",
    "snapshot inspect",
    "snapshot restore",
    "keygen",
    "completions",
];

#[test]
fn help_texts_are_those_that_were_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let bless = std::env::var_os("ROLLCALL_BLESS").is_some();
    let mut different = Vec::new();
    for command in COMMANDS {
        let ran = run(&format!("{command} --help"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command}");
        let name = if command.is_empty() { "rollcall".to_owned() } else { command.replace(' ', "-") };
        let file = folder.join(format!("{name}.txt"));
        if bless {
            fs::write(&file, &ran.stdout).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != ran.stdout {
            different.push(file.display().to_string());
        }
    }
    assert!(different.is_empty(), "look at the difference, then run with ROLLCALL_BLESS=1: {different:#?}");
}

#[test]
fn help_fits_a_terminal() {
    for command in COMMANDS {
        for line in run(&format!("{command} --help")).stdout.lines() {
            assert!(line.chars().count() <= 120, "{command}: {line}");
        }
    }
}
