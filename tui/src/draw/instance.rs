//! One instance: what is known of it, who sees what, what is expected, what happened to it.

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use rollcall_api::words::{address, age, trend_word, why};
use rollcall_api::{CheckSeen, HealthObserver, HistoryRecord, Instance, Timestamp};

use super::pen::Pen;
use super::{chart, service, short_moment};
use crate::layout::{self, split};
use crate::message::InstanceDetail;
use crate::state::{State, shown};
use crate::theme::health_tone;
use crate::verdict::Tone;

/// Columns of the bar of a term of the score.
const BAR: usize = 10;

pub(super) fn draw(pen: &mut Pen<'_>, state: &State, body: Rect, service: &str, id: &str) {
    let Some(seen) = state.catalog.seen(service, id) else {
        return pen.line(body, 0, Line::raw(format!(" {}/{} is not registered", shown(service), shown(id))));
    };
    let height = layout::chart_height(state, body);
    let (top, picture) = split(body, body.height.saturating_sub(height));
    if let Some(prediction) = seen.prediction(state.now) {
        chart::forecast(pen, picture, &seen.signal, &prediction, state.now);
    }
    let facts = facts(pen, state, &seen.instance);
    let (head, rest) = split(top, facts.len() as u16);
    for (line, fact) in (0..).zip(facts) {
        pen.line(head, line, fact);
    }
    let Some((at, detail)) = &state.detail else {
        return pen.line(rest, 0, pen.marked(Tone::Dim, "asking those who look at it"));
    };
    let observers = observers(pen, state, detail);
    let wanted = (observers.len() as u16 + 2).min(rest.height.saturating_sub(3));
    let (seen_by, history_area) = split(rest, wanted);
    let inner = pen.framed(seen_by, &format!("Who sees what, {} ago", age(*at, state.now)));
    for (line, text) in (0..).zip(observers) {
        pen.line(inner, line, text);
    }
    let inner = pen.framed(history_area, "History, newest first (UTC)");
    for (line, record) in (0..inner.height).zip(&detail.history) {
        pen.line(inner, line, history(pen, record, state.now));
    }
}

fn labelled(label: &str, text: impl Into<String>) -> Line<'static> {
    let label = Span::styled(format!(" {label:<9}"), Style::new().add_modifier(Modifier::DIM));
    Line::from(vec![label, Span::raw(text.into())])
}

