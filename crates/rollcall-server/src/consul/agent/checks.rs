//! `agent/check/*`: checks come, go, and are told how things stand.
//!
//! A check without a service is one of the node that is asked: an instance of the service that stands for the cluster, which
//! has that check and nothing else.

use std::sync::Arc;

use axum::response::Response;
use rollcall_catalog::Instance;
use rollcall_health::check::Report;
use rollcall_types::{CheckKind, CheckSpec, InstanceId, InstanceSpec, Metadata, ServiceName, Status, Tags, Weight};
use serde::Deserialize;

use crate::consul::call::Call;
use crate::consul::checks::{CheckDefinition, Defined, Verdict};
use crate::consul::failure::{Failure, Result};
use crate::consul::registration::{Entries, check_count, earlier, mark, read};
use crate::consul::router::{Table, write};
use crate::consul::{Layer, answer, change, decode, meta};
use crate::health::Heartbeat;

/// The routes.
pub(super) fn table(layer: &Layer) -> Table {
    vec![
        ("/v1/agent/check/register", write(layer, register)),
        ("/v1/agent/check/deregister/{*rest}", write(layer, deregister)),
        ("/v1/agent/check/pass/{*rest}", write(layer, pass)),
        ("/v1/agent/check/warn/{*rest}", write(layer, warn)),
        ("/v1/agent/check/fail/{*rest}", write(layer, fail)),
        ("/v1/agent/check/update/{*rest}", write(layer, update)),
    ]
}

/// `PUT agent/check/register`.
async fn register(mut call: Call) -> Result<Response> {
    let body = call.body().await?;
    let definition: CheckDefinition = decode::from_json(&body.bytes)?;
    drop(body);
    if definition.name.is_empty() {
        return Err(Failure::missing("check name"));
    }
    let catalog = call.app.consensus.catalog();
    let place = |id: &str| call.layer.ids.place(&catalog, id, &call.app.name);
    let id = definition.given_id().unwrap_or(&definition.name);
    let defined = definition.define(id, &definition.name, place)?;
    if definition.service_id.is_empty() {
        let node = call.app.name.as_str();
        let owner = InstanceId::try_from(format!("{node}/{id}").as_str())
            .map_err(|refused| Failure::bad_request(format!("Invalid check: CheckID {refused}")))?;
        change::register(&call, &own_service()?, &owner, |_| of_node(node, &defined)).await?;
    } else {
        let owner = owner(&call, &definition.service_id).await?;
        change::register(&call, &owner.service, &owner.id, |present| with_check(present.unwrap_or(&owner), &defined))
            .await?;
    }
    Ok(answer::empty())
}

async fn owner(call: &Call, id: &str) -> Result<Arc<Instance>> {
    change::instance(call, id).await.map_err(|failure| match failure.status.as_u16() {
        404 => Failure::server(format!("ServiceID {id:?} does not exist")),
        _ => failure,
    })
}

/// The service that stands for the cluster.
///
/// # Errors
/// None: its name is one.
pub(crate) fn own_service() -> Result<ServiceName> {
    read("Name", meta::SELF_SERVICE)
}

/// The registration of a check of a node by itself.
///
/// # Errors
/// 400 when the node's name is no value of metadata.
pub(crate) fn of_node(node: &str, defined: &Defined) -> Result<InstanceSpec> {
    let mut entries = Entries::new();
    mark(&mut entries, meta::NODE, node)?;
    let checks = [defined.spec.clone()].into();
    Ok(InstanceSpec { checks, deregister_after: defined.deregister_after, ..bare(entries) })
}

/// A registration that says nothing but this.
pub(crate) fn bare(entries: Entries) -> InstanceSpec {
    InstanceSpec {
        endpoints: Box::default(),
        zone: None,
        region: None,
        version: None,
        tags: Tags::new(),
        metadata: entries.into_iter().collect::<Metadata>(),
        weight: Weight::default(),
        lease: None,
        checks: Box::default(),
        deregister_after: None,
    }
}

