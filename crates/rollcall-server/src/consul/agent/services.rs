//! `agent/service/*`: services come, go, and are taken out for a while.
//!
//! An agent of Consul has services of its own. Here the cluster has them, so that every node takes every change of every
//! service, and a client behind a load balancer need not stay with one node.

use axum::response::Response;
use rollcall_catalog::{Command, Instance, Precondition};
use rollcall_types::{InstanceSpec, Lifecycle, REASON_BYTES_MAX, Text};

use crate::consul::call::Call;
use crate::consul::failure::{Failure, Result};
use crate::consul::registration::{Registration, ServiceDefinition, check_count, earlier};
use crate::consul::router::{Table, write};
use crate::consul::{Layer, answer, change, decode, meta};

/// The routes.
pub(super) fn table(layer: &Layer) -> Table {
    vec![
        ("/v1/agent/service/register", write(layer, register)),
        ("/v1/agent/service/deregister/{*rest}", write(layer, deregister)),
        ("/v1/agent/service/maintenance/{*rest}", write(layer, maintenance)),
    ]
}

/// `PUT agent/service/register`.
async fn register(mut call: Call) -> Result<Response> {
    let body = call.body().await?;
    let definition: ServiceDefinition = decode::from_json(&body.bytes)?;
    drop(body);
    let catalog = call.app.consensus.catalog();
    let place = |id: &str| call.layer.ids.place(&catalog, id, &call.app.name);
    let Registration { service, id, spec } = definition.register(&change::caller_host(&call)?, &place)?;
    if service.eq_ignore_ascii_case(meta::SELF_SERVICE) {
        return Err(Failure::bad_request(format!("Invalid service: Name {service:?} stands for the cluster itself")));
    }
    let replaces = call.params.has("replace-existing-checks");
    let next = |present: Option<&Instance>| match present {
        Some(present) if !replaces => with_checks_of(&present.spec, spec.clone()),
        _ => Ok(spec.clone()),
    };
    let registered = change::register(&call, &service, &id, next).await?;
    // One node stands for the agents of many machines, so only what the same client registered is its own.
    let client = call.actor();
    let is_here = |other: &Instance| meta::of(&other.spec, meta::NODE).is_none() && other.registered_by == client;
    change::retire_namesakes(&call, (&service, &id), &registered, is_here).await?;
    Ok(answer::empty())
}

/// The registration with the checks that the present one has besides: who registers a service again does not take back what was
/// registered for it in the meantime.
pub(crate) fn with_checks_of(present: &InstanceSpec, mut spec: InstanceSpec) -> Result<InstanceSpec> {
    let is_gone = |id| spec.checks.iter().all(|check| check.id != id);
    let kept: Vec<_> = present.checks.iter().filter(|check| is_gone(check.id.clone())).cloned().collect();
    if !kept.is_empty() {
        spec.deregister_after = earlier(spec.deregister_after, present.deregister_after);
        spec.checks = spec.checks.iter().cloned().chain(kept).collect();
        check_count(spec.checks.len())?;
    }
    Ok(spec)
}

/// `PUT agent/service/deregister/:id`.
async fn deregister(call: Call) -> Result<Response> {
    let found = change::instance(&call, call.name("service ID")?).await?;
    change::deregister(&call, &found.service, &found.id).await?;
    Ok(answer::empty())
}

/// `PUT agent/service/maintenance/:id?enable=…&reason=…`. In maintenance an instance drains, for as long as nobody ends that.
async fn maintenance(call: Call) -> Result<Response> {
    let (id, enable) = (call.name("service ID")?, enable(&call)?);
    let reason = reason(&call)?;
    let found = change::instance(&call, id).await?;
    let lifecycle = match enable {
        true => Lifecycle::Draining { deadline: None, reason: reason.clone().unwrap_or_default() },
        false => Lifecycle::Active,
    };
    let (service, id, expect) = (found.service.clone(), found.id.clone(), Precondition::None);
    call.execute(Command::SetLifecycle { service, id, lifecycle, expect, reason }).await?;
    Ok(answer::empty())
}

/// Whether maintenance begins or ends.
///
/// # Errors
/// 400 in Consul's words.
pub(super) fn enable(call: &Call) -> Result<bool> {
    match call.params.get("enable") {
        None | Some("") => Err(Failure::bad_request("Missing value for enable")),
        Some("true" | "True" | "TRUE" | "1" | "t" | "T") => Ok(true),
        Some("false" | "False" | "FALSE" | "0" | "f" | "F") => Ok(false),
        Some(other) => Err(Failure::bad_request(format!("Invalid value for enable: {other:?}"))),
    }
}

/// Why, if that is said: the beginning of a text that is too long.
///
/// # Errors
/// None that a text could bring about.
pub(super) fn reason(call: &Call) -> Result<Option<Text>> {
    let Some(reason) = call.params.text("reason") else { return Ok(None) };
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    Text::try_from(reason).map(Some).map_err(|refused| Failure::bad_request(format!("reason {refused}")))
}
