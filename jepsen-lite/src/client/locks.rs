//! Locks, through Consul's API: sessions, and transactions on keys.

use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Names, Place, strange};
use crate::history::{Answer, Call, OpId, Outcome};
use crate::workload::locks;

/// The words with which a node says that it passed a write to nobody.
const NOT_DONE: [&str; 2] = ["No cluster leader", "rate limit exceeded, try again later"];

/// The request of a call on locks; `None` of any other call.
pub(super) fn request(
    http: &reqwest::Client,
    names: &Names,
    (place, op): (&Place, OpId),
    call: &Call,
) -> Option<RequestBuilder> {
    let put = |path: &str, body: Value| http.put(format!("{}/v1/{path}", place.consul)).body(body.to_string());
    let kv = |verb: &str, key: &str, session: &str| json!({ "KV": { "Verb": verb, "Key": names.outer(key), "Session": session } });
    Some(match call {
        // It hangs on nothing but its renewals, so that the checker knows when it ends.
        Call::Open => {
            let ttl = format!("{}ms", locks::TTL_MS);
            put("session/create", json!({ "TTL": ttl, "LockDelay": "0s", "Checks": [], "Name": names.actor(op) }))
        }
        Call::Renew { session } => put(&format!("session/renew/{session}"), json!({})),
        Call::Acquire { key, session } => put("txn", json!([kv("lock", key, session)])),
        Call::Release { key, session } => put("txn", json!([kv("unlock", key, session)])),
        Call::Guarded { key, session, .. } => {
            // "b3A=" is base64 of "op": what is written does not matter, when does.
            let write = json!({ "KV": { "Verb": "set", "Key": names.outer(&locks::guarded_by(key)), "Value": "b3A=", "Flags": op } });
            put("txn", json!([kv("check-session", key, session), write]))
        }
        _ => return None,
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Opened {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transacted {
    results: Vec<Told>,
}

#[derive(Debug, Deserialize)]
struct Told {
    #[serde(rename = "KV")]
    kv: Entry,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    lock_index: u64,
    modify_index: u64,
}

/// What such a call came to.
pub(super) fn read_answer(call: &Call, status: StatusCode, body: &[u8]) -> Outcome {
    if !status.is_success() {
        return read_failure(call, status, body);
    }
    let answer = match call {
        Call::Open => serde_json::from_slice(body).map(|Opened { id }| Answer::Opened { session: id }),
        Call::Renew { .. } => Ok(Answer::Renewed),
        _ => match serde_json::from_slice::<Transacted>(body).map(|it| it.results) {
            Ok(results) => match results.last() {
                Some(Told { kv: Entry { lock_index, modify_index } }) => {
                    let (fence, modified) = (*lock_index, *modify_index);
                    Ok(match call {
                        Call::Acquire { .. } => Answer::Acquired { fence, modified },
                        Call::Guarded { .. } => Answer::Guarded { modified },
                        _ => Answer::Released { modified },
                    })
                }
                None => return strange(status, "no result"),
            },
            Err(error) => Err(error),
        },
    };
    answer.map_or_else(|error| strange(status, &error.to_string()), Outcome::Ok)
}

fn read_failure(call: &Call, status: StatusCode, body: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(body).into_owned();
    let is_refused = match (call, status) {
        (Call::Renew { .. }, StatusCode::NOT_FOUND) => true,
        // Another holds it, or the session is gone.
        (Call::Acquire { .. } | Call::Release { .. } | Call::Guarded { .. }, StatusCode::CONFLICT) => true,
        (_, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::TOO_MANY_REQUESTS) => NOT_DONE.contains(&text.as_str()),
        _ => false,
    };
    match (is_refused, text.starts_with(NOT_DONE[0])) {
        (true, _) => Outcome::Fail { why: text, revision: None },
        (false, true) => Outcome::Info { why: text },
        (false, false) => strange(status, &text),
    }
}
