//! Tests of the catalogue through its public face.
//!
//! - `golden`: stories in `tests/scripts/`, each a text file of commands and what they must answer.
//! - `replicas`: properties of random logs, against a plain reference model.
//! - `import`: streams that no catalogue wrote are refused.
//! - `limits`: the bounds that a story would be too long for.
//! - `memory`: what an instance costs.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its values should fail there")]

mod given;
mod golden;
mod import;
mod limits;
mod memory;
mod model;
mod model_locks;
mod replicas;
mod script;
mod story;
mod traffic;
