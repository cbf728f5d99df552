//! Three etcd servers with their default timers: heartbeat 100 ms, election 1000 ms. The write-ahead log is fsync'd.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Leadership, NODES, Setup};
use crate::client::etcd::{StatusRequest, StatusResponse, path};
use crate::client::grpc::Channel;
use crate::client::http::HttpConnection;
use crate::process::Spec;

/// Node k has clients on `ports[k]` and peers on `ports[NODES + k]`.
pub(super) fn specs(setup: &Setup, folder: &Path, ports: &[u16]) -> Vec<Spec> {
    let client = |index: usize| format!("http://127.0.0.1:{}", ports[index]);
    let peer = |index: usize| format!("http://127.0.0.1:{}", ports[NODES + index]);
    let initial: Vec<String> = (0..NODES).map(|index| format!("n{index}={}", peer(index))).collect();
    let spec = |index: usize| {
        let flags = [
            ("--name", format!("n{index}")),
            ("--data-dir", folder.join(format!("n{index}")).display().to_string()),
            ("--listen-client-urls", client(index)),
            ("--advertise-client-urls", client(index)),
            ("--listen-peer-urls", peer(index)),
            ("--initial-advertise-peer-urls", peer(index)),
            ("--initial-cluster", initial.join(",")),
            ("--initial-cluster-state", "new".to_owned()),
            ("--log-level", "error".to_owned()),
        ];
        Spec {
            program: setup.etcd.clone(),
            arguments: flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect(),
            log: folder.join(format!("n{index}.log")),
        }
    };
    (0..NODES).map(spec).collect()
}

/// `/health` is true when the node knows a leader and a proposal goes through.
pub(super) async fn is_ready(address: SocketAddr) -> Result<bool> {
    let mut connection = HttpConnection::connect(address).await?;
    let health: Value = serde_json::from_slice(connection.exchange_ok("GET", "/health", b"").await?)?;
    Ok(health["health"] == "true")
}

pub(super) async fn leadership(address: SocketAddr) -> Result<Leadership> {
    let channel = Channel::connect(address).await?;
    let status: StatusResponse = channel.call(path::STATUS, &StatusRequest {}).await?;
    let member = status.header.context("no header")?.member_id;
    Ok(Leadership { term: status.raft_term, is_leader: status.leader == member })
}
