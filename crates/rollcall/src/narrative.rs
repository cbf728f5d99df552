//! Changes as lines that a person reads: the events of the catalogue, the roles of nodes, the members.

pub(crate) use rollcall_api::words::{address, clock, role_word};
use rollcall_api::words::{expected, member_change_word, outlook_word};
use rollcall_api::{
    Change, ForecastChange, ForecastChanges, LifecycleState, Member, MemberChange, MemberChangeKind, MemberState,
    RaftRole, RaftStatus, State, StateChange, StateChanges, Timestamp, WatchEvent, cause_phrase,
};

use crate::terminal::{Paint, Tone, printable};

/// Columns of the word that says what happened.
const VERB_WIDTH: usize = 11;

/// The event as a line without its end, or as many as it has transitions; `None` for a bookmark, which says nothing to people.
pub(crate) fn event_line(event: &WatchEvent, paint: Paint) -> Option<String> {
    let (tone, verb, change) = match event {
        WatchEvent::Put(change) => (Tone::Good, "put", change),
        WatchEvent::Delete(change) => (Tone::Bad, "delete", change),
        WatchEvent::Definition(change) => (Tone::Plain, "define", change),
        WatchEvent::Config(change) => (Tone::Plain, "config", change),
        WatchEvent::State(changes) => return Some(state_lines(changes, paint)),
        WatchEvent::Bookmark(_) => return None,
        WatchEvent::Snapshot(part) => {
            let end = if part.last { "" } else { ", more follow" };
            return Some(format!("snapshot at #{}: {} instance(s){end}", part.revision, part.items.len()));
        }
    };
    Some(told(paint, change.at, change.revision, (tone, verb), &describe(change)))
}

fn told(paint: Paint, at: Timestamp, revision: u64, (tone, verb): (Tone, &str), what: &str) -> String {
    told_at(paint, at, &format!("#{revision}"), (tone, verb), what)
}

fn told_at(paint: Paint, at: Timestamp, place: &str, (tone, verb): (Tone, &str), what: &str) -> String {
    let verb = paint.tone(tone, format_args!("{verb:<VERB_WIDTH$}"));
    format!("{}  {place:<7} {verb}  {}", paint.dim(clock(at)), printable(what))
}

/// A line for each transition.
fn state_lines(changes: &StateChanges, paint: Paint) -> String {
    let line = |change: &StateChange| {
        let verb = format!("{} {}", health_symbol(change.state), change.state.as_str());
        // What everybody sees needs no more words.
        let phrase = Some(cause_phrase(&change.cause)).filter(|_| change.cause != "observed");
        let phrase = phrase.map(|phrase| format!(": {phrase}")).unwrap_or_default();
        let what = format!("{}/{}  was {}{phrase}", change.service, change.id, change.from.as_str());
        told(paint, changes.at, changes.revision, (health_tone(change.state), &verb), &what)
    };
    changes.items.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is expected of an instance, as a line without its end.
pub(crate) fn prospect_line(at: Timestamp, tone: Tone, verb: &str, what: &str, paint: Paint) -> String {
    told_at(paint, at, "", (tone, verb), what)
}

/// `passing → critical, confirmed`.
pub(crate) fn transition(from: State, to: State, cause: &str) -> String {
    format!("{} → {}, {cause}", from.as_str(), to.as_str())
}

/// The sign of a state, for those who see no colours.
const fn health_symbol(state: State) -> char {
    match state {
        State::Starting => '…',
        State::Passing => '✓',
        State::Warning => '!',
        State::Critical => '✗',
        State::Unknown => '?',
    }
}

/// How the state of an instance is coloured.
pub(crate) const fn health_tone(state: State) -> Tone {
    match state {
        State::Starting => Tone::Plain,
        State::Passing => Tone::Good,
        State::Warning => Tone::Warn,
        State::Critical => Tone::Bad,
        State::Unknown => Tone::Dim,
    }
}

fn describe(change: &Change) -> String {
    let id = change.instance.as_ref().map(|instance| instance.id.as_str()).or(change.id.as_deref());
    let mut text = match id {
        Some(id) => format!("{}/{id}", change.service),
        None => change.service.clone(),
    };
    if let Some(version) = change.version {
        text.push_str(&format!("  version {version}"));
    }
    if let Some(address) = change.instance.as_ref().and_then(address) {
        text.push_str(&format!("  {address}"));
    }
    let decided = change.instance.as_ref().and_then(|instance| lifecycle_word(&instance.lifecycle));
    // Without a reason the cause is the word itself.
    let decided = decided.filter(|word| *word != change.cause).map(|word| format!("{word}: ")).unwrap_or_default();
    text.push_str(&format!("  {decided}{} by {}", change.cause, change.actor));
    text
}

/// What an operator decided, when that was anything.
const fn lifecycle_word(lifecycle: &LifecycleState) -> Option<&'static str> {
    match lifecycle {
        LifecycleState::Active => None,
        LifecycleState::Draining { .. } => Some("draining"),
        LifecycleState::Quarantined { .. } => Some("quarantined"),
    }
}

