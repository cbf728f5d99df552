//! What a caller says about a session that it opens.

use std::time::Duration;

use rollcall_types::{
    LOCK_DELAY_DEFAULT, LOCK_DELAY_MAX, Millis, OnSessionEnd, SESSION_CHECKS_MAX, SESSION_TTL_MAX, SESSION_TTL_MIN,
    SessionCheck, SessionSpec, Status, Text,
};
use serde::Deserialize;
use serde_json::Value;

use super::shown::NODE_CHECK;
use crate::consul::call::Call;
use crate::consul::failure::{Failure, Result};
use crate::consul::{change, duration};

/// Bare numbers below this are seconds, others nanoseconds: so does Consul read lock delays.
const SECONDS_BELOW: u64 = 1_000;
/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 512;

/// The body of `PUT session/create`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Create {
    lock_delay: Option<Value>,
    node: String,
    name: String,
    checks: Option<Vec<String>>,
    node_checks: Option<Vec<String>>,
    service_checks: Option<Vec<ServiceCheck>>,
    behavior: String,
    #[serde(rename = "TTL")]
    ttl: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceCheck {
    #[serde(rename = "ID")]
    id: String,
}

impl Create {
    /// The session in the words of the log.
    pub(super) async fn into_spec(self, call: &Call) -> Result<SessionSpec> {
        let node = if self.node.is_empty() { call.app.name.to_string() } else { self.node.clone() };
        let members = call.app.gossip.view();
        let known = members.members.keys().find(|name| name.eq_ignore_ascii_case(&node));
        let node = known.cloned().ok_or_else(|| Failure::server("Missing node registration"))?;
        if self.name.len() > NAME_BYTES_MAX {
            return Err(Failure::bad_request(format!("Name must be at most {NAME_BYTES_MAX} bytes")));
        }
        let on_end = match self.behavior.as_str() {
            "" | "release" => OnSessionEnd::Release,
            "delete" => OnSessionEnd::Delete,
            other => return Err(Failure::server(format!("Invalid Behavior setting '{other}'"))),
        };
        Ok(SessionSpec {
            name: Text::try_from(self.name.as_str())
                .map_err(|invalid| Failure::bad_request(format!("Name {invalid}")))?,
            node,
            ttl: ttl(self.ttl.as_ref())?,
            lock_delay: lock_delay(self.lock_delay.as_ref())?,
            on_end,
            checks: self.checks(call).await?,
        })
    }

    /// The checks that the session hangs on: the node's own unless the caller says which.
    async fn checks(&self, call: &Call) -> Result<Box<[SessionCheck]>> {
        let named = [&self.node_checks, &self.checks].into_iter().flatten().next();
        let mut ids: Vec<&str> = named.map_or_else(|| vec![NODE_CHECK], |ids| ids.iter().map(String::as_str).collect());
        ids.extend(self.service_checks.iter().flatten().map(|check| check.id.as_str()));
        if ids.len() > SESSION_CHECKS_MAX {
            return Err(Failure::bad_request(format!("a session takes at most {SESSION_CHECKS_MAX} checks")));
        }
        let mut checks = Vec::with_capacity(ids.len());
        for id in ids {
            checks.push(check(call, id).await?);
        }
        Ok(checks.into())
    }
}

/// The check with this id, which must not be critical. It may have been registered through another node a moment ago.
async fn check(call: &Call, id: &str) -> Result<SessionCheck> {
    if id == NODE_CHECK {
        return Ok(SessionCheck::Node);
    }
    let found = change::find_check(call, id).await?;
    let found = found.ok_or_else(|| Failure::server(format!("Missing check '{id}' registration")))?;
    let health = call.app.health.reader().load().of(&call.app.consensus.catalog(), &found.instance);
    if health.of_check(&found.instance, &found.check) == Status::Critical {
        return Err(Failure::server(format!("Check '{id}' is in critical state")));
    }
    let (service, instance) = (found.instance.service.clone(), found.instance.id.clone());
    Ok(SessionCheck::Instance { service, id: instance, check: found.check.id })
}

