//! Unmodified clients of Consul from PyPI, against a real cluster of three nodes; see `tests/compat/README.md`.
//!
//! Runs with `ROLLCALL_COMPAT=1` (`just compat-test`), since it installs packages. Where there is no Python 3 with `venv`, or
//! no package index, it says so and does nothing.

use std::path::Path;
use std::process::Command;

use rollcall_tests::{Cluster, note, python_with, run, workspace};

/// The clients: distribution and version.
const CLIENTS: [(&str, &str); 2] = [("python-consul", "1.1.0"), ("py-consul", "1.8.0")];

/// Runs a part of the tests against these ports.
#[track_caller]
fn check(python: &Path, ports: &str, run_name: &str, part: &[&str], prepares: bool) {
    let mut command = Command::new(python);
    command.args(["-m", "unittest"]).args(part).arg("-v").current_dir(workspace().join("tests/compat"));
    command.env("ROLLCALL_CONSUL_PORTS", ports).env("ROLLCALL_COMPAT_RUN", run_name);
    command.env("PREPARE", if prepares { "1" } else { "0" }).env("PYTHONDONTWRITEBYTECODE", "1");
    match run(&mut command) {
        // What was run, and how long it took, is on the other stream of unittest.
        Ok(output) => note(String::from_utf8_lossy(&output.stderr)),
        Err(problem) => panic!("{problem}"),
    }
}

fn ports(cluster: &Cluster) -> String {
    let running = cluster.nodes().iter().filter(|node| node.is_running());
    running.map(|node| node.options().consul.to_string()).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn clients_of_consul_work_unchanged_on_every_node_and_after_one_was_killed() {
    if std::env::var_os("ROLLCALL_COMPAT").is_none_or(|value| value != "1") {
        return note("skipped: set ROLLCALL_COMPAT=1 (it installs Python packages)");
    }
    for (client, version) in CLIENTS {
        let python = match python_with(client, version) {
            Ok(python) => python,
            Err(missing) => return note(format_args!("skipped: no {client} {version} here: {missing}")),
        };
        let cluster = Cluster::start(3).await;
        check(&python, &ports(&cluster), "all", &["discover"], false);
        check(&python, &ports(&cluster), "killed", &["survivors"], true);
        let victim = cluster.leader().await;
        cluster.node(victim).kill9();
        cluster.leader().await;
        check(&python, &ports(&cluster), "killed", &["survivors"], false);
        check(&python, &ports(&cluster), "after", &["discover"], false);
    }
}
