//! Writes: who asks, under which id, on which condition; then the log.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request as HttpRequest};
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use rollcall_api::headers;
use rollcall_catalog::{
    Actor, CALLER_PREFIX, Catalog, Command, Outcome, Precondition, Refusal, Reply, Request, RequestId,
};
use rollcall_types::UnixMillis;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::body::HeldBody;
use super::consistency::reach;
use super::extract::{actor, header, precondition, refuse_unread_query};
use super::failure::{Failure, Result};
use crate::app::{App, Shared};

/// Longest wait for a quorum; after it the caller is told that the outcome is unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// Longest id of a request or a session, bytes.
const ID_BYTES_MAX: usize = 128;

/// A request that wants to change something.
pub(crate) struct Write {
    body: HeldBody,
    /// On which condition.
    pub(crate) expect: Precondition,
    actor: Actor,
    id: Option<RequestId>,
}

impl FromRequest<Shared> for Write {
    type Rejection = Failure;

    async fn from_request(request: HttpRequest, app: &Shared) -> Result<Self> {
        let (parts, body) = request.into_parts();
        refuse_unread_query(&parts)?;
        let body = app.bodies.read(body).await?;
        let actor = actor(&parts, app)?;
        let expect = precondition(&parts.headers)?;
        let conditions = format!("{expect:?}");
        let id = request_id(&parts.headers, || {
            let query = parts.uri.query().map(str::as_bytes);
            let told =
                [parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), conditions.as_bytes(), &body.bytes];
            // Only when there is one: most writes have none, and are known by what nodes of earlier versions made of them.
            fingerprint(&told.into_iter().chain(query).collect::<Vec<_>>())
        })?;
        Ok(Self { body, expect, actor, id })
    }
}

impl Write {
    /// The request's body.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body.bytes
    }

    /// Who asks, as history will name it.
    pub(crate) fn actor_name(&self) -> &str {
        &self.actor.name
    }

    /// Whether the caller set a condition of its own.
    pub(crate) fn is_conditional(&self) -> bool {
        self.expect != Precondition::None
    }

    /// An id for something that this request makes: 128 bits, the same for every retry under one request id.
    pub(crate) fn derived_id(&self) -> String {
        format!("{:032x}", self.derived_number())
    }

    /// [`Self::derived_id`] as a number.
    pub(crate) fn derived_number(&self) -> u128 {
        let bits = match &self.id {
            // The fingerprint too: the same key used again for something else, when the first use is forgotten, must not
            // replace what was made then.
            Some(RequestId::Key { key, fingerprint }) => digest(&[b"key", key.as_bytes(), &fingerprint.to_le_bytes()]),
            Some(RequestId::Sequence { client, sequence, .. }) => {
                digest(&[b"sequence", client.as_bytes(), &sequence.to_le_bytes()])
            }
            None => rand::random(),
        };
        u128::from_le_bytes(bits)
    }

    /// The answer that an earlier arrival of this request got, as `catalog` remembers it; `None` when it was not applied.
    /// For requests that look at the catalogue before they propose: a retry must not be judged by what changed since.
    pub(crate) fn answered(&self, catalog: &Catalog, attempts: usize) -> Option<Outcome> {
        let id = self.id.as_ref()?;
        let outcomes = (0..attempts).filter_map(|attempt| catalog.answer_to(&attempt_id(id.clone(), attempt)));
        outcomes.into_iter().find(|outcome| !matches!(outcome.reply, Reply::Refused(_)))
    }

    /// Puts `command` into the log and waits until it is applied.
    pub(crate) async fn propose(&self, app: &App, command: Command) -> Result<Outcome> {
        self.propose_attempt(app, 0, command).await
    }

    /// [`Self::propose`] for who answers with what the catalogue says then: waits until this node has applied it, too, since
    /// another one may have first.
    pub(crate) async fn propose_here(&self, app: &App, command: Command) -> Result<Outcome> {
        let outcome = self.propose(app, command).await?;
        reach(app, outcome.revision, Instant::now() + WRITE_DEADLINE).await?;
        Ok(outcome)
    }

    /// [`Self::propose`] for a request that is tried again here, each time as a request of its own: the refusal of one
    /// attempt is remembered under its id and must not answer for the next.
    pub(crate) async fn propose_attempt(&self, app: &App, attempt: usize, command: Command) -> Result<Outcome> {
        self.submit(app, attempt, command, |_, refusal| refusal.into()).await
    }

    /// [`Self::propose`] for a command whose refusals mean more than they say: `explain` gets them with the catalogue of this
    /// node, which has come to the refusal.
    pub(crate) async fn propose_explained(
        &self,
        app: &App,
        command: Command,
        explain: impl FnOnce(&Catalog, Refusal) -> Failure,
    ) -> Result<Outcome> {
        self.submit(app, 0, command, explain).await
    }

    async fn submit(
        &self,
        app: &App,
        attempt: usize,
        command: Command,
        explain: impl FnOnce(&Catalog, Refusal) -> Failure,
    ) -> Result<Outcome> {
        let id = self.id.clone().map(|id| attempt_id(id, attempt));
        let request = Request { id, at: UnixMillis::default(), actor: self.actor.clone(), command };
        let outcome = app.consensus.propose(request, Instant::now() + WRITE_DEADLINE).await?;
        match outcome.reply {
            Reply::Refused(refusal) => {
                let revision = HeaderValue::from(outcome.revision.get());
                let failure = explain(&app.consensus.catalog(), refusal);
                Err(failure.with_headers(HeaderMap::from_iter([(headers::REVISION, revision)])))
            }
            _ => Ok(outcome),
        }
    }
}

