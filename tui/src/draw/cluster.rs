//! The nodes: members as the connected node sees them, who sees whom, and Raft.

use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use rollcall_api::words::{age, node_outlook, role_word, span};
use rollcall_api::{Lateness, Member, MemberState, Members};

use super::pen::{Cell, Pen, cell, plain};
use crate::layout::{self, split};
use crate::state::{Row, State, shown};
use crate::theme::member_tone;
use crate::verdict::Tone;

/// Columns of a cell of the matrix.
const CELL: usize = 8;

pub(super) fn draw(pen: &mut Pen<'_>, state: &State, body: Rect) {
    let list = layout::list_body(state, body);
    members(pen, state, list);
    let (_, rest) = split(body, list.height);
    let seen_by = state.nodes.seen_by.len() as u16;
    let raft_lines = raft_lines(pen, state);
    let (raft, rest) = split(rest, (raft_lines.len() as u16 + 2).min(rest.height));
    let as_of = state.nodes.figures_at.map(|at| format!(", {} ago", age(at, state.now))).unwrap_or_default();
    let inner = pen.framed(raft, &format!("Raft{as_of}"));
    for (line, text) in (0..).zip(raft_lines) {
        pen.line(inner, line, text);
    }
    let (area, _) = split(rest, seen_by + 3);
    matrix(pen, state, area);
}

fn members(pen: &mut Pen<'_>, state: &State, area: Rect) {
    let rows = state.rows();
    let cursor = state.cursor_in(&rows);
    let narrow = area.width < 96;
    let columns = [
        ("", Constraint::Length(1)),
        ("NODE", Constraint::Fill(2)),
        ("STATE", Constraint::Length(8)),
        ("SINCE", Constraint::Length(7)),
        ("ROLE", Constraint::Length(8)),
        ("ZONE", Constraint::Length(if narrow { 0 } else { 8 })),
        ("RTT", Constraint::Length(8)),
        ("LATE", Constraint::Length(9)),
        ("WHY", Constraint::Fill(3)),
    ];
    let places = pen.columns(area, &columns);
    let Some(list) = layout::lists(state, &rows).pop() else { return };
    for (line, index) in (0..).zip(list.rows) {
        let Some(Row::Node(name)) = rows.get(index) else { continue };
        if let Some(member) = state.nodes.member(name) {
            let cells = cells(pen, state, member);
            pen.row(&places, line, cells, cursor == Some(index));
        }
    }
}

fn cells(pen: &Pen<'_>, state: &State, member: &Member) -> Vec<Cell> {
    let tone = member_tone(member.state);
    let gossip = member.gossip.as_ref();
    let witnesses = gossip.filter(|it| !it.witnesses.is_empty()).map(|gossip| {
        let names: Vec<String> = gossip.witnesses.iter().take(3).map(|name| shown(name)).collect();
        format!(" (suspected by {})", names.join(", "))
    });
    let unheard = gossip.filter(|it| it.is_unheard).map(|_| " (heard by others only)".to_owned());
    let why = [Some(shown(&member.cause)), witnesses, unheard].into_iter().flatten().collect::<String>();
    let expected = state.nodes.expected(&member.name, state.now);
    let why = match expected.first() {
        Some(first) => cell(Tone::Warn, node_outlook(first)),
        None => plain(why),
    };
    vec![
        cell(tone, pen.look.symbol(tone)),
        plain(shown(&member.name)),
        cell(tone, member.state.as_str()),
        plain(member.since.map(|since| age(since, state.now)).unwrap_or_default()),
        plain(role_word(member.role)),
        plain(member.zone.as_deref().map(shown).unwrap_or_default()),
        plain(gossip.and_then(|it| it.rtt_us).map_or_else(|| "-".to_owned(), micros)),
        gossip.map_or_else(|| plain("-"), |it| lateness(it.lateness)),
        why,
    ]
}

fn lateness(lateness: Lateness) -> Cell {
    match lateness {
        Lateness::OnTime => plain("on time"),
        Lateness::Late => cell(Tone::Warn, "late"),
        Lateness::VeryLate => cell(Tone::Warn, "very late"),
        Lateness::Stopped => cell(Tone::Bad, "stopped"),
        Lateness::Unknown => plain("unknown"),
    }
}

fn micros(micros: u64) -> String {
    if micros < 10_000 {
        format!("{:.2} ms", micros as f64 / 1_000.0)
    } else {
        format!("{:.0} ms", micros as f64 / 1_000.0)
    }
}

