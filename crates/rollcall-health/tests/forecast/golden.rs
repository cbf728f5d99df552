//! Runs the stories. `UPDATE_GOLDEN=1` writes what they answer now; read the diff before keeping it.

use std::path::{Path, PathBuf};

use crate::story::Story;

/// Stands between the commands and the answers.
const RULER: &str = "---\n";

#[test]
fn every_story_ends_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let is_ours = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("forecast-");
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(is_ours);
    paths.sort();
    assert!(!paths.is_empty(), "there are stories in {}", folder.display());
    let failures: Vec<String> = paths.iter().filter_map(|path| check(path).err()).collect();
    assert!(failures.is_empty(), "\n{}\nUPDATE_GOLDEN=1 writes the new answers", failures.join("\n"));
}

fn check(path: &Path) -> Result<(), String> {
    let file = std::fs::read_to_string(path).unwrap();
    let (script, expected) = file.split_once(RULER).unwrap_or((&file, ""));
    assert!(script.starts_with("# "), "{}: the first line says the fact that the story shows", path.display());
    let told = Story::tell(script);
    if told == expected {
        return Ok(());
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, format!("{}\n{RULER}{told}", script.trim_end())).unwrap();
        return Ok(());
    }
    Err(format!("{}\nexpected:\n{expected}\ntold:\n{told}", path.display()))
}
