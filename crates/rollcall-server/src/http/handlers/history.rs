//! History: who changed what, when and why, newest first.

use axum::extract::State;
use axum::response::Response;
use rollcall_api::query::HistoryQuery;
use rollcall_api::{HistoryRecord, List, PROBLEM_JSON, Problem, Timestamp, paths};
use rollcall_catalog::{Change, Event, EventRing, KvChange, KvEntry, Transition};
use rollcall_types::{InstanceId, KvKey, Revision, ServiceKey, ServiceName, SessionId, UnixMillis};

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
    let before = query.cursor.as_deref().map(Place::of_cursor).transpose()?;
    let view = View::obtain(&app, None, None, None).await?;
    let (items, last) = page(view.catalog.events(), &filter, before, limit);
    let revision = view.catalog.revision();
    let next_cursor = last.map(|last| Cursor { revision, after: format!("{}:{}", last.revision, last.index) }.encode());
    answer::read(&view, None, &List { items, revision: revision.get(), next_cursor })
}

/// The newest `limit` records before `before` that pass the filter, and the place of the last when there are more.
fn page(ring: &EventRing, filter: &Filter, before: Option<Place>, limit: usize) -> (Vec<HistoryRecord>, Option<Place>) {
    let events = ring.iter().rev();
    let mut kept = events
        .skip_while(|event| before.is_some_and(|before| event.revision > before.revision))
        .take_while(|event| filter.from.is_none_or(|from| event.at >= from))
        .flat_map(|event| Told::all(event))
        .filter(|told| before.is_none_or(|before| told.place() < before) && filter.keeps(told));
    let page: Vec<Told<'_>> = kept.by_ref().take(limit).collect();
    let last = kept.next().and(page.last()).map(Told::place);
    (page.iter().map(Told::record).collect(), last)
}

/// A place in history, which only grows at its new end: a cursor is such a place and needs no pinned catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    revision: Revision,
    /// Among the records of the revision, from 0.
    index: usize,
}

impl Place {
    fn of_cursor(cursor: &str) -> Result<Self> {
        let cursor = Cursor::decode(cursor)?;
        let parse = || {
            let (revision, index) = cursor.after.split_once(':')?;
            Some(Self { revision: revision.parse().ok()?, index: index.parse().ok()? })
        };
        parse().ok_or_else(|| Failure::parameter("cursor", "must be the next_cursor of an earlier page"))
    }
}

/// One record of history: an event, or one of its transitions.
#[derive(Clone, Copy)]
struct Told<'e> {
    event: &'e Event,
    index: usize,
}

impl<'e> Told<'e> {
    /// What an event tells, newest first.
    fn all(event: &'e Event) -> impl Iterator<Item = Self> {
        let all = (0..event.change.count()).rev().map(move |index| Self { event, index });
        // What becomes of a check alone is no history of its instance.
        all.filter(|told| told.transition().is_none_or(Transition::is_of_instance))
    }

    fn place(&self) -> Place {
        Place { revision: self.event.revision, index: self.index }
    }

    fn transition(self) -> Option<&'e Transition> {
        match &self.event.change {
            Change::StatusesChanged { transitions } => transitions.get(self.index),
            _ => None,
        }
    }

    fn service(self) -> Option<&'e ServiceName> {
        self.transition().map_or_else(|| self.event.change.service(), |transition| Some(&transition.service))
    }

    fn instance(self) -> Option<&'e InstanceId> {
        self.transition().map_or_else(|| self.event.change.instance_id(), |transition| Some(&transition.id))
    }

    fn record(&self) -> HistoryRecord {
        let Self { event, .. } = self;
        let transition = self.transition();
        let cause = transition.map(|transition| transition.cause.to_string());
        HistoryRecord {
            revision: event.revision.get(),
            at: event.at.into(),
            actor: event.actor.name.to_string(),
            via: event.actor.via.to_string(),
            service: self.service().map(ToString::to_string),
            instance: self.instance().map(ToString::to_string),
            action: self.action().to_owned(),
            cause: cause.or_else(|| event.reason.as_ref().map(ToString::to_string)),
            from: transition.map(|transition| transition.from.into()),
            state: transition.map(|transition| transition.to.into()),
            key: self.key().map(|change| match change {
                KeyTold::Put(key, _) | KeyTold::Removed(key) => key.to_string(),
                KeyTold::PrefixRemoved(prefix) => format!("{prefix}*"),
            }),
            session: self.session().map(|session| session.to_string()),
        }
    }

    /// Of several keys each is told by itself.
    fn action(self) -> &'static str {
        match (&self.event.change, self.key()) {
            (Change::KvChanged { .. } | Change::SessionClosed { .. }, Some(KeyTold::Put(..))) => "kv_put",
            (Change::KvChanged { .. } | Change::SessionClosed { .. }, Some(_)) => "kv_removed",
            (change, _) => change.action(),
        }
    }

    fn key(self) -> Option<KeyTold<'e>> {
        let one_of = |changes: &'e [KvChange], index: usize| {
            changes.get(index).map(|change| match change {
                KvChange::Put { key, entry } => KeyTold::Put(key, entry),
                KvChange::Removed { key } => KeyTold::Removed(key),
                KvChange::PrefixRemoved { prefix, .. } => KeyTold::PrefixRemoved(prefix),
            })
        };
        match &self.event.change {
            Change::KvPut { key, entry } => Some(KeyTold::Put(key, entry)),
            Change::KvRemoved { key } => Some(KeyTold::Removed(key)),
            Change::KvChanged { changes } => one_of(changes, self.index),
            // The session itself comes before its keys.
            Change::SessionClosed { changes, .. } => one_of(changes, self.index.checked_sub(1)?),
            _ => None,
        }
    }

    fn session(self) -> Option<SessionId> {
        match (&self.event.change, self.key()) {
            (_, Some(KeyTold::Put(_, entry))) => entry.session,
            (Change::SessionOpened { session } | Change::SessionClosed { session, .. }, None) => Some(session.id),
            _ => None,
        }
    }
}

