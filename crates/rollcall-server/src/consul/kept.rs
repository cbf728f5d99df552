//! Bodies of plain discovery, as they were answered last.
//!
//! Most callers ask for all instances of a service, or for those that pass, and for nothing else. What such an answer says is the
//! same for everybody until its index or the nodes change, so it is rendered once. What depends on the time (a quarantine that
//! ends) or on what is only observed is not kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rollcall_types::{Revision, ServiceKey};

use super::nodes::Nodes;

/// What all bodies together may hold, bytes; when it is passed, they all go, and those that are asked for come back.
const BYTES_MAX: usize = 64 << 20;
/// Largest body that is kept.
const BODY_BYTES_MAX: usize = 1 << 20;
/// What an entry takes besides its body, about.
const ENTRY_BYTES: usize = 256;

/// Which body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The service.
    pub(crate) service: ServiceKey,
    /// Only instances that pass.
    pub(crate) only_passing: bool,
}

/// The bodies.
#[derive(Default)]
pub(crate) struct Kept {
    bodies: Mutex<Bodies>,
}

/// Invariant: `bytes` is what the entries hold.
#[derive(Default)]
struct Bodies {
    by_key: HashMap<Key, Body>,
    bytes: usize,
}

struct Body {
    index: Revision,
    nodes: Arc<Nodes>,
    bytes: Bytes,
}

impl Kept {
    /// The body, if it is that of this index and these nodes.
    pub(crate) fn get(&self, key: &Key, index: Revision, nodes: &Arc<Nodes>) -> Option<Bytes> {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let body = bodies.by_key.get(key).filter(|body| body.index == index && Arc::ptr_eq(&body.nodes, nodes))?;
        Some(body.bytes.clone())
    }

    /// Keeps a body.
    pub(crate) fn put(&self, key: Key, index: Revision, nodes: &Arc<Nodes>, bytes: &Bytes) {
        if bytes.len() > BODY_BYTES_MAX {
            return;
        }
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        if bodies.bytes + bytes.len() + ENTRY_BYTES > BYTES_MAX {
            *bodies = Bodies::default();
        }
        bodies.bytes += bytes.len() + ENTRY_BYTES;
        let body = Body { index, nodes: nodes.clone(), bytes: bytes.clone() };
        if let Some(before) = bodies.by_key.insert(key, body) {
            bodies.bytes -= before.bytes.len() + ENTRY_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(service: &str) -> Key {
        Key { service: ServiceKey::from(&service.parse().unwrap()), only_passing: false }
    }

    #[test]
    fn a_body_is_that_of_its_index_and_nodes() {
        let kept = Kept::default();
        let nodes = Arc::new(Nodes::default());
        kept.put(key("a"), Revision::new(7), &nodes, &Bytes::from_static(b"[]"));
        assert_eq!(kept.get(&key("a"), Revision::new(7), &nodes), Some(Bytes::from_static(b"[]")));
        assert_eq!(kept.get(&key("a"), Revision::new(8), &nodes), None);
        assert_eq!(kept.get(&key("a"), Revision::new(7), &Arc::new(Nodes::default())), None);
        assert_eq!(kept.get(&Key { only_passing: true, ..key("a") }, Revision::new(7), &nodes), None);
    }

    #[test]
    fn bodies_do_not_take_more_than_they_may() {
        let kept = Kept::default();
        let nodes = Arc::new(Nodes::default());
        let body = Bytes::from(vec![b'x'; BODY_BYTES_MAX]);
        for number in 0..100 {
            kept.put(key(&format!("s{number}")), Revision::new(1), &nodes, &body);
            kept.put(key("again"), Revision::new(number), &nodes, &body);
            let bodies = kept.bodies.lock().unwrap();
            let held: usize = bodies.by_key.values().map(|body| body.bytes.len() + ENTRY_BYTES).sum();
            assert!(bodies.bytes == held && held <= BYTES_MAX, "{held}");
        }
        kept.put(key("large"), Revision::new(1), &nodes, &Bytes::from(vec![b'x'; BODY_BYTES_MAX + 1]));
        assert_eq!(kept.get(&key("large"), Revision::new(1), &nodes), None);
    }
}
