//! A network namespace per node, and a packet filter in each.
//!
//! ```text
//!   root namespace                 node's namespace              hub's namespace
//!   bridge jl<pid>c ── veth ────── client0   peer0 ── veth ───── bridge br0
//! ```
//!
//! Clients come in by one interface and other nodes by another, so that cutting nodes from each other does not cut the
//! clients. A link is cut where packets arrive: in one direction by one rule, in both by two. All rules of a node are swapped at
//! once. When the harness carries packets between nodes itself (`fabric.rs`), `peer0` is its device, and there is no hub.
//!
//! Needs root, `ip`, `nft` and `nsenter`. Names hold the pid of the harness; [`sweep`] removes those of harnesses that are
//! gone.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::command::{ask, run};
use super::fabric::{End, enter, timed};
use super::node::Addresses;
use super::{Cuts, Traffic};

const HTTP_PORT: u16 = 7400;
const CONSUL_PORT: u16 = 8500;
const PEER_PORT: u16 = 7401;
const GOSSIP_PORT: u16 = 7402;
/// The network between nodes. It exists in namespaces of this run only, so it may be the same in each run.
const PEER_NET: [u8; 3] = [10, 250, 0];
/// The last number of the harness's own address on the clients' network.
const OWN_NUMBER: u8 = 254;
/// Longest wait for a connection by which a round trip is measured.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// How names of namespaces and interfaces begin.
const PREFIX: &str = "jl";

/// The namespaces of a run. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct Namespaces {
    run: u32,
    nodes: usize,
}

impl Namespaces {
    /// Makes them all, and with `has_hub` the links between nodes, too.
    ///
    /// # Errors
    /// When a right or a program is missing; what was made until then is removed.
    pub(crate) fn create(nodes: usize, has_hub: bool) -> Result<Self> {
        let made = Self { run: std::process::id(), nodes };
        let hub = made.hub();
        let bridge = made.client_bridge();
        let net = made.client_net();
        let mut commands = vec![
            format!("netns add {hub}"),
            format!("-n {hub} link add br0 type bridge"),
            format!("-n {hub} link set br0 up"),
            format!("link add {bridge} type bridge"),
            format!("addr add {}/24 dev {bridge}", made.own_address()),
            format!("link set {bridge} up"),
        ];
        for index in 0..nodes {
            let (node, number) = (made.name(index), index + 1);
            let outer = format!("{PREFIX}{}c{number}", made.run);
            commands.extend([
                format!("netns add {node}"),
                format!("-n {node} link set lo up"),
                format!("link add {outer} type veth peer name client0 netns {node}"),
                format!("link set {outer} master {bridge} up"),
                format!("-n {node} addr add {}.{number}/24 dev client0", dotted(net)),
                format!("-n {node} link set client0 up"),
            ]);
            if !has_hub {
                continue;
            }
            commands.extend([
                format!("-n {hub} link add p{number} type veth peer name peer0 netns {node}"),
                format!("-n {hub} link set p{number} master br0 up"),
                format!("-n {node} addr add {}.{number}/24 dev peer0", dotted(PEER_NET)),
                format!("-n {node} link set peer0 up"),
            ]);
        }
        for command in commands {
            let arguments: Vec<&str> = command.split(' ').collect();
            run("ip", &arguments, "")?;
        }
        // Also shows that filters can be set, before the run relies on it.
        made.cut(&Cuts::none(nodes))?;
        Ok(made)
    }

    /// The namespace of a node.
    pub(crate) fn name(&self, index: usize) -> String {
        format!("{PREFIX}{}-n{}", self.run, index + 1)
    }

    /// Where each node listens.
    pub(crate) fn addresses(&self) -> Vec<Addresses> {
        let address = |net: [u8; 3], index: usize, port| {
            let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
            SocketAddr::from((Ipv4Addr::new(net[0], net[1], net[2], last), port))
        };
        let of_node = |index| Addresses {
            http: address(self.client_net(), index, HTTP_PORT),
            peer: address(PEER_NET, index, PEER_PORT),
            gossip: address(PEER_NET, index, GOSSIP_PORT),
            consul: address(self.client_net(), index, CONSUL_PORT),
        };
        (0..self.nodes).map(of_node).collect()
    }

    /// Where a fabric ends in each namespace.
    pub(crate) fn ends(&self) -> Vec<End> {
        let end = |index| End { namespace: self.path(index), address: peer_address(index) };
        (0..self.nodes).map(end).collect()
    }

    /// How long a packet of one node takes to another, which must listen, and back: the time to connect.
    pub(crate) async fn round_trip(&self, from: usize, to: usize) -> Result<Duration> {
        let (namespace, address) = (self.path(from), SocketAddr::from((peer_address(to), PEER_PORT)));
        let (tx, rx) = tokio::sync::oneshot::channel();
        // A thread for this alone, as it stays in the namespace.
        std::thread::spawn(move || {
            let connect = || timed(|| TcpStream::connect_timeout(&address, CONNECT_PATIENCE));
            // Whoever asked may have gone.
            let _ = tx.send(enter(&namespace).and_then(|()| connect().context("cannot connect")));
        });
        rx.await.context("the thread that measures ended")?
    }

    fn path(&self, index: usize) -> PathBuf {
        Path::new("/run/netns").join(self.name(index))
    }

