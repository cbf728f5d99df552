//! The stories of checks, agreements, leases and the journal in `tests/scripts/`.

use crate::stories::check_all;
use crate::{agreement_story, check_story, journal_story, lease_story};

/// The lines of a script that are commands.
fn commands(script: &str) -> impl Iterator<Item = &str> {
    script.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn every_story_of_a_check_ends_as_it_is_written() {
    check_all("check-", |script| check_story::tell(&mut commands(script)));
}

#[test]
fn every_story_of_an_agreement_ends_as_it_is_written() {
    check_all("agreement-", |script| agreement_story::tell(&mut commands(script)));
}

#[test]
fn every_story_of_a_lease_ends_as_it_is_written() {
    check_all("lease-", |script| lease_story::tell(&mut commands(script)));
}

#[test]
fn every_story_of_the_journal_ends_as_it_is_written() {
    check_all("journal-", |script| journal_story::tell(&mut commands(script)));
}
