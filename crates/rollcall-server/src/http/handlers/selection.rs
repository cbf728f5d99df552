//! Who should serve a request: select and explain.

use std::fmt::Display;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use rollcall_api::query::{ExplainQuery, SelectQuery};
use rollcall_api::{
    Code, Explanation, FieldError, PROBLEM_JSON, PickRef, Problem, SelectRequest, Selection, SelectionRef, decode,
    paths,
};
use rollcall_routing::{Census, Reason, Reasons, Refusal};
use rollcall_types::{CapabilityName, Revision, ServiceName};
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use crate::app::{App, Shared};
use crate::http::answer;
use crate::http::body::HeldBody;
use crate::http::consistency::View;
use crate::http::explained;
use crate::http::extract::{PathValues, Query};
use crate::http::failure::{Failure, Result};
use crate::selection::{Among, NoPast, Picked, Question, Selector, Unpicked, field_error};

/// Largest body of a question, bytes: room for a hash key of 1 MiB to be refused by its own rule.
const QUESTION_BYTES_MAX: usize = 2 << 20;

/// `POST …/select`: who should serve a request.
#[utoipa::path(
    post,
    path = paths::SELECT,
    params(("service" = String, Path, description = "Name of the service"), SelectQuery),
    request_body = Option<SelectRequest>,
    responses((status = 200, description = "Whom to send it to", body = Selection), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn select(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<SelectQuery>,
    request: Request,
) -> Result<Response> {
    let service: ServiceName = path.get("service")?;
    let question = question_of_service(&body_of(&app, request.into_body()).await?)?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    answer(&app, &view, Among::Service(&service), &question)
}

/// The answer at the revision of now to the question in `body` among the instances of a service.
pub(crate) async fn of_present<B>(app: &App, service: &ServiceName, body: B) -> Result<Response>
where
    B: hyper::body::Body<Data = Bytes, Error: Display> + Unpin,
{
    let body = body_of(app, body).await?;
    let question = question_of_service(&body)?;
    answer(app, &View::present(app, Instant::now()), Among::Service(service), &question)
}

fn question_of_service(body: &HeldBody) -> Result<Question> {
    let asked = asked(body)?;
    let path = paths::CAPABILITY_SELECT;
    refuse_capability(&asked, format_args!("where the service is known; ask {path} for a capability"))?;
    Ok(Question::of(asked)?)
}

/// `POST /v1/capabilities/{capability}/select`: the same among every service that offers a capability.
#[utoipa::path(
    post,
    path = paths::CAPABILITY_SELECT,
    params(("capability" = String, Path, description = "Name of the capability"), SelectQuery),
    request_body = Option<SelectRequest>,
    responses((status = 200, description = "Whom to send it to", body = Selection), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn select_capability(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<SelectQuery>,
    request: Request,
) -> Result<Response> {
    let capability: CapabilityName = path.get("capability")?;
    let mut asked = asked(&body_of(&app, request.into_body()).await?)?;
    refuse_capability(&asked, "where the path names it")?;
    asked.capability = Some(capability.to_string());
    answer_any(&app, query, asked).await
}

/// `POST /v1/select`: the same with the capability in the body.
#[utoipa::path(
    post,
    path = paths::SELECT_ANY,
    params(SelectQuery),
    request_body = Option<SelectRequest>,
    responses((status = 200, description = "Whom to send it to", body = Selection), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn select_any(
    State(app): State<Shared>,
    Query(query): Query<SelectQuery>,
    request: Request,
) -> Result<Response> {
    let asked = asked(&body_of(&app, request.into_body()).await?)?;
    answer_any(&app, query, asked).await
}

/// Answers for the capability that is in the question.
async fn answer_any(app: &Shared, query: SelectQuery, asked: SelectRequest) -> Result<Response> {
    let question = Question::of(asked)?;
    let Some(capability) = question.capability() else {
        return Err(vec![FieldError::new("capability", "must be given")].into());
    };
    let view = View::obtain(app, query.consistency, query.min_revision, None).await?;
    answer(app, &view, Among::Capability(capability), &question)
}

fn refuse_capability(asked: &SelectRequest, here: impl Display) -> Result<()> {
    if asked.capability.is_none() {
        return Ok(());
    }
    Err(vec![FieldError::new("capability", format!("must not be given here, {here}"))].into())
}

/// `GET …/explain`: why each instance would be picked or not.
#[utoipa::path(
    get,
    path = paths::EXPLAIN,
    params(("service" = String, Path, description = "Name of the service"), ExplainQuery),
    responses((status = 200, description = "", body = Explanation), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn explain(
    State(app): State<Shared>,
    path: PathValues,
    Query(query): Query<ExplainQuery>,
) -> Result<Response> {
    let service: ServiceName = path.get("service")?;
    let (at, consistency, min_revision) = (query.at, query.consistency, query.min_revision);
    let question = Question::of(query.into_request())?;
    let view = View::obtain(&app, consistency, min_revision, None).await?;
    let present = view.catalog.revision();
    let revision = at.map_or(present, Revision::new);
    let among = Among::Service(&service);
    let explained = if revision == present {
        app.selector.explain(&view.catalog, among, &question.query())
    } else {
        let past = Selector::explain_past(&view.catalog, &service, revision, &question.query());
        past.map_err(|unknown| view.lacks(no_past(unknown)))?
    };
    let explained = explained.map_err(|unpicked| view.lacks(failure(among, unpicked)))?;
    answer::read(&view, None, &explained::wire(&explained, &question.query(), revision, revision < present))
}

fn no_past(unknown: NoPast) -> Failure {
    let code = match unknown {
        NoPast::NotYet { .. } => Code::RevisionUnavailable,
        NoPast::Forgotten { .. } => Code::RevisionCompacted,
        NoPast::NoService => Code::ServiceNotFound,
    };
    Failure::new(code, unknown.to_string())
}

async fn body_of<B>(app: &App, body: B) -> Result<HeldBody>
where
    B: hyper::body::Body<Data = Bytes, Error: Display> + Unpin,
{
    app.bodies.read_within(body, QUESTION_BYTES_MAX).await
}

/// What a body asks. Not a future: a question is large, and one that waits would be moved with whoever waits for it.
fn asked(body: &HeldBody) -> Result<SelectRequest> {
    Ok(if body.bytes.is_empty() { SelectRequest::default() } else { decode::from_json(&body.bytes)? })
}

fn answer(app: &App, view: &View, among: Among<'_>, question: &Question) -> Result<Response> {
    let query = question.query();
    let picked = app.selector.select(&view.catalog, among, &query);
    let picked = picked.map_err(|unpicked| view.lacks(failure(among, unpicked)))?;
    let explanation = || {
        let explained = app.selector.explain_picked(&view.catalog, &picked, &query);
        let explained = explained.map_err(|unpicked| failure(among, unpicked))?;
        Ok::<_, Failure>(explained::wire(&explained, &query, view.catalog.revision(), false))
    };
    let body = SelectionRef {
        picks: Picks(&picked),
        strategy: picked.answer.strategy.as_str(),
        eligible: picked.answer.eligible,
        fail_open: picked.answer.is_open,
        revision: view.catalog.revision().get(),
        explanation: if question.wants_explanation() { Some(explanation()?) } else { None },
    };
    answer::read(view, None, &body)
}

/// The picks as the API writes them.
struct Picks<'a>(&'a Picked);

impl Serialize for Picks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let candidates = self.0.prepared().index.candidates();
        serializer.collect_seq(self.0.iter().map(|(pick, instance)| PickRef {
            service: &instance.service,
            id: &instance.id,
            spec: &instance.spec,
            status: candidates[pick.position].status,
            score: pick.score.value(),
            reasons: Codes(pick.reasons),
        }))
    }
}

/// Reasons as the API writes them.
struct Codes(Reasons);

impl Serialize for Codes {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Reason::code))
    }
}

