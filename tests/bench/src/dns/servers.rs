//! The servers: how each is started, and told the same five addresses.

use std::fmt;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

use super::NAME;
use crate::client::http::HttpConnection;
use crate::cluster::rollcall::is_ready;
use crate::cluster::{free_ports, local, tail};
use crate::process::{Process, Spec};

/// The core of the servers, and that of dnsperf.
const SERVER_CORE: &str = "0";
pub(super) const CLIENT_CORE: &str = "1";
/// Addresses of the service.
const ADDRESSES: u8 = 5;
/// Longest wait for a server to answer.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// Pause between two looks, and longest wait for an answer to one.
const READY_POLL: Duration = Duration::from_millis(100);

/// A system under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Rollcall,
    Dnsmasq,
    Nsd,
    Trivial,
}

impl System {
    pub(super) const ALL: [Self; 4] = [Self::Rollcall, Self::Dnsmasq, Self::Nsd, Self::Trivial];
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rollcall => "Rollcall",
            Self::Dnsmasq => "dnsmasq",
            Self::Nsd => "NSD",
            Self::Trivial => "trivial responder",
        })
    }
}

/// A running server.
pub(super) struct Server {
    pub(super) system: System,
    port: u16,
    process: Process,
}

impl Server {
    /// Starts it on a free port and waits until it answers.
    pub(super) async fn start(system: System, rollcall: &Path, folder: &Path) -> Result<Self> {
        let ports = free_ports(4)?;
        let log = folder.join(format!("{system}.log"));
        let (program, arguments) = match system {
            System::Rollcall => (rollcall.to_owned(), node_arguments(&ports, folder)),
            System::Dnsmasq => (PathBuf::from("dnsmasq"), dnsmasq_arguments(ports[0])),
            System::Nsd => (PathBuf::from("nsd"), nsd_arguments(ports[0], folder)?),
            System::Trivial => {
                let arguments = ["dns-responder", "--responder-port", &ports[0].to_string()].map(str::to_owned);
                (std::env::current_exe()?, arguments.into())
            }
        };
        let pinned = ["-c".to_owned(), SERVER_CORE.to_owned(), program.display().to_string()];
        // taskset becomes the program, so the process id is that of the server.
        let spec = Spec {
            program: "taskset".into(),
            arguments: pinned.into_iter().chain(arguments).collect(),
            log: log.clone(),
        };
        let server = Self { system, port: ports[0], process: Process::spawn(&spec)? };
        if system == System::Rollcall {
            register(ports[1]).await.with_context(|| tail(&log))?;
        }
        server.wait_answer().await.with_context(|| tail(&log))?;
        Ok(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    async fn wait_answer(&self) -> Result<()> {
        let socket = tokio::net::UdpSocket::bind(local(0)).await?;
        socket.connect(local(self.port)).await?;
        let deadline = Instant::now() + READY_DEADLINE;
        let mut answer = [0; 512];
        loop {
            ensure!(Instant::now() < deadline, "{} does not answer", self.system);
            // Refused while nobody listens there yet.
            let sent = socket.send(&query()).await;
            if sent.is_ok()
                && let Ok(Ok(length)) = tokio::time::timeout(READY_POLL, socket.recv(&mut answer)).await
                && length > 12
                && answer[3] & 0x0f == 0
                && u16::from_be_bytes([answer[6], answer[7]]) >= 1
            {
                return Ok(());
            }
            sleep(READY_POLL).await;
        }
    }
}

fn node_arguments(ports: &[u16], folder: &Path) -> Vec<String> {
    let mut arguments = vec!["node".to_owned(), "--bootstrap-expect=1".to_owned(), "--name=n1".to_owned()];
    let flags = [("--dns", ports[0]), ("--http", ports[1]), ("--peer", ports[2]), ("--gossip", ports[3])];
    arguments.extend(flags.map(|(flag, port)| format!("{flag}=127.0.0.1:{port}")));
    arguments.push(format!("--data-dir={}", folder.join("node").display()));
    arguments
}

fn addresses() -> impl Iterator<Item = String> {
    (1..=ADDRESSES).map(|last| format!("10.0.0.{last}"))
}

async fn register(http: u16) -> Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    while !is_ready(local(http)).await.unwrap_or(false) {
        ensure!(Instant::now() < deadline, "the node does not get ready");
        sleep(READY_POLL).await;
    }
    let mut connection = HttpConnection::connect(local(http)).await?;
    for (index, address) in addresses().enumerate() {
        let body = format!(r#"{{"endpoints":[{{"protocol":"http","host":"{address}","port":80}}]}}"#);
        connection
            .exchange_ok("PUT", &format!("/v1/services/orders/instances/orders-{index}"), body.as_bytes())
            .await?;
    }
    Ok(())
}

fn dnsmasq_arguments(port: u16) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--pid-file",
        "--user=",
        "--bind-interfaces",
        "--listen-address=127.0.0.1",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(format!("--port={port}"));
    arguments.extend(addresses().map(|address| format!("--host-record={NAME},{address}")));
    arguments
}

fn nsd_arguments(port: u16, folder: &Path) -> Result<Vec<String>> {
    let zone = NAME.rsplit('.').next().unwrap_or(NAME);
    let mut records =
        format!("$ORIGIN {zone}.\n$TTL 0\n@ SOA n1 hostmaster 1 3600 600 86400 0\n@ NS n1\nn1 A 127.0.0.1\n");
    records.extend(addresses().map(|address| format!("{NAME}. A {address}\n")));
    fs::write(folder.join("zone"), records)?;
    let place = folder.display();
    let configuration = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{place}\"\n  \
         database: \"\"\n  pidfile: \"{place}/nsd.pid\"\n  xfrdfile: \"{place}/xfrd\"\n  zonelistfile: \"{place}/zones\"\n  \
         xfrdir: \"{place}\"\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\nzone:\n  name: {zone}\n  zonefile: zone\n"
    );
    let file = folder.join("nsd.conf");
    fs::write(&file, configuration)?;
    Ok(vec!["-d".to_owned(), "-c".to_owned(), file.display().to_string()])
}

/// The question of all rounds, as bytes.
fn query() -> Vec<u8> {
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in NAME.split('.') {
        query.push(u8::try_from(label.len()).unwrap_or(0));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

/// The trivial responder: turns every query around with one address behind it, for ever.
pub(crate) fn respond(port: u16) -> Result<()> {
    /// A pointer to the name in the question, type A, class IN, TTL 0, four bytes of address.
    const RECORD: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 10, 0, 0, 1];
    let socket = UdpSocket::bind(local(port))?;
    let mut packet = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut packet)?;
        if let Some(answer) = packet.get_mut(..length + RECORD.len()).filter(|_| length >= 12) {
            answer[2] |= 0x84;
            answer[7] = 1;
            // What stands behind the question (EDNS) is overwritten or left, and not counted.
            answer[10..12].fill(0);
            answer[length..].copy_from_slice(&RECORD);
            socket.send_to(answer, from)?;
        }
    }
}
