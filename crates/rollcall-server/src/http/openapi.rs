//! The description of the API, OpenAPI 3.1, made from the attributes beside each handler.

use std::sync::OnceLock;

use utoipa::OpenApi;

use super::handlers::{
    cluster, configs, events, graph, health, history, instances, kv, leases, lifecycle, members, node, reports,
    scraping, selection, services, sessions, summary, watches,
};

/// Collects the handlers. A test holds this list against the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rollcall",
        description = "A service registry that runs as a cluster of equal nodes. Any node takes any request."
    ),
    paths(
        services::list,
        services::read,
        services::define,
        services::remove,
        configs::read,
        configs::set,
        instances::list,
        instances::create,
        instances::read,
        instances::register,
        instances::patch,
        instances::deregister,
        lifecycle::drain,
        lifecycle::undrain,
        lifecycle::quarantine,
        lifecycle::release,
        instances::list_by_capability,
        selection::select,
        selection::select_capability,
        selection::select_any,
        selection::explain,
        leases::renew,
        leases::renew_many,
        health::read,
        summary::overview,
        summary::of_service,
        graph::read,
        reports::report,
        reports::feedback,
        sessions::list,
        sessions::open,
        sessions::read,
        sessions::renew,
        sessions::close,
        events::list,
        events::fire,
        kv::list,
        kv::read,
        kv::put,
        kv::delete,
        watches::watch,
        history::list,
        cluster::status,
        cluster::raft,
        members::list,
        members::events,
        cluster::remove,
        cluster::leave,
        cluster::transfer_leader,
        cluster::snapshot,
        scraping::targets,
        node::livez,
        node::readyz,
        node::metrics,
        node::openapi,
    ),
    components(schemas(
        rollcall_api::Problem,
        rollcall_api::WatchEvent,
        rollcall_api::Instance,
        rollcall_api::Definition,
        rollcall_api::query::Consistency,
        rollcall_api::query::GraphFormat,
        rollcall_api::query::HealthFilter,
        rollcall_api::query::HealthSource,
        rollcall_api::query::ScrapeRole,
    ))
)]
struct Api;

/// The document as JSON text.
pub(super) fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| Api::openapi().to_json().expect("the document holds strings and numbers only"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rollcall_api::Code;
    use serde_json::Value;

    #[test]
    fn the_description_lists_every_route() {
        let document: Value = serde_json::from_str(super::document()).unwrap();
        let described: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        // Tests only: cuts links, and is refused without `--fault-injection`.
        let hidden = [rollcall_api::paths::BLOCK_PEERS, rollcall_api::paths::DISK_FREE];
        let routed: BTreeSet<String> = crate::http::router::table()
            .into_iter()
            .map(|(path, _)| path)
            .filter(|path| !hidden.contains(path))
            .map(|path| path.replace("{*", "{"))
            .collect();
        assert_eq!(described, routed.iter().map(String::as_str).collect());
        assert_eq!(document["openapi"], "3.1.0");
    }

    #[test]
    fn the_codes_of_problems_are_described_as_they_are_sent() {
        let document: Value = serde_json::from_str(super::document()).unwrap();
        let described = document["components"]["schemas"]["Code"]["enum"].as_array().unwrap();
        let sent: Vec<Value> = Code::ALL.iter().map(|code| serde_json::to_value(code).unwrap()).collect();
        assert_eq!(*described, sent);
    }
}
