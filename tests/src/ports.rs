//! Ports for nodes.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Ports are taken from here. Binding port 0 would draw them from the range that outgoing connections use (Linux: from
/// 32768), and such a connection could then sit on the port of a node that is down for a moment.
const RANGE: std::ops::Range<u16> = 10_000..32_000;
/// Spreads test processes that run at the same time over the range.
const STRIDE: u32 = 977;

static GIVEN: LazyLock<Mutex<BTreeSet<u16>>> = LazyLock::new(Mutex::default);

/// A loopback port that nobody has, TCP or UDP, never given out twice by this process.
///
/// # Panics
/// When the whole range is taken.
pub fn free_port() -> u16 {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let width = u32::from(RANGE.end - RANGE.start);
    let start = std::process::id().wrapping_mul(STRIDE) % width;
    let candidates =
        (0..width).map(|step| RANGE.start + u16::try_from((start + step) % width).expect("below the width"));
    for port in candidates {
        let address = (Ipv4Addr::LOCALHOST, port);
        if !given.contains(&port) && TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port in {RANGE:?}")
}
