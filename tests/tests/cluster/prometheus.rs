//! A real Prometheus with the configuration in `deploy/`, and what promtool says of it and of a page of metrics.
//!
//! Where the Debian package `prometheus` is not installed these say so and do nothing; CI installs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::Method;
use rollcall_tests::{Call, Cluster, DEADLINE, SharedCluster, binary, free_port, note, segment, wait_until};
use serde_json::Value;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").join("deploy")
}

fn is_installed(program: &str) -> bool {
    let ran = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = ran.is_ok_and(|status| status.success());
    if !is_there {
        note(format_args!("SKIPPED: {program} is not installed (apt-get install prometheus)"));
    }
    is_there
}

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(started.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a query answers: the labels of each series with its value.
async fn query(prometheus: &str, query: &str) -> Result<Vec<(Value, f64)>, String> {
    let url = format!("{prometheus}/api/v1/query?query={}", segment(query));
    let call = Call::new(Method::GET, &url).timeout(Duration::from_secs(5));
    let answer = call.send().await.map_err(|unanswered| unanswered.to_string())?;
    let body = answer.json_or_null();
    let series = body["data"]["result"].as_array().ok_or_else(|| answer.text())?;
    let value = |one: &Value| one["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    Ok(series.iter().map(|one| (one["metric"].clone(), value(one))).collect())
}

/// The configuration of `deploy/` for a cluster on loopback.
fn configure(cluster: &Cluster, folder: &Path) -> PathBuf {
    let mut config =
        fs::read_to_string(deploy().join("prometheus/prometheus.yml")).expect("the configuration is there");
    for (index, node) in cluster.nodes().iter().enumerate() {
        let named = format!("http://node-{}:7400", index + 1);
        assert!(config.contains(&named), "the configuration names no {named}");
        config = config.replace(&named, &node.url());
    }
    let file = folder.join("prometheus.yml");
    fs::write(&file, config.replace("5s", "1s").replace("10s", "1s")).expect("the folder is ours");
    fs::copy(deploy().join("prometheus/rollcall.rules.yml"), folder.join("rollcall.rules.yml")).expect("rules");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_prometheus_finds_and_scrapes_nodes_and_services_through_the_registry() {
    if !is_installed("prometheus") {
        return;
    }
    let cluster = SharedCluster::get().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (service_port, own_port) = (free_port(), free_port());
    let mut demo = Command::new(binary());
    demo.args(["demo-service", "--kind", "writer", "--id", "content-specialist-1", "--register", "127.0.0.1"]);
    let _demo =
        Process::start(demo.arg(format!("--port={service_port}")).arg(format!("--server={}", cluster.servers())));
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", configure(&cluster, folder.path()).display()));
    prometheus.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    let _prometheus = Process::start(prometheus.arg(format!("--web.listen-address=127.0.0.1:{own_port}")));
    let prometheus = format!("http://127.0.0.1:{own_port}");

    wait_until("three nodes scraped, each once", DEADLINE, async || {
        let up = query(&prometheus, "up{job=\"rollcall-nodes\"}").await?;
        let named = cluster.nodes().iter().all(|node| up.iter().any(|(of, _)| of["node"] == node.name()));
        let is_so = up.len() == 3 && named && up.iter().all(|(_, value)| *value == 1.0);
        if is_so { Ok(()) } else { Err(format!("{up:?}")) }
    })
    .await;
    wait_until("the demo service scraped under its names", DEADLINE, async || {
        let found = query(&prometheus, "demo_uptime_seconds{service=\"content_specialist_agent\"}").await?;
        let is_so = matches!(found.as_slice(), [(of, _)] if of["instance"] == "content-specialist-1");
        if is_so { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    wait_until("one leader, by the metrics", DEADLINE, async || {
        let leaders = query(&prometheus, "sum(rollcall_raft_is_leader)").await?;
        if matches!(leaders.as_slice(), [(_, 1.0)]) { Ok(()) } else { Err(format!("{leaders:?}")) }
    })
    .await;
    let rules = Call::new(Method::GET, &format!("{prometheus}/api/v1/rules")).answer().await.expect(200).json();
    let alerts = rules["data"]["groups"][0]["rules"].as_array().expect("the alerts are loaded").clone();
    let broken: Vec<_> = alerts.iter().filter(|alert| alert["health"] == "err").collect();
    assert!(!alerts.is_empty() && broken.is_empty(), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_wrong_with_metrics_configuration_and_alerts() {
    if !is_installed("promtool") {
        return;
    }
    let cluster = SharedCluster::get().await;
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("metrics.txt");
    let metrics = cluster.node(0).get("/metrics").answer().await.expect(200).text();
    fs::write(&page, metrics).expect("the folder is ours");
    let checked = Command::new(deploy().join("prometheus/check.sh")).arg(&page).output().expect("the script runs");
    let said = [checked.stdout, checked.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("");
    assert!(checked.status.success(), "{said}");
}
