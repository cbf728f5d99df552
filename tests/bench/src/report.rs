//! The results as Markdown: the goals with what was reached, then every figure, then the remarks. Losses are shown too.

use std::fmt::Write as _;

use crate::goals::{self, Aim, Goal};
use crate::results::{Quantity, Results, Subject};

/// All systems, in the order of the rows.
const SUBJECTS: [Subject; 3] = [Subject::Rollcall, Subject::Etcd, Subject::Zookeeper];

/// Where the figures come from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) machine: String,
    pub(crate) versions: Vec<String>,
    pub(crate) command: String,
    pub(crate) date: String,
    /// Runs, lengths and counts in one line.
    pub(crate) shape: String,
}

/// Renders everything.
pub(crate) fn render(results: &Results, origin: &Origin, instances: u64, watchers: usize) -> String {
    let mut text = String::new();
    write_origin(&mut text, origin);
    write_goals(&mut text, results, &goals::all(instances, watchers));
    write_figures(&mut text, results);
    write_notes(&mut text, results);
    text
}

/// The lines that say where the figures come from.
pub(crate) fn write_origin(text: &mut String, origin: &Origin) {
    line(text, &format!("- Machine: {}", origin.machine));
    line(text, &format!("- Versions: {}", origin.versions.join("; ")));
    line(text, &format!("- Command: `{}`", origin.command));
    line(text, &format!("- Date: {}", origin.date));
    line(text, &format!("- Shape: {}\n", origin.shape));
}

fn write_goals(text: &mut String, results: &Results, goals: &[Goal]) {
    let rows: Vec<String> = goals.iter().filter_map(|goal| goal_row(results, goal)).collect();
    if rows.is_empty() {
        return;
    }
    line(text, "| workload | figure | ours | peer | better by (pairs) | goal | met? |");
    line(text, "|---|---|---|---|---|---|---|");
    for row in rows {
        line(text, &row);
    }
    line(text, "");
}

/// `None` when we were not measured.
fn goal_row(results: &Results, goal: &Goal) -> Option<String> {
    let ours = cell(results, &goal.ours, Subject::Rollcall, goal)?;
    let (subject, workload) = (goal.peer.0, goal.peer.1.as_str());
    let other = if workload == goal.ours { String::new() } else { format!(" ({workload})") };
    let peer = cell(results, workload, subject, goal).map(|figure| format!("{subject}{other}: {figure}"));
    let has_ratio = !goal.quantity.is_count() && goal.quantity != Quantity::SyncsPerOp;
    let ratio = results.ratio((&goal.ours, Subject::Rollcall), (workload, subject), goal.quantity);
    let ratio = ratio.filter(|_| has_ratio).map(|ratio| {
        let pairs = ratio.pairs.map(|(low, high)| format!(" ({low:.2}–{high:.2})")).unwrap_or_default();
        format!("{:.2}×{pairs}", ratio.of_medians)
    });
    let aim = match goal.aim {
        Aim::TimesBetter(factor) => format!("≥ {factor}×"),
        Aim::AtLeast(bound) => format!("≥ {bound}"),
        Aim::AtMost(bound) => format!("≤ {bound}"),
        Aim::WorstAtMost(bound) => format!("worst ≤ {bound}"),
        Aim::None => "0".to_owned(),
        Aim::Shown => "–".to_owned(),
    };
    let met = goal.is_met(results).map_or("–", |met| if met { "yes" } else { "**no**" });
    let missing = || "–".to_owned();
    Some(format!(
        "| {} | {} | {ours} | {} | {} | {aim} | {met} |",
        goal.ours,
        goal.quantity.heading(),
        peer.unwrap_or_else(missing),
        ratio.unwrap_or_else(missing),
    ))
}

fn cell(results: &Results, workload: &str, subject: Subject, goal: &Goal) -> Option<String> {
    let summary = results.summary(workload, subject, goal.quantity)?;
    Some(match goal.aim {
        Aim::WorstAtMost(_) => format!("{} of {}", number(summary.max), summary.count),
        _ if goal.quantity.is_count() => number(summary.sum),
        _ => number(summary.median),
    })
}

/// One table per workload: a row for each system, a column for each quantity.
fn write_figures(text: &mut String, results: &Results) {
    for workload in results.workloads() {
        let quantities = results.quantities(workload);
        line(text, &format!("**{workload}**\n"));
        let headings: Vec<&str> = quantities.iter().map(|quantity| quantity.heading()).collect();
        line(text, &format!("| | {} | runs |", headings.join(" | ")));
        line(text, &format!("|---|{}---|", "---|".repeat(quantities.len())));
        for subject in SUBJECTS {
            if let Some(row) = figure_row(results, workload, subject, &quantities) {
                line(text, &row);
            }
        }
        line(text, "");
    }
}

fn figure_row(results: &Results, workload: &str, subject: Subject, quantities: &[Quantity]) -> Option<String> {
    let summaries: Vec<_> =
        quantities.iter().map(|quantity| (*quantity, results.summary(workload, subject, *quantity))).collect();
    let runs = summaries.iter().find_map(|(_, summary)| *summary)?;
    let cells: Vec<String> = summaries
        .into_iter()
        .map(|(quantity, summary)| match summary {
            None => "–".to_owned(),
            Some(summary) if quantity.is_count() => number(summary.sum),
            Some(summary) if summary.count == 1 => number(summary.median),
            Some(summary) => {
                format!("{} [{}–{}]", number(summary.median), number(summary.min), number(summary.max))
            }
        })
        .collect();
    let left_out = if runs.left_out > 0 { format!(", {} noisy left out", runs.left_out) } else { String::new() };
    Some(format!("| {subject} | {} | {}{left_out} |", cells.join(" | "), runs.count))
}

fn write_notes(text: &mut String, results: &Results) {
    if results.notes().is_empty() {
        return;
    }
    line(text, "Remarks of the run:\n");
    for note in results.notes() {
        // A log tail has several lines; indented, they stay part of their item.
        line(text, &format!("- {}", note.replace('\n', "\n  ")));
    }
}

/// Three or so significant digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Appends a line.
pub(crate) fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::writes;

    fn origin() -> Origin {
        let text = || "x".to_owned();
        Origin { machine: text(), versions: vec![text()], command: text(), date: text(), shape: text() }
    }

    #[test]
    fn a_missed_goal_is_shown_as_missed() {
        let mut results = Results::default();
        let workload = writes::workload(64);
        for (subject, value) in [(Subject::Rollcall, 1500.0), (Subject::Etcd, 1000.0)] {
            results.record(&workload, subject, 0, false, Quantity::OpsPerSecond, value);
        }
        let report = render(&results, &origin(), 1, 1);
        let row = "| write 256 B, 64 clients | ops/s | 1500 | etcd: 1000 | 1.50× (1.50–1.50) | ≥ 2× | **no** |";
        assert!(report.contains(row), "{report}");
    }

    #[test]
    fn a_peer_alone_has_figures_but_no_goals() {
        let mut results = Results::default();
        results.record(&writes::workload(64), Subject::Etcd, 0, false, Quantity::OpsPerSecond, 1000.0);
        let report = render(&results, &origin(), 1, 1);
        assert!(!report.contains("goal") && report.contains("| etcd | 1000 | 1 |"), "{report}");
    }
}
