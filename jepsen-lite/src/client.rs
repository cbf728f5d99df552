//! One client of one node, which never sends anything by itself twice.
//!
//! The typed client of `rollcall-api` moves between nodes and tries again, which a harness must see and decide itself; so
//! this one uses its bodies, paths and headers, and makes each attempt plainly. What an attempt came to is read strictly:
//! `fail` only when the API promises that nothing happened or the connection was never made, else `info`.

mod locks;
mod names;
mod played;
mod removal;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rollcall_api::query::Consistency;
use rollcall_api::{
    Code, ConfigDocument, Instance, LeaseRenewed, List, Number, Problem, Registration, RegistrationEndpoint,
    RegistrationLease, Retry, Selection, SelectionPick, WriteReply, headers, paths,
};

use crate::history::{Again, Answer, Call, Expect, Held, OpId, Outcome, Thing};
use crate::workload::leases;

pub(crate) use names::Names;
pub(crate) use played::Stage;
pub(crate) use removal::Removed;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);
/// Longest listing that one page holds.
const PAGE_MAX: u32 = 10_000;
/// Metadata key of an instance that holds the number of the operation that wrote it.
const VALUE: &str = "op";

/// Where a node's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) node: String,
    /// `http://host:port`.
    pub(crate) url: String,
    /// The same of Consul's API.
    pub(crate) consul: String,
}

/// Sends requests.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    timeout: Duration,
    /// How things are called.
    pub(crate) names: Names,
    /// Where the played instances are, if this run has any.
    stage: Option<Arc<Stage>>,
}

/// What to do about an operation that did not succeed at its own node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Insistence {
    /// Further attempts under the same idempotency key, each at the next node.
    pub(crate) retries: usize,
    /// Sends an acknowledged write once more, at the next node: the answer must be the same.
    pub(crate) again: bool,
}

/// Which operation wrote an instance.
pub(crate) fn op_of_instance(instance: &Instance) -> Option<OpId> {
    instance.metadata.get(VALUE)?.parse().ok()
}

