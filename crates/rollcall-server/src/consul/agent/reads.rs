//! What an agent is asked of its services and checks: the node that is asked shows those that are on it.
//!
//! The checks by heartbeats that this node hears are shown as it heard them last, in status and words, before the cluster has
//! agreed; of all others it says what all nodes say.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use rollcall_catalog::{Catalog, Instance};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::consul::blocking::wait_until;
use crate::consul::call::Call;
use crate::consul::failure::{Failure, Result};
use crate::consul::narrow::Narrow;
use crate::consul::nodes::Place;
use crate::consul::render::{AgentService, Check, Views, word};
use crate::consul::router::Table;
use crate::consul::wake::Topic;
use crate::consul::{answer, change, meta};
use crate::health::HeardCheck;

/// The routes.
pub(super) fn table() -> Table {
    vec![
        ("/v1/agent/services", get(services)),
        ("/v1/agent/checks", get(checks)),
        ("/v1/agent/service/{*rest}", get(service)),
        ("/v1/agent/health/service/id/{*rest}", get(health_by_id)),
        ("/v1/agent/health/service/name/{*rest}", get(health_by_name)),
    ]
}

/// `GET agent/services`: by id.
async fn services(call: Call) -> Result<Response> {
    let narrow = Narrow::of(&call)?;
    let views = Views::of(&call, &call.app.consensus.catalog());
    let here = here(&call, &views).filter(|(instance, _)| !is_of_node(instance));
    let all: Vec<_> = here.map(|(instance, place)| views.agent_service(instance, place)).collect();
    let kept = narrow.filtered(all)?;
    answer::json(&kept.iter().map(|service| (service.id, service)).collect::<BTreeMap<_, _>>())
}

/// `GET agent/checks`: by id.
async fn checks(call: Call) -> Result<Response> {
    let narrow = Narrow::of(&call)?;
    let views = Views::of(&call, &call.app.consensus.catalog());
    let all: Vec<_> = here(&call, &views).flat_map(|(it, place)| checks_of(&call, &views, it, place)).collect();
    let kept = narrow.filtered(all)?;
    answer::json(&kept.iter().map(|check| (check.id.as_ref(), check)).collect::<BTreeMap<_, _>>())
}

/// One service with a digest of what it says, by which clients know whether it changed.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Hashed<'v> {
    #[serde(flatten)]
    service: &'v AgentService<'v>,
    content_hash: &'v str,
}

/// `GET agent/service/:id`. With `hash=` it waits until the service is another than the one of that digest, or gone.
async fn service(call: Call) -> Result<Response> {
    let id = call.name("service ID")?;
    let unknown = || Failure::not_found(format!("unknown service ID: {id}"));
    let found = change::instance(&call, id).await.map_err(|failure| match failure.status {
        StatusCode::NOT_FOUND => unknown(),
        _ => failure,
    })?;
    if let Some(hash) = call.params.text("hash") {
        let is_other = |catalog: &Arc<Catalog>| match catalog.instance(&found.service, &found.id) {
            Some(now) => digest(&Views::of(&call, catalog), now).is_ok_and(|digest| digest != hash),
            None => true,
        };
        let topics: Vec<_> = Topic::of_service(&found.service).into_iter().collect();
        wait_until(&call, &topics, is_other).await?;
    }
    let views = Views::of(&call, &call.app.consensus.catalog());
    let instance = views.catalog.instance(&found.service, &found.id).ok_or_else(unknown)?;
    let place = views.place(instance).ok_or_else(Failure::no_leader)?;
    let (service, content_hash) = (views.agent_service(instance, place), digest(&views, instance)?);
    let mut response = answer::json(&Hashed { service: &service, content_hash: &content_hash })?;
    let hash = HeaderValue::try_from(content_hash).map_err(|error| Failure::internal(&error))?;
    response.headers_mut().insert("x-consul-contenthash", hash);
    Ok(response)
}

/// A digest of what is said of an instance.
fn digest(views: &Views, instance: &Instance) -> Result<String> {
    let place = views.place(instance).ok_or_else(Failure::no_leader)?;
    let service = views.agent_service(instance, place);
    let digest = Sha256::digest(serde_json::to_vec(&service).map_err(|error| Failure::internal(&error))?);
    Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// How a service stands, in one word.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Health<'v> {
    aggregated_status: &'static str,
    service: Option<AgentService<'v>>,
    checks: Vec<Check<'v>>,
}

