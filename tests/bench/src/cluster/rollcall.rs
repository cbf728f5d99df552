//! `rollcall node` processes that form a cluster.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Leadership;
use crate::client::http::HttpConnection;
use crate::process::Spec;

/// Bytes of the cluster secret.
const SECRET_BYTES: usize = 32;

/// Node k has HTTP on `ports[k]`, its peers' port on `ports[nodes + k]`, and, when there are that many ports, its gossip port
/// on `ports[2 * nodes + k]`.
pub(crate) fn specs(program: &Path, folder: &Path, nodes: usize, ports: &[u16]) -> Result<Vec<Spec>> {
    let secret = folder.join("secret");
    write_secret(&secret)?;
    let address = |port: &u16| format!("127.0.0.1:{port}");
    let peer = |index: usize| address(&ports[nodes + index]);
    let spec = |index: usize| {
        let others: Vec<String> = (0..nodes).filter(|other| *other != index).map(peer).collect();
        let mut flags = vec![
            ("--name", name(index)),
            ("--data-dir", folder.join(format!("n{index}")).display().to_string()),
            ("--http", address(&ports[index])),
            ("--peer", peer(index)),
            ("--bootstrap-expect", nodes.to_string()),
            ("--secret-file", secret.display().to_string()),
        ];
        flags.extend((nodes > 1).then(|| ("--join", others.join(","))));
        flags.extend(ports.get(2 * nodes + index).map(|port| ("--gossip", address(port))));
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        Spec {
            program: program.to_owned(),
            arguments: std::iter::once("node".to_owned()).chain(flags).collect(),
            log: folder.join(format!("n{index}.log")),
        }
    };
    Ok((0..nodes).map(spec).collect())
}

/// Name of node `index`.
pub(crate) fn name(index: usize) -> String {
    format!("n{}", index + 1)
}

fn write_secret(path: &Path) -> Result<()> {
    let mut bytes = [0; SECRET_BYTES];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}").with_context(|| format!("cannot write {}", path.display()))
}

/// `/readyz` is 200 when the node knows a leader and has caught up.
pub(crate) async fn is_ready(address: SocketAddr) -> Result<bool> {
    Ok(HttpConnection::connect(address).await?.exchange("GET", "/readyz", b"").await?.status == 200)
}

pub(super) async fn leadership(address: SocketAddr) -> Result<Leadership> {
    let mut connection = HttpConnection::connect(address).await?;
    let status: Value = serde_json::from_slice(connection.exchange_ok("GET", "/v1/cluster/raft", b"").await?)?;
    Ok(Leadership { term: status["term"].as_u64().context("no term")?, is_leader: status["role"] == "leader" })
}
