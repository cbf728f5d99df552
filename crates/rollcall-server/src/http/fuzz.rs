//! Bodies and queries of the native API.

use axum::http::{HeaderMap, HeaderValue};
use rollcall_api::decode::{self, DecodeError};
use rollcall_api::query::*;
use rollcall_api::{
    ActivateRequest, DrainRequest, ERRORS_MAX, EventRequest, FieldError, Heartbeat, Problem, QuarantineRequest,
    RENEWALS_MAX, REPORTS_MAX, Registration, RenewRequest, ReportsRequest, SelectRequest, ServiceDefinition,
    SessionRequest, TransferLeaderRequest, merge_patch,
};
use rollcall_types::{InstanceSpec, NodeName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cursor::Cursor;
use super::trace;
use crate::fuzz::choice;

/// Longest answer to a body that is refused, besides what it repeats of the body.
const PROBLEM_BYTES_MAX: usize = 64 << 10;

type Refused = Result<(), DecodeError>;

/// The first byte says which body it is.
pub(crate) fn http_body(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let taken = match kind % 13 {
        0 => registration(body),
        1 => patch(body),
        2 => read::<ServiceDefinition>(body).and_then(|it| checked(it.into_definition())),
        3 => read::<Heartbeat>(body).and_then(|it| checked(it.check())),
        4 => read::<RenewRequest>(body)
            .and_then(|it| checked(it.check().map(|items| assert!(items.len() <= RENEWALS_MAX)))),
        5 => read::<ReportsRequest>(body)
            .and_then(|it| checked(it.check().map(|reports| assert!(reports.len() <= REPORTS_MAX)))),
        6 => read::<SelectRequest>(body).and_then(|it| checked(it.check())),
        7 => read::<SessionRequest>(body).and_then(|it| {
            let node = NodeName::try_from("n1").expect("a name");
            checked(it.into_spec(node))
        }),
        8 => read::<EventRequest>(body).and_then(|it| checked(it.check())),
        9 => read::<DrainRequest>(body).and_then(|it| checked(it.into_parts())),
        10 => read::<QuarantineRequest>(body).and_then(|it| checked(it.into_parts())),
        11 => read::<ActivateRequest>(body)
            .and_then(|it| checked(it.into_reason()))
            .and_then(|()| read::<TransferLeaderRequest>(body).map(drop)),
        _ => document(body),
    };
    if let Err(refused) = taken {
        let problem = serde_json::to_vec(&Problem::from(refused)).expect("a problem has a text");
        assert!(
            problem.len() <= PROBLEM_BYTES_MAX + 6 * body.len(),
            "{} bytes of problem for {}",
            problem.len(),
            body.len()
        );
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    decode::from_json(body)
}

fn checked<T>(checked: Result<T, Vec<FieldError>>) -> Refused {
    match checked {
        Ok(_) => Ok(()),
        Err(errors) => {
            assert!((1..=ERRORS_MAX).contains(&errors.len()));
            Err(errors.into())
        }
    }
}

/// What is registered is shown as a body that registers the same.
fn registration(body: &[u8]) -> Refused {
    match read::<Registration>(body)?.into_spec() {
        Ok(spec) => {
            same(&spec);
            Ok(())
        }
        Err(errors) => checked::<()>(Err(errors)),
    }
}

fn same(spec: &InstanceSpec) {
    let shown = serde_json::to_vec(&Registration::from(spec)).expect("a registration has a text");
    let again = read::<Registration>(&shown).expect("what is shown can be read").into_spec();
    assert_eq!(again.as_ref(), Ok(spec));
}

/// A registration, a zero byte, and a patch of it. A patch of nothing changes nothing.
fn patch(body: &[u8]) -> Refused {
    let mut parts = body.splitn(2, |byte| *byte == 0);
    let (target, patch) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(spec) = read::<Registration>(target)?.into_spec() else { return Ok(()) };
    let target = Registration::from(&spec);
    let unchanged = merge_patch(&target, &serde_json::json!({}))?.into_spec();
    assert_eq!(unchanged, Ok(spec));
    let patched = merge_patch(&target, &read::<Value>(patch)?)?;
    patched.into_spec().map(|spec| same(&spec)).or_else(|errors| checked::<()>(Err(errors)))
}

/// A document is kept as it was written.
fn document(body: &[u8]) -> Refused {
    let kept = decode::document(body)?;
    assert!(body.len() >= kept.len());
    assert_eq!(decode::document(kept.as_bytes()), Ok(kept));
    Ok(())
}

/// The first byte says which query it is: what is read is written as a query that reads the same.
pub(crate) fn http_query(bytes: &[u8]) {
    let Some((kind, query)) = choice(bytes) else { return };
    match kind % 16 {
        0 => asked::<ReadQuery>(query),
        1 => asked::<KeysQuery>(query),
        2 => asked::<KeyWriteQuery>(query),
        3 => asked::<SessionsQuery>(query),
        4 => asked::<EventsQuery>(query),
        5 => asked::<LeaseQuery>(query),
        6 => asked::<HealthQuery>(query),
        7 => asked::<SelectQuery>(query),
        8 => asked::<ExplainQuery>(query),
        9 => asked::<ServicesQuery>(query),
        10 => asked::<InstancesQuery>(query),
        11 => asked::<HealthReportQuery>(query),
        12 => asked::<ServiceHealthQuery>(query),
        13 => asked::<ScrapeQuery>(query),
        14 => asked::<GraphQuery>(query),
        _ => asked::<HistoryQuery>(query),
    }
}

fn asked<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(query: &str) {
    let Ok(asked) = decode::from_query::<T>(query) else { return };
    let Ok(Value::Object(members)) = serde_json::to_value(&asked) else { panic!("{asked:?} is no object") };
    let mut written = form_urlencoded::Serializer::new(String::new());
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        written.append_pair(name, value.as_str().unwrap_or(&value.to_string()));
    }
    assert_eq!(decode::from_query::<T>(&written.finish()).expect("what was written can be read"), asked);
}

/// A page cursor: whatever it is, it is carried unchanged.
pub(crate) fn cursor(text: &str) {
    if let Ok(cursor) = Cursor::decode(text) {
        let again = Cursor::decode(&cursor.encode()).ok();
        assert_eq!(again, Some(cursor));
    }
}

/// The header of a caller's trace.
pub(crate) fn traceparent(text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        trace::fuzz(&HeaderMap::from_iter([(axum::http::HeaderName::from_static("traceparent"), value)]));
    }
}