/// A node as it was last seen: its Raft status, or silence.
pub(crate) type Sighting = Option<RaftStatus>;

/// What changed between two sightings of the node `name`, in words; `None` when nothing worth a line.
pub(crate) fn role_change(name: &str, before: &Sighting, after: &Sighting) -> Option<(Tone, String)> {
    let Some(now) = after else {
        return before.is_some().then(|| (Tone::Bad, format!("{name} does not answer")));
    };
    if before.as_ref().is_some_and(|then| (then.role, &then.leader) == (now.role, &now.leader)) {
        return None;
    }
    let term = now.term;
    Some(match (now.role, &now.leader) {
        (RaftRole::Leader, _) => (Tone::Good, format!("{name} leads, term {term}")),
        (RaftRole::Candidate, _) => (Tone::Warn, format!("{name} asks for votes, term {term}")),
        (RaftRole::Learner, Some(leader)) => (Tone::Plain, format!("{name} learns from {leader}, term {term}")),
        (_, Some(leader)) => (Tone::Plain, format!("{name} follows {leader}, term {term}")),
        (_, None) => (Tone::Warn, format!("{name} knows no leader, term {term}")),
    })
}

/// What changed in the list of members, in words.
pub(crate) fn member_changes(before: &[Member], after: &[Member]) -> Vec<(Tone, String)> {
    // By name: a process that only gossips has no id.
    let find = |members: &[Member], name: &str| members.iter().find(|member| member.name == name).cloned();
    let mut lines = Vec::new();
    for member in after {
        let name = &member.name;
        match find(before, name) {
            None => lines.push((Tone::Good, format!("{name} is a member now, {}", role_word(member.role)))),
            Some(then) if then.state != member.state => {
                let tone = state_tone(member.state);
                lines.push((tone, format!("{name} is {}: {}", state_word(member.state), member.cause)));
            }
            Some(_) => {}
        }
    }
    for gone in before.iter().filter(|member| find(after, &member.name).is_none()) {
        lines.push((Tone::Warn, format!("{} is no member any more", gone.name)));
    }
    lines
}

/// The word for the state of a member.
pub(crate) const fn state_word(state: MemberState) -> &'static str {
    state.as_str()
}

/// How the state of a member is coloured.
pub(crate) const fn state_tone(state: MemberState) -> Tone {
    match state {
        MemberState::Alive => Tone::Good,
        MemberState::Suspect => Tone::Warn,
        MemberState::Dead => Tone::Bad,
        MemberState::Left | MemberState::Unknown => Tone::Dim,
    }
}

/// A change among the members as a line without its end.
pub(crate) fn member_line(change: &MemberChange, paint: Paint) -> String {
    let (tone, what) = match (change.state, change.kind) {
        (Some(state), _) => (state_tone(state), state_word(state)),
        (None, MemberChangeKind::Reconnected | MemberChangeKind::LinkRepaired) => {
            (Tone::Good, member_change_word(change.kind))
        }
        (None, kind) => (Tone::Warn, member_change_word(kind)),
    };
    let line = format!("{}: {}", change.member, change.cause);
    format!("{}  {}  {}", paint.dim(clock(change.at)), paint.tone(tone, format_args!("{what:<11}")), printable(&line))
}

