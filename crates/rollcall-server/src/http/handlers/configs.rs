//! Configuration documents: versioned, guarded, checked against the schema their service supplies.

use axum::extract::State;
use axum::response::Response;
use rollcall_api::query::{Consistency, ReadQuery};
use rollcall_api::{Code, ConfigDocument, Document, FieldError, PROBLEM_JSON, Problem, WriteReply, decode, paths};
use rollcall_catalog::{Command, Refusal};
use rollcall_types::{Revision, ServiceName};
use serde_json::Value;

use crate::app::Shared;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::extract::{PathValues, Query};
use crate::http::failure::{Failure, Result};
use crate::http::write::Write;
use crate::schema;

/// Attempts against a definition that changes at the same time.
const ATTEMPTS: usize = 4;

/// `GET …/config`.
#[utoipa::path(
    get,
    path = paths::CONFIG,
    params(("service" = String, Path, description = "Name of the service"), ReadQuery),
    responses((status = 200, description = "", body = ConfigDocument), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn read(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<ReadQuery>,
) -> Result<Response> {
    let name: ServiceName = path.get("service")?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let service = view.catalog.service(&name).ok_or_else(|| view.lacks(Refusal::ServiceNotFound))?;
    let config = service.config.as_ref().ok_or_else(|| {
        let detail = format!("service '{}' has no configuration document", service.name);
        view.lacks(Failure::new(Code::ConfigNotFound, detail))
    })?;
    let document = Document::try_from(&config.document)
        .map_err(|error| Failure::internal(format!("the document of '{name}' is no JSON: {error}")))?;
    let body = ConfigDocument {
        service: service.name.to_string(),
        version: config.version,
        revision: config.modified.get(),
        modified_at: config.modified_at.into(),
        modified_by: config.modified_by.name.to_string(),
        document,
    };
    answer::read(&view, Some(config.modified), &body)
}

/// `PUT …/config`. The document is checked here, against the schema of one definition; if the definition is another one
/// when the write is applied, it is refused there and checked again.
#[utoipa::path(
    put,
    path = paths::CONFIG,
    params(("service" = String, Path, description = "Name of the service")),
    request_body = Value,
    responses((status = 201, description = "Made", body = WriteReply), (status = 200, description = "Changed, or equal to what was there", body = WriteReply), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn set(State(app): State<Shared>, path: PathValues, write: Write) -> Result<Response> {
    let service: ServiceName = path.get("service")?;
    let document = decode::document(write.body())?;
    let value: Value = serde_json::from_str(&document)
        .map_err(|error| Failure::internal(format!("a document that was JSON is none: {error}")))?;
    for attempt in 0..ATTEMPTS {
        let view = View::obtain(&app, Some(Consistency::Linearizable), None, None).await?;
        if let Some(outcome) = write.answered(&view.catalog, ATTEMPTS) {
            return answer::written(&outcome);
        }
        let schema_at = check(&view, &service, &value).await?;
        let command = Command::SetConfig {
            service: service.clone(),
            document: document.clone(),
            schema_at,
            expect: write.expect,
        };
        match write.propose_attempt(&app, attempt, command).await {
            Err(failure) if failure.problem.code == Code::SchemaChanged => {}
            answered => return answer::written(&answered?),
        }
    }
    Err(Refusal::SchemaChanged.into())
}

/// Checks `value` against the schema of `service`, and says when the definition with that schema was set.
async fn check(view: &View, service: &ServiceName, value: &Value) -> Result<Option<Revision>> {
    let Some(entry) = view.catalog.service(service) else { return Ok(None) };
    if let Some(schema) = entry.definition.as_ref().and_then(|definition| definition.config_schema.as_ref()) {
        let schema: Value = serde_json::from_str(schema)
            .map_err(|error| Failure::internal(format!("the schema of '{service}' is no JSON: {error}")))?;
        let found = schema::violations(schema, value.clone()).await?;
        if !found.is_empty() {
            let errors = found.into_iter().map(|violation| {
                let field = if violation.pointer.is_empty() { ".".to_owned() } else { violation.pointer };
                FieldError::new(field, format!("must satisfy the service's config_schema: {}", violation.message))
            });
            return Err(errors.collect::<Vec<_>>().into());
        }
    }
    Ok(entry.defined)
}
