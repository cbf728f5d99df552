//! Runs a story and writes down what happened.

use std::fmt::Write as _;
use std::sync::Arc;

use rollcall_catalog::{
    Applied, Catalog, Change, Command, Event, Instance, Journaled, KvChange, KvEntry, KvFailure, KvResult, Refusal,
    Reply, Request, Transition,
};
use rollcall_types::{Lifecycle, Revision, SessionId, UnixMillis};

use crate::given::{self, content, import, stream};
use crate::script::{self, Step};

/// Catalogues up to this revision are also checked as a whole after every step; a longer story would take too long.
const CHECKED_UP_TO: u64 = 200;

/// A story under way.
#[derive(Default)]
pub(crate) struct Story {
    catalog: Catalog,
    /// Go on with an imported copy after every step, as a node does that was sent a snapshot.
    is_moving: bool,
}

impl Story {
    /// What the commands of `script` answer, a line each.
    pub(crate) fn tell(script: &str) -> String {
        Self::default().run(script)
    }

    /// The same, when after every command a snapshot is taken and the copy goes on.
    pub(crate) fn tell_moving(script: &str) -> String {
        Self { is_moving: true, ..Self::default() }.run(script)
    }

    fn run(mut self, script: &str) -> String {
        let mut told = String::new();
        for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            told.push_str(&self.step(line));
            told.push('\n');
            if self.is_moving && self.catalog.revision().get() <= CHECKED_UP_TO {
                self.catalog = import(self.catalog.export()).expect("an exported stream is taken");
            }
        }
        told
    }

    fn step(&mut self, line: &str) -> String {
        let next = self.catalog.revision().get() + 1;
        match script::parse(line, next) {
            Step::Request(request) => self.apply(Revision::new(next), &request),
            Step::Blank => {
                self.catalog.advance(Revision::new(next));
                format!("@{next} blank")
            }
            Step::Repeat(count, template) => {
                let lines = (1..=count).map(|n| self.step(&template.replace("{n}", &n.to_string())));
                format!("{count} times; the last: {}", lines.last().expect("at least once"))
            }
            Step::Snapshot => self.snapshot(),
            Step::Show(what, name) => show(&self.catalog, &what, name.as_deref()),
            Step::Events(cursor) => events(&self.catalog, cursor),
        }
    }

    fn apply(&mut self, revision: Revision, request: &Request) -> String {
        let is_checked = revision.get() <= CHECKED_UP_TO;
        let before = is_checked.then(|| content(&self.catalog));
        let applied = self.catalog.apply(revision, request);
        if let Some(before) = before {
            let is_same = content(&self.catalog) == before;
            let is_silent = applied.event.is_none() && !is_about_a_node(&applied) && !is_about_time(request);
            assert!(is_same || !is_silent, "@{revision} said nothing and changed something");
        }
        describe(revision, &applied)
    }

    fn snapshot(&mut self) -> String {
        let copy = import(self.catalog.export()).expect("an exported stream is taken");
        assert_eq!(copy, self.catalog, "the copy equals the original");
        assert_eq!(stream(&copy), stream(&self.catalog), "the copy writes the same stream");
        self.catalog = copy;
        "snapshot read back; the copy goes on".to_owned()
    }
}

/// That a holder is there, and that a delay is over, comes too often to be told.
fn is_about_time(request: &Request) -> bool {
    matches!(request.command, Command::RenewSession { .. } | Command::EndLockDelays { .. })
}

/// Node ids are no events: nobody watches them.
fn is_about_a_node(applied: &Applied) -> bool {
    match applied.outcome.reply {
        Reply::NodeAllocated { .. } | Reply::Removed { existed: true } => !applied.outcome.replayed,
        _ => false,
    }
}

