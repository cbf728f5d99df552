//! The metrics of this crate, each declared once.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use rollcall_health::DigestKind;
use rollcall_health::detector::State;

/// Why a message from outside was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rejection {
    /// Shorter than anything that is ever sealed.
    TooShort,
    /// Larger than anything that is ever sent that way.
    Oversized,
    /// A version of the format that this program does not know.
    UnknownVersion,
    /// Sealed with a key that this node does not have.
    UnknownKey,
    /// The tag does not fit: changed on the way, made up, or of another cluster.
    NotAuthentic,
    /// Authentic, and came before.
    Replayed,
    /// Authentic, of a process that did not yet prove to this one that it lives now. The usual fate of a first message.
    Unproven,
    /// Authentic, of a process older than one that has the name now.
    OldIncarnation,
    /// Authentic, and its content makes no sense.
    Undecodable,
    /// Authentic, and more of them than a healthy member sends or this node can work off.
    Rate,
    /// The link is cut on purpose, by fault injection.
    Blocked,
    /// Too many connections, or too many from one place that prove nothing.
    Full,
    /// A stream that proved nothing in time.
    Slow,
}

impl Rejection {
    pub(crate) const ALL: [Self; 13] = [
        Self::TooShort,
        Self::Oversized,
        Self::UnknownVersion,
        Self::UnknownKey,
        Self::NotAuthentic,
        Self::Replayed,
        Self::Unproven,
        Self::OldIncarnation,
        Self::Undecodable,
        Self::Rate,
        Self::Blocked,
        Self::Full,
        Self::Slow,
    ];

    /// The label value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::Oversized => "oversized",
            Self::UnknownVersion => "unknown_version",
            Self::UnknownKey => "unknown_key",
            Self::NotAuthentic => "not_authentic",
            Self::Replayed => "replayed",
            Self::Unproven => "unproven",
            Self::OldIncarnation => "old_incarnation",
            Self::Undecodable => "undecodable",
            Self::Rate => "rate",
            Self::Blocked => "blocked",
            Self::Full => "full",
            Self::Slow => "slow",
        }
    }
}

/// A queue that drops when it is full.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Queue {
    /// Authentic gossip that waits to be decoded.
    Decode,
    /// Decoded gossip that waits for chitchat.
    Gossip,
    /// Detector messages that wait for the detector.
    Detector,
    /// Frames that wait for a stream to a peer.
    Stream,
}

impl Queue {
    const ALL: [Self; 4] = [Self::Decode, Self::Gossip, Self::Detector, Self::Stream];

    fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "gossip_decode",
            Self::Gossip => "gossip_inbound",
            Self::Detector => "gossip_detector",
            Self::Stream => "gossip_stream",
        }
    }
}

/// The way a message goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Datagram,
    Stream,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Datagram => "datagram",
            Self::Stream => "stream",
        }
    }
}

const SENT: &str = "rollcall_gossip_sent_total";
const SENT_BYTES: &str = "rollcall_gossip_sent_bytes_total";
const RECEIVED: &str = "rollcall_gossip_received_total";
const RECEIVED_BYTES: &str = "rollcall_gossip_received_bytes_total";
const REJECTED: &str = "rollcall_gossip_rejected_total";
const DROPPED: &str = "rollcall_gossip_dropped_total";
const ROUNDS: &str = "rollcall_gossip_rounds_total";
const RESTARTS: &str = "rollcall_gossip_restarts_total";
const SKIPPED: &str = "rollcall_gossip_values_skipped_total";
const DIGESTS_REFUSED: &str = "rollcall_gossip_digests_refused_total";
const DIGESTS_UNPUBLISHED: &str = "rollcall_gossip_digests_unpublished";
const DIGESTS: &str = "rollcall_gossip_digests";
const STREAMS: &str = "rollcall_gossip_streams";
const MEMBERS: &str = "rollcall_gossip_members";
const SUSPICIONS: &str = "rollcall_gossip_suspicions_total";
const REFUTATIONS: &str = "rollcall_gossip_refutations_total";
const DEATHS: &str = "rollcall_gossip_deaths_total";
const ACCUSATIONS: &str = "rollcall_gossip_accusations_total";
const FALSE_DEATHS: &str = "rollcall_gossip_false_deaths_total";
const ISOLATED: &str = "rollcall_gossip_isolated";
const STALL_SECONDS: &str = "rollcall_gossip_stall_duration_seconds";
const RTT_SECONDS: &str = "rollcall_gossip_rtt_seconds";