fn facts(pen: &Pen<'_>, state: &State, instance: &Instance) -> Vec<Line<'static>> {
    let tone = service::tone(instance);
    let score = instance.score.map_or_else(|| "no score".to_owned(), |score| format!("score {score:.2}"));
    let head = format!(
        "{}/{}: {} for {}, {score}, {}",
        shown(&instance.service),
        shown(&instance.id),
        service::states(instance),
        age(instance.since, state.now),
        match instance.trend {
            rollcall_api::Trend::Unknown => "no trend",
            trend => trend_word(trend),
        }
    );
    let place = [instance.zone.as_deref(), instance.region.as_deref()].into_iter().flatten().map(shown);
    let place = place.collect::<Vec<_>>().join(", ");
    let place = if place.is_empty() { "no zone".to_owned() } else { format!("zone {place}") };
    let version = instance.version.as_deref().map(|it| format!(", version {}", shown(it))).unwrap_or_default();
    let address = address(instance).map(|it| shown(&it)).unwrap_or_default();
    let mut facts = vec![
        pen.marked(tone, &head),
        labelled("why", pen.ascii(&shown(&why(instance)))),
        labelled("where", format!("{address}, {place}{version}, weight {}", service::weight(instance))),
    ];
    let tags = instance.tags.iter().map(|tag| shown(tag));
    let metadata = instance.metadata.iter().map(|(key, value)| format!("{}={}", shown(key), shown(value)));
    let labels: Vec<String> = tags.chain(metadata).collect();
    if !labels.is_empty() {
        facts.push(labelled("labels", pen.ascii(&labels.join("  "))));
    }
    facts
}

fn observers(pen: &Pen<'_>, state: &State, detail: &InstanceDetail) -> Vec<Line<'static>> {
    let health = &detail.health;
    let mut lines = Vec::new();
    if let Some(protection) = &health.protection {
        lines.push(pen.marked(Tone::Warn, &shown(protection)));
    }
    for observer in &health.observers {
        lines.push(observer_line(pen, observer));
        let Some(sees) = &observer.sees else { continue };
        for check in &sees.checks {
            lines.push(check_line(pen, state, &observer.node, check));
        }
        let terms = sees.terms.iter().filter_map(|term| {
            let value = term.value?;
            Some(format!("{} {} {value:.2}", shown(&term.signal), pen.bar(value, BAR)))
        });
        let terms: Vec<String> = terms.collect();
        if !terms.is_empty() {
            lines.push(Line::raw(format!("     {}", terms.join("  "))));
        }
    }
    for voucher in &health.vouching {
        let text = format!("{} hears its heartbeats: {}", shown(&voucher.node), voucher.says.state.as_str());
        lines.push(pen.marked(health_tone(voucher.says.state), &text));
    }
    if lines.is_empty() {
        lines.push(pen.marked(Tone::Dim, "nobody looks at it"));
    }
    lines
}

fn observer_line(pen: &Pen<'_>, observer: &HealthObserver) -> Line<'static> {
    let name = format!("{}, {}", shown(&observer.node), shown(&observer.duty));
    match (&observer.sees, &observer.says, &observer.error) {
        (Some(sees), ..) => {
            let lease = sees.lease.as_deref().map(|it| format!(", lease {}", shown(it))).unwrap_or_default();
            let text = format!(
                "{name}: {}, {}, score {:.2}{lease}",
                sees.state.as_str(),
                shown(&sees.explanation),
                sees.score
            );
            pen.marked(health_tone(sees.state), &text)
        }
        (None, Some(says), error) => {
            let error = error.as_deref().map(|it| format!(" ({})", shown(it))).unwrap_or_default();
            let counts = if says.counts { "" } else { ", which does not count" };
            pen.marked(health_tone(says.state), &format!("{name}: says {}{counts}{error}", says.state.as_str()))
        }
        (None, None, error) => {
            let error = error.as_deref().map(|it| format!(" ({})", shown(it))).unwrap_or_default();
            pen.marked(Tone::Dim, &format!("{name}: says nothing{error}"))
        }
    }
}

fn check_line(pen: &Pen<'_>, state: &State, node: &str, check: &CheckSeen) -> Line<'static> {
    let mut text = format!("    check {}: {}", shown(&check.id), check.state.as_str());
    if let Some(latency) = check.latency_ms {
        text.push_str(&format!(", {latency:.0} ms"));
        if let Some(trace) = state.latencies.get(&(node.to_owned(), check.id.clone())) {
            let highest = trace.values().map(|(_, value)| value).fold(1.0, f64::max);
            text.push_str(&format!(" {}", pen.spark(trace, 12, (0.0, highest))));
        }
    }
    if let Some(last) = &check.last {
        let output = shown(last.output.trim());
        text.push_str(&format!(", last {} {} ago: {output}", shown(&last.outcome), age(last.at, state.now)));
    }
    Line::styled(format!(" {}", pen.ascii(&text)), pen.look.style(health_tone(check.state)))
}

fn history(pen: &Pen<'_>, record: &HistoryRecord, now: Timestamp) -> Line<'static> {
    let (word, tone) = match record.state {
        Some(state) => (state.as_str().to_owned(), health_tone(state)),
        None => (shown(&record.action), Tone::Plain),
    };
    let from = record.from.map(|from| format!("was {}", from.as_str()));
    let cause = record.cause.as_deref().map(|cause| shown(rollcall_api::cause_phrase(cause)));
    let why = [from, cause].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let time = short_moment(record.at, now);
    pen.marked(tone, &format!("{time:<8} {word:<12} by {}  {why}", shown(&record.actor)))
}
