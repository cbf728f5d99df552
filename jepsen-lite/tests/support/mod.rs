//! What tests of the harness with real nodes share.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program under test: `ROLLCALL_BIN`, or built here.
pub(crate) fn rollcall() -> PathBuf {
    if let Some(path) = std::env::var_os("ROLLCALL_BIN") {
        return PathBuf::from(path);
    }
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--package", "rollcall", "--bin", "rollcall"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let built = build.status();
    assert!(built.expect("cargo can be started").success(), "cargo build --package rollcall failed");
    Path::new(env!("CARGO_BIN_EXE_jepsen-lite")).with_file_name("rollcall")
}
