//! The targets of `rollcall-server`.
#![no_main]

rollcall_fuzz::fuzz!(rollcall_server::fuzz::TARGETS);
