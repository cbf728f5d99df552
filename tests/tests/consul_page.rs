//! The table of endpoints in `docs/consul.md` is what the server routes and what the tests ask for: made from both, and an
//! endpoint that no test asks for has no row to stand in.
//!
//! `ROLLCALL_BLESS=1 cargo test -p rollcall-tests --test consul_page` writes the table; read the difference before keeping it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Around the table in the page.
const BEGIN: &str = "<!-- endpoints: written by tests/tests/consul_page.rs -->\n";
const END: &str = "<!-- end of endpoints -->\n";

/// What is different from Consul, or easily missed.
const NOTES: &[(&str, &str)] = &[
    ("/v1/acl/{*rest}", "401 `ACL support disabled`, as a Consul without access control"),
    ("/v1/agent/token/{*rest}", "401 `ACL support disabled`"),
    ("/v1/agent/checks", "what came through the node that is asked"),
    ("/v1/agent/services", "what came through the node that is asked"),
    ("/v1/agent/join/{*rest}", "nodes join by their configuration"),
    ("/v1/agent/leave", "refused: `rollcall leave` does it"),
    ("/v1/agent/force-leave/{*rest}", "refused: `rollcall members` and the native API do it"),
    ("/v1/agent/check/register", "no scripts, no HTTP headers and bodies; intervals from 100 ms"),
    ("/v1/agent/service/register", "IDs are unique in the cluster, not on one agent"),
    ("/v1/agent/connect/ca/roots", "500 `Connect must be enabled…`"),
    ("/v1/connect/ca/roots", "500 `Connect must be enabled…`"),
    ("/v1/catalog/connect/{*rest}", "always empty"),
    ("/v1/health/connect/{*rest}", "always empty"),
    ("/v1/health/ingress/{*rest}", "always empty"),
    ("/v1/coordinate/nodes", "always empty"),
    ("/v1/coordinate/node/{*rest}", "always empty"),
    ("/v1/coordinate/datacenters", "always empty"),
    ("/v1/event/fire/{*rest}", "through the log: nobody misses one"),
    ("/v1/kv/{*rest}", "keys to 512 bytes, values to 512 KiB"),
    ("/v1/session/renew/{*rest}", "an entry of the log"),
    ("/v1/txn", "KV operations only"),
];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// Every Rust file in a folder and below, with its text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it can be read").path()) {
        if entry.is_dir() {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&entry).expect("it is text");
            found.push((entry, text));
        }
    }
    found.sort();
    found
}

/// Paths that are routed, with their methods.
fn routes() -> BTreeMap<String, Vec<&'static str>> {
    let mut routes = BTreeMap::new();
    for (_, text) in sources(&workspace().join("crates/rollcall-server/src/consul")) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, _) in code.match_indices("(\"/v1/") {
            let rest = &code[at + 2..];
            let Some((path, how)) = rest.split_once("\", ") else { continue };
            let how = how.split("\"/v1/").next().unwrap_or_default().lines().next().unwrap_or_default();
            let methods = methods(how);
            if !methods.is_empty() {
                routes.insert(path.to_owned(), methods);
            }
        }
    }
    routes
}

/// The methods that a route is made with.
fn methods(how: &str) -> Vec<&'static str> {
    let words = [("get(", "GET"), ("put(", "PUT"), ("write(", "PUT"), ("delete(", "DELETE"), ("any(", "any")];
    let mut methods: Vec<_> =
        words.into_iter().filter(|(word, _)| how.contains(word)).map(|(_, method)| method).collect();
    methods.dedup();
    methods
}

/// One function of a file of tests.
struct Function<'t> {
    name: &'t str,
    body: &'t str,
    is_test: bool,
}

fn functions(text: &str) -> Vec<Function<'_>> {
    let starts: Vec<usize> = text.match_indices("fn ").map(|(at, _)| at).filter(|at| is_item(text, *at)).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let functions = starts.iter().zip(ends).map(|(start, end)| {
        let before = text[..*start].trim_end_matches("async ").trim_end();
        let is_test =
            before.lines().last().is_some_and(|line| line.starts_with("#[tokio::test") || line.starts_with("#[test"));
        let name = text[start + 3..].split(['(', '<']).next().unwrap_or_default();
        Function { name, body: &text[*start..end], is_test }
    });
    functions.collect()
}

