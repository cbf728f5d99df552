//! What changed among the members, for logs and subscribers.

use rollcall_health::detector::Event;
use rollcall_types::{NodeName, UnixMillis};
use tracing::{info, warn};

/// Events that a subscriber may be behind; one that is further behind is told so, and reads the view again.
pub const EVENTS_KEPT: usize = 1_024;

/// Something that people or subscribers should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEvent {
    /// Counts from 1 since the start, without gaps.
    pub sequence: u64,
    /// When, by the wall clock of this node.
    pub at: UnixMillis,
    /// What.
    pub event: Event,
}

/// Writes `event` to the log of the node `me`.
pub(crate) fn log(event: &Event, me: &NodeName) {
    match event {
        Event::Changed { member, from: None, to, .. } => info!(peer.id = %member, "node {member} is {to}"),
        Event::Changed { member, from: Some(from), to, cause, .. } => {
            info!(peer.id = %member, %from, %to, "node {member} went from {from} to {to}: {}", cause.phrase());
        }
        Event::Forgotten { member } => info!(peer.id = %member, "node {member} is forgotten"),
        Event::Stalled { late } => warn!("this process was not run for {late:?}; it judges no other node for a while"),
        Event::Isolated => warn!("more than half of the nodes fell silent at once: this node seems to be cut off"),
        Event::Reconnected => info!("this node hears the others again"),
        Event::LinkFault(link) => {
            warn!("nothing that node {} sends reaches node {}, though others hear it", link.from, link.to);
        }
        Event::LinkRepaired(link) => info!("node {} hears node {} again", link.to, link.from),
        Event::Accused { by } => warn!(peer.id = %by, "node {by} does not hear this node"),
        Event::NameShared { member, older, newer } if member == me => warn!(
            "two processes use this node's name '{member}': generations {older} and {newer}; the newer is the member"
        ),
        Event::NameShared { member, older, newer } => warn!(
            peer.id = %member,
            "two processes use the name '{member}': generations {older} and {newer}; the newer is the member"
        ),
    }
}
