//! What happens in the cluster, as lines: the events of the catalogue, the roles of nodes, the members.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use rollcall_api::client::{Client, ClientError, Options};
use rollcall_api::{Code, Member, WatchEvent};
use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::dev::plan::Plan;
use crate::narrative::{Sighting, event_line, member_changes, role_change};
use crate::terminal::{Paint, Tone, printable};

/// Between two looks at the roles and the members.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for a node to say its role. A paused node counts as silent after it.
const LOOK_TIMEOUT: Duration = Duration::from_millis(800);
/// Before a broken event stream is opened again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// Follows the catalogue from `revision` on, until nobody reads `lines`.
pub(crate) async fn events(plan: Plan, revision: u64, paint: Paint, lines: Sender<String>) {
    let Ok(client) = Client::new(plan.urls_from(0)) else {
        // The addresses are our own and were used before.
        return;
    };
    let mut since = Some(revision);
    loop {
        let mut stream = pin!(client.watch(&[], since));
        while let Some(event) = stream.next().await {
            match event {
                // A snapshot comes only after a compacted revision: nobody wants to read it.
                Ok(WatchEvent::Snapshot(part)) => since = Some(part.revision).filter(|_| part.last),
                Ok(event) => {
                    since = event.resume_from().or(since);
                    if let Some(line) = event_line(&event, paint)
                        && lines.send(line).await.is_err()
                    {
                        return;
                    }
                }
                Err(error) => {
                    if is_compacted(&error) {
                        since = None;
                    }
                    let line = paint.warn(printable(&format!("the event stream broke, trying again: {error}")));
                    if lines.send(line).await.is_err() {
                        return;
                    }
                }
            }
        }
        sleep(REOPEN_PAUSE).await;
    }
}

fn is_compacted(error: &ClientError) -> bool {
    error.problem().is_some_and(|problem| problem.code == Code::RevisionCompacted)
}

/// Looks at every node once a second and tells what changed, until nobody reads `lines`.
pub(crate) async fn roles(plan: Plan, paint: Paint, lines: Sender<String>) {
    let options = Options { attempt_timeout: LOOK_TIMEOUT, give_up_after: Duration::ZERO, ..Options::default() };
    let clients: Vec<Client> =
        plan.nodes.iter().filter_map(|node| Client::with_options([node.url()], options.clone()).ok()).collect();
    let mut sightings: Vec<Sighting> = vec![None; clients.len()];
    let mut members: Option<Vec<Member>> = None;
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut news: Vec<(Tone, String)> = Vec::new();
        let seen = join_all(clients.iter().map(async |client| client.raft().await.ok())).await;
        for ((node, before), after) in plan.nodes.iter().zip(&mut sightings).zip(seen) {
            news.extend(role_change(&node.name, before, &after));
            *before = after;
        }
        if let Some(after) = current_members(&clients, &sightings).await {
            // The first look is no news.
            news.extend(members.as_deref().map(|before| member_changes(before, &after)).unwrap_or_default());
            members = Some(after);
        }
        for (tone, line) in news {
            if lines.send(paint.tone(tone, printable(&line))).await.is_err() {
                return;
            }
        }
    }
}

/// The members as the leader sees them, or whoever answers.
async fn current_members(clients: &[Client], sightings: &[Sighting]) -> Option<Vec<Member>> {
    let is_leader =
        |sighting: &Sighting| sighting.as_ref().is_some_and(|status| status.role == rollcall_api::RaftRole::Leader);
    let leader = sightings.iter().position(is_leader);
    let index = leader.or_else(|| sightings.iter().position(Option::is_some))?;
    clients[index].members().await.ok().map(|list| list.items)
}
