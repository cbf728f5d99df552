//! Paths, as routes (`{name}` is one segment, `{*name}` the rest) and as functions that fill them.
//!
//! Ids may hold `/`, `:` and `#`; the functions percent-encode whatever a segment cannot hold (RFC 3986 §3.3).

use std::fmt::Display;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All services.
pub const SERVICES: &str = "/v1/services";
/// A service: GET, and PUT of its definition.
pub const SERVICE: &str = "/v1/services/{service}";
/// Its configuration document: GET, PUT.
pub const CONFIG: &str = "/v1/services/{service}/config";
/// Picks instances of a service for a request: POST.
pub const SELECT: &str = "/v1/services/{service}/select";
/// The same among every service that offers a capability: POST.
pub const CAPABILITY_SELECT: &str = "/v1/capabilities/{capability}/select";
/// The same with the capability in the body: POST.
pub const SELECT_ANY: &str = "/v1/select";
/// Why each instance of a service would be picked or not: GET.
pub const EXPLAIN: &str = "/v1/services/{service}/explain";
/// Its instances: GET, and POST with an id that the server makes.
pub const INSTANCES: &str = "/v1/services/{service}/instances";
/// An instance: GET, PUT, PATCH, DELETE.
pub const INSTANCE: &str = "/v1/services/{service}/instances/{id}";
/// The lease of an instance: PUT.
pub const LEASE: &str = "/v1/services/{service}/instances/{id}/lease";
/// The health of an instance in full: GET.
pub const INSTANCE_HEALTH: &str = "/v1/services/{service}/instances/{id}/health";
/// Many leases at once: POST.
pub const RENEW_LEASES: &str = "/v1/leases/renew";
/// Lets an instance finish what it has and take nothing new: POST.
pub const DRAIN: &str = "/v1/services/{service}/instances/{id}/drain";
/// Ends a drain: POST.
pub const UNDRAIN: &str = "/v1/services/{service}/instances/{id}/undrain";
/// Keeps an instance out of selection for a time: POST.
pub const QUARANTINE: &str = "/v1/services/{service}/instances/{id}/quarantine";
/// Ends a quarantine: POST.
pub const RELEASE: &str = "/v1/services/{service}/instances/{id}/release";
/// Instances of every service that offers a capability.
pub const CAPABILITY_INSTANCES: &str = "/v1/capabilities/{capability}/instances";
/// The health of everything: GET.
pub const HEALTH: &str = "/v1/health";
/// The health of a service and of its instances, worst first: GET.
pub const SERVICE_HEALTH: &str = "/v1/services/{service}/health";
/// Who needs whom: GET.
pub const GRAPH: &str = "/v1/graph";
/// How requests to instances went, as their callers say: POST.
pub const REPORTS: &str = "/v1/reports";
/// What is reported of the instances of a service: GET.
pub const FEEDBACK: &str = "/v1/services/{service}/feedback";
/// Sessions that may hold keys: GET, POST.
pub const SESSIONS: &str = "/v1/sessions";
/// A session: GET, PUT renews it, DELETE.
pub const SESSION: &str = "/v1/sessions/{id}";
/// Events that users fire: GET, POST.
pub const EVENTS: &str = "/v1/events";
/// The keys, without their values: GET.
pub const KEYS: &str = "/v1/kv";
/// A key: GET, PUT, DELETE of raw bytes.
pub const KEY: &str = "/v1/kv/{*key}";
/// Server-sent events.
pub const WATCH: &str = "/v1/watch";
/// Who, what, when, why.
pub const HISTORY: &str = "/v1/history";
/// The cluster in short.
pub const CLUSTER: &str = "/v1/cluster";
/// Members: GET.
pub const MEMBERS: &str = "/v1/cluster/members";
/// Server-sent events about the members.
pub const CLUSTER_EVENTS: &str = "/v1/cluster/events";
/// A member: DELETE.
pub const MEMBER: &str = "/v1/cluster/members/{node}";
/// Raft as the answering node sees it.
pub const RAFT: &str = "/v1/cluster/raft";
/// Asks the leader to hand over.
pub const TRANSFER_LEADER: &str = "/v1/cluster/transfer-leader";
/// Asks the answering node to hand over what it leads, leave the cluster and stop.
pub const LEAVE: &str = "/v1/cluster/leave";
/// Cuts links to other nodes; only there with `--fault-injection`.
pub const BLOCK_PEERS: &str = "/v1/debug/block-peers";
/// Makes the node take its disk to have so many bytes free; only there with `--fault-injection`.
pub const DISK_FREE: &str = "/v1/debug/disk-free";
/// Metrics in the Prometheus text format.
pub const METRICS: &str = "/metrics";
/// Where Prometheus finds what to scrape (`http_sd_config`): GET.
pub const SD_PROMETHEUS: &str = "/v1/sd/prometheus";
/// An image of the whole catalogue.
pub const SNAPSHOT: &str = "/v1/cluster/snapshot";
/// Whether the process lives.
pub const LIVEZ: &str = "/livez";
/// Whether the node serves.
pub const READYZ: &str = "/readyz";
/// The description of this API.
pub const OPENAPI: &str = "/openapi.json";

