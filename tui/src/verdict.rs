//! The five-second answer: is all well, and if not, what is wrong, worst first.

use rollcall_api::words::{age, node_outlook, span, when};
use rollcall_api::{Lateness, MemberState, Outlook, State as HealthState};

use crate::state::{State, shown};

/// What a piece of text means; colour and symbol repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Secondary.
    Dim,
    /// Nothing to point out.
    Plain,
    /// As it should be.
    Good,
    /// Look at it.
    Warn,
    /// Act on it.
    Bad,
}

/// Services and nodes that are named one by one; the others are counted.
const NAMED_MAX: usize = 3;
/// Members from which fewer than this many more losses stop all writes.
const QUORUM_RESERVE: usize = 1;

/// Whether all is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How bad it is.
    pub tone: Tone,
    /// One line.
    pub headline: String,
    /// What is wrong, worst first, each a line; empty when all is well.
    pub problems: Vec<(Tone, String)>,
}

/// Looks at everything that is known.
pub fn verdict(state: &State) -> Verdict {
    let mut problems = Vec::new();
    problems.extend(link(state));
    if state.heard_at.is_some() {
        problems.extend(quorum(state));
        problems.extend(partition(state));
        problems.extend(nodes(state));
        problems.extend(services(state));
        problems.extend(node_predictions(state));
        problems.extend(predictions(state));
        problems.extend(instances(state));
    }
    problems.sort_by_key(|(tone, _)| std::cmp::Reverse(*tone));
    let tone = problems.first().map_or(Tone::Good, |(tone, _)| *tone);
    let headline = match problems.first() {
        _ if state.heard_at.is_none() && problems.is_empty() => {
            return Verdict { tone: Tone::Dim, headline: "asking for the first time".to_owned(), problems };
        }
        None => all_is_well(state),
        Some((_, first)) => first.clone(),
    };
    Verdict { tone, headline, problems }
}

fn all_is_well(state: &State) -> String {
    let (states, healthy) = state.catalog.totals();
    let (nodes, services) = (state.nodes.members.len(), state.catalog.services.len());
    format!(
        "all is well: {nodes} nodes, {services} services, {healthy} of {} instances can take traffic",
        states.total()
    )
}

type Problems = Vec<(Tone, String)>;

fn link(state: &State) -> Problems {
    let link = &state.link;
    let reason = |reason: &str| if reason.is_empty() { String::new() } else { format!(": {}", shown(reason)) };
    match (link.is_connected, state.stale_ms(), state.heard_at) {
        (false, _, None) if link.lost_at.is_some() => {
            vec![(Tone::Bad, format!("no node answers{}", reason(&link.reason)))]
        }
        (false, Some(silent), _) => {
            let lost = span(silent / 1_000);
            vec![(Tone::Bad, format!("no connection for {lost}, this is how it was{}", reason(&link.reason)))]
        }
        (true, Some(silent), _) => {
            vec![(Tone::Warn, format!("{} says nothing for {}", shown(&link.node), span(silent / 1_000)))]
        }
        _ => Vec::new(),
    }
}

fn quorum(state: &State) -> Problems {
    let Some(status) = &state.nodes.status else { return Vec::new() };
    let voters = state.nodes.voters();
    if !status.has_quorum {
        let alive = voters.map(|(all, alive)| format!(" ({alive} of {all} voters are alive)")).unwrap_or_default();
        return vec![(Tone::Bad, format!("no quorum{alive}: writes are refused; reads and health go on"))];
    }
    let Some((all, alive)) = voters else { return Vec::new() };
    let majority = all / 2 + 1;
    if alive < all && alive < majority + QUORUM_RESERVE {
        return vec![(Tone::Warn, format!("{alive} of {all} voters are alive: one more loss stops all writes"))];
    }
    Vec::new()
}

