//! What operators decide about an instance: drain, undrain, quarantine, release.
//!
//! ```text
//!           drain                quarantine
//! draining ◄────── active ─────────────────► quarantined
//!    ▲    ──────►         ◄─────────────────     │
//!    │     undrain         release, or its end   │
//!    └───────────────────────────────────────────┘ drain
//! ```
//! A drain outranks a quarantine: it does not end by itself, so a quarantine must not end it. Each word undoes its own
//! decision only, and repeating one changes nothing but the times and the reason that it names.
//!
//! A decision depends on the one before it, so it is made on a linearizable read and guarded by its revision, as a patch is.

use axum::extract::State;
use axum::response::Response;
use rollcall_api::query::Consistency;
use rollcall_api::{ActivateRequest, Code, DrainRequest, PROBLEM_JSON, Problem, QuarantineRequest, WriteReply, paths};
use rollcall_api::{Timestamp, decode};
use rollcall_catalog::{Command, Precondition};
use rollcall_types::{Lifecycle, Text, UnixMillis};
use serde::de::DeserializeOwned;

use super::instances::{find, names};
use crate::app::{App, Shared};
use crate::clock;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::extract::PathValues;
use crate::http::failure::{Failure, Result};
use crate::http::write::Write;

/// Attempts of a decision about an instance that others change at the same time.
const ATTEMPTS: usize = 8;

/// `POST …/drain`.
#[utoipa::path(
    post,
    path = paths::DRAIN,
    params(("service" = String, Path, description = "Name of the service"), ("id" = String, Path, description = "Id of the instance, percent-encoded")),
    request_body = Option<DrainRequest>,
    responses((status = 200, description = "It drains", body = WriteReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn drain(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let (time, reason) = body::<DrainRequest>(&write)?.into_parts()?;
    let drained = |present: &Lifecycle, now: UnixMillis| {
        let (deadline, earlier) = match present {
            Lifecycle::Draining { deadline, reason } => (*deadline, Some(reason)),
            Lifecycle::Active | Lifecycle::Quarantined { .. } => (None, None),
        };
        let deadline = time.map(|time| now.plus(time)).or(deadline);
        Ok(Lifecycle::Draining { deadline, reason: reason.as_ref().or(earlier).cloned().unwrap_or_default() })
    };
    decide(&app, &path, &write, reason.as_ref(), drained).await
}

/// `POST …/undrain`.
#[utoipa::path(
    post,
    path = paths::UNDRAIN,
    params(("service" = String, Path, description = "Name of the service"), ("id" = String, Path, description = "Id of the instance, percent-encoded")),
    request_body = Option<ActivateRequest>,
    responses((status = 200, description = "It is active", body = WriteReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn undrain(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let reason = body::<ActivateRequest>(&write)?.into_reason()?;
    decide(&app, &path, &write, reason.as_ref(), |present, _| match present {
        Lifecycle::Quarantined { until, .. } => Err(conflict(format!(
            "the instance is quarantined until {} and does not drain; release it",
            Timestamp(*until)
        ))),
        Lifecycle::Active | Lifecycle::Draining { .. } => Ok(Lifecycle::Active),
    })
    .await
}

/// `POST …/quarantine`.
#[utoipa::path(
    post,
    path = paths::QUARANTINE,
    params(("service" = String, Path, description = "Name of the service"), ("id" = String, Path, description = "Id of the instance, percent-encoded")),
    request_body = QuarantineRequest,
    responses((status = 200, description = "It is quarantined", body = WriteReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn quarantine(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let (ttl, reason) = body::<QuarantineRequest>(&write)?.into_parts()?;
    decide(&app, &path, &write, reason.as_ref(), |present, now| {
        let earlier = match present {
            Lifecycle::Draining { .. } => {
                return Err(conflict(
                    "the instance drains, and a quarantine would end that by itself; undrain it first",
                ));
            }
            Lifecycle::Quarantined { reason, .. } => Some(reason),
            Lifecycle::Active => None,
        };
        let reason = reason.as_ref().or(earlier).cloned().unwrap_or_default();
        Ok(Lifecycle::Quarantined { until: now.plus(ttl), reason })
    })
    .await
}

/// `POST …/release`.
#[utoipa::path(
    post,
    path = paths::RELEASE,
    params(("service" = String, Path, description = "Name of the service"), ("id" = String, Path, description = "Id of the instance, percent-encoded")),
    request_body = Option<ActivateRequest>,
    responses((status = 200, description = "It is active", body = WriteReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn release(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let reason = body::<ActivateRequest>(&write)?.into_reason()?;
    decide(&app, &path, &write, reason.as_ref(), |present, _| match present {
        Lifecycle::Draining { .. } => Err(conflict("the instance drains and is not quarantined; undrain it")),
        Lifecycle::Active | Lifecycle::Quarantined { .. } => Ok(Lifecycle::Active),
    })
    .await
}

/// Reads a body all of whose fields may be left out, and so may the body.
fn body<T: DeserializeOwned + Default>(write: &Write) -> Result<T> {
    if write.body().is_empty() { Ok(T::default()) } else { Ok(decode::from_json(write.body())?) }
}

fn conflict(detail: impl Into<String>) -> Failure {
    Failure::new(Code::LifecycleConflict, detail)
}

/// Replaces what was decided about an instance by what `next` makes of it.
async fn decide(
    app: &App,
    path: &PathValues,
    write: &Write,
    reason: Option<&Text>,
    next: impl Fn(&Lifecycle, UnixMillis) -> Result<Lifecycle>,
) -> Result<Response> {
    let (service, id) = names(path)?;
    for attempt in 0..ATTEMPTS {
        let view = View::obtain(app, Some(Consistency::Linearizable), None, None).await?;
        if let Some(outcome) = write.answered(&view.catalog, ATTEMPTS) {
            return answer::written(&outcome);
        }
        let present = find(&view.catalog, &service, &id).map_err(|missing| view.lacks(missing))?;
        let now = clock::now(&view.catalog);
        let lifecycle = next(present.lifecycle.at(now), now).map_err(|refused| view.lacks(refused))?;
        let expect = if write.is_conditional() { write.expect } else { Precondition::At(present.modified) };
        let (service, id, reason) = (service.clone(), id.clone(), reason.cloned());
        let command = Command::SetLifecycle { service, id, lifecycle, expect, reason };
        match write.propose_attempt(app, attempt, command).await {
            Err(failure) if failure.problem.code == Code::RevisionMismatch && !write.is_conditional() => {}
            answered => return answer::written(&answered?),
        }
    }
    Err(Failure::new(Code::RevisionMismatch, "the instance keeps changing; send If-Match and decide for yourself"))
}
