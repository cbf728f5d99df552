//! What Prometheus is told to scrape, in the shape of its HTTP service discovery.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something to scrape: <https://prometheus.io/docs/prometheus/latest/http_sd/>. The list has one for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrapeGroup {
    /// `host:port`; always one.
    pub targets: Vec<String>,
    /// `__metrics_path__`, `__scheme__` and `__meta_rollcall_…`, for rules of relabelling.
    pub labels: BTreeMap<String, String>,
}
