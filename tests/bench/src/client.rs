//! Clients that speak each system's own protocol, and one [`Caller`] over them for the load loops.
//!
//! | system | protocol | connections for n callers |
//! |---|---|---|
//! | Rollcall | HTTP/1.1 + JSON, which has no multiplexing | n |
//! | etcd | gRPC over HTTP/2 | [`shared_connections`] |
//! | ZooKeeper | its own, pipelined | [`shared_connections`] |
//!
//! Fewer connections are cheaper for the peers, so the sharing is to their advantage.

pub(crate) mod chunked;
pub(crate) mod etcd;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod payload;
pub(crate) mod zookeeper;

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;

use self::etcd::{LeaseGrantRequest, LeaseGrantResponse, PutRequest, RangeRequest, RangeResponse, path, prefix_end};
use self::grpc::Channel;
use self::http::HttpConnection;
use self::zookeeper::{Mode, Session};
use crate::results::Subject;

/// Services that reads are spread over.
pub(crate) const READ_SERVICES: u64 = 100;
/// Instances of each of them.
pub(crate) const READ_INSTANCES: u64 = 5;
/// Services that writes are spread over.
const WRITE_SERVICES: u64 = 256;
/// Bytes of a registration that is read back. Five of them are about 1 KiB.
pub(crate) const READ_BYTES: usize = 200;
/// Life of a lease in seconds. Longer than any run, so that no expiry falls into one.
const LEASE_SECONDS: i64 = 3600;
/// Bytes of an announced registration.
const ANNOUNCEMENT_BYTES: usize = 256;
/// The service that is watched.
pub(crate) const WATCHED: &str = "watched";
/// Parent of all znodes.
const ZNODE_ROOT: &str = "/bench";

/// What a closed-loop client does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Stores a new instance of this many bytes: our `PUT` of a registration (one log entry, its lease included when
    /// `lease`), etcd's `put`, ZooKeeper's `create` of an ephemeral znode.
    Write { bytes: usize, lease: bool },
    /// etcd only: a registration as it is done there, `LeaseGrant` and then `put` with that lease.
    LeaseAndWrite { bytes: usize },
    /// Stores instance `n % READ_INSTANCES` of service `n / READ_INSTANCES`, to be read later.
    SeedRead,
    /// Reads one service with [`READ_INSTANCES`] instances.
    Read { linearizable: bool },
    /// Reads what [`Self::Write`] stored under the same number; fails when it is not there.
    ReadBack,
    /// Stores an instance of the service that is watched, with the marker [`announcement`] in its name.
    Announce,
}

/// One closed-loop client.
pub(crate) enum Caller {
    Rollcall(Box<RollcallCaller>),
    Etcd(Channel),
    Zookeeper(Session),
}

/// A connection to one of our nodes, and buffers that are used again.
pub(crate) struct RollcallCaller {
    connection: HttpConnection,
    path: Vec<u8>,
    body: Option<((usize, bool), Vec<u8>)>,
}

impl Caller {
    /// Does `operation` with the number `n`, which no other call of the run has.
    pub(crate) async fn call(&mut self, operation: Operation, n: u64) -> Result<()> {
        match self {
            Self::Rollcall(caller) => caller.call(operation, n).await,
            Self::Etcd(channel) => call_etcd(channel, operation, n).await,
            Self::Zookeeper(session) => call_zookeeper(session, operation, n).await,
        }
    }
}

/// Connects `callers` clients of `subject`, spread over `addresses` in turn.
pub(crate) async fn connect(subject: Subject, addresses: &[SocketAddr], callers: usize) -> Result<Vec<Caller>> {
    let shared = shared_connections(callers);
    let mut connected = Vec::with_capacity(callers);
    match subject {
        Subject::Rollcall => {
            for address in addresses.iter().cycle().take(callers) {
                let connection = HttpConnection::connect(*address).await?;
                connected.push(Caller::Rollcall(Box::new(RollcallCaller { connection, path: Vec::new(), body: None })));
            }
        }
        Subject::Etcd => {
            let mut channels = Vec::with_capacity(shared);
            for address in addresses.iter().cycle().take(shared) {
                channels.push(Channel::connect(*address).await?);
            }
            connected.extend(channels.iter().cycle().take(callers).cloned().map(Caller::Etcd));
        }
        Subject::Zookeeper => {
            let mut sessions = Vec::with_capacity(shared);
            for address in addresses.iter().cycle().take(shared) {
                sessions.push(Session::connect(*address).await?);
            }
            connected.extend(sessions.iter().cycle().take(callers).cloned().map(Caller::Zookeeper));
        }
    }
    Ok(connected)
}

/// Connections that `callers` share where the protocol can: 1, 12 up to 64 callers, 24 beyond.
pub(crate) fn shared_connections(callers: usize) -> usize {
    callers.min(if callers <= 64 { 12 } else { 24 })
}

