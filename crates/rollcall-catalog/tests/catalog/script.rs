//! The language of the stories: one command a line, words and `name=value` options, double quotes around spaces.
//!
//! Options of every command: `if=absent|exists|@REVISION` (precondition), `key=K` (idempotency key),
//! `session=CLIENT/SEQUENCE` with `acked-below=N` (client session), `at=5s` (log time; by default second N at revision
//! N), `by=NAME` (actor).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rollcall_catalog::{Command, KvOp, KvWrite, Precondition, Request, RequestId, StatusChange};
use rollcall_types::{
    CheckStatuses, InstanceId, InstanceSpec, Lifecycle, Millis, NodeId, OnSessionEnd, Revision, ServiceDefinition,
    ServiceName, SessionId, SessionSpec, Status, StatusCause, UnixMillis,
};

use crate::given;

/// One line of a story.
pub(crate) enum Step {
    /// A request, to be applied at the next revision.
    Request(Box<Request>),
    /// A log entry without a request.
    Blank,
    /// The line after it that many times, `{n}` counting from 1.
    Repeat(u64, String),
    /// The catalogue is exported and the story goes on with the imported copy.
    Snapshot,
    /// `show WHAT [NAME]`.
    Show(String, Option<String>),
    /// The events after a cursor.
    Events(Revision),
}

/// Reads a line that will be applied at revision `next`.
///
/// # Panics
/// When the line is not in the language: a story with a typing error must fail.
pub(crate) fn parse(line: &str, next: u64) -> Step {
    if let Some(rest) = line.strip_prefix("repeat ") {
        let (count, template) = rest.split_once(' ').unwrap_or_else(|| panic!("repeat what? {line}"));
        return Step::Repeat(count.parse().unwrap(), template.to_owned());
    }
    let mut words = Words::split(line);
    let verb = words.next();
    let step = match verb.as_str() {
        "blank" => Step::Blank,
        "snapshot" => Step::Snapshot,
        "show" => Step::Show(words.next(), words.plain.pop_front()),
        "events" => Step::Events(Revision::new(words.option("after").map_or(0, |after| after.parse().unwrap()))),
        _ => Step::Request(Box::new(read_request(&verb, &mut words, next))),
    };
    assert!(words.plain.is_empty() && words.options.is_empty(), "not understood in `{line}`: {words:?}");
    step
}

fn read_request(verb: &str, words: &mut Words, next: u64) -> Request {
    let at = words.option("at").map_or(next * 1_000, |at| read_millis(&at));
    let by = words.option("by").unwrap_or_else(|| "ann".to_owned());
    let key = words.option("key");
    let session = words.option("session");
    let acknowledged_below = words.option("acked-below").map_or(1, |below| below.parse().unwrap());
    let body = format!("{verb} {words:?}");
    let id = match (key, session) {
        (Some(key), None) => Some(RequestId::Key { key: Arc::from(key), fingerprint: given::fingerprint(&body) }),
        (None, Some(session)) => {
            let (client, sequence) = session.rsplit_once('/').expect("session=CLIENT/SEQUENCE");
            let sequence = sequence.parse().unwrap();
            Some(RequestId::Sequence { client: Arc::from(client), sequence, acknowledged_below })
        }
        (None, None) => None,
        (Some(_), Some(_)) => panic!("a request has one id"),
    };
    let command = read_command(verb, words);
    Request { id, at: UnixMillis::new(at), actor: given::actor(&by), command }
}

