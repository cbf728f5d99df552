//! Runs the stories in `tests/scripts/`. `UPDATE_GOLDEN=1` writes what they answer now; read the diff before keeping it.

use std::path::Path;

use crate::story::Story;

/// Stands between the commands and the answers.
const RULER: &str = "---\n";

#[test]
fn every_story_ends_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are stories in {}", folder.display());
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let failures: Vec<String> = paths.iter().filter_map(|path| check(path, is_update).err()).collect();
    assert!(failures.is_empty(), "\n{}\nUPDATE_GOLDEN=1 writes the new answers", failures.join("\n"));
}

fn check(path: &Path, is_update: bool) -> Result<(), String> {
    let file = std::fs::read_to_string(path).unwrap();
    let (script, expected) = file.split_once(RULER).unwrap_or((&file, ""));
    assert!(script.starts_with("# "), "{}: the first line says the fact that the story shows", path.display());
    let told = Story::tell(script);
    assert_eq!(Story::tell_moving(script), told, "{}: another story when told from snapshots", path.display());
    if is_update && told != expected {
        std::fs::write(path, format!("{}\n{RULER}{told}", script.trim_end())).unwrap();
        return Ok(());
    }
    if told == expected { Ok(()) } else { Err(format!("{}\n{}", path.display(), diff(expected, &told))) }
}

/// The lines of both texts in order: `-` only expected, `+` only told, by the longest common subsequence.
fn diff(expected: &str, told: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), told.lines().collect());
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let skipped = common[i + 1][j].max(common[i][j + 1]);
            common[i][j] = if old[i] == new[j] { common[i + 1][j + 1] + 1 } else { skipped };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(format!("  {}", old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(format!("- {}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    lines.join("\n")
}

#[test]
fn the_diff_shows_what_went_and_what_came() {
    assert_eq!(diff("a\nb\nc\n", "a\nx\nc\nd\n"), "  a\n- b\n+ x\n  c\n+ d");
}
