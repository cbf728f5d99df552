//! Clients: what each wants to be registered, and what it knows of that.

use std::sync::Arc;

use bytes::Bytes;
use rollcall_catalog::{Actor, CALLER_PREFIX, Command, Precondition, Refusal, Reply, Request, RequestId};
use rollcall_types::{
    ActorName, CheckKind, CheckSpec, InstanceId, InstanceSpec, Invalid, JsonText, KvKey, LeaseSpec, Lifecycle,
    Metadata, Millis, NodeName, Revision, ServiceName, Tags, Text, UnixMillis, Weight,
};

use crate::dice::Dice;

/// Services that instances are registered under.
pub(crate) const SERVICES: [&str; 3] = ["api", "db", "web"];
/// The key that all clients count up.
pub(crate) const SHARED: &str = "shared";

/// What says whether an instance is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its heartbeats; its time to live in milliseconds.
    Lease(u64),
    /// A probe.
    Probed,
    /// Nothing.
    Unchecked,
}

/// An instance, which one client registers.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) service: ServiceName,
    pub(crate) id: InstanceId,
    pub(crate) kind: Kind,
    /// Weight and whether it drains, as the client knows it to be registered.
    pub(crate) state: Option<(u16, bool)>,
    /// From here on it sends no heartbeats, or answers no probes.
    pub(crate) fails_from: Option<u64>,
    /// The node that its heartbeats go to.
    pub(crate) node: usize,
    /// Of its last heartbeat.
    pub(crate) beat: u64,
}

/// What a write is to do, as its client thinks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Register { instance: usize, weight: u16 },
    Deregister { instance: usize },
    Drain { instance: usize, is_draining: bool },
    Put { value: Bytes },
    Delete,
    Count { at: Option<Revision>, value: Bytes },
    Document { number: u64 },
}

/// A write that was not answered yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) request: Arc<Request>,
    pub(crate) action: Action,
    pub(crate) began: u64,
    pub(crate) tries: u64,
}

/// One client. It has one write under way at most.
#[derive(Debug)]
pub(crate) struct Client {
    name: ActorName,
    session: Arc<str>,
    /// It names its requests by keys, and not by a session.
    uses_keys: bool,
    pub(crate) key: KvKey,
    pub(crate) service: ServiceName,
    pub(crate) instances: Vec<usize>,
    /// Writes so far.
    pub(crate) number: u64,
    pub(crate) pending: Option<Pending>,
    /// What it put last under its key.
    pub(crate) value: Option<Bytes>,
    /// Documents that it wrote.
    pub(crate) documents: u64,
    /// How often it counted up the shared key.
    pub(crate) counted: u64,
}

impl Client {
    pub(crate) fn new(index: usize, instances: Vec<usize>, uses_keys: bool) -> Result<Self, Invalid> {
        Ok(Self {
            name: format!("client-{index}").parse()?,
            session: format!("{CALLER_PREFIX}client-{index}").into(),
            uses_keys,
            key: format!("own/{index}").parse()?,
            service: format!("conf-{index}").parse()?,
            instances,
            number: 0,
            pending: None,
            value: None,
            documents: 0,
            counted: 0,
        })
    }

    /// The next write; it becomes the pending one.
    pub(crate) fn begin(&mut self, action: Action, owned: &[Owned], now: u64) -> Result<(), Invalid> {
        self.number += 1;
        let request = Request {
            id: Some(self.request_id()),
            at: UnixMillis::default(),
            actor: Actor { name: self.name.clone(), via: NodeName::try_from("n0")? },
            command: self.command(&action, owned)?,
        };
        self.pending = Some(Pending { request: Arc::new(request), action, began: now, tries: 0 });
        Ok(())
    }

    fn request_id(&self) -> RequestId {
        let (session, number) = (&self.session, self.number);
        if self.uses_keys {
            return RequestId::Key { key: format!("{session}/{number}").into(), fingerprint: number };
        }
        RequestId::Sequence { client: session.clone(), sequence: number, acknowledged_below: number }
    }

    fn command(&self, action: &Action, owned: &[Owned]) -> Result<Command, Invalid> {
        let place = |instance: &usize| (owned[*instance].service.clone(), owned[*instance].id.clone());
        let expect = Precondition::None;
        Ok(match action {
            Action::Register { instance, weight } => {
                let (service, id) = place(instance);
                let is_new = owned[*instance].state.is_none();
                let spec = Arc::new(spec(owned[*instance].kind, *weight)?);
                Command::Register { service, id, spec, expect: if is_new { Precondition::Absent } else { expect } }
            }
            Action::Deregister { instance } => {
                let (service, id) = place(instance);
                Command::Deregister { service, id, expect, reason: None }
            }
            Action::Drain { instance, is_draining } => {
                let (service, id) = place(instance);
                let draining = Lifecycle::Draining { deadline: None, reason: Text::default() };
                let lifecycle = if *is_draining { draining } else { Lifecycle::Active };
                Command::SetLifecycle { service, id, lifecycle, expect, reason: None }
            }
            Action::Put { value } => Command::KvPut { key: self.key.clone(), value: value.clone(), flags: 0, expect },
            Action::Delete => Command::KvDelete { key: self.key.clone(), expect },
            Action::Count { at, value } => Command::KvPut {
                key: SHARED.parse()?,
                value: value.clone(),
                flags: 0,
                expect: at.map_or(Precondition::Absent, Precondition::At),
            },
            Action::Document { number } => Command::SetConfig {
                service: self.service.clone(),
                document: JsonText::try_from(format!("{{\"n\":{number}}}").as_str())?,
                schema_at: None,
                expect,
            },
        })
    }

