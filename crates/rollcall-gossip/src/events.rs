//! What changed among the members, for logs and subscribers.

use rollcall_health::detector::Event;
use rollcall_types::UnixMillis;

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
