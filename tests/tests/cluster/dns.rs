//! Names, as programs resolve them: with a resolver that knows nothing of Rollcall, and with bytes that no resolver would send.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use rollcall_tests::{DEADLINE, Node, SharedCluster, metric, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Longest wait for an answer that must come.
const ANSWER: Duration = Duration::from_secs(5);

fn address(node: &Node) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, node.options().dns).into()
}

/// A resolver that asks this node, keeps nothing and mixes cases.
fn resolver(node: &Node) -> TokioResolver {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = node.options().dns;
        connection
    });
    let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, connections.into());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.case_randomization = true;
    options.timeout = ANSWER;
    builder.build().expect("a resolver can be made")
}

pub(crate) async fn lookup(node: &Node, name: &str, kind: RecordType) -> Result<Vec<Record>, NetError> {
    resolver(node).lookup(format!("{name}."), kind).await.map(|found| found.answers().to_vec())
}

/// The data of the records, sorted.
async fn data(node: &Node, name: &str, kind: RecordType) -> Vec<String> {
    let records = lookup(node, name, kind).await.unwrap_or_else(|error| panic!("{name} {kind}: {error}"));
    let mut data: Vec<String> = records.iter().map(|record| record.data.to_string()).collect();
    data.sort();
    data
}

async fn is_nx_domain(node: &Node, name: &str, kind: RecordType) -> bool {
    lookup(node, name, kind).await.is_err_and(|error| error.is_nx_domain())
}

pub(crate) fn instance(host: &str, port: u16) -> Value {
    json!({"endpoints": [{"name": "http", "protocol": "http", "host": host, "port": port}]})
}

/// Registers and waits until every node has it.
async fn register(cluster: &SharedCluster, service: &str, id: &str, body: &Value) {
    let revision = cluster.node(0).register(service, id, body).await.expect(201).revision();
    settle(cluster, service, revision).await;
}

async fn settle(cluster: &SharedCluster, service: &str, revision: u64) {
    for node in cluster.nodes() {
        let path = format!("/v1/services/{service}/instances?min_revision={revision}");
        node.get(&path).answer().await.expect(200);
    }
}

/// `host:port` of the instances that HTTP selects.
async fn selected(node: &Node, service: &str) -> BTreeSet<String> {
    let path = format!("/v1/services/{service}/select");
    let answer = node.post(&path).json(&json!({"n": 100})).answer().await.expect(200).json();
    let picks = answer["picks"].as_array().unwrap_or_else(|| panic!("no picks in {answer}"));
    let endpoint = |pick: &Value| {
        let endpoint = &pick["endpoints"][0];
        format!("{}:{}", endpoint["host"].as_str().unwrap_or_default(), endpoint["port"])
    };
    picks.iter().map(endpoint).collect()
}