/// Makes what the operations need to be there: ZooKeeper's parent znode.
pub(crate) async fn prepare(subject: Subject, address: SocketAddr) -> Result<()> {
    if subject == Subject::Zookeeper {
        let session = Session::connect(address).await?;
        session.create(ZNODE_ROOT.to_owned(), Bytes::new(), Mode::Persistent).await?;
    }
    Ok(())
}

impl RollcallCaller {
    async fn call(&mut self, operation: Operation, n: u64) -> Result<()> {
        self.path.clear();
        match operation {
            Operation::Write { bytes, lease } => {
                write!(self.path, "/v1/services/bench-{}/instances/i{n:08}", n % WRITE_SERVICES)?;
                self.put(bytes, lease).await
            }
            Operation::SeedRead => {
                let (service, instance) = (n / READ_INSTANCES, n % READ_INSTANCES);
                write!(self.path, "/v1/services/read-{service}/instances/i{instance}")?;
                self.put(READ_BYTES, false).await
            }
            Operation::Read { linearizable } => {
                let consistency = if linearizable { "linearizable" } else { "stale" };
                write!(self.path, "{}?consistency={consistency}", read_path(n % READ_SERVICES))?;
                let path = std::str::from_utf8(&self.path)?;
                self.connection.exchange_ok("GET", path, b"").await?;
                Ok(())
            }
            Operation::ReadBack => {
                let path = format!("/v1/services/bench-{}/instances/i{n:08}", n % WRITE_SERVICES);
                self.connection.exchange_ok("GET", &path, b"").await?;
                Ok(())
            }
            Operation::Announce => {
                write!(self.path, "/v1/services/{WATCHED}/instances/{}", announcement(n))?;
                self.put(ANNOUNCEMENT_BYTES, true).await
            }
            Operation::LeaseAndWrite { .. } => bail!("a lease is part of a registration here"),
        }
    }

    async fn put(&mut self, bytes: usize, lease: bool) -> Result<()> {
        if self.body.as_ref().is_none_or(|(shape, _)| *shape != (bytes, lease)) {
            self.body = Some(((bytes, lease), payload::registration(bytes, lease)));
        }
        let body = self.body.as_ref().map_or(&[][..], |(_, body)| body);
        self.connection.exchange_ok("PUT", std::str::from_utf8(&self.path)?, body).await?;
        Ok(())
    }
}

/// The name of announced instance `n`, by which a watcher knows the event.
pub(crate) fn announcement(n: u64) -> String {
    format!("event-{n:06}")
}

/// Where the instances of the service `read-<service>` are listed.
pub(crate) fn read_path(service: u64) -> String {
    format!("/v1/services/read-{service}/instances")
}

async fn call_etcd(channel: &Channel, operation: Operation, n: u64) -> Result<()> {
    let write_key = || format!("bench-{}/i{n:08}", n % WRITE_SERVICES).into_bytes();
    match operation {
        Operation::Write { bytes, .. } => {
            let put = PutRequest { key: write_key(), value: payload::filler(bytes), lease: 0 };
            channel.unary(path::PUT, &put).await?;
        }
        Operation::LeaseAndWrite { bytes } => {
            let granted: LeaseGrantResponse =
                channel.call(path::LEASE_GRANT, &LeaseGrantRequest { ttl: LEASE_SECONDS }).await?;
            let put = PutRequest { key: write_key(), value: payload::filler(bytes), lease: granted.id };
            channel.unary(path::PUT, &put).await?;
        }
        Operation::SeedRead => {
            let key = format!("read-{}/i{}", n / READ_INSTANCES, n % READ_INSTANCES).into_bytes();
            let put = PutRequest { key, value: payload::filler(READ_BYTES), lease: 0 };
            channel.unary(path::PUT, &put).await?;
        }
        Operation::Read { linearizable } => {
            channel.unary(path::RANGE, &read_range(n % READ_SERVICES, linearizable)).await?;
        }
        Operation::ReadBack => {
            let range = RangeRequest { key: write_key(), range_end: Vec::new(), serializable: false };
            let found: RangeResponse = channel.call(path::RANGE, &range).await?;
            ensure!(found.count == 1, "key {n} is not there");
        }
        Operation::Announce => {
            let key = format!("{WATCHED}/{}", announcement(n)).into_bytes();
            let put = PutRequest { key, value: payload::filler(ANNOUNCEMENT_BYTES), lease: 0 };
            channel.unary(path::PUT, &put).await?;
        }
    }
    Ok(())
}

/// Asks etcd for the instances of the service `read-<service>`.
pub(crate) fn read_range(service: u64, linearizable: bool) -> RangeRequest {
    let prefix = format!("read-{service}/");
    RangeRequest { range_end: prefix_end(&prefix), key: prefix.into_bytes(), serializable: !linearizable }
}

async fn call_zookeeper(session: &Session, operation: Operation, n: u64) -> Result<()> {
    match operation {
        Operation::Write { bytes, .. } => {
            let data = payload::filler(bytes).into();
            session.create(format!("{ZNODE_ROOT}/i{n:08}"), data, Mode::Ephemeral).await
        }
        _ => bail!("{operation:?} is not measured with ZooKeeper"),
    }
}
