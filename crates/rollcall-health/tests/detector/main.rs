//! Tests of the failure detector through its public face.
//!
//! - `golden`: stories in `tests/scripts/detector-*.txt`, each a text file of what happens around one detector and what it does.
//! - `formats`: the bytes of messages and the text of evidence.
//! - `properties`: of any bytes, and of any sequence of inputs.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its values should fail there")]

mod formats;
mod golden;
mod properties;
#[path = "../stories/mod.rs"]
mod stories;
mod story;
