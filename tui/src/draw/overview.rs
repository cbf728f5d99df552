//! The overview: problems, nodes, services by state, what is predicted to fail, the last events.

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use rollcall_api::words::{age, role_word, signal_word, when};
use rollcall_api::{MemberState, State as HealthState, StateCounts};

use super::pen::Pen;
use super::short_moment;
use crate::layout::{self, split};
use crate::state::{Row, State, shown};
use crate::theme::{health_tone, member_tone};
use crate::verdict::{Tone, Verdict};

pub(super) fn draw(pen: &mut Pen<'_>, state: &State, body: Rect, verdict: &Verdict) {
    let areas = layout::overview(state, body);
    for (line, (tone, text)) in (0..).zip(verdict.problems.iter().skip(1)) {
        pen.line(areas.problems, line, pen.marked(*tone, text));
    }
    nodes(pen, state, areas.nodes);
    let rows = state.rows();
    let cursor = state.cursor_in(&rows);
    let [services_shown, predicted_shown] = &layout::lists(state, &rows)[..] else { return };
    services(pen, state, areas.services);
    for (line, index) in (0..).zip(services_shown.rows.clone()) {
        if let Some(Row::Service(name)) = rows.get(index) {
            service_line(pen, state, services_shown.lines, line, name);
            if cursor == Some(index) {
                pen.cursor(services_shown.lines, line);
            }
        }
    }
    let count = state.catalog.predictions(state.now).len();
    pen.framed(areas.predicted, &format!("Predicted to fail: {count}"));
    if count == 0 {
        let text = " nothing is";
        pen.line(predicted_shown.lines, 0, Line::styled(text, Style::new().add_modifier(Modifier::DIM)));
    }
    for (line, index) in (0..).zip(predicted_shown.rows.clone()) {
        if let Some(Row::Instance(service, id)) = rows.get(index) {
            prediction_line(pen, state, predicted_shown.lines, line, (service, id));
            if cursor == Some(index) {
                pen.cursor(predicted_shown.lines, line);
            }
        }
    }
    events(pen, state, areas.events);
}

fn nodes(pen: &mut Pen<'_>, state: &State, area: Rect) {
    let alive = state.nodes.members.iter().filter(|member| member.state == MemberState::Alive).count();
    let inner = pen.framed(area, &format!("Nodes: {alive} of {} alive", state.nodes.members.len()));
    // Beside the symbol, state, role and age.
    let width = usize::from(inner.width).saturating_sub(29).clamp(8, 24);
    let mut members: Vec<_> = state.nodes.members.iter().collect();
    // What does not fit is what is well.
    members.sort_by_key(|member| (std::cmp::Reverse(member_tone(member.state)), &member.name));
    if members.len() <= usize::from(inner.height) {
        members.sort_by_key(|member| &member.name);
    }
    for (line, member) in (0..inner.height).zip(members) {
        let tone = member_tone(member.state);
        let leads = state.nodes.leader_name() == Some(member.name.as_str());
        let role = if leads { "leader" } else { role_word(member.role) };
        let since = member.since.map(|since| age(since, state.now)).unwrap_or_default();
        let text = format!(
            "{:<width$} {:<8} {:<8} {since}",
            pen.cut(&shown(&member.name), width),
            member.state.as_str(),
            role
        );
        pen.line(inner, line, pen.marked(tone, &text));
    }
}

fn services(pen: &mut Pen<'_>, state: &State, area: Rect) {
    let mut counts = StateCounts::default();
    state.catalog.services.values().for_each(|service| counts.add(service.health.status));
    let inner = pen.framed(area, &format!("Services: {}", state.catalog.services.len()));
    let counts = [
        (counts.critical, HealthState::Critical),
        (counts.warning, HealthState::Warning),
        (counts.unknown, HealthState::Unknown),
        (counts.starting, HealthState::Starting),
        (counts.passing, HealthState::Passing),
    ];
    let mut spans = vec![Span::raw(" ")];
    for (count, health) in counts.into_iter().filter(|(count, _)| *count > 0) {
        let tone = health_tone(health);
        let text = format!("{} {count} {}  ", pen.look.symbol(tone), health.as_str());
        spans.push(Span::styled(text, pen.look.style(tone)));
    }
    pen.line(inner, 0, Line::from(spans));
}

fn service_line(pen: &mut Pen<'_>, state: &State, area: Rect, line: u16, name: &str) {
    let Some(service) = state.catalog.services.get(name) else { return };
    let health = &service.health;
    let is_out = health.healthy == 0;
    let tone = match (is_out, health_tone(health.status)) {
        (true, _) => Tone::Bad,
        (false, Tone::Good) => Tone::Warn,
        (false, tone) => tone,
    };
    let what = if is_out {
        "none healthy"
    } else if health.status == HealthState::Passing {
        "predicted"
    } else {
        health.status.as_str()
    };
    let name_width = usize::from(area.width).saturating_sub(25);
    let name = pen.cut(&shown(name), name_width.max(8));
    let text = format!("{name:<name_width$} {what:<12} {}/{}", health.healthy, health.instances);
    pen.line(area, line, pen.marked(tone, &text));
}

fn prediction_line(pen: &mut Pen<'_>, state: &State, area: Rect, line: u16, (service, id): (&str, &str)) {
    let Some(prediction) = state.catalog.seen(service, id).and_then(|seen| seen.prediction(state.now)) else { return };
    let forecast = prediction.forecast;
    let mut text = format!("{}/{}  {}", shown(service), shown(id), when(&forecast));
    if let Some(signal) = forecast.signal {
        let word = signal_word(signal).unwrap_or_else(|| "a signal".to_owned());
        text.push_str(&format!("  {word}"));
        if let (Some(now), Some(threshold)) = (forecast.now, forecast.threshold) {
            let arrow = pen.look.pick("→", ">");
            text.push_str(&format!(
                " {}{arrow}{}",
                super::chart::amount(signal, now),
                super::chart::amount(signal, threshold)
            ));
        }
    }
    if let Some(confidence) = forecast.confidence {
        text.push_str(&format!("  confidence {confidence:.2}"));
    }
    pen.line(area, line, pen.marked(Tone::Warn, &text));
}

fn events(pen: &mut Pen<'_>, state: &State, area: Rect) {
    let inner = pen.framed(area, "Last events (UTC)");
    for (line, noted) in (0..inner.height).zip(state.log.newest()) {
        let time = short_moment(noted.at, state.now);
        let text = format!("{time:<8} {:<12} {}", noted.word, noted.text);
        pen.line(inner, line, pen.marked(noted.tone, &text));
    }
    let (first, _) = split(inner, 1);
    if state.log.newest().next().is_none() {
        pen.line(first, 0, Line::styled(" nothing happened yet", Style::new().add_modifier(Modifier::DIM)));
    }
}