/// The registration of an instance with this check besides, in the place of one with the same id.
///
/// # Errors
/// 400 when it would have too many.
pub(crate) fn with_check(present: &Instance, defined: &Defined) -> Result<InstanceSpec> {
    let mut spec = InstanceSpec::clone(&present.spec);
    let mut checks = spec.checks.to_vec();
    match checks.iter_mut().find(|check| check.id == defined.spec.id) {
        Some(check) => *check = defined.spec.clone(),
        None => checks.push(defined.spec.clone()),
    }
    check_count(checks.len())?;
    spec.checks = checks.into();
    spec.deregister_after = earlier(spec.deregister_after, defined.deregister_after);
    Ok(spec)
}

/// `PUT agent/check/deregister/:id`.
async fn deregister(call: Call) -> Result<Response> {
    let found = change::check(&call, call.name("check ID")?).await?;
    remove(&call, &found.instance, &found.check).await?;
    Ok(answer::empty())
}

/// Takes a check from its instance, and the instance with it when it is there for the check alone.
///
/// # Errors
/// 500 without a leader.
pub(crate) async fn remove(call: &Call, owner: &Arc<Instance>, check: &CheckSpec) -> Result<()> {
    if owner.service.eq_ignore_ascii_case(meta::SELF_SERVICE) {
        change::deregister(call, &owner.service, &owner.id).await?;
        return Ok(());
    }
    let without = |present: Option<&Instance>| {
        let mut spec = InstanceSpec::clone(&present.unwrap_or(owner).spec);
        spec.checks = spec.checks.iter().filter(|other| other.id != check.id).cloned().collect();
        if spec.checks.is_empty() {
            spec.deregister_after = None;
        }
        Ok(spec)
    };
    change::register(call, &owner.service, &owner.id, without).await?;
    Ok(())
}

/// `PUT agent/check/pass/:id?note=…`.
async fn pass(call: Call) -> Result<Response> {
    told(&call, Report::Passing).await
}

/// `PUT agent/check/warn/:id?note=…`.
async fn warn(call: Call) -> Result<Response> {
    told(&call, Report::Warning).await
}

/// `PUT agent/check/fail/:id?note=…`.
async fn fail(call: Call) -> Result<Response> {
    told(&call, Report::Critical).await
}

async fn told(call: &Call, report: Report) -> Result<Response> {
    let note = call.params.get("note").unwrap_or_default();
    take(call, report, note).await
}

/// What a client says of a check in a body.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CheckUpdate {
    status: String,
    output: String,
}

/// `PUT agent/check/update/:id`.
async fn update(mut call: Call) -> Result<Response> {
    let body = call.body().await?;
    let update: CheckUpdate = decode::from_json(&body.bytes)?;
    drop(body);
    let report = match Verdict::named(&update.status) {
        Some(Status::Passing) => Report::Passing,
        Some(Status::Warning) => Report::Warning,
        Some(_) => Report::Critical,
        None => return Err(Failure::bad_request(format!("Invalid check status: '{}'", update.status))),
    };
    take(&call, report, &update.output).await
}

/// Takes a heartbeat of one check, on whichever node it arrives.
async fn take(call: &Call, report: Report, note: &str) -> Result<Response> {
    let id = call.name("check ID")?;
    let found = change::check(call, id).await?;
    let is_by_heartbeats = matches!(found.check.kind, CheckKind::Ttl { .. });
    let check = found.check.id;
    let heartbeat = Heartbeat {
        checks: Some(vec![(check.clone(), report)]),
        note: Some((check, note.to_owned())),
        ..Heartbeat::default()
    };
    let taken = is_by_heartbeats && call.app.health.leases().renew(&found.instance, &heartbeat).is_ok();
    if !taken {
        return Err(Failure::server(format!("CheckID {id:?} does not have associated TTL")));
    }
    Ok(answer::empty())
}
