//! One call to whichever node answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::{ClientError, Options};
use crate::{Code, Problem, Retry, headers};

/// Largest answer that is held in memory.
pub const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Pause after all nodes refused once; doubles up to [`PAUSE_MAX`], each time cut at random to between half and all.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// An answer to a read, with what its headers say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The body.
    pub value: T,
    /// The revision it shows.
    pub revision: Option<u64>,
    /// How old it may be, in milliseconds.
    pub staleness_ms: Option<u64>,
}

/// The nodes and the way to them.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) http: reqwest::Client,
    /// Never empty.
    pub(super) nodes: Vec<Url>,
    /// Counts up at every move; modulo the number of nodes it is the one in use.
    pub(super) in_use: AtomicUsize,
    pub(super) actor: Option<HeaderValue>,
    pub(super) options: Options,
}

/// A request, before a node is chosen for it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Option<Bytes>,
    /// Sending it twice does no more than sending it once.
    repeatable: bool,
    /// Time that the server may take on purpose, on top of `attempt_timeout`.
    pub(super) server_wait: Duration,
}

/// An answer whose body is still to come.
pub(super) struct Opened {
    pub(super) response: Response,
    pub(super) node: String,
}

impl Call {
    /// A read.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, true)
    }

    /// A read whose question is a body.
    pub(super) fn question(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, true)
    }

    /// A change with an idempotency key.
    pub(super) fn write(method: Method, path: impl Into<String>) -> Result<Self, ClientError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(ClientError::Random)?;
        let key = format!("{:032x}", u128::from_ne_bytes(random));
        Self::new(method, path, true).header(headers::IDEMPOTENCY_KEY, &key)
    }

    /// A change that is the same done once or twice, and needs no key.
    pub(super) fn idempotent(method: Method, path: impl Into<String>) -> Self {
        Self::new(method, path, true)
    }

    /// A change that is not sent again once it reached somebody.
    pub(super) fn once(method: Method, path: impl Into<String>) -> Self {
        Self::new(method, path, false)
    }

    fn new(method: Method, path: impl Into<String>, repeatable: bool) -> Self {
        Self {
            method,
            path: path.into(),
            query: String::new(),
            headers: HeaderMap::new(),
            body: None,
            repeatable,
            server_wait: Duration::ZERO,
        }
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, ClientError> {
        let value = HeaderValue::from_bytes(value.as_bytes());
        self.headers.insert(name, value.map_err(|error| ClientError::Request(error.to_string()))?);
        Ok(self)
    }

    pub(super) fn query(mut self, query: &impl Serialize) -> Result<Self, ClientError> {
        self.query = serde_urlencoded::to_string(query).map_err(|error| ClientError::Request(error.to_string()))?;
        Ok(self)
    }

    pub(super) fn json(self, body: &impl Serialize) -> Result<Self, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Request(error.to_string()))?;
        self.body(body.into(), "application/json")
    }

    pub(super) fn body(mut self, body: Bytes, content_type: &'static str) -> Result<Self, ClientError> {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Some(body);
        Ok(self)
    }
}

