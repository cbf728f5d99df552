//! Places for connections that have not proven anything yet: few in all, and few from one address, so that one stranger
//! cannot keep the members out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// A number of places.
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    per_source_max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them, held until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    source: IpAddr,
}

impl Places {
    pub(crate) fn new(max: usize, per_source_max: usize) -> Arc<Self> {
        Arc::new(Self { max, per_source_max, taken: Mutex::default() })
    }

    /// A place for someone who comes from `source`, if there is one.
    pub(crate) fn take(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let source = source.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let here = taken.get(&source).copied().unwrap_or(0);
        if here >= self.per_source_max || taken.values().sum::<usize>() >= self.max {
            return None;
        }
        taken.insert(source, here + 1);
        Some(Place { places: self.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = taken.get_mut(&self.source) {
            *here -= 1;
            if *here == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_cannot_take_all_places() {
        let places = Places::new(3, 2);
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert!(places.take(one).is_none(), "two from one address are all");
        assert!(places.take("::ffff:192.0.2.1".parse().unwrap()).is_none(), "an address in other clothes is the same");
        let _third = places.take(other).unwrap();
        assert!(places.take(other).is_none(), "three are all");
        drop(first);
        assert!(places.take(other).is_some());
        assert_eq!(places.taken.lock().unwrap().len(), 2);
    }
}
