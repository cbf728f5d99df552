//! The targets of `rollcall-raft`.
#![no_main]

rollcall_fuzz::fuzz!(rollcall_raft::fuzz::TARGETS);