impl Client {
    /// A client that waits `timeout` for an answer.
    pub(crate) fn new(timeout: Duration) -> Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT.min(timeout)).no_proxy().build();
        Ok(Self { http: http.context("cannot make an HTTP client")?, timeout, names: Names::default(), stage: None })
    }

    /// The same, which calls things so.
    pub(crate) fn calling(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// The same, which plays instances on a stage.
    pub(crate) fn on(self, stage: Stage) -> Self {
        Self { stage: Some(Arc::new(stage)), ..self }
    }

    /// Carries out an operation at `places[0]`; the others are for second attempts.
    pub(crate) async fn run(&self, places: &[&Place], op: OpId, call: &Call, insistence: Insistence) -> Outcome {
        let mut may_have_happened = false;
        let mut outcome = Outcome::Info { why: "no node to ask".to_owned() };
        for place in places.iter().cycle().take(1 + insistence.retries) {
            outcome = self.attempt(place, op, call).await;
            match &outcome {
                Outcome::Ok(_) | Outcome::Fail { revision: Some(_), .. } => break,
                Outcome::Info { .. } => may_have_happened = true,
                Outcome::Fail { .. } => {}
            }
        }
        match outcome {
            // An earlier attempt may have gone through, or go through yet.
            Outcome::Fail { why, revision: None } if may_have_happened => Outcome::Info { why },
            Outcome::Ok(answer) if insistence.again => Outcome::Ok(self.again(places, op, call, answer).await),
            outcome => outcome,
        }
    }

    /// Sends an acknowledged write once more, and notes the revision of the second answer.
    async fn again(&self, places: &[&Place], op: OpId, call: &Call, mut answer: Answer) -> Answer {
        let Some(place) = places.get(1).or(places.first()) else { return answer };
        if let Answer::Written { again, .. } | Answer::Removed { again, .. } = &mut answer {
            let revision = match self.attempt(place, op, call).await {
                Outcome::Ok(second) => second.revision(),
                Outcome::Fail { revision, .. } => revision,
                Outcome::Info { .. } => None,
            };
            *again = Some(Again { node: place.node.clone(), revision });
        }
        answer
    }

    async fn attempt(&self, place: &Place, op: OpId, call: &Call) -> Outcome {
        if let Some(request) = locks::request(&self.http, &self.names, (place, op), call) {
            return self.exchange(request, |status, _, body| locks::read_answer(call, status, body)).await;
        }
        let stage = self.stage.as_deref();
        if let Some(done) = played::play(stage, call) {
            return done;
        }
        let played = played::request((&self.http, stage), &self.names, (place, op), call);
        let request = match played.unwrap_or_else(|| self.request(place, op, call)) {
            Ok(request) => request,
            Err(error) => return Outcome::Fail { why: format!("unsendable: {error:#}"), revision: None },
        };
        self.exchange(request, |status, headers, body| read_answer(call, status, headers, body)).await
    }

    /// Sends a request once, and reads what it came to.
    async fn exchange(
        &self,
        request: RequestBuilder,
        read: impl Fn(StatusCode, &HeaderMap, &[u8]) -> Outcome,
    ) -> Outcome {
        let exchange = async {
            let response = request.send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, body(response).await?))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Err(_) => Outcome::Info { why: "timeout".to_owned() },
            Ok(Err(error)) if error.is_connect() => Outcome::Fail { why: "connect".to_owned(), revision: None },
            Ok(Err(_)) => Outcome::Info { why: "connection broke".to_owned() },
            Ok(Ok((status, headers, body))) => read(status, &headers, &body),
        }
    }

    fn request(&self, place: &Place, op: OpId, call: &Call) -> Result<RequestBuilder> {
        let (method, path) = match call {
            Call::Put { thing, .. } => (Method::PUT, self.path_of(thing)),
            Call::Remove { thing, .. } => (Method::DELETE, self.path_of(thing)),
            Call::Get { thing, .. } => (Method::GET, self.path_of(thing)),
            Call::List { service, .. } => (Method::GET, paths::instances(&self.names.outer(service))),
            Call::Select { service, .. } => (Method::POST, paths::select(&self.names.outer(service))),
            Call::Beat { thing } => (Method::PUT, self.lease_of(thing)?),
            Call::Look { thing } => (Method::GET, self.path_of(thing)),
            other => anyhow::bail!("{} is no call of this API", other.kind()),
        };
        let mut request = self.http.request(method, format!("{}{path}{}", place.url, query_of(call)));
        if let Some((_, expect)) = call.write() {
            let name = self.names.actor(op);
            request = request.header(headers::ACTOR, &name).header(headers::IDEMPOTENCY_KEY, &name);
            request = match expect {
                Expect::Any => request,
                Expect::Exists => request.header(IF_MATCH, "*"),
                Expect::Absent => request.header(IF_NONE_MATCH, "*"),
                Expect::At { revision, .. } => request.header(IF_MATCH, format!("\"{revision}\"")),
            };
        }
        Ok(match call {
            Call::Put { thing: Thing::Instance { service, .. }, .. } => request.json(&registration(op, service)),
            Call::Put { .. } => request.header(reqwest::header::CONTENT_TYPE, "application/json").body(op.to_string()),
            Call::Select { n, .. } => request.json(&serde_json::json!({ "n": n })),
            _ => request,
        })
    }

    fn path_of(&self, thing: &Thing) -> String {
        match thing {
            Thing::Instance { service, id } => paths::instance(&self.names.outer(service), id),
            Thing::Config { service } => paths::config(&self.names.outer(service)),
            Thing::Key { key } => paths::key(&self.names.outer(key)),
        }
    }

    fn lease_of(&self, thing: &Thing) -> Result<String> {
        match thing {
            Thing::Instance { service, id } => Ok(paths::lease(&self.names.outer(service), id)),
            Thing::Config { .. } | Thing::Key { .. } => anyhow::bail!("{thing} has no lease"),
        }
    }

    /// A GET of JSON outside of the history: the harness looks at the cluster.
    pub(crate) async fn fetch<T: serde::de::DeserializeOwned>(&self, place: &Place, path: &str) -> Result<T> {
        let asked = self.http.get(format!("{}{path}", place.url)).timeout(self.timeout).send();
        let response = asked.await.with_context(|| format!("{} does not answer {path}", place.node))?;
        let status = response.status();
        let bytes = response.bytes().await.with_context(|| format!("{} broke off {path}", place.node))?;
        anyhow::ensure!(status.is_success(), "{} answers {path} with {status}", place.node);
        serde_json::from_slice(&bytes).with_context(|| format!("{} answers {path} strangely", place.node))
    }

    /// Whether the node says that it serves.
    pub(crate) async fn is_ready(&self, place: &Place) -> bool {
        let asked = self.http.get(format!("{}{}", place.url, paths::READYZ)).timeout(self.timeout).send().await;
        asked.is_ok_and(|response| response.status().is_success())
    }

    /// A POST of JSON outside of the history: the harness changes the cluster.
    pub(crate) async fn post(&self, place: &Place, path: &str, body: &serde_json::Value, wait: Duration) -> Result<()> {
        let asked = self.http.post(format!("{}{path}", place.url)).json(body).timeout(wait).send();
        let response = asked.await.with_context(|| format!("{} does not answer {path}", place.node))?;
        anyhow::ensure!(response.status().is_success(), "{} answers {path} with {}", place.node, response.status());
        Ok(())
    }

    /// A DELETE outside of the history: the harness changes the cluster.
    pub(crate) async fn delete(&self, place: &Place, path: &str, wait: Duration) -> Result<()> {
        let asked = self.http.delete(format!("{}{path}", place.url)).timeout(wait).send();
        let response = asked.await.with_context(|| format!("{} does not answer {path}", place.node))?;
        // Of what is not there an earlier request was done, whose answer was lost.
        let is_gone = response.status().is_success() || response.status() == StatusCode::NOT_FOUND;
        anyhow::ensure!(is_gone, "{} answers {path} with {}", place.node, response.status());
        Ok(())
    }

    /// Opens a stream of events; the body has no deadline.
    pub(crate) async fn open(&self, place: &Place, path: &str, last_event_id: Option<u64>) -> Result<Response> {
        let mut request = self.http.get(format!("{}{path}", place.url));
        if let Some(id) = last_event_id {
            request = request.header(headers::LAST_EVENT_ID, id);
        }
        let opened = tokio::time::timeout(self.timeout * 3, request.send()).await.context("timeout")?;
        opened.context("no connection")
    }
}

