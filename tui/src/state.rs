//! Everything the dashboard knows and everything it shows of it; changed by `update` only.

mod catalog;
mod explained;
mod graph;
mod log;
mod nodes;
mod rows;
mod trace;
mod wants;

use rollcall_api::Timestamp;
use rollcall_api::words::one_line;

use crate::layout;
use crate::message::{Action, InstanceDetail};
use crate::theme::Look;
use crate::verdict::Tone;

pub use catalog::INSTANCES_MAX;
pub(crate) use catalog::{Catalog, Prediction, Seen, Service};
pub(crate) use explained::Explained;
pub(crate) use graph::Graph;
pub(crate) use log::{Log, Noted};
pub(crate) use nodes::Nodes;
pub(crate) use rows::Row;
pub(crate) use trace::Trace;
pub(crate) use wants::Wants;

/// Silence after which what is shown is called old: a quiet node says something every 10 s.
const STALE_AFTER_MS: u64 = 15_000;
/// Places to go back to.
const BACK_MAX: usize = 16;

/// A page of the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Is all well?
    Overview,
    /// All services.
    Services,
    /// One service: its instances.
    Service(String),
    /// One instance, by service and id.
    Instance(String, String),
    /// Why the instances of a service would be picked or not.
    Explain(String),
    /// Which services need which.
    Graph,
    /// Members and Raft.
    Cluster,
    /// What happened.
    Events,
}

impl View {
    /// Which tab it belongs to.
    pub(crate) const fn tab(&self) -> usize {
        match self {
            Self::Overview => 0,
            Self::Services | Self::Service(_) | Self::Instance(..) | Self::Explain(_) | Self::Graph => 1,
            Self::Cluster => 2,
            Self::Events => 3,
        }
    }
}

/// The connection as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Link {
    /// Address of the node that is followed, or tried.
    pub(crate) node: String,
    pub(crate) is_connected: bool,
    /// When the last connection was lost.
    pub(crate) lost_at: Option<Timestamp>,
    /// Why.
    pub(crate) reason: String,
    /// Its place among the known nodes, from 1, and how many there are.
    pub(crate) place: (usize, usize),
    /// Where it was connected before.
    pub(crate) before: Option<String>,
}

/// How services are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sort {
    #[default]
    Trouble,
    Name,
    Size,
    Score,
}

impl Sort {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Trouble => "worst first",
            Self::Name => "by name",
            Self::Size => "largest first",
            Self::Score => "lowest score first",
        }
    }

    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Name,
            Self::Name => Self::Size,
            Self::Size => Self::Score,
            Self::Score => Self::Trouble,
        }
    }
}

/// A view with what was chosen in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) view: View,
    pub(crate) cursor: Option<Row>,
    /// Where the cursor was, for when its row is gone.
    pub(crate) index: usize,
    pub(crate) filter: String,
}

impl Place {
    pub(crate) fn new(view: View) -> Self {
        Self { view, cursor: None, index: 0, filter: String::new() }
    }
}

/// What lies over the view and takes the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt {
    Help,
    /// The filter is being typed.
    Filter,
    Confirm(Action),
}

/// A line at the bottom that was said lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) tone: Tone,
    pub(crate) text: String,
    pub(crate) at: Timestamp,
}

/// Everything the dashboard knows and shows.
#[derive(Debug)]
pub struct State {
    pub(crate) look: Look,
    /// Columns and rows of the terminal.
    pub(crate) size: (u16, u16),
    pub(crate) now: Timestamp,
    pub(crate) link: Link,
    /// When the connected node last said anything.
    pub(crate) heard_at: Option<Timestamp>,
    pub(crate) catalog: Catalog,
    pub(crate) nodes: Nodes,
    pub(crate) log: Log,
    /// The instance that is open.
    pub(crate) detail: Option<(Timestamp, Box<InstanceDetail>)>,
    /// The service that is open, explained.
    pub(crate) explained: Option<Explained>,
    /// The graph, or why there is none.
    pub(crate) graph: Option<Result<Graph, String>>,
    pub(crate) latencies: std::collections::BTreeMap<(String, String), Trace>,
    pub(crate) place: Place,
    pub(crate) back: Vec<Place>,
    pub(crate) sort: Sort,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) notice: Option<Notice>,
    pub(crate) wants: Wants,
}