impl Transport {
    /// Sends `call` and reads the JSON of the answer.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, call: &Call) -> Result<Answer<T>, ClientError> {
        let (body, opened) = self.fetch_bytes(call).await?;
        let value = serde_json::from_slice(&body.value).map_err(|error| ClientError::Unexpected {
            node: opened.node,
            status: opened.status.as_u16(),
            reason: error.to_string(),
        })?;
        Ok(Answer { value, revision: body.revision, staleness_ms: body.staleness_ms })
    }

    /// Sends `call` and reads the bytes of the answer.
    pub(super) async fn fetch_bytes(&self, call: &Call) -> Result<(Answer<Bytes>, Origin), ClientError> {
        let mut rounds = Rounds::new(self, call);
        loop {
            match self.fetch_bytes_once(rounds.node(), call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => rounds.go_on(error).await?,
            }
        }
    }

    /// Sends `call` and leaves the body of the answer to be streamed.
    pub(super) async fn stream(&self, call: &Call) -> Result<Opened, ClientError> {
        let mut rounds = Rounds::new(self, call);
        loop {
            match self.open(rounds.node(), call).await {
                Ok(opened) => return Ok(opened),
                Err(error) => rounds.go_on(error).await?,
            }
        }
    }

    async fn fetch_bytes_once(&self, node: &Url, call: &Call) -> Result<(Answer<Bytes>, Origin), ClientError> {
        let opened = self.open(node, call).await?;
        let number = |name: HeaderName| {
            opened.response.headers().get(name)?.to_str().ok()?.trim_matches('"').parse::<u64>().ok()
        };
        let session = opened.response.headers().get(headers::SESSION).and_then(|value| value.to_str().ok());
        let origin = Origin {
            node: opened.node.clone(),
            status: opened.response.status(),
            etag: number(ETAG),
            lock_index: number(headers::LOCK_INDEX),
            session: session.map(str::to_owned),
        };
        let (revision, staleness_ms) = (number(headers::REVISION), number(headers::STALENESS_MS));
        let value = self.read_body(opened, call).await?;
        Ok((Answer { value, revision, staleness_ms }, origin))
    }

    /// Leaves the node in use, after a short pause: for streams that broke when they were open already.
    pub(super) async fn move_on(&self) {
        self.in_use.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(jittered(PAUSE_MIN)).await;
    }

    /// Asks one node and returns when the head of a good answer is there.
    async fn open(&self, node: &Url, call: &Call) -> Result<Opened, ClientError> {
        let mut url = node.clone();
        url.set_path(&call.path);
        if url.path() != call.path {
            // "." and "..", even percent-encoded, are "here" and "up" to a URL (WHATWG URL §4.4): it would name another thing.
            return Err(ClientError::Request(format!(
                "its path {} would be read as {}; what is called '.' or '..' cannot be named in a URL",
                call.path,
                url.path()
            )));
        }
        url.set_query((!call.query.is_empty()).then_some(&call.query));
        let mut request = self.http.request(call.method.clone(), url).headers(call.headers.clone());
        if let Some(actor) = &self.actor {
            request = request.header(headers::ACTOR, actor);
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let node = node.origin().ascii_serialization();
        let patience = self.options.attempt_timeout + call.server_wait;
        let response = match timeout(patience, request.send()).await {
            Err(_) => return Err(ClientError::Timeout { node }),
            Ok(Err(source)) => return Err(ClientError::Transport { node, source }),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        let opened = Opened { response, node };
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            Ok(opened)
        } else {
            Err(self.read_problem(opened, call).await)
        }
    }

    async fn read_problem(&self, opened: Opened, call: &Call) -> ClientError {
        let (node, status) = (opened.node.clone(), opened.response.status());
        let body = match self.read_body(opened, call).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) => {
                let reason = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
                ClientError::Unexpected { node, status: status.as_u16(), reason }
            }
        }
    }

    async fn read_body(&self, opened: Opened, call: &Call) -> Result<Bytes, ClientError> {
        let Opened { mut response, node } = opened;
        let status = response.status().as_u16();
        let mut body = BytesMut::new();
        let read = async {
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > ANSWER_MAX_BYTES {
                    return Ok(false);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(true)
        };
        match timeout(self.options.attempt_timeout + call.server_wait, read).await {
            Err(_) => Err(ClientError::Timeout { node }),
            Ok(Err(source)) => Err(ClientError::Transport { node, source }),
            Ok(Ok(true)) => Ok(body.freeze()),
            Ok(Ok(false)) => {
                Err(ClientError::Unexpected { node, status, reason: format!("more than {ANSWER_MAX_BYTES} bytes") })
            }
        }
    }
}

/// The tries of one call: node after node, round after round, until one serves it, refuses it for good, or patience ends.
struct Rounds<'a> {
    transport: &'a Transport,
    repeatable: bool,
    deadline: Instant,
    /// Which turn of `Transport::in_use` is being tried.
    turn: usize,
    /// Nodes asked in this round.
    asked: usize,
    pause: Duration,
}

impl<'a> Rounds<'a> {
    fn new(transport: &'a Transport, call: &Call) -> Self {
        Self {
            transport,
            repeatable: call.repeatable,
            deadline: Instant::now() + transport.options.give_up_after,
            turn: transport.in_use.load(Ordering::Relaxed),
            asked: 0,
            pause: PAUSE_MIN,
        }
    }

    fn node(&self) -> &'a Url {
        let nodes = &self.transport.nodes;
        &nodes[self.turn % nodes.len()]
    }

    /// Moves to the next node, with a pause after each round; gives the error back when another try is of no use.
    async fn go_on(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !may_go_on(&error, self.repeatable) {
            return Err(error);
        }
        // Another call may have moved on meanwhile; then its choice stands.
        let (tried, next) = (self.turn, self.turn.wrapping_add(1));
        let moved = self.transport.in_use.compare_exchange(tried, next, Ordering::Relaxed, Ordering::Relaxed);
        self.turn = moved.map_or_else(|current| current, |_| next);
        self.asked += 1;
        if self.asked < self.transport.nodes.len() {
            return Ok(());
        }
        let asked_for = error.problem().and_then(|problem| problem.retry_after_ms).map(Duration::from_millis);
        let wait = jittered(self.pause).max(asked_for.unwrap_or_default().min(PAUSE_MAX));
        if Instant::now() + wait >= self.deadline {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
        self.asked = 0;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}

/// Which node answered, and how.
pub(super) struct Origin {
    pub(super) node: String,
    pub(super) status: StatusCode,
    /// The revision in the ETag.
    pub(super) etag: Option<u64>,
    /// How often the key was locked.
    pub(super) lock_index: Option<u64>,
    /// The session that holds the key.
    pub(super) session: Option<String>,
}

/// Whether another try can help and does no harm.
pub(super) fn may_go_on(error: &ClientError, repeatable: bool) -> bool {
    // A fault that one node has with this request is likely a fault of all.
    let is_fault = matches!(error, ClientError::Unexpected { .. })
        || error.problem().is_some_and(|problem| problem.code == Code::Internal);
    // Not this node's answer but the log's, which gives it again to the same request: who wants the lock asks anew.
    let is_verdict = error.problem().is_some_and(|problem| problem.code == Code::LockHeld);
    match error.retry() {
        _ if is_verdict => false,
        Retry::Never => false,
        Retry::Later => true,
        Retry::OutcomeUnknown => repeatable && !is_fault,
    }
}

/// Between half of `pause` and all of it, so that clients do not come back together.
fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX);
    pause / 2 + (pause / 2).mul_f64(f64::from(share) / f64::from(u32::MAX))
}
