//! Loopback ports for nodes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::{Result, bail};

use super::node::Addresses;

/// Ports are taken from here. Binding port 0 would draw them from the range that outgoing connections use (Linux: from
/// 32768), and such a connection could then sit on the port of a node that is down for a moment.
const RANGE: std::ops::Range<u16> = 10_000..32_000;
/// Spreads harnesses that run at the same time over the range.
const STRIDE: u32 = 1_009;

/// Addresses on loopback that nobody has.
pub(super) fn loopback_addresses(nodes: usize) -> Result<Vec<Addresses>> {
    let width = u32::from(RANGE.end - RANGE.start);
    let start = std::process::id().wrapping_mul(STRIDE) % width;
    let candidates = (0..width).filter_map(|step| Some(RANGE.start + u16::try_from((start + step) % width).ok()?));
    let mut free = candidates.filter(|&port| is_free(port)).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut all = Vec::new();
    for _ in 0..nodes {
        let (Some(http), Some(peer), Some(gossip), Some(consul)) = (free.next(), free.next(), free.next(), free.next())
        else {
            bail!("no free ports in {RANGE:?}");
        };
        all.push(Addresses { http, peer, gossip, consul });
    }
    Ok(all)
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}