/// `host:port` from SRV records, whose targets are resolved in turn.
pub(crate) async fn resolved(node: &Node, service: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for record in lookup(node, &format!("{service}.service.rollcall"), RecordType::SRV).await.expect("records") {
        let RData::SRV(srv) = &record.data else { panic!("{record}") };
        let target = srv.target.to_string();
        let addresses = data(node, target.trim_end_matches('.'), RecordType::A).await;
        found.insert(format!("{}:{}", addresses[0], srv.port));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_at_http_and_dns_gives_the_same_set_on_every_node() {
    let cluster = SharedCluster::get().await;
    for last in 1..=4 {
        register(&cluster, "dns-same", &format!("i-{last}"), &instance(&format!("10.1.0.{last}"), 8000 + last)).await;
    }
    let drained = cluster.node(1).post("/v1/services/dns-same/instances/i-3/drain").answer().await.expect(200);
    settle(&cluster, "dns-same", drained.revision()).await;
    let expected: BTreeSet<String> = [1, 2, 4].map(|last| format!("10.1.0.{last}:{}", 8000 + last)).into();
    for node in cluster.nodes() {
        assert_eq!(selected(node, "dns-same").await, expected);
        assert_eq!(resolved(node, "dns-same").await, expected);
        let addresses = data(node, "dns-same.service.consul", RecordType::A).await;
        assert_eq!(addresses, ["10.1.0.1", "10.1.0.2", "10.1.0.4"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_drained_critical_or_gone_vanishes_and_comes_back() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(2);
    // Nobody listens there, and a node probes it from everywhere.
    let mut failing = instance("127.0.0.1", 1);
    failing["checks"] =
        json!([{"id": "tcp", "type": "tcp", "address": "127.0.0.1:1", "interval_ms": 1000, "timeout_ms": 500}]);
    register(&cluster, "dns-gone", "critical", &failing).await;
    register(&cluster, "dns-gone", "stays", &instance("10.2.0.1", 80)).await;
    let name = "dns-gone.service.rollcall";
    wait_until("the critical instance to vanish", DEADLINE, async || {
        let data = data(node, name, RecordType::A).await;
        if data == ["10.2.0.1"] { Ok(()) } else { Err(format!("{data:?}")) }
    })
    .await;
    for (word, is_there) in [("drain", false), ("undrain", true), ("quarantine", false), ("release", true)] {
        let path = format!("/v1/services/dns-gone/instances/stays/{word}");
        let body = if word == "quarantine" { json!({"ttl_ms": 600_000}) } else { json!({}) };
        let revision = cluster.node(0).post(&path).json(&body).answer().await.expect(200).revision();
        settle(&cluster, "dns-gone", revision).await;
        assert_eq!(is_nx_domain(node, name, RecordType::A).await, !is_there, "after {word}");
    }
    let gone = node.delete("/v1/services/dns-gone/instances/stays").answer().await.expect(204);
    settle(&cluster, "dns-gone", gone.revision()).await;
    assert!(is_nx_domain(node, name, RecordType::SRV).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_fit_a_datagram_comes_whole_by_tcp() {
    let cluster = SharedCluster::get().await;
    for last in 1..=60 {
        let body = instance(&format!("10.3.0.{last}"), 80);
        cluster.node(0).register("dns-many", &format!("i-{last}"), &body).await.expect(201);
    }
    register(&cluster, "dns-many", "last", &instance("10.3.0.61", 80)).await;
    // Not the node whose connections another test uses up.
    let node = cluster.node(2);
    assert_eq!(lookup(node, "dns-many.service.rollcall", RecordType::SRV).await.expect("records").len(), 61);
    assert!(metric(&node.metrics().await, "rollcall_dns_truncated_total", &[]) >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_record_is_there() {
    let cluster = SharedCluster::get().await;
    let node = cluster.node(0);
    let both = json!({
        "endpoints": [
            {"name": "http", "protocol": "http", "host": "10.4.0.1", "port": 80},
            {"name": "admin", "protocol": "http", "host": "fd00:4::1", "port": 81},
        ],
        "tags": ["Blue", "v1.2"],
        "weight": 3,
    });
    register(&cluster, "dns-kinds", "v4", &both).await;
    register(&cluster, "dns-kinds", "v6", &instance("fd00:4::2", 80)).await;
    register(&cluster, "dns-alias", "named", &instance("db.example.com", 5432)).await;
    assert_eq!(data(node, "dns-kinds.service.rollcall", RecordType::A).await, ["10.4.0.1"]);
    assert_eq!(data(node, "dns-kinds.service.rollcall", RecordType::AAAA).await, ["fd00:4::2"]);
    for tagged in
        ["blue.dns-kinds.service.dc1.consul", "v1.2.dns-kinds.service.rollcall", "_dns-kinds._blue.service.rollcall"]
    {
        assert_eq!(data(node, tagged, RecordType::A).await, ["10.4.0.1"], "{tagged}");
    }
    let admin = data(node, "_admin._tcp.dns-kinds.service.rollcall", RecordType::SRV).await;
    assert!(admin[0].ends_with(" 81 fd000004000000000000000000000001.addr.dc1.rollcall."), "{admin:?}");
    let alias = data(node, "dns-alias.service.rollcall", RecordType::SRV).await;
    assert!(alias[0].ends_with(" 5432 db.example.com."), "{alias:?}");
    assert_eq!(data(node, "dns-alias.service.rollcall", RecordType::CNAME).await, ["db.example.com."]);
    assert_eq!(data(node, "n2.node.rollcall", RecordType::A).await, ["127.0.0.1"]);
    assert_eq!(data(node, "rollcall", RecordType::NS).await, ["n1.node.dc1.rollcall."]);
    assert!(
        data(node, "rollcall", RecordType::SOA).await[0].starts_with("n1.node.dc1.rollcall. hostmaster.rollcall. ")
    );
    let pointed = "1.0.4.10.in-addr.arpa";
    wait_until("the address to lead to its service", DEADLINE, async || {
        match lookup(node, pointed, RecordType::PTR).await {
            Ok(records) if records[0].data.to_string() == "dns-kinds.service.rollcall." => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let no_records = lookup(node, "dns-kinds.service.rollcall", RecordType::TXT).await.expect_err("no TXT records");
    assert!(no_records.is_no_records_found() && !no_records.is_nx_domain(), "{no_records}");
    assert!(is_nx_domain(node, "red.dns-kinds.service.rollcall", RecordType::A).await);
    assert!(is_nx_domain(node, "nobody.service.rollcall", RecordType::A).await);
    let foreign = lookup(node, "example.com", RecordType::A).await.expect_err("not ours");
    assert!(!foreign.is_nx_domain(), "{foreign}");
}

/// A query for the A records of `name.service.rollcall`.
fn query(name: &str) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [name, "service", "rollcall"] {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

/// Sends a datagram and returns the code of the answer, if one comes before that of a query behind it.
async fn code_of(socket: &UdpSocket, packet: &[u8], behind: &[u8]) -> Option<u8> {
    socket.send(packet).await.expect("a datagram can be sent");
    socket.send(behind).await.expect("a datagram can be sent");
    let mut answer = [0; 2048];
    let mut code = None;
    loop {
        let length = timeout(ANSWER, socket.recv(&mut answer)).await.expect("the query behind is answered");
        assert!(length.expect("a datagram") >= 12);
        if answer[..2] == behind[..2] {
            return code;
        }
        code = Some(answer[3] & 0x0f);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_nobody_should_send_are_refused_while_others_are_served() {
    let cluster = SharedCluster::get().await;
    register(&cluster, "dns-calm", "one", &instance("10.5.0.1", 80)).await;
    let node = cluster.node(0).clone();
    let stop = Arc::new(AtomicBool::new(false));
    let calm = tokio::spawn({
        let (node, stop) = (node.clone(), stop.clone());
        async move {
            // Once more after the last of them, however quick they were.
            loop {
                let is_over = stop.load(Ordering::Relaxed);
                assert_eq!(data(&node, "dns-calm.service.rollcall", RecordType::A).await, ["10.5.0.1"]);
                if is_over {
                    return;
                }
            }
        }
    });
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    socket.connect(address(&node)).await.expect("a socket");
    let behind = query("dns-calm");
    let with = |at: usize, byte: u8| {
        let mut packet = query("dns-calm");
        packet[1] = 1;
        packet[at] = byte;
        packet
    };
    let header = |counts: [u8; 8]| [&[0xab, 1, 1, 0][..], &counts].concat();
    let cases: [(&str, Vec<u8>, Option<u8>); 8] = [
        ("an answer", with(2, 0x81), None),
        ("shorter than a header", vec![0xab, 1, 1], None),
        (
            "a name that points at itself",
            [header([0, 1, 0, 0, 0, 0, 0, 0]), vec![0xc0, 12, 0, 1, 0, 1]].concat(),
            Some(1),
        ),
        ("65535 questions", header([0xff, 0xff, 0, 0, 0, 0, 0, 0]), Some(1)),
        ("65535 records", [header([0, 1, 0, 0, 0, 0, 0xff, 0xff]), query("x")[12..].to_vec()].concat(), Some(1)),
        ("a name without an end", with(12, 0x3f), Some(1)),
        ("an update", with(2, 0x28), Some(4)),
        ("60 KB", vec![0; 60_000], Some(1)),
    ];
    for (name, packet, code) in &cases {
        assert_eq!(code_of(&socket, packet, &behind).await, *code, "{name}");
    }
    stop.store(true, Ordering::Relaxed);
    calm.await.expect("it was served");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_slow_silent_or_many_are_closed_and_others_are_served() {
    let cluster = SharedCluster::get().await;
    register(&cluster, "dns-tcp", "one", &instance("10.6.0.1", 80)).await;
    let address = address(cluster.node(1));
    let mut silent = TcpStream::connect(address).await.expect("a connection");
    let mut slow = TcpStream::connect(address).await.expect("a connection");
    slow.write_all(&[0]).await.expect("a byte");
    let mut oversized = TcpStream::connect(address).await.expect("a connection");
    oversized.write_all(&[0xff, 0xff, 0]).await.expect("bytes");
    let mut many = Vec::new();
    for _ in 0..200 {
        many.push(TcpStream::connect(address).await.expect("a connection"));
    }
    // Those beyond the cap of an address are closed at once; room is made by those that are closed for their silence.
    wait_until("a connection to be served", DEADLINE, async || {
        let mut asked = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let framed = [&[0, u8::try_from(query("dns-tcp").len()).expect("short")][..], &query("dns-tcp")].concat();
        asked.write_all(&framed).await.map_err(|error| error.to_string())?;
        let length = asked.read_u16().await.map_err(|error| error.to_string())?;
        let mut answer = vec![0; usize::from(length)];
        asked.read_exact(&mut answer).await.map_err(|error| error.to_string())?;
        assert_eq!(answer[3] & 0x0f, 0);
        assert!(answer.ends_with(&[10, 6, 0, 1]), "{answer:?}");
        // The same connection takes another.
        asked.write_all(&framed).await.map_err(|error| error.to_string())?;
        asked.read_u16().await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    for (name, stream) in [("silent", &mut silent), ("slow", &mut slow), ("oversized", &mut oversized)] {
        let mut rest = Vec::new();
        let ended = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok() && rest.is_empty(), "{name}: {ended:?}");
    }
    let refused = metric(&cluster.node(1).metrics().await, "rollcall_dns_connections_refused_total", &[]);
    assert!(refused >= 1.0, "{refused}");
}
