//! What lies over a view: the help, made from the table of keys, and the question before an action.

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::pen::Pen;
use crate::keys::{BINDINGS, Scope};
use crate::message::Action;
use crate::state::State;
use crate::verdict::Tone;

/// Columns of the names of keys.
const KEYS: usize = 9;

pub(super) fn draw(pen: &mut Pen<'_>, state: &State, body: Rect) {
    // Where not all of them fit, those of other views are left out, and what everybody tries anyway.
    let fit = BINDINGS.len() + 2 <= usize::from(body.height);
    let told: Vec<_> =
        BINDINGS.iter().filter(|it| fit || (it.scope.covers(&state.place.view) && !it.command.is_far_step())).collect();
    let inner = over(pen, body, (76, told.len() as u16 + 2), "Keys; any key closes this");
    for (line, binding) in (0..).zip(told) {
        let is_here = binding.scope.covers(&state.place.view);
        let style = if is_here { Style::new() } else { Style::new().add_modifier(Modifier::DIM) };
        let label = format!(" {:<KEYS$}", pen.ascii(binding.label));
        let place = if binding.scope == Scope::Everywhere { "" } else { where_it_works(binding.scope) };
        let text = vec![
            Span::styled(label, style.add_modifier(Modifier::BOLD)),
            Span::styled(format!("{}{place}", pen.ascii(binding.help)), style),
        ];
        pen.line(inner, line, Line::from(text));
    }
}

const fn where_it_works(scope: Scope) -> &'static str {
    match scope {
        Scope::Everywhere => "",
        Scope::Filtered => " (lists)",
        Scope::Explained => " (services, instances)",
        Scope::Services => " (services)",
        Scope::Instances => " (instances)",
        Scope::Cluster => " (cluster)",
        Scope::Events => " (events)",
    }
}

pub(super) fn confirm(pen: &mut Pen<'_>, body: Rect, action: &Action) {
    let text = action.to_string();
    let width = (text.chars().count() as u16 + 6).max(action.consequence().len() as u16 + 6);
    let inner = over(pen, body, (width, 6), "Are you sure?");
    pen.line(inner, 0, Line::styled(format!(" {text}?"), pen.look.style(Tone::Warn)));
    pen.line(inner, 1, Line::raw(format!(" {}", action.consequence())));
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let keys =
        vec![Span::styled(" y", bold), Span::raw(" yes   "), Span::styled("any other key", bold), Span::raw(" no")];
    pen.line(inner, 3, Line::from(keys));
}

/// A frame in the middle of `body`, as large as wanted or as there is room.
fn over(pen: &mut Pen<'_>, body: Rect, (width, height): (u16, u16), title: &str) -> Rect {
    let (width, height) = (width.min(body.width), height.min(body.height));
    let area = Rect { x: body.x + (body.width - width) / 2, y: body.y + (body.height - height) / 2, width, height };
    pen.clear(area);
    pen.framed(area, title)
}
