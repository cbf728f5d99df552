//! Plain discovery: the list of a service from bytes that were made when it last changed.
//!
//! Most callers ask for all instances of a service, or for those that can take traffic, and nothing else. What such a list
//! says of the instances is the same for everybody until something about the service changes, so it is rendered once and
//! copied into each answer; only the revision is of the moment. Lists whose words depend on the time (a slow start, a
//! prediction, a quarantine that ends) are rendered for each request.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use rollcall_api::query::{HealthFilter, InstancesQuery};
use rollcall_types::ServiceName;

use super::answer::entity_tag;
use super::consistency::View;
use super::cursor::PAGE_DEFAULT;
use crate::app::App;
use crate::health::answer::Reading;
use crate::selection::{Among, Listing};

/// Room for what stands around the items.
const FRAME_BYTES: usize = 64;

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
    let items = prepared.listing(listing, || {
        let reading = Reading::by(app, &view.catalog, prepared.health());
        let shown = entry.instances.values().filter(|it| listing == Listing::All || reading.takes_traffic(it));
        let items: Vec<_> = shown.map(|instance| reading.wire(entry, instance)).collect();
        serde_json::to_vec(&items).ok().map(Bytes::from)
    })?;
    let mut body = Vec::with_capacity(items.len() + FRAME_BYTES);
    body.extend_from_slice(b"{\"items\":");
    body.extend_from_slice(items);
    let mut tail = String::with_capacity(FRAME_BYTES);
    write!(tail, ",\"revision\":{},\"next_cursor\":null}}", view.catalog.revision()).ok()?;
    body.extend_from_slice(tail.as_bytes());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::OK;
    *response.headers_mut() = view.headers();
    response.headers_mut().insert(header::ETAG, entity_tag(entry.modified));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Some(response)
}
