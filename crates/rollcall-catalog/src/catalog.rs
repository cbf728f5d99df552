//! The state and its one way to change.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use rollcall_types::{CapabilityName, NodeId, Revision, ServiceKey, SessionId, Tag, UnixMillis};

use crate::event::{Change, Event, EventRing};
use crate::gone::GoneServices;
use crate::indexes::Indexes;
use crate::kv::Keys;
use crate::record::{LockSession, NodeRecord, Service, UserEvent};
use crate::sessions::{Seen, Sessions};
use crate::slots::Slots;
use crate::{Applied, Outcome, Refusal, Reply, Request};

/// Most instances in one catalogue.
pub const INSTANCES_MAX: u64 = 2_000_000;
/// Most services in one catalogue.
pub const SERVICES_MAX: u64 = 200_000;
/// The first id given to a node that joins; lower ids belong to the nodes that bootstrapped the cluster.
pub const FIRST_ALLOCATED_NODE_ID: NodeId = NodeId::new(101);

/// The replicated state.
///
/// Invariants:
/// - `revision` is the last log entry seen and rises strictly; `clock` never runs backwards.
/// - `instance_count` counts what `services` hold.
/// - Every session that `kv` names is in `lock_sessions`.
/// - `user_events` has at most [`USER_EVENTS_MAX`](crate::USER_EVENTS_MAX) events, oldest first.
/// - `slots` has the slots of the instances in `services` and no others; no two instances share one.
/// - `by_capability` and `by_tag` hold exactly what the services say; no entry is empty.
/// - A service in `services` has a definition, a configuration or an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    pub(crate) revision: Revision,
    pub(crate) clock: UnixMillis,
    pub(crate) services: OrdMap<ServiceKey, Arc<Service>>,
    pub(crate) gone_services: GoneServices,
    pub(crate) instance_count: u64,
    pub(crate) slots: Slots,
    pub(crate) by_capability: OrdMap<CapabilityName, OrdSet<ServiceKey>>,
    /// For each tag the services that carry it, and on how many instances (plus one for the definition).
    pub(crate) by_tag: OrdMap<Tag, OrdMap<ServiceKey, u32>>,
    pub(crate) indexes: Indexes,
    pub(crate) kv: Keys,
    pub(crate) lock_sessions: OrdMap<SessionId, Arc<LockSession>>,
    pub(crate) user_events: Vector<Arc<UserEvent>>,
    pub(crate) nodes: OrdMap<NodeId, NodeRecord>,
    pub(crate) next_node: NodeId,
    pub(crate) sessions: Sessions,
    pub(crate) events: EventRing,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            revision: Revision::ZERO,
            clock: UnixMillis::default(),
            services: OrdMap::new(),
            gone_services: GoneServices::default(),
            instance_count: 0,
            slots: Slots::default(),
            by_capability: OrdMap::new(),
            by_tag: OrdMap::new(),
            indexes: Indexes::default(),
            kv: Keys::default(),
            lock_sessions: OrdMap::new(),
            user_events: Vector::new(),
            nodes: OrdMap::new(),
            next_node: FIRST_ALLOCATED_NODE_ID,
            sessions: Sessions::default(),
            events: EventRing::default(),
        }
    }
}

impl Catalog {
    /// Applies one committed request. Total: whatever is wrong with the request is said in the reply.
    ///
    /// A request id that was seen before is answered as it was then, and changes nothing.
    ///
    /// # Panics
    /// When `revision` is not above [`Catalog::revision`]: the caller lost its place in the log, and a catalogue that
    /// went on would differ from its peers.
    pub fn apply(&mut self, revision: Revision, request: &Request) -> Applied {
        self.advance(revision);
        self.clock = self.clock.max(request.at);
        let seen = request.id.as_ref().map_or(Seen::New, |id| self.sessions.look_up(id, self.clock));
        match seen {
            Seen::Answered(outcome) => Applied { outcome: Outcome { replayed: true, ..outcome }, event: None },
            Seen::Refused(refusal) => refused(revision, refusal),
            Seen::New => {
                let applied = self.apply_new(revision, request);
                if let Some(id) = &request.id {
                    self.sessions.record(id, &applied.outcome.remembered(), self.clock);
                }
                applied
            }
        }
    }

