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
    /// Those that can take traffic: passing or warning, and neither draining nor quarantined.
    Healthy,
    /// Those that can take traffic, or all when none can.
    HealthyOrAll,
    /// All.
    #[default]
    Any,
}

/// Who is asked what it sees of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthSource {
    /// The node that answers.
    #[serde(rename = "self")]
    This,
    /// All who look at the instance.
    #[default]
    All,
}

/// What can be scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScrapeRole {
    /// A node of the cluster.
    Node,
    /// An instance of a service.
    Instance,
}

impl ScrapeRole {
    /// The word in queries and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Instance => "instance",
        }
    }
}

/// How the dependency graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GraphFormat {
    /// As an object.
    #[default]
    Json,
    /// In Graphviz's language, without the blast radius.
    Dot,
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
    /// Parameters of a list of keys.
    KeysQuery {
        /// Only keys that begin so; at most 512 bytes.
        prefix: String,
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
    /// Parameters of a deregistration.
    DeregisterQuery {
        /// Why, for the history: at most 4096 bytes.
        reason: String,
    }
);
query!(
    /// Parameters of a write to a key. Not together, and not with `If-Match` or `If-None-Match`.
    KeyWriteQuery {
        /// Id of an open session: sets the key and locks it, or does neither.
        acquire: String,
        /// Id of the session that holds the key: sets it and unlocks it, or does neither.
        release: String,
    }
);
query!(
    /// Parameters of a list of sessions.
    SessionsQuery {
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
    /// Parameters of a list of events.
    EventsQuery {
        /// Only events of this name.
        name: String,
        /// How fresh; default `stale`.
        consistency: Consistency,
        /// Waits until the node has this revision: read your writes.
        min_revision: u64,
    }
);
query!(
    /// Parameters of a heartbeat.
    LeaseQuery {
        /// Waits until the node has this revision: that of the registration, right after it.
        min_revision: u64,
    }
);
query!(
    /// Parameters of the health of one instance.
    HealthQuery {
        /// Whom to ask for details; default `all`.
        from: HealthSource,
        /// Waits until the node has this revision: read your writes.
        min_revision: u64,
    }
);
query!(
    /// Parameters of a selection.
    SelectQuery {
        /// How fresh; default `stale`.
        consistency: Consistency,
        /// Waits until the node has this revision: read your writes.
        min_revision: u64,
    }
);
query!(
    /// The question whose answer is to be explained, in parameters, and when. Default: what an empty question would get now.
    ExplainQuery {
        /// Instead of now: how it would have been at this revision, as far as history reaches.
        at: u64,
        /// As in the body of a selection.
        strategy: String,
        /// As in the body of a selection.
        n: u64,
        /// A version constraint.
        version: String,
        /// Tags that are required, separated by commas.
        tag: String,
        /// The zone that is required.
        zone: String,
        /// Ids of instances that are excluded, separated by commas.
        exclude: String,
        /// Whether `warning` and `unknown` are not enough.
        only_passing: bool,
        /// Whether health is not asked when nobody may be selected by it.
        fail_open: bool,
        /// What `consistent_hash` hashes.
        hash_key: String,
        /// Name of the client.
        client: String,
        /// Host of the client.
        client_host: String,
        /// Zone of the client.
        client_zone: String,
        /// Region of the client.
        client_region: String,
        /// What kind of request it sends.
        context: String,
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
    /// Parameters of a list of instances. With `since` it is a long poll for changes, which knows the states of the journal
    /// and tells of an instance that does not pass the filters any more as if it were deleted.
    InstancesQuery {
        /// By health; default `any`. Not `healthy_or_all` with `since`.
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
    /// Parameters of the health of everything.
    HealthReportQuery {
        /// Only services with one of these statuses, separated by commas: `critical,warning`. The counts are of all.
        state: String,
        /// Most items of a page.
        limit: u32,
        /// `next_cursor` of the page before.
        cursor: String,
        /// How fresh the catalogue must be; default `stale`. Health is what the node knows.
        consistency: Consistency,
        /// Waits until the node has this revision: read your writes.
        min_revision: u64,
    }
);
query!(
    /// Parameters of the health of a service.
    ServiceHealthQuery {
        /// Most instances to show, the worst of them.
        limit: u32,
        /// How fresh the catalogue must be; default `stale`. Health is what the node knows.
        consistency: Consistency,
        /// Waits until the node has this revision: read your writes.
        min_revision: u64,
    }
);
query!(
    /// Parameters of the list of what Prometheus scrapes.
    ScrapeQuery {
        /// Only instances of these services, separated by commas; no nodes.
        service: String,
        /// Only instances with all of these tags, separated by commas; no nodes.
        tag: String,
        /// Only nodes, or only instances; default both.
        role: ScrapeRole,
    }
);
query!(
    /// Parameters of the dependency graph.
    GraphQuery {
        /// What the failure of `service:NAME` or `node:NAME` would take with it.
        blast: String,
        /// `json` (the default), or `dot` for Graphviz.
        format: GraphFormat,
        /// How fresh the catalogue must be; default `stale`. Health is what the node knows.
        consistency: Consistency,
        /// Waits until the node has this revision: read your writes.
        min_revision: u64,
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

impl ExplainQuery {
    /// The question, as the body of a selection would ask it.
    pub fn into_request(self) -> crate::SelectRequest {
        let split = |list: Option<String>| list.iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
        let client = crate::CallerDescription {
            id: self.client,
            host: self.client_host,
            zone: self.client_zone,
            region: self.client_region,
            context: self.context,
        };
        crate::SelectRequest {
            client: Some(client),
            strategy: self.strategy,
            n: self.n.map(crate::Number::from).unwrap_or_default(),
            exclude: split(self.exclude),
            tags: split(self.tag),
            version: self.version,
            zone: self.zone,
            only_passing: self.only_passing.unwrap_or_default(),
            fail_open: self.fail_open.map(crate::Number::flag).unwrap_or_default(),
            hash_key: self.hash_key,
            ..crate::SelectRequest::default()
        }
    }
}
