//! For how long the leader has not seen a session renewed, and a key not locked. Pure: `now` is an argument.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use rollcall_catalog::{LockDelay, LockSession};
use rollcall_raft::planted::{Bug, is_planted};
use rollcall_types::{KvKey, MonoTime, Revision, SessionId};

/// When this leader saw each renewal, and each beginning of a lock delay.
///
/// Invariant: holds what the maps that it followed last hold, and nothing else.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    sessions: HashMap<SessionId, Seen>,
    delays: HashMap<KvKey, Seen>,
}

/// What was seen, and when.
#[derive(Debug, Clone, Copy)]
struct Seen {
    revision: Revision,
    at: MonoTime,
}

impl Seen {
    /// Measures anew when what is seen is another one.
    fn or_now(seen: Option<Self>, revision: Revision, now: MonoTime) -> Self {
        seen.filter(|seen| seen.revision == revision).unwrap_or(Self { revision, at: now })
    }
}

impl Clocks {
    /// Looks at what there is at `now`.
    pub(super) fn follow(
        &mut self,
        sessions: &OrdMap<SessionId, Arc<LockSession>>,
        delays: &OrdMap<KvKey, LockDelay>,
        now: MonoTime,
    ) {
        let seen = |(id, it): (&SessionId, &Arc<LockSession>)| {
            (*id, Seen::or_now(self.sessions.get(id).copied(), it.renewed, now))
        };
        self.sessions = sessions.iter().filter(|(_, it)| it.spec.ttl.is_some()).map(seen).collect();
        let seen =
            |(key, it): (&KvKey, &LockDelay)| (key.clone(), Seen::or_now(self.delays.get(key).copied(), it.since, now));
        self.delays = delays.iter().map(seen).collect();
    }

    /// Whether a session was silent for longer than it may be.
    pub(super) fn is_expired(&self, session: &LockSession, now: MonoTime) -> bool {
        let seen = self.sessions.get(&session.id);
        let ttl = session.spec.ttl;
        let limit = |ttl: Duration| if is_planted(Bug::EarlySessionEnd) { ttl / 3 } else { ttl };
        seen.zip(ttl).is_some_and(|(seen, ttl)| now.since(seen.at) > limit(ttl.duration()))
    }

    /// The keys that can be locked again.
    pub(super) fn delays_over(
        &self,
        delays: &OrdMap<KvKey, LockDelay>,
        now: MonoTime,
    ) -> impl Iterator<Item = (KvKey, Revision)> {
        let over = delays.iter().filter(move |(key, it)| {
            self.delays.get(*key).is_some_and(|seen| now.since(seen.at) >= it.delay.duration())
        });
        over.map(|(key, it)| (key.clone(), it.since))
    }
}

#[cfg(test)]
mod tests {
    use rollcall_catalog::Actor;
    use rollcall_types::{Millis, OnSessionEnd, SessionSpec, Text};

    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::new(Duration::from_secs(seconds))
    }

    fn session(renewed: u64) -> Arc<LockSession> {
        let spec = SessionSpec {
            name: Text::default(),
            node: "n1".parse().unwrap(),
            ttl: Some(Millis::new(10_000)),
            lock_delay: Millis::new(0),
            on_end: OnSessionEnd::Release,
            checks: Box::default(),
        };
        let opened_by = Actor { name: "ann".parse().unwrap(), via: "n1".parse().unwrap() };
        Arc::new(LockSession {
            id: SessionId::new(1),
            spec: Arc::new(spec),
            created: Revision::new(1),
            renewed: Revision::new(renewed),
            opened_by,
        })
    }

    #[test]
    fn a_session_expires_when_no_renewal_was_seen_for_its_ttl() {
        let (mut clocks, no_delays) = (Clocks::default(), OrdMap::new());
        let mut look = |session: &Arc<LockSession>, now| {
            clocks.follow(&OrdMap::unit(session.id, session.clone()), &no_delays, now);
            clocks.is_expired(session, now)
        };
        assert!(!look(&session(1), at(100)), "it is measured from when it was first seen");
        assert!(!look(&session(1), at(110)));
        assert!(!look(&session(5), at(111)), "it was renewed");
        assert!(!look(&session(5), at(121)));
        assert!(look(&session(5), at(122)));
    }

    #[test]
    fn a_new_leader_measures_anew() {
        let (mut clocks, no_delays, it) = (Clocks::default(), OrdMap::new(), session(1));
        clocks.follow(&OrdMap::unit(it.id, it.clone()), &no_delays, at(500));
        assert!(!clocks.is_expired(&it, at(509)));
        assert!(!Clocks::default().is_expired(&it, at(1_000)), "what was never seen is not judged");
    }

    #[test]
    fn a_lock_delay_is_over_when_its_time_has_passed_and_the_next_begins_anew() {
        let mut clocks = Clocks::default();
        let delay =
            |since| OrdMap::unit("k".parse::<KvKey>().unwrap(), LockDelay { since, delay: Millis::new(15_000) });
        let mut over = |delays: &OrdMap<KvKey, LockDelay>, now| {
            clocks.follow(&OrdMap::new(), delays, now);
            clocks.delays_over(delays, now).count()
        };
        let (first, second) = (delay(Revision::new(1)), delay(Revision::new(2)));
        assert_eq!([over(&first, at(0)), over(&first, at(14)), over(&first, at(15))], [0, 0, 1]);
        assert_eq!([over(&second, at(15)), over(&second, at(29)), over(&second, at(30))], [0, 0, 1]);
    }
}