fn describe(revision: Revision, applied: &Applied) -> String {
    let outcome = &applied.outcome;
    let mut line = format!("@{revision} ");
    if outcome.replayed {
        write!(line, "replay of @{}: ", outcome.revision).unwrap();
    } else {
        assert_eq!(outcome.revision, revision, "an answer says where it was given");
    }
    match &outcome.reply {
        Reply::Written { created: true, .. } => line.push_str("created"),
        Reply::Written { changed: true, .. } => line.push_str("changed"),
        Reply::Written { modified, .. } => write!(line, "unchanged since @{modified}").unwrap(),
        Reply::Removed { existed: true } => line.push_str("removed"),
        Reply::Removed { existed: false } => line.push_str("was not there"),
        Reply::NodeAllocated { node } => write!(line, "node {node}").unwrap(),
        Reply::StatusesRecorded { transitions } => write!(line, "{transitions} recorded").unwrap(),
        Reply::Transacted { results } => {
            line.push_str("transacted");
            for KvResult { op, key, entry } in results.iter() {
                write!(line, " [{op}: {key}={}]", entry_text(entry)).unwrap();
            }
        }
        Reply::Refused(Refusal::TransactionFailed { failures }) => {
            let failures = failures.iter().map(|KvFailure { op, problem }| format!("[{op}: {problem}]"));
            write!(line, "refused: {}", failures.collect::<Vec<_>>().join(" ")).unwrap();
        }
        Reply::Refused(refusal) => write!(line, "refused: {refusal}").unwrap(),
    }
    if let Reply::Written { changed: true, modified, .. } = outcome.reply {
        assert_eq!(modified, outcome.revision, "what changed was last changed now");
    }
    if let Some(event) = &applied.event {
        assert_eq!(event.revision, revision, "an event has the revision of its write");
        write!(line, "; event {}", describe_event(event)).unwrap();
    }
    line
}

fn describe_event(event: &Event) -> String {
    let mut line = format!("{} ", event.change.action());
    match &event.change {
        Change::InstancePut { instance, .. } | Change::LifecycleSet { instance } => {
            write!(line, "{}/{}{}", instance.service, instance.id, lifecycle(instance)).unwrap();
        }
        Change::InstanceRemoved { service, id, .. } => write!(line, "{service}/{id}").unwrap(),
        Change::ServiceDefined { service, .. } | Change::ServiceRemoved { service } => line.push_str(service),
        Change::ConfigSet { service, config } => write!(line, "{service} version {}", config.version).unwrap(),
        Change::KvPut { key, entry } => write!(line, "{key}={}", value(entry)).unwrap(),
        Change::KvRemoved { key } => line.push_str(key),
        Change::KvChanged { changes } => line.push_str(&key_changes(changes)),
        Change::SessionOpened { session } => write!(line, "s{}", number(session.id)).unwrap(),
        Change::SessionClosed { session, changes } => {
            write!(line, "s{}: {}", number(session.id), key_changes(changes)).unwrap();
        }
        Change::UserEvent { event } => write!(line, "{} {}", event.fired.name, event.fired.id).unwrap(),
        Change::StatusesChanged { transitions } => {
            let told = transitions.iter().take(4).map(|it| {
                let Transition { service, id, slot, from, to, cause } = it;
                let what = if it.is_of_instance() { "" } else { " by a check alone" };
                format!("{service}/{id} in slot {slot} {from} → {to} ({cause}){what}")
            });
            line.push_str(&told.collect::<Vec<_>>().join(", "));
            if transitions.len() > 4 {
                write!(line, " and {} more", transitions.len() - 4).unwrap();
            }
        }
    }
    if let Some(reason) = &event.reason {
        write!(line, " because {reason:?}").unwrap();
    }
    if &*event.actor.name != "ann" {
        write!(line, " by {}", event.actor.name).unwrap();
    }
    line
}

