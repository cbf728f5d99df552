//! Tests of digests through the crate's public face.
//!
//! - `golden`: stories in `tests/scripts/digest-*.txt`, each a text file of what observers see and what a reader then reads.
//! - `properties`: of any text, any order of arrival, any sequence of observations.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its values should fail there")]

mod golden;
mod properties;
#[path = "../stories/mod.rs"]
mod stories;
mod story;
