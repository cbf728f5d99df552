//! A client that hides nothing: one connection per request, no retry unless a test asks for it, every status an answer.
//!
//! The client in `rollcall_api` tries other nodes and repeats writes; a test that must know which node said what, and how
//! often it was asked, uses this one. Connections are not kept, so that a request never fails for the fault before it and
//! clients can be shared by tests with different runtimes.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::wait::{DEADLINE, wait_until};

/// Longest wait for an answer, unless a call says otherwise: above every deadline that the server keeps for a request.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("a plain client needs nothing")
});

/// `text` as one segment of a path, percent-encoded.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A request under construction.
#[derive(Debug)]
pub struct Call {
    request: reqwest::RequestBuilder,
    line: String,
}

/// A request that was not answered. Whether it was done is unknown, unless [`Self::is_refused`].
#[derive(Debug, thiserror::Error)]
#[error("no answer to {line}")]
pub struct Unanswered {
    line: String,
    #[source]
    source: reqwest::Error,
}

impl Unanswered {
    /// Whether no connection came about, so that the request was certainly not done.
    pub fn is_refused(&self) -> bool {
        self.source.is_connect()
    }
}

/// An answer of any status, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request it answers, for messages.
    pub line: String,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// A request to any address.
    pub fn new(method: Method, url: &str) -> Self {
        Self { line: format!("{method} {url}"), request: CLIENT.request(method, url).timeout(CALL_TIMEOUT) }
    }

    /// A request that comes from another address of this machine.
    pub(crate) fn from(address: IpAddr, method: Method, url: &str) -> Self {
        let client = reqwest::Client::builder().local_address(address).no_proxy().build();
        let client = client.expect("a plain client needs nothing");
        Self {
            line: format!("{method} {url} from {address}"),
            request: client.request(method, url).timeout(CALL_TIMEOUT),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(self, name: &str, value: impl ToString) -> Self {
        Self { request: self.request.header(name, value.to_string()), ..self }
    }

    /// Sends `value` as JSON.
    #[must_use]
    pub fn json(self, value: &Value) -> Self {
        Self { request: self.request.json(value), ..self }
    }

    /// Sends bytes as they are.
    #[must_use]
    pub fn body(self, bytes: impl Into<Bytes>) -> Self {
        Self { request: self.request.body(bytes.into()), ..self }
    }

    /// Waits at most this long for the whole answer.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { request: self.request.timeout(timeout), ..self }
    }

    /// Sends the request once.
    ///
    /// # Errors
    /// [`Unanswered`] when there was no whole answer in time.
    pub async fn send(self) -> Result<Answer, Unanswered> {
        let unanswered = |source| Unanswered { line: self.line.clone(), source };
        let response = self.request.send().await.map_err(unanswered)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(unanswered)?;
        Ok(Answer { line: self.line, status, headers, body })
    }

    /// Sends the request once, to a node that must answer.
    ///
    /// # Panics
    /// When there was no whole answer in time.
    pub async fn answer(self) -> Answer {
        match self.send().await {
            Ok(answer) => answer,
            Err(unanswered) => panic!("{unanswered}: {:?}", unanswered.source),
        }
    }

    /// Sends the request until a node that has a leader and a quorum answers it: the same request, under one idempotency key, as often
    /// as it takes. On a busy machine there may be an election at any time.
    ///
    /// # Panics
    /// When no such answer comes within [`DEADLINE`].
    pub async fn settled(self) -> Answer {
        static REQUESTS: AtomicU64 = AtomicU64::new(0);
        let key = format!("settled-{}", REQUESTS.fetch_add(1, Ordering::Relaxed));
        wait_until("an answer", DEADLINE, async || match self.again().header("Idempotency-Key", &key).send().await {
            Ok(answer) if !matches!(answer.status, 503 | 504) => Ok(answer),
            Ok(answer) => Err(format!("{}: {}", answer.line, answer.text())),
            Err(unanswered) => Err(unanswered.to_string()),
        })
        .await
    }

    /// Sends a request to Consul's API until somebody leads: what is answered so was surely not done.
    ///
    /// # Panics
    /// When there was no whole answer in time, or nobody leads for [`DEADLINE`].
    pub async fn led(self) -> Answer {
        wait_until("a leader", DEADLINE, async || {
            let answer = self.again().answer().await;
            if answer.status == 500 && answer.text() == "No cluster leader" { Err(answer.line) } else { Ok(answer) }
        })
        .await
    }

    fn again(&self) -> Self {
        let request = self.request.try_clone().expect("the body of a request is bytes");
        Self { line: self.line.clone(), request }
    }

    /// Sends the request and hands out the response before its body, for streams.
    ///
    /// # Errors
    /// [`Unanswered`] when no response began.
    pub(crate) async fn open(self) -> Result<reqwest::Response, Unanswered> {
        self.request.send().await.map_err(|source| Unanswered { line: self.line, source })
    }
}

impl Answer {
    /// This answer, if it has the status.
    ///
    /// # Panics
    /// With the request and the body, if it has another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} answered {}: {}", self.line, self.status, self.text());
        self
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{} answered {} with no JSON ({error}): {}", self.line, self.status, self.text()),
        }
    }

    /// The body as JSON, or `Null` when it is none.
    pub fn json_or_null(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The list of a listing.
    ///
    /// # Panics
    /// When the answer is no listing.
    #[track_caller]
    pub fn items(&self) -> Vec<Value> {
        match &self.json()["items"] {
            Value::Array(items) => items.clone(),
            _ => panic!("{} answered {} without items: {}", self.line, self.status, self.text()),
        }
    }

    /// A header as text; `None` when it is absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The revision that the answer was read at or the write took.
    ///
    /// # Panics
    /// When the answer does not say.
    #[track_caller]
    pub fn revision(&self) -> u64 {
        let text = self.header("x-rollcall-revision");
        match text.and_then(|text| text.parse().ok()) {
            Some(revision) => revision,
            None => panic!("{} answered {} without a revision: {}", self.line, self.status, self.text()),
        }
    }

    /// The code of the problem.
    ///
    /// # Panics
    /// When the answer is no problem.
    #[track_caller]
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}: {}", self.line, self.text());
        match &self.json()["code"] {
            Value::String(code) => code.clone(),
            _ => panic!("{} answered {} without a code: {}", self.line, self.status, self.text()),
        }
    }
}
