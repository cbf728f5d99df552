//! What `rollcall dev` is going to do, decided before anything is started: names, ports, folders, command lines.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::terminal::shell_word;

/// Most nodes of a development cluster: ports of node k are `base + 10(k−1)`, and the demo services begin at `base + 100`.
pub(crate) const NODES_MAX: u16 = 9;
/// From the base port to the ports of the demo services.
const DEMO_OFFSET: u16 = 100;
/// From the base port to the ports of DNS: with the usual base the first is 8600, as with Consul.
const DNS_OFFSET: u16 = 1_200;
/// From the base port to the ports of Consul's API: with the usual base the first is 8500, as with Consul.
const CONSUL_OFFSET: u16 = 1_100;
/// Time that one point of a trend covers. Trends of 60 points are then seen, and looked ahead, within a minute: so a demo service
/// is predicted to fail soon after it begins to degrade. Not shorter, since it is probed once a second.
const FORECAST_BUCKET: &str = "1s";
/// Zones to spread nodes over, as the demo services are.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// One node to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodePlan {
    /// `node-1` and so on.
    pub(crate) name: String,
    /// Its HTTP API.
    pub(crate) http: SocketAddr,
    /// Where the other nodes connect.
    pub(crate) peer: SocketAddr,
    /// Where it gossips.
    pub(crate) gossip: SocketAddr,
    /// Where it answers DNS.
    pub(crate) dns: SocketAddr,
    /// Where it speaks Consul's HTTP API.
    pub(crate) consul: SocketAddr,
    /// Its data and its log file.
    pub(crate) folder: PathBuf,
    zone: &'static str,
}

impl NodePlan {
    /// Base URL of its API.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Where its log lines go.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.join("node.log")
    }
}

/// The whole development cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Holds everything, and nothing else.
    pub(crate) folder: PathBuf,
    /// The nodes, in order of their ports.
    pub(crate) nodes: Vec<NodePlan>,
    /// The first port of the demo services.
    pub(crate) demo_port_base: u16,
}

impl Plan {
    /// Decides names, ports and folders.
    ///
    /// # Errors
    /// When there are no ports left above `base_port`.
    pub(crate) fn new(folder: &Path, nodes: u16, base_port: u16) -> Result<Self, Failure> {
        let out_of_ports = || {
            Failure::usage(format!("--base-port {base_port} leaves no room for the nodes and the demo services"))
                .hint("choose a base port of at most 64000")
        };
        // Ports of DNS are the last that may be used.
        base_port.checked_add(DNS_OFFSET + DEMO_OFFSET).ok_or_else(out_of_ports)?;
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let nodes = (0..nodes)
            .map(|index| NodePlan {
                name: format!("node-{}", index + 1),
                http: loopback(base_port + 10 * index),
                peer: loopback(base_port + 10 * index + 1),
                gossip: loopback(base_port + 10 * index + 2),
                dns: loopback(base_port + DNS_OFFSET + 10 * index),
                consul: loopback(base_port + CONSUL_OFFSET + 10 * index),
                folder: folder.join(format!("node-{}", index + 1)),
                zone: ZONES[usize::from(index) % ZONES.len()],
            })
            .collect();
        Ok(Self { folder: folder.to_owned(), nodes, demo_port_base: base_port + DEMO_OFFSET })
    }

    /// Where the secret of the cluster is kept.
    pub(crate) fn secret_file(&self) -> PathBuf {
        self.folder.join("secret")
    }

    /// Where the key of gossip is kept.
    pub(crate) fn gossip_key_file(&self) -> PathBuf {
        self.folder.join("gossip-key")
    }

    /// Base URLs of all nodes, the given one first.
    pub(crate) fn urls_from(&self, first: usize) -> Vec<String> {
        (0..self.nodes.len()).map(|step| self.nodes[(first + step) % self.nodes.len()].url()).collect()
    }

