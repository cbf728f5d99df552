//! Three ZooKeeper servers of the Debian package, on a Java machine with a fixed heap.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Leadership, NODES, Setup};
use crate::client::zookeeper::{Session, server_report};
use crate::process::Spec;

/// Server k has clients on `ports[k]`, followers on `ports[NODES + k]`, elections on `ports[2 * NODES + k]`.
pub(super) fn specs(setup: &Setup, folder: &Path, ports: &[u16]) -> Result<Vec<Spec>> {
    (0..NODES).map(|index| spec(setup, folder, ports, index)).collect()
}

fn spec(setup: &Setup, folder: &Path, ports: &[u16], index: usize) -> Result<Spec> {
    let data = folder.join(format!("n{index}"));
    fs::create_dir(&data)?;
    fs::write(data.join("myid"), format!("{}\n", index + 1))?;
    let mut config = format!(
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPortAddress=127.0.0.1\nclientPort={}\n\
         maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\n",
        data.display(),
        ports[index]
    );
    for server in 0..NODES {
        let (follower, election) = (ports[NODES + server], ports[2 * NODES + server]);
        writeln!(config, "server.{}=127.0.0.1:{follower}:{election}", server + 1)?;
    }
    let file = folder.join(format!("n{index}.cfg"));
    fs::write(&file, config)?;
    let jars = setup.zookeeper_jar.display();
    Ok(Spec {
        program: setup.java.clone(),
        arguments: vec![
            "-Xms256m".to_owned(),
            "-Xmx512m".to_owned(),
            "-cp".to_owned(),
            format!("{}:{jars}", folder.display()),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned(),
            file.display().to_string(),
        ],
        log: folder.join(format!("n{index}.log")),
    })
}

/// A server opens sessions once it follows or leads.
pub(super) async fn is_ready(address: SocketAddr) -> Result<bool> {
    Session::connect(address).await?;
    Ok(true)
}

/// The term is the epoch, the upper half of the zxid.
pub(super) async fn leadership(address: SocketAddr) -> Result<Leadership> {
    let report = server_report(address).await?;
    let field = |name: &str| report.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let zxid = field("Zxid: 0x").context("no zxid")?;
    let term = u64::from_str_radix(zxid, 16)? >> 32;
    Ok(Leadership { term, is_leader: field("Mode:") == Some("leader") })
}
