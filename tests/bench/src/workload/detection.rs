//! Failure detection in virtual time: goals beside figures. No processes, no sockets, so nothing else on the machine matters.
//!
//! Goals: a crash is seen by all within 1.8 s (p50) and 2.5 s (p99); in 20 node-hours per size and loss, and by members that
//! stalled, nobody healthy is declared dead; a flapping member changes 5 times in 2 min at most; a mended split heals in 1.5 s;
//! a link broken in one direction kills nobody and is reported in 5 s.

use rollcall_simulation::detection::{Report, Size, measure};

/// Measures clusters of these sizes, one after the other.
pub(crate) fn run(nodes: &[usize]) -> Report {
    let size = Size { nodes: nodes.to_vec(), ..Size::full() };
    measure(&size, |next| crate::progress(&format!("  detection: {next}")))
}