fn read_command(verb: &str, words: &mut Words) -> Command {
    let expect = words.option("if").map_or(Precondition::None, |expect| read_precondition(&expect));
    match verb {
        "register" => {
            let (service, id) = words.next_instance();
            Command::Register { service, id, spec: Arc::new(read_spec(words)), expect }
        }
        "deregister" => {
            let (service, id) = words.next_instance();
            let reason = words.option("reason").map(|reason| reason.parse().unwrap());
            Command::Deregister { service, id, expect, reason }
        }
        "activate" | "drain" | "quarantine" => {
            let (service, id) = words.next_instance();
            let lifecycle = read_lifecycle(verb, words);
            let reason = words.option("reason").map(|reason| reason.parse().unwrap());
            Command::SetLifecycle { service, id, lifecycle, expect, reason }
        }
        "define" => {
            let service = given::service(&words.next());
            Command::Define { service, definition: Arc::new(read_definition(words)), expect }
        }
        "remove" => Command::RemoveService { service: given::service(&words.next()), expect },
        "config" => Command::SetConfig {
            service: given::service(&words.next()),
            document: words.next().parse().unwrap(),
            schema_at: words.option("schema").map(|at| read_revision(&at)),
            expect,
        },
        "kv-put" => {
            let key = given::key(&words.next());
            let flags = words.option("flags").map_or(0, |flags| flags.parse().unwrap());
            Command::KvPut { key, value: Bytes::from(words.next()), flags, expect }
        }
        "transact" => Command::KvTransact { ops: read_ops(words) },
        "open" => Command::OpenSession { id: session(&words.next()), spec: Arc::new(read_session(words)) },
        "renew" => Command::RenewSession { id: session(&words.next()) },
        "close" => Command::CloseSession {
            id: session(&words.next()),
            renewed: words.option("renewed").map(|at| read_revision(&at)),
            reason: words.option("reason").map(|reason| reason.parse().unwrap()),
        },
        "end-delay" => {
            let (key, since) = (given::key(&words.next()), read_revision(&words.next()));
            Command::EndLockDelays { ended: Arc::new([(key, since)]) }
        }
        "fire" => Command::FireEvent { event: Arc::new(given::fired(words.next().parse().unwrap())) },
        "kv-delete" => Command::KvDelete { key: given::key(&words.next()), expect },
        "allocate" => Command::AllocateNode {
            name: words.next().parse().unwrap(),
            nonce: words.option("nonce").expect("nonce=NUMBER").parse().unwrap(),
        },
        "forget" => Command::ForgetNode { node: NodeId::new(words.next().parse().unwrap()) },
        "record" => Command::RecordStatuses {
            transitions: std::mem::take(&mut words.plain).iter().map(|word| read_change(word)).collect(),
        },
        other => panic!("no such command: {other}"),
    }
}

/// Session `s1` has the number 1.
pub(crate) fn session(word: &str) -> SessionId {
    SessionId::new(word.strip_prefix('s').expect("a session is sNUMBER").parse().unwrap())
}

/// A session that lasts until it is closed and leaves nothing behind.
pub(crate) fn plain_session() -> SessionSpec {
    read_session(&mut Words::split(""))
}

fn read_session(words: &mut Words) -> SessionSpec {
    SessionSpec {
        name: rollcall_types::Text::default(),
        node: "n1".parse().unwrap(),
        ttl: words.option("ttl").map(|ttl| Millis::new(read_millis(&ttl))),
        lock_delay: Millis::new(words.option("delay").map_or(0, |delay| read_millis(&delay))),
        on_end: match words.option("then").as_deref() {
            Some("delete") => OnSessionEnd::Delete,
            _ => OnSessionEnd::Release,
        },
        checks: Box::default(),
    }
}

/// Operations with a `;` between them.
fn read_ops(words: &mut Words) -> Arc<[KvOp]> {
    let words: Vec<String> = std::mem::take(&mut words.plain).into();
    words.split(|word| word == ";").map(read_op).collect()
}

fn read_op(words: &[String]) -> KvOp {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let write =
        |key: &str, value: &str| KvWrite { key: given::key(key), value: Bytes::from(value.to_owned()), flags: 0 };
    let expect = |rest: &[&str]| rest.first().map_or(Precondition::None, |expect| read_precondition(expect));
    match words[..] {
        ["put", key, value, ref rest @ ..] => KvOp::Put { write: write(key, value), expect: expect(rest) },
        ["delete", key, ref rest @ ..] => KvOp::Delete { key: given::key(key), expect: expect(rest) },
        ["delete-under", prefix] => KvOp::DeletePrefix { prefix: prefix.parse().unwrap() },
        ["acquire", key, value, by] => KvOp::Acquire { write: write(key, value), session: session(by) },
        ["release", key, value, by] => KvOp::Release { write: write(key, value), session: session(by) },
        ["get", key] => KvOp::Get { key: given::key(key) },
        ["get-or-empty", key] => KvOp::GetOrEmpty { key: given::key(key) },
        ["get-under", prefix] => KvOp::GetPrefix { prefix: prefix.parse().unwrap() },
        ["check", key, ref rest @ ..] => KvOp::Check { key: given::key(key), expect: expect(rest) },
        ["check-session", key, by] => KvOp::CheckSession { key: given::key(key), session: session(by) },
        ref other => panic!("no such operation: {other:?}"),
    }
}

