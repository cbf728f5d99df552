//! The language of `graph-*` stories: services, and what follows from their definitions.
//!
//! ```text
//! service checkout requires=payment,cart offers=order on=n1,n2!      instances on nodes; `!`: not healthy
//! edges | missing | cycles | dot | lose service checkout | lose node n1
//! ```

use std::fmt::Write as _;

use rollcall_routing::graph::{Blast, Cause, Graph, Placed, Service};
use rollcall_types::{CapabilityName, NodeName, ServiceKey, ServiceName};

/// What the commands answer.
pub(crate) fn tell(script: &str) -> String {
    let (mut services, mut told) = (Vec::new(), String::new());
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(' ') {
            Some(("service", rest)) => services.push(service(rest)),
            _ => told.push_str(&answer(&Graph::of(services.clone()), line)),
        }
    }
    told
}

fn answer(graph: &Graph, command: &str) -> String {
    let join = |names: &[ServiceKey]| names.iter().map(ServiceKey::to_string).collect::<Vec<_>>().join(", ");
    let mut told = format!("{command}:\n");
    match command.split(' ').collect::<Vec<_>>()[..] {
        ["edges"] => {
            for edge in graph.edges() {
                writeln!(told, "  {} → {} for {}", edge.caller, edge.callee, edge.capability).unwrap();
            }
        }
        ["missing"] => {
            for missing in graph.missing() {
                let (callers, sick) = (join(&missing.callers), join(&missing.sick));
                let whose = if sick.is_empty() { "nobody offers it".to_owned() } else { format!("{sick} not healthy") };
                writeln!(told, "  {} for {callers}: {whose}", missing.capability).unwrap();
            }
        }
        ["cycles"] => graph.cycles().iter().for_each(|group| writeln!(told, "  {}", join(group)).unwrap()),
        ["dot"] => told.push_str(&graph.dot()),
        ["lose", "service", name] => tell_blast(&mut told, graph.blast_radius_of_service(&key(name))),
        ["lose", "node", name] => tell_blast(&mut told, graph.blast_radius_of_node(&NodeName::try_from(name).unwrap())),
        _ => panic!("no command: {command}"),
    }
    told
}

fn tell_blast(told: &mut String, blast: Option<Blast>) {
    let Some(blast) = blast else { return told.push_str("  not known\n") };
    for (word, hits) in [("lost", blast.lost), ("weakened", blast.weakened)] {
        for hit in hits {
            let cause = match hit.cause {
                Cause::Itself => "itself".to_owned(),
                Cause::Fewer { left, before } => format!("{left} of {before} instances left"),
                Cause::NoProvider(capability) => format!("nobody left for {capability}"),
                Cause::FewerProviders { capability, left } => format!("{} left for {capability}", left.len()),
            };
            writeln!(told, "  {word} {} at {}: {cause}", hit.service, hit.distance).unwrap();
        }
    }
}

fn service(text: &str) -> Service {
    let mut words = text.split(' ');
    let mut service = Service {
        name: key(words.next().unwrap()),
        offers: Default::default(),
        requires: Default::default(),
        instances: Vec::new(),
    };
    for word in words {
        let (field, list) = word.split_once('=').unwrap();
        let capabilities = || list.split(',').map(|name| CapabilityName::try_from(name).unwrap()).collect();
        match field {
            "offers" => service.offers = capabilities(),
            "requires" => service.requires = capabilities(),
            "on" => service.instances = list.split(',').map(placed).collect(),
            _ => panic!("no field: {field}"),
        }
    }
    service
}

fn placed(text: &str) -> Placed {
    let (node, is_healthy) = text.strip_suffix('!').map_or((text, true), |node| (node, false));
    Placed { node: NodeName::try_from(node).ok(), is_healthy }
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::from(&ServiceName::try_from(name).unwrap())
}
