//! The figures as Markdown: ours beside those of the peer, with the goals.

use super::{Figures, Question};
use crate::report::{Origin, line, write_origin};
use crate::results::median;

/// What a question is called, and which part of the peer's rate it is meant to reach; the bare server unless it says another.
const ROWS: [(Question, &str, f64); 6] = [
    (Question::Discover, "discovery", 0.85),
    (Question::Select, "select", 0.70),
    (Question::DiscoverAmongWrites, "discovery, 1,000 writes/s", 0.90 * 0.85),
    (Question::SelectAmongWrites, "select, 1,000 writes/s", 0.90 * 0.70),
    (Question::Consul, "Consul's health/service; peer: native discovery", 0.70),
    (Question::ConsulKey, "Consul's kv; peer: native kv", 0.70),
];

/// Renders everything.
pub(crate) fn render(figures: &[Figures], remarks: &[String], origin: &Origin) -> String {
    let mut text = String::new();
    write_origin(&mut text, origin);
    line(
        &mut text,
        "| question | bytes | ours /s | peer /s | ratio | goal | met? | p99 ms ours | peer | ≤ 2×? | CPU µs ours | peer |",
    );
    line(&mut text, "|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (question, name, goal) in ROWS {
        let of = |is_ours: bool, value: fn(&Figures) -> f64| -> Vec<f64> {
            figures.iter().filter(|it| it.question == question && it.is_ours == is_ours).map(value).collect()
        };
        let middle = |is_ours, value| median(&of(is_ours, value)).unwrap_or(f64::NAN);
        let rate: fn(&Figures) -> f64 = |it| it.per_second;
        let p99: fn(&Figures) -> f64 = |it| it.p99_ms;
        // Of the two runs beside each other: a machine is faster at one time than at another.
        let pairs: Vec<f64> = of(true, rate).iter().zip(of(false, rate)).map(|(ours, peer)| ours / peer).collect();
        let ratio = median(&pairs).unwrap_or(f64::NAN);
        line(
            &mut text,
            &format!(
                "| {name} | {:.0} | {} | {} | {} | ≥ {:.0} % | {} | {:.2} | {:.2} | {} | {:.1} | {:.1} |",
                middle(true, |it| it.bytes as f64),
                spread(&of(true, rate)),
                spread(&of(false, rate)),
                percent(&pairs),
                goal * 100.0,
                said(ratio >= goal),
                middle(true, p99),
                middle(false, p99),
                said(middle(true, p99) <= 2.0 * middle(false, p99)),
                middle(true, |it| it.cpu_us),
                middle(false, |it| it.cpu_us),
            ),
        );
    }
    let written: Vec<f64> = figures.iter().map(|it| it.writes_per_second).filter(|rate| *rate > 0.0).collect();
    line(&mut text, &format!("\nWrites a second in the loads with writes: {}.", spread(&written)));
    let p50 = |is_ours: bool| {
        median(&figures.iter().filter(|it| it.is_ours == is_ours).map(|it| it.p50_ms).collect::<Vec<_>>())
    };
    line(
        &mut text,
        &format!(
            "p50 over all loads: ours {:.2} ms, bare {:.2} ms.",
            p50(true).unwrap_or(f64::NAN),
            p50(false).unwrap_or(f64::NAN)
        ),
    );
    if !remarks.is_empty() {
        line(&mut text, "\nRemarks of the run:\n");
        remarks.iter().for_each(|remark| line(&mut text, &format!("- {remark}")));
    }
    text
}

/// The median with the extremes, in percent.
fn percent(ratios: &[f64]) -> String {
    let (least, most) = extremes(ratios);
    let middle = median(ratios).unwrap_or(f64::NAN);
    format!("{:.0} % [{:.0}–{:.0}]", middle * 100.0, least * 100.0, most * 100.0)
}

fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), it| (least.min(*it), most.max(*it)))
}

fn said(is_met: bool) -> &'static str {
    if is_met { "yes" } else { "**no**" }
}

/// The median with the extremes.
fn spread(values: &[f64]) -> String {
    let (least, most) = extremes(values);
    median(values).map_or_else(|| "–".to_owned(), |middle| format!("{middle:.0} [{least:.0}–{most:.0}]"))
}
