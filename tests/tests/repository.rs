//! Rules about the files of the repository.

use std::path::Path;
use std::process::Command;

use rollcall_tests::note;

/// Folders that exist on one machine only. Written in parts, so that this file keeps its own rule.
const MACHINE_FOLDERS: [[&str; 2]; 3] = [["/ho", "me/"], ["/ro", "ot/"], ["/wo", "rk/"]];

/// Whether `line` names a path below `folder` from the root of the file system, and not in the middle of another path.
fn names_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '.' | '_' | '-' | '}' | '~' | '$'))
    })
}

#[test]
fn no_tracked_file_names_a_path_of_one_machine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else {
        return note("SKIPPED: this is not a git work tree");
    };
    let names = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    let mut found = Vec::new();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        // A file that was removed but not yet committed, or one that is not text, names no path.
        let Ok(text) = std::fs::read_to_string(root.join(name)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if MACHINE_FOLDERS.iter().any(|parts| names_path(line, &parts.concat())) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_path_is_told_from_the_end_of_another() {
    let [_, root, _] = MACHINE_FOLDERS.map(|parts| parts.concat());
    assert!(names_path(&format!("see {root}x"), &root));
    assert!(names_path(&format!("\"{root}x\""), &root));
    assert!(!names_path(&format!("the{root}x"), &root));
    assert!(!names_path("nothing", &root));
}

/// Names of metrics in a file, without what Prometheus adds for the series of a histogram.
fn metrics_in(text: &str) -> impl Iterator<Item = &str> {
    // Names of networks and containers are no metrics.
    let lines = text.lines().filter(|line| !line.starts_with("docker"));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_lowercase() && c != '_'));
    let names = words.filter(|word| word.starts_with("rollcall_") || word.starts_with("process_"));
    names
        .map(|name| ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.strip_suffix(end).unwrap_or(name)))
}

#[test]
fn alerts_and_dashboards_name_metrics_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let reference = read("docs/metrics.md");
    let mut named = 0;
    for file in [
        "deploy/prometheus/rollcall.rules.yml",
        "deploy/prometheus/rollcall.tests.yml",
        "deploy/grafana/dashboards/rollcall.json",
        "docs/operations.md",
    ] {
        for name in metrics_in(&read(file)) {
            assert!(
                reference.contains(&format!("| `{name}` |")),
                "{file} names {name}, which docs/metrics.md does not"
            );
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
}