/// What is told of a key.
enum KeyTold<'e> {
    Put(&'e KvKey, &'e KvEntry),
    Removed(&'e KvKey),
    PrefixRemoved(&'e str),
}

#[derive(Default)]
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

    fn keeps(&self, told: &Told<'_>) -> bool {
        (self.service.is_none() || self.service == told.service().map(ServiceKey::from))
            && (self.instance.is_none() || self.instance.as_ref() == told.instance())
            && self.to.is_none_or(|to| told.event.at <= to)
    }
}

fn timestamp(name: &str, text: &str) -> Result<UnixMillis> {
    let parsed = Timestamp::parse(text).map(|timestamp| timestamp.0);
    parsed.ok_or_else(|| Failure::parameter(name, format!("must be an RFC 3339 time; got {text}")))
}

#[cfg(test)]
mod tests {
    use rollcall_api::State;
    use rollcall_types::Status;

    use super::*;
    use crate::watch::story::{Story, instance, service};

    /// Defines `web`, registers two instances, and journals twice.
    fn story() -> Story {
        let mut story = Story::default();
        story.register("web", "a");
        story.register("api", "a");
        story.record(&[("web", "a", Status::Passing), ("api", "a", Status::Starting)]);
        story.record(&[("web", "a", Status::Critical), ("api", "a", Status::Passing), ("web", "a", Status::Warning)]);
        story.deregister("web", "a", "critical for 60s");
        story
    }

    fn told(records: &[HistoryRecord]) -> Vec<String> {
        let line = |record: &HistoryRecord| {
            let word = |state: Option<State>| state.map_or("-", State::as_str);
            let (service, instance) = (record.service.as_deref(), record.instance.as_deref());
            let place = format!("{}/{}", service.unwrap_or("-"), instance.unwrap_or("-"));
            let cause = record.cause.as_deref().unwrap_or("-");
            format!(
                "@{} {} {place} {} {} {cause}",
                record.revision,
                record.action,
                word(record.from),
                word(record.state)
            )
        };
        records.iter().map(line).collect()
    }

    #[test]
    fn each_transition_is_a_record_and_the_newest_comes_first() {
        let story = story();
        let (records, last) = page(story.catalog().events(), &Filter::default(), None, 100);
        assert_eq!(
            told(&records),
            [
                "@5 deregistered web/a - - critical for 60s",
                "@4 state web/a critical warning observed",
                "@4 state api/a starting passing observed",
                "@4 state web/a passing critical observed",
                "@3 state api/a unknown starting observed",
                "@3 state web/a unknown passing observed",
                "@2 registered api/a - - -",
                "@1 registered web/a - - -",
            ]
        );
        assert_eq!(last, None);
    }

    #[test]
    fn filters_look_at_each_transition() {
        let story = story();
        let check = |filter: Filter, expected: &[&str]| {
            let (records, _) = page(story.catalog().events(), &filter, None, 100);
            let places: Vec<_> =
                records.iter().map(|record| format!("@{} {}", record.revision, record.action)).collect();
            assert_eq!(places, expected);
        };
        let of = |name: &str| Filter { service: Some(ServiceKey::from(&service(name))), ..Filter::default() };
        check(of("API"), &["@4 state", "@3 state", "@2 registered"]);
        let none = Filter { instance: Some(instance("b")), ..of("web") };
        check(none, &[]);
        let one = Filter { instance: Some(instance("a")), ..of("web") };
        check(one, &["@5 deregistered", "@4 state", "@4 state", "@3 state", "@1 registered"]);
    }

    #[test]
    fn pages_of_any_size_join_up_within_a_revision_too() {
        let story = story();
        let ring = story.catalog().events();
        let (all, _) = page(ring, &Filter::default(), None, 100);
        for limit in 1..=all.len() {
            let (mut listed, mut before) = (Vec::new(), None);
            loop {
                let (records, last) = page(ring, &Filter::default(), before, limit);
                assert!(records.len() <= limit);
                listed.extend(records);
                let Some(last) = last else { break };
                let cursor = Cursor { revision: Revision::new(9), after: format!("{}:{}", last.revision, last.index) };
                before = Some(Place::of_cursor(&cursor.encode()).unwrap());
                assert_eq!(before, Some(last));
            }
            assert_eq!(listed, all, "in pages of {limit}");
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        for after in ["", "web-1", "5", "5:", ":5", "5:x"] {
            let cursor = Cursor { revision: Revision::new(9), after: after.to_owned() };
            assert!(Place::of_cursor(&cursor.encode()).is_err(), "{after}");
        }
    }
}
