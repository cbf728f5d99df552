//! `event/*`: what users tell each other through the cluster.
//!
//! In Consul an event travels by gossip alone and may be lost; here it is in the log, so every node lists the same events in the
//! same order, also one that was away. Filters by node, service and tag are kept and told: who listens applies them.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use rollcall_catalog::{Catalog, Command, FiredEvent};
use rollcall_types::{Revision, SessionId, Tag, Text};
use serde::Serialize;

use super::Layer;
use super::answer;
use super::blocking::blocking;
use super::call::Call;
use super::failure::{Failure, Result};
use super::kv::in_base64;
use super::router::{Table, write};
use super::wake::Topic;

/// Longest payload, bytes: what fits a packet of Consul's gossip.
const PAYLOAD_BYTES_MAX: usize = 512;

/// The routes.
pub(super) fn table(layer: &Layer) -> Table {
    vec![("/v1/event/fire/{*rest}", write(layer, fire)), ("/v1/event/list", get(list))]
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'e> {
    #[serde(rename = "ID")]
    id: String,
    name: &'e str,
    #[serde(serialize_with = "in_base64")]
    payload: &'e [u8],
    node_filter: &'e str,
    service_filter: &'e str,
    tag_filter: &'e str,
    version: u32,
    #[serde(rename = "LTime")]
    l_time: u64,
}

impl<'e> Event<'e> {
    fn of(fired: &'e FiredEvent, revision: Revision) -> Self {
        Self {
            id: shown_id(fired.id, revision),
            name: &fired.name,
            payload: &fired.payload,
            node_filter: &fired.nodes,
            service_filter: &fired.services,
            tag_filter: fired.tag.as_deref().unwrap_or_default(),
            version: 1,
            l_time: revision.get(),
        }
    }
}

/// The id that clients see: the first half of the event's own, and a second half that together with it (XOR) is the event's index.
/// So clients find the event that they saw last, by the index that they hold, and drop what came before.
fn shown_id(id: u128, revision: Revision) -> String {
    let first = id >> u64::BITS;
    // Ids of events are written as those of sessions are.
    SessionId::new(first << u64::BITS | first ^ u128::from(revision.get())).to_string()
}

/// `PUT event/fire/:name`, with `node`, `service` and `tag`.
async fn fire(mut call: Call) -> Result<Response> {
    let name = text("name", call.name("name")?)?;
    let body = call.body_within(PAYLOAD_BYTES_MAX).await.map_err(too_large)?;
    let param = |name: &str| call.params.get(name).unwrap_or_default();
    let tag = call.params.text("tag").map(Tag::try_from).transpose();
    let fired = FiredEvent {
        id: rand::random(),
        name,
        payload: body.bytes.clone(),
        nodes: text("node", param("node"))?,
        services: text("service", param("service"))?,
        tag: tag.map_err(|invalid| Failure::bad_request(format!("tag {invalid}")))?,
    };
    let fired = Arc::new(fired);
    let outcome = call.execute(Command::FireEvent { event: fired.clone() }).await?;
    answer::json(&Event::of(&fired, outcome.revision))
}

fn text(name: &str, value: &str) -> Result<Text> {
    if value.len() > Tag::MAX_BYTES {
        return Err(Failure::bad_request(format!("{name} must be at most {} bytes", Tag::MAX_BYTES)));
    }
    Text::try_from(value).map_err(|invalid| Failure::bad_request(format!("{name} {invalid}")))
}

fn too_large(failure: Failure) -> Failure {
    if failure.status != StatusCode::PAYLOAD_TOO_LARGE {
        return failure;
    }
    Failure::new(failure.status, format!("user event payload exceeds limit of {PAYLOAD_BYTES_MAX} bytes"))
}

/// `GET event/list`, with `name`, `node`, `service` and `tag`: what was fired with exactly these, oldest first.
async fn list(call: Call) -> Result<Response> {
    let wanted = |param: &str, value: &str| call.params.text(param).is_none_or(|wanted| wanted == value);
    let keeps = |fired: &FiredEvent| {
        wanted("name", &fired.name)
            && wanted("node", &fired.nodes)
            && wanted("service", &fired.services)
            && wanted("tag", fired.tag.as_deref().unwrap_or_default())
    };
    let index = |catalog: &Arc<Catalog>| {
        let last = catalog.user_events().rev().find(|event| keeps(&event.fired));
        last.map_or(Revision::ZERO, |event| event.revision)
    };
    blocking(&call, &[Topic::Events], index, |catalog| {
        let events = catalog.user_events().filter(|event| keeps(&event.fired));
        answer::json(&events.map(|event| Event::of(&event.fired, event.revision)).collect::<Vec<_>>())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Consul's Go client has it (`api.Event.IDToIndex`).
    fn id_to_index(id: &str) -> u64 {
        let halves = [[&id[..8], &id[9..13], &id[14..18]].concat(), [&id[19..23], &id[24..36]].concat()];
        let [first, second] = halves.map(|half| u64::from_str_radix(&half, 16).unwrap());
        first ^ second
    }

    /// What a watch of events hands on, as Consul's Go client has it (`watch.eventWatch`).
    fn unseen(events: &[(u64, String)], last_index: u64) -> Vec<u64> {
        let seen = events.iter().position(|(_, id)| id_to_index(id) == last_index);
        events[seen.map_or(0, |at| at + 1)..].iter().map(|(revision, _)| *revision).collect()
    }

    #[test]
    fn a_watch_of_events_hands_on_what_came_after_the_index_that_it_holds_and_nothing_before() {
        let events: Vec<_> = [(7, u128::MAX), (9, 3), (1 << 40, 0x0123_4567_89AB_CDEF << 64 | 42)]
            .map(|(revision, id)| (revision, shown_id(id, Revision::new(revision))))
            .into();
        assert_eq!(unseen(&events, 0), [7, 9, 1 << 40], "the first time, all");
        assert_eq!(unseen(&events, 7), [9, 1 << 40]);
        assert_eq!(unseen(&events, 9), [1 << 40]);
        assert_eq!(unseen(&events, 1 << 40), [] as [u64; 0]);
    }
}