    /// Takes in the answer to the pending write. Returns whether it is the one answer that there can be: nobody else writes what
    /// this client does, but for the shared key.
    pub(crate) fn end(&mut self, action: &Action, owned: &mut [Owned], reply: &Reply) -> bool {
        match action {
            Action::Register { instance, weight } => {
                let state = &mut owned[*instance].state;
                let is_new = state.is_none();
                let is_right = matches!(reply, Reply::Written { created, .. } if *created == is_new);
                *state = Some((*weight, state.is_some_and(|(_, is_draining)| is_draining)));
                is_right
            }
            Action::Deregister { instance } => {
                let was_there = owned[*instance].state.take().is_some();
                *reply == Reply::Removed { existed: was_there }
            }
            Action::Drain { instance, is_draining } => match &mut owned[*instance].state {
                Some(state) => {
                    state.1 = *is_draining;
                    matches!(reply, Reply::Written { created: false, .. })
                }
                None => matches!(reply, Reply::Refused(Refusal::InstanceNotFound | Refusal::ServiceNotFound)),
            },
            Action::Put { value } => {
                let is_new = self.value.replace(value.clone()).is_none();
                matches!(reply, Reply::Written { created, changed: true, .. } if *created == is_new)
            }
            Action::Delete => *reply == Reply::Removed { existed: self.value.take().is_some() },
            Action::Count { .. } => match reply {
                Reply::Written { changed: true, .. } => {
                    self.counted += 1;
                    true
                }
                Reply::Refused(Refusal::PreconditionFailed { .. }) => true,
                _ => false,
            },
            Action::Document { .. } => {
                self.documents += 1;
                matches!(reply, Reply::Written { changed: true, .. })
            }
        }
    }

    /// What it wants next; `shared` is the shared key as some node shows it.
    pub(crate) fn choose(&self, owned: &[Owned], shared: Option<(Bytes, Revision)>, dice: &mut Dice) -> Action {
        let instance = self.instances[dice.below(self.instances.len() as u64) as usize];
        let next = self.number + 1;
        match (owned[instance].state, dice.below(12)) {
            (None, 0..=6) | (Some(_), 0) => Action::Register { instance, weight: 1 + dice.below(200) as u16 },
            (_, 1) => Action::Deregister { instance },
            (Some((_, is_draining)), 2 | 3) => Action::Drain { instance, is_draining: !is_draining },
            (None, 7) => Action::Drain { instance, is_draining: true },
            (_, 8) => Action::Delete,
            (_, 9) => Action::Document { number: next },
            (_, 10 | 11) => {
                let count = shared.as_ref().map_or(0, |(value, _)| count_of(value)) + 1;
                Action::Count { at: shared.map(|(_, at)| at), value: Bytes::from(count.to_string()) }
            }
            _ => Action::Put { value: Bytes::from(next.to_string()) },
        }
    }
}

/// The number that a value of the shared key says.
pub(crate) fn count_of(value: &Bytes) -> u64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn spec(kind: Kind, weight: u16) -> Result<InstanceSpec, Invalid> {
    let check = || -> Result<CheckSpec, Invalid> {
        Ok(CheckSpec {
            id: "port".parse()?,
            name: Text::default(),
            notes: Text::default(),
            capability: None,
            kind: CheckKind::Tcp { host: "192.0.2.1".try_into()?, port: 80_u64.try_into()? },
            interval: Millis::new(2_000),
            timeout: Millis::new(1_000),
            failures_before_critical: 3,
            successes_before_passing: 2,
        })
    };
    Ok(InstanceSpec {
        endpoints: Box::default(),
        zone: None,
        region: None,
        version: None,
        tags: Tags::new(),
        metadata: Metadata::new(),
        weight: Weight::try_from(u64::from(weight))?,
        lease: match kind {
            Kind::Lease(ttl) => Some(LeaseSpec { ttl: Millis::new(ttl) }),
            _ => None,
        },
        checks: if kind == Kind::Probed { Box::new([check()?]) } else { Box::default() },
        deregister_after: None,
    })
}
