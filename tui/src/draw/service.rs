//! One service: its instances, and the failure that is predicted first.

use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;
use rollcall_api::words::{age, trend_word, when, why};
use rollcall_api::{Instance, LifecycleState, Overlay};

use super::pen::{Cell, Pen, cell, plain};
use super::{chart, explain};
use crate::layout::{self, split};
use crate::state::{Row, Seen, State, shown};
use crate::theme::health_tone;
use crate::verdict::Tone;

pub(super) fn draw(pen: &mut Pen<'_>, state: &State, body: Rect, name: &str) {
    let Some(service) = state.catalog.services.get(name) else {
        return pen.line(body, 0, Line::raw(format!(" no service {} is registered", shown(name))));
    };
    let health = &service.health;
    let tone = health_tone(health.status);
    let seen = service.detail_at.map(|at| format!(", scores as of {} ago", age(at, state.now))).unwrap_or_default();
    let filter =
        if state.place.filter.is_empty() { String::new() } else { format!(", with '{}'", shown(&state.place.filter)) };
    let text = format!(
        "{}: {}, {} of {} can take traffic{seen}{filter}",
        shown(name),
        health.status.as_str(),
        health.healthy,
        health.instances
    );
    pen.line(body, 0, pen.marked(tone, &text));
    let scores = pen.spark(&service.scores, 40, (0.0, 1.0));
    let second = match (&service.protection, scores.is_empty()) {
        (Some(protection), _) => pen.marked(Tone::Warn, &shown(protection)),
        (None, false) => Line::raw(format!("   score {scores}")),
        (None, true) => Line::default(),
    };
    pen.line(body, 1, second);
    instances(pen, state, body);
    let predictions = service.instances.values().filter_map(|seen| Some((seen, seen.prediction(state.now)?)));
    if let Some((seen, prediction)) = predictions.min_by_key(|(_, prediction)| prediction.soonness()) {
        let height = layout::chart_height(state, body);
        let area = Rect { y: body.y + body.height.saturating_sub(height), height, ..body };
        chart::forecast(pen, area, &seen.signal, &prediction, state.now);
    }
}

fn instances(pen: &mut Pen<'_>, state: &State, body: Rect) {
    let area = layout::list_body(state, body);
    let rows = state.rows();
    let cursor = state.cursor_in(&rows);
    let narrow = area.width < 96;
    let columns = [
        ("", Constraint::Length(1)),
        ("INSTANCE", Constraint::Fill(2)),
        ("STATE", Constraint::Length(if narrow { 11 } else { 16 })),
        ("SINCE", Constraint::Length(7)),
        ("SCORE", Constraint::Length(if narrow { 5 } else { 14 })),
        ("WEIGHT", Constraint::Length(if narrow { 0 } else { 6 })),
        ("SHARE", Constraint::Length(5)),
        ("WHY, AND WHAT IS EXPECTED", Constraint::Fill(3)),
    ];
    let places = pen.columns(area, &columns);
    let Some(list) = layout::lists(state, &rows).pop() else { return };
    for (line, index) in (0..).zip(list.rows) {
        let Some(Row::Instance(service, id)) = rows.get(index) else { continue };
        if let Some(seen) = state.catalog.seen(service, id) {
            let cells = cells(pen, state, seen, narrow);
            pen.row(&places, line, cells, cursor == Some(index));
        }
    }
    let (_, lines) = split(area, 1);
    if rows.is_empty() {
        pen.line(lines, 0, Line::raw(" no instance to show"));
    }
}

fn cells(pen: &Pen<'_>, state: &State, seen: &Seen, narrow: bool) -> Vec<Cell> {
    let instance = &seen.instance;
    let tone = tone(instance);
    let score = instance.score.map_or_else(|| "-".to_owned(), |score| format!("{score:.2}"));
    let spark = if narrow { String::new() } else { pen.spark(&seen.scores, 9, (0.0, 1.0)) };
    let expected = match seen.prediction(state.now) {
        Some(prediction) => cell(Tone::Warn, format!("predicted to fail {}", when(&prediction.forecast))),
        None if seen.is_degrading() => cell(Tone::Warn, trend_word(instance.trend)),
        None => plain(shown(&why(instance))),
    };
    vec![
        cell(tone, pen.look.symbol(tone)),
        plain(shown(&instance.id)),
        cell(tone, states(instance)),
        plain(age(instance.since, state.now)),
        plain(format!("{score} {spark}")),
        plain(weight(instance)),
        plain(share(state, instance)),
        expected,
    ]
}

/// The tone of an instance: what an operator took out is no alarm.
pub(super) fn tone(instance: &Instance) -> Tone {
    match instance.lifecycle {
        LifecycleState::Active => health_tone(instance.state),
        LifecycleState::Draining { .. } | LifecycleState::Quarantined { .. } => Tone::Dim,
    }
}

/// The state, with what changes how the instance is used.
pub(super) fn states(instance: &Instance) -> String {
    let mut words = Vec::new();
    match instance.lifecycle {
        LifecycleState::Active => {}
        LifecycleState::Draining { .. } => words.push("draining"),
        LifecycleState::Quarantined { .. } => words.push("quarantined"),
    }
    words.push(instance.state.as_str());
    let decided = [Overlay::Draining, Overlay::Quarantined, Overlay::Unknown];
    words.extend(instance.overlays.iter().filter(|overlay| !decided.contains(overlay)).map(|it| it.as_str()));
    words.join(",")
}

/// The part of the traffic that it gets, once that is known.
fn share(state: &State, instance: &Instance) -> String {
    let explained = state.explained.as_ref().filter(|explained| explained.service == instance.service);
    explained.and_then(|explained| explained.of(&instance.id)).map(explain::share).unwrap_or_default()
}

/// Its weight, and the part of it that it gets in a slow start.
pub(super) fn weight(instance: &Instance) -> String {
    match instance.warm_up {
        Some(warm_up) => format!("{} {:.0}%", instance.weight, warm_up.share * 100.0),
        None => instance.weight.to_string(),
    }
}
