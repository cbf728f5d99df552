//! `rollcall members`, `leave`, `remove` and `transfer-leader`. (`rollcall join` starts a node: see `crate::node`.)

use std::time::Duration;

use clap::Args;
use rollcall_api::client::ClientError;
use rollcall_api::{List, Member, MemberState, RaftRole, paths};
use serde_json::json;

use crate::failure::Failure;
use crate::narrative::{role_word, state_word};
use crate::server::{ServerArgs, explain};
use crate::table::{Cell, Table};
use crate::terminal::Tone;

/// Longest time for a node to hand over its leadership and be removed from the members.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Arguments of `rollcall members`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall members
  rollcall members -o json | jq -r '.items[] | select(.role==\"leader\").name'")]
pub(crate) struct MembersArgs {
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
    let list = session.client.members().await.map_err(|error| explain(&error))?;
    session.answer(&list, table)
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

fn table(list: &List<Member>) -> Table {
    let mut table =
        Table::new(["NAME", "ID", "ROLE", "STATE", "ZONE", "VERSION", "HTTP", "PEER", "SINCE"]).numeric(&["ID"]);
    for member in &list.items {
        table.row([
            member.name.as_str().into(),
            member.node_id.into(),
            role(member.role),
            state(member.state),
            member.zone.as_deref().into(),
            member.version.as_deref().into(),
            member.addresses.http.as_deref().into(),
            member.addresses.peer.as_deref().into(),
            member.since.map(|since| since.to_string()).into(),
        ]);
    }
    table
}

fn role(role: RaftRole) -> Cell {
    let tone = if role == RaftRole::Leader { Tone::Strong } else { Tone::Plain };
    Cell::toned(tone, role_word(role))
}

fn state(state: MemberState) -> Cell {
    let tone = match state {
        MemberState::Alive => Tone::Good,
        MemberState::Suspect => Tone::Warn,
        MemberState::Dead => Tone::Bad,
        MemberState::Left | MemberState::Unknown => Tone::Dim,
    };
    Cell::toned(tone, state_word(state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Paint;

    #[test]
    fn members_are_a_table_that_lines_up() {
        let member = |name: &str, id: u64, role: &str, state: &str| {
            json!({
                "name": name, "node_id": id, "state": state, "role": role, "zone": "a", "version": "0.1.0",
                "addresses": { "http": "127.0.0.1:7400", "peer": "127.0.0.1:7401" }, "since": null, "cause": ""
            })
        };
        let list: List<Member> = serde_json::from_value(json!({
            "items": [member("node-1", 1, "leader", "alive"), member("observer-far-away", 101, "learner", "suspect")],
            "revision": 4, "next_cursor": null
        }))
        .unwrap();
        assert_eq!(
            table(&list).render(Paint::plain()),
            "NAME                ID  ROLE     STATE    ZONE  VERSION  HTTP            PEER            SINCE\n\
             node-1               1  leader   alive    a     0.1.0    127.0.0.1:7400  127.0.0.1:7401  -\n\
             observer-far-away  101  learner  suspect  a     0.1.0    127.0.0.1:7400  127.0.0.1:7401  -\n"
        );
    }
}
