//! Where things are on a screen of a given size: drawing and the mouse read the same map.

use std::ops::Range;

use ratatui::layout::Rect;

use crate::state::{Prompt, Row, State, View};
use crate::verdict::verdict;

/// Titles of the tabs, in order.
pub(crate) const TABS: [&str; 4] = ["1 Overview", "2 Services", "3 Cluster", "4 Events"];
/// Below this many columns or rows only the verdict is drawn.
const SIZE_MIN: (u16, u16) = (50, 12);
/// Problems that are told below the verdict.
const PROBLEMS_MAX: usize = 4;

/// The parts of every screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Areas {
    /// Tabs and connection.
    pub(crate) header: Rect,
    pub(crate) verdict: Rect,
    pub(crate) body: Rect,
    /// Keys, or what was said last.
    pub(crate) footer: Rect,
}

/// A list on the screen: the lines of its rows, and which rows they show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListArea {
    pub(crate) lines: Rect,
    pub(crate) rows: Range<usize>,
}

pub(crate) fn is_tiny(size: (u16, u16)) -> bool {
    size.0 < SIZE_MIN.0 || size.1 < SIZE_MIN.1
}

/// The parts of a screen of `size`.
pub(crate) fn areas((width, height): (u16, u16)) -> Areas {
    let line = |y: u16| Rect::new(0, y.min(height), width, u16::from(y < height));
    Areas {
        header: line(0),
        verdict: line(1),
        body: Rect::new(0, 2.min(height), width, height.saturating_sub(3)),
        footer: line(height.saturating_sub(1).max(2)),
    }
}

/// Each tab with its place.
pub(crate) fn tabs() -> [(Rect, View); 4] {
    let views = [View::Overview, View::Services, View::Cluster, View::Events];
    let mut x = 0;
    let mut next = 0;
    views.map(|view| {
        let width = TABS[next].chars().count() as u16 + 2;
        let area = Rect::new(x, 0, width, 1);
        (x, next) = (x + width, next + 1);
        (area, view)
    })
}

/// How the overview divides its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverviewAreas {
    pub(crate) problems: Rect,
    pub(crate) nodes: Rect,
    pub(crate) services: Rect,
    pub(crate) predicted: Rect,
    pub(crate) events: Rect,
}

pub(crate) fn overview(state: &State, body: Rect) -> OverviewAreas {
    let told = verdict(state).problems.len().saturating_sub(1).min(PROBLEMS_MAX) as u16;
    let predicted = state.catalog.predictions(state.now).len();
    let nodes = state.nodes.members.len().max(3) as u16;
    let (problems, rest) = split(body, told);
    let half = rest.height / 2;
    let (top, rest) = split(rest, (nodes + 2).clamp(6, half.max(6)));
    let (predicted, events) = split(rest, (predicted as u16 + 2).clamp(3, (rest.height / 2).max(3)));
    let left = Rect { width: top.width / 2, ..top };
    let right = Rect { x: top.x + left.width, width: top.width - left.width, ..top };
    OverviewAreas { problems, nodes: left, services: right, predicted, events }
}

/// The first `height` lines, and the rest.
pub(crate) fn split(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    let rest = Rect { y: area.y + height, height: area.height - height, ..area };
    (Rect { height, ..area }, rest)
}

/// What a frame around it leaves of an area.
pub(crate) fn inside(area: Rect) -> Rect {
    Rect {
        x: area.x.saturating_add(1),
        y: area.y.saturating_add(1),
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(2),
    }
}

/// Height of the chart above the instances of a service, when it has room for one.
pub(crate) fn chart_height(state: &State, body: Rect) -> u16 {
    let has_prediction = match &state.place.view {
        View::Service(name) => state
            .catalog
            .services
            .get(name)
            .is_some_and(|service| service.instances.values().any(|seen| seen.prediction(state.now).is_some())),
        View::Instance(service, id) => {
            state.catalog.seen(service, id).is_some_and(|seen| seen.prediction(state.now).is_some())
        }
        _ => false,
    };
    if has_prediction { (body.height / 3).clamp(6, 12) } else { 0 }
}

/// The part of a view's body in which its list has its header line and its rows.
pub(crate) fn list_body(state: &State, body: Rect) -> Rect {
    match &state.place.view {
        View::Service(_) => {
            let (_, rest) = split(body, 2);
            split(rest, rest.height.saturating_sub(chart_height(state, body))).0
        }
        View::Explain(_) | View::Graph => {
            let (_, rest) = split(body, 1);
            // The titles and all rows, but no more than half: below is what is said of the row under the cursor.
            let wanted = u16::try_from(state.rows().len().max(1) + 1).unwrap_or(u16::MAX);
            split(rest, wanted.min(rest.height / 2).max(2)).0
        }
        View::Cluster => split(body, state.nodes.members.len().max(3) as u16 + 1).0,
        _ => body,
    }
}

/// The lists of the open view.
pub(crate) fn lists(state: &State, rows: &[Row]) -> Vec<ListArea> {
    let body = areas(state.size).body;
    let cursor = state.cursor_in(rows).unwrap_or_default();
    match &state.place.view {
        View::Overview => {
            let areas = overview(state, body);
            let services = rows.iter().take_while(|row| matches!(row, Row::Service(_))).count();
            // The first line of the services counts them by state.
            let (_, list) = split(inside(areas.services), 1);
            vec![window(list, 0..services, cursor), window(inside(areas.predicted), services..rows.len(), cursor)]
        }
        View::Instance(..) => Vec::new(),
        _ => {
            let (_, lines) = split(list_body(state, body), 1);
            vec![window(lines, 0..rows.len(), cursor)]
        }
    }
}

/// The rows that fit, with the cursor near the middle.
fn window(lines: Rect, all: Range<usize>, cursor: usize) -> ListArea {
    let height = usize::from(lines.height).min(all.len());
    let cursor = cursor.clamp(all.start, all.end.max(all.start + 1) - 1);
    let first = cursor.saturating_sub(height / 2).clamp(all.start, all.end - height);
    ListArea { lines, rows: first..first + height }
}

/// The row at this place of the screen.
pub(crate) fn row_at(state: &State, rows: &[Row], column: u16, line: u16) -> Option<usize> {
    if state.prompt.is_some() && state.prompt != Some(Prompt::Filter) {
        return None;
    }
    lists(state, rows).into_iter().find_map(|list| {
        let is_inside = list.lines.contains((column, line).into());
        let index = list.rows.start + usize::from(line.checked_sub(list.lines.y)?);
        (is_inside && list.rows.contains(&index)).then_some(index)
    })
}
