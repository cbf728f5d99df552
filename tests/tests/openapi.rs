//! The description of the HTTP API, taken at its word: schemathesis from PyPI makes requests of it, sound ones and broken ones, and
//! looks whether the answers are as described and none is an error of the server.
//!
//! Runs with `ROLLCALL_OPENAPI=1` (`just openapi-test`), since it installs packages. Where there is no Python 3 with `venv`, or
//! no package index, it says so and does nothing.

use std::process::Command;

use rollcall_tests::{Cluster, note, python_with, run, workspace};

const VERSION: &str = "4.32.5";

/// What would end the run: streams do not end, and nodes that leave do not answer.
const LEFT_OUT: &str = "^/v1/(watch|cluster/(events|leave|members/.*))$";

/// What it looks at. Not whether every request that the description forbids is refused: a node takes some that it need not, such
/// as a body of another content type where only one makes sense.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

#[tokio::test]
async fn the_api_is_as_it_is_described_and_nothing_that_is_sent_makes_it_fail() {
    if std::env::var_os("ROLLCALL_OPENAPI").is_none_or(|value| value != "1") {
        return note("skipped: set ROLLCALL_OPENAPI=1 (it installs Python packages)");
    }
    let python = match python_with("schemathesis", VERSION) {
        Ok(python) => python,
        Err(missing) => return note(format_args!("skipped: no schemathesis {VERSION} here: {missing}")),
    };
    let cluster = Cluster::start(3).await;
    let follower = (cluster.leader().await + 1) % 3;
    let mut command = Command::new(python.with_file_name("schemathesis"));
    command.arg("--config-file").arg(workspace().join("tests/openapi/schemathesis.toml"));
    command.arg("run").arg(format!("{}/openapi.json", cluster.node(follower).url()));
    command.args(["--phases", "examples,coverage,fuzzing", "--checks", CHECKS, "--exclude-path-regex", LEFT_OUT]);
    command.args(["--request-timeout", "10", "--max-examples", "50", "--max-time", "120", "--workers", "2"]);
    command.args(["--no-color", "--suppress-health-check", "all"]);
    if let Some(seed) = std::env::var_os("ROLLCALL_OPENAPI_SEED") {
        command.arg("--seed").arg(seed);
    }
    let ran = tokio::task::spawn_blocking(move || run(&mut command)).await.expect("it does not panic");
    match ran {
        Ok(output) => note(String::from_utf8_lossy(&output.stdout)),
        Err(problem) => panic!("{problem}"),
    }
    for node in cluster.nodes() {
        node.get("/readyz").answer().await.expect(200);
    }
}
