//! Keys: raw bytes in, raw bytes out; and locked for sessions, which is one write with the value.

use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use rollcall_api::query::{KeyWriteQuery, KeysQuery, ReadQuery};
use rollcall_api::{Code, Key, List, PROBLEM_JSON, Problem, WriteReply, paths};
use rollcall_catalog::{Catalog, Command, KvEntry, KvOp, KvProblem, KvWrite, Precondition, Refusal, Reply};
use rollcall_types::{KvKey, SessionId};

use crate::app::Shared;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::cursor::{Cursor, page_size};
use crate::http::extract::{PathValues, Query, session_id};
use crate::http::failure::{Failure, Result};
use crate::http::write::Write;

/// Largest value of a key, bytes.
const VALUE_BYTES_MAX: usize = 512 * 1024;

/// `GET /v1/kv`: the keys, without their values.
#[utoipa::path(
    get,
    path = paths::KEYS,
    params(KeysQuery),
    responses((status = 200, description = "In the order of their bytes", body = List<Key>), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn list(State(app): State<Shared>, Query(query): Query<KeysQuery>) -> Result<Response> {
    let prefix = query.prefix.unwrap_or_default();
    if prefix.len() > KvKey::MAX_BYTES {
        let rule = format!("must be at most {} bytes, as keys are; got {}", KvKey::MAX_BYTES, prefix.len());
        return Err(Failure::parameter("prefix", rule));
    }
    let limit = page_size(query.limit)?;
    let cursor = query.cursor.as_deref().map(Cursor::decode).transpose()?;
    let at = cursor.as_ref().map(|cursor| cursor.revision.get());
    let view = View::obtain(&app, query.consistency, query.min_revision, at).await?;
    let after = cursor.map(|cursor| cursor.after).unwrap_or_default();
    let mut rest = view.catalog.kv_prefix_after(&prefix, &after);
    let items: Vec<_> = rest.by_ref().take(limit).map(|(key, entry)| wire(key, entry)).collect();
    let next_cursor = rest.next().and(items.last()).map(|last| {
        app.pinned.pin(&view.catalog, Instant::now());
        Cursor { revision: view.catalog.revision(), after: last.key.clone() }.encode()
    });
    answer::read(&view, None, &List { items, revision: view.catalog.revision().get(), next_cursor })
}

fn wire(key: &KvKey, entry: &KvEntry) -> Key {
    Key {
        key: key.to_string(),
        flags: entry.flags,
        bytes: entry.value.len() as u64,
        revision: entry.modified.get(),
        lock_index: entry.lock_index,
        session: entry.session.map(|session| session.to_string()),
    }
}

/// `GET /v1/kv/{key}`.
#[utoipa::path(
    get,
    path = "/v1/kv/{key}",
    params(("key" = String, Path, description = "The key, percent-encoded"), ReadQuery),
    responses((status = 200, description = "The value", content_type = "application/octet-stream", headers(("X-Rollcall-Lock-Index" = u64, description = "How often the key was locked: rises with each new holder"), ("X-Rollcall-Session" = String, description = "The session that holds it; left out when nobody does"))), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn read(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<ReadQuery>,
) -> Result<Response> {
    let key: KvKey = path.get("key")?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let entry =
        view.catalog.kv(&key).ok_or_else(|| view.lacks(Failure::new(Code::KeyNotFound, "there is no such key")))?;
    let mut response = Response::new(Body::from(entry.value.clone()));
    *response.headers_mut() = view.headers();
    answer::lock_headers(response.headers_mut(), entry);
    response.headers_mut().insert(header::ETAG, answer::entity_tag(entry.modified));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// `PUT /v1/kv/{key}`, with `acquire` or `release`.
#[utoipa::path(
    put,
    path = "/v1/kv/{key}",
    params(("key" = String, Path, description = "The key, percent-encoded"), KeyWriteQuery),
    request_body = Vec<u8>,
    responses(
        (status = 201, description = "Made", body = WriteReply),
        (status = 200, description = "Changed, or equal to what was there", body = WriteReply),
        (status = 404, description = "`session_not_found`: it ended, or was never opened", body = Problem, content_type = PROBLEM_JSON),
        (status = 409, description = "`lock_held`: `holder` has it, or it cannot be locked for a while yet. `lock_not_held`: the session does not hold what it would release", body = Problem, content_type = PROBLEM_JSON),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn put(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<KeyWriteQuery>,
    write: Write,
) -> Result<Response> {
    let key: KvKey = path.get("key")?;
    let lock = Lock::asked(&query, write.expect)?;
    if write.body().len() > VALUE_BYTES_MAX {
        let detail = format!("a value must be at most {VALUE_BYTES_MAX} bytes; got {}", write.body().len());
        return Err(Failure::new(Code::BodyTooLarge, detail));
    }
    if let Some(lock) = lock {
        return change_lock(&app, key, lock, write).await;
    }
    let command = Command::KvPut { key, value: write.body().clone(), flags: 0, expect: write.expect };
    answer::written(&write.propose(&app, command).await?)
}

/// `DELETE /v1/kv/{key}`.
#[utoipa::path(
    delete,
    path = "/v1/kv/{key}",
    params(("key" = String, Path, description = "The key, percent-encoded")),
    responses((status = 204, description = "Gone, whether or not it was there"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn delete(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let key: KvKey = path.get("key")?;
    Ok(answer::removed(&write.propose(&app, Command::KvDelete { key, expect: write.expect }).await?))
}

/// What a write does to the lock of its key.
#[derive(Debug, Clone, Copy)]
enum Lock {
    Acquire(SessionId),
    Release(SessionId),
}

impl Lock {
    fn asked(query: &KeyWriteQuery, expect: Precondition) -> Result<Option<Self>> {
        let (name, lock) = match (&query.acquire, &query.release) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(Failure::parameter("release", "must not come together with acquire")),
            (Some(id), None) => ("acquire", Self::Acquire(session_id("acquire", id)?)),
            (None, Some(id)) => ("release", Self::Release(session_id("release", id)?)),
        };
        let condition = match expect {
            Precondition::None => return Ok(Some(lock)),
            Precondition::Absent => "If-None-Match",
            Precondition::Exists | Precondition::At(_) => "If-Match",
        };
        Err(Failure::parameter(condition, format!("must not come together with {name}: who holds the key decides")))
    }
}

async fn change_lock(app: &Shared, key: KvKey, lock: Lock, write: Write) -> Result<Response> {
    let told = KvWrite { key: key.clone(), value: write.body().clone(), flags: 0 };
    let (session, op) = match lock {
        Lock::Acquire(session) => (session, KvOp::Acquire { write: told, session }),
        Lock::Release(session) => (session, KvOp::Release { write: told, session }),
    };
    let command = Command::KvTransact { ops: [op].into() };
    let explain = |catalog: &Catalog, refusal| refused(catalog, &key, session, refusal);
    let outcome = write.propose_explained(app, command, explain).await?;
    match &outcome.reply {
        Reply::Transacted { results } if !results.is_empty() => answer::locked(&outcome, &results[0].entry),
        other => Err(Failure::internal(format!("a lock was answered with {other:?}"))),
    }
}

/// The refusal of a lock, with what people and programs want to know of whoever is in the way.
fn refused(catalog: &Catalog, key: &KvKey, session: SessionId, refusal: Refusal) -> Failure {
    let Refusal::TransactionFailed { failures } = &refusal else { return refusal.into() };
    match failures.first().map(|failure| &failure.problem) {
        Some(KvProblem::NoSuchSession { session }) => Refusal::SessionNotFound { session: *session }.into(),
        Some(KvProblem::Held { by }) => held(Code::LockHeld, catalog, *by),
        Some(KvProblem::LockDelayed) => {
            let delay = catalog.lock_delays().get(key).map(|delay| format!(" (lock delay {})", delay.delay));
            let delay = delay.unwrap_or_default();
            Failure::new(
                Code::LockHeld,
                format!("the session that held the key ended a short while ago; it can be locked again soon{delay}"),
            )
        }
        Some(KvProblem::NotHeld { .. }) if !catalog.lock_sessions().contains_key(&session) => {
            Refusal::SessionNotFound { session }.into()
        }
        Some(KvProblem::NotHeld { by: Some(by) }) => held(Code::LockNotHeld, catalog, *by),
        Some(KvProblem::NotHeld { by: None }) => Failure::new(Code::LockNotHeld, "nobody holds the key"),
        Some(problem @ KvProblem::TooManyKeys { .. }) => Failure::new(Code::LimitReached, problem.to_string()),
        // What other operations meet.
        Some(KvProblem::PreconditionFailed { .. } | KvProblem::Missing | KvProblem::AnswerTooLong { .. }) | None => {
            refusal.into()
        }
    }
}

fn held(code: Code, catalog: &Catalog, by: SessionId) -> Failure {
    let name = catalog.lock_sessions().get(&by).map(|holder| holder.spec.name.clone()).filter(|name| !name.is_empty());
    let name = name.map(|name| format!(", {:?},", name.as_str())).unwrap_or_default();
    let mut failure = Failure::new(code, format!("session {by}{name} holds the key"));
    failure.problem.holder = Some(by.to_string());
    failure
}
