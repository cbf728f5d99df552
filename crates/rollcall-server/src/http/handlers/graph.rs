//! Who needs whom: the dependency graph, beside what this node knows of health.
//!
//! A graph is made anew for each request, off the threads that serve others, one at a time: people ask for it, not programs.
//!
//! Limits: [`EDGES_MAX`]. An instance counts as on the cluster node with its host, if there is exactly one; else as on
//! the node through which it was registered.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use rollcall_api::query::{GraphFormat, GraphQuery};
use rollcall_api::{
    BlastCause, BlastRadius, Blasted, Code, DependencyGraph, GraphEdge, GraphNode, MissingProvider, PROBLEM_JSON,
    Problem, paths,
};
use rollcall_catalog::{Catalog, Instance, Refusal, Service};
use rollcall_raft::RaftStatus;
use rollcall_routing::graph::{Blast, Cause, Graph, Hit, Missing, Placed, Service as Vertex};
use rollcall_types::{CapabilityName, NodeName, ServiceKey, ServiceName, SortedSet};

use crate::app::Shared;
use crate::health::answer::Reading;
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::extract::{Query, named};
use crate::http::failure::{Failure, Result};

/// Most edges of a graph that is shown: 10 MB of JSON. Callers of a capability times its providers.
const EDGES_MAX: usize = 100_000;

/// What fails.
enum Failing {
    Service(ServiceName),
    Node(NodeName),
}

/// `GET /v1/graph`.
#[utoipa::path(
    get,
    path = paths::GRAPH,
    params(GraphQuery),
    responses(
        (
            status = 200,
            description = "The graph; with `format=dot` as text for Graphviz",
            content((DependencyGraph = "application/json"), (String = "text/vnd.graphviz"))
        ),
        (status = "default", body = Problem, content_type = PROBLEM_JSON)
    )
)]
pub(crate) async fn read(State(app): State<Shared>, Query(query): Query<GraphQuery>) -> Result<Response> {
    let failing = query.blast.as_deref().map(failing).transpose()?;
    let view = View::obtain(&app, query.consistency, query.min_revision, None).await?;
    let place = app.graphs.clone().acquire_owned().await;
    let _place = place.map_err(|closed| Failure::internal(closed.to_string()))?;
    let (catalog, reading, status) = (view.catalog.clone(), Reading::of(&app, &view.catalog), app.consensus.status());
    let format = query.format.unwrap_or_default();
    let made = rollcall_io::spawn_blocking(move || Drawn::new(&catalog, &reading, &status, failing.as_ref(), format));
    let made = made.await.map_err(|panic| Failure::internal(format!("the graph could not be made: {panic}")))?;
    match made.map_err(|failure| view.lacks(failure))? {
        Drawn::Json(graph) => answer::read(&view, None, &*graph),
        Drawn::Dot(text) => {
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = StatusCode::OK;
            *response.headers_mut() = view.headers();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/vnd.graphviz"));
            Ok(response)
        }
    }
}

/// A graph in the shape that was asked for.
enum Drawn {
    Json(Box<DependencyGraph>),
    Dot(String),
}

impl Drawn {
    fn new(
        catalog: &Arc<Catalog>,
        reading: &Reading,
        status: &RaftStatus,
        failing: Option<&Failing>,
        format: GraphFormat,
    ) -> Result<Self> {
        let edges = edges_of(catalog);
        if edges > EDGES_MAX {
            let detail = format!("the graph has {edges} edges and at most {EDGES_MAX} are shown");
            return Err(Failure::new(Code::LimitReached, detail));
        }
        let hosts = hosts(status);
        let graph = Graph::of(catalog.services().map(|service| vertex(service, reading, &hosts)));
        let blast = failing.map(|failing| blast_of(&graph, failing, status)).transpose()?;
        Ok(match format {
            GraphFormat::Dot => Self::Dot(graph.dot()),
            GraphFormat::Json => Self::Json(Box::new(DependencyGraph {
                nodes: graph.services().map(node).collect(),
                edges: graph.edges().iter().map(edge).collect(),
                cycles: graph.cycles().iter().map(names).collect(),
                missing: graph.missing().iter().map(missing).collect(),
                blast,
                revision: catalog.revision().get(),
            })),
        })
    }
}

fn failing(text: &str) -> Result<Failing> {
    let rule = "must be service:NAME or node:NAME";
    let (kind, name) = text.split_once(':').ok_or_else(|| Failure::parameter("blast", rule))?;
    match kind {
        "service" => Ok(Failing::Service(named("blast", name)?)),
        "node" => Ok(Failing::Node(named("blast", name)?)),
        _ => Err(Failure::parameter("blast", rule)),
    }
}

