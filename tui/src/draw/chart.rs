//! A forecast as a picture: what was seen, where it is heading, how sure that is, and where it fails.
//!
//! Drawn cell by cell and not with lines of Braille dots, so that it is the same picture in ASCII.

use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use rollcall_api::words::{signal_word, span, when};
use rollcall_api::{ForecastSignal, Timestamp};

use super::pen::Pen;
use crate::state::{Prediction, Trace, shown};
use crate::verdict::Tone;

/// Columns for the numbers on the left.
const LABELS: u16 = 9;
/// Least time that is shown before and after now, in ms.
const SPAN_MIN: f64 = 30_000.0;

/// A value of a signal with its unit.
pub(super) fn amount(signal: ForecastSignal, value: f64) -> String {
    match signal {
        ForecastSignal::Latency | ForecastSignal::Fsync | ForecastSignal::ApplyLag | ForecastSignal::Lateness => {
            format!("{value:.0} ms")
        }
        ForecastSignal::ErrorRate | ForecastSignal::Cpu | ForecastSignal::Memory | ForecastSignal::InFlight => {
            format!("{:.0} %", value * 100.0)
        }
        ForecastSignal::DiskFree => format!("{:.1} GB", value / 1e9),
        ForecastSignal::Unknown => format!("{value:.2}"),
    }
}

/// What a cell of the picture holds; later ones lie over earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Nothing,
    Interval,
    Now,
    Threshold,
    Likely,
    Seen,
}

/// Where values and times are in the picture.
struct Frame {
    columns: usize,
    lines: usize,
    /// Milliseconds from now.
    times: (f64, f64),
    values: (f64, f64),
}

impl Frame {
    fn column(&self, time: f64) -> usize {
        let share = (time - self.times.0) / (self.times.1 - self.times.0);
        ((share * (self.columns - 1) as f64).round().max(0.0) as usize).min(self.columns - 1)
    }

    fn time(&self, column: usize) -> f64 {
        self.times.0 + (self.times.1 - self.times.0) * column as f64 / (self.columns - 1).max(1) as f64
    }

    fn line(&self, value: f64) -> usize {
        let share = ((value - self.values.0) / (self.values.1 - self.values.0)).clamp(0.0, 1.0);
        self.lines - 1 - (share * (self.lines - 1) as f64).round() as usize
    }
}

/// Draws a forecast; nothing when there are no numbers to draw it from.
pub(super) fn forecast(pen: &mut Pen<'_>, area: Rect, seen: &Trace, prediction: &Prediction<'_>, now: Timestamp) {
    let forecast = &prediction.forecast;
    let signal = forecast.signal.unwrap_or(ForecastSignal::Unknown);
    let word = signal_word(signal).unwrap_or_else(|| "a signal".to_owned());
    let confidence = forecast.confidence.map(|it| format!(", confidence {it:.2}")).unwrap_or_default();
    let id = shown(&prediction.instance.id);
    let inner = pen.framed(area, &format!("{id} is predicted to fail {}: {word}{confidence}", when(forecast)));
    let (Some(value), Some(threshold), Some(likely)) = (forecast.now, forecast.threshold, forecast.likely_ms) else {
        return;
    };
    if inner.height < 3 || inner.width < LABELS + 12 {
        return;
    }
    let plot = Rect { x: inner.x + LABELS, width: inner.width - LABELS, height: inner.height - 1, ..inner };
    let frame = frame(plot, seen, prediction, now, (value, threshold, likely as f64));
    let marks = marks(&frame, seen, prediction, now, (value, threshold, likely as f64));
    for (line, cells) in (0..).zip(marks.chunks(frame.columns)) {
        let spans: Vec<Span<'_>> = cells.iter().map(|mark| styled(pen, *mark)).collect();
        pen.line(plot, line, Line::from(spans));
    }
    let labels = Rect { width: LABELS, ..inner };
    pen.line(labels, frame.line(threshold) as u16, Line::styled(amount(signal, threshold), pen.look.style(Tone::Bad)));
    if frame.line(value) != frame.line(threshold) {
        pen.line(labels, frame.line(value) as u16, Line::raw(amount(signal, value)));
    }
    axis(pen, inner, &frame);
}

