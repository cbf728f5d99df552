//! Which services need which, as the connected node told it last: what a view asks of the graph.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rollcall_api::{DependencyGraph, GraphEdge, GraphNode, Timestamp};

use crate::verdict::Tone;

/// Edges that are held; what comes on top is counted.
pub(crate) const EDGES_MAX: usize = 20_000;

/// The graph, and when it was told.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub(crate) at: Timestamp,
    pub(crate) told: Box<DependencyGraph>,
    /// Edges beyond [`EDGES_MAX`].
    pub(crate) omitted: usize,
    /// Services by name, those that need something or are needed.
    services: BTreeMap<String, Needs>,
    /// Their names, worst first.
    worst_first: Vec<String>,
}

/// The places of edges, and of the node, of one service in the graph.
#[derive(Debug, Clone, Default)]
struct Needs {
    node: Option<usize>,
    calls: Vec<usize>,
    called_by: Vec<usize>,
    /// Places in what is missing.
    lacks: Vec<usize>,
}

impl Graph {
    pub(crate) fn new(mut told: Box<DependencyGraph>, at: Timestamp) -> Self {
        let omitted = told.edges.len().saturating_sub(EDGES_MAX);
        told.edges.truncate(EDGES_MAX);
        told.missing.truncate(EDGES_MAX);
        let mut services: BTreeMap<String, Needs> = BTreeMap::new();
        for (place, edge) in told.edges.iter().enumerate() {
            services.entry(edge.caller.clone()).or_default().calls.push(place);
            services.entry(edge.callee.clone()).or_default().called_by.push(place);
        }
        for (place, missing) in told.missing.iter().enumerate() {
            for caller in missing.callers.iter().take(EDGES_MAX) {
                services.entry(caller.clone()).or_default().lacks.push(place);
            }
        }
        for (place, node) in told.nodes.iter().enumerate() {
            if let Some(needs) = services.get_mut(&node.service) {
                needs.node = Some(place);
            }
        }
        let mut names: Vec<String> = services.keys().cloned().collect();
        let mut graph = Self { at, told, omitted, services, worst_first: Vec::new() };
        names.sort_by_cached_key(|name| Reverse(graph.tone(name)));
        graph.worst_first = names;
        graph
    }

    /// The services that need something or are needed, worst first.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.worst_first.iter().map(String::as_str)
    }

    pub(crate) fn node(&self, service: &str) -> Option<&GraphNode> {
        self.told.nodes.get(self.services.get(service)?.node?)
    }

    /// What a service needs of whom.
    pub(crate) fn calls(&self, service: &str) -> Vec<&GraphEdge> {
        self.edges(self.services.get(service).map(|needs| &needs.calls[..]))
    }

    /// Who needs a service.
    pub(crate) fn called_by(&self, service: &str) -> Vec<&GraphEdge> {
        self.edges(self.services.get(service).map(|needs| &needs.called_by[..]))
    }

    fn edges(&self, places: Option<&[usize]>) -> Vec<&GraphEdge> {
        places.unwrap_or_default().iter().filter_map(|place| self.told.edges.get(*place)).collect()
    }

    /// Capabilities that a service requires and that nobody can offer now, with those who would if they were well.
    pub(crate) fn lacks(&self, service: &str) -> impl Iterator<Item = (&str, &[String])> {
        let places = self.services.get(service).map_or(&[][..], |needs| &needs.lacks);
        let missing = places.iter().filter_map(|place| self.told.missing.get(*place));
        missing.map(|missing| (missing.capability.as_str(), &missing.sick[..]))
    }

    /// How well an edge can be relied on: nobody offers what is required, some of the instances of the callee are out, or all
    /// is well.
    pub(crate) fn edge(&self, edge: &GraphEdge) -> Tone {
        let is_lacking = self.lacks(&edge.caller).any(|(capability, _)| capability == edge.capability);
        match self.health(&edge.callee) {
            _ if is_lacking => Tone::Bad,
            // Others offer the same.
            Tone::Bad => Tone::Warn,
            health => health,
        }
    }

    /// How well the instances of a service are.
    pub(crate) fn health(&self, service: &str) -> Tone {
        match self.node(service) {
            Some(node) if node.healthy == 0 => Tone::Bad,
            Some(node) if node.healthy < node.instances => Tone::Warn,
            _ => Tone::Good,
        }
    }

    /// The worst of what a service needs.
    pub(crate) fn needs(&self, service: &str) -> Tone {
        let lacks = self.lacks(service).next().map(|_| Tone::Bad);
        self.calls(service).into_iter().map(|edge| self.edge(edge)).chain(lacks).max().unwrap_or(Tone::Good)
    }

    /// The worst of a service and of what it needs.
    pub(crate) fn tone(&self, service: &str) -> Tone {
        self.needs(service).max(self.health(service))
    }
}