/// What a segment may hold as it is: the unreserved characters (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// [`SERVICE`] filled.
pub fn service(service: &str) -> String {
    format!("{SERVICES}/{}", segment(service))
}

/// [`CONFIG`] filled.
pub fn config(service: &str) -> String {
    format!("{SERVICES}/{}/config", segment(service))
}

/// [`SELECT`] filled.
pub fn select(service: &str) -> String {
    format!("{SERVICES}/{}/select", segment(service))
}

/// [`CAPABILITY_SELECT`] filled.
pub fn capability_select(capability: &str) -> String {
    format!("/v1/capabilities/{}/select", segment(capability))
}

/// [`EXPLAIN`] filled.
pub fn explain(service: &str) -> String {
    format!("{SERVICES}/{}/explain", segment(service))
}

/// [`INSTANCES`] filled.
pub fn instances(service: &str) -> String {
    format!("{SERVICES}/{}/instances", segment(service))
}

/// [`INSTANCE`] filled.
pub fn instance(service: &str, id: &str) -> String {
    format!("{SERVICES}/{}/instances/{}", segment(service), segment(id))
}

/// [`LEASE`] filled.
pub fn lease(service: &str, id: &str) -> String {
    format!("{}/lease", instance(service, id))
}

/// [`INSTANCE_HEALTH`] filled.
pub fn instance_health(service: &str, id: &str) -> String {
    format!("{}/health", instance(service, id))
}

/// [`SERVICE_HEALTH`] filled.
pub fn service_health(service: &str) -> String {
    format!("{SERVICES}/{}/health", segment(service))
}

/// [`FEEDBACK`] filled.
pub fn feedback(service: &str) -> String {
    format!("{SERVICES}/{}/feedback", segment(service))
}

/// [`DRAIN`] filled.
pub fn drain(service: &str, id: &str) -> String {
    format!("{}/drain", instance(service, id))
}

/// [`UNDRAIN`] filled.
pub fn undrain(service: &str, id: &str) -> String {
    format!("{}/undrain", instance(service, id))
}

/// [`QUARANTINE`] filled.
pub fn quarantine(service: &str, id: &str) -> String {
    format!("{}/quarantine", instance(service, id))
}

/// [`RELEASE`] filled.
pub fn release(service: &str, id: &str) -> String {
    format!("{}/release", instance(service, id))
}

/// [`CAPABILITY_INSTANCES`] filled.
pub fn capability_instances(capability: &str) -> String {
    format!("/v1/capabilities/{}/instances", segment(capability))
}

/// [`SESSION`] filled.
pub fn session(id: &str) -> String {
    format!("{SESSIONS}/{}", segment(id))
}

/// [`KEY`] filled.
pub fn key(key: &str) -> String {
    format!("/v1/kv/{}", segment(key))
}

/// [`MEMBER`] filled with a node's id or name.
pub fn member(node: &str) -> String {
    format!("{MEMBERS}/{}", segment(node))
}

/// Dots alone would be taken for "here" and "up" by whoever normalizes the path, so they are encoded.
fn segment(text: &str) -> impl Display + '_ {
    match text {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        other => utf8_percent_encode(other, SEGMENT).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_with_reserved_characters_stay_one_segment() {
        assert_eq!(instance("web", "10.0.0.7:80/a#b?c"), "/v1/services/web/instances/10.0.0.7%3A80%2Fa%23b%3Fc");
        assert_eq!(instance("web", "zwölf %"), "/v1/services/web/instances/zw%C3%B6lf%20%25");
        assert_eq!(key(".."), "/v1/kv/%2E%2E");
    }
}
