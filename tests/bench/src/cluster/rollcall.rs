//! Three `rollcall node` processes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Leadership, NODES, Setup};
use crate::client::http::HttpConnection;
use crate::process::Spec;

/// Bytes of the cluster secret.
const SECRET_BYTES: usize = 32;

/// Node k has HTTP on `ports[k]` and its peers' port on `ports[NODES + k]`.
pub(super) fn specs(setup: &Setup, folder: &Path, ports: &[u16]) -> Result<Vec<Spec>> {
    let program = setup.rollcall.clone().context("the rollcall binary is not known")?;
    let secret = folder.join("secret");
    write_secret(&secret)?;
    let peer = |index: usize| format!("127.0.0.1:{}", ports[NODES + index]);
    let spec = |index: usize| {
        let others: Vec<String> = (0..NODES).filter(|other| *other != index).map(peer).collect();
        let flags = [
            ("--name", format!("n{}", index + 1)),
            ("--data-dir", folder.join(format!("n{index}")).display().to_string()),
            ("--http", format!("127.0.0.1:{}", ports[index])),
            ("--peer", peer(index)),
            ("--join", others.join(",")),
            ("--bootstrap-expect", NODES.to_string()),
            ("--secret-file", secret.display().to_string()),
        ];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        Spec {
            program: program.clone(),
            arguments: std::iter::once("node".to_owned()).chain(flags).collect(),
            log: folder.join(format!("n{index}.log")),
        }
    };
    Ok((0..NODES).map(spec).collect())
}

fn write_secret(path: &Path) -> Result<()> {
    let mut bytes = [0; SECRET_BYTES];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}").with_context(|| format!("cannot write {}", path.display()))
}

/// `/readyz` is 200 when the node knows a leader and has caught up.
pub(super) async fn is_ready(address: SocketAddr) -> Result<bool> {
    Ok(HttpConnection::connect(address).await?.exchange("GET", "/readyz", b"").await?.status == 200)
}

pub(super) async fn leadership(address: SocketAddr) -> Result<Leadership> {
    let mut connection = HttpConnection::connect(address).await?;
    let status: Value = serde_json::from_slice(connection.exchange_ok("GET", "/v1/cluster/raft", b"").await?)?;
    Ok(Leadership { term: status["term"].as_u64().context("no term")?, is_leader: status["role"] == "leader" })
}