fn partition(state: &State) -> Problems {
    let Some(observer) = &state.nodes.observer else { return Vec::new() };
    let mut problems = Vec::new();
    if let Some(since) = observer.isolated_since {
        let text = format!(
            "partition: {} is cut off for {}, it hears less than half of the members",
            shown(&observer.name),
            age(since, state.now)
        );
        problems.push((Tone::Bad, text));
    }
    if !observer.link_faults.is_empty() {
        let arrow = state.look.pick("→", "->");
        let faults = observer.link_faults.iter();
        let faults = faults.map(|fault| format!("{}{arrow}{}", shown(&fault.from), shown(&fault.to)));
        problems.push((Tone::Bad, format!("partition: links carry nothing: {}", listed(faults.collect()))));
    }
    if matches!(observer.lateness, Lateness::VeryLate | Lateness::Stopped) {
        problems.push((Tone::Warn, format!("{} runs late and judges nobody", shown(&observer.name))));
    }
    if observer.outranked_by.is_some() {
        problems.push((Tone::Bad, format!("two processes are called {}: stop one", shown(&observer.name))));
    }
    problems
}

fn nodes(state: &State) -> Problems {
    let named = |wanted: MemberState| -> Vec<String> {
        let members = state.nodes.members.iter().filter(|member| member.state == wanted);
        let told = |since| format!(" for {}", age(since, state.now));
        members.map(|it| format!("{}{}", shown(&it.name), it.since.map(told).unwrap_or_default())).collect()
    };
    let mut problems = Vec::new();
    for (wanted, tone, word) in
        [(MemberState::Dead, Tone::Bad, "dead"), (MemberState::Suspect, Tone::Warn, "suspected to be dead")]
    {
        let names = named(wanted);
        let noun = if names.len() == 1 { "node" } else { "nodes" };
        if !names.is_empty() {
            problems.push((tone, format!("{} {noun} {word}: {}", names.len(), listed(names))));
        }
    }
    problems
}

fn services(state: &State) -> Problems {
    let services = state.catalog.services.values().map(|service| &service.health);
    let out = services.filter(|health| health.instances > 0 && health.healthy == 0);
    let names: Vec<String> = out.map(|health| shown(&health.service)).collect();
    match names.len() {
        0 => Vec::new(),
        1 => vec![(Tone::Bad, format!("{} has no instance that can take traffic", names[0]))],
        count => {
            vec![(Tone::Bad, format!("{count} services have no instance that can take traffic: {}", listed(names)))]
        }
    }
}

/// The nodes that are predicted to fail, each with what it expects first.
fn node_predictions(state: &State) -> Problems {
    let first = |name: &str| state.nodes.expected(name, state.now).into_iter().next();
    let predicted = state.nodes.members.iter().filter_map(|member| Some((&member.name, first(&member.name)?)));
    let predicted = predicted.filter(|(_, forecast)| forecast.outlook == Some(Outlook::PredictedFailure));
    let names: Vec<String> = predicted.map(|(name, it)| format!("{}: {}", shown(name), node_outlook(&it))).collect();
    if names.is_empty() { Vec::new() } else { vec![(Tone::Warn, listed(names))] }
}

fn predictions(state: &State) -> Problems {
    let predictions = state.catalog.predictions(state.now);
    let Some(first) = predictions.first() else { return Vec::new() };
    let name = format!("{}/{}", shown(&first.instance.service), shown(&first.instance.id));
    let more = match predictions.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    vec![(Tone::Warn, format!("{name} is predicted to fail {}{more}", when(&first.forecast)))]
}

fn instances(state: &State) -> Problems {
    let worst = |status: HealthState| {
        let services = state.catalog.services.values().map(|service| &service.health);
        let found: Vec<String> = services
            .filter(|health| health.status == status && (health.healthy > 0 || status != HealthState::Critical))
            .map(|health| shown(&health.service))
            .collect();
        found
    };
    let (states, _) = state.catalog.totals();
    let mut problems = Vec::new();
    let named = worst(HealthState::Critical);
    if !named.is_empty() {
        let count = states.critical;
        let noun = if count == 1 { "instance is" } else { "instances are" };
        problems.push((Tone::Warn, format!("{count} {noun} critical, among others that work: {}", listed(named))));
    }
    let named = worst(HealthState::Warning);
    if !named.is_empty() {
        problems.push((Tone::Warn, format!("warnings in {}", listed(named))));
    }
    problems
}

/// The first names, and how many more there are.
fn listed(names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let mut text = names.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
