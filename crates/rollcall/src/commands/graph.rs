//! `rollcall graph`: who needs whom, what nobody can offer, and what a failure would take with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use rollcall_api::query::GraphQuery;
use rollcall_api::{BlastCause, BlastRadius, Blasted, DependencyGraph, GraphNode, MissingProvider};

use crate::failure::Failure;
use crate::server::{Freshness, ServerArgs, explain};
use crate::table::{Cell, Table};
use crate::terminal::{Paint, Tone, print, printable};

/// Arguments of `rollcall graph`.
#[derive(Debug, Args)]
#[command(after_help = "\
Who needs whom follows from the definitions: the capabilities that a service
requires, and those that others offer.

Examples:
  rollcall graph                          who needs whom, and what is missing
  rollcall graph --blast service:db       what would fail with a service
  rollcall graph --blast node:n1          what would fail with a node
  rollcall graph --dot | dot -Tsvg > services.svg
  rollcall graph -o json | jq '.missing'")]
pub(crate) struct GraphArgs {
    /// Tell what the failure of a service or a node would take with it
    #[arg(long, value_name = "service:NAME|node:NAME")]
    blast: Option<String>,
    /// Write it for Graphviz, whatever --output says
    #[arg(long, conflicts_with = "blast")]
    dot: bool,
    /// How fresh the catalogue must be
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    consistency: Freshness,
    #[command(flatten)]
    server: ServerArgs,
}

/// Shows the graph.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn run(args: GraphArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let query = GraphQuery { blast: args.blast, consistency: args.consistency.into(), ..GraphQuery::default() };
    if args.dot {
        return print(&session.client.graph_dot(&query).await.map_err(|error| explain(&error))?);
    }
    let graph = session.client.graph(&query).await.map_err(|error| explain(&error))?.value;
    session.say(&graph, |graph| match &graph.blast {
        Some(blast) => blast_text(blast, session.paint),
        None => text(graph, session.paint),
    })
}

fn text(graph: &DependencyGraph, paint: Paint) -> String {
    let plural = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let mut text = format!("{}, {}\n", plural(graph.nodes.len(), "service"), plural(graph.edges.len(), "edge"));
    if !graph.edges.is_empty() {
        let nodes: BTreeMap<&str, &GraphNode> = graph.nodes.iter().map(|it| (it.service.as_str(), it)).collect();
        let mut table = Table::new(["CALLER", "CAPABILITY", "CALLEE", "HEALTHY"]).numeric(&["HEALTHY"]);
        for edge in &graph.edges {
            let callee = nodes.get(edge.callee.as_str());
            let healthy = callee.map_or_else(|| "-".into(), |it| format!("{} of {}", it.healthy, it.instances));
            let tone = if callee.is_some_and(|it| it.healthy > 0) { Tone::Plain } else { Tone::Bad };
            table.row([
                edge.caller.as_str().into(),
                edge.capability.as_str().into(),
                edge.callee.as_str().into(),
                Cell::toned(tone, healthy),
            ]);
        }
        let _ = write!(text, "\n{}", table.render(paint));
    }
    if !graph.missing.is_empty() {
        text.push_str("\nNobody can offer now:\n");
        graph.missing.iter().for_each(|missing| text.push_str(&missing_line(missing, paint)));
    }
    if !graph.cycles.is_empty() {
        text.push_str("\nThese need each other:\n");
        for group in &graph.cycles {
            let _ = writeln!(text, "  {}", printable(&group.join(", ")));
        }
    }
    text
}

fn missing_line(missing: &MissingProvider, paint: Paint) -> String {
    let why = if missing.sick.is_empty() {
        "no service offers it".to_owned()
    } else {
        format!("no healthy instance of {}", missing.sick.join(", "))
    };
    let capability = paint.tone(Tone::Bad, printable(&missing.capability));
    format!("  {capability}, which {} requires: {}\n", printable(&missing.callers.join(", ")), printable(&why))
}

