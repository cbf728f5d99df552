//! History: who changed what, when and why, newest first.

use axum::extract::State;
use axum::response::Response;
use rollcall_api::query::HistoryQuery;
use rollcall_api::{HistoryRecord, List, PROBLEM_JSON, Problem, Timestamp, paths};
use rollcall_catalog::Event;
use rollcall_types::{InstanceId, Revision, ServiceKey, ServiceName, UnixMillis};

use crate::app::Shared;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::cursor::{Cursor, page_size};
use crate::http::extract::{Query, named};
use crate::http::failure::{Failure, Result};

/// `GET /v1/history`.
#[utoipa::path(
    get,
    path = paths::HISTORY,
    params(HistoryQuery),
    responses((status = 200, description = "", body = List<HistoryRecord>), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn list(State(app): State<Shared>, Query(query): Query<HistoryQuery>) -> Result<Response> {
    let filter = Filter::of(&query)?;
    let limit = page_size(query.limit)?;
    let before = query.cursor.as_deref().map(position).transpose()?;
    let view = View::obtain(&app, None, None, None).await?;
    let events = view.catalog.events().iter().rev();
    let mut kept = events
        .skip_while(|event| before.is_some_and(|before| event.revision >= before))
        .take_while(|event| filter.from.is_none_or(|from| event.at >= from))
        .filter(|event| filter.keeps(event));
    let items: Vec<_> = kept.by_ref().take(limit).map(|event| wire(event)).collect();
    let revision = view.catalog.revision();
    let next_cursor = kept
        .next()
        .and(items.last())
        .map(|last: &HistoryRecord| Cursor { revision, after: last.revision.to_string() }.encode());
    answer::read(&view, None, &List { items, revision: revision.get(), next_cursor })
}

/// History only grows at its new end, so a cursor is a place in it and needs no pinned catalogue.
fn position(cursor: &str) -> Result<Revision> {
    let cursor = Cursor::decode(cursor)?;
    cursor.after.parse().map_err(|_| Failure::parameter("cursor", "must be the next_cursor of an earlier page"))
}

struct Filter {
    service: Option<ServiceKey>,
    instance: Option<InstanceId>,
    from: Option<UnixMillis>,
    to: Option<UnixMillis>,
}

impl Filter {
    fn of(query: &HistoryQuery) -> Result<Self> {
        let service: Option<ServiceName> = query.service.as_deref().map(|name| named("service", name)).transpose()?;
        Ok(Self {
            service: service.as_ref().map(ServiceKey::from),
            instance: query.instance.as_deref().map(|id| named("instance", id)).transpose()?,
            from: query.from.as_deref().map(|time| timestamp("from", time)).transpose()?,
            to: query.to.as_deref().map(|time| timestamp("to", time)).transpose()?,
        })
    }

    fn keeps(&self, event: &Event) -> bool {
        let service = event.change.service().map(ServiceKey::from);
        (self.service.is_none() || self.service == service)
            && (self.instance.is_none() || self.instance.as_ref() == event.change.instance_id())
            && self.to.is_none_or(|to| event.at <= to)
    }
}

fn timestamp(name: &str, text: &str) -> Result<UnixMillis> {
    let parsed = Timestamp::parse(text).map(|timestamp| timestamp.0);
    parsed.ok_or_else(|| Failure::parameter(name, format!("must be an RFC 3339 time; got {text}")))
}

fn wire(event: &Event) -> HistoryRecord {
    HistoryRecord {
        revision: event.revision.get(),
        at: event.at.into(),
        actor: event.actor.name.to_string(),
        via: event.actor.via.to_string(),
        service: event.change.service().map(ToString::to_string),
        instance: event.change.instance_id().map(ToString::to_string),
        action: event.change.action().to_owned(),
        cause: event.reason.as_ref().map(ToString::to_string),
    }
}