fn frame(
    plot: Rect,
    seen: &Trace,
    prediction: &Prediction<'_>,
    now: Timestamp,
    (value, threshold, likely): (f64, f64, f64),
) -> Frame {
    let first = seen.values().next().map_or(0.0, |(at, _)| now.millis().saturating_sub(at.millis()) as f64);
    let latest = prediction.forecast.latest_ms.map_or(likely * 1.5, |latest| latest as f64);
    let highest = seen.values().map(|(_, value)| value).fold(value.max(threshold), f64::max);
    Frame {
        columns: usize::from(plot.width),
        lines: usize::from(plot.height),
        times: (-first.max(SPAN_MIN), latest.clamp(SPAN_MIN, (likely * 4.0).max(SPAN_MIN))),
        values: (0.0, (highest * 1.05).max(f64::MIN_POSITIVE)),
    }
}

fn marks(
    frame: &Frame,
    seen: &Trace,
    prediction: &Prediction<'_>,
    now: Timestamp,
    (value, threshold, likely): (f64, f64, f64),
) -> Vec<Mark> {
    let mut marks = vec![Mark::Nothing; frame.columns * frame.lines];
    let mut put = |line: usize, column: usize, mark: Mark| {
        if let Some(old) = marks.get_mut(line * frame.columns + column) {
            *old = (*old).max(mark);
        }
    };
    let at = |time: f64, reached: f64| value + (threshold - value) * (time / reached.max(1.0)).min(1.0);
    let earliest = prediction.forecast.earliest_ms.map_or(likely, |it| it as f64);
    let latest = prediction.forecast.latest_ms.map_or(f64::INFINITY, |it| it as f64);
    for column in 0..frame.columns {
        put(frame.line(threshold), column, Mark::Threshold);
        let time = frame.time(column);
        if time < 0.0 {
            continue;
        }
        let (a, b) = (frame.line(at(time, earliest)), frame.line(at(time, latest)));
        (a.min(b)..=a.max(b)).for_each(|line| put(line, column, Mark::Interval));
        if time <= likely {
            put(frame.line(at(time, likely)), column, Mark::Likely);
        }
    }
    (0..frame.lines).for_each(|line| put(line, frame.column(0.0), Mark::Now));
    for (told, value) in seen.values() {
        let time = -(now.millis().saturating_sub(told.millis()) as f64);
        put(frame.line(value), frame.column(time), Mark::Seen);
    }
    put(frame.line(value), frame.column(0.0), Mark::Seen);
    marks
}

fn styled(pen: &Pen<'_>, mark: Mark) -> Span<'static> {
    let look = pen.look;
    let (symbol, style) = match mark {
        Mark::Nothing => (" ", Style::new()),
        Mark::Interval => (look.pick("░", ":"), look.style(Tone::Dim)),
        Mark::Now => (look.pick("│", "|"), look.style(Tone::Dim)),
        Mark::Threshold => (look.pick("─", "-"), look.style(Tone::Bad)),
        Mark::Likely => (look.pick("•", "*"), look.style(Tone::Warn)),
        Mark::Seen => (look.pick("●", "o"), Style::new()),
    };
    Span::styled(symbol, style)
}

/// The times below the picture.
fn axis(pen: &mut Pen<'_>, inner: Rect, frame: &Frame) {
    let line = inner.height - 1;
    let (start, end) = (span((-frame.times.0 / 1_000.0) as u64), span((frame.times.1 / 1_000.0) as u64));
    let end = format!("in {end}");
    let dim = pen.look.style(Tone::Dim);
    pen.line(
        Rect { x: inner.x + LABELS, width: inner.width - LABELS, ..inner },
        line,
        Line::styled(format!("{start} ago"), dim),
    );
    let now = LABELS + frame.column(0.0) as u16;
    pen.line(Rect { x: inner.x + now, width: (inner.width - now).min(3), ..inner }, line, Line::styled("now", dim));
    let width = end.len() as u16;
    let x = inner.x + inner.width.saturating_sub(width);
    pen.line(Rect { x, width, ..inner }, line, Line::styled(end, dim));
}
