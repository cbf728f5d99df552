//! `kv/*`: keys, read and written one at a time or by prefix.

mod entry;
pub(super) mod ops;

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use rollcall_catalog::{Catalog, Command, KvOp, KvProblem, KvWrite, Outcome, Precondition, Refusal, Reply};
use rollcall_types::{KvKey, Revision, Text};

use self::entry::quoted_size;
pub(super) use self::entry::{Entry, in_base64};
use super::answer;
use super::blocking::blocking;
use super::call::Call;
use super::failure::{Failure, Result};
use super::router::Table;
use super::wake::Topic;

/// Largest value, bytes; as Consul has it.
pub(super) const VALUE_BYTES_MAX: usize = 512 * 1024;

/// The routes.
pub(super) fn table() -> Table {
    vec![("/v1/kv/{*rest}", get(read).put(put).delete(delete))]
}

/// The key in the path.
fn key(call: &Call) -> Result<KvKey> {
    let name = call.name("key name")?;
    KvKey::try_from(name).map_err(|invalid| Failure::bad_request(format!("Invalid key: it {invalid}")))
}

/// A prefix of keys: it may be empty.
fn prefix(call: &Call) -> Result<Text> {
    let prefix = call.rest();
    if prefix.len() > KvKey::MAX_BYTES {
        let rule = KvKey::MAX_BYTES;
        return Err(Failure::bad_request(format!("Invalid prefix: it must be at most {rule} bytes, as keys are")));
    }
    Text::try_from(prefix).map_err(|invalid| Failure::bad_request(format!("Invalid prefix: it {invalid}")))
}

/// `GET kv/:key`, with `recurse`, `keys` and `separator`, or `raw`.
async fn read(call: Call) -> Result<Response> {
    if call.params.has("keys") {
        let prefix = prefix(&call)?;
        return under(&call, &prefix, |catalog| list_keys(&call, catalog, &prefix)).await;
    }
    if call.params.has("recurse") {
        let prefix = prefix(&call)?;
        return under(&call, &prefix, |catalog| {
            let entries = || catalog.kv_prefix(&prefix).map(|(key, entry)| Entry::of(key, entry));
            let size: usize = entries().map(|entry| entry.size()).sum();
            if size == 0 { Ok(answer::absent()) } else { call.layer.large.list(size, entries()) }
        })
        .await;
    }
    let key = key(&call)?;
    let index = |catalog: &Arc<Catalog>| catalog.kv_index(&key);
    blocking(&call, &[Topic::Key(key.clone())], index, |catalog| match catalog.kv(&key) {
        None => Ok(answer::absent()),
        Some(entry) if call.params.has("raw") => Ok(raw(entry.value.clone())),
        Some(entry) => answer::json(&[Entry::of(&key, entry)]),
    })
    .await
}

async fn under(call: &Call, prefix: &Text, render: impl Fn(&Arc<Catalog>) -> Result<Response>) -> Result<Response> {
    let index = |catalog: &Arc<Catalog>| catalog.kv_prefix_index(prefix);
    blocking(call, &[Topic::Prefix(prefix.to_string())], index, render).await
}

/// The keys under a prefix, each cut after the first separator that follows it.
fn list_keys(call: &Call, catalog: &Catalog, prefix: &str) -> Result<Response> {
    let separator = call.params.text("separator").unwrap_or_default();
    let keys = || cut_all(catalog.kv_prefix(prefix).map(|(key, _)| key.as_str()), prefix, separator);
    // In quotes and with a comma.
    let size: usize = keys().map(|key| quoted_size(key) + 1).sum();
    if size == 0 && !prefix.is_empty() { Ok(answer::absent()) } else { call.layer.large.list(size, keys()) }
}

/// Each key as [`cut`] leaves it, once: those that are cut alike are neighbours.
fn cut_all<'k>(keys: impl Iterator<Item = &'k str>, prefix: &str, separator: &str) -> impl Iterator<Item = &'k str> {
    let mut last = None;
    keys.map(move |key| cut(key, prefix, separator)).filter(move |key| last.replace(*key) != Some(*key))
}

fn cut<'k>(key: &'k str, prefix: &str, separator: &str) -> &'k str {
    let found = (!separator.is_empty()).then(|| key[prefix.len()..].find(separator)).flatten();
    found.map_or(key, |at| &key[..prefix.len() + at + separator.len()])
}

/// The value alone, which no browser is to take for a page.
fn raw(value: Bytes) -> Response {
    let mut response = answer::text("");
    *response.body_mut() = value.into();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    response
}

