//! Tests of the forecast through its public face.
//!
//! - `golden`: stories in `tests/scripts/forecast-*.txt`, each a text file of what is measured and what is then told.
//! - `edges`: samples, clocks and options that should not be.
//! - `properties`: of any series, against slow references.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its values should fail there")]

mod edges;
mod golden;
mod properties;
mod reference;
mod story;
