//! How much one network may have by UDP, where anybody can write any sender on a packet.
//!
//! A bucket of answers for each /24 of IPv4 and each /56 of IPv6. Who is beyond it gets answers that hold nothing and say
//! "ask by TCP": a real client does, and pays with a handshake; a forged one gets no more bytes than were sent in its name.
//! Nobody goes unanswered, so this cannot be turned against a network. Loopback has no limit: what asks from there is the
//! resolver of this machine, and cannot be forged from elsewhere.
//!
//! Bounded: [`BUCKETS`] for each thread, found by a keyed hash. Networks that share one share its budget.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::Instant;

/// Buckets of each thread.
const BUCKETS: usize = 4_096;

/// What networks have left.
pub(super) struct Budget {
    /// Answers a second, and at once; 0: without limit.
    per_second: u32,
    hasher: RandomState,
    buckets: Box<[Bucket]>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Budget {
    /// Full buckets of `per_second` answers; 0 is no limit.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let count = if per_second == 0 { 0 } else { BUCKETS };
        let bucket = Bucket { left: f64::from(per_second), at: now };
        Self { per_second, hasher: RandomState::new(), buckets: vec![bucket; count].into() }
    }

    /// Takes one answer to `from`. `false`: it had its share.
    pub(super) fn take(&mut self, from: IpAddr, now: Instant) -> bool {
        if from.is_loopback() || self.buckets.is_empty() {
            return true;
        }
        let place = self.hasher.hash_one(network(from)) as usize % self.buckets.len();
        let bucket = &mut self.buckets[place];
        let gained = now.duration_since(bucket.at).as_secs_f64() * f64::from(self.per_second);
        bucket.left = (bucket.left + gained).min(f64::from(self.per_second));
        bucket.at = now;
        let may = bucket.left >= 1.0;
        if may {
            bucket.left -= 1.0;
        }
        may
    }
}

/// The network of an address, as a number that no other has.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits() >> 8),
        // The bit above tells the families apart.
        IpAddr::V6(address) => address.to_bits() >> 72 | 1 << 127,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_network_has_its_share_and_gets_it_back_with_time() {
        let start = Instant::now();
        let mut budget = Budget::new(2, start);
        let (one, neighbour, other) =
            (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 9]), IpAddr::from([198, 51, 100, 1]));
        assert!(budget.take(one, start) && budget.take(neighbour, start));
        assert!(!budget.take(one, start), "neighbours share");
        assert!(budget.take(other, start));
        assert!(budget.take(one, start + Duration::from_millis(500)));
        assert!(!budget.take(one, start + Duration::from_millis(500)));
    }

    #[test]
    fn loopback_and_zero_have_no_limit() {
        let start = Instant::now();
        let mut budget = Budget::new(1, start);
        assert!((0..10).all(|_| budget.take(IpAddr::from([127, 0, 0, 1]), start)));
        let mut none = Budget::new(0, start);
        assert!((0..10).all(|_| none.take(IpAddr::from([192, 0, 2, 1]), start)));
    }
}
