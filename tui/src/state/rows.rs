//! Which rows a view lists, and in which order; what it must ask for beside the events.

use std::cmp::Reverse;

use super::{Seen, Service, Sort, State, View};
use crate::message::Subject;

/// Services in trouble whose instances are asked for, the worst of them.
const TROUBLED_MAX: usize = 20;

/// What a row is about; the cursor stays with it however the rows move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    Service(String),
    /// By service and id.
    Instance(String, String),
    Node(String),
    /// By its serial.
    Event(u64),
}

/// The rows of the open view.
pub(super) fn rows(state: &State) -> Vec<Row> {
    let filter = state.place.filter.to_lowercase();
    let fits = |text: &str| filter.is_empty() || text.to_lowercase().contains(&filter);
    match &state.place.view {
        View::Overview => {
            let services = troubled(state).into_iter().map(|service| Row::Service(service.health.service.clone()));
            let predictions = state.catalog.predictions(state.now).into_iter();
            let predicted = predictions.map(|it| Row::Instance(it.instance.service.clone(), it.instance.id.clone()));
            services.chain(predicted).collect()
        }
        View::Services => {
            let services = state.catalog.services.iter();
            let mut fitting: Vec<(&String, &Service)> = services.filter(|(name, _)| fits(name)).collect();
            sort(&mut fitting, state.sort);
            fitting.into_iter().map(|(name, _)| Row::Service(name.clone())).collect()
        }
        View::Service(name) => {
            let instances = state.catalog.services.get(name).into_iter().flat_map(|service| service.instances.values());
            let mut fitting: Vec<&Seen> = instances.filter(|seen| fits_instance(seen, &fits)).collect();
            fitting.sort_by_key(|seen| (Reverse(urgency(seen)), seen.instance.id.as_str()));
            fitting.into_iter().map(|seen| Row::Instance(name.clone(), seen.instance.id.clone())).collect()
        }
        View::Instance(..) => Vec::new(),
        View::Explain(service) => {
            let explained = state.explained.iter().filter(|explained| explained.service == *service);
            let instances = explained.flat_map(|explained| explained.instances());
            let fitting = instances.filter(|it| fits(&it.id) || fits(it.state.as_str()));
            fitting.map(|it| Row::Instance(service.clone(), it.id.clone())).collect()
        }
        View::Graph => {
            let Some(Ok(graph)) = &state.graph else { return Vec::new() };
            graph.services().filter(|name| fits(name)).map(|name| Row::Service(name.to_owned())).collect()
        }
        View::Cluster => state.nodes.members.iter().map(|member| Row::Node(member.name.clone())).collect(),
        View::Events => {
            let events = state.log.shown().filter(|noted| fits(&noted.word) || fits(&noted.text));
            events.map(|noted| Row::Event(noted.serial)).collect()
        }
    }
}

/// Services that need a look, worst first.
pub(crate) fn troubled(state: &State) -> Vec<&Service> {
    let mut troubled: Vec<&Service> = state.catalog.services.values().filter(|it| it.trouble() > 0).collect();
    troubled.sort_by_key(|service| (Reverse(service.trouble()), service.health.service.as_str()));
    troubled
}

fn sort(services: &mut [(&String, &Service)], by: Sort) {
    match by {
        Sort::Trouble => services.sort_by_key(|(name, service)| (Reverse(service.trouble()), name.as_str())),
        Sort::Name => {}
        Sort::Size => services.sort_by_key(|(name, service)| (Reverse(service.health.instances), name.as_str())),
        Sort::Score => services.sort_by_key(|(name, service)| {
            let score = service.scores.last().unwrap_or(2.0);
            ((score * 1_000.0) as u32, name.as_str())
        }),
    }
}

fn urgency(seen: &Seen) -> (u8, bool, bool) {
    (seen.instance.state.severity(), seen.instance.forecast.is_some(), seen.is_degrading())
}

fn fits_instance(seen: &Seen, fits: &impl Fn(&str) -> bool) -> bool {
    let instance = &seen.instance;
    fits(&instance.id) || fits(instance.state.as_str()) || instance.zone.as_deref().is_some_and(fits)
}

/// What the open view shows that no event carries.
pub(super) fn subjects(state: &State, rows_shown: usize) -> Vec<Subject> {
    let mut subjects = vec![Subject::Health, Subject::Cluster];
    let named = |service: &Service| Subject::Service(service.health.service.clone());
    subjects.extend(troubled(state).into_iter().take(TROUBLED_MAX).map(named));
    match &state.place.view {
        View::Services => {
            let rows = state.rows();
            let at = state.cursor_in(&rows).unwrap_or_default();
            let first = at.saturating_sub(rows_shown / 2);
            subjects.extend(rows.into_iter().skip(first).take(rows_shown).filter_map(|row| match row {
                Row::Service(name) => Some(Subject::Service(name)),
                Row::Instance(..) | Row::Node(_) | Row::Event(_) => None,
            }));
        }
        View::Service(name) | View::Explain(name) => {
            subjects.push(Subject::Service(name.clone()));
            subjects.push(Subject::Explanation(name.clone()));
        }
        View::Graph => subjects.push(Subject::Graph),
        View::Instance(service, id) => {
            subjects.push(Subject::Service(service.clone()));
            subjects.push(Subject::Instance(service.clone(), id.clone()));
        }
        View::Overview | View::Cluster | View::Events => {}
    }
    subjects.dedup();
    subjects
}
