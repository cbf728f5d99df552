//! Lines, frames, tables and small pictures, within the screen whatever its size.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget as _};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::layout::inside;
use crate::state::Trace;
use crate::theme::Look;
use crate::verdict::Tone;

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// A cell of a table.
pub(super) struct Cell {
    pub(super) tone: Tone,
    pub(super) text: String,
}

pub(super) fn cell(tone: Tone, text: impl Into<String>) -> Cell {
    Cell { tone, text: text.into() }
}

pub(super) fn plain(text: impl Into<String>) -> Cell {
    cell(Tone::Plain, text)
}

/// Writes into a buffer, and nowhere beside it.
pub(super) struct Pen<'a> {
    buffer: &'a mut Buffer,
    pub(super) look: Look,
}

impl<'a> Pen<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, look: Look) -> Self {
        Self { buffer, look }
    }

    /// Writes a line of `area`, counted from 0. What does not fit is cut, and the end says so.
    pub(super) fn line(&mut self, area: Rect, index: u16, mut line: Line<'_>) {
        if index >= area.height {
            return;
        }
        if let [only] = &mut line.spans[..] {
            only.content = self.cut(&only.content, usize::from(area.width)).into();
        }
        let area = Rect { y: area.y + index, height: 1, ..area }.intersection(self.buffer.area);
        line.render(area, self.buffer);
    }

    /// A symbol and a text of one tone.
    pub(super) fn marked(&self, tone: Tone, text: &str) -> Line<'static> {
        Line::styled(format!(" {} {}", self.look.symbol(tone), self.ascii(text)), self.look.style(tone))
    }

    /// Draws a frame with a title, and returns what is inside.
    pub(super) fn framed(&mut self, area: Rect, title: &str) -> Rect {
        let set = if self.look.is_ascii { ASCII_BORDER } else { border::PLAIN };
        let title = Span::styled(format!(" {} ", self.ascii(title)), Style::new().add_modifier(Modifier::BOLD));
        let dim = Style::new().add_modifier(Modifier::DIM);
        Block::bordered()
            .border_set(set)
            .border_style(dim)
            .title(title)
            .render(area.intersection(self.buffer.area), self.buffer);
        inside(area)
    }

    /// The titles of columns, and where each column is.
    pub(super) fn columns(&mut self, area: Rect, columns: &[(&str, Constraint)]) -> Vec<Rect> {
        let widths = Layout::horizontal(columns.iter().map(|(_, width)| *width)).spacing(1).split(area);
        for ((title, _), place) in columns.iter().zip(widths.iter()) {
            let style = Style::new().add_modifier(Modifier::BOLD | Modifier::DIM);
            self.line(*place, 0, Line::styled((*title).to_owned(), style));
        }
        widths.to_vec()
    }

    /// One row below [`Self::columns`]: `at` counts from the line after the titles.
    pub(super) fn row(&mut self, columns: &[Rect], at: u16, cells: Vec<Cell>, has_cursor: bool) {
        for (place, cell) in columns.iter().zip(cells) {
            let text = self.cut(&self.ascii(&cell.text), usize::from(place.width));
            let style = self.look.style(cell.tone);
            let below = Rect { height: place.height.saturating_sub(1), y: place.y + 1, ..*place };
            self.line(below, at, Line::styled(text, style));
        }
        if let (true, Some(first), Some(last)) = (has_cursor, columns.first(), columns.last()) {
            let area = Rect::new(first.x, first.y + 1 + at, (last.x + last.width).saturating_sub(first.x), 1);
            if at + 1 < first.height {
                self.buffer.set_style(area.intersection(self.buffer.area), Look::cursor());
            }
        }
    }

    /// Reverses a line that the cursor is on.
    pub(super) fn cursor(&mut self, area: Rect, index: u16) {
        if index < area.height {
            let line = Rect { y: area.y + index, height: 1, ..area };
            self.buffer.set_style(line.intersection(self.buffer.area), Look::cursor());
        }
    }

    pub(super) fn dim(&mut self, area: Rect) {
        self.buffer.set_style(area.intersection(self.buffer.area), Style::new().add_modifier(Modifier::DIM));
    }

    /// Blanks an area that something is drawn over.
    pub(super) fn clear(&mut self, area: Rect) {
        ratatui::widgets::Clear.render(area.intersection(self.buffer.area), self.buffer);
    }

    /// What fits into `width` columns, with an end that says so when it was cut.
    pub(super) fn cut(&self, text: &str, width: usize) -> String {
        if text.width() <= width {
            return text.to_owned();
        }
        let end = self.look.pick("…", "~");
        let (mut kept, mut used) = (String::new(), 1);
        for letter in text.chars() {
            used += letter.width().unwrap_or(0);
            if used > width {
                break;
            }
            kept.push(letter);
        }
        if width > 0 { kept + end } else { kept }
    }

    /// The text, in ASCII where the terminal has nothing else. Names of others that need more are shown with `?`.
    pub(super) fn ascii(&self, text: &str) -> String {
        if !self.look.is_ascii {
            return text.to_owned();
        }
        text.chars()
            .map(|letter| match letter {
                '↑' => '^',
                '↓' => 'v',
                '→' => '>',
                '←' => '<',
                '…' => '~',
                '·' => '-',
                letter if letter.is_ascii() => letter,
                _ => '?',
            })
            .collect()
    }

    /// The last values as bars, from `low` to `high`.
    pub(super) fn spark(&self, trace: &Trace, width: usize, (low, high): (f64, f64)) -> String {
        let bars = self.look.bars();
        let skip = trace.values().len().saturating_sub(width);
        let height = |value: f64| {
            let share = ((value - low) / (high - low).max(f64::EPSILON)).clamp(0.0, 1.0);
            bars[(share * 7.0).round() as usize]
        };
        trace.values().skip(skip).map(|(_, value)| height(value)).collect()
    }

    /// A share of 1 as a bar of `width` columns.
    pub(super) fn bar(&self, share: f64, width: usize) -> String {
        let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
        let (on, off) = (self.look.pick("█", "#"), self.look.pick("░", "."));
        on.repeat(full) + &off.repeat(width - full)
    }
}
