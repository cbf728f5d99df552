//! What happened, newest first.

use super::moment;
use super::pen::{Pen, cell, plain};
use crate::layout;
use crate::state::{Row, State, shown};
use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;

pub(super) fn draw(pen: &mut Pen<'_>, state: &State, body: Rect) {
    let rows = state.rows();
    let cursor = state.cursor_in(&rows);
    let mut title = "EVENT".to_owned();
    if !state.place.filter.is_empty() {
        title.push_str(&format!(" with '{}'", shown(&state.place.filter)));
    }
    if let Some(held_back) = state.log.held_back() {
        title.push_str(&format!(", held still, {held_back} more came"));
    }
    let columns = [
        ("", Constraint::Length(1)),
        ("TIME (UTC)", Constraint::Length(12)),
        ("WHAT", Constraint::Length(12)),
        (title.as_str(), Constraint::Fill(1)),
    ];
    let places = pen.columns(body, &columns);
    let Some(list) = layout::lists(state, &rows).pop() else { return };
    for (line, index) in (0..).zip(list.rows) {
        let Some(Row::Event(serial)) = rows.get(index) else { continue };
        if let Some(noted) = state.log.get(*serial) {
            let cells = vec![
                cell(noted.tone, pen.look.symbol(noted.tone)),
                plain(moment(noted.at, state.now)),
                cell(noted.tone, noted.word.clone()),
                plain(noted.text.clone()),
            ];
            pen.row(&places, line, cells, cursor == Some(index));
        }
    }
    if rows.is_empty() {
        pen.line(body, 1, Line::raw(" nothing happened yet"));
    }
}
