//! The figures as Markdown: a goal beside each.

use super::Row;
use crate::report::{Origin, line, number, write_origin};

/// Renders everything.
pub(crate) fn render(rows: &[Row], remarks: &[String], origin: &Origin) -> String {
    let mut text = String::new();
    write_origin(&mut text, origin);
    line(&mut text, "| nodes | figure | reached | goal | met? |");
    line(&mut text, "|---|---|---|---|---|");
    for row in rows {
        let Row { nodes, figure, value, at_most } = row;
        let goal = at_most.map_or_else(|| "–".to_owned(), |bound| format!("≤ {bound}"));
        let met = at_most.map_or("–", |bound| if *value <= bound { "yes" } else { "**no**" });
        line(&mut text, &format!("| {nodes} | {figure} | {} | {goal} | {met} |", number(*value)));
    }
    if !remarks.is_empty() {
        line(&mut text, "\nRemarks of the run:\n");
        remarks.iter().for_each(|remark| line(&mut text, &format!("- {remark}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_shown_as_missed_and_a_missing_figure_meets_none() {
        let text = || "x".to_owned();
        let origin = Origin { machine: text(), versions: vec![text()], command: text(), date: text(), shape: text() };
        let row = |value, at_most| Row { nodes: 10, figure: "p99 ms", value, at_most };
        let rows = [row(350.0, Some(400.0)), row(450.0, Some(400.0)), row(f64::NAN, Some(400.0)), row(1.0, None)];
        let report = render(&rows, &["noisy".to_owned()], &origin);
        for expected in [
            "| 10 | p99 ms | 350 | ≤ 400 | yes |",
            "| 10 | p99 ms | 450 | ≤ 400 | **no** |",
            "| 10 | p99 ms | NaN | ≤ 400 | **no** |",
            "| 10 | p99 ms | 1 | – | – |",
            "- noisy",
        ] {
            assert!(report.contains(expected), "{expected}\n{report}");
        }
    }
}
