//! Why each instance of a service would be picked or not, and below, of the one under the cursor, how its score comes about.

use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use rollcall_api::words::{age, within};
use rollcall_api::{ExplainedInstance, ExplainedReason, Explanation};
use unicode_width::UnicodeWidthStr as _;

use super::pen::{Cell, Pen, cell, plain};
use crate::layout::{self, split};
use crate::state::{Explained, Row, State, shown};
use crate::theme::health_tone;
use crate::verdict::Tone;

/// Columns of the bar of a factor.
const BAR: usize = 10;

pub(super) fn draw(pen: &mut Pen<'_>, state: &State, body: Rect, service: &str) {
    let told = state.explained.as_ref().filter(|explained| explained.service == service);
    let explained = match told.map(|explained| (explained, &explained.told)) {
        None => return pen.line(body, 0, pen.marked(Tone::Dim, &format!("{}: asking why", shown(service)))),
        Some((_, Err(reason))) => {
            let text = format!("{}: {}", shown(service), shown(reason));
            return pen.line(body, 0, pen.marked(Tone::Warn, &text));
        }
        Some((explained, Ok(told))) => {
            head(pen, state, body, explained, told);
            explained
        }
    };
    let list = layout::list_body(state, body);
    instances(pen, state, list, explained);
    let rest =
        Rect { y: list.y + list.height, height: (body.y + body.height).saturating_sub(list.y + list.height), ..body };
    if let Some(Row::Instance(_, id)) = state.current()
        && let Some(instance) = explained.of(&id)
        && rest.height > 2
    {
        let inner = pen.framed(rest, &format!("{}: {}", shown(&id), verdict(instance)));
        for (line, text) in (0..).zip(story(pen, state, instance, inner.width)) {
            pen.line(inner, line, text);
        }
    }
}

fn head(pen: &mut Pen<'_>, state: &State, body: Rect, explained: &Explained, told: &Explanation) {
    let count = told.instances.iter().filter(|instance| instance.is_in).count();
    let all = told.instances.len() as u64 + told.omitted;
    let by = Some(told.decided_by.strategy.as_str()).filter(|who| !who.is_empty());
    let by =
        by.map(|who| format!(" by {}", if who == "default" { who.to_owned() } else { format!("the {}", shown(who)) }));
    let open = if told.fail_open { ", health is not asked: too few are healthy" } else { "" };
    let tone = if count == 0 || told.fail_open { Tone::Warn } else { Tone::Good };
    let text = format!(
        "{}: {count} of {all} may be picked, {}{}{open}, {} ago",
        shown(&explained.service),
        shown(&told.strategy),
        by.unwrap_or_default(),
        age(explained.at, state.now)
    );
    pen.line(body, 0, pen.marked(tone, &text));
}

fn instances(pen: &mut Pen<'_>, state: &State, area: Rect, explained: &Explained) {
    let rows = state.rows();
    let cursor = state.cursor_in(&rows);
    let narrow = area.width < 96;
    let columns = [
        ("", Constraint::Length(1)),
        ("INSTANCE", Constraint::Fill(2)),
        ("IN", Constraint::Length(3)),
        ("SHARE", Constraint::Length(5)),
        ("SCORE", Constraint::Length(5)),
        ("WEIGHT", Constraint::Length(if narrow { 0 } else { 6 })),
        ("STATE", Constraint::Length(8)),
        ("SINCE", Constraint::Length(7)),
        ("WEAKEST", Constraint::Length(if narrow { 0 } else { 11 })),
        ("WHY", Constraint::Fill(3)),
    ];
    let places = pen.columns(area, &columns);
    let Some(list) = layout::lists(state, &rows).pop() else { return };
    for (line, index) in (0..).zip(list.rows) {
        let Some(Row::Instance(_, id)) = rows.get(index) else { continue };
        if let Some(instance) = explained.of(id) {
            let cells = cells(pen, state, instance);
            pen.row(&places, line, cells, cursor == Some(index));
        }
    }
    let (_, lines) = split(area, 1);
    if rows.is_empty() {
        pen.line(lines, 0, Line::raw(" no instance to show"));
    }
}

