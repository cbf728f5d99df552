//! What each message does to the state, and what is to be asked for after it.

mod keys;
mod past;

use rollcall_api::words::{expected, member_change_word, outlook_word};
use rollcall_api::{
    Change, ClusterEvent, ForecastChanges, LifecycleState, MemberChange, MemberChangeKind, StateChanges, WatchEvent,
    cause_phrase,
};

use crate::message::{Answer, InstanceDetail, LinkEvent, Message, Request, Subject};
use crate::state::{Explained, Graph, State, View, shown, troubled_subjects};
use crate::theme::{health_tone, member_tone};
use crate::verdict::Tone;

/// Transitions of one frame that are noted one by one.
const TOLD_MAX: usize = 50;
/// How long a notice stays.
const NOTICE_MS: u64 = 8_000;

/// Takes a message, and says what to do about it.
pub fn update(state: &mut State, message: Message) -> Vec<Request> {
    let mut requests = Vec::new();
    match message {
        Message::Key(key) => requests.extend(keys::press(state, key)),
        Message::Mouse(mouse) => keys::mouse(state, mouse),
        Message::Resize(width, height) => state.size = (width, height),
        Message::Tick(now) => tick(state, now),
        Message::Link(event) => link(state, event),
        Message::Watch(event) => {
            state.heard_at = Some(state.now);
            watch(state, *event);
        }
        Message::Cluster(event) => {
            state.heard_at = Some(state.now);
            members(state, *event);
        }
        Message::Answer(answer) => take_answer(state, answer),
    }
    if state.link.is_connected {
        requests.extend(state.wants.take(state.now));
    }
    requests
}

fn tick(state: &mut State, now: rollcall_api::Timestamp) {
    state.now = state.now.max(now);
    if state.notice.as_ref().is_some_and(|notice| notice.at.millis() + NOTICE_MS < now.millis()) {
        state.notice = None;
    }
}

fn link(state: &mut State, event: LinkEvent) {
    match event {
        LinkEvent::Trying { node, place } => {
            state.link.node = node;
            state.link.place = place;
        }
        LinkEvent::Connected { node } => {
            let link = &mut state.link;
            if let Some(before) = link.before.replace(node.clone()).filter(|before| *before != node) {
                let text = format!("{} was lost, connected to {} now", shown(&before), shown(&node));
                state.log.note(state.now, Tone::Warn, "moved on", text.clone(), None);
                state.say(Tone::Warn, text);
            }
            let link = &mut state.link;
            (link.is_connected, link.lost_at, link.node) = (true, None, node);
            link.reason.clear();
            state.heard_at = Some(state.now);
            state.wants.forget();
            state.want_view();
            if !state.log.knows_past() {
                state.wants.want(Subject::History, state.now);
            }
        }
        LinkEvent::Lost { node, reason } => {
            let was_connected = std::mem::take(&mut state.link.is_connected);
            state.link.lost_at.get_or_insert(state.now);
            if was_connected {
                let text = format!("{}: {}", shown(&node), shown(&reason));
                state.log.note(state.now, Tone::Bad, "lost", text, None);
            }
            state.link.reason = reason;
            state.wants.forget();
        }
    }
}

fn watch(state: &mut State, event: WatchEvent) {
    state.catalog.revision = state.catalog.revision.max(event.revision());
    let is_change = !matches!(event, WatchEvent::Snapshot(_) | WatchEvent::Bookmark(_));
    let is_new = is_change && state.log.is_new(event.revision());
    match event {
        WatchEvent::Snapshot(part) => state.catalog.snapshot(part),
        WatchEvent::Put(change) => {
            let (tone, word, text) = registered(&change);
            let about = change.instance.as_ref().map(|it| (it.service.clone(), it.id.clone()));
            if is_new {
                state.log.note(change.at, tone, word, text, about);
            }
            change.instance.into_iter().for_each(|instance| state.catalog.put(instance));
        }
        WatchEvent::Delete(change) => {
            let name = named(&change.service, change.id.as_deref());
            let text = format!("{name} by {}: {}", shown(&change.actor), shown(&change.cause));
            if is_new {
                state.log.note(change.at, Tone::Warn, "deregistered", text, None);
            }
            state.catalog.delete(&change.service, change.id.as_deref());
        }
        WatchEvent::Definition(_) | WatchEvent::Config(_) if !is_new => {}
        WatchEvent::Definition(change) => {
            let text = format!("{} by {}", shown(&change.service), shown(&change.actor));
            state.log.note(change.at, Tone::Plain, "defined", text, None);
        }
        WatchEvent::Config(change) => {
            let version = change.version.map(|version| format!(", version {version}")).unwrap_or_default();
            let text = format!("{}{version} by {}", shown(&change.service), shown(&change.actor));
            state.log.note(change.at, Tone::Plain, "configured", text, None);
        }
        WatchEvent::State(changes) => transitions(state, &changes, is_new),
        WatchEvent::Bookmark(_) => {
            // Nothing happened to the catalogue; what is observed may have changed all the same.
            state.want_view();
            return;
        }
    }
    state.wants.want_settled(Subject::Health, state.now);
    want_open(state);
}

