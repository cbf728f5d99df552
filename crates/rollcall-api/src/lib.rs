//! The HTTP contract of Rollcall: what goes over the wire, in one place for the server, the client and OpenAPI.
//!
//! Requests and answers are different types on purpose. A request ([`Registration`], [`ServiceDefinition`]) refuses
//! fields it does not know and keeps numbers as they came, so that its conversion to a domain value can report *all*
//! problems, each with the field and the rule. An answer ([`Instance`], [`Service`]) is plain strings and numbers that
//! ignore unknown fields, so that an old client reads a newer server. Domain types are never serialized at this edge;
//! [`InstanceRef`] and [`DefinitionRef`] write them in wire shape without copying.
//!
//! - [`decode`]: bytes and query strings to requests, with errors that name fields.
//! - [`Problem`] and [`Code`]: every error an answer can carry (RFC 9457).
//! - [`words`]: the contract in words for people.
//! - [`headers`] and [`paths`]: names that server and client share.
//! - `client` (feature `client`): typed calls, with fail-over between nodes.
//!
//! Limits: no authentication, no content other than JSON except the values of keys and snapshot images.

mod check;
mod cluster;
pub mod decode;
mod document;
mod explanation;
mod field;
mod graph;
pub mod headers;
mod health;
mod history;
mod instance;
mod known;
mod lease;
mod lifecycle;
mod merge_patch;
mod number;
pub mod paths;
mod policy;
mod problem;
mod prospect;
pub mod query;
mod registration;
mod reply;
mod report;
mod scrape;
mod selection;
mod service;
mod session;
mod summary;
mod time;
mod user_event;
mod watch;
pub mod words;

#[cfg(feature = "client")]
pub mod client;

pub use check::{RegistrationCheck, host_and_port, web_url};
pub use cluster::{
    Addresses, ClusterEvent, ClusterStatus, FollowerProgress, Lateness, LinkFault, Member, MemberChange,
    MemberChangeKind, MemberGossip, MemberState, Members, Observer, RaftRole, RaftStatus, TransferLeaderRequest,
};
pub use document::Document;
pub use explanation::{DecidedBy, EXPLAINED_MAX, ExplainedInstance, ExplainedReason, Explanation, FactorTerm};
pub use field::{ERRORS_MAX, FieldError};
pub use graph::{BlastCause, BlastRadius, Blasted, DependencyGraph, GraphEdge, GraphNode, MissingProvider};
pub use health::{
    CheckSeen, HealthObserver, HealthSeen, HealthSighting, HealthVoucher, InstanceHealth, ProbeRun, ScoreTerm,
};
pub use history::HistoryRecord;
pub use instance::{Check, Endpoint, Instance, InstanceRef, Lease, LifecycleState, State};
pub use known::{
    CommonCause, Forecast, ForecastSignal, KnownHealth, Outlook, Overlay, Overlays, Trend, WarmUp, cause_phrase,
};
pub use lease::{
    CheckedHeartbeat, CheckedItem, Heartbeat, HeartbeatLoad, HeartbeatStatus, LeaseRenewed, RENEWALS_MAX, RenewItem,
    RenewReply, RenewRequest, RenewResult,
};
pub use lifecycle::{ActivateRequest, DrainRequest, QuarantineRequest};
pub use merge_patch::{merge, merge_patch};
pub use number::{COST_MAX, Micros, Number};
pub use policy::{Policy, PolicyWeights, SelectionPolicy};
pub use problem::{Code, PROBLEM_JSON, Problem, Retry};
pub use prospect::{FORECAST_CHANGES_MAX, ForecastChange, ForecastChanges};
pub use registration::{Registration, RegistrationEndpoint, RegistrationLease};
pub use reply::{List, WriteReply};
pub use report::{
    CheckedReport, ContextPerformance, InstanceFeedback, REPORTED_LATENCY_MAX, REPORTS_MAX, Report, ReportedLoad,
    ReportedPerformance, ReportsReply, ReportsRequest, ServiceFeedback,
};
pub use scrape::ScrapeGroup;
pub use selection::{
    CallerDescription, CheckedSelection, FailOpen, PICKS_MAX, PickRef, SelectRequest, Selection, SelectionPick,
    SelectionRef, WeightsGiven, Wish, Wished,
};
pub use service::{ConfigDocument, Definition, DefinitionRef, Service, ServiceDefinition};
pub use session::{
    Key, SESSION_KEYS_SHOWN, SESSION_NAME_BYTES_MAX, Session, SessionCheck, SessionEnd, SessionRenewal, SessionRequest,
};
pub use summary::{HealthReport, ServiceHealth, ServiceHealthReport, StateCounts};
pub use time::Timestamp;
pub use user_event::{CheckedEvent, EVENT_PAYLOAD_BYTES_MAX, EventRequest, UserEvent, base64_text};
pub use watch::{
    Change, EventBatch, InstancesAnswer, Progress, SNAPSHOT_ITEMS_MAX, SnapshotPart, StateChange, StateChanges,
    WatchEvent,
};
