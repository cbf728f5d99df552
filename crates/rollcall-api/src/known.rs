//! What is known of the health of an instance, as every answer that shows the instance shows it.

use rollcall_types::{Millis, Status, StatusCause, UnixMillis};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::{State, Timestamp};

/// Where an instance is heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// Getting better.
    Improving,
    /// Neither.
    Stable,
    /// Getting worse.
    Degrading,
    /// Too little was seen to say. A client reads a trend that it does not know as this one.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What changes how an instance is used, beside its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlay {
    /// An operator lets it finish what it has.
    Draining,
    /// An operator keeps it out for a time.
    Quarantined,
    /// It became passing lately and gets a share of traffic that grows.
    Warming,
    /// Its state changed so often that it is held at the worse one.
    Flapping,
    /// It would be deregistered, but too much fails at once.
    Protected,
    /// One that this build does not know. Read from a newer server, never sent.
    #[serde(other)]
    Unknown,
}

impl Overlay {
    const SENT: [Self; 5] = [Self::Draining, Self::Quarantined, Self::Warming, Self::Flapping, Self::Protected];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Quarantined => "quarantined",
            Self::Warming => "warming",
            Self::Flapping => "flapping",
            Self::Protected => "protected",
            Self::Unknown => "unknown",
        }
    }
}

/// A set of overlays, written as a list of their words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlays(u8);

impl Overlays {
    /// The set with one more.
    #[must_use]
    pub const fn with(self, overlay: Overlay) -> Self {
        Self(self.0 | 1 << overlay as u8)
    }

    /// Whether it is in the set.
    pub const fn contains(self, overlay: Overlay) -> bool {
        self.0 >> overlay as u8 & 1 == 1
    }
}

impl Serialize for Overlays {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(Overlay::SENT.into_iter().filter(|overlay| self.contains(*overlay)))
    }
}

/// What is measured whose trend predicts a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForecastSignal {
    /// How long a check takes, in ms; it fails at the timeout.
    Latency,
    /// Share of failures, of 1.
    ErrorRate,
    /// Share of the CPU in use, of 1.
    Cpu,
    /// Share of the memory in use, of 1.
    Memory,
    /// Share of the requests that it can work on at once, of 1.
    InFlight,
    /// Of a node: how long its log takes to be on disk, in ms.
    Fsync,
    /// Of a node: time between commit and apply of an entry, in ms.
    ApplyLag,
    /// Of a node: how far it is behind its own schedule, in ms.
    Lateness,
    /// Of a node: free bytes on the disk of its log.
    DiskFree,
    /// One that this build does not know.
    #[serde(other)]
    Unknown,
}

/// What is expected of an instance or a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// It is getting worse, and fails within six windows of its forecast if that goes on.
    Degrading,
    /// It fails within a window.
    PredictedFailure,
    /// One that this build does not know.
    #[serde(other)]
    Unknown,
}

/// Most instances of a service degrade at once: the cause lies in what they share, and none of them gets less for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommonCause {
    /// Instances that degrade.
    pub degrading: u64,
    /// Instances whose trend is known.
    pub compared: u64,
}

/// A failure that is predicted, if the trend goes on. It is advice: nothing is removed for it. The times count from the answer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Forecast {
    /// What is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlook: Option<Outlook>,
    /// It fails within this time, by the class that the observers tell each other: 10 s, 30 s, 1 min, 2 min, 5 min or 10 min;
    /// `null` when it takes longer.
    pub time_to_failure_ms: Option<u64>,
    /// The best guess.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely_ms: Option<u64>,
    /// With the steepest slope that 95 % confidence allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earliest_ms: Option<u64>,
    /// With the flattest; left out when that one never gets there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_ms: Option<u64>,
    /// How much the trend is to be trusted, in [0, 1].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The signal that is heading there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<ForecastSignal>,
    /// Where it is, in the unit of the signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<f64>,
    /// Where it has failed, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Units that it moves in a minute, when it goes straight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slope_per_minute: Option<f64>,
    /// The part of itself by which it grows in a minute, when it does not: 0.04 is 4 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_per_minute: Option<f64>,
    /// Set when most of the service degrades together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_cause: Option<CommonCause>,
}

/// How far an instance is in its slow start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WarmUp {
    /// The part of its weight that it gets now, 0.1 to 1: it grows evenly.
    pub share: f64,
    /// When it gets all of it.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

impl WarmUp {
    /// The part of its weight that an instance gets at first: enough to warm up by.
    pub const SHARE_MIN: f64 = 0.1;

