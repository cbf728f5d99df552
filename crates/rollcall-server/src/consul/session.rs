//! `session/*`: who may hold keys, and for how long.

mod request;
mod shown;

use std::sync::Arc;

use axum::response::Response;
use axum::routing::get;
use rollcall_catalog::{Catalog, Command, LockSession, Refusal, Reply};
use rollcall_types::SessionId;

use self::request::Create;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use self::request::fuzz;
use self::shown::{Created, Session};
use super::Layer;
use super::answer;
use super::blocking::blocking;
use super::call::Call;
use super::decode;
use super::failure::{Failure, Result};
use super::router::{Table, write};
use super::wake::Topic;

/// The routes.
pub(super) fn table(layer: &Layer) -> Table {
    vec![
        ("/v1/session/create", write(layer, create)),
        ("/v1/session/destroy/{*rest}", write(layer, destroy)),
        ("/v1/session/renew/{*rest}", write(layer, renew)),
        ("/v1/session/info/{*rest}", get(info)),
        ("/v1/session/node/{*rest}", get(of_node)),
        ("/v1/session/list", get(list)),
    ]
}

/// `PUT session/create`.
async fn create(mut call: Call) -> Result<Response> {
    let body = call.body().await?;
    let request: Create = if body.bytes.is_empty() { Create::default() } else { decode::from_json(&body.bytes)? };
    drop(body);
    let spec = request.into_spec(&call).await?;
    let id = SessionId::new(rand::random());
    call.execute(Command::OpenSession { id, spec: Arc::new(spec) }).await?;
    answer::json(&Created { id: id.to_string() })
}

/// The session in the path; `None` when it cannot be one.
fn session(call: &Call) -> Result<Option<SessionId>> {
    Ok(call.name("session")?.parse().ok())
}

/// `PUT session/destroy/:id`: also of one that is gone.
async fn destroy(call: Call) -> Result<Response> {
    if let Some(id) = session(&call)? {
        call.execute(Command::CloseSession { id, renewed: None, reason: None }).await?;
    }
    Ok(answer::truth(true))
}

/// `PUT session/renew/:id`.
async fn renew(call: Call) -> Result<Response> {
    let unknown = || Failure::not_found(format!("Session id '{}' not found", call.rest()));
    let id = session(&call)?.ok_or_else(unknown)?;
    match call.propose(Command::RenewSession { id }).await?.reply {
        Reply::Refused(Refusal::SessionNotFound { .. }) => Err(unknown()),
        Reply::Refused(refusal) => Err(refusal.into()),
        _ => {
            let catalog = call.app.consensus.catalog();
            answer::json(&catalog.lock_sessions().get(&id).map(|it| Session::of(it)).into_iter().collect::<Vec<_>>())
        }
    }
}

/// `GET session/info/:id`: a list of one or none.
async fn info(call: Call) -> Result<Response> {
    let id = session(&call)?;
    sessions(&call, |it| Some(it.id) == id).await
}

/// `GET session/node/:node`.
async fn of_node(call: Call) -> Result<Response> {
    let node = call.name("node name")?.to_owned();
    sessions(&call, |it| it.spec.node.eq_ignore_ascii_case(&node)).await
}

/// `GET session/list`.
async fn list(call: Call) -> Result<Response> {
    sessions(&call, |_| true).await
}

async fn sessions(call: &Call, keeps: impl Fn(&LockSession) -> bool) -> Result<Response> {
    let index = |catalog: &Arc<Catalog>| catalog.indexes().lock_sessions;
    blocking(call, &[Topic::Sessions], index, |catalog| {
        let kept = catalog.lock_sessions().values().filter(|it| keeps(it));
        answer::json(&kept.map(|it| Session::of(it)).collect::<Vec<_>>())
    })
    .await
}