/// A duration, as text or as a number of nanoseconds.
fn ttl(value: Option<&Value>) -> Result<Option<Millis>> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = |error: duration::InvalidDuration| Failure::server(format!("Session TTL '{text}' invalid: {error}"));
    let ttl = duration::parse_or_nanos(&text).map_err(invalid)?;
    if ttl.is_zero() {
        return Ok(None);
    }
    if ttl < SESSION_TTL_MIN.duration() || ttl > SESSION_TTL_MAX.duration() {
        let (min, max) = (SESSION_TTL_MIN.duration(), SESSION_TTL_MAX.duration());
        return Err(Failure::server(format!(
            "Invalid Session TTL '{}', must be between [{}={}]",
            ttl.as_nanos(),
            duration::Go(min),
            duration::Go(max)
        )));
    }
    Ok(Some(millis(ttl)))
}

fn lock_delay(value: Option<&Value>) -> Result<Millis> {
    let delay = match value {
        None | Some(Value::Null) => return Ok(LOCK_DELAY_DEFAULT),
        Some(Value::String(text)) if text.is_empty() => return Ok(LOCK_DELAY_DEFAULT),
        Some(Value::String(text)) => duration::parse(text)
            .map_err(|error| Failure::bad_request(format!("Request decode failed: LockDelay: {error}")))?,
        Some(Value::Number(number)) => {
            let rule = "Request decode failed: LockDelay: it must be a duration or a whole number that is not below 0";
            let number = number.as_f64().filter(|number| *number >= 0.0).ok_or_else(|| Failure::bad_request(rule))?;
            let number = number as u64;
            if number < SECONDS_BELOW { Duration::from_secs(number) } else { Duration::from_nanos(number) }
        }
        Some(_) => return Err(Failure::bad_request("Request decode failed: LockDelay: it must be a duration")),
    };
    if delay > LOCK_DELAY_MAX.duration() {
        let max = duration::Go(LOCK_DELAY_MAX.duration());
        return Err(Failure::server(format!("Invalid lock delay: it must be at most {max}")));
    }
    Ok(millis(delay))
}

/// Reads a body as far as it takes no cluster to do so.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::consul) fn fuzz(body: &[u8]) -> Result<()> {
    let create: Create = crate::consul::decode::from_json(body)?;
    ttl(create.ttl.as_ref())?;
    lock_delay(create.lock_delay.as_ref())?;
    Ok(())
}

/// Whole milliseconds, none fewer than there were.
fn millis(duration: Duration) -> Millis {
    Millis::new(u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ttl_is_text_or_nanoseconds_within_its_bounds() {
        let read = |value: Value| {
            ttl(Some(&value)).map(|ttl| ttl.map(Millis::get)).map_err(|failure| failure.text.into_owned())
        };
        assert_eq!(read(json!("15.0s")), Ok(Some(15_000)));
        assert_eq!(read(json!("10s")), Ok(Some(10_000)));
        assert_eq!(read(json!(10_000_000_000_u64)), Ok(Some(10_000)));
        assert_eq!(read(json!("")), Ok(None));
        assert_eq!(read(json!("0s")), Ok(None));
        assert_eq!(
            read(json!("5s")),
            Err("Invalid Session TTL '5000000000', must be between [10s=24h0m0s]".to_owned())
        );
        assert!(read(json!("25h")).unwrap_err().starts_with("Invalid Session TTL"));
        assert!(read(json!("soon")).unwrap_err().starts_with("Session TTL 'soon' invalid"));
    }

    #[test]
    fn a_lock_delay_is_text_seconds_or_nanoseconds() {
        let read = |value: Value| lock_delay(Some(&value)).map(Millis::get).map_err(|failure| failure.status.as_u16());
        assert_eq!(lock_delay(None), Ok(LOCK_DELAY_DEFAULT));
        assert_eq!(read(json!("20s")), Ok(20_000));
        assert_eq!(read(json!("0s")), Ok(0));
        assert_eq!(read(json!(15)), Ok(15_000));
        assert_eq!(read(json!(5_000_000_000_u64)), Ok(5_000));
        assert_eq!(read(json!("0.001s")), Ok(1));
        assert_eq!(read(json!("61s")), Err(500));
        assert_eq!(read(json!(-1)), Err(400));
        assert_eq!(read(json!(true)), Err(400));
    }
}
