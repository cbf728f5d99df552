//! Selection through the crate's public face: shares against the formulas, explanations against answers, properties.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its values should fail there")]

mod allocations;
mod documents;
mod explaining;
mod feedback;
mod feedback_story;
mod fixture;
mod golden;
mod graph_story;
mod graphs;
mod properties;
mod select_story;
mod shares;
#[path = "../simulation/mod.rs"]
mod simulation;
#[path = "../../../rollcall-health/tests/stories/mod.rs"]
mod stories;
mod strategies;
mod tally;
