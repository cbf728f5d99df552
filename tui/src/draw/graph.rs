//! Which services need which: worst first, and below, of the one under the cursor, each of its edges.

use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;
use rollcall_api::GraphEdge;
use rollcall_api::words::age;

use super::pen::{Cell, Pen, cell, plain};
use crate::layout;
use crate::state::{Graph, Row, State, shown};
use crate::verdict::Tone;

/// Names that are told of many.
const NAMED_MAX: usize = 8;

pub(super) fn draw(pen: &mut Pen<'_>, state: &State, body: Rect) {
    let graph = match &state.graph {
        None => return pen.line(body, 0, pen.marked(Tone::Dim, "asking who needs whom")),
        Some(Err(reason)) => {
            return pen.line(
                body,
                0,
                pen.marked(Tone::Warn, &format!("the graph could not be read: {}", shown(reason))),
            );
        }
        Some(Ok(graph)) => graph,
    };
    let (tone, text) = summary(pen, state, graph);
    pen.line(body, 0, pen.marked(tone, &text));
    let list = layout::list_body(state, body);
    services(pen, state, list, graph);
    let rest =
        Rect { y: list.y + list.height, height: (body.y + body.height).saturating_sub(list.y + list.height), ..body };
    if let Some(Row::Service(name)) = state.current()
        && rest.height > 2
    {
        let inner = pen.framed(rest, &format!("{}: who needs it, and what it needs", shown(&name)));
        for (line, text) in (0..).zip(edges(pen, graph, &name)) {
            pen.line(inner, line, text);
        }
    }
}

fn summary(pen: &Pen<'_>, state: &State, graph: &Graph) -> (Tone, String) {
    let told = &graph.told;
    let count = told.edges.len() + graph.omitted;
    let noun = if count == 1 { "edge" } else { "edges" };
    let mut text = format!("{} services, {count} {noun}, {} ago", told.nodes.len(), age(graph.at, state.now));
    if graph.omitted > 0 {
        text.push_str(&format!(", {} edges more than fit", graph.omitted));
    }
    if !told.missing.is_empty() {
        let missing = told.missing.iter().take(NAMED_MAX).map(|missing| shown(&missing.capability));
        text.push_str(&format!("; nobody can offer {}", missing.collect::<Vec<_>>().join(", ")));
    }
    if let Some(first) = told.cycles.first() {
        let arrow = pen.look.pick("→", ">");
        let names: Vec<String> = first.iter().take(NAMED_MAX).map(|name| shown(name)).collect();
        let more = if told.cycles.len() > 1 { format!(" (+{} more)", told.cycles.len() - 1) } else { String::new() };
        text.push_str(&format!("; circle {}{more}", names.join(arrow)));
    }
    let tone = match (told.missing.is_empty(), told.cycles.is_empty()) {
        (false, _) => Tone::Bad,
        (true, false) => Tone::Warn,
        (true, true) => Tone::Good,
    };
    (tone, text)
}

fn services(pen: &mut Pen<'_>, state: &State, area: Rect, graph: &Graph) {
    let rows = state.rows();
    let cursor = state.cursor_in(&rows);
    let title = match state.place.filter.is_empty() {
        true => "SERVICE".to_owned(),
        false => format!("SERVICE /{} {}", shown(&state.place.filter), rows.len()),
    };
    let columns = [
        ("", Constraint::Length(1)),
        (title.as_str(), Constraint::Fill(2)),
        ("HEALTHY", Constraint::Length(9)),
        ("NEEDED BY", Constraint::Fill(3)),
        ("NEEDS", Constraint::Fill(3)),
    ];
    let places = pen.columns(area, &columns);
    let Some(list) = layout::lists(state, &rows).pop() else { return };
    for (line, index) in (0..).zip(list.rows) {
        let Some(Row::Service(name)) = rows.get(index) else { continue };
        let cells = cells(pen, graph, name);
        pen.row(&places, line, cells, cursor == Some(index));
    }
    if rows.is_empty() {
        let is_filtered = !state.place.filter.is_empty();
        let text = if is_filtered { " none fits the filter" } else { " no service says that it requires another" };
        pen.line(area, 1, Line::raw(text));
    }
}

fn cells(pen: &Pen<'_>, graph: &Graph, name: &str) -> Vec<Cell> {
    let (needs, tone) = (graph.needs(name), graph.tone(name));
    let lacks: Vec<String> = graph.lacks(name).map(|(capability, _)| shown(capability)).collect();
    let callees = graph.calls(name);
    let callees = listed(callees.iter().map(|edge| edge.callee.as_str()));
    let needs = match (lacks.is_empty(), callees.is_empty()) {
        (true, _) => cell(needs, callees),
        (false, true) => cell(needs, format!("lacks {}", lacks.join(", "))),
        (false, false) => cell(needs, format!("lacks {}; {callees}", lacks.join(", "))),
    };
    let callers = graph.called_by(name);
    vec![
        cell(tone, pen.look.symbol(tone)),
        plain(shown(name)),
        healthy(graph, name),
        plain(listed(callers.iter().map(|edge| edge.caller.as_str()))),
        needs,
    ]
}

fn healthy(graph: &Graph, name: &str) -> Cell {
    match graph.node(name) {
        Some(node) => cell(graph.health(name), format!("{} of {}", node.healthy, node.instances)),
        None => plain("-"),
    }
}

/// Each name once, in order.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(NAMED_MAX);
    let mut text = names.into_iter().take(NAMED_MAX).map(shown).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// The edges of a service, those that cannot be relied on first.
fn edges(pen: &Pen<'_>, graph: &Graph, name: &str) -> Vec<Line<'static>> {
    let (to, from) = (pen.look.pick("→", "->"), pen.look.pick("←", "<-"));
    let mut lines: Vec<(Tone, String)> = Vec::new();
    for (capability, _) in graph.lacks(name).filter(|(_, sick)| sick.is_empty()) {
        lines.push((Tone::Bad, format!("lacks {}: nobody offers it", shown(capability))));
    }
    for (capability, sick) in graph.lacks(name).filter(|(_, sick)| !sick.is_empty()) {
        let sick = listed(sick.iter().map(String::as_str));
        lines.push((Tone::Bad, format!("lacks {}: no instance of {sick} can take traffic", shown(capability))));
    }
    let calls = graph.calls(name).into_iter().map(|edge| line(graph, edge, to, &edge.callee, &edge.callee));
    let called = graph.called_by(name).into_iter().map(|edge| line(graph, edge, from, &edge.caller, name));
    lines.extend(calls.chain(called));
    lines.sort_by_key(|(tone, _)| std::cmp::Reverse(*tone));
    lines.into_iter().map(|(tone, text)| pen.marked(tone, &text)).collect()
}

/// One edge, with how many instances of its callee can take traffic.
fn line(graph: &Graph, edge: &GraphEdge, arrow: &str, other: &str, callee: &str) -> (Tone, String) {
    let healthy = graph.node(callee).map(|it| format!(" ({} of {} healthy)", it.healthy, it.instances));
    let healthy = healthy.filter(|_| other == callee).unwrap_or_default();
    (graph.edge(edge), format!("{arrow} {} for {}{healthy}", shown(other), shown(&edge.capability)))
}
