//! Runs every input of the kept corpora through its target, without a fuzzer: this is what `cargo test` does of fuzzing.
//!
//! The tests of each crate that has targets include this file, since it is needed by tests of several crates and belongs to none.

use std::fs;
use std::path::Path;

type Target = fn(&[u8]);

/// Runs the corpus of each of these targets.
pub(crate) fn all(targets: &[(&str, Target)]) {
    for (name, target) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(name);
        let inputs = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = inputs.map(|entry| entry.expect("the corpus can be listed").path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{name} has no corpus: run `just fuzz`");
        for path in paths {
            let input = fs::read(&path).expect("an input can be read");
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                panic!("{name} does not survive {}", path.display());
            }
        }
    }
}
