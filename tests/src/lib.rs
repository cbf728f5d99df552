//! A harness for tests that start real nodes: processes, signals, sockets and disks, nothing pretended.
//!
//! Every fact about a cluster is tested from outside, through what an operator or a client can reach: the command line,
//! the HTTP API, the peer port, signals and files. [`Cluster`] starts `rollcall node` processes on loopback with their data
//! in a temporary folder; [`Node`] kills, pauses, restarts and asks one of them; [`Load`] writes from many clients and keeps a ledger
//! of what was acknowledged; [`Watcher`] records a watch stream; [`raw`] sends bytes that no client library would send.
//!
//! - No test sleeps and hopes. [`wait_until`] polls a condition and, when its deadline passes, says what it saw last.
//! - Deadlines are for correctness and generous: they tell "never" from "slow". How long things take is measured elsewhere.
//! - A failed test prints the end of every node's log and keeps the folder.
//!
//! Limits: unix only (signals), one machine, links cut by the nodes themselves (`--fault-injection`) and not by the
//! kernel. The binary is built on demand, or named by `ROLLCALL_BIN`. `ROLLCALL_LONG=1` makes the statistical tests long.

mod binary;
mod cluster;
mod command;
mod flood;
mod http;
mod load;
mod metrics;
mod node;
mod ports;
mod python;
pub mod raw;
mod shared;
mod wait;
mod watcher;

pub use binary::binary;
pub use cluster::{Cluster, ClusterBuilder};
pub use command::{Finished, Following, follow, rollcall};
pub use flood::flood;
pub use http::{Answer, Call, Unanswered, segment};
pub use load::{Counter, Ledger, Load, Written};
pub use metrics::metric;
pub use node::{Node, NodeOptions};
pub use ports::free_port;
pub use python::{python_with, run, workspace};
pub use shared::SharedCluster;
pub use wait::{DEADLINE, Waited, is_long, note, wait_until};
pub use watcher::{Seen, Watcher};

use serde_json::{Value, json};

/// A small valid registration; `port` tells one from another.
pub fn registration(port: u16) -> Value {
    json!({"endpoints": [{"name": "http", "protocol": "http", "host": "127.0.0.1", "port": port}]})
}

/// A registration that carries `serial`, so that the write it came from can be found again.
pub fn registration_with_serial(serial: &str) -> Value {
    let mut body = registration(8080);
    body["metadata"] = json!({"serial": serial});
    body
}