    /// The arguments that start a node, from a shell as from here.
    pub(crate) fn node_arguments(&self, node: &NodePlan) -> Vec<OsString> {
        let others: Vec<String> =
            self.nodes.iter().filter(|other| other.name != node.name).map(|other| other.peer.to_string()).collect();
        let mut arguments: Vec<OsString> = vec!["node".into(), "--name".into(), node.name.clone().into()];
        let mut put = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
        put("--data-dir", node.folder.clone().into());
        put("--http", node.http.to_string().into());
        put("--peer", node.peer.to_string().into());
        put("--gossip", node.gossip.to_string().into());
        put("--dns", node.dns.to_string().into());
        put("--consul", node.consul.to_string().into());
        put("--zone", node.zone.into());
        put("--secret-file", self.secret_file().into());
        put("--gossip-key-file", self.gossip_key_file().into());
        put("--forecast-bucket", FORECAST_BUCKET.into());
        put("--bootstrap-expect", self.nodes.len().to_string().into());
        if !others.is_empty() {
            put("--join", others.join(",").into());
        }
        arguments
    }

    /// Makes sure that every port is free before anything is started.
    ///
    /// # Errors
    /// Names the port, who would use it, and what to do.
    pub(crate) fn check_ports(&self, demo_ports: &[(String, u16)]) -> Result<(), Failure> {
        for node in &self.nodes {
            check_port(node.http, &format!("the HTTP API of {}", node.name))?;
            check_port(node.peer, &format!("the peer port of {}", node.name))?;
            check_port(node.gossip, &format!("gossip of {}", node.name))?;
            check_port(node.dns, &format!("DNS of {}", node.name))?;
            check_port(node.consul, &format!("Consul's API of {}", node.name))?;
        }
        for (id, port) in demo_ports {
            check_port(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), &format!("the demo service {id}"))?;
        }
        Ok(())
    }
}

fn check_port(address: SocketAddr, purpose: &str) -> Result<(), Failure> {
    let error = match TcpListener::bind(address) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let port = address.port();
    let failure = Failure::failed(format!("port {port}, for {purpose}, cannot be used")).because(&error);
    Err(match error.kind() {
        io::ErrorKind::AddrInUse => failure.hint(format!(
            "another `rollcall dev` may be running; find it with `ss -ltnp 'sport = :{port}'`, or move with --base-port"
        )),
        io::ErrorKind::PermissionDenied => failure.hint("choose a --base-port above 1024"),
        _ => failure,
    })
}

/// A command line that a person can copy into a POSIX shell.
pub(crate) fn shell_line(program: &Path, arguments: &[OsString]) -> String {
    let words = std::iter::once(program.as_os_str()).chain(arguments.iter().map(OsString::as_os_str));
    words.map(|word| shell_word(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_node_k_are_ten_apart() {
        let plan = Plan::new(Path::new("d"), 3, 7400).unwrap();
        let ports: Vec<_> = plan.nodes.iter().map(|node| (node.http.port(), node.peer.port())).collect();
        assert_eq!(ports, [(7400, 7401), (7410, 7411), (7420, 7421)]);
        assert_eq!(plan.demo_port_base, 7500);
    }

    #[test]
    fn the_command_line_of_a_node_can_be_copied() {
        let plan = Plan::new(Path::new("my dev"), 2, 7400).unwrap();
        assert_eq!(
            shell_line(Path::new("/usr/bin/rollcall"), &plan.node_arguments(&plan.nodes[1])),
            "/usr/bin/rollcall node --name node-2 --data-dir 'my dev/node-2' --http 127.0.0.1:7410 \
             --peer 127.0.0.1:7411 --gossip 127.0.0.1:7412 --dns 127.0.0.1:8610 --consul 127.0.0.1:8510 --zone b \
             --secret-file 'my dev/secret' --gossip-key-file 'my dev/gossip-key' --forecast-bucket 1s --bootstrap-expect 2 --join 127.0.0.1:7401"
        );
    }

    #[test]
    fn a_cluster_of_one_joins_nobody() {
        let plan = Plan::new(Path::new("d"), 1, 7400).unwrap();
        assert!(!plan.node_arguments(&plan.nodes[0]).contains(&"--join".into()));
    }

    #[test]
    fn a_base_port_without_room_is_refused() {
        assert!(Plan::new(Path::new("d"), 9, 65_400).is_err());
    }

    #[test]
    fn a_used_port_is_named_with_its_purpose() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let failure = check_port(address, "the HTTP API of node-1").unwrap_err();
        let text = failure.render(crate::terminal::Paint::plain());
        assert!(text.contains(&format!("port {}, for the HTTP API of node-1,", address.port())), "{text}");
        assert!(text.contains("--base-port"), "{text}");
    }
}