    /// How far an instance is at `now` that is passing since `since`; `None` when it has warmed up.
    ///
    /// ```text
    /// share = 0.1 + 0.9 × (now − since) / slow start
    /// ```
    pub fn at(now: UnixMillis, since: UnixMillis, slow_start: Millis) -> Option<Self> {
        let until = since.plus(slow_start);
        if now >= until {
            return None;
        }
        // A clock that runs ahead wrote `since`: then it begins now.
        let gone = now.get().saturating_sub(since.get()) as f64 / slow_start.get() as f64;
        Some(Self { share: thousandths(Self::SHARE_MIN + (1.0 - Self::SHARE_MIN) * gone), until: until.into() })
    }
}

/// What is known of the health of an instance, to be written into an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownHealth {
    /// Its status.
    pub status: Status,
    /// Why.
    pub cause: StatusCause,
    /// Since when it has this status.
    pub since: UnixMillis,
    /// How well it does, in [0, 1]; `None` when nobody looks.
    pub score: Option<f64>,
    /// Where it is heading.
    pub trend: Trend,
    /// When it fails, if that is predicted.
    pub forecast: Option<Forecast>,
    /// Checks that take away a capability: bit n for check n of the registration.
    pub failed_checks: u16,
    /// All but those that its lifecycle makes.
    pub overlays: Overlays,
    /// How far it is in its slow start.
    pub warm_up: Option<WarmUp>,
    /// Observers whose word counts, and how many of them see it failing; `None` where only the journal speaks.
    pub observers: Option<(u16, u16)>,
}

impl KnownHealth {
    /// What the journal says: the same on every node and for everybody who watches.
    pub const fn journaled(status: Status, cause: StatusCause, since: UnixMillis) -> Self {
        Self {
            status,
            cause,
            since,
            score: None,
            trend: Trend::Unknown,
            forecast: None,
            failed_checks: 0,
            overlays: Overlays(0),
            warm_up: None,
            observers: None,
        }
    }
}

/// Every cause, for their phrases.
const CAUSES: [StatusCause; 8] = [
    StatusCause::Unchecked,
    StatusCause::Unseen,
    StatusCause::Stale,
    StatusCause::Observed,
    StatusCause::Confirmed,
    StatusCause::OnlyObserver,
    StatusCause::Unconfirmed,
    StatusCause::Path,
];

/// The `cause` of an answer as a phrase for people; the word itself when this build does not know it.
pub fn cause_phrase(word: &str) -> &str {
    CAUSES.iter().find(|cause| cause.as_str() == word).map_or(word, |cause| cause.phrase())
}

/// The number to three decimals: nobody measures a score more exactly, and bytes are read by people.
pub(crate) fn thousandths(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

impl State {
    /// Whether an instance in this state can take traffic: its checks pass, maybe with a reserve.
    pub const fn is_healthy(self) -> bool {
        matches!(self, Self::Passing | Self::Warning)
    }

    /// How much it asks for attention: critical, warning, unknown, starting, passing.
    pub const fn severity(self) -> u8 {
        match self {
            Self::Passing => 0,
            Self::Starting => 1,
            Self::Unknown => 2,
            Self::Warning => 3,
            Self::Critical => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_warm_up_begins_with_a_tenth_and_grows_evenly() {
        let (since, slow_start) = (UnixMillis::new(10_000), Millis::new(60_000));
        let share = |now: u64| WarmUp::at(UnixMillis::new(now), since, slow_start).map(|it| it.share);
        assert_eq!(share(10_000), Some(0.1));
        assert_eq!(share(40_000), Some(0.55));
        assert_eq!(share(70_000), None);
        assert_eq!(share(9_000), Some(0.1), "a clock that is behind the one that wrote `since`");
        assert_eq!(WarmUp::at(since, since, Millis::new(0)), None);
    }

    #[test]
    fn overlays_are_a_list_of_words() {
        let overlays = Overlays::default().with(Overlay::Flapping).with(Overlay::Draining);
        assert_eq!(serde_json::to_value(overlays).unwrap(), json!(["draining", "flapping"]));
        let read: Vec<Overlay> = serde_json::from_value(json!(["draining", "glowing"])).unwrap();
        assert_eq!(read, [Overlay::Draining, Overlay::Unknown]);
        for overlay in Overlay::SENT {
            assert_eq!(serde_json::to_value(overlay).unwrap(), overlay.as_str());
        }
    }

    #[test]
    fn every_cause_has_a_phrase_and_an_unknown_one_is_its_own() {
        for cause in CAUSES {
            assert_eq!(cause_phrase(cause.as_str()), cause.phrase());
        }
        assert_eq!(cause_phrase("struck_by_lightning"), "struck_by_lightning");
    }
}