/// `SERVICE/INSTANCE@CREATED:STATUS` or the same and `:CAUSE`; `observed` otherwise. `:CHECK~STATUS,…` after a cause says that of
/// each check, in the order of the registration.
fn read_change(word: &str) -> StatusChange {
    let (place, said) = word.split_once('@').expect("SERVICE/INSTANCE@CREATED:STATUS");
    let (service, id) = place.split_once('/').expect("SERVICE/INSTANCE");
    let mut said = said.split(':');
    let created = said.next().expect("CREATED").parse().unwrap();
    let statuses = [Status::Unknown, Status::Starting, Status::Passing, Status::Warning, Status::Critical];
    let named = said.next().expect("STATUS");
    let to = statuses.into_iter().find(|status| status.as_str() == named).expect("a status");
    let causes =
        [StatusCause::Unseen, StatusCause::Stale, StatusCause::Observed, StatusCause::Confirmed, StatusCause::Path];
    let named = said.next().unwrap_or("observed");
    let cause = causes.into_iter().find(|cause| cause.as_str() == named).expect("a cause");
    let told: Vec<_> =
        said.next().into_iter().flat_map(list).map(|word| word.split_once('~').expect("CHECK~STATUS")).collect();
    let checks = given::checks(told.iter().map(|(id, _)| *id));
    let checks = CheckStatuses::of(&checks, |place, _| statuses.into_iter().find(|it| it.as_str() == told[place].1));
    let checks = if told.is_empty() { CheckStatuses::default() } else { checks };
    StatusChange { service: given::service(service), id: given::instance(id), created, to, cause, checks }
}

fn read_spec(words: &mut Words) -> InstanceSpec {
    let port = words.option("port").map_or(80, |port| port.parse().unwrap());
    let tags = words.option("tags").unwrap_or_default();
    InstanceSpec {
        tags: given::tags(list(&tags)),
        zone: words.option("zone").map(|zone| zone.parse().unwrap()),
        version: words.option("version").map(|version| version.parse().unwrap()),
        checks: given::checks(list(&words.option("checks").unwrap_or_default())),
        ..given::spec(port)
    }
}

fn read_definition(words: &mut Words) -> ServiceDefinition {
    let tags = words.option("tags").unwrap_or_default();
    let capabilities = words.option("capabilities").unwrap_or_default();
    ServiceDefinition {
        tags: given::tags(list(&tags)),
        capabilities: list(&capabilities).map(|capability| capability.parse().unwrap()).collect(),
        version: words.option("version").map(|version| version.parse().unwrap()),
        config_schema: words.option("schema").map(|schema| schema.parse().unwrap()),
        ..ServiceDefinition::default()
    }
}

fn read_lifecycle(verb: &str, words: &mut Words) -> Lifecycle {
    if verb == "activate" {
        return Lifecycle::Active;
    }
    let reason = words.option("reason").unwrap_or_default().parse().unwrap();
    let until = words.option("until").map(|until| UnixMillis::new(read_millis(&until)));
    match verb {
        "drain" => Lifecycle::Draining { deadline: until, reason },
        _ => Lifecycle::Quarantined { until: until.expect("until=TIME"), reason },
    }
}

fn read_precondition(text: &str) -> Precondition {
    match text {
        "absent" => Precondition::Absent,
        "exists" => Precondition::Exists,
        at => Precondition::At(read_revision(at)),
    }
}

fn read_revision(text: &str) -> Revision {
    text.strip_prefix('@').expect("a revision is @NUMBER").parse().unwrap()
}

fn read_millis(text: &str) -> u64 {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let count: u64 = text[..text.len() - unit.len()].parse().unwrap();
    match unit {
        "ms" => count,
        "s" => count * 1_000,
        "h" => count * 3_600_000,
        other => panic!("no such unit of time: {other}"),
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|item| !item.is_empty())
}

/// A line cut into words and options.
#[derive(Debug)]
struct Words {
    plain: std::collections::VecDeque<String>,
    options: BTreeMap<String, String>,
}

impl Words {
    fn split(line: &str) -> Self {
        let mut words = Self { plain: Default::default(), options: BTreeMap::new() };
        let mut quoted = false;
        let is_gap = |c: char| {
            quoted ^= c == '"';
            c == ' ' && !quoted
        };
        for word in line.split(is_gap).filter(|word| !word.is_empty()) {
            let is_option = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            match word.split_once('=').filter(|(name, _)| is_option(name)) {
                Some((name, value)) => {
                    let displaced = words.options.insert(name.to_owned(), unquoted(value));
                    assert!(displaced.is_none(), "{name} given twice in `{line}`");
                }
                None => words.plain.push_back(unquoted(word)),
            }
        }
        words
    }

    fn next(&mut self) -> String {
        self.plain.pop_front().expect("another word")
    }

    fn next_instance(&mut self) -> (ServiceName, InstanceId) {
        let word = self.next();
        let (service, id) = word.split_once('/').expect("SERVICE/INSTANCE");
        (given::service(service), given::instance(id))
    }

    fn option(&mut self, name: &str) -> Option<String> {
        self.options.remove(name)
    }
}

/// The text between the quotes that stand around all of `word`; quotes within it are its own.
fn unquoted(word: &str) -> String {
    word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word).to_owned()
}
