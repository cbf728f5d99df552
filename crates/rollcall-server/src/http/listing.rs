//! Plain discovery: the list of a service from bytes that were made when it last changed.
//!
//! Most callers ask for all instances of a service, or for those that can take traffic, and nothing else. What such a list
//! says of the instances is the same for everybody until something about the service changes, so it is rendered once. The body
//! is kept as it was answered last; only the revision at its end is of the moment, and is written again when it has changed. Lists whose words depend on the time (a slow start, a
//! prediction, a quarantine that ends) are rendered for each request.

use std::io::Write as _;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use rollcall_api::query::{HealthFilter, InstancesQuery};
use rollcall_types::ServiceName;

use super::answer::entity_tag;
use super::consistency::View;
use super::cursor::PAGE_DEFAULT;
use crate::app::App;
use crate::health::answer::Reading;
use crate::selection::{Among, Listed, Listing};

/// Room for what stands behind the items.
const TAIL_BYTES: usize = 64;

/// The list that a query asks for, if it is a plain one.
pub(crate) fn plain(query: &InstancesQuery) -> Option<Listing> {
    let listing = match query.health {
        None | Some(HealthFilter::Any) => Listing::All,
        Some(HealthFilter::Healthy) => Listing::Healthy,
        Some(HealthFilter::HealthyOrAll) => return None,
    };
    let InstancesQuery { tag: None, zone: None, limit: None, cursor: None, at: None, since: None, wait: None, .. } =
        query
    else {
        return None;
    };
    Some(listing)
}

/// The answer from bytes that are there or can be kept; `None` when it has to be rendered for this request.
pub(crate) fn answer(app: &App, view: &View, service: &ServiceName, listing: Listing) -> Option<Response> {
    let prepared = app.selector.look(&view.catalog, Among::Service(service))?;
    let entry = prepared.service()?;
    if entry.instances.len() > PAGE_DEFAULT {
        return None;
    }
    let revision = view.catalog.revision();
    let listed = prepared.listing(listing, revision, |before| {
        let head = match before {
            Some(before) => before.body.slice(..before.items_end),
            None => {
                let reading = Reading::by(app, &view.catalog, prepared.health());
                let shown = entry.instances.values().filter(|it| listing == Listing::All || reading.takes_traffic(it));
                let items: Vec<_> = shown.map(|instance| reading.wire(entry, instance)).collect();
                let mut head = b"{\"items\":".to_vec();
                serde_json::to_writer(&mut head, &items).ok()?;
                Bytes::from(head)
            }
        };
        let mut body = Vec::with_capacity(head.len() + TAIL_BYTES);
        body.extend_from_slice(&head);
        write!(body, ",\"revision\":{revision},\"next_cursor\":null}}").ok()?;
        Some(Listed { revision, items_end: head.len(), body: body.into(), tag: entity_tag(entry.modified) })
    })?;
    let mut response = Response::new(Body::from(listed.body.clone()));
    *response.headers_mut() = view.headers();
    response.headers_mut().insert(header::ETAG, listed.tag.clone());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Some(response)
}
