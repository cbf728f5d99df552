//! Connections that wait for the next probe of the same target.
//!
//! A connection is kept for [`IDLE_MAX`] and used [`USES_MAX`] times: one that lives on hides that its target takes no new
//! ones. What waits is the bare stream, without the buffers of its protocol, so that 10,000 of them cost sockets and little
//! else.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::metrics;

/// How long a connection waits for its next use. Longer than the intervals people choose, shorter than most servers wait.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Probes over one connection: every tenth finds out whether the target takes new ones.
const USES_MAX: u32 = 10;

/// What can be kept.
pub(super) trait Reusable {
    /// Whether it can still be used: the other side neither closed it nor said anything unasked.
    fn is_usable(&mut self) -> bool;
}

/// A connection, and how often it was used.
pub(super) struct Pooled<C> {
    pub(super) connection: C,
    /// Probes that began on it, this one included.
    pub(super) uses: u32,
}

impl<C> Pooled<C> {
    /// A connection that was just made.
    pub(super) fn new(connection: C) -> Self {
        Self { connection, uses: 1 }
    }
}

/// Connections by what they lead to.
///
/// Invariants:
/// - `count` is the number of connections in `by_key`, at most `max`.
/// - No list in `by_key` is empty.
pub(super) struct Pool<K, C> {
    max: usize,
    idle: Mutex<Idle<K, C>>,
}

struct Idle<K, C> {
    by_key: HashMap<K, Vec<(Instant, Pooled<C>)>>,
    count: usize,
}

impl<K: Hash + Eq + Clone, C: Reusable> Pool<K, C> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, idle: Mutex::new(Idle { by_key: HashMap::new(), count: 0 }) }
    }

    /// Takes the connection to `key` that waited least.
    pub(super) fn take(&self, key: &K, now: Instant) -> Option<Pooled<C>> {
        loop {
            let mut kept = self.pop(key)?;
            if now.duration_since(kept.0) < IDLE_MAX && kept.1.connection.is_usable() {
                kept.1.uses += 1;
                return Some(kept.1);
            }
        }
    }

    /// Keeps a connection for the next probe, or closes it.
    pub(super) fn put(&self, key: &K, pooled: Pooled<C>, now: Instant) {
        if pooled.uses >= USES_MAX {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.count >= self.max {
            drop(idle);
            metrics::pool_full();
            return;
        }
        idle.count += 1;
        idle.by_key.entry(key.clone()).or_default().push((now, pooled));
    }

    /// Closes what waited too long or was closed by the other side.
    pub(super) fn sweep(&self, now: Instant) {
        let mut closed = Vec::new();
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            for list in idle.by_key.values_mut() {
                let is_stale = |kept: &mut (Instant, Pooled<C>)| {
                    now.duration_since(kept.0) >= IDLE_MAX || !kept.1.connection.is_usable()
                };
                closed.extend(list.extract_if(.., is_stale));
            }
            idle.by_key.retain(|_, list| !list.is_empty());
            idle.count -= closed.len();
        }
        metrics::expired(closed.len());
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        *idle = Idle { by_key: HashMap::new(), count: 0 };
    }

    /// Connections that wait.
    pub(super) fn len(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    fn pop(&self, key: &K) -> Option<(Instant, Pooled<C>)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let list = idle.by_key.get_mut(key)?;
        let kept = list.pop();
        if list.is_empty() {
            idle.by_key.remove(key);
        }
        idle.count -= usize::from(kept.is_some());
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// A connection that the other side may close.
    struct Line(Rc<Cell<bool>>);

    impl Reusable for Line {
        fn is_usable(&mut self) -> bool {
            self.0.get()
        }
    }

    fn line() -> (Pooled<Line>, Rc<Cell<bool>>) {
        let is_open = Rc::new(Cell::new(true));
        (Pooled::new(Line(is_open.clone())), is_open)
    }

    #[test]
    fn a_connection_is_used_ten_times() {
        let (pool, now) = (Pool::new(4), Instant::now());
        let mut pooled = line().0;
        for _ in 1..USES_MAX {
            pool.put(&"a", pooled, now);
            pooled = pool.take(&"a", now).unwrap();
            assert!(pooled.uses > 1);
        }
        pool.put(&"a", pooled, now);
        assert!(pool.take(&"a", now).is_none());
    }

    #[test]
    fn what_was_closed_or_waited_too_long_is_not_used() {
        let (pool, now) = (Pool::new(4), Instant::now());
        let (pooled, is_open) = line();
        pool.put(&"a", pooled, now);
        assert!(pool.take(&"b", now).is_none());
        is_open.set(false);
        assert!(pool.take(&"a", now).is_none());
        pool.put(&"a", line().0, now);
        assert!(pool.take(&"a", now + IDLE_MAX).is_none());
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn no_more_are_kept_than_may_be_and_a_sweep_closes_the_old() {
        let (pool, now) = (Pool::new(2), Instant::now());
        let (first, is_open) = line();
        pool.put(&"a", first, now);
        pool.put(&"b", line().0, now);
        pool.put(&"c", line().0, now);
        assert_eq!(pool.len(), 2);
        is_open.set(false);
        pool.sweep(now);
        assert_eq!(pool.len(), 1);
        pool.sweep(now + IDLE_MAX);
        assert_eq!(pool.len(), 0);
    }
}
