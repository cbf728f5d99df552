//! All services: sorted, filtered, with what was seen of their scores.

use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;
use rollcall_api::StateCounts;

use super::pen::{Cell, Pen, cell, plain};
use crate::layout;
use crate::state::{Row, Service, State, shown};
use crate::theme::health_tone;
use crate::verdict::Tone;

pub(super) fn draw(pen: &mut Pen<'_>, state: &State, body: Rect) {
    let rows = state.rows();
    let cursor = state.cursor_in(&rows);
    let narrow = body.width < 96;
    let all = state.catalog.services.len();
    let title = match (state.place.filter.is_empty(), state.catalog.omitted) {
        (true, 0) => format!("SERVICE {}", state.sort.word()),
        (true, omitted) => format!("SERVICE ({omitted} instances more than fit)"),
        (false, _) => format!("SERVICE /{} {} of {all}", shown(&state.place.filter), rows.len()),
    };
    let columns = [
        ("", Constraint::Length(1)),
        (title.as_str(), Constraint::Min(16)),
        ("STATE", Constraint::Length(8)),
        ("HEALTHY", Constraint::Length(11)),
        ("INSTANCES", Constraint::Length(if narrow { 14 } else { 28 })),
        ("PREDICTED", Constraint::Length(9)),
        ("SCORE", Constraint::Length(if narrow { 5 } else { 16 })),
    ];
    let places = pen.columns(body, &columns);
    let Some(list) = layout::lists(state, &rows).pop() else { return };
    for (line, index) in (0..).zip(list.rows) {
        let Some(Row::Service(name)) = rows.get(index) else { continue };
        if let Some(service) = state.catalog.services.get(name) {
            let cells = cells(pen, name, service, narrow);
            pen.row(&places, line, cells, cursor == Some(index));
        }
    }
    if rows.is_empty() {
        pen.line(body, 1, Line::raw(if all == 0 { " no service is registered" } else { " none fits the filter" }));
    }
}

fn cells(pen: &Pen<'_>, name: &str, service: &Service, narrow: bool) -> Vec<Cell> {
    let health = &service.health;
    let tone = if health.instances > 0 && health.healthy == 0 { Tone::Bad } else { health_tone(health.status) };
    let score = service.scores.last().map(|score| format!("{score:.2}")).unwrap_or_else(|| "-".to_owned());
    let spark = if narrow { String::new() } else { pen.spark(&service.scores, 10, (0.0, 1.0)) };
    let predicted = if health.predicted > 0 { cell(Tone::Warn, health.predicted.to_string()) } else { plain("-") };
    vec![
        cell(tone, pen.look.symbol(tone)),
        plain(shown(name)),
        cell(tone, health.status.as_str()),
        cell(tone, format!("{} of {}", health.healthy, health.instances)),
        plain(counted(&health.states, health.draining + health.quarantined, narrow)),
        predicted,
        plain(format!("{score} {spark}")),
    ]
}

/// How many are in each state, worst first.
fn counted(states: &StateCounts, out: u64, narrow: bool) -> String {
    let counts = [
        (states.critical, "critical"),
        (states.warning, "warning"),
        (states.unknown, "unknown"),
        (states.starting, "starting"),
        (states.passing, "passing"),
        (out, "out"),
    ];
    let word =
        |(count, word): (u64, &str)| if narrow { format!("{count}{}", &word[..1]) } else { format!("{count} {word}") };
    counts.into_iter().filter(|(count, _)| *count > 0).map(word).collect::<Vec<_>>().join(if narrow {
        " "
    } else {
        ", "
    })
}