/// Whether the `fn` at this place begins a line, but for `async` and `pub`.
fn is_item(text: &str, at: usize) -> bool {
    let line = text[..at].rsplit('\n').next().unwrap_or_default();
    matches!(line, "" | "async " | "pub(crate) " | "pub(crate) async ")
}

/// For each path the tests that ask for it, by themselves or through a helper of their file.
fn proofs(paths: impl Iterator<Item = String>) -> BTreeMap<String, BTreeSet<String>> {
    let folder = workspace().join("tests/tests/cluster");
    let files: Vec<_> =
        sources(&folder).into_iter().filter(|(path, _)| path.to_string_lossy().contains("/consul_")).collect();
    let mut proofs = BTreeMap::new();
    for path in paths {
        let asked = path.trim_end_matches("{*rest}").to_owned();
        let tests = proofs.entry(path).or_insert_with(BTreeSet::new);
        for (file, text) in &files {
            let functions = functions(text);
            let helpers: Vec<String> = functions
                .iter()
                .filter(|it| !it.is_test && asks(it.body, &asked))
                .map(|it| format!("{}(", it.name))
                .collect();
            let module = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let proving = functions
                .iter()
                .filter(|it| it.is_test)
                .filter(|it| asks(it.body, &asked) || helpers.iter().any(|helper| it.body.contains(helper)));
            tests.extend(proving.map(|it| format!("{module}::{}", it.name)));
        }
    }
    proofs
}

/// Whether code holds the path, and not only a longer one.
fn asks(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let next = code[at + path.len()..].chars().next().unwrap_or(' ');
        path.ends_with('/') || !(next.is_ascii_alphanumeric() || matches!(next, '/' | '-'))
    })
}

fn table() -> String {
    let routes = routes();
    let proofs = proofs(routes.keys().cloned());
    let unproven: Vec<_> = proofs.iter().filter(|(_, tests)| tests.is_empty()).map(|(path, _)| path).collect();
    assert!(unproven.is_empty(), "no test in tests/tests/cluster/consul_*.rs asks for {unproven:?}");
    let mut table = String::from("| Endpoint | | Proven by | Notes |\n|---|---|---|---|\n");
    for (path, methods) in &routes {
        let tests = &proofs[path];
        // Two are enough to find the rest.
        let shown: Vec<String> = tests.iter().take(2).map(|test| format!("`{test}`")).collect();
        let note = NOTES.iter().find(|(of, _)| of == path).map_or("", |(_, note)| note);
        let shown_path = path.replace("{*rest}", "…");
        writeln!(table, "| `{shown_path}` | {} | {} | {note} |", methods.join(", "), shown.join(" "))
            .expect("a string grows");
    }
    let stray: Vec<_> = NOTES.iter().filter(|(path, _)| !routes.contains_key(*path)).collect();
    assert!(stray.is_empty(), "notes on paths that are not routed: {stray:?}");
    table
}

#[test]
fn every_endpoint_has_a_row_and_every_row_a_test() {
    let path = workspace().join("docs/consul.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the table has a beginning");
    let (present, after) = rest.split_once(END).expect("the table has an end");
    let table = table();
    assert!(table.lines().count() > 50, "the routes were found");
    if std::env::var_os("ROLLCALL_BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).expect("the page can be written");
        return;
    }
    assert_eq!(present, table, "ROLLCALL_BLESS=1 writes the table");
}

#[test]
fn a_path_is_asked_for_when_it_stands_there_and_not_a_longer_one() {
    assert!(asks("read(node, \"/v1/agent/service/x\")", "/v1/agent/service/"));
    assert!(asks("\"/v1/agent/services\"", "/v1/agent/services"));
    assert!(!asks("\"/v1/agent/services/x\"", "/v1/agent/services"));
    assert!(asks("\"/v1/health/state?x\"", "/v1/health/state"));
    assert_eq!(methods("get(read).put(put).delete(delete)"), ["GET", "PUT", "DELETE"]);
    assert_eq!(methods("write(layer, register)"), ["PUT"]);
}