fn key_changes(changes: &[KvChange]) -> String {
    let told = changes.iter().map(|change| match change {
        KvChange::Put { key, entry } => format!("{key}={}", entry_text(entry)),
        KvChange::Removed { key } => format!("-{key}"),
        KvChange::PrefixRemoved { prefix, keys } => format!("-{prefix}* ({keys})"),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// A value, and who holds it.
fn entry_text(entry: &KvEntry) -> String {
    let lock = entry.session.map(|holder| format!(" held by s{} as {}", number(holder), entry.lock_index));
    format!("{}{} @{}", value(entry), lock.unwrap_or_default(), entry.modified)
}

/// The number in an id, as the stories write it.
fn number(id: SessionId) -> u64 {
    let hex = id.to_string().replace('-', "");
    u64::from_str_radix(&hex[16..], 16).unwrap()
}

fn events(catalog: &Catalog, cursor: Revision) -> String {
    let Some(events) = catalog.events().after(cursor) else {
        return format!("events after @{cursor}: forgotten up to @{}", catalog.events().compacted());
    };
    let events: Vec<_> = events.collect();
    let list = |events: &[&Arc<Event>]| {
        let lines = events
            .iter()
            .map(|event| format!("\n  @{} at {}: {}", event.revision, seconds(event.at), describe_event(event)));
        lines.collect::<String>()
    };
    match events.len() {
        0 => format!("events after @{cursor}: none"),
        1..=20 => format!("events after @{cursor}:{}", list(&events)),
        many => format!(
            "events after @{cursor}: {many}, the first and the last:{}{}",
            list(&events[..1]),
            list(&events[many - 1..])
        ),
    }
}

fn show(catalog: &Catalog, what: &str, name: Option<&str>) -> String {
    let names = |services: Vec<String>| if services.is_empty() { "none".to_owned() } else { services.join(" ") };
    match (what, name) {
        ("counts", None) => {
            format!("{} instances in {} services", catalog.instance_count(), catalog.service_count())
        }
        ("clock", None) => format!("clock {}", seconds(catalog.clock())),
        ("services", None) => {
            format!("services: {}", names(catalog.services().map(|service| service.name.to_string()).collect()))
        }
        ("service", Some(name)) => show_service(catalog, name),
        ("instance", Some(name)) => show_instance(catalog, name),
        ("journal", None) => format!("journal:{}", journal(catalog)),
        ("slots", None) => format!("slots: {}; end {}", names(slots(catalog)), catalog.slots_end()),
        ("tag", Some(tag)) => {
            let services = catalog.tagged(&tag.parse().unwrap()).map(|service| service.name.to_string());
            format!("tag {tag}: {}", names(services.collect()))
        }
        ("capability", Some(capability)) => {
            let services = catalog.offering(&capability.parse().unwrap()).map(|service| service.name.to_string());
            format!("capability {capability}: {}", names(services.collect()))
        }
        ("capabilities", None) => {
            let counts = catalog.capabilities().map(|(capability, count)| format!("{capability}({count})"));
            format!("capabilities: {}", names(counts.collect()))
        }
        ("index", Some(key)) => format!(
            "index of {key} @{}, under it @{}",
            catalog.kv_index(&given::key(key)),
            catalog.kv_prefix_index(key)
        ),
        ("service-index", Some(name)) => format!("index of {name} @{}", catalog.service_index(name)),
        ("sessions", None) => {
            let sessions = catalog.lock_sessions().values().map(|it| {
                let held: Vec<_> = catalog.held_by(it.id).map(|key| key.as_str()).collect();
                format!("s{} renewed @{} holds [{}]", number(it.id), it.renewed, held.join(" "))
            });
            format!("sessions: {}", names(sessions.collect()))
        }
        ("delays", None) => {
            let delays =
                catalog.lock_delays().iter().map(|(key, it)| format!("{key} since @{} for {}", it.since, it.delay));
            format!("delays: {}", names(delays.collect()))
        }
        ("fired", None) => {
            let events = catalog.user_events().map(|it| format!("{} {} @{}", it.fired.name, it.fired.id, it.revision));
            format!("fired: {}", names(events.collect()))
        }
        ("kv", prefix) => {
            let keys = catalog.kv_prefix(prefix.unwrap_or_default()).map(|(key, entry)| {
                let KvEntry { flags, created, modified, .. } = &**entry;
                format!("{key}={} flags {flags} created @{created} modified @{modified}", value(entry))
            });
            format!("keys: {}", names(keys.collect()))
        }
        ("nodes", None) => {
            let nodes = catalog.nodes().map(|(node, record)| format!("{node}={}", record.name));
            format!("nodes: {}", names(nodes.collect()))
        }
        _ => panic!("show what? {what} {name:?}"),
    }
}

fn show_service(catalog: &Catalog, name: &str) -> String {
    let Some(service) = catalog.service(&given::service(name)) else { return format!("service {name}: none") };
    let mut line = format!("service {}: created @{} modified @{}", service.name, service.created, service.modified);
    if let Some(defined) = service.defined {
        write!(line, ", defined @{defined}").unwrap();
    }
    if let Some(config) = &service.config {
        let by = &config.modified_by.name;
        write!(line, ", config {} version {} @{} by {by}", config.document, config.version, config.modified).unwrap();
    }
    let ids: Vec<&str> = service.instances.keys().map(|id| id.as_str()).collect();
    write!(line, ", instances [{}]", ids.join(" ")).unwrap();
    line
}

/// `SLOT=SERVICE/INSTANCE`, by slot.
fn slots(catalog: &Catalog) -> Vec<String> {
    let instances = catalog.services().flat_map(|service| service.instances.values());
    let mut slots: Vec<_> = instances.collect();
    slots.sort_by_key(|instance| instance.slot);
    slots.iter().map(|instance| format!("{}={}/{}", instance.slot, instance.service, instance.id)).collect()
}

/// A line for each instance.
fn journal(catalog: &Catalog) -> String {
    let instances = catalog.services().flat_map(|service| service.instances.values());
    let told = instances.map(|instance| {
        let Journaled { status, cause, since, critical_since, checks, .. } = catalog.journaled(instance);
        let told =
            instance.spec.checks.iter().filter_map(|check| {
                Some(format!(", {} {}", check.id, checks.of_check(&instance.spec.checks, &check.id)?))
            });
        let told: String = told.collect();
        let critical = critical_since.map(|at| format!(", critical since {}", seconds(at))).unwrap_or_default();
        format!("\n  {}/{} {status} ({cause}) since {}{critical}{told}", instance.service, instance.id, seconds(since))
    });
    told.collect()
}

fn show_instance(catalog: &Catalog, name: &str) -> String {
    let (service, id) = name.split_once('/').expect("SERVICE/INSTANCE");
    let Some(instance) = catalog.instance(&given::service(service), &given::instance(id)) else {
        return format!("instance {name}: none");
    };
    let Instance { spec, registered_by, registered_at, modified_at, created, modified, .. } = &**instance;
    let tags: Vec<&str> = spec.tags.iter().map(|tag| tag.as_str()).collect();
    format!(
        "instance {name}: port {} tags [{}]{}, by {} at {}..{}, created @{created} modified @{modified}",
        spec.endpoints[0].port,
        tags.join(" "),
        lifecycle(instance),
        registered_by.name,
        seconds(*registered_at),
        seconds(*modified_at),
    )
}

fn lifecycle(instance: &Instance) -> String {
    match &instance.lifecycle {
        Lifecycle::Active => String::new(),
        Lifecycle::Draining { deadline: None, reason } => format!(" draining {reason:?}"),
        Lifecycle::Draining { deadline: Some(until), reason } => {
            format!(" draining until {} {reason:?}", seconds(*until))
        }
        Lifecycle::Quarantined { until, reason } => format!(" quarantined until {} {reason:?}", seconds(*until)),
    }
}

fn value(entry: &KvEntry) -> String {
    match std::str::from_utf8(&entry.value) {
        Ok(text) if text.len() <= 40 => text.to_owned(),
        _ => format!("({} bytes)", entry.value.len()),
    }
}

fn seconds(at: UnixMillis) -> String {
    match at.get() {
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}