impl State {
    /// A dashboard that has seen nothing yet, on a terminal of so many columns and rows.
    pub fn new(look: Look, size: (u16, u16), now: Timestamp) -> Self {
        Self {
            look,
            size,
            now,
            link: Link::default(),
            heard_at: None,
            catalog: Catalog::default(),
            nodes: Nodes::default(),
            log: Log::default(),
            detail: None,
            explained: None,
            graph: None,
            latencies: std::collections::BTreeMap::new(),
            place: Place::new(View::Overview),
            back: Vec::new(),
            sort: Sort::default(),
            prompt: None,
            notice: None,
            wants: Wants::default(),
        }
    }

    /// The view that is open.
    pub fn view(&self) -> &View {
        &self.place.view
    }

    /// Opens a view.
    pub fn open(&mut self, view: View) {
        if view == self.place.view {
            return;
        }
        let left = std::mem::replace(&mut self.place, Place::new(view));
        if self.back.len() == BACK_MAX {
            self.back.remove(0);
        }
        self.back.push(left);
        self.want_view();
    }

    /// Whether everything that was asked for is there: a picture drawn now is complete.
    pub fn is_complete(&self) -> bool {
        self.link.is_connected
            && self.catalog.is_complete()
            && self.catalog.reported_at.is_some()
            && self.nodes.figures_at.is_some()
            && self.wants.is_idle(self.now)
            && match &self.place.view {
                View::Instance(service, id) => self.detail.is_some() || self.catalog.seen(service, id).is_none(),
                _ => true,
            }
    }

    /// Why the connection was lost last, if it was.
    pub fn trouble(&self) -> Option<&str> {
        Some(self.link.reason.as_str()).filter(|reason| !reason.is_empty())
    }

    /// For how long nothing was heard, when that is too long to trust what is shown.
    pub(crate) fn stale_ms(&self) -> Option<u64> {
        let silent = self.now.millis().saturating_sub(self.heard_at?.millis());
        (!self.link.is_connected || silent >= STALE_AFTER_MS).then_some(silent)
    }

    pub(crate) fn say(&mut self, tone: Tone, text: impl Into<String>) {
        self.notice = Some(Notice { tone, text: text.into(), at: self.now });
    }

    /// The rows that the view lists, in the order in which they are drawn.
    pub(crate) fn rows(&self) -> Vec<Row> {
        rows::rows(self)
    }

    /// Place of the cursor in `rows`; `None` when there are none.
    pub(crate) fn cursor_in(&self, rows: &[Row]) -> Option<usize> {
        let last = rows.len().checked_sub(1)?;
        let found = self.place.cursor.as_ref().and_then(|cursor| rows.iter().position(|row| row == cursor));
        Some(found.unwrap_or(self.place.index.min(last)))
    }

    /// The row under the cursor.
    pub(crate) fn current(&self) -> Option<Row> {
        let rows = self.rows();
        self.cursor_in(&rows).map(|index| rows[index].clone())
    }

    /// The instance that an action would be about: the open one, or that under the cursor.
    pub(crate) fn target(&self) -> Option<(String, String)> {
        match &self.place.view {
            View::Instance(service, id) => Some((service.clone(), id.clone())),
            _ => match self.current()? {
                Row::Instance(service, id) => Some((service, id)),
                Row::Service(_) | Row::Node(_) | Row::Event(_) => None,
            },
        }
    }

    /// Asks for what the open view shows beyond what events carry.
    pub(crate) fn want_view(&mut self) {
        let rows_shown = usize::from(layout::areas(self.size).body.height);
        for subject in rows::subjects(self, rows_shown) {
            self.wants.want(subject, self.now);
        }
    }
}

/// The services in trouble, to be looked at closer, and what is open.
pub(crate) fn troubled_subjects(state: &State) -> Vec<crate::message::Subject> {
    let mut subjects = rows::subjects(state, usize::from(layout::areas(state.size).body.height));
    subjects.retain(|subject| !matches!(subject, crate::message::Subject::Health | crate::message::Subject::Cluster));
    subjects
}

/// Text from outside as it is drawn: one line, safe, and not longer than any screen needs.
pub(crate) fn shown(text: &str) -> String {
    one_line(text, 160).into_owned()
}
