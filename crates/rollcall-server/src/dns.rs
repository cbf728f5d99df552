//! DNS: services, nodes and addresses under names that every program can resolve.
//!
//! ```text
//! udp (a thread for each core) ┐                    ┌ zone: what does the name mean?
//!                              ├→ responder → message → reply: which records? → source (selection, members)
//! tcp (bounded connections)    ┘    └ prepared, budget
//! ```
//! Everything right of the sockets is a function from bytes and time to bytes, and is tested so; the sockets only carry. Who is
//! in an answer, and in which order, is the decision of [`crate::selection`], as at every other front door.
//!
//! hickory-proto reads and writes messages. Its server was not taken: it spends a task and several allocations on each query,
//! which costs more than the query itself.
//!
//! Limits: no recursion, no zone transfers, no DNSSEC. `docs/dns.md` has the names and records.

mod budget;
#[cfg(any(test, feature = "fuzzing"))]
mod fixture;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod live;
mod message;
pub(crate) mod metrics;
mod observed;
mod prepared;
mod reply;
mod responder;
mod reverse;
mod source;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod zone;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use rollcall_types::NodeName;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

pub(crate) use self::live::Live;
use self::responder::Shared;
use self::zone::Zone;
use crate::config::DnsConfig;

/// Sockets that are bound and not served yet.
pub(crate) struct Sockets {
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds both transports at `address`.
    ///
    /// # Errors
    /// When another process has it.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        Ok(Self { udp: udp::bind(tcp.local_addr()?)?, tcp })
    }

    /// Serves until `stop`, as `config` says, in the name of `node`.
    pub(crate) async fn serve(self, config: DnsConfig, node: NodeName, live: Live, stop: CancellationToken) {
        let zone = Zone::new(&config.domains, &config.datacenter, node, config.ttl_s(), config.service_ttl_s());
        let shared = Arc::new(Shared { zone, source: live, per_second: config.answers_per_network });
        let threads: Vec<_> = self
            .udp
            .into_iter()
            .enumerate()
            .filter_map(|(index, socket)| {
                let (shared, stop) = (shared.clone(), stop.clone());
                let thread = std::thread::Builder::new().name(format!("dns-{index}"));
                let started = thread.spawn(move || udp::serve(&socket, shared, &stop));
                started.inspect_err(|error| error!(%error, "cannot start a thread for DNS: {error}")).ok()
            })
            .collect();
        tcp::serve(self.tcp, shared, stop).await;
        let joined = tokio::task::spawn_blocking(|| {
            let panicked = threads.into_iter().map(|thread| thread.join()).filter(Result::is_err).count();
            if panicked > 0 {
                error!("{panicked} thread(s) of DNS ended badly");
            }
        });
        // It neither panics nor is aborted.
        drop(joined.await);
    }
}
