//! Runs the stories. `UPDATE_GOLDEN=1` writes what they answer now; read the diff before keeping it.

use std::path::Path;

use crate::{agreement_story, check_story, journal_story, lease_story};

/// Stands between the commands and the answers.
const RULER: &str = "---\n";

#[test]
fn every_story_of_a_check_ends_as_it_is_written() {
    check_all("check-", check_story::tell);
}

#[test]
fn every_story_of_an_agreement_ends_as_it_is_written() {
    check_all("agreement-", agreement_story::tell);
}

#[test]
fn every_story_of_a_lease_ends_as_it_is_written() {
    check_all("lease-", lease_story::tell);
}

#[test]
fn every_story_of_the_journal_ends_as_it_is_written() {
    check_all("journal-", journal_story::tell);
}

#[track_caller]
fn check_all(prefix: &str, tell: fn(&mut dyn Iterator<Item = &str>) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    paths.sort();
    assert!(!paths.is_empty(), "there are stories in {}", folder.display());
    let failures: Vec<String> = paths.iter().filter_map(|path| check(path, tell).err()).collect();
    assert!(failures.is_empty(), "\n{}\nUPDATE_GOLDEN=1 writes the new answers", failures.join("\n"));
}

fn check(path: &Path, tell: fn(&mut dyn Iterator<Item = &str>) -> String) -> Result<(), String> {
    let file = std::fs::read_to_string(path).unwrap();
    let (script, expected) = file.split_once(RULER).unwrap_or((&file, ""));
    assert!(script.starts_with("# "), "{}: the first line says the fact that the story shows", path.display());
    let told = tell(&mut script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')));
    if told == expected {
        return Ok(());
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, format!("{}\n{RULER}{told}", script.trim_end())).unwrap();
        return Ok(());
    }
    Err(format!("{}\nexpected:\n{expected}\ntold:\n{told}", path.display()))
}
