//! Names the requests of this process, so that sending one again does not do it again.
//!
//! A session (Raft dissertation §6.3) numbers requests and says below which number all are answered, so that the catalogue
//! can forget their replies. A process draws its session's name at random, so no two share one.

use std::collections::BTreeSet;
use std::sync::Arc;

use rollcall_catalog::RequestId;
use rollcall_types::NodeId;

/// The session of one process.
#[derive(Debug)]
pub(crate) struct Session {
    node: NodeId,
    client: Arc<str>,
    next: u64,
    under_way: BTreeSet<u64>,
    /// The catalogue knows the session. Until then requests must not claim that earlier ones are answered: the catalogue
    /// takes a claim by a session that it does not know for one that it has forgotten.
    is_known: bool,
}

impl Session {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { node, client: draw_name(node), next: 1, under_way: BTreeSet::new(), is_known: false }
    }

    /// Names a request.
    pub(crate) fn begin(&mut self) -> RequestId {
        let sequence = self.next;
        self.next += 1;
        self.under_way.insert(sequence);
        let oldest = self.under_way.first().copied().unwrap_or(sequence);
        let acknowledged_below = if self.is_known { oldest } else { 1 };
        RequestId::Sequence { client: self.client.clone(), sequence, acknowledged_below }
    }

    /// Notes that nobody waits for a request any more; `is_answered` when the catalogue answered it.
    pub(crate) fn end(&mut self, id: &RequestId, is_answered: bool) {
        if let RequestId::Sequence { client, sequence, .. } = id
            && *client == self.client
        {
            self.under_way.remove(sequence);
            self.is_known |= is_answered;
        }
    }

    /// Starts anew after the catalogue has forgotten the session of `id`.
    pub(crate) fn renew(&mut self, id: &RequestId) {
        if matches!(id, RequestId::Sequence { client, .. } if *client == self.client) {
            *self = Self::new(self.node);
        }
    }
}

fn draw_name(node: NodeId) -> Arc<str> {
    format!("{node}/{:032x}", rand::random::<u128>()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(id: &RequestId) -> (u64, u64) {
        match id {
            RequestId::Sequence { sequence, acknowledged_below, .. } => (*sequence, *acknowledged_below),
            RequestId::Key { .. } => panic!("a session names by sequence"),
        }
    }

    #[test]
    fn nothing_is_acknowledged_before_the_session_is_known() {
        let mut session = Session::new(NodeId::new(1));
        let first = session.begin();
        session.end(&first, false);
        let second = session.begin();
        assert_eq!((parts(&first), parts(&second)), ((1, 1), (2, 1)));
        session.end(&second, true);
        assert_eq!(parts(&session.begin()), (3, 3));
    }

    #[test]
    fn a_request_under_way_holds_the_acknowledgement_back() {
        let mut session = Session::new(NodeId::new(1));
        let first = session.begin();
        let second = session.begin();
        session.end(&second, true);
        assert_eq!(parts(&session.begin()), (3, 1));
        session.end(&first, true);
        assert_eq!(parts(&session.begin()), (4, 3));
    }

    #[test]
    fn a_renewed_session_has_another_name_and_ignores_the_old_one() {
        let mut session = Session::new(NodeId::new(1));
        let old = session.begin();
        session.renew(&old);
        let new = session.begin();
        assert_eq!(parts(&new), (1, 1));
        session.end(&old, true);
        assert_eq!(parts(&session.begin()), (2, 1), "an answer under the old name says nothing about the new one");
    }
}