impl<'v> Health<'v> {
    fn of(call: &Call, views: &'v Views, instance: &'v Instance, place: Place<'v>) -> Self {
        let checks = checks_of(call, views, instance, place);
        let aggregated_status = worst(checks.iter().map(|check| check.status));
        Self { aggregated_status, service: Some(views.agent_service(instance, place)), checks }
    }

    fn unknown() -> Self {
        Self { aggregated_status: "critical", service: None, checks: Vec::new() }
    }
}

/// `GET agent/health/service/id/:id`.
async fn health_by_id(call: Call) -> Result<Response> {
    let id = call.name("service id")?;
    let found = match change::instance(&call, id).await {
        Err(failure) if failure.status == StatusCode::NOT_FOUND => None,
        found => Some(found?),
    };
    let views = Views::of(&call, &call.app.consensus.catalog());
    let located = found.as_ref().and_then(|instance| Some((instance, views.place(instance)?)));
    let Some((instance, place)) = located else {
        return said(&call, StatusCode::NOT_FOUND, &format!("ServiceId {id} not found"), &Health::unknown());
    };
    let health = Health::of(&call, &views, instance, place);
    said(&call, code(health.aggregated_status), health.aggregated_status, &health)
}

/// `GET agent/health/service/name/:name`: of all instances on this node together.
async fn health_by_name(call: Call) -> Result<Response> {
    let name = call.name("service Name")?;
    let views = Views::of(&call, &call.app.consensus.catalog());
    let mine = here(&call, &views).filter(|(it, _)| it.service.eq_ignore_ascii_case(name) && !is_of_node(it));
    let found: Vec<_> = mine.map(|(instance, place)| Health::of(&call, &views, instance, place)).collect();
    if found.is_empty() {
        return said(&call, StatusCode::NOT_FOUND, &format!("ServiceName {name} Not Found"), &found);
    }
    let status = worst(found.iter().map(|health| health.aggregated_status));
    said(&call, code(status), status, &found)
}

/// The answer about health: its status says all, and so does its text, if text was asked for.
fn said(call: &Call, code: StatusCode, word: &str, body: &impl Serialize) -> Result<Response> {
    let is_text = call.params.get("format") == Some("text")
        || call.headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/plain"));
    let mut response: Response<Body> = if is_text { answer::text(word) } else { answer::json(body)? };
    *response.status_mut() = code;
    Ok(response)
}

fn code(status: &str) -> StatusCode {
    match status {
        "passing" => StatusCode::OK,
        "warning" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The worst of several statuses; of none, as nothing speaks against it, `passing`.
fn worst(statuses: impl Iterator<Item = &'static str>) -> &'static str {
    let badness = |status: &&'static str| ["passing", "warning", "critical"].iter().position(|word| word == status);
    statuses.max_by_key(badness).unwrap_or("passing")
}

/// What is on the node that is asked.
fn here<'v>(call: &'v Call, views: &'v Views) -> impl Iterator<Item = (&'v Instance, Place<'v>)> {
    let all = views.catalog.services().flat_map(|service| service.instances.values());
    let placed = all.filter_map(|instance| Some((&**instance, views.place(instance)?)));
    placed.filter(|(_, place)| place.name() == call.app.name.as_str())
}

/// Whether it is a check of a node, or a node, and no service.
fn is_of_node(instance: &Instance) -> bool {
    instance.service.eq_ignore_ascii_case(meta::SELF_SERVICE)
}

/// The checks of an instance as this node knows them.
fn checks_of<'v>(call: &Call, views: &'v Views, instance: &'v Instance, place: Place<'v>) -> Vec<Check<'v>> {
    let heard = call.app.health.leases().heard(instance);
    let checks = views.checks_of(instance, place).into_iter();
    let checks = checks.map(|check| if is_of_node(instance) { check.of_node() } else { check });
    checks.map(|check| as_heard(check, &heard)).collect()
}

fn as_heard<'v>(check: Check<'v>, heard: &[HeardCheck]) -> Check<'v> {
    match heard.iter().find(|heard| &*heard.id == check.id.as_ref()) {
        Some(heard) => {
            Check { status: word(heard.status), output: heard.note.clone().unwrap_or_default().into(), ..check }
        }
        None => check,
    }
}
