//! The targets of `rollcall-gossip`.
#![no_main]

rollcall_fuzz::fuzz!(rollcall_gossip::fuzz::TARGETS);