/// The id of a later attempt of the request called `id`. No caller can choose it: it holds a line break.
fn attempt_id(id: RequestId, attempt: usize) -> RequestId {
    match id {
        id if attempt == 0 => id,
        RequestId::Key { key, fingerprint } => {
            RequestId::Key { key: Arc::from(format!("{key}\n{attempt}")), fingerprint }
        }
        RequestId::Sequence { client, sequence, .. } => {
            RequestId::Key { key: Arc::from(format!("{client}\n{sequence}\n{attempt}")), fingerprint: 0 }
        }
    }
}

/// The id under which the caller may send the same request again.
fn request_id(headers: &HeaderMap, fingerprint: impl FnOnce() -> u64) -> Result<Option<RequestId>> {
    let key = header(headers, &headers::IDEMPOTENCY_KEY)?;
    let client = header(headers, &headers::CLIENT)?;
    match (key, client) {
        (None, None) => Ok(None),
        (Some(key), None) => {
            check_id(headers::IDEMPOTENCY_KEY.as_str(), key)?;
            Ok(Some(RequestId::Key { key: Arc::from(key), fingerprint: fingerprint() }))
        }
        (None, Some(client)) => {
            check_id(headers::CLIENT.as_str(), client)?;
            let sequence = number(headers, &headers::SEQUENCE)?.unwrap_or(0);
            if sequence == 0 {
                return Err(Failure::parameter(headers::SEQUENCE.as_str(), "must be a whole number from 1"));
            }
            let acknowledged_below = number(headers, &headers::ACKNOWLEDGED_BELOW)?.unwrap_or(1);
            // The prefix keeps callers out of the names that nodes give their own sessions.
            let client = Arc::from(format!("{CALLER_PREFIX}{client}"));
            Ok(Some(RequestId::Sequence { client, sequence, acknowledged_below }))
        }
        (Some(_), Some(_)) => Err(Failure::parameter(
            headers::IDEMPOTENCY_KEY.as_str(),
            format!("must not come together with {}", headers::CLIENT),
        )),
    }
}

fn check_id(name: &str, id: &str) -> Result<()> {
    if (1..=ID_BYTES_MAX).contains(&id.len()) {
        Ok(())
    } else {
        Err(Failure::parameter(name, format!("must be 1 to {ID_BYTES_MAX} bytes; got {}", id.len())))
    }
}

fn number(headers: &HeaderMap, name: &http::HeaderName) -> Result<Option<u64>> {
    let Some(text) = header(headers, name)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Failure::parameter(name.as_str(), format!("must be a whole number; got {text}")))
}

/// Tells requests apart that came under one key.
fn fingerprint(parts: &[&[u8]]) -> u64 {
    u128::from_le_bytes(digest(parts)) as u64
}

/// The first 128 bits of the SHA-256 of `parts`, each preceded by its length.
fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let digest: [u8; 32] = digest.finalize().into();
    *digest.first_chunk().expect("a SHA-256 digest has 32 bytes")
}
