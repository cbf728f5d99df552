//! Whole nodes in one process: openraft, gossip and HTTP as they are shipped, on a network, a clock and disks that follow from a
//! seed.
//!
//! ```text
//! just simulate-stack            # twenty seeds, each run twice
//! just simulate-stack 200        # as many as wanted
//! just simulate-stack-run 7 --trace trace.txt
//! ```
//! [`run`] is one run in one process: what the C library says of time and chance is replaced for the whole process, and generators
//! that were seeded once stay seeded. [`seeds`] starts two processes for each seed and compares the hashes of their traces,
//! which hold every packet and every line that a node logs.
//!
//! The pure models of gossip and of the catalogue are simulated elsewhere, faster and at larger sizes; here is what lies
//! between them: transports, timers, tasks, start-up, shutdown and the wiring of a node.

#[cfg(rollcall_simulation)]
mod client;
#[cfg(rollcall_simulation)]
mod clocks;
#[cfg(rollcall_simulation)]
mod faults;
#[cfg(rollcall_simulation)]
mod history;
#[cfg(rollcall_simulation)]
mod judge;
#[cfg(rollcall_simulation)]
mod logs;
#[cfg(rollcall_simulation)]
mod run;
#[cfg(rollcall_simulation)]
mod seeds;
#[cfg(rollcall_simulation)]
mod trace;
#[cfg(rollcall_simulation)]
mod workload;

use std::process::ExitCode;

#[cfg(not(rollcall_simulation))]
#[expect(clippy::print_stderr, reason = "a program for the command line")]
fn main() -> ExitCode {
    eprintln!(
        "this build has no simulated network: use `just simulate-stack`, which builds with --cfg rollcall_simulation"
    );
    ExitCode::from(2)
}

#[cfg(rollcall_simulation)]
fn main() -> ExitCode {
    seeds::main()
}
