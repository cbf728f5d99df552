//! The binary as scripts and people meet it: help texts, answers, messages, exit codes.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

mod binary;
mod dev;
mod exit_codes;
mod help;
mod lock;