/// Tells the recorder what the metrics mean. Call once, after the recorder is installed.
pub fn describe() {
    describe_counter!(SENT, Unit::Count, "Sealed gossip messages sent, by way");
    describe_counter!(SENT_BYTES, Unit::Bytes, "Bytes of sealed gossip messages sent, by way");
    describe_counter!(RECEIVED, Unit::Count, "Gossip messages that came, good or not, by way");
    describe_counter!(RECEIVED_BYTES, Unit::Bytes, "Bytes of gossip messages that came, good or not, by way");
    describe_counter!(REJECTED, Unit::Count, "Gossip messages and streams refused, by reason");
    describe_counter!(DROPPED, Unit::Count, "Good gossip messages dropped because a queue was full, by queue");
    describe_counter!(ROUNDS, Unit::Count, "Gossip messages that were worked off");
    describe_counter!(RESTARTS, Unit::Count, "Times that the gossip task ended and was started again");
    describe_counter!(SKIPPED, Unit::Count, "Values published by others that do not obey the rules, each change once");
    describe_counter!(
        DIGESTS_REFUSED,
        Unit::Count,
        "Values in the place of health digests that were not taken, by reason"
    );
    describe_gauge!(
        DIGESTS_UNPUBLISHED,
        Unit::Count,
        "Health digests of this node that are beyond what a node may publish, so that nobody knows them"
    );
    describe_gauge!(DIGESTS, Unit::Count, "Health digests that this node holds from all nodes, removed ones included");
    describe_gauge!(STREAMS, Unit::Count, "Open inbound gossip streams");
    describe_gauge!(MEMBERS, Unit::Count, "Members as this node sees them, by state");
    describe_counter!(SUSPICIONS, Unit::Count, "Members that this node came to suspect");
    describe_counter!(REFUTATIONS, Unit::Count, "Suspected or dead members that showed that they live");
    describe_counter!(DEATHS, Unit::Count, "Members that this node came to hold dead");
    describe_counter!(ACCUSATIONS, Unit::Count, "Times that another member suspected this node, which lives");
    describe_counter!(
        FALSE_DEATHS,
        Unit::Count,
        "Times that another member held this node dead, which lives, and told it so when it heard it again"
    );
    counter!(ACCUSATIONS).increment(0);
    describe_gauge!(ISOLATED, Unit::Count, "1 while more than half of the members are silent at once, else 0");
    describe_histogram!(STALL_SECONDS, Unit::Seconds, "Time during which this process was not run though it was due");
    describe_histogram!(RTT_SECONDS, Unit::Seconds, "Smoothed round-trip times to the other members");
    for rejection in Rejection::ALL {
        counter!(REJECTED, "reason" => rejection.as_str()).increment(0);
    }
    for queue in Queue::ALL {
        counter!(DROPPED, "queue" => queue.as_str()).increment(0);
    }
}

pub(crate) fn sent(way: Way, bytes: usize) {
    counter!(SENT, "way" => way.as_str()).increment(1);
    counter!(SENT_BYTES, "way" => way.as_str()).increment(bytes as u64);
}

pub(crate) fn received(way: Way, bytes: usize) {
    counter!(RECEIVED, "way" => way.as_str()).increment(1);
    counter!(RECEIVED_BYTES, "way" => way.as_str()).increment(bytes as u64);
}

pub(crate) fn rejected(rejection: Rejection) {
    counter!(REJECTED, "reason" => rejection.as_str()).increment(1);
}

pub(crate) fn dropped(queue: Queue) {
    counter!(DROPPED, "queue" => queue.as_str()).increment(1);
}

pub(crate) fn round() {
    counter!(ROUNDS).increment(1);
}

pub(crate) fn restarted() {
    counter!(RESTARTS).increment(1);
}

pub(crate) fn value_skipped() {
    counter!(SKIPPED).increment(1);
}

/// `reason` is one of a closed set: "no_chunk", or what [`rollcall_health::Refused::reason`] answers.
pub(crate) fn digest_refused(reason: &'static str) {
    counter!(DIGESTS_REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn digests_unpublished(kind: DigestKind, count: usize) {
    gauge!(DIGESTS_UNPUBLISHED, "kind" => kind.as_str()).set(count as f64);
}

pub(crate) fn digests(kind: DigestKind, count: usize) {
    gauge!(DIGESTS, "kind" => kind.as_str()).set(count as f64);
}

pub(crate) fn streams(open: usize) {
    gauge!(STREAMS).set(open as f64);
}

pub(crate) fn members(state: State, count: usize) {
    gauge!(MEMBERS, "state" => state.as_str()).set(count as f64);
}

pub(crate) fn became(from: Option<State>, to: State) {
    match (from, to) {
        (_, State::Suspect) => counter!(SUSPICIONS).increment(1),
        (_, State::Dead) => counter!(DEATHS).increment(1),
        (Some(State::Suspect | State::Dead), State::Alive) => counter!(REFUTATIONS).increment(1),
        _ => {}
    }
}

pub(crate) fn accused() {
    counter!(ACCUSATIONS).increment(1);
}

/// `count` is that since the start.
pub(crate) fn false_deaths(count: u64) {
    counter!(FALSE_DEATHS).absolute(count);
}

pub(crate) fn isolated(is_isolated: bool) {
    gauge!(ISOLATED).set(if is_isolated { 1.0 } else { 0.0 });
}

pub(crate) fn stalled(late: Duration) {
    histogram!(STALL_SECONDS).record(late.as_secs_f64());
}

pub(crate) fn rtt(rtt: Duration) {
    histogram!(RTT_SECONDS).record(rtt.as_secs_f64());
}
