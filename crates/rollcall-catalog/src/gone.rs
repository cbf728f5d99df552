//! When services went that are not there any more.
//!
//! Who waits for a service has to hear that it went, so its index must rise then and never fall. The last [`GONE_MAX`] names are
//! remembered, one by one: the end of one service is no news of any other. What went before them counts as gone at the floor, which
//! is at or after its true revision.

use imbl::OrdMap;
use rollcall_types::{Revision, ServiceKey, ServiceName};

/// Services that are remembered one by one after they went.
pub const GONE_MAX: usize = 256;

/// The services that went last.
///
/// Invariants: at most [`GONE_MAX`]; all of them went after `floor`, and none that was forgotten did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GoneServices {
    by_key: OrdMap<ServiceKey, (ServiceName, Revision)>,
    floor: Revision,
}

impl GoneServices {
    /// None is remembered, and all that went before did so up to `floor`.
    pub(crate) fn forgotten(floor: Revision) -> Self {
        Self { by_key: OrdMap::new(), floor }
    }

    /// When it went; of one that was never there or is forgotten, when the last went that is forgotten.
    pub(crate) fn index(&self, key: &str) -> Revision {
        self.by_key.get(key).map_or(self.floor, |(_, at)| *at)
    }

    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    /// Those that are remembered, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ServiceName, Revision)> + '_ {
        self.by_key.values().map(|(name, at)| (name, *at))
    }

    /// A service went.
    pub(crate) fn add(&mut self, key: &ServiceKey, name: &ServiceName, at: Revision) {
        if at <= self.floor {
            return;
        }
        self.by_key.insert(key.clone(), (name.clone(), at));
        while self.by_key.len() > GONE_MAX {
            let Some(oldest) = self.by_key.values().map(|(_, at)| *at).min() else { return };
            // Those that one request removed are forgotten together: the floor is at all of them.
            let forgotten = self.by_key.iter().filter(|(_, (_, at))| *at == oldest).map(|(key, _)| key.clone());
            for key in forgotten.collect::<Vec<_>>() {
                self.by_key.remove(&key);
            }
            self.floor = oldest;
        }
    }

    /// Takes one back; they come in the order of their keys. False when this cannot be the next.
    pub(crate) fn restore(&mut self, name: ServiceName, at: Revision) -> bool {
        let key = ServiceKey::from(&name);
        let follows = self.by_key.get_max().is_none_or(|(last, _)| *last < key);
        self.by_key.insert(key, (name, at));
        follows && at > self.floor && self.by_key.len() <= GONE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(gone: &mut GoneServices, name: &str, at: u64) {
        let name: ServiceName = name.parse().unwrap();
        gone.add(&ServiceKey::from(&name), &name, Revision::new(at));
    }

    #[test]
    fn the_last_that_went_are_known_one_by_one_and_no_index_falls() {
        let mut gone = GoneServices::default();
        go(&mut gone, "A", 1);
        go(&mut gone, "b", 1);
        assert_eq!(["a", "b", "never"].map(|key| gone.index(key).get()), [1, 1, 0]);
        for number in 2..GONE_MAX as u64 {
            go(&mut gone, &format!("s{number}"), number);
        }
        assert_eq!((gone.index("never").get(), gone.iter().count()), (0, GONE_MAX));
        go(&mut gone, "one-more", 1_000);
        assert_eq!((gone.index("never").get(), gone.iter().count()), (1, GONE_MAX - 1));
        assert_eq!(["a", "b", "s2", "one-more"].map(|key| gone.index(key).get()), [1, 1, 2, 1_000]);
        go(&mut gone, "S2", 1_001);
        assert_eq!((gone.index("s2").get(), gone.iter().count()), (1_001, GONE_MAX - 1));
    }
}