    fn apply_new(&mut self, revision: Revision, request: &Request) -> Applied {
        let done = match self.execute(revision, request) {
            Ok(done) => done,
            Err(refusal) => return refused(revision, refusal),
        };
        let event = done.change.map(|change| {
            let event =
                Arc::new(Event { revision, at: self.clock, actor: request.actor.clone(), reason: done.reason, change });
            self.events.push(event.clone());
            event
        });
        Applied { outcome: Outcome { revision, reply: done.reply, replayed: false }, event }
    }

    /// Moves on past a log entry that holds no request (a blank entry, a membership change).
    ///
    /// # Panics
    /// As [`Catalog::apply`].
    pub fn advance(&mut self, revision: Revision) {
        assert!(revision > self.revision, "revision {revision} applied after {}", self.revision);
        self.revision = revision;
    }
}

/// What executing a command came to.
pub(crate) struct Done {
    pub(crate) reply: Reply,
    pub(crate) change: Option<Change>,
    pub(crate) reason: Option<rollcall_types::Text>,
}

impl Done {
    pub(crate) fn new(reply: Reply, change: Option<Change>) -> Self {
        Self { reply, change, reason: None }
    }

    /// A write that made or changed something at `revision`.
    pub(crate) fn written(created: bool, revision: Revision, change: Change) -> Self {
        Self::new(Reply::Written { created, changed: true, modified: revision }, Some(change))
    }

    /// A write equal to what has been there since `modified`.
    pub(crate) fn unchanged(modified: Revision) -> Self {
        Self::new(Reply::Written { created: false, changed: false, modified }, None)
    }
}

fn refused(revision: Revision, refusal: Refusal) -> Applied {
    Applied { outcome: Outcome { revision, reply: Reply::Refused(refusal), replayed: false }, event: None }
}

#[cfg(test)]
mod tests {
    use rollcall_types::{InstanceId, InstanceSpec, Tags, Weight};

    use super::*;
    use crate::{Actor, Command, Limit, Precondition};

    fn register(catalog: &mut Catalog, id: &str, weight: u64) -> Reply {
        let spec = InstanceSpec {
            endpoints: Box::default(),
            zone: None,
            region: None,
            version: None,
            tags: Tags::new(),
            metadata: rollcall_types::Metadata::new(),
            weight: Weight::try_from(weight).unwrap(),
            lease: None,
            checks: Box::default(),
            deregister_after: None,
        };
        let command = Command::Register {
            service: "web".parse().unwrap(),
            id: InstanceId::try_from(id).unwrap(),
            spec: Arc::new(spec),
            expect: Precondition::None,
        };
        let actor = Actor { name: "ann".parse().unwrap(), via: "n1".parse().unwrap() };
        let request = Request { id: None, at: UnixMillis::default(), actor, command };
        catalog.apply(Revision::new(catalog.revision.get() + 1), &request).outcome.reply
    }

    #[test]
    fn one_instance_too_many_is_refused_and_known_ones_can_still_be_replaced() {
        // Millions of instances would take the test minutes to make, so the count is set to what they would come to.
        let mut catalog = Catalog { instance_count: INSTANCES_MAX - 1, ..Catalog::default() };
        assert!(matches!(register(&mut catalog, "last", 1), Reply::Written { created: true, .. }));
        let full = Refusal::LimitReached { what: Limit::Instances, max: INSTANCES_MAX };
        assert_eq!(register(&mut catalog, "more", 1), Reply::Refused(full));
        assert!(matches!(register(&mut catalog, "last", 2), Reply::Written { created: false, changed: true, .. }));
        assert_eq!(catalog.instance_count, INSTANCES_MAX);
    }
}
