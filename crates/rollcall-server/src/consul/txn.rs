//! `PUT txn`: several operations on keys at once.
//!
//! Limits: operations on nodes, services and checks are refused. A transaction that only reads takes its turn in the log, too.

use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::put;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use rollcall_catalog::{
    Command, KV_OPS_MAX, KvFailure, KvOp, KvProblem, KvResult, KvWrite, Precondition, Refusal, Reply,
};
use rollcall_types::{KvKey, Revision, Text};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer;
use super::call::Call;
use super::decode;
use super::failure::{Failure, Result};
use super::kv::{Entry, VALUE_BYTES_MAX, ops};
use super::router::Table;

/// Most bytes of a transaction as JSON: values of 512 KiB in base64, and what is around them.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The routes.
pub(super) fn table() -> Table {
    vec![("/v1/txn", put(transact))]
}

/// One operation as callers send it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Operation {
    #[serde(rename = "KV")]
    kv: Option<KvOperation>,
    #[serde(rename = "Node")]
    node: Option<Value>,
    #[serde(rename = "Service")]
    service: Option<Value>,
    #[serde(rename = "Check")]
    check: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct KvOperation {
    verb: String,
    key: String,
    value: String,
    flags: u64,
    index: u64,
    session: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'r> {
    results: Vec<Told<'r>>,
    errors: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Told<'r> {
    #[serde(rename = "KV")]
    kv: Entry<'r>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Problem {
    op_index: u32,
    what: String,
}

async fn transact(mut call: Call) -> Result<Response> {
    let body = call.body_within(BODY_BYTES_MAX).await?;
    let ops = read_body(&body.bytes)?;
    let reply = call.propose(Command::KvTransact { ops: ops.clone().into() }).await?.reply;
    match reply {
        Reply::Transacted { results } => answer::json(&Answer { results: told(&results), errors: Vec::new() }),
        Reply::Refused(Refusal::TransactionFailed { failures }) => {
            let errors = failures.iter().map(|failure| problem(&ops, failure)).collect();
            let mut response = answer::json(&Answer { results: Vec::new(), errors })?;
            *response.status_mut() = StatusCode::CONFLICT;
            Ok(response)
        }
        Reply::Refused(refusal) => Err(refusal.into()),
        other => Err(Failure::internal(&format_args!("a transaction was answered with {other:?}"))),
    }
}

fn told(results: &[KvResult]) -> Vec<Told<'_>> {
    results.iter().map(|result| Told { kv: Entry::of(&result.key, &result.entry) }).collect()
}

/// The operations of a body in the words of the log.
pub(super) fn read_body(body: &[u8]) -> Result<Vec<KvOp>> {
    read(&decode::from_json::<Vec<Operation>>(body)?)
}