/// Parameters that ask for different things.
fn refuse_conflict(call: &Call, flags: &[&str]) -> Result<()> {
    let given: Vec<_> = flags.iter().copied().filter(|flag| call.params.get(flag).is_some()).collect();
    if given.len() > 1 {
        return Err(Failure::bad_request(format!("Conflicting flags: {}", given.join("&"))));
    }
    Ok(())
}

fn number(call: &Call, name: &str) -> Result<Option<u64>> {
    let invalid = |_| Failure::bad_request(format!("Invalid {name}: it must be a whole number from 0 to 2^64-1"));
    // One without a number is no wish to write whatever is there.
    call.params.get(name).map(|text| text.parse().map_err(invalid)).transpose()
}

/// `PUT kv/:key`, with `cas`, `acquire` or `release`, and `flags`.
async fn put(mut call: Call) -> Result<Response> {
    let key = key(&call)?;
    refuse_conflict(&call, &["cas", "acquire", "release"])?;
    let (flags, cas) = (number(&call, "flags")?.unwrap_or_default(), number(&call, "cas")?);
    let session = ["acquire", "release"].into_iter().find_map(|name| Some((name, call.params.get(name)?.to_owned())));
    let body = call.body_within(VALUE_BYTES_MAX).await.map_err(too_large)?;
    let write = KvWrite { key, value: body.bytes.clone(), flags };
    let op = match session {
        Some((how, session)) => {
            let session = ops::session(&session)?;
            if how == "acquire" { KvOp::Acquire { write, session } } else { KvOp::Release { write, session } }
        }
        None => KvOp::Put { write, expect: cas.map_or(Precondition::None, ops::at) },
    };
    let outcome = transact(&call, op).await?;
    drop(body);
    match refused(&outcome) {
        None => Ok(answer::truth(true)),
        Some(KvProblem::NoSuchSession { session }) => {
            Err(Failure::server(format!("invalid session {:?}", session.to_string())))
        }
        Some(problem @ KvProblem::TooManyKeys { .. }) => Err(Failure::server(problem.to_string())),
        Some(_) => Ok(answer::truth(false)),
    }
}

fn too_large(failure: Failure) -> Failure {
    if failure.status != StatusCode::PAYLOAD_TOO_LARGE {
        return failure;
    }
    Failure::new(failure.status, format!("Request body too large, max size: {VALUE_BYTES_MAX} bytes."))
}

/// `DELETE kv/:key`, with `recurse` or `cas`.
async fn delete(call: Call) -> Result<Response> {
    if call.params.has("recurse") {
        refuse_conflict(&call, &["recurse", "cas"])?;
        let prefix = prefix(&call)?;
        transact(&call, KvOp::DeletePrefix { prefix }).await?;
        return Ok(answer::truth(true));
    }
    let key = key(&call)?;
    // A key that is not there is never at this revision, so `cas=0` removes nothing.
    let expect = number(&call, "cas")?.map_or(Precondition::None, |cas| Precondition::At(Revision::new(cas)));
    let outcome = transact(&call, KvOp::Delete { key, expect }).await?;
    // What is gone already is as it was asked to be.
    let is_gone = |problem: &KvProblem| matches!(problem, KvProblem::PreconditionFailed { actual: None });
    Ok(answer::truth(refused(&outcome).is_none_or(|problem| is_gone(&problem))))
}

/// One operation; the outcome is a success, or a refusal of that operation.
async fn transact(call: &Call, op: KvOp) -> Result<Outcome> {
    let outcome = call.propose(Command::KvTransact { ops: [op].into() }).await?;
    match &outcome.reply {
        Reply::Refused(refusal @ Refusal::LimitReached { .. }) => Err(Failure::from(refusal.clone())),
        _ => Ok(outcome),
    }
}

fn refused(outcome: &Outcome) -> Option<KvProblem> {
    match &outcome.reply {
        Reply::Refused(Refusal::TransactionFailed { failures }) => failures.first().map(|it| it.problem.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut_after_the_first_separator_behind_the_prefix() {
        let check = |key, prefix, separator, expected| assert_eq!(cut(key, prefix, separator), expected);
        check("a/b/c", "", "/", "a/");
        check("a/b/c", "a/", "/", "a/b/");
        check("a/b", "a/", "/", "a/b");
        check("a/b/c", "a/", "", "a/b/c");
        check("web--1--x", "web", "--", "web--");
        check("ä/ö", "ä", "/", "ä/");
        let keys = ["a", "a/1", "a/2", "a/b/1", "b/1"];
        assert_eq!(cut_all(keys.into_iter(), "", "/").collect::<Vec<_>>(), ["a", "a/", "b/"]);
        assert_eq!(cut_all(keys.into_iter(), "", "").collect::<Vec<_>>(), keys);
    }
}
