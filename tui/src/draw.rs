//! Puts the state on a screen. Pure: the same state is the same picture.

mod chart;
mod cluster;
mod events;
mod explain;
mod graph;
mod help;
mod instance;
mod overview;
mod pen;
mod service;
mod services;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use rollcall_api::Timestamp;
use rollcall_api::words::{clock, span};
use unicode_width::UnicodeWidthStr as _;

use crate::keys::{BINDINGS, Command};
use crate::layout::{self, TABS};
use crate::state::{Prompt, State, View, shown};
use crate::verdict::{Tone, Verdict, verdict};
use pen::Pen;

/// Draws the open view and what lies over it.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let mut pen = Pen::new(frame.buffer_mut(), state.look);
    let verdict = verdict(state);
    if layout::is_tiny(state.size) {
        return tiny(&mut pen, state, &verdict);
    }
    let areas = layout::areas(state.size);
    header(&mut pen, state, areas.header);
    pen.line(areas.verdict, 0, verdict_line(state, &verdict));
    match &state.place.view {
        View::Overview => overview::draw(&mut pen, state, areas.body, &verdict),
        View::Services => services::draw(&mut pen, state, areas.body),
        View::Service(name) => service::draw(&mut pen, state, areas.body, name),
        View::Instance(service, id) => instance::draw(&mut pen, state, areas.body, service, id),
        View::Explain(service) => explain::draw(&mut pen, state, areas.body, service),
        View::Graph => graph::draw(&mut pen, state, areas.body),
        View::Cluster => cluster::draw(&mut pen, state, areas.body),
        View::Events => events::draw(&mut pen, state, areas.body),
    }
    if !state.link.is_connected {
        pen.dim(areas.body);
    }
    footer(&mut pen, state, areas.footer);
    match &state.prompt {
        Some(Prompt::Help) => help::draw(&mut pen, state, areas.body),
        Some(Prompt::Confirm(action)) => help::confirm(&mut pen, areas.body, action),
        Some(Prompt::Filter) | None => {}
    }
}

/// A terminal without room for more: the verdict, and as many problems as fit.
fn tiny(pen: &mut Pen<'_>, state: &State, verdict: &Verdict) {
    let area = Rect::new(0, 0, state.size.0, state.size.1);
    pen.line(area, 0, verdict_line(state, verdict));
    for (line, (tone, text)) in (1..).zip(&verdict.problems[verdict.problems.len().min(1)..]) {
        pen.line(area, line, pen.marked(*tone, text));
    }
}

fn verdict_line(state: &State, verdict: &Verdict) -> Line<'static> {
    let more = match verdict.problems.len() {
        0 | 1 => String::new(),
        count => format!(" (+{} more)", count - 1),
    };
    let style = state.look.style(verdict.tone).add_modifier(Modifier::BOLD);
    Line::styled(format!(" {} {}{more}", state.look.symbol(verdict.tone), verdict.headline), style)
}

fn header(pen: &mut Pen<'_>, state: &State, area: Rect) {
    let selected = state.place.view.tab();
    let mut spans = Vec::new();
    for (index, title) in TABS.iter().enumerate() {
        let style = if index == selected { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(format!(" {title} "), style));
    }
    let left: usize = spans.iter().map(Span::width).sum();
    pen.line(area, 0, Line::from(spans));
    let (tone, text) = link_text(state);
    let room = usize::from(area.width).saturating_sub(left + 1);
    let text = pen.cut(&text, room);
    let x = area.width.saturating_sub(text.width() as u16 + 1);
    let style = state.look.style(tone);
    pen.line(Rect { x: area.x + x, width: area.width - x, ..area }, 0, Line::styled(text, style));
}

/// Which node this is from, and how old it is.
fn link_text(state: &State) -> (Tone, String) {
    let link = &state.link;
    let node = shown(link.node.trim_start_matches("http://"));
    let name = state.nodes.observer.as_ref().filter(|_| link.is_connected);
    let node = name.map_or(node.clone(), |observer| format!("{} {node}", shown(&observer.name)));
    match (link.is_connected, state.stale_ms()) {
        (true, None) => (Tone::Dim, format!("{node} live")),
        (true, Some(silent)) => (Tone::Warn, format!("{node} STALE {}", span(silent / 1_000))),
        (false, Some(silent)) => {
            let (place, all) = link.place;
            (Tone::Bad, format!("STALE {}, trying {node} ({place} of {all})", span(silent / 1_000)))
        }
        (false, None) => (Tone::Dim, format!("connecting to {node}")),
    }
}

/// When something happened: the time of today, to the millisecond, or the day and the minute. UTC.
fn moment(at: Timestamp, now: Timestamp) -> String {
    match other_day(at, now) {
        Some(day) => day,
        None => clock(at),
    }
}

/// The same in eight columns: the time of today, or the day.
fn short_moment(at: Timestamp, now: Timestamp) -> String {
    let text = match other_day(at, now) {
        Some(day) => day.get(..5).map(str::to_owned),
        None => clock(at).get(..8).map(str::to_owned),
    };
    text.unwrap_or_default()
}

/// `11-20 14:24`, of another day than today.
fn other_day(at: Timestamp, now: Timestamp) -> Option<String> {
    let (text, today) = (at.to_string(), now.to_string());
    // YYYY-MM-DDTHH:MM:SS.mmmZ
    let is_today = text.get(..10) == today.get(..10);
    text.get(5..16).filter(|_| !is_today).map(|day| day.replace('T', " "))
}

fn footer(pen: &mut Pen<'_>, state: &State, area: Rect) {
    if state.prompt == Some(Prompt::Filter) {
        let text =
            format!(" / {}{}  Enter keeps it, Esc ends it", shown(&state.place.filter), state.look.pick("▏", "_"));
        return pen.line(area, 0, Line::styled(text, Style::new().add_modifier(Modifier::BOLD)));
    }
    if let Some(notice) = &state.notice {
        return pen.line(area, 0, pen.marked(notice.tone, &notice.text));
    }
    let bindings = BINDINGS.iter().filter(|it| !it.bar.is_empty() && it.scope.covers(&state.place.view));
    let told = bindings.map(|binding| {
        let key = pen.ascii(binding.label).split(' ').next().unwrap_or_default().to_owned();
        let text = [
            Span::styled(key, Style::new().add_modifier(Modifier::BOLD)),
            Span::styled(format!(" {}  ", binding.bar), Style::new().add_modifier(Modifier::DIM)),
        ];
        (matches!(binding.command, Command::Help | Command::Quit), text)
    });
    let (last, first): (Vec<_>, Vec<_>) = told.partition(|(is_last, _)| *is_last);
    let width = |text: &[Span<'_>; 2]| text.iter().map(Span::width).sum::<usize>();
    // Where not all of them fit, help is what tells the others. The two blanks at the end need no room.
    let mut room = usize::from(area.width) + 1;
    room = room.saturating_sub(last.iter().map(|(_, text)| width(text)).sum());
    let fitting = first.into_iter().take_while(|(_, text)| {
        let fits = width(text) <= room;
        room = room.saturating_sub(width(text));
        fits
    });
    let spans = fitting.chain(last).flat_map(|(_, text)| text);
    let line: Vec<Span<'_>> = std::iter::once(Span::raw(" ")).chain(spans).collect();
    pen.line(area, 0, Line::from(line));
}