fn raft_lines(pen: &Pen<'_>, state: &State) -> Vec<Line<'static>> {
    let Some(own) = &state.nodes.raft else { return vec![pen.marked(Tone::Dim, "not asked yet")] };
    let leader = own.leader.as_deref().map_or_else(|| "no leader".to_owned(), |it| format!("leader {}", shown(it)));
    let has_quorum = state.nodes.status.as_ref().is_none_or(|status| status.has_quorum);
    let (tone, quorum) = match (has_quorum, own.leader.is_some()) {
        (true, true) => (Tone::Good, "a majority answers"),
        (true, false) => (Tone::Warn, "asking for votes"),
        (false, _) => (Tone::Bad, "no quorum: writes are refused"),
    };
    let voters = own.voters.len();
    let head = format!("{leader}, term {}, {voters} voters, {} learners, {quorum}", own.term, own.learners.len());
    let log = format!(
        "   {}: committed {}, applied {}, log {} to {} ({} entries), snapshot {}",
        shown(&own.node),
        own.commit_index,
        own.applied_index,
        own.purged_index + 1,
        own.last_log_index,
        own.last_log_index.saturating_sub(own.purged_index),
        own.snapshot_index
    );
    let mut lines = vec![pen.marked(tone, &head), Line::raw(log)];
    let Some(leader) = &state.nodes.leader else { return lines };
    if let Some(silent) = leader.quorum_ack_age_ms {
        lines.push(Line::raw(format!("   a majority answered {} ms before that", silent)));
    }
    for follower in &leader.followers {
        let tone = if follower.lag == 0 { Tone::Good } else { Tone::Warn };
        let text =
            format!("{} holds the log up to {}, lacks {}", shown(&follower.node), follower.matched_index, follower.lag);
        lines.push(pen.marked(tone, &text));
    }
    lines
}

/// A line for each node that was asked: what it sees of each member.
fn matrix(pen: &mut Pen<'_>, state: &State, area: Rect) {
    if state.nodes.seen_by.is_empty() || area.height < 4 {
        return;
    }
    let inner = pen.framed(area, "Who sees whom: round-trip time, or the state");
    let fit = usize::from(inner.width).saturating_sub(14) / (CELL + 1);
    let names: Vec<&str> = state.nodes.members.iter().take(fit).map(|member| member.name.as_str()).collect();
    let mut head = format!(" {:<13}", "");
    names.iter().for_each(|name| head.push_str(&format!("{:<CELL$} ", pen.cut(&shown(name), CELL))));
    pen.line(inner, 0, Line::styled(head, Style::new().add_modifier(Modifier::DIM)));
    for (line, (observer, sees)) in (1..).zip(&state.nodes.seen_by) {
        let mut spans = vec![Span::raw(format!(" {:<13}", pen.cut(&shown(observer), 12)))];
        for name in &names {
            let (tone, text) = seen(observer, sees.as_ref(), name);
            spans.push(Span::styled(format!("{text:<CELL$} "), pen.look.style(tone)));
        }
        pen.line(inner, line, Line::from(spans));
    }
}

fn seen(observer: &str, sees: Option<&Members>, name: &str) -> (Tone, String) {
    let Some(members) = sees else { return (Tone::Dim, "?".to_owned()) };
    if observer == name {
        let cut_off = members.observer.as_ref().and_then(|it| it.isolated_since);
        return if cut_off.is_some() { (Tone::Bad, "cut off".to_owned()) } else { (Tone::Dim, "-".to_owned()) };
    }
    let Some(member) = members.items.iter().find(|member| member.name == name) else {
        return (Tone::Dim, "?".to_owned());
    };
    match member.state {
        MemberState::Alive => match &member.gossip {
            Some(gossip) if gossip.is_unheard => (Tone::Bad, "unheard".to_owned()),
            Some(gossip) => match gossip.rtt_us {
                Some(rtt) => (heat(rtt), micros(rtt)),
                None => (Tone::Good, "alive".to_owned()),
            },
            None => (Tone::Good, "alive".to_owned()),
        },
        MemberState::Suspect => {
            let silent = member.gossip.as_ref().map(|gossip| span(gossip.silence_ms / 1_000));
            (Tone::Warn, format!("susp {}", silent.unwrap_or_default()))
        }
        state => (member_tone(state), state.as_str().to_owned()),
    }
}

/// A round trip within a zone, to another zone, and a slow one.
const fn heat(rtt_us: u64) -> Tone {
    match rtt_us {
        0..20_000 => Tone::Good,
        20_000..200_000 => Tone::Plain,
        _ => Tone::Warn,
    }
}
