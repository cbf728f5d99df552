//! Services: what they say about themselves.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rollcall_api::query::{ReadQuery, ServicesQuery};
use rollcall_api::{
    DefinitionRef, List, PROBLEM_JSON, Problem, Service as ServiceAnswer, ServiceDefinition, WriteReply, decode, paths,
};
use rollcall_catalog::{Command, Refusal, Service, ServicesPage};
use rollcall_types::{CapabilityName, ServiceKey, ServiceName, Tag};

use crate::app::Shared;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::cursor::{Cursor, page_size};
use crate::http::extract::{PathValues, Query, named};
use crate::http::failure::Result;
use crate::http::write::Write;
use crate::schema;

/// `GET /v1/services`.
#[utoipa::path(
    get,
    path = paths::SERVICES,
    params(ServicesQuery),
    responses((status = 200, description = "", body = List<ServiceAnswer>), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn list(State(app): State<Shared>, Query(query): Query<ServicesQuery>) -> Result<Response> {
    let tag: Option<Tag> = query.tag.as_deref().map(|tag| named("tag", tag)).transpose()?;
    let capability: Option<CapabilityName> =
        query.capability.as_deref().map(|capability| named("capability", capability)).transpose()?;
    let limit = page_size(query.limit)?;
    let cursor = query.cursor.as_deref().map(Cursor::decode).transpose()?;
    let at = cursor.as_ref().map(|cursor| cursor.revision.get());
    let view = View::obtain(&app, query.consistency, query.min_revision, at).await?;

    let offers = |service: &Service| {
        let Some(capability) = &capability else { return true };
        service.definition.as_ref().is_some_and(|definition| definition.capabilities.contains(capability))
    };
    let after = cursor.as_ref().map(|cursor| cursor.after.as_str());
    let page = match &tag {
        None => view.catalog.services_page(after, limit, offers),
        Some(tag) => {
            let tagged = view.catalog.tagged(tag).filter(|service| offers(service));
            page_of(tagged, after, limit)
        }
    };
    let next_cursor = page.next.map(|key| {
        app.pinned.pin(&view.catalog, std::time::Instant::now());
        Cursor { revision: view.catalog.revision(), after: key.to_string() }.encode()
    });
    let items: Vec<_> = page.services.iter().map(wire).collect();
    answer::read(&view, None, &List { items, revision: view.catalog.revision().get(), next_cursor })
}

/// At most `limit` of `services`, which come in key order, after `after`.
fn page_of<'c>(services: impl Iterator<Item = &'c Arc<Service>>, after: Option<&str>, limit: usize) -> ServicesPage {
    let key = |service: &Service| ServiceKey::from(&service.name);
    let mut rest = services.skip_while(|service| after.is_some_and(|after| key(service).as_str() <= after));
    let services: Vec<_> = rest.by_ref().take(limit).cloned().collect();
    let next = rest.next().and(services.last()).map(|last| key(last));
    ServicesPage { services, next }
}

/// `GET /v1/services/{service}`.
#[utoipa::path(
    get,
    path = paths::SERVICE,
    params(("service" = String, Path, description = "Name of the service"), ReadQuery),
    responses((status = 200, description = "", body = ServiceAnswer), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn read(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<ReadQuery>,
) -> Result<Response> {
    let name: ServiceName = path.get("service")?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let service = view.catalog.service(&name).ok_or_else(|| view.lacks(Refusal::ServiceNotFound))?;
    answer::read(&view, service.defined, &wire(service))
}

/// `PUT /v1/services/{service}`: the definition.
#[utoipa::path(
    put,
    path = paths::SERVICE,
    params(("service" = String, Path, description = "Name of the service")),
    request_body = ServiceDefinition,
    responses((status = 201, description = "Made", body = WriteReply), (status = 200, description = "Changed, or equal to what was there", body = WriteReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn define(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let service: ServiceName = path.get("service")?;
    let body: ServiceDefinition = decode::from_json(write.body())?;
    if let Some(schema) = body.config_schema.clone() {
        schema::check_schema(schema).await?;
    }
    let definition = Arc::new(body.into_definition()?);
    let outcome = write.propose(&app, Command::Define { service, definition, expect: write.expect }).await?;
    answer::written(&outcome)
}

/// `DELETE /v1/services/{service}`: definition and configuration of a service without instances.
#[utoipa::path(
    delete,
    path = paths::SERVICE,
    params(("service" = String, Path, description = "Name of the service")),
    responses((status = 204, description = "Gone, whether or not it was there"), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn remove(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let service: ServiceName = path.get("service")?;
    Ok(answer::removed(&write.propose(&app, Command::RemoveService { service, expect: write.expect }).await?))
}

fn wire(service: &Arc<Service>) -> rollcall_api::Service<DefinitionRef<'_>> {
    rollcall_api::Service {
        name: service.name.to_string(),
        definition: service.definition.as_deref().map(DefinitionRef),
        instance_count: service.instances.len() as u64,
        config_version: service.config.as_ref().map(|config| config.version),
        created_revision: service.created.get(),
        revision: service.modified.get(),
    }
}