async fn body(response: Response) -> Result<Vec<u8>, reqwest::Error> {
    Ok(response.bytes().await?.to_vec())
}

fn query_of(call: &Call) -> String {
    let Some((consistency, min_revision)) = call.read() else { return String::new() };
    if let (Call::Select { .. }, Consistency::Stale, None) = (call, consistency, min_revision) {
        // As most callers ask, which a node answers in a way of its own.
        return String::new();
    }
    let mut query = format!("?consistency={}", consistency.as_str());
    if let Some(revision) = min_revision {
        query.push_str(&format!("&min_revision={revision}"));
    }
    if matches!(call, Call::List { .. }) {
        query.push_str(&format!("&limit={PAGE_MAX}"));
    }
    query
}

fn registration(op: OpId, service: &str) -> Registration {
    let endpoint = RegistrationEndpoint {
        protocol: "http".to_owned(),
        host: "10.0.0.1".to_owned(),
        port: Number::from(80),
        name: None,
    };
    Registration {
        endpoints: vec![endpoint],
        lease: leases::is_leased(service).then(|| RegistrationLease { ttl_ms: Number::from(leases::TTL_MS) }),
        metadata: [(VALUE.to_owned(), op.to_string())].into(),
        ..Registration::default()
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim_matches('"').parse().ok()
}

/// An answer that the API does not describe. It proves nothing about whether the write happened.
fn strange(status: StatusCode, what: &str) -> Outcome {
    Outcome::Info { why: format!("unexpected: {what} with status {status}") }
}

fn read_answer(call: &Call, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Outcome {
    if !status.is_success() {
        return read_problem(call, status, headers, body);
    }
    if let Some(outcome) = played::read_answer(call, status, headers, body) {
        return outcome;
    }
    if let Call::Beat { .. } = call {
        return match serde_json::from_slice::<LeaseRenewed>(body) {
            Ok(renewed) => Outcome::Ok(Answer::Beaten { ttl_ms: renewed.ttl_ms }),
            Err(error) => strange(status, &format!("no lease ({error})")),
        };
    }
    let Some(revision) = number(headers, &headers::REVISION) else { return strange(status, "no revision") };
    let staleness_ms = number(headers, &headers::STALENESS_MS);
    let found = |op: Option<OpId>, modified: Option<u64>| match (op, modified) {
        (Some(op), Some(modified)) => {
            Outcome::Ok(Answer::Found { revision, staleness_ms, held: Some(Held { op, modified }) })
        }
        _ => strange(status, "a value that nobody wrote"),
    };
    match call {
        Call::Put { .. } => match serde_json::from_slice::<WriteReply>(body) {
            Ok(WriteReply {
                created: Some(created),
                changed: Some(changed),
                modified_revision: Some(modified),
                ..
            }) => Outcome::Ok(Answer::Written { revision, created, changed, modified, again: None }),
            _ => strange(status, "no reply to a write"),
        },
        Call::Remove { .. } => Outcome::Ok(Answer::Removed { revision, again: None }),
        Call::Get { thing: Thing::Instance { .. }, .. } => match serde_json::from_slice::<Instance>(body) {
            Ok(instance) => found(op_of_instance(&instance), Some(instance.revision)),
            Err(error) => strange(status, &format!("no instance ({error})")),
        },
        Call::Look { .. } | Call::Beat { .. } => match serde_json::from_slice::<Instance>(body) {
            Ok(instance) => Outcome::Ok(Answer::Looked { state: instance.state, cause: instance.cause }),
            Err(error) => strange(status, &format!("no instance ({error})")),
        },
        Call::Get { thing: Thing::Config { .. }, .. } => match serde_json::from_slice::<ConfigDocument>(body) {
            Ok(config) => found(config.document.as_str().parse().ok(), Some(config.revision)),
            Err(error) => strange(status, &format!("no document ({error})")),
        },
        Call::Get { thing: Thing::Key { .. }, .. } => {
            let op = std::str::from_utf8(body).ok().and_then(|text| text.parse().ok());
            found(op, number(headers, &ETAG))
        }
        Call::List { .. } => match serde_json::from_slice::<List<Instance>>(body) {
            Ok(List { next_cursor: None, items, .. }) => {
                let held = |instance: &Instance| {
                    let op = op_of_instance(instance)?;
                    Some((instance.id.clone(), Held { op, modified: instance.revision }))
                };
                match items.iter().map(held).collect() {
                    Some(items) => Outcome::Ok(Answer::Listed { revision, staleness_ms, items }),
                    None => strange(status, "a value that nobody wrote"),
                }
            }
            Ok(_) => strange(status, "more than one page"),
            Err(error) => strange(status, &format!("no list ({error})")),
        },
        Call::Select { .. } => match serde_json::from_slice::<Selection>(body) {
            Ok(Selection { picks, .. }) => {
                let pick = |pick: SelectionPick| Some((pick.id, pick.metadata.get(VALUE)?.parse().ok()?));
                match picks.into_iter().map(pick).collect() {
                    Some(picks) => Outcome::Ok(Answer::Picked { revision, staleness_ms, picks }),
                    None => strange(status, "a value that nobody wrote"),
                }
            }
            Err(error) => strange(status, &format!("no selection ({error})")),
        },
        other => strange(status, other.kind()),
    }
}

fn read_problem(call: &Call, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else { return strange(status, "no problem") };
    let revision = number(headers, &headers::REVISION);
    let staleness_ms = number(headers, &headers::STALENESS_MS);
    let why = problem.code.as_str().to_owned();
    match (call, problem.code, revision) {
        (
            Call::Get { .. },
            Code::ServiceNotFound | Code::InstanceNotFound | Code::ConfigNotFound | Code::KeyNotFound,
            Some(revision),
        ) => Outcome::Ok(Answer::Found { revision, staleness_ms, held: None }),
        (Call::List { .. }, Code::ServiceNotFound, Some(revision)) => {
            Outcome::Ok(Answer::Listed { revision, staleness_ms, items: Vec::new() })
        }
        // There is nobody: an answer like any other.
        (Call::Select { .. }, Code::ServiceNotFound | Code::NoHealthyInstance, Some(revision)) => {
            Outcome::Ok(Answer::Picked { revision, staleness_ms, picks: Vec::new() })
        }
        (Call::Pick { .. }, Code::ServiceNotFound | Code::NoHealthyInstance, Some(revision)) => {
            Outcome::Ok(Answer::Chosen { revision, fail_open: false, picks: Vec::new() })
        }
        // The node has not seen the registration yet, or takes the lease for gone; the checker knows when that is wrong.
        (
            Call::Beat { .. } | Call::Look { .. },
            code @ (Code::LeaseNotFound | Code::ServiceNotFound | Code::InstanceNotFound),
            _,
        ) => Outcome::Fail { why: code.as_str().to_owned(), revision: None },
        (Call::Put { .. } | Call::Remove { .. }, Code::RevisionMismatch, Some(revision)) => {
            Outcome::Fail { why, revision: Some(revision) }
        }
        (_, code, _) => match code.retry() {
            Retry::Later => Outcome::Fail { why, revision: None },
            Retry::OutcomeUnknown => Outcome::Info { why },
            // Requests of the harness break no rule, so such an answer is a surprise.
            Retry::Never => strange(status, &why),
        },
    }
}
