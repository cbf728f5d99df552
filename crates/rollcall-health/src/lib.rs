//! What Rollcall observes and what it concludes from that: which nodes are alive, which instances are healthy.
//!
//! Everything here is pure: messages, readings and `now` go in; messages, verdicts and digests come out. The shells
//! that own sockets and timers are `rollcall-gossip` (nodes) and `rollcall-server` (probes).
