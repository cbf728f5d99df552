//! Query parameters, one struct per resource. Unknown parameters are refused.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Whatever the asked node has; the answer says how old it may be.
    #[default]
    Stale,
    /// What the leader has, while it believes to lead.
    Leader,
    /// What a majority confirms: never older than the last acknowledged write.
    Linearizable,
}

impl Consistency {
    /// The word in queries and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Leader => "leader",
            Self::Linearizable => "linearizable",
        }
    }
}

/// Which instances a list shows by their health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthFilter {
    /// Those that can take traffic.
    Healthy,
    /// Those that can take traffic, or all when none can.
    HealthyOrAll,
    /// All.
    #[default]
    Any,
}

/// Declares a query struct: every parameter optional, unknown ones refused, absent ones not written.
macro_rules! query {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
        #[serde(default, deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            $($(#[$field_doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }
    };
}

query!(
    /// Parameters of a read of one thing.
    ReadQuery {
        /// How fresh; default `stale`.
        consistency: Consistency,
        /// Waits until the node has this revision: read your writes.
        min_revision: u64,
    }
);
query!(
    /// Parameters of a list of services.
    ServicesQuery {
        /// Only services with this tag.
        tag: String,
        /// Only services that offer this capability.
        capability: String,
        /// Most items of a page.
        limit: u32,
        /// `next_cursor` of the page before.
        cursor: String,
        /// How fresh; default `stale`.
        consistency: Consistency,
        /// Waits until the node has this revision: read your writes.
        min_revision: u64,
    }
);
query!(
    /// Parameters of a list of instances. With `since` it is a long poll for changes.
    InstancesQuery {
        /// By health; default `any`.
        health: HealthFilter,
        /// Only instances with this tag.
        tag: String,
        /// Only instances in this zone.
        zone: String,
        /// Most items of a page.
        limit: u32,
        /// `next_cursor` of the page before.
        cursor: String,
        /// How fresh; default `stale`.
        consistency: Consistency,
        /// Waits until the node has this revision: read your writes.
        min_revision: u64,
        /// Shows the list as it was at this revision.
        at: u64,
        /// Answers with the changes after this revision.
        since: u64,
        /// Longest wait for a change: `30s`, `500ms`.
        wait: String,
    }
);
query!(
    /// Parameters of a watch.
    WatchQuery {
        /// Services, separated by commas; default all.
        service: String,
        /// Begins after this revision; default: a snapshot first. `Last-Event-ID` wins over it.
        since: u64,
    }
);
query!(
    /// Parameters of history.
    HistoryQuery {
        /// Only this service.
        service: String,
        /// Only this instance.
        instance: String,
        /// From this time on, RFC 3339.
        from: String,
        /// Up to this time, RFC 3339.
        to: String,
        /// Most records of a page.
        limit: u32,
        /// `next_cursor` of the page before.
        cursor: String,
    }
);
