//! Who may know whom, read from cargo itself.
//!
//! The tables below are the architecture. A new crate, or a new edge between crates, fails here until it is written
//! down, which is the moment to ask whether it should exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The crates of the workspace and the crates of the workspace that each may use.
const ALLOWED_EDGES: &[(&str, &[&str])] = &[
    ("rollcall-types", &[]),
    ("rollcall-catalog", &["rollcall-types"]),
    ("rollcall-health", &["rollcall-types"]),
    ("rollcall-routing", &["rollcall-types"]),
    ("rollcall-io", &[]),
    ("rollcall-gossip", &["rollcall-types", "rollcall-health", "rollcall-io"]),
    ("rollcall-api", &["rollcall-types"]),
    ("rollcall-raft", &["rollcall-types", "rollcall-catalog", "rollcall-io"]),
    (
        "rollcall-server",
        &[
            "rollcall-types",
            "rollcall-catalog",
            "rollcall-health",
            "rollcall-io",
            "rollcall-api",
            "rollcall-raft",
            "rollcall-gossip",
            "rollcall-routing",
        ],
    ),
    ("rollcall-tui", &["rollcall-api"]),
    ("rollcall", &["rollcall-types", "rollcall-api", "rollcall-server", "rollcall-tui"]),
    ("jepsen-lite", &["rollcall-api"]),
    ("rollcall-stack", &["rollcall-io", "rollcall-raft", "rollcall-server"]),
    ("rollcall-simulation", &["rollcall-types", "rollcall-catalog", "rollcall-health", "rollcall-routing"]),
    ("rollcall-tests", &["rollcall-api"]),
    (
        "rollcall-bench",
        &[
            "rollcall-types",
            "rollcall-health",
            "rollcall-simulation",
            "rollcall-gossip",
            "rollcall-api",
            "rollcall-tests",
            "rollcall-tui",
        ],
    ),
];

/// Crates without async, I/O, threads, clocks or randomness of their own.
const PURE: &[&str] = &["rollcall-types", "rollcall-catalog", "rollcall-health", "rollcall-routing"];
/// What a pure crate never reaches, through however many others.
const IMPURE: &[&str] = &["tokio", "openraft", "chitchat", "axum", "hyper", "reqwest", "raft-log", "rand"];

/// Big dependencies, each named in one crate only, so that it can be replaced there.
const NAMED_ONCE: &[(&str, &str)] = &[
    ("openraft", "rollcall-raft"),
    ("raft-log", "rollcall-raft"),
    ("bincode", "rollcall-raft"),
    ("chitchat", "rollcall-gossip"),
    ("chacha20poly1305", "rollcall-gossip"),
    ("jsonschema", "rollcall-server"),
    ("ratatui", "rollcall-tui"),
    ("crossterm", "rollcall-tui"),
    ("hickory-proto", "rollcall-server"),
    ("opentelemetry", "rollcall-server"),
    ("opentelemetry_sdk", "rollcall-server"),
    ("tracing-opentelemetry", "rollcall-server"),
];

/// The platform that this runs on, as rustc calls it.
fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().expect("rustc can be started");
    let said = String::from_utf8(output.stdout).expect("rustc writes text");
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc -vV names the host").to_owned()
}

struct Workspace {
    /// Names by package id.
    names: BTreeMap<String, String>,
    members: BTreeSet<String>,
    /// Normal dependencies, resolved, by package id.
    edges: BTreeMap<String, Vec<String>>,
    /// Dependencies of any kind as each member's manifest names them.
    named: BTreeMap<String, BTreeSet<String>>,
}

fn workspace() -> Workspace {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    // Cargo may download: on a machine that never built the benchmarks, what they alone depend on is not here yet. Other
    // platforms are left out.
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &host()])
        .current_dir(root)
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let list = |value: &Value| value.as_array().cloned().expect("a list");
    let packages = list(&metadata["packages"]);
    let members: BTreeSet<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
    let names: BTreeMap<String, String> =
        packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
    let named = packages.iter().filter(|package| members.contains(&text(&package["id"]))).map(|package| {
        let dependencies = list(&package["dependencies"]);
        (text(&package["name"]), dependencies.iter().map(|dependency| text(&dependency["name"])).collect())
    });
    let is_normal = |dependency: &&Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
    let edges = list(&metadata["resolve"]["nodes"]).into_iter().map(|node| {
        let dependencies = list(&node["deps"]);
        let normal = dependencies.iter().filter(is_normal).map(|dependency| text(&dependency["pkg"]));
        (text(&node["id"]), normal.collect())
    });
    Workspace { named: named.collect(), edges: edges.collect(), names, members }
}

impl Workspace {
    /// Names of everything that `id` reaches through normal dependencies.
    fn reach(&self, id: &str) -> BTreeSet<&str> {
        let (mut reached, mut rest) = (BTreeSet::new(), vec![id]);
        while let Some(next) = rest.pop() {
            for dependency in &self.edges[next] {
                if reached.insert(dependency.as_str()) {
                    rest.push(dependency);
                }
            }
        }
        reached.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

#[test]
fn crates_know_only_the_crates_they_may_know() {
    let workspace = workspace();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED_EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    for id in &workspace.members {
        let name = workspace.names[id].as_str();
        let Some(own) = allowed.get(name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        let inside = workspace.edges[id].iter().filter(|dependency| workspace.members.contains(*dependency));
        let strange =
            inside.map(|dependency| workspace.names[dependency].as_str()).filter(|other| !own.contains(other));
        wrong.extend(strange.map(|other| format!("{name} → {other}")));
    }
    assert!(wrong.is_empty(), "edges that the architecture does not have: {wrong:?}");
}

#[test]
fn pure_crates_reach_no_runtime_no_network_and_no_randomness() {
    let workspace = workspace();
    for id in &workspace.members {
        let name = workspace.names[id].as_str();
        if PURE.contains(&name) {
            let reached = workspace.reach(id);
            let impure: Vec<_> = IMPURE.iter().filter(|other| reached.contains(**other)).collect();
            assert!(impure.is_empty(), "{name} reaches {impure:?}");
        }
    }
}

#[test]
fn each_big_dependency_is_named_in_one_crate() {
    let workspace = workspace();
    for (dependency, owner) in NAMED_ONCE {
        let users =
            workspace.named.iter().filter(|(_, named)| named.contains(*dependency)).map(|(name, _)| name.as_str());
        assert_eq!(users.collect::<Vec<_>>(), [*owner], "crates that name {dependency}");
    }
}
