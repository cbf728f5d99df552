//! The figures as Markdown: a goal beside each of ours, Serf's beside both.

use super::{Figures, System};
use crate::report::{Origin, line, number, write_origin};
use crate::results::median;

/// A row of the table: what it shows, and the most that it may be.
struct Row {
    figure: &'static str,
    value: fn(&Figures) -> Option<f64>,
    /// `None` is shown without a goal.
    at_most: Option<f64>,
}

const ROWS: [Row; 7] = [
    Row { figure: "crash seen by the first, p50 ms", value: |figures| quantile(&figures.first_ms, 0.5), at_most: None },
    Row { figure: "crash seen by all, p50 ms", value: |figures| quantile(&figures.all_ms, 0.5), at_most: Some(1800.0) },
    Row {
        figure: "crash seen by all, p99 ms",
        value: |figures| quantile(&figures.all_ms, 0.99),
        at_most: Some(2500.0),
    },
    Row { figure: "false deaths", value: |figures| Some(figures.false_deaths as f64), at_most: Some(0.0) },
    Row { figure: "CPU at rest, % of a core per node", value: |figures| Some(figures.cpu_percent), at_most: Some(1.0) },
    Row {
        figure: "gossip sent at rest, KB/s per node",
        value: |figures| figures.bytes_per_second.map(|bytes| bytes / 1e3),
        at_most: Some(20.0),
    },
    Row { figure: "RSS of the largest node, MB", value: |figures| Some(figures.rss_mb), at_most: Some(40.0) },
];

/// Renders everything.
pub(crate) fn render(figures: &[Figures], remarks: &[String], origin: &Origin) -> String {
    let mut text = String::new();
    write_origin(&mut text, origin);
    line(&mut text, "| nodes | figure | Rollcall | Serf | better by | goal | met? |");
    line(&mut text, "|---|---|---|---|---|---|---|");
    let mut sizes: Vec<usize> = figures.iter().map(|figures| figures.nodes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for nodes in sizes {
        let of = |system| figures.iter().find(|figures| figures.nodes == nodes && figures.system == system);
        let (ours, serf) = (of(System::Rollcall), of(System::Serf));
        for row in &ROWS {
            line(&mut text, &write_row(nodes, row, ours.and_then(row.value), serf.and_then(row.value)));
        }
        let kills = |figures: Option<&Figures>| figures.map_or("–".to_owned(), |it| it.all_ms.len().to_string());
        line(&mut text, &format!("| {nodes} | kills | {} | {} | – | – | – |", kills(ours), kills(serf)));
    }
    if !remarks.is_empty() {
        line(&mut text, "\nRemarks of the run:\n");
        remarks.iter().for_each(|remark| line(&mut text, &format!("- {remark}")));
    }
    text
}

fn write_row(nodes: usize, row: &Row, ours: Option<f64>, serf: Option<f64>) -> String {
    let missing = || "–".to_owned();
    let ratio = ours.zip(serf).filter(|(ours, serf)| *ours > 0.0 && *serf > 0.0);
    let met = ours.zip(row.at_most).map(|(ours, bound)| if ours <= bound { "yes" } else { "**no**" });
    format!(
        "| {nodes} | {} | {} | {} | {} | {} | {} |",
        row.figure,
        ours.map_or_else(missing, number),
        serf.map_or_else(missing, number),
        ratio.map_or_else(missing, |(ours, serf)| format!("{:.2}×", serf / ours)),
        row.at_most.map_or_else(missing, |bound| format!("≤ {bound}")),
        met.unwrap_or("–"),
    )
}

/// The median, or the nearest rank of another quantile; `None` without values.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    if share == 0.5 {
        return median(&sorted);
    }
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(system: System, all_ms: &[f64]) -> Figures {
        Figures {
            system,
            nodes: 3,
            first_ms: all_ms.to_vec(),
            all_ms: all_ms.to_vec(),
            false_deaths: 0,
            cpu_percent: 0.5,
            bytes_per_second: None,
            rss_mb: 14.0,
        }
    }

    #[test]
    fn a_missed_goal_is_shown_as_missed() {
        let text = || "x".to_owned();
        let origin = Origin { machine: text(), versions: vec![text()], command: text(), date: text(), shape: text() };
        let both = [figures(System::Rollcall, &[1000.0, 3000.0, 1500.0]), figures(System::Serf, &[6000.0])];
        let report = render(&both, &[], &origin);
        for row in [
            "| 3 | crash seen by all, p50 ms | 1500 | 6000 | 4.00× | ≤ 1800 | yes |",
            "| 3 | crash seen by all, p99 ms | 3000 | 6000 | 2.00× | ≤ 2500 | **no** |",
            "| 3 | gossip sent at rest, KB/s per node | – | – | – | ≤ 20 | – |",
            "| 3 | kills | 3 | 1 | – | – | – |",
        ] {
            assert!(report.contains(row), "{row}\n{report}");
        }
    }
}
