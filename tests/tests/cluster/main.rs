//! Facts about a running cluster, shown on real processes.
//!
//! One binary for all of them: they share the harness and, where they leave it as they found it, one cluster.

mod answers;
mod bad_input;
mod bootstrap;
mod catching_up;
mod choosing;
mod clients;
mod compaction;
mod consul_agents;
mod consul_calls;
mod consul_import;
mod consul_keys;
mod consul_reading;
mod consul_writing;
mod dashboard;
mod disk;
mod dns;
mod documents;
mod failing_disk;
mod failover;
mod feedback;
mod gossip;
mod graph;
mod leader_faults;
mod lifecycle;
mod locking;
mod logging;
mod membership;
mod mounts;
mod openapi;
mod peer_port;
mod prometheus;
mod reading;
mod registering;
mod restarting;
mod scraping;
mod selection;
mod slow_clients;
mod staleness;
mod tracing;
mod watching;
