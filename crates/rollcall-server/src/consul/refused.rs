//! What clients ask for that there is not: each with the answer that makes them go on without.

use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{any, get};

use super::answer;
use super::failure::{Failure, Result};
use super::router::Table;

/// The routes.
pub(super) fn table() -> Table {
    vec![
        ("/v1/acl/{*rest}", any(no_acl)),
        ("/v1/agent/token/{*rest}", any(no_acl)),
        ("/v1/agent/connect/ca/roots", get(no_connect)),
        ("/v1/connect/ca/roots", get(no_connect)),
        ("/v1/coordinate/nodes", get(no_coordinates)),
        ("/v1/coordinate/node/{*rest}", get(no_coordinates)),
        ("/v1/coordinate/datacenters", get(no_coordinates)),
    ]
}

/// As a Consul without access control answers.
async fn no_acl() -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, "ACL support disabled")
}

/// Nodes are not measured in coordinates: whoever would sort by them goes on unsorted.
async fn no_coordinates() -> Result<Response> {
    answer::json(&[(); 0])
}

async fn no_connect() -> Failure {
    Failure::server("Connect must be enabled in order to use this endpoint")
}
