//! Whole screens, held beside the code in `snapshots/`, so that a change of a view is seen in review.
//!
//! `INSTA_UPDATE=always cargo test -p rollcall-tui` writes them anew.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod bad_input;
mod keys;
mod story;
mod told;
mod views;