/// How many edges the graph of a catalogue has: the callers of each capability times its providers.
fn edges_of(catalog: &Catalog) -> usize {
    let providers: BTreeMap<&CapabilityName, usize> = catalog.capabilities().collect();
    let definitions = catalog.services().filter_map(|service| service.definition.as_ref());
    let required = definitions.flat_map(|definition| definition.required_capabilities.iter());
    required.map(|capability| providers.get(capability).copied().unwrap_or(0)).sum()
}

/// The nodes by host, of hosts with one node.
fn hosts(status: &RaftStatus) -> BTreeMap<String, Option<NodeName>> {
    let mut hosts: BTreeMap<String, Option<NodeName>> = BTreeMap::new();
    for node in status.voters.values().chain(status.learners.values()) {
        let host = node.http_addr.rsplit_once(':').map_or(node.http_addr.as_str(), |(host, _)| host);
        let host = host.trim_matches(['[', ']']).to_owned();
        hosts.entry(host).and_modify(|name| *name = None).or_insert_with(|| Some(node.name.clone()));
    }
    hosts
}

fn vertex(service: &Service, reading: &Reading, hosts: &BTreeMap<String, Option<NodeName>>) -> Vertex {
    let definition = service.definition.as_deref();
    let capabilities = |pick: fn(&rollcall_types::ServiceDefinition) -> &SortedSet<CapabilityName>| {
        definition.map(pick).cloned().unwrap_or_default()
    };
    let instances = service
        .instances
        .values()
        .map(|instance| Placed { node: Some(node_of(instance, hosts)), is_healthy: reading.takes_traffic(instance) });
    Vertex {
        name: ServiceKey::from(&service.name),
        offers: capabilities(|definition| &definition.capabilities),
        requires: capabilities(|definition| &definition.required_capabilities),
        instances: instances.collect(),
    }
}

fn node_of(instance: &Instance, hosts: &BTreeMap<String, Option<NodeName>>) -> NodeName {
    let host = instance.spec.endpoints.first().and_then(|endpoint| hosts.get(&endpoint.host.to_string()));
    host.cloned().flatten().unwrap_or_else(|| instance.registered_by.via.clone())
}

fn blast_of(graph: &Graph, failing: &Failing, status: &RaftStatus) -> Result<BlastRadius> {
    let (of, blast) = match failing {
        Failing::Service(name) => {
            let key = ServiceKey::from(name);
            let blast = graph.blast_radius_of_service(&key).ok_or(Refusal::ServiceNotFound)?;
            (format!("service:{key}"), blast)
        }
        Failing::Node(name) => {
            let is_member = status.voters.values().chain(status.learners.values()).any(|node| node.name == *name);
            let blast = graph.blast_radius_of_node(name).or_else(|| is_member.then(Blast::default));
            let detail = "there is no such node, and no instance counts as on it";
            (format!("node:{name}"), blast.ok_or_else(|| Failure::new(Code::MemberNotFound, detail))?)
        }
    };
    let hits = |hits: Vec<Hit>| hits.into_iter().map(blasted).collect();
    Ok(BlastRadius { of, lost: hits(blast.lost), weakened: hits(blast.weakened) })
}

fn blasted(hit: Hit) -> Blasted {
    let told = Blasted { service: hit.service.to_string(), distance: hit.distance, ..Blasted::default() };
    match hit.cause {
        Cause::Itself => Blasted { cause: BlastCause::Itself, ..told },
        Cause::Fewer { left, before } => Blasted {
            cause: BlastCause::FewerInstances,
            instances_left: Some(left as u64),
            instances_before: Some(before as u64),
            ..told
        },
        Cause::NoProvider(capability) => {
            Blasted { cause: BlastCause::NoProvider, capability: Some(capability.to_string()), ..told }
        }
        Cause::FewerProviders { capability, left } => Blasted {
            cause: BlastCause::FewerProviders,
            capability: Some(capability.to_string()),
            providers_left: names(&left),
            ..told
        },
    }
}

fn node(service: &Vertex) -> GraphNode {
    let texts = |capabilities: &SortedSet<CapabilityName>| capabilities.iter().map(ToString::to_string).collect();
    GraphNode {
        service: service.name.to_string(),
        offers: texts(&service.offers),
        requires: texts(&service.requires),
        instances: service.instances.len() as u64,
        healthy: service.instances.iter().filter(|placed| placed.is_healthy).count() as u64,
    }
}

fn edge(edge: &rollcall_routing::graph::Edge) -> GraphEdge {
    GraphEdge {
        caller: edge.caller.to_string(),
        callee: edge.callee.to_string(),
        capability: edge.capability.to_string(),
    }
}

fn missing(missing: &Missing) -> MissingProvider {
    MissingProvider {
        capability: missing.capability.to_string(),
        callers: names(&missing.callers),
        sick: names(&missing.sick),
    }
}

fn names(services: impl AsRef<[ServiceKey]>) -> Vec<String> {
    services.as_ref().iter().map(ToString::to_string).collect()
}
