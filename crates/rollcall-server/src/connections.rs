//! Open connections, counted against caps: in all, and from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, counter, gauge};

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most connections at once.
    pub(crate) connections_max: usize,
    /// Most connections at once from one address.
    pub(crate) per_address_max: usize,
}

/// Open connections of one listener.
pub(crate) struct Connections {
    limits: Limits,
    open: Mutex<Open>,
    count: Gauge,
    refused: Counter,
}

/// Counts of open connections. Invariant: `total` is the sum of `by_address`, which holds no zeros.
#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The right to one connection; given back when dropped.
pub(crate) struct Slot {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    /// None yet; how many there are is shown by the gauge `count`, and how many were one too many by the counter `refused`.
    pub(crate) fn new(limits: Limits, count: &'static str, refused: &'static str) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default(), count: gauge!(count), refused: counter!(refused) })
    }

    /// A slot for a connection from `address`; `None` when there is none left.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let from_address = open.by_address.get(&address).copied().unwrap_or(0);
        if open.total >= self.limits.connections_max || from_address >= self.limits.per_address_max {
            self.refused.increment(1);
            return None;
        }
        open.total += 1;
        open.by_address.insert(address, from_address + 1);
        self.count.increment(1.0);
        Some(Slot { connections: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
        self.connections.count.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_hold_in_all_and_by_address_and_slots_come_back() {
        let limits = Limits { connections_max: 3, per_address_max: 2 };
        let connections = Connections::new(limits, "count", "refused");
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = connections.admit(one).unwrap();
        let _second = connections.admit(one).unwrap();
        assert!(connections.admit(one).is_none(), "two from one address are all");
        let _third = connections.admit(two).unwrap();
        assert!(connections.admit(two).is_none(), "three are all");
        drop(first);
        assert!(connections.admit(one).is_some());
    }
}
