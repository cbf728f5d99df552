//! What stands between programs and names: dig, dnsmasq, unbound and HAProxy, as Debian has them, against a real cluster.
//!
//! A tool that is not installed is said to be missing, and what it would have shown is skipped.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use http::Method;
use rollcall_tests::{Cluster, DEADLINE, Node, free_port, note, wait_until};
use serde_json::json;

/// A tool that runs until it is dropped.
struct Tool(Child);

impl Drop for Tool {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the program is installed; says so when it is not.
fn is_installed(program: &str) -> bool {
    let found =
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !found {
        note(format_args!("skipped: {program} is not installed"));
    }
    found
}

fn start(program: &str, arguments: &[&str]) -> Tool {
    let mut command = Command::new(program);
    // Debian keeps servers where only root looks.
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(arguments);
    Tool(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is installed"))
}

/// The answers to a question, in order.
fn dig(port: u16, kind: &str, name: &str) -> Vec<String> {
    let port = port.to_string();
    let output =
        Command::new("dig").args(["@127.0.0.1", "-p", &port, "+short", "+time=2", "+tries=1", kind, name]).output();
    let output = output.expect("dig is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| !line.starts_with(';'));
    // Of SRV records, port and target: weights follow the scores.
    let mut lines: Vec<String> = lines.map(|line| line.splitn(3, ' ').last().unwrap_or(line).to_owned()).collect();
    lines.sort();
    lines
}

async fn wait_for(what: &str, port: u16, kind: &str, name: &str, expected: &[&str]) {
    wait_until(&format!("{what} to answer {kind} {name} with {expected:?}"), DEADLINE, async || {
        let answers = dig(port, kind, name);
        if answers == expected { Ok(()) } else { Err(format!("{answers:?}")) }
    })
    .await;
}

async fn register(node: &Node, id: &str, port: u16) {
    let body = json!({"Name": "web", "ID": id, "Address": "127.0.0.1", "Port": port});
    node.consul(Method::PUT, "/v1/agent/service/register").body(body.to_string()).answer().await.expect(200);
}

async fn deregister(node: &Node, id: &str) {
    node.consul(Method::PUT, &format!("/v1/agent/service/deregister/{id}")).answer().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_resolve_directly_and_through_forwarders() {
    if !is_installed("dig") {
        return;
    }
    let cluster = Cluster::start(3).await;
    register(cluster.node(0), "web-1", 8081).await;
    let dns = cluster.node(1).options().dns;
    wait_for("a node", dns, "A", "web.service.consul", &["127.0.0.1"]).await;
    wait_for("a node", dns, "SRV", "_web._tcp.service.consul", &["8081 7f000001.addr.dc1.consul."]).await;

    let folder = tempfile::tempdir().expect("a folder");
    if is_installed("dnsmasq") {
        let port = free_port();
        let (listen, forward) = (format!("--port={port}"), format!("--server=/consul/127.0.0.1#{dns}"));
        let _dnsmasq = start(
            "dnsmasq",
            &[
                "--keep-in-foreground",
                "--no-resolv",
                "--no-hosts",
                "--listen-address=127.0.0.1",
                "--bind-interfaces",
                "--conf-file=/dev/null",
                "--user=root",
                &listen,
                &forward,
            ],
        );
        wait_for("dnsmasq", port, "A", "web.service.consul", &["127.0.0.1"]).await;
        wait_for("dnsmasq", port, "SRV", "web.service.consul", &["8081 7f000001.addr.dc1.consul."]).await;
    }
    if is_installed("unbound") {
        let port = free_port();
        let configuration = folder.path().join("unbound.conf");
        let text = format!(
            "server:\n  interface: 127.0.0.1\n  port: {port}\n  chroot: \"\"\n  username: \"\"\n  directory: \"{folder}\"\n  pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n  do-not-query-localhost: no\n  domain-insecure: \"consul\"\n  module-config: \"iterator\"\nstub-zone:\n  name: \"consul\"\n  stub-addr: 127.0.0.1@{dns}\nremote-control:\n  control-enable: no\n",
            folder = folder.path().display()
        );
        fs::write(&configuration, text).expect("a file can be written");
        let _unbound = start("unbound", &["-d", "-c", &configuration.to_string_lossy()]);
        wait_for("unbound", port, "A", "web.service.consul", &["127.0.0.1"]).await;
        wait_for("unbound", port, "SRV", "web.service.consul", &["8081 7f000001.addr.dc1.consul."]).await;
    }
}

/// What HAProxy says of its servers: those that have an address, by port.
fn servers(socket: &Path) -> Result<Vec<String>, String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).map_err(|error| error.to_string())?;
    stream.write_all(b"show servers state web\n").map_err(|error| error.to_string())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
    // Fields of a line: backend id and name, server id and name, address, state, …; the port is the 19th.
    let lines = text.lines().filter(|line| line.contains(" web "));
    let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut ports: Vec<String> = fields
        .filter(|fields| fields.get(4).is_some_and(|address| *address != "-") && fields.get(5) == Some(&"2"))
        .filter_map(|fields| fields.get(18).map(|port| (*port).to_owned()))
        .collect();
    ports.sort();
    Ok(ports)
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_fills_its_backend_from_srv_records_and_follows_changes() {
    if !is_installed("haproxy") {
        return;
    }
    let cluster = Cluster::start(3).await;
    let node = cluster.node(0);
    register(node, "web-1", 8081).await;
    register(node, "web-2", 8082).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (socket, configuration, front) =
        (folder.path().join("admin.sock"), folder.path().join("haproxy.cfg"), free_port());
    let servers_of = |node: &Node| format!("  nameserver {} 127.0.0.1:{}\n", node.name(), node.options().dns);
    let nameservers: String = cluster.nodes().iter().map(|node| servers_of(node)).collect();
    let text = format!(
        "global\n  stats socket {} level admin\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\nresolvers rollcall\n{nameservers}  accepted_payload_size 8192\n  hold valid 500ms\n  hold obsolete 0s\n  timeout resolve 500ms\nfrontend front\n  bind 127.0.0.1:{front}\n  default_backend web\nbackend web\n  server-template web 10 _web._tcp.service.consul resolvers rollcall resolve-prefer ipv4 init-addr none\n",
        socket.display()
    );
    fs::write(&configuration, text).expect("a file can be written");
    let _haproxy = start("haproxy", &["-db", "-f", &configuration.to_string_lossy()]);
    let follows = async |expected: &[&str]| {
        wait_until(&format!("HAProxy to have {expected:?}"), DEADLINE, async || {
            let servers = servers(&socket)?;
            if servers == expected { Ok(()) } else { Err(format!("{servers:?}")) }
        })
        .await;
    };
    follows(&["8081", "8082"]).await;
    assert!(TcpStream::connect(("127.0.0.1", front)).is_ok(), "it serves");
    register(cluster.node(1), "web-3", 8083).await;
    follows(&["8081", "8082", "8083"]).await;
    deregister(cluster.node(2), "web-1").await;
    follows(&["8082", "8083"]).await;
    cluster.node(0).kill9();
    register(cluster.node(1), "web-4", 8084).await;
    follows(&["8082", "8083", "8084"]).await;
}
