//! Who may hold an inbound stream open: few that proved nothing, and a few of each sender.
//!
//! An honest peer proves itself with its first frame, a round trip after it connected. So when the places of those that
//! proved nothing are taken, the *oldest* of them gives way: who only holds a place loses it, and cannot keep others out.
//! Likewise the older connection of a sender gives way to its newer ones: it is the one that broke without a word.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollcall_types::NodeName;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// Connections that proved nothing yet, all together and from one network. Nodes that share an address, behind a translator
/// or on one machine, share its places; each needs one for a moment only.
const UNPROVEN_MAX: usize = 128;
const UNPROVEN_PER_NETWORK_MAX: usize = 32;
/// Connections that proved their sender, all together and of one sender. A peer keeps one; two while one breaks.
const PROVEN_MAX: usize = 512;
const PROVEN_PER_SENDER_MAX: usize = 2;

/// The places of inbound connections.
#[derive(Debug, Default)]
pub(crate) struct Places {
    table: Mutex<Table>,
}

/// Each list is in order of arrival.
#[derive(Debug, Default)]
struct Table {
    /// The number of the next connection.
    next: u64,
    unproven: VecDeque<(IpAddr, Seat)>,
    proven: BTreeMap<NodeName, VecDeque<Seat>>,
}

#[derive(Debug, Clone)]
struct Seat {
    number: u64,
    end: CancellationToken,
}

/// The place of one connection; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    is_proven: bool,
    /// Cancelled when this connection has to give way.
    pub(crate) end: CancellationToken,
}

impl Places {
    /// A place for a connection from `address` that proved nothing yet. Another one may have to give way.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, end: CancellationToken) -> Place {
        let network = network(address);
        let mut table = self.table();
        let of_network = table.unproven.iter().filter(|(other, _)| *other == network).count();
        let oldest = if of_network >= UNPROVEN_PER_NETWORK_MAX {
            table.unproven.iter().position(|(other, _)| *other == network)
        } else {
            (table.unproven.len() >= UNPROVEN_MAX).then_some(0)
        };
        if let Some((_, seat)) = oldest.and_then(|at| table.unproven.remove(at)) {
            seat.end.cancel();
        }
        let number = table.next;
        table.next += 1;
        table.unproven.push_back((network, Seat { number, end: end.clone() }));
        metrics::streams(table.open());
        Place { places: self.clone(), number, is_proven: false, end }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn open(&self) -> usize {
        self.unproven.len() + self.proven_count()
    }

    fn proven_count(&self) -> usize {
        self.proven.values().map(VecDeque::len).sum()
    }
}

impl Place {
    /// The connection proved to be of `sender`. False when it has to give way, or there is no place.
    pub(crate) fn prove(&mut self, sender: &NodeName) -> bool {
        let mut table = self.places.table();
        let Some(at) = table.unproven.iter().position(|(_, seat)| seat.number == self.number) else { return false };
        let of_sender = table.proven.get(sender).map_or(0, VecDeque::len);
        if of_sender < PROVEN_PER_SENDER_MAX && table.proven_count() >= PROVEN_MAX {
            return false;
        }
        let Some((_, seat)) = table.unproven.remove(at) else { return false };
        let seats = table.proven.entry(sender.clone()).or_default();
        seats.push_back(seat);
        if seats.len() > PROVEN_PER_SENDER_MAX
            && let Some(oldest) = seats.pop_front()
        {
            oldest.end.cancel();
        }
        self.is_proven = true;
        true
    }

    /// Whether [`Self::prove`] succeeded.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_proven
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.table();
        table.unproven.retain(|(_, seat)| seat.number != self.number);
        table.proven.retain(|_, seats| {
            seats.retain(|seat| seat.number != self.number);
            !seats.is_empty()
        });
        metrics::streams(table.open());
    }
}

/// What one customer of a provider gets: an IPv4 address, or the first 64 bits of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn enter(places: &Arc<Places>, address: IpAddr) -> Place {
        places.enter(address, CancellationToken::new())
    }

    fn count_open(seats: &[Place]) -> usize {
        seats.iter().filter(|place| !place.end.is_cancelled()).count()
    }

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_of_one_network_push_each_other_out_and_nobody_else() {
        let places = Arc::new(Places::default());
        let other = enter(&places, v4(2));
        let strangers: Vec<_> = (0..100).map(|_| enter(&places, v4(1))).collect();
        assert_eq!(count_open(&strangers), UNPROVEN_PER_NETWORK_MAX);
        assert_eq!(count_open(&strangers[100 - UNPROVEN_PER_NETWORK_MAX..]), UNPROVEN_PER_NETWORK_MAX, "the newest");
        assert!(!other.end.is_cancelled());
        drop((strangers, other));
        assert_eq!(places.table().open(), 0);
    }

    #[test]
    fn strangers_from_everywhere_keep_nobody_out() {
        let places = Arc::new(Places::default());
        let mut strangers: Vec<_> = (0..200).map(|last| enter(&places, v4(last))).collect();
        assert_eq!(count_open(&strangers), UNPROVEN_MAX);
        let mut honest = enter(&places, v4(250));
        assert!(honest.prove(&name("n1")) && honest.is_proven());
        let more: Vec<_> = (0..200).map(|last| enter(&places, v4(last))).collect();
        assert!(!honest.end.is_cancelled(), "who proved itself gives way to no stranger");
        assert_eq!(count_open(&strangers), 0);
        assert!(!strangers[0].prove(&name("n2")), "who gave way is too late");
        assert_eq!(count_open(&more), UNPROVEN_MAX);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let places = Arc::new(Places::default());
        let address = |host: u16| IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, host]);
        let strangers: Vec<_> = (0..100).map(|host| enter(&places, address(host))).collect();
        assert_eq!(count_open(&strangers), UNPROVEN_PER_NETWORK_MAX);
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), v4(1));
    }

    #[test]
    fn the_two_newest_streams_of_a_sender_stay() {
        let places = Arc::new(Places::default());
        let mut streams: Vec<_> = (0..4).map(|_| enter(&places, v4(1))).collect();
        assert!(streams.iter_mut().all(|stream| stream.prove(&name("n1"))));
        assert_eq!(
            streams.iter().map(|stream| stream.end.is_cancelled()).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        let mut other = enter(&places, v4(1));
        assert!(other.prove(&name("n2")));
        assert_eq!(count_open(&streams), 2);
    }
}
