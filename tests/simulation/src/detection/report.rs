//! Figures beside the goals they answer to.

use std::fmt::Write as _;

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What is asked, as the goals number it: `G1`.
    pub goal: &'static str,
    /// What is measured.
    pub what: String,
    /// Members of the cluster.
    pub nodes: usize,
    /// What the cluster went through.
    pub condition: String,
    /// What came out.
    pub figure: f64,
    /// Of the figure: `s`, or nothing for a count.
    pub unit: &'static str,
    /// The figure should be at most this; `None` when it is only shown.
    pub at_most: Option<f64>,
    /// Out of how many.
    pub sample: String,
}

impl Row {
    /// Whether the goal holds; `None` without one.
    pub fn is_met(&self) -> Option<bool> {
        self.at_most.map(|bound| self.figure <= bound)
    }
}

/// All figures, in the order in which they were measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The figures.
    pub rows: Vec<Row>,
}

impl Report {
    /// The figures that miss their goal.
    pub fn missed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.is_met() == Some(false))
    }

    /// A table in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| goal | what | nodes | condition | figure | aim | met? | sample |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let number = |value: f64| match row.unit {
                "" => format!("{value}"),
                unit => format!("{value:.2} {unit}"),
            };
            let aim = row.at_most.map_or("–".to_owned(), |bound| format!("≤ {}", number(bound)));
            let met = row.is_met().map_or("–", |met| if met { "yes" } else { "**no**" });
            let figure = number(row.figure);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {figure} | {aim} | {met} | {} |",
                row.goal, row.what, row.nodes, row.condition, row.sample
            );
        }
        text
    }
}
