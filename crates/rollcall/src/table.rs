//! Tables that line up: one header, one row per item, columns two spaces apart, nothing cut off.
//!
//! Rejected: boxes and truncation to the width of the terminal. Output of this kind is read by eye, searched with grep
//! and copied from; a cut id is useless for all three.

use unicode_width::UnicodeWidthStr as _;

use crate::terminal::{Paint, Tone, printable};

const GAP: &str = "  ";

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A value with a tone.
    pub(crate) fn toned(tone: Tone, text: impl AsRef<str>) -> Self {
        // A line end inside a value would break the row.
        Self { text: printable(text.as_ref()).replace('\n', "\\n"), tone }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::toned(Tone::Plain, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::toned(Tone::Plain, text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::toned(Tone::Plain, number.to_string())
    }
}

impl<T: AsRef<str>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(|| Self::toned(Tone::Dim, "-"), |text| Self::toned(Tone::Plain, text))
    }
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<&'static str>,
    /// Columns whose values are numbers, aligned at the right.
    numeric: Vec<usize>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table with its column names.
    pub(crate) fn new<const N: usize>(columns: [&'static str; N]) -> Self {
        Self { columns: columns.to_vec(), numeric: Vec::new(), rows: Vec::new() }
    }

    /// Aligns the named columns at the right.
    pub(crate) fn numeric(mut self, names: &[&str]) -> Self {
        self.numeric = (0..self.columns.len()).filter(|&index| names.contains(&self.columns[index])).collect();
        self
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If the number of cells is not the number of columns.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        assert_eq!(N, self.columns.len(), "a row has one cell per column");
        self.rows.push(cells.to_vec());
    }

    /// The table as text, a line per row, without trailing blanks.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let header: Vec<Cell> = self.columns.iter().map(|name| Cell::toned(Tone::Strong, name)).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = self.rows.iter().chain([&header]).map(|row| row[column].text.width());
                cells.max().unwrap_or_default()
            })
            .collect();
        let mut text = String::new();
        for row in [&header].into_iter().chain(&self.rows) {
            self.render_row(row, &widths, paint, &mut text);
        }
        text
    }

    fn render_row(&self, row: &[Cell], widths: &[usize], paint: Paint, text: &mut String) {
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column] - cell.text.width());
            let is_last = column + 1 == row.len();
            if column > 0 {
                text.push_str(GAP);
            }
            if self.numeric.contains(&column) {
                text.push_str(&padding);
            }
            text.push_str(&paint.tone(cell.tone, &cell.text));
            if !self.numeric.contains(&column) && !is_last {
                text.push_str(&padding);
            }
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_width_of_the_characters() {
        let mut table = Table::new(["SERVICE", "COUNT", "OWNER"]).numeric(&["COUNT"]);
        table.row(["web".into(), 3_u64.into(), Some("platform").into()]);
        table.row(["検索".into(), 120_u64.into(), None::<&str>.into()]);
        assert_eq!(
            table.render(Paint::plain()),
            "SERVICE  COUNT  OWNER\n\
             web          3  platform\n\
             検索       120  -\n"
        );
    }

    #[test]
    fn a_value_stays_on_its_row() {
        let mut table = Table::new(["ID"]);
        table.row(["a\nb\u{7}".into()]);
        assert_eq!(table.render(Paint::plain()), "ID\na\\nb\\u{7}\n");
    }
}
