//! Tests of everything between the outcome of a probe and a log entry, through the crate's public face.
//!
//! - `golden`: stories in `tests/scripts/`, each a text file of what happens and what is made of it. `check-*` are about one
//!   instance at one observer, `agreement-*` about all its observers, `lease-*` about heartbeats, `journal-*` about what the
//!   leader writes and reaps.
//! - `assignment`, `properties`: of any membership, any outcomes, any order.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its values should fail there")]

mod agreement_story;
mod assignment;
mod check_story;
mod golden;
mod journal_story;
mod lease_story;
mod properties;
#[path = "../stories/mod.rs"]
mod stories;
mod words;