/// What is open follows what happens.
fn want_open(state: &mut State) {
    let now = state.now;
    match &state.place.view {
        View::Service(name) | View::Explain(name) => {
            state.wants.want_settled(Subject::Service(name.clone()), now);
            state.wants.want_settled(Subject::Explanation(name.clone()), now);
        }
        View::Graph => state.wants.want_settled(Subject::Graph, now),
        View::Instance(service, id) => {
            state.wants.want_settled(Subject::Service(service.clone()), now);
            state.wants.want_settled(Subject::Instance(service.clone(), id.clone()), now);
        }
        View::Overview | View::Services | View::Cluster | View::Events => {}
    }
}

fn named(service: &str, id: Option<&str>) -> String {
    match id {
        Some(id) => format!("{}/{}", shown(service), shown(id)),
        None => shown(service),
    }
}

fn registered(change: &Change) -> (Tone, &'static str, String) {
    let id = change.instance.as_ref().map(|instance| instance.id.as_str()).or(change.id.as_deref());
    let text = format!("{} by {}", named(&change.service, id), shown(&change.actor));
    let reason = |reason: &str| if reason.is_empty() { String::new() } else { format!(": {}", shown(reason)) };
    match change.instance.as_ref().map(|instance| &instance.lifecycle) {
        Some(LifecycleState::Draining { reason: why, .. }) => (Tone::Warn, "draining", text + &reason(why)),
        Some(LifecycleState::Quarantined { reason: why, .. }) => (Tone::Warn, "quarantined", text + &reason(why)),
        Some(LifecycleState::Active) | None => (Tone::Plain, "registered", text),
    }
}

fn transitions(state: &mut State, changes: &StateChanges, is_new: bool) {
    for change in &changes.items {
        state.catalog.transition(change);
    }
    let mut services: Vec<&str> = changes.items.iter().map(|change| change.service.as_str()).collect();
    services.sort_unstable();
    services.dedup();
    services.into_iter().for_each(|service| state.catalog.recount(service));
    if !is_new {
        return;
    }
    for change in changes.items.iter().take(TOLD_MAX) {
        let name = named(&change.service, Some(&change.id));
        let text = format!("{name} was {}{}", change.from.as_str(), phrase(&change.cause));
        let about = Some((change.service.clone(), change.id.clone()));
        state.log.note(changes.at, health_tone(change.state), change.state.as_str(), text, about);
    }
    if let Some(more) = changes.items.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        state.log.note(changes.at, Tone::Dim, "and", format!("{more} more instances changed at once"), None);
    }
}

/// The cause of a transition; none of what everybody sees.
fn phrase(cause: &str) -> String {
    if cause == "observed" { String::new() } else { format!(": {}", shown(cause_phrase(cause))) }
}

fn members(state: &mut State, event: ClusterEvent) {
    match event {
        ClusterEvent::Members(members) => state.nodes.replace(members, state.now),
        ClusterEvent::Member(change) => {
            state.nodes.change(&change);
            let (tone, word) = member_word(&change);
            let text = format!("{}: {}", shown(&change.member), shown(&change.cause));
            state.log.note(change.at, tone, word, text, None);
        }
        ClusterEvent::Forecast(changes) => return forecasts(state, &changes),
    }
    // Who is alive decides who leads, whether there is a quorum, and whose word counts.
    state.wants.want_settled(Subject::Cluster, state.now);
    state.wants.want_settled(Subject::Health, state.now);
    want_open(state);
}