fn blast_text(blast: &BlastRadius, paint: Paint) -> String {
    let of = printable(&blast.of).replacen(':', " ", 1);
    if blast.lost.is_empty() && blast.weakened.is_empty() {
        return format!("if {of} fails, nothing that works now stops or gets weaker\n");
    }
    let (lost, weakened) = (blast.lost.len(), blast.weakened.len());
    let mut text = format!("if {of} fails, {lost} stop and {weakened} go on with less\n\n");
    let mut table = Table::new(["SERVICE", "THEN", "STEPS", "WHY"]).numeric(&["STEPS"]);
    let lost = blast.lost.iter().map(|hit| (hit, Cell::toned(Tone::Bad, "stops")));
    let weakened = blast.weakened.iter().map(|hit| (hit, Cell::toned(Tone::Warn, "weaker")));
    for (hit, then) in lost.chain(weakened) {
        table.row([hit.service.as_str().into(), then, u64::from(hit.distance).into(), why(hit).into()]);
    }
    text.push_str(&table.render(paint));
    text
}

fn why(hit: &Blasted) -> String {
    let capability = hit.capability.as_deref().unwrap_or("a capability");
    match hit.cause {
        BlastCause::Itself => "all of it is on what fails".to_owned(),
        BlastCause::FewerInstances => {
            let count = |count: Option<u64>| count.unwrap_or_default();
            format!("{} of {} healthy instances are left", count(hit.instances_left), count(hit.instances_before))
        }
        BlastCause::NoProvider => format!("nobody offers {capability} any more"),
        BlastCause::FewerProviders => format!("{capability} only from {}", hit.providers_left.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn graph(value: serde_json::Value) -> DependencyGraph {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn edges_are_a_table_and_what_is_wrong_follows() {
        let graph = graph(json!({
            "nodes": [
                { "service": "db", "offers": ["storage"], "requires": [], "instances": 3, "healthy": 0 },
                { "service": "web", "offers": [], "requires": ["storage", "mail"], "instances": 2, "healthy": 2 },
            ],
            "edges": [{ "caller": "web", "callee": "db", "capability": "storage" }],
            "missing": [
                { "capability": "mail", "callers": ["web"], "sick": [] },
                { "capability": "storage", "callers": ["web"], "sick": ["db"] },
            ],
            "cycles": [["a", "b"]], "revision": 9
        }));
        assert_eq!(
            text(&graph, Paint::plain()),
            "2 services, 1 edge\n\n\
             CALLER  CAPABILITY  CALLEE  HEALTHY\n\
             web     storage     db       0 of 3\n\n\
             Nobody can offer now:\n  \
             mail, which web requires: no service offers it\n  \
             storage, which web requires: no healthy instance of db\n\n\
             These need each other:\n  \
             a, b\n"
        );
    }

    #[test]
    fn a_blast_radius_is_told_nearest_first() {
        let graph = graph(json!({ "blast": {
            "of": "node:n1",
            "lost": [
                { "service": "db", "cause": "itself", "distance": 0 },
                { "service": "web", "cause": "no_provider", "distance": 1, "capability": "storage" },
            ],
            "weakened": [
                { "service": "mail", "cause": "fewer_instances", "distance": 0, "instances_left": 1, "instances_before": 2 },
                { "service": "shop", "cause": "fewer_providers", "distance": 1, "capability": "cache", "providers_left": ["red", "blue"] },
            ],
        } }));
        assert_eq!(
            blast_text(&graph.blast.unwrap(), Paint::plain()),
            "if node n1 fails, 2 stop and 2 go on with less\n\n\
             SERVICE  THEN    STEPS  WHY\n\
             db       stops       0  all of it is on what fails\n\
             web      stops       1  nobody offers storage any more\n\
             mail     weaker      0  1 of 2 healthy instances are left\n\
             shop     weaker      1  cache only from red, blue\n"
        );
        let nothing = BlastRadius { of: "service:x".into(), ..BlastRadius::default() };
        assert_eq!(
            blast_text(&nothing, Paint::plain()),
            "if service x fails, nothing that works now stops or gets weaker\n"
        );
    }
}
