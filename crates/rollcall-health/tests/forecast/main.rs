//! Tests of the forecast through its public face.
//!
//! - `document`: the worked example of `docs/health.md`.
//! - `golden`: stories in `tests/scripts/forecast-*.txt`, each a text file of what is measured and what is then told.
//! - `edges`: samples, clocks and options that should not be.
//! - `format`: the text in which forecasts travel.
//! - `prospect`: several quantities of one subject.
//! - `properties`: of any series, against slow references.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its values should fail there")]

mod document;
mod edges;
mod format;
mod golden;
mod properties;
mod prospect;
mod reference;
#[path = "../stories/mod.rs"]
mod stories;
mod story;
