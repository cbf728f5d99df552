//! Runs the stories in `tests/scripts/` for the tests beside it: a script, a line `---`, and what is told of it.
//! `UPDATE_GOLDEN=1` writes what they answer now; read the diff before keeping it.

use std::path::Path;

/// Stands between the commands and the answers.
const RULER: &str = "---\n";

/// Tells every story whose file name begins with `prefix`, and compares it with what is written.
#[track_caller]
pub(crate) fn check_all(prefix: &str, tell: fn(&str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    paths.sort();
    assert!(!paths.is_empty(), "there are stories in {}", folder.display());
    let failures: Vec<String> = paths.iter().filter_map(|path| check(path, tell).err()).collect();
    assert!(failures.is_empty(), "\n{}\nUPDATE_GOLDEN=1 writes the new answers", failures.join("\n"));
}

fn check(path: &Path, tell: fn(&str) -> String) -> Result<(), String> {
    let file = std::fs::read_to_string(path).unwrap();
    let (script, expected) = file.split_once(RULER).unwrap_or((&file, ""));
    assert!(script.starts_with("# "), "{}: the first line says the fact that the story shows", path.display());
    let told = tell(script);
    if told == expected {
        return Ok(());
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, format!("{}\n{RULER}{told}", script.trim_end())).unwrap();
        return Ok(());
    }
    Err(format!("{}\nexpected:\n{expected}\ntold:\n{told}", path.display()))
}
