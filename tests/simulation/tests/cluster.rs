//! Clusters of pure parts: some seeds, and bugs on purpose, each of which has to be found.

use rollcall_simulation::cluster::{Options, Planted, run};

/// Seeds in which a bug on purpose has to show.
const SEEDS: u64 = 20;

#[track_caller]
fn hold(first: u64, seeds: u64) {
    for seed in first..first + seeds {
        let found = run(seed, &Options::default());
        assert_eq!(found.violation, None, "seed {seed}: {:#?}", found.schedule);
    }
}

#[test]
fn twenty_five_seeds_hold() {
    hold(1, 25);
}

#[test]
fn twenty_five_other_seeds_hold() {
    hold(1_001, 25);
}

#[test]
fn a_seed_comes_to_the_same_again() {
    let options = Options { keeps_lines: true, ..Options::default() };
    for seed in 1..4 {
        let (once, again) = (run(seed, &options), run(seed, &options));
        assert!(once.lines.len() > 1_000);
        assert_eq!(once, again, "seed {seed}");
    }
    assert_ne!(run(1, &options).hash, run(2, &options).hash);
}

#[track_caller]
fn found(planted: Planted, invariant: &str) {
    let options = Options { planted: Some(planted), ..Options::default() };
    let violation = (1..=SEEDS).find_map(|seed| run(seed, &options).violation);
    let violation = violation.unwrap_or_else(|| panic!("{planted:?} is not found in {SEEDS} seeds"));
    assert_eq!(violation.invariant, invariant, "{planted:?}: {violation:#?}");
}

#[test]
fn a_skipped_entry_is_found() {
    found(Planted::SkippedEntry, "nodes at the same revision hold the same");
}

#[test]
fn a_torn_snapshot_is_found() {
    found(Planted::TornSnapshot, "a snapshot is read back");
}

#[test]
fn a_retry_that_is_applied_again_is_found() {
    found(Planted::RepeatedRetry, "what was acknowledged stays, and what was asked twice happens once");
}

#[test]
fn a_lost_write_is_found() {
    found(Planted::LostWrite, "what was acknowledged stays, and what was asked twice happens once");
}

#[test]
fn a_wrong_answer_is_found() {
    found(Planted::WrongCatalog, "a write is answered as it should be, once");
}

#[test]
fn a_lease_that_expires_early_is_found() {
    found(Planted::EarlyExpiry, "an instance whose heartbeats arrive is not critical");
}

#[test]
fn a_lease_that_never_expires_is_found() {
    found(Planted::NoExpiry, "a silent instance is critical on all nodes in time");
}

#[test]
fn a_pick_from_an_old_index_is_found() {
    found(Planted::StaleSelection, "who is picked may be picked");
}

#[test]
fn a_node_that_stays_cut_off_is_found() {
    found(Planted::UnhealedNode, "members are held for what they are");
}

#[test]
fn a_node_that_is_down_and_held_for_alive_is_found() {
    found(Planted::UndeadNode, "members are held for what they are");
}

#[test]
fn a_node_that_drops_members_for_ever_is_found() {
    found(Planted::StuckRoster, "a healed cluster agrees on who looks at instances");
}

#[test]
fn a_journal_that_nobody_writes_is_found() {
    found(Planted::NoJournal, "the journal follows what is agreed on");
}

#[test]
fn a_cluster_that_does_not_serve_is_found() {
    found(Planted::NoLeader, "a healed cluster serves");
}

#[test]
fn a_catalog_that_says_something_else_is_found() {
    found(Planted::LostWeight, "the catalogue says what was written");
}

#[test]
fn a_run_that_depends_on_those_before_it_is_found() {
    let options = Options { planted: Some(Planted::Unseeded), ..Options::default() };
    assert_ne!(run(1, &options).hash, run(1, &options).hash);
}