    /// Cuts exactly these links, of the nodes that `cuts` is about.
    pub(crate) fn cut(&self, cuts: &Cuts) -> Result<()> {
        for index in 0..cuts.nodes() {
            let unheard: Vec<String> =
                cuts.unheard_at(index).into_iter().map(|from| rules_against(from, cuts)).collect();
            // Declaring the table before deleting it makes the first time like every other.
            let rules = format!(
                "table inet jepsen_lite\ndelete table inet jepsen_lite\ntable inet jepsen_lite {{\n  chain arriving {{\n    \
                 type filter hook input priority 0\n    policy accept\n{}  }}\n}}\n",
                unheard.concat()
            );
            let namespace = format!("--net=/run/netns/{}", self.name(index));
            run("nsenter", &[&namespace, "--", "nft", "-f", "-"], &rules)?;
        }
        Ok(())
    }

    /// How many packets the cuts have dropped that are there now.
    pub(crate) fn dropped(&self) -> Result<u64> {
        let of_node = |index| {
            let namespace = format!("--net=/run/netns/{}", self.name(index));
            ask("nsenter", &[&namespace, "--", "nft", "list", "table", "inet", "jepsen_lite"], "")
        };
        (0..self.nodes).map(|index| Ok(packets_in(&of_node(index)?))).sum()
    }

    fn hub(&self) -> String {
        format!("{PREFIX}{}-hub", self.run)
    }

    fn client_bridge(&self) -> String {
        format!("{PREFIX}{}c", self.run)
    }

    /// The address of the root namespace on the clients' network.
    pub(crate) fn own_address(&self) -> Ipv4Addr {
        let [a, b, c] = self.client_net();
        Ipv4Addr::new(a, b, c, OWN_NUMBER)
    }

    /// A /24 of its own per harness, so that several can run at the same time.
    fn client_net(&self) -> [u8; 3] {
        let [_, _, high, low] = self.run.to_be_bytes();
        [10, 64 + high % 64, low]
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        remove(self.run);
    }
}

/// Removes what harnesses left that do not run any more.
pub(crate) fn sweep() {
    let mut runs: Vec<u32> = names_in("/run/netns").filter_map(|name| run_of(&name)).collect();
    runs.sort_unstable();
    runs.dedup();
    for run in runs {
        if !Path::new(&format!("/proc/{run}")).exists() {
            remove(run);
        }
    }
}

/// The pid in the name of a namespace of ours.
fn run_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// Removes the links and namespaces of a run. A namespace that is removed may live on for a moment, and so may its ends of links:
/// the next run of this process could not make them again. So the links go first, by name.
fn remove(pid: u32) {
    // What cannot be removed now is swept by the next run.
    for link in names_in("/sys/class/net").filter(|name| is_link_of(pid, name)) {
        let _ = run("ip", &["link", "del", &link], "");
    }
    for name in names_in("/run/netns").filter(|name| run_of(name) == Some(pid)) {
        let _ = run("ip", &["netns", "del", &name], "");
    }
}

/// Whether an interface of the root namespace is one of a run: its bridge, or a link to a node.
fn is_link_of(pid: u32, name: &str) -> bool {
    let number = name.strip_prefix(&format!("{PREFIX}{pid}c"));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What lies in a folder; nothing when it is not there.
fn names_in(folder: &str) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// The sum of the counters in what `nft` lists: `… counter packets 12 bytes 960 drop`.
fn packets_in(listed: &str) -> u64 {
    let counters = listed.split("counter packets ").skip(1);
    counters.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
}

/// The rules by which a node does not hear `from`.
fn rules_against(from: usize, cuts: &Cuts) -> String {
    let source = format!("ip saddr {}.{}", dotted(PEER_NET), from + 1);
    let share = if cuts.percent < 100 { format!(" numgen random mod 100 < {}", cuts.percent) } else { String::new() };
    let port = match cuts.traffic {
        Traffic::All => return format!("    {source}{share} counter drop\n"),
        Traffic::Peer => PEER_PORT,
        Traffic::Gossip => GOSSIP_PORT,
    };
    let rule = |end: &str| format!("    {source} meta l4proto {{ tcp, udp }} th {end} {port}{share} counter drop\n");
    rule("dport") + &rule("sport")
}

fn peer_address(index: usize) -> Ipv4Addr {
    let [a, b, c] = PEER_NET;
    Ipv4Addr::new(a, b, c, u8::try_from(index + 1).unwrap_or(u8::MAX))
}

fn dotted([a, b, c]: [u8; 3]) -> String {
    format!("{a}.{b}.{c}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_of_the_run_are_removed() {
        for own in ["jl123c", "jl123c1", "jl123c10"] {
            assert!(is_link_of(123, own), "{own}");
        }
        for other in ["jl1234c", "jl12c", "jl123", "jl123cx", "eth0"] {
            assert!(!is_link_of(123, other), "{other}");
        }
    }

    #[test]
    fn dropped_packets_are_summed_over_all_rules() {
        let listed = "ip saddr 10.250.0.1 counter packets 12 bytes 960 drop\n\t\tip saddr 10.250.0.2 counter packets 3 bytes 9 drop\n";
        assert_eq!((packets_in(listed), packets_in("policy accept;")), (15, 0));
    }

    #[test]
    fn only_namespaces_of_harnesses_are_swept() {
        assert_eq!(run_of("jl123-n1"), Some(123));
        for other in ["jl-n1", "jlx-n1", "blue", "jl123"] {
            assert_eq!(run_of(other), None, "{other}");
        }
    }
}