fn cells(pen: &Pen<'_>, state: &State, instance: &ExplainedInstance) -> Vec<Cell> {
    let tone = tone(instance);
    let codes: Vec<String> = deciding(instance).map(|reason| shown(&reason.code)).collect();
    vec![
        cell(tone, pen.look.symbol(tone)),
        plain(shown(&instance.id)),
        cell(tone, if instance.is_in { "in" } else { "out" }),
        plain(share(instance)),
        plain(format!("{:.2}", instance.score)),
        plain(instance.weight.to_string()),
        cell(health_tone(instance.state), instance.state.as_str()),
        plain(age(instance.since, state.now)),
        plain(shown(&instance.weakest)),
        plain(codes.join(", ")),
    ]
}

/// In, in with something to be said against it, or out.
fn tone(instance: &ExplainedInstance) -> Tone {
    match (instance.is_in, instance.time_to_failure_ms) {
        (true, None) if instance.share > 0.0 => Tone::Good,
        (true, None) => Tone::Plain,
        (true, Some(_)) => Tone::Warn,
        (false, _) => Tone::Dim,
    }
}

/// What keeps it out, or what speaks for it, and what else is noted.
fn deciding(instance: &ExplainedInstance) -> impl Iterator<Item = &ExplainedReason> {
    let side = if instance.is_in { "out" } else { "in" };
    instance.reasons.iter().filter(move |reason| reason.side != side)
}

/// The part of the requests that an instance gets, as a person says it.
pub(super) fn share(instance: &ExplainedInstance) -> String {
    match instance.share * 100.0 {
        share if !instance.is_in || share <= 0.0 => "-".to_owned(),
        share if share < 1.0 => "<1%".to_owned(),
        share => format!("{share:.0}%"),
    }
}

fn verdict(instance: &ExplainedInstance) -> String {
    match (instance.is_in, share(instance).as_str()) {
        (true, "-") => "in, and picked after others only".to_owned(),
        (true, share) => format!("in, first pick of {share} of the requests"),
        (false, _) => "out".to_owned(),
    }
}

/// The reasons, what is expected, and the sum.
fn story(pen: &Pen<'_>, state: &State, instance: &ExplainedInstance, width: u16) -> Vec<Line<'static>> {
    let dim = Style::new().add_modifier(Modifier::DIM);
    let mut lines: Vec<Line<'static>> = Vec::new();
    for reason in &instance.reasons {
        let symbol = match reason.side.as_str() {
            "in" => pen.look.symbol(Tone::Good),
            "out" => pen.look.symbol(Tone::Bad),
            _ => pen.look.symbol(Tone::Dim),
        };
        let change =
            if reason.change.is_empty() { String::new() } else { format!("  changes with: {}", shown(&reason.change)) };
        lines.push(Line::from(vec![
            Span::raw(format!(" {symbol} {}", pen.ascii(&shown(&reason.why)))),
            Span::styled(pen.ascii(&change), dim),
        ]));
    }
    if let Some(until) = instance.until {
        lines.push(pen.marked(Tone::Dim, &format!("until {until}")));
    }
    if let Some(millis) = instance.time_to_failure_ms {
        let gone = state.explained.as_ref().map_or(0, |it| state.now.millis().saturating_sub(it.at.millis()));
        let left = millis.saturating_sub(gone);
        let text = format!("predicted to fail {}: its share is multiplied by {:.2}", within(left), instance.forecast);
        lines.push(pen.marked(Tone::Warn, &text));
    }
    for term in &instance.terms {
        let times = pen.look.pick("×", "x");
        let text = format!(
            "   {:<14} {} {:.2} {times} {:.2} = {:.3}  {}",
            shown(&term.factor),
            pen.bar(term.value, BAR),
            term.value,
            term.weight,
            term.product,
            pen.ascii(&shown(&term.signal))
        );
        lines.push(Line::raw(text));
    }
    lines.extend(sum(pen, instance, width).into_iter().map(Line::raw));
    if instance.gap > 0.0 {
        let text = format!("   {:.3} short of the best, most by {}", instance.gap, shown(&instance.weakest));
        lines.push(Line::raw(text));
    }
    lines
}

/// How the terms become a score, on one line if there is room.
fn sum(pen: &Pen<'_>, instance: &ExplainedInstance, width: u16) -> Vec<String> {
    let ExplainedInstance { sum, health, rank, forecast, ramp, score, .. } = instance;
    let times = pen.look.pick("×", "x");
    let rank = format!("   sum {sum:.3} {times} health {health:.2} = rank {rank:.3}");
    let score = format!("{times} forecast {forecast:.2} {times} ramp {ramp:.2} = score {score:.3}");
    if rank.width() + score.width() + 2 <= usize::from(width) {
        vec![format!("{rank}; {score}")]
    } else {
        vec![rank, format!("   {score}")]
    }
}
