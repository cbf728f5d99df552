//! What happened in a run: operations, faults and observations, in one file of JSON lines.
//!
//! The file is the only thing that checkers see, so a run can be judged again by a better checker. Every line is an
//! [`Event`] with a time in nanoseconds of one monotonic clock, that of the harness; clocks of other machines are never
//! compared. A call is stamped before its first byte is sent, a return after its answer is read.
//!
//! An operation ends in one of three ways: `ok` (it happened, and this is the answer), `fail` (it certainly did not
//! happen), `info` (nobody knows, and it may still happen later). A history that breaks off counts what was under way as
//! `info`.

mod event;
mod file;
mod op;
mod read;

pub(crate) use event::{Event, FaultPhase, LogEntry, RunInfo, Seen};
pub(crate) use file::{Recorder, read_file};
pub(crate) use op::{Act, Again, Answer, Call, Expect, Held, OpId, Outcome, Thing};
pub(crate) use read::{Fault, History, Log, Operation, Watch};
