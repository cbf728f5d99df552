//! Instances: register, read, list, change, remove.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use rollcall_api::query::{Consistency, DeregisterQuery, InstancesQuery, ReadQuery};
use rollcall_api::{
    Code, Instance as InstanceAnswer, InstanceRef, InstancesAnswer, List, PROBLEM_JSON, Problem, Registration,
    WriteReply, decode, merge_patch, paths,
};
use rollcall_catalog::{Catalog, Command, Instance, Precondition, Refusal, Service};
use rollcall_types::{CapabilityName, InstanceId, InstanceSpec, Revision, ServiceName};
use serde_json::Value;

use super::watches;
use crate::app::{App, Shared};
use crate::health::answer::Reading;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::cursor::{Cursor, page_size};
use crate::http::extract::{PathValues, Query, named};
use crate::http::failure::{Failure, Result};
use crate::http::filter::Filter;
use crate::http::listing;
use crate::http::write::Write;

/// Attempts of a merge-patch against an instance that others change at the same time.
const PATCH_ATTEMPTS: usize = 8;

/// `PUT …/instances/{id}`: registers or replaces.
#[utoipa::path(
    put,
    path = paths::INSTANCE,
    params(("service" = String, Path, description = "Name of the service"), ("id" = String, Path, description = "Id of the instance, percent-encoded")),
    request_body = Registration,
    responses((status = 201, description = "Made", body = WriteReply), (status = 200, description = "Changed, or equal to what was there", body = WriteReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn register(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let (service, id) = names(&path)?;
    let registration: Registration = decode::from_json(write.body())?;
    let spec = reviewed(&app, registration)?;
    let outcome = write.propose(&app, Command::Register { service, id, spec, expect: write.expect }).await?;
    answer::written(&outcome)
}

/// `POST …/instances`: registers under an id that the cluster makes.
#[utoipa::path(
    post,
    path = paths::INSTANCES,
    params(("service" = String, Path, description = "Name of the service")),
    request_body = Registration,
    responses((status = 201, description = "Registered; Location has the id", body = WriteReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn create(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let service: ServiceName = path.get("service")?;
    if write.is_conditional() {
        return Err(Failure::parameter("If-Match", "must not be sent with POST: the instance is always a new one"));
    }
    let registration: Registration = decode::from_json(write.body())?;
    let spec = reviewed(&app, registration)?;
    // The same idempotency key makes the same id, so that a retry answers with the instance of the first attempt.
    let new_id = write.derived_id();
    let id = InstanceId::try_from(new_id.as_str()).map_err(|invalid| Failure::internal(invalid.to_string()))?;
    let location = paths::instance(&service, &id);
    let outcome = write.propose(&app, Command::Register { service, id, spec, expect: Precondition::None }).await?;
    let mut response = answer::written_with_id(&outcome, Some(new_id))?;
    *response.status_mut() = StatusCode::CREATED;
    let location = HeaderValue::try_from(location).map_err(|error| Failure::internal(error.to_string()))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// `PATCH …/instances/{id}`: JSON merge-patch (RFC 7396) of the registration.
#[utoipa::path(
    patch,
    path = paths::INSTANCE,
    params(("service" = String, Path, description = "Name of the service"), ("id" = String, Path, description = "Id of the instance, percent-encoded")),
    request_body = Value,
    responses((status = 201, description = "Made", body = WriteReply), (status = 200, description = "Changed, or equal to what was there", body = WriteReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn patch(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let (service, id) = names(&path)?;
    let patch: Value = decode::from_json(write.body())?;
    for attempt in 0..PATCH_ATTEMPTS {
        let view = View::obtain(&app, Some(Consistency::Linearizable), None, None).await?;
        if let Some(outcome) = write.answered(&view.catalog, PATCH_ATTEMPTS) {
            return answer::written(&outcome);
        }
        let present = find(&view.catalog, &service, &id)?;
        let spec = patched(&app, &present.spec, &patch)?;
        // Guarded by what was read, unless the caller guards it: a change in between must not be undone.
        let expect = if write.is_conditional() { write.expect } else { Precondition::At(present.modified) };
        let command = Command::Register { service: service.clone(), id: id.clone(), spec, expect };
        match write.propose_attempt(&app, attempt, command).await {
            Err(failure) if failure.problem.code == Code::RevisionMismatch && !write.is_conditional() => {}
            answered => return answer::written(&answered?),
        }
    }
    Err(Failure::new(Code::RevisionMismatch, "the instance keeps changing; send If-Match and decide for yourself"))
}

fn patched(app: &App, present: &InstanceSpec, patch: &Value) -> Result<Arc<InstanceSpec>> {
    let merged = merge_patch(&Registration::from(present), patch)?;
    reviewed(app, merged)
}

/// The registration, when this node may probe what it says.
fn reviewed(app: &App, registration: Registration) -> Result<Arc<InstanceSpec>> {
    let spec = registration.into_spec()?;
    match app.targets.review(&spec.checks) {
        problems if problems.is_empty() => Ok(Arc::new(spec)),
        problems => Err(problems.into()),
    }
}

/// `DELETE …/instances/{id}`.
#[utoipa::path(
    delete,
    path = paths::INSTANCE,
    params(("service" = String, Path, description = "Name of the service"), ("id" = String, Path, description = "Id of the instance, percent-encoded"), DeregisterQuery),
    responses((status = 204, description = "Gone, whether or not it was there"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn deregister(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<DeregisterQuery>,
    write: Write,
) -> Result<Response> {
    let (service, id) = names(&path)?;
    let reason = query.reason.as_deref().map(|text| named("reason", text)).transpose()?;
    let command = Command::Deregister { service, id, expect: write.expect, reason };
    Ok(answer::removed(&write.propose(&app, command).await?))
}

/// `GET …/instances/{id}`.
#[utoipa::path(
    get,
    path = paths::INSTANCE,
    params(("service" = String, Path, description = "Name of the service"), ("id" = String, Path, description = "Id of the instance, percent-encoded"), ReadQuery),
    responses((status = 200, description = "", body = InstanceAnswer), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn read(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<ReadQuery>,
) -> Result<Response> {
    let (service, id) = names(&path)?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let entry = view.catalog.service(&service).ok_or_else(|| view.lacks(Refusal::ServiceNotFound))?;
    let instance = entry.instances.get(&id).ok_or_else(|| view.lacks(Refusal::InstanceNotFound))?;
    answer::read(&view, Some(instance.modified), &Reading::of(&app, &view.catalog).wire(entry, instance))
}

/// `GET …/instances`: the instances of a service, or with `since=` what changed among them.
#[utoipa::path(
    get,
    path = paths::INSTANCES,
    params(("service" = String, Path, description = "Name of the service"), InstancesQuery),
    responses((status = 200, description = "", body = InstancesAnswer), (status = 304, description = "Long poll: nothing changed"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<InstancesQuery>,
) -> Result<Response> {
    let service: ServiceName = path.get("service")?;
    if let Some(since) = query.since {
        return watches::long_poll(&app, &service, Revision::new(since), &query).await;
    }
    let filter = Filter::of(&query)?;
    let cursor = query.cursor.as_deref().map(Cursor::decode).transpose()?;
    let at = cursor.as_ref().map(|cursor| cursor.revision.get()).or(query.at);
    let view = View::obtain(&app, query.consistency, query.min_revision, at).await?;
    if let Some(kept) = listing::plain(&query).and_then(|plain| listing::answer(&app, &view, &service, plain)) {
        return Ok(kept);
    }
    let reading = Reading::of(&app, &view.catalog);
    let entry = view.catalog.service(&service).ok_or_else(|| view.lacks(Refusal::ServiceNotFound))?;
    let limit = page_size(query.limit)?;
    let takes_traffic = |instance: &Instance| reading.takes_traffic(instance);
    let filter = filter.settled([entry], takes_traffic);
    let page = page_of(
        entry,
        |it| filter.keeps(it, takes_traffic),
        &reading,
        cursor.as_ref().map(|cursor| cursor.after.as_str()),
        limit,
    );
    answer_page(&app, &view, Some(entry.modified), page)
}

/// `GET /v1/capabilities/{capability}/instances`: the same across every service that offers the capability.
#[utoipa::path(
    get,
    path = paths::CAPABILITY_INSTANCES,
    params(("capability" = String, Path, description = "Name of the capability"), InstancesQuery),
    responses((status = 200, description = "", body = List<InstanceAnswer>), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn list_by_capability(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<InstancesQuery>,
) -> Result<Response> {
    let capability: CapabilityName = path.get("capability")?;
    if query.since.is_some() || query.wait.is_some() {
        return Err(Failure::parameter(
            "since",
            "must be asked of one service: the list of a capability does not wait",
        ));
    }
    let filter = Filter::of(&query)?;
    let cursor = query.cursor.as_deref().map(Cursor::decode).transpose()?;
    let at = cursor.as_ref().map(|cursor| cursor.revision.get()).or(query.at);
    let view = View::obtain(&app, query.consistency, query.min_revision, at).await?;
    let limit = page_size(query.limit)?;
    // Positions are "service\ninstance": neither may hold a control character.
    let after = cursor.as_ref().and_then(|cursor| cursor.after.split_once('\n'));
    let reading = Reading::of(&app, &view.catalog);
    let serves = |instance: &Instance| reading.takes_traffic(instance) && reading.offers(instance, &capability);
    let filter = filter.settled(view.catalog.offering(&capability), serves);
    let mut items: Vec<InstanceRef<'_>> = Vec::new();
    let mut next = None;
    for service in view.catalog.offering(&capability) {
        let key = service.name.to_ascii_lowercase();
        let within = match after {
            Some((last, _)) if key.as_str() < last => continue,
            Some((last, id)) if key == last => Some(id),
            _ => None,
        };
        // One more than fits, to learn whether there is a next page.
        let part = page_of(service, |it| filter.keeps(it, serves), &reading, within, limit + 1 - items.len());
        items.extend(part.items);
        if items.len() > limit {
            items.truncate(limit);
            next = items.last().map(|last| format!("{}\n{}", last.service.to_ascii_lowercase(), last.id));
            break;
        }
    }
    answer_page(&app, &view, None, Page { items, next })
}

struct Page<'v> {
    items: Vec<InstanceRef<'v>>,
    next: Option<String>,
}

/// At most `limit` instances of `service` after `after` that it `keeps`.
fn page_of<'v>(
    service: &'v Service,
    keeps: impl Fn(&Instance) -> bool,
    reading: &Reading,
    after: Option<&str>,
    limit: usize,
) -> Page<'v> {
    use std::ops::Bound;
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut page = Page { items: Vec::with_capacity(limit.min(service.instances.len())), next: None };
    for (id, instance) in service.instances.range::<_, str>((from, Bound::Unbounded)) {
        if !keeps(instance) {
            continue;
        }
        if page.items.len() == limit {
            let last = page.items.last().map_or(id, |last| last.id);
            page.next = Some(last.to_string());
            break;
        }
        page.items.push(reading.wire(service, instance));
    }
    page
}

fn answer_page(app: &App, view: &View, tag: Option<Revision>, page: Page<'_>) -> Result<Response> {
    let revision = view.catalog.revision();
    let next_cursor = page.next.map(|after| {
        app.pinned.pin(&view.catalog, std::time::Instant::now());
        Cursor { revision, after }.encode()
    });
    answer::read(view, tag, &List { items: page.items, revision: revision.get(), next_cursor })
}

pub(super) fn names(path: &PathValues) -> Result<(ServiceName, InstanceId)> {
    Ok((path.get("service")?, path.get("id")?))
}

pub(super) fn find<'v>(catalog: &'v Catalog, service: &ServiceName, id: &InstanceId) -> Result<&'v Arc<Instance>> {
    let entry = catalog.service(service).ok_or(Refusal::ServiceNotFound)?;
    Ok(entry.instances.get(id).ok_or(Refusal::InstanceNotFound)?)
}
