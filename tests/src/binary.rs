//! The program under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

static BINARY: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("ROLLCALL_BIN") {
    Some(path) => std::path::absolute(&path).expect("ROLLCALL_BIN is a path"),
    None => build(),
});

/// Path of the `rollcall` binary: `ROLLCALL_BIN`, or built once per process with the profile of the tests.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    &BINARY
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--package",
        "rollcall",
        "--bin",
        "rollcall",
        "--message-format",
        "json-render-diagnostics",
    ]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let built = command.current_dir(workspace()).stderr(Stdio::inherit()).output().expect("cargo can be started");
    assert!(built.status.success(), "cargo build --package rollcall failed: {}", built.status);
    let messages = String::from_utf8(built.stdout).expect("cargo writes JSON");
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = message["target"]["name"] == "rollcall" && message["target"]["kind"][0] == "bin";
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    };
    messages.lines().find_map(executable).expect("cargo says where the binary is")
}
