//! Coverage-guided fuzzing of everything that decodes bytes from outside.
//!
//! What is promised about such bytes stands in the crates that read them, as targets in their `fuzz` modules: so the kept corpora
//! (`corpus/`) are replayed by `cargo test` without a fuzzer. Here libFuzzer calls them: a binary for each of those crates, so
//! that no input pays for the counters of code that it cannot reach, and `ROLLCALL_FUZZ_TARGET` says which target. `run.sh` builds
//! and runs them all, on a stable compiler; docs/testing.md has its figures.
//!
//! **Memory** is bounded here for all targets: an input that makes its target hold more than its share at once is a finding.
//!
//! Limits: no sanitizers, which stable compilers do not have; the code under test is safe Rust, but for its dependencies.

/// What a target may hold at once, bytes, besides 64 times the input. A list is decoded with room for what it claims, up to 1 MiB.
const BYTES_MAX: u64 = 4 << 20;
/// What a target may hold at once for each byte of its input.
const BYTES_PER_BYTE: u64 = 64;

/// A promise about bytes, that panics when it is broken.
pub type Target = fn(&[u8]);

/// The target that the environment asks for.
///
/// # Panics
/// When it asks for none of these.
pub fn chosen(targets: &[(&str, Target)]) -> Target {
    let wanted = std::env::var("ROLLCALL_FUZZ_TARGET").unwrap_or_default();
    let found = targets.iter().find(|(name, _)| *name == wanted);
    let Some((_, target)) = found else {
        let names: Vec<_> = targets.iter().map(|(name, _)| *name).collect();
        panic!("ROLLCALL_FUZZ_TARGET is {wanted:?}, and must be one of {}", names.join(" "));
    };
    *target
}

/// Throws one input at a target.
///
/// # Panics
/// When a promise is broken, or the target held too much at once.
pub fn throw(target: Target, input: &[u8]) {
    let held = allocation_counter::measure(|| target(input)).bytes_max;
    let allowed = BYTES_MAX + BYTES_PER_BYTE * input.len() as u64;
    assert!(held <= allowed, "{held} bytes held at once for an input of {} bytes", input.len());
}

/// The `main` of a binary that fuzzes these targets.
#[macro_export]
macro_rules! fuzz {
    ($targets:expr) => {
        static TARGET: std::sync::LazyLock<$crate::Target> = std::sync::LazyLock::new(|| $crate::chosen($targets));
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::throw(*TARGET, input));
    };
}