/// Why there is no answer, for the caller.
fn failure(among: Among<'_>, unpicked: Unpicked) -> Failure {
    let of = match among {
        Among::Service(name) => format!("service {name}"),
        Among::Capability(name) => format!("capability {name}"),
    };
    let refusal = match unpicked {
        Unpicked::NoSuchService(similar) => return unknown(Code::ServiceNotFound, &of, similar),
        Unpicked::NoSuchCapability(similar) => return unknown(Code::CapabilityNotFound, &of, similar),
        Unpicked::Refused(refusal) => refusal,
    };
    match refusal {
        Refusal::Invalid(error) => vec![field_error(&error)].into(),
        Refusal::NoInstance => Failure::new(Code::NoHealthyInstance, format!("{of} has no instance at all")),
        Refusal::NoneHealthy(census) => out(Code::NoHealthyInstance, &of, "may be selected as it is now", &census),
        Refusal::NoneFits(census) => out(Code::NoFittingInstance, &of, "is what the request requires", &census),
    }
}

fn unknown(code: Code, what: &str, similar: Vec<String>) -> Failure {
    let hint = match similar.first() {
        Some(first) => format!("; did you mean {first}?"),
        None => String::new(),
    };
    let problem = Problem::new(code, format!("{what} is not known here{hint}"));
    Problem { similar, ..problem }.into()
}

fn out(code: Code, of: &str, what: &str, census: &Census) -> Failure {
    let told: Vec<String> = census.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let detail = format!("none of the {} instances of {of} {what}: {}", census.instances, told.join(", "));
    let mut failure = Failure::new(code, detail);
    failure.problem.reasons =
        census.reasons.iter().map(|(reason, count)| (reason.code().to_owned(), *count as u64)).collect();
    failure
}
