//! The graph in Graphviz's language.

use std::fmt::Write as _;

use super::Graph;

pub(super) fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph services {\n  rankdir=LR;\n");
    // Writing to a string cannot fail. Names hold letters, digits, `-`, `_`, and capabilities `.`, `:`, `/`: nothing to escape.
    for service in graph.services() {
        let healthy = service.instances.iter().filter(|placed| placed.is_healthy).count();
        let style = if healthy == 0 { ", style=dashed" } else { "" };
        let all = service.instances.len();
        let _ =
            writeln!(text, "  \"{}\" [label=\"{}\\n{healthy} of {all} healthy\"{style}];", service.name, service.name);
    }
    for edge in graph.edges() {
        let is_sick = graph.service(&edge.callee).is_none_or(|callee| !callee.is_healthy());
        let style = if is_sick { ", style=dashed" } else { "" };
        let _ = writeln!(text, "  \"{}\" -> \"{}\" [label=\"{}\"{style}];", edge.caller, edge.callee, edge.capability);
    }
    for missing in graph.missing().iter().filter(|missing| missing.sick.is_empty()) {
        let _ = writeln!(text, "  \"{} (nobody)\" [shape=box, style=dotted];", missing.capability);
        for caller in &missing.callers {
            let _ = writeln!(text, "  \"{caller}\" -> \"{} (nobody)\" [style=dotted];", missing.capability);
        }
    }
    text.push_str("}\n");
    text
}