/// Something else is expected. What is told again, as after each connection, is no event.
fn forecasts(state: &mut State, changes: &ForecastChanges) {
    let now = state.now;
    let mut news = Vec::new();
    for change in &changes.items {
        let (is_news, name) = match (change.instance(), &change.member) {
            (Some((service, id)), _) => {
                (state.catalog.expect((service, id), change.forecast, now), named(service, Some(id)))
            }
            (None, Some(node)) => (state.nodes.expect(node, change.signal, change.forecast, now), shown(node)),
            (None, None) => continue,
        };
        if is_news {
            news.push((change, name));
        }
    }
    for (change, name) in news.iter().take(TOLD_MAX) {
        let tone = if change.outlook.is_some() { Tone::Warn } else { Tone::Good };
        let about = change.instance().map(|(service, id)| (service.to_owned(), id.to_owned()));
        let text = format!("{name}: {}", expected(change));
        state.log.note(changes.at, tone, outlook_word(change.outlook), text, about);
    }
    if let Some(more) = news.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        state.log.note(changes.at, Tone::Dim, "and", format!("{more} more forecasts changed at once"), None);
    }
    if !news.is_empty() {
        state.wants.want_settled(Subject::Health, now);
        want_open(state);
    }
}

fn member_word(change: &MemberChange) -> (Tone, &'static str) {
    match (change.state, change.kind) {
        (Some(state), _) => (member_tone(state), state.as_str()),
        (None, MemberChangeKind::Reconnected | MemberChangeKind::LinkRepaired) => {
            (Tone::Good, member_change_word(change.kind))
        }
        (None, kind) => (Tone::Warn, member_change_word(kind)),
    }
}

fn take_answer(state: &mut State, answer: Answer) {
    let now = state.now;
    if let Some(subject) = answer.subject() {
        state.wants.answered(&subject);
    }
    let refused = match answer {
        Answer::Health(Ok(report)) => {
            state.heard_at = Some(now);
            state.catalog.report(*report, now);
            follow_trouble(state);
            return;
        }
        Answer::Cluster(Ok(figures)) => {
            state.heard_at = Some(now);
            return state.nodes.figure(*figures, now);
        }
        Answer::Service(name, Ok(report)) => return state.catalog.detail(&name, *report, now),
        Answer::Instance(service, id, Ok(detail)) => return take_detail(state, service, id, detail),
        Answer::Explanation(service, told) => {
            // The view may show another one by now.
            if matches!(&state.place.view, View::Service(name) | View::Explain(name) if *name == service) {
                state.explained = Some(Explained::new(service, told, now));
            }
            return;
        }
        Answer::Graph(told) => {
            state.graph = Some(told.map(|told| Graph::new(told, now)));
            return;
        }
        Answer::History(Ok(records)) => return state.log.begin_with(past::noted(records)),
        Answer::Done(action, Ok(())) => {
            state.wants.want_settled(Subject::Health, now);
            state.wants.want_settled(Subject::Cluster, now);
            want_open(state);
            return state.say(Tone::Good, format!("done: {action}"));
        }
        Answer::Done(action, Err(reason)) => {
            return state.say(Tone::Bad, format!("could not {action}: {}", shown(&reason)));
        }
        Answer::Health(Err(reason)) => format!("health could not be read: {}", shown(&reason)),
        Answer::Cluster(Err(reason)) => format!("the cluster could not be asked: {}", shown(&reason)),
        Answer::Service(name, Err(reason)) => format!("{}: {}", shown(&name), shown(&reason)),
        Answer::History(Err(reason)) => format!("history could not be read: {}", shown(&reason)),
        Answer::Instance(_, id, Err(reason)) => format!("{}: {}", shown(&id), shown(&reason)),
    };
    state.say(Tone::Warn, refused);
}

/// What is in trouble is looked at closer.
fn follow_trouble(state: &mut State) {
    for subject in troubled_subjects(state) {
        state.wants.want(subject, state.now);
    }
}

fn take_detail(state: &mut State, service: String, id: String, detail: Box<InstanceDetail>) {
    if state.place.view != View::Instance(service.clone(), id.clone()) {
        return;
    }
    for observer in &detail.health.observers {
        for check in observer.sees.iter().flat_map(|sees| &sees.checks) {
            let key = (observer.node.clone(), check.id.clone());
            let is_new = !state.latencies.contains_key(&key);
            if let Some(latency) = check.latency_ms.filter(|_| !is_new || state.latencies.len() < 64) {
                state.latencies.entry(key).or_default().push(state.now, latency);
            }
        }
    }
    state.detail = Some((state.now, detail));
}
