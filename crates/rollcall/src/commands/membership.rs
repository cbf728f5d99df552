//! `rollcall members`, `leave`, `remove` and `transfer-leader`. (`rollcall join` starts a node: see `crate::node`.)

use std::pin::pin;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;
use rollcall_api::client::ClientError;
use rollcall_api::words::node_outlook;
use rollcall_api::{ClusterEvent, Members, RaftRole, paths};
use serde_json::json;

use crate::failure::Failure;
use crate::narrative::{expected_lines, member_line, role_word, state_tone, state_word};
use crate::server::{ServerArgs, Session, explain};
use crate::table::{Cell, Table};
use crate::terminal::{Tone, print, printable, remark};

/// Longest time for a node to hand over its leadership and be removed from the members.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Arguments of `rollcall members`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall members
  rollcall members --watch                what changes, as one node sees it
  rollcall members -o json | jq -r '.items[] | select(.role==\"leader\").name'")]
pub(crate) struct MembersArgs {
    /// Go on and print what changes
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `rollcall leave`.
#[derive(Debug, Args)]
#[command(after_help = "\
The node hands over what it leads, is removed from the members, and stops. Its
id is not used again: to come back it joins as a new node, with an empty data
folder.

Examples:
  rollcall leave --server http://10.0.0.9:7400    the node at that address")]
pub(crate) struct LeaveArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `rollcall remove`.
#[derive(Debug, Args)]
#[command(after_help = "\
For a node that is gone for good. One that still runs should leave by itself:
`rollcall leave`.

Examples:
  rollcall remove node-2
  rollcall remove 102")]
pub(crate) struct RemoveArgs {
    /// Name or id of the member
    node: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `rollcall transfer-leader`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall transfer-leader               to whoever is furthest in the log
  rollcall transfer-leader node-2")]
pub(crate) struct TransferLeaderArgs {
    /// Name of the voter that should lead
    node: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lists the members.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn members(args: MembersArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    if args.watch {
        return follow(&session).await;
    }
    let members = session.client.members().await.map_err(|error| explain(&error))?;
    session.answer(&members, table)?;
    for line in remarks(&members) {
        remark(&format!("{}\n", printable(&line)));
    }
    Ok(())
}

/// Prints what changes among the members, as one node sees it, until it is stopped.
async fn follow(session: &Session) -> Result<(), Failure> {
    let mut events = pin!(session.client.cluster_events().await.map_err(|error| explain(&error))?);
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| explain(&error))?;
        let text = if session.is_json() {
            let json = serde_json::to_string(&event);
            json.map_err(|error| Failure::failed("the event cannot be written as JSON").because(&error))?
        } else {
            match &event {
                ClusterEvent::Members(members) => {
                    let states =
                        members.items.iter().map(|member| format!("{} {}", member.name, state_word(member.state)));
                    format!("there: {}", printable(&states.collect::<Vec<_>>().join(", ")))
                }
                ClusterEvent::Member(change) => member_line(change, session.paint),
                ClusterEvent::Forecast(changes) => expected_lines(changes, session.paint),
            }
        };
        print(&format!("{text}\n"))?;
    }
    Ok(())
}

/// Makes the node at `--server` leave.
///
/// # Errors
/// When more than one node is named, or what the node refuses.
pub(crate) async fn leave(args: LeaveArgs) -> Result<(), Failure> {
    if let [_, _, ..] = args.server.server.as_slice() {
        return Err(Failure::usage("--server must name the one node that is to leave").hint("rollcall members"));
    }
    let session = args.server.connect()?;
    let node = &args.server.server[0];
    ask_to_leave(node).await?;
    session.say(&json!({ "left": node }), |_| format!("the node at {node} leaves the cluster and stops\n"))
}

/// The typed client moves on to another node when one does not answer; this request must reach the one that is named.
async fn ask_to_leave(node: &str) -> Result<(), Failure> {
    let base = if node.contains("://") { node.to_owned() } else { format!("http://{node}") };
    let url = format!("{}{}", base.trim_end_matches('/'), paths::LEAVE);
    let unreachable = |source| explain(&ClientError::Transport { node: node.to_owned(), source });
    let http = reqwest::Client::builder().timeout(LEAVE_TIMEOUT).no_proxy().build().map_err(unreachable)?;
    let answer = http.post(url).send().await.map_err(unreachable)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body = answer.bytes().await.map_err(unreachable)?;
    Err(explain(&match serde_json::from_slice(&body) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(error) => {
            ClientError::Unexpected { node: node.to_owned(), status: status.as_u16(), reason: error.to_string() }
        }
    }))
}

/// Removes a member.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn remove(args: RemoveArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    session.client.remove_member(&args.node).await.map_err(|error| explain(&error))?;
    session.say(&json!({ "removed": args.node }), |_| format!("removed {}\n", args.node))
}

/// Moves the leadership.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn transfer_leader(args: TransferLeaderArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    session.client.transfer_leader(args.node.as_deref()).await.map_err(|error| explain(&error))?;
    let to = args.node.as_deref().unwrap_or("the voter that is furthest in the log");
    session.say(&json!({ "asked": true, "to": args.node }), |_| format!("asked the leader to hand over to {to}\n"))
}