/// A line for each instance or node of which something else is expected.
pub(crate) fn expected_lines(changes: &ForecastChanges, paint: Paint) -> String {
    let line = |change: &ForecastChange| {
        let name = match (change.instance(), &change.member) {
            (Some((service, id)), _) => format!("{service}/{id}"),
            (None, member) => member.clone().unwrap_or_default(),
        };
        let tone = if change.outlook.is_some() { Tone::Warn } else { Tone::Good };
        let word = paint.tone(tone, format_args!("{:<11}", outlook_word(change.outlook)));
        let text = format!("{name}: {}", expected(change));
        format!("{}  {word}  {}", paint.dim(clock(changes.at)), printable(&text))
    };
    changes.items.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_expected_is_a_line_for_each_of_whom_it_is() {
        let changes = serde_json::from_value(json!({ "at": "2026-11-21T03:59:10.250Z", "items": [
            { "service": "web", "id": "web-2", "signal": "latency", "outlook": "predicted_failure",
                "forecast": { "time_to_failure_ms": 30_000, "signal": "latency" } },
            { "member": "node-\u{1b}3", "signal": "memory", "outlook": null }
        ]}))
        .unwrap();
        assert_eq!(
            expected_lines(&changes, Paint::plain()),
            "03:59:10.250  predicted    web/web-2: predicted to fail within 30s (latency)\n\
             03:59:10.250  recovered    node-\\u{1b}3: fine again: memory"
        );
    }

    fn event(value: serde_json::Value) -> WatchEvent {
        serde_json::from_value(value).unwrap()
    }

    fn status(role: &str, term: u64, leader: Option<&str>) -> Sighting {
        serde_json::from_value(json!({
            "node": "node-1", "role": role, "term": term, "leader": leader, "commit_index": 1, "applied_index": 1,
            "last_log_index": 1, "snapshot_index": 0, "purged_index": 0, "voters": [], "learners": [], "followers": [],
            "quorum_ack_age_ms": null
        }))
        .unwrap()
    }

    #[test]
    fn an_event_is_one_line() {
        let deleted = event(json!({
            "event": "delete", "revision": 41, "at": "2026-11-21T03:59:10.250Z", "service": "web", "id": "web-1",
            "cause": "deregistered", "actor": "alice"
        }));
        assert_eq!(
            event_line(&deleted, Paint::plain()).unwrap(),
            "03:59:10.250  #41     delete       web/web-1  deregistered by alice"
        );
        let configured = event(json!({
            "event": "config", "revision": 42, "at": "2026-11-21T03:59:10.250Z", "service": "web", "version": 3,
            "cause": "configured", "actor": "alice"
        }));
        assert_eq!(
            event_line(&configured, Paint::plain()).unwrap(),
            "03:59:10.250  #42     config       web  version 3  configured by alice"
        );
        let instance = json!({
            "service": "web", "id": "web-1", "endpoints": [], "zone": null, "region": null, "version": null, "tags": [],
            "metadata": {}, "weight": 1, "lease": null, "checks": [], "deregister_after_ms": null,
            "lifecycle": { "state": "draining", "reason": "deploy 42" }, "state": "passing", "cause": "observed",
            "since": "2026-11-21T03:00:00.000Z", "registered_at": "2026-11-21T03:00:00.000Z",
            "modified_at": "2026-11-21T03:00:00.000Z", "registered_by": "n1", "created_revision": 1, "revision": 43
        });
        let drained = event(json!({
            "event": "put", "revision": 43, "at": "2026-11-21T03:59:10.250Z", "service": "web", "instance": instance,
            "cause": "deploy 42", "actor": "alice"
        }));
        assert_eq!(
            event_line(&drained, Paint::plain()).unwrap(),
            "03:59:10.250  #43     put          web/web-1  draining: deploy 42 by alice"
        );
        assert_eq!(event_line(&event(json!({ "event": "bookmark", "revision": 43 })), Paint::plain()), None);
    }

    #[test]
    fn each_transition_is_a_line() {
        let item = |id: &str, from: &str, state: &str, cause: &str| {
            json!({ "service": "web", "id": id, "from": from, "state": state, "cause": cause,
                    "since": "2026-11-21T03:59:10.250Z" })
        };
        let changes = event(json!({
            "event": "state", "revision": 44, "at": "2026-11-21T03:59:10.250Z",
            "items": [item("web-1", "passing", "critical", "confirmed"), item("a\tb", "unknown", "passing", "observed")]
        }));
        assert_eq!(
            event_line(&changes, Paint::plain()).unwrap(),
            "03:59:10.250  #44     ✗ critical   web/web-1  was passing: everybody who looks sees it failing\n\
             03:59:10.250  #44     ✓ passing    web/a\\u{9}b  was unknown"
        );
    }

    #[test]
    fn a_change_of_role_is_told_once() {
        let (leader, follower) = (status("leader", 2, Some("node-1")), status("follower", 2, Some("node-2")));
        let tell = |before, after| role_change("node-1", before, after).map(|(_, line)| line);
        assert_eq!(tell(&None, &leader).as_deref(), Some("node-1 leads, term 2"));
        assert_eq!(tell(&leader, &leader), None);
        assert_eq!(tell(&leader, &follower).as_deref(), Some("node-1 follows node-2, term 2"));
        assert_eq!(tell(&follower, &None).as_deref(), Some("node-1 does not answer"));
        assert_eq!(tell(&None, &None), None);
    }

    #[test]
    fn members_that_come_and_go_are_told() {
        let member = |id: u64, state: &str| -> Member {
            serde_json::from_value(json!({
                "name": format!("node-{id}"), "node_id": id, "state": state, "role": "follower", "zone": null,
                "version": null, "addresses": {}, "since": null, "cause": "no answer"
            }))
            .unwrap()
        };
        let lines =
            member_changes(&[member(1, "alive"), member(2, "alive")], &[member(2, "suspect"), member(3, "alive")]);
        let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
        assert_eq!(
            lines,
            ["node-2 is suspect: no answer", "node-3 is a member now, follower", "node-1 is no member any more"]
        );
    }
}
