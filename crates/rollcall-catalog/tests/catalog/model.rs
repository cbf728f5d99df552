//! The catalogue as one would write it without a thought for speed: plain maps, and nothing derived is kept.
//!
//! Written from the documentation of the commands, not from the code. It forgets no session and no idempotency key
//! (random logs are far below those bounds).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model_locks::Locks;
use rollcall_catalog::{
    Command, Config, Instance, Journaled, KvEntry, NodeRecord, Outcome, Precondition, Refusal, Reply, Request,
    RequestId, StatusChange,
};
use rollcall_types::{
    CheckStatuses, InstanceId, KvKey, Lifecycle, NodeId, Revision, ServiceDefinition, ServiceName, Status, StatusCause,
    UnixMillis,
};

type Answer = Result<Reply, Refusal>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelService {
    pub(crate) name: ServiceName,
    pub(crate) definition: Option<(Revision, ServiceDefinition)>,
    pub(crate) config: Option<Config>,
    pub(crate) instances: BTreeMap<InstanceId, (Instance, Journaled)>,
    pub(crate) created: Revision,
    pub(crate) modified: Revision,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) clock: UnixMillis,
    /// By name in lower case.
    pub(crate) services: BTreeMap<String, ModelService>,
    pub(crate) kv: BTreeMap<KvKey, KvEntry>,
    pub(crate) nodes: BTreeMap<NodeId, NodeRecord>,
    nodes_ever: u64,
    keys: BTreeMap<Arc<str>, (u64, Outcome)>,
    sessions: BTreeMap<Arc<str>, (u64, BTreeMap<u64, Outcome>)>,
    pub(crate) locks: Locks,
    events: Vec<(u128, Revision)>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            clock: UnixMillis::default(),
            services: BTreeMap::new(),
            kv: BTreeMap::new(),
            nodes: BTreeMap::new(),
            nodes_ever: 0,
            keys: BTreeMap::new(),
            sessions: BTreeMap::new(),
            locks: Locks::default(),
            events: Vec::new(),
        }
    }

    /// What the client must be told.
    pub(crate) fn apply(&mut self, revision: Revision, request: &Request) -> Outcome {
        self.clock = self.clock.max(request.at);
        let answer = |reply| Outcome { revision, reply, replayed: false };
        match self.earlier_answer(request.id.as_ref()) {
            Some(Ok(first)) => return Outcome { replayed: true, ..first },
            Some(Err(refusal)) => return answer(Reply::Refused(refusal)),
            None => {}
        }
        let outcome = answer(self.execute(revision, request).unwrap_or_else(Reply::Refused));
        match &request.id {
            None => {}
            Some(RequestId::Key { key, fingerprint }) => {
                self.keys.insert(key.clone(), (*fingerprint, outcome.clone()));
            }
            Some(RequestId::Sequence { client, sequence, acknowledged_below }) => {
                let (floor, answers) = self.sessions.entry(client.clone()).or_default();
                answers.insert(*sequence, outcome.clone());
                *floor = (*floor).max(*acknowledged_below.min(sequence));
            }
        }
        outcome
    }

    fn earlier_answer(&self, id: Option<&RequestId>) -> Option<Result<Outcome, Refusal>> {
        match id? {
            RequestId::Key { key, fingerprint } => {
                let (first, outcome) = self.keys.get(key)?;
                Some(if first == fingerprint { Ok(outcome.clone()) } else { Err(Refusal::IdempotencyConflict) })
            }
            RequestId::Sequence { client, sequence, acknowledged_below } => match self.sessions.get(client) {
                None => (*acknowledged_below > 1).then_some(Err(Refusal::SessionExpired)),
                Some((floor, _)) if sequence < floor => Some(Err(Refusal::AnswerForgotten)),
                Some((_, answers)) => answers.get(sequence).cloned().map(Ok),
            },
        }
    }

    fn execute(&mut self, revision: Revision, request: &Request) -> Answer {
        match &request.command {
            Command::Register { .. } => self.register(revision, request),
            Command::Deregister { service, id, expect, .. } => {
                let lower = service.to_lowercase();
                let found = self.services.get(&lower).and_then(|entry| entry.instances.get(id));
                require(*expect, found.map(|(instance, _)| instance.modified))?;
                let existed = found.is_some();
                if let Some(entry) = self.services.get_mut(&lower).filter(|_| existed) {
                    entry.instances.remove(id);
                    entry.modified = revision;
                }
                self.services.retain(|_, entry| {
                    entry.definition.is_some() || entry.config.is_some() || !entry.instances.is_empty()
                });
                Ok(Reply::Removed { existed })
            }
            Command::SetLifecycle { service, id, lifecycle, expect, .. } => {
                let clock = self.clock;
                let entry = self.services.get_mut(&service.to_lowercase()).ok_or(Refusal::ServiceNotFound)?;
                let (instance, _) = entry.instances.get_mut(id).ok_or(Refusal::InstanceNotFound)?;
                require(*expect, Some(instance.modified))?;
                if instance.lifecycle == *lifecycle {
                    return Ok(unchanged(instance.modified));
                }
                instance.lifecycle = lifecycle.clone();
                (instance.modified, instance.modified_at, entry.modified) = (revision, clock, revision);
                Ok(written(false, revision))
            }
            Command::Define { .. } | Command::RemoveService { .. } => self.describe(revision, &request.command),
            Command::SetConfig { .. } => self.configure(revision, request),
            Command::KvPut { key, value, flags, expect } => {
                let old = self.kv.get(key).cloned();
                require(*expect, old.as_ref().map(|entry| entry.modified))?;
                let created = old.as_ref().map_or(revision, |entry| entry.created);
                match old {
                    Some(old) if old.value == *value && old.flags == *flags => Ok(unchanged(old.modified)),
                    old => {
                        let session = old.as_ref().and_then(|old| old.session);
                        let lock_index = self.locks.lock_index(key);
                        let (value, flags) = (value.clone(), *flags);
                        let entry = KvEntry { value, flags, created, modified: revision, lock_index, session };
                        self.kv.insert(key.clone(), entry);
                        Ok(written(old.is_none(), revision))
                    }
                }
            }
            Command::KvDelete { key, expect } => {
                require(*expect, self.kv.get(key).map(|entry| entry.modified))?;
                Ok(Reply::Removed { existed: self.kv.remove(key).is_some() })
            }
            Command::AllocateNode { name, nonce } => match self.nodes.values().find(|node| node.name == *name) {
                Some(known) if known.nonce == *nonce => Ok(Reply::NodeAllocated { node: known.node }),
                Some(other) => Err(Refusal::NodeNameTaken { name: name.clone(), node: other.node }),
                None => {
                    let node = NodeId::new(101 + self.nodes_ever);
                    self.nodes_ever += 1;
                    self.nodes.insert(node, NodeRecord { node, name: name.clone(), nonce: *nonce });
                    Ok(Reply::NodeAllocated { node })
                }
            },
            Command::ForgetNode { node } => Ok(Reply::Removed { existed: self.nodes.remove(node).is_some() }),
            Command::RecordStatuses { transitions } => {
                let recorded = transitions.iter().filter(|change| self.journal(revision, change)).count();
                Ok(Reply::StatusesRecorded { transitions: recorded as u64 })
            }
            Command::KvTransact { ops } => {
                let before = self.kv.clone();
                let done = self.locks.transact(&mut self.kv, revision, ops);
                done.inspect_err(|_| self.kv = before)
            }
            Command::OpenSession { .. }
            | Command::RenewSession { .. }
            | Command::CloseSession { .. }
            | Command::EndLockDelays { .. } => self.locks.about_sessions(&mut self.kv, revision, &request.command),
            Command::FireEvent { event } => Ok(match self.events.iter().find(|(id, _)| *id == event.id) {
                Some((_, fired)) => unchanged(*fired),
                None => {
                    self.events.push((event.id, revision));
                    written(true, revision)
                }
            }),
        }
    }

    fn register(&mut self, revision: Revision, request: &Request) -> Answer {
        let Command::Register { service, id, spec, expect } = &request.command else { unreachable!("a registration") };
        self.require_spelling(service)?;
        let found = self.services.get(&service.to_lowercase()).and_then(|entry| entry.instances.get(id)).cloned();
        require(*expect, found.as_ref().map(|(instance, _)| instance.modified))?;
        if let Some((same, _)) = found.as_ref().filter(|(old, _)| old.spec == *spec) {
            return Ok(unchanged(same.modified));
        }
        let is_new = found.is_none();
        let slot = self.lowest_free_slot();
        let unseen = Journaled {
            status: Status::Unknown,
            cause: StatusCause::Unseen,
            since: self.clock,
            critical_since: None,
            revision: Revision::ZERO,
            checks: CheckStatuses::default(),
        };
        let (born, journaled) = found.unwrap_or_else(|| {
            (
                Instance {
                    service: service.clone(),
                    id: id.clone(),
                    slot,
                    spec: spec.clone(),
                    lifecycle: Lifecycle::Active,
                    registered_by: request.actor.clone(),
                    registered_at: self.clock,
                    modified_at: self.clock,
                    created: revision,
                    modified: revision,
                },
                unseen,
            )
        });
        let (modified_at, registered_by) = (self.clock, request.actor.clone());
        let instance = Instance { spec: spec.clone(), registered_by, modified_at, modified: revision, ..born };
        self.service(service, revision).instances.insert(id.clone(), (instance, journaled));
        Ok(written(is_new, revision))
    }

    /// Whether there was something to write down.
    fn journal(&mut self, revision: Revision, change: &StatusChange) -> bool {
        let clock = self.clock;
        let service = self.services.get_mut(&change.service.to_lowercase());
        let Some((instance, journaled)) = service.and_then(|entry| entry.instances.get_mut(&change.id)) else {
            return false;
        };
        let said = (change.to, change.checks);
        if instance.created != change.created || (journaled.status, journaled.checks) == said {
            return false;
        }
        if journaled.status == change.to {
            (journaled.checks, journaled.revision) = (change.checks, revision);
            return true;
        }
        let critical_since = match change.to {
            Status::Critical => Some(journaled.critical_since.unwrap_or(clock)),
            Status::Unknown => journaled.critical_since,
            _ => None,
        };
        let (to, cause, checks) = (change.to, change.cause, change.checks);
        *journaled = Journaled { status: to, cause, since: clock, critical_since, revision, checks };
        true
    }

    fn lowest_free_slot(&self) -> u32 {
        let instances = || self.services.values().flat_map(|entry| entry.instances.values());
        (0..).find(|slot| instances().all(|(instance, _)| instance.slot != *slot)).expect("there are few instances")
    }

    fn describe(&mut self, revision: Revision, command: &Command) -> Answer {
        match command {
            Command::Define { service, definition, expect } => {
                self.require_spelling(service)?;
                let old = self.services.get(&service.to_lowercase()).and_then(|entry| entry.definition.clone());
                require(*expect, old.as_ref().map(|(defined, _)| *defined))?;
                if let Some((defined, _)) = old.as_ref().filter(|(_, old)| *old == **definition) {
                    return Ok(unchanged(*defined));
                }
                self.service(service, revision).definition = Some((revision, (**definition).clone()));
                Ok(written(old.is_none(), revision))
            }
            Command::RemoveService { service, expect } => {
                let found = self.services.get(&service.to_lowercase());
                let defined = found.and_then(|entry| entry.definition.as_ref()).map(|(defined, _)| *defined);
                require(*expect, defined)?;
                let instances = found.map_or(0, |entry| entry.instances.len() as u64);
                if instances > 0 {
                    return Err(Refusal::ServiceNotEmpty { instances });
                }
                Ok(Reply::Removed { existed: self.services.remove(&service.to_lowercase()).is_some() })
            }
            _ => unreachable!("about a service"),
        }
    }

    fn configure(&mut self, revision: Revision, request: &Request) -> Answer {
        let Command::SetConfig { service, document, schema_at, expect } = &request.command else {
            unreachable!("a configuration")
        };
        self.require_spelling(service)?;
        let found = self.services.get(&service.to_lowercase());
        let old = found.and_then(|entry| entry.config.clone());
        require(*expect, old.as_ref().map(|config| config.modified))?;
        if found.and_then(|entry| entry.definition.as_ref()).map(|(defined, _)| *defined) != *schema_at {
            return Err(Refusal::SchemaChanged);
        }
        if let Some(same) = old.as_ref().filter(|old| old.document == *document) {
            return Ok(unchanged(same.modified));
        }
        let config = Config {
            document: document.clone(),
            version: old.as_ref().map_or(0, |old| old.version) + 1,
            modified: revision,
            modified_at: self.clock,
            modified_by: request.actor.clone(),
        };
        self.service(service, revision).config = Some(config);
        Ok(written(old.is_none(), revision))
    }

    fn require_spelling(&self, name: &ServiceName) -> Result<(), Refusal> {
        match self.services.get(&name.to_lowercase()) {
            Some(entry) if entry.name != *name => Err(Refusal::ServiceNameConflict { existing: entry.name.clone() }),
            _ => Ok(()),
        }
    }

    /// The service, changed at `revision`, and made then if it was not there.
    fn service(&mut self, name: &ServiceName, revision: Revision) -> &mut ModelService {
        let entry = self.services.entry(name.to_lowercase()).or_insert_with(|| ModelService {
            name: name.clone(),
            definition: None,
            config: None,
            instances: BTreeMap::new(),
            created: revision,
            modified: revision,
        });
        entry.modified = revision;
        entry
    }
}

pub(crate) fn require(expect: Precondition, actual: Option<Revision>) -> Result<(), Refusal> {
    let is_met = match expect {
        Precondition::None => true,
        Precondition::Exists => actual.is_some(),
        Precondition::Absent => actual.is_none(),
        Precondition::At(revision) => actual.is_some_and(|actual| actual == revision),
    };
    if is_met { Ok(()) } else { Err(Refusal::PreconditionFailed { actual }) }
}

fn written(created: bool, revision: Revision) -> Reply {
    Reply::Written { created, changed: true, modified: revision }
}

fn unchanged(since: Revision) -> Reply {
    Reply::Written { created: false, changed: false, modified: since }
}