fn table(members: &Members) -> Table {
    let heads = ["NAME", "ID", "ROLE", "STATE", "SILENCE", "RTT", "ZONE", "VERSION", "HTTP", "SINCE", "CAUSE"];
    let mut table = Table::new(heads).numeric(&["ID", "SILENCE", "RTT"]);
    for member in &members.items {
        let gossip = member.gossip.as_ref();
        table.row([
            member.name.as_str().into(),
            member.node_id.map(|id| id.to_string()).into(),
            role(member.role),
            Cell::toned(state_tone(member.state), state_word(member.state)),
            gossip.map(|gossip| format!("{} ms", gossip.silence_ms)).into(),
            gossip.and_then(|gossip| gossip.rtt_us).map(|rtt| format!("{:.1} ms", rtt as f64 / 1_000.0)).into(),
            member.zone.as_deref().into(),
            member.version.as_deref().into(),
            member.addresses.http.as_deref().into(),
            member.since.map(|since| since.to_string()).into(),
            member.cause.as_str().into(),
        ]);
    }
    table
}

fn role(role: RaftRole) -> Cell {
    let tone = if role == RaftRole::Leader { Tone::Strong } else { Tone::Plain };
    Cell::toned(tone, role_word(role))
}

/// What an operator must know beside the table.
fn remarks(members: &Members) -> Vec<String> {
    let mut lines = Vec::new();
    for member in &members.items {
        lines.extend(member.forecasts.iter().map(|forecast| format!("{}: {}", member.name, node_outlook(forecast))));
        let Some(gossip) = &member.gossip else { continue };
        if !gossip.witnesses.is_empty() {
            lines.push(format!("{} is suspected by {}", member.name, gossip.witnesses.join(", ")));
        }
        if let Some(rival) = gossip.rival_generation {
            lines.push(format!(
                "two processes are called {}: generation {} is the member; stop the one of generation {rival}, or rename it",
                member.name, gossip.generation
            ));
        }
    }
    let Some(observer) = &members.observer else { return lines };
    for fault in &observer.link_faults {
        lines.push(format!("nothing that {} sends reaches {}, though others hear it", fault.from, fault.to));
    }
    if let Some(since) = observer.isolated_since {
        lines.push(format!("{} takes itself for cut off since {since}: ask another node", observer.name));
    }
    if let Some(newer) = observer.outranked_by {
        lines.push(format!("{} is outranked by another process with its name, of generation {newer}", observer.name));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Paint;

    fn members() -> Members {
        let member = |name: &str, id: Option<u64>, role: &str, state: &str| {
            json!({
                "name": name, "node_id": id, "state": state, "role": role, "zone": "a", "version": "0.1.0",
                "addresses": { "http": "127.0.0.1:7400" }, "since": null, "cause": "seen for the first time"
            })
        };
        let mut suspect = member("far-away", Some(101), "learner", "suspect");
        suspect["gossip"] = json!({
            "generation": 9, "silence_ms": 1201, "patience_ms": 1000, "rtt_us": 1400, "lateness": "on_time",
            "witnesses": ["node-1", "node-2"], "flaps": 0, "is_unheard": false, "rival_generation": 7
        });
        let mut leader = member("node-1", Some(1), "leader", "alive");
        leader["forecasts"] = json!([{
            "outlook": "predicted_failure", "signal": "disk_free", "now": 3.1e9, "threshold": 268_435_456.0,
            "likely_ms": 2_400_000, "confidence": 0.71
        }]);
        serde_json::from_value(json!({
            "items": [suspect, leader, member("old", None, "unknown", "alive")],
            "revision": 4, "next_cursor": null,
            "observer": {
                "name": "node-1", "generation": 3, "sealing_key": "00c0ffee", "lateness": "on_time", "stalls": 0,
                "isolated_since": null, "outranked_by": null, "link_faults": [{ "from": "node-2", "to": "node-1" }]
            }
        }))
        .unwrap()
    }

    #[test]
    fn members_are_a_table_that_lines_up() {
        assert_eq!(
            table(&members()).render(Paint::plain()),
            "NAME       ID  ROLE     STATE    SILENCE     RTT  ZONE  VERSION  HTTP            SINCE  CAUSE\n\
             far-away  101  learner  suspect  1201 ms  1.4 ms  a     0.1.0    127.0.0.1:7400  -      seen for the first time\n\
             node-1      1  leader   alive          -       -  a     0.1.0    127.0.0.1:7400  -      seen for the first time\n\
             old         -  none     alive          -       -  a     0.1.0    127.0.0.1:7400  -      seen for the first time\n"
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        assert_eq!(
            remarks(&members()),
            [
                "far-away is suspected by node-1, node-2",
                "two processes are called far-away: generation 9 is the member; stop the one of generation 7, or rename it",
                "node-1: disk full in about 40m (3.1 GB, fails at 268 MB, confidence 0.71)",
                "nothing that node-2 sends reaches node-1, though others hear it"
            ]
        );
    }
}