fn read(operations: &[Operation]) -> Result<Vec<KvOp>> {
    if operations.len() > KV_OPS_MAX {
        let text = format!("Transaction contains too many operations ({} > {KV_OPS_MAX})", operations.len());
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let ops = operations.iter().enumerate().map(|(at, operation)| {
        read_one(operation).map_err(|failure| Failure::new(failure.status, format!("Operation {at}: {}", failure.text)))
    });
    ops.collect()
}

fn read_one(operation: &Operation) -> Result<KvOp> {
    let Some(kv) = &operation.kv else {
        let other = [&operation.node, &operation.service, &operation.check].into_iter().any(Option::is_some);
        let what =
            if other { "operations on nodes, services and checks are not supported; only KV" } else { "it has no KV" };
        return Err(Failure::bad_request(what));
    };
    let key = || KvKey::try_from(kv.key.as_str()).map_err(|invalid| Failure::bad_request(format!("Key {invalid}")));
    let prefix = || Text::try_from(kv.key.as_str()).map_err(|invalid| Failure::bad_request(format!("Key {invalid}")));
    let write = || Ok::<_, Failure>(KvWrite { key: key()?, value: value(&kv.value)?, flags: kv.flags });
    let session = || ops::session(&kv.session);
    let exactly = Precondition::At(Revision::new(kv.index));
    Ok(match kv.verb.as_str() {
        "set" => KvOp::Put { write: write()?, expect: Precondition::None },
        "cas" => KvOp::Put { write: write()?, expect: ops::at(kv.index) },
        "lock" => KvOp::Acquire { write: write()?, session: session()? },
        "unlock" => KvOp::Release { write: write()?, session: session()? },
        "get" => KvOp::Get { key: key()? },
        "get-or-empty" => KvOp::GetOrEmpty { key: key()? },
        "get-tree" => KvOp::GetPrefix { prefix: prefix()? },
        "check-index" => KvOp::Check { key: key()?, expect: exactly },
        "check-session" => KvOp::CheckSession { key: key()?, session: session()? },
        "check-not-exists" => KvOp::Check { key: key()?, expect: Precondition::Absent },
        "delete" => KvOp::Delete { key: key()?, expect: Precondition::None },
        "delete-cas" => KvOp::Delete { key: key()?, expect: exactly },
        "delete-tree" => KvOp::DeletePrefix { prefix: prefix()? },
        other => return Err(Failure::bad_request(format!("unknown KV verb {other:?}"))),
    })
}

fn value(text: &str) -> Result<Bytes> {
    let value = BASE64_STANDARD.decode(text).map_err(|_| Failure::bad_request("Value must be base64"))?;
    if value.len() > VALUE_BYTES_MAX {
        let text = format!("Value is {} bytes, max size: {VALUE_BYTES_MAX} bytes", value.len());
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    Ok(value.into())
}

/// What went wrong, as Consul words it.
fn problem(ops: &[KvOp], failure: &KvFailure) -> Problem {
    let op = ops.get(failure.op as usize);
    let key = op.and_then(key_of).unwrap_or_default();
    let what = match (op, &failure.problem) {
        (_, KvProblem::NoSuchSession { session }) => format!("invalid session {:?}", session.to_string()),
        (_, KvProblem::Held { .. }) => format!("failed to lock key {key:?}, lock is already held"),
        (_, KvProblem::LockDelayed) => {
            format!("failed to lock key {key:?}, due to lock delay: it was lost by its holder a short while ago")
        }
        (Some(KvOp::CheckSession { session, .. }), KvProblem::NotHeld { by }) => {
            let holder = by.map_or_else(String::new, |holder| holder.to_string());
            format!("failed session check for key {key:?}, current session {holder:?} != {:?}", session.to_string())
        }
        (_, KvProblem::NotHeld { .. }) => {
            format!("failed to unlock key {key:?}, lock isn't held, or is held by another session")
        }
        (Some(KvOp::Check { expect: Precondition::Absent, .. }), _) => format!("key {key:?} exists"),
        (Some(KvOp::Check { expect, .. }), KvProblem::PreconditionFailed { actual: Some(actual) }) => match expect {
            Precondition::At(wanted) => {
                format!("failed index check for key {key:?}, current modify index {actual} != {wanted}")
            }
            _ => format!("failed check for key {key:?}"),
        },
        (Some(KvOp::Delete { .. }), KvProblem::PreconditionFailed { .. }) => {
            format!("failed to delete key {key:?}, index is stale")
        }
        (Some(KvOp::Put { .. }), KvProblem::PreconditionFailed { .. }) => {
            format!("failed to set key {key:?}, index is stale")
        }
        (Some(KvOp::Check { .. }), _) => format!("failed to check index, key {key:?} doesn't exist"),
        (Some(KvOp::CheckSession { .. }), KvProblem::Missing) => {
            format!("failed to check session, key {key:?} doesn't exist")
        }
        (_, KvProblem::PreconditionFailed { .. } | KvProblem::Missing) => format!("key {key:?} doesn't exist"),
        (_, KvProblem::AnswerTooLong { .. } | KvProblem::TooManyKeys { .. }) => failure.problem.to_string(),
    };
    Problem { op_index: failure.op, what }
}

fn key_of(op: &KvOp) -> Option<&str> {
    match op {
        KvOp::Put { write, .. } | KvOp::Acquire { write, .. } | KvOp::Release { write, .. } => Some(&write.key),
        KvOp::Delete { key, .. }
        | KvOp::Get { key }
        | KvOp::GetOrEmpty { key }
        | KvOp::Check { key, .. }
        | KvOp::CheckSession { key, .. } => Some(key),
        KvOp::DeletePrefix { .. } | KvOp::GetPrefix { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_understood_in_any_case_of_keys() {
        let session = "00000000-0000-0000-0000-000000000001";
        for verb in
            "set cas get get-or-empty get-tree check-index check-not-exists delete delete-cas delete-tree".split(' ')
        {
            let body = format!(r#"[{{"kv":{{"verb":"{verb}","key":"a","value":"b25l","index":4}}}}]"#);
            assert_eq!(read_body(body.as_bytes()).unwrap().len(), 1, "{verb}");
        }
        for verb in ["lock", "unlock", "check-session"] {
            let body = format!(r#"[{{"KV":{{"Verb":"{verb}","Key":"a","Session":"{session}"}}}}]"#);
            assert_eq!(read_body(body.as_bytes()).unwrap().len(), 1, "{verb}");
        }
        assert!(matches!(
            read_body(br#"[{"KV":{"Verb":"cas","Key":"a","Index":0}}]"#).unwrap()[..],
            [KvOp::Put { expect: Precondition::Absent, .. }]
        ));
    }

    #[test]
    fn what_cannot_be_done_names_the_operation_and_the_rule() {
        let refused = |body: &str| read_body(body.as_bytes()).unwrap_err();
        let check = |body: &str, status: u16, part: &str| {
            let failure = refused(body);
            assert_eq!(failure.status, status, "{body}");
            assert!(failure.text.contains(part), "{body}: {}", failure.text);
        };
        check(
            r#"[{"KV":{"Verb":"get","Key":"a"}},{"KV":{"Verb":"poke","Key":"a"}}]"#,
            400,
            "Operation 1: unknown KV verb",
        );
        check(r#"[{"KV":{"Verb":"set","Key":""}}]"#, 400, "Key must be 1 to 512 bytes");
        check(r#"[{"KV":{"Verb":"set","Key":"a","Value":"%"}}]"#, 400, "base64");
        check(r#"[{"Node":{"Verb":"set"}}]"#, 400, "not supported");
        check("[{}]", 400, "no KV");
        check(r#"[{"KV":{"Verb":"lock","Key":"a"}}]"#, 500, "missing session");
        check(r#"[{"KV":{"Verb":"lock","Key":"a","Session":"x"}}]"#, 500, "invalid session \"x\"");
        let many = format!("[{}]", vec![r#"{"KV":{"Verb":"get","Key":"a"}}"#; 65].join(","));
        check(&many, 413, "too many operations (65 > 64)");
    }
}
