//! What one observer says about one instance, and how it fits into 16 bits.
//!
//! ```text
//! bit 0–2 status, 3–8 score, 9–10 trend, 11–13 time to failure, 14–15 flap
//! ```

use std::time::Duration;

use rollcall_types::Status;

/// The status with this code; `None` where none has it.
const fn status_from_bits(bits: u16) -> Option<Status> {
    // 0 would be `Unknown`: who has no verdict leaves the slot empty. 5 to 7 are free.
    Some(match bits {
        1 => Status::Starting,
        2 => Status::Passing,
        3 => Status::Warning,
        4 => Status::Critical,
        _ => return None,
    })
}

/// A score in [0, 1] in steps of 1/63; 1 is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScoreStep(u8);

impl ScoreStep {
    /// The best score, 1.
    pub const BEST: Self = Self(63);
    /// The worst score, 0.
    pub const WORST: Self = Self(0);

    /// The step nearest to `score`; what lies outside [0, 1] counts as the nearer end, and NaN as 0.
    pub fn nearest(score: f64) -> Self {
        // The cast saturates and takes NaN for 0.
        Self((score.clamp(0.0, 1.0) * f64::from(Self::BEST.0)).round() as u8)
    }

    /// The score in [0, 1].
    pub fn score(self) -> f64 {
        f64::from(self.0) / f64::from(Self::BEST.0)
    }

    /// Steps between the two.
    pub(super) const fn distance(self, other: Self) -> u8 {
        self.0.abs_diff(other.0)
    }
}

/// Where an instance is heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Trend {
    /// Too little was seen to say.
    #[default]
    Unknown,
    /// Getting better.
    Improving,
    /// Neither.
    Stable,
    /// Getting worse.
    Degrading,
}

impl Trend {
    /// The word for it in logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Improving => "improving",
            Self::Stable => "stable",
            Self::Degrading => "degrading",
        }
    }
}

/// How soon an instance is predicted to fail, in classes. Sooner is greater.
///
/// Classes and not seconds, because a prediction is not more exact than that, and because each step costs a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TimeToFailure {
    /// No failure is predicted.
    #[default]
    NotPredicted,
    /// In more than 10 minutes.
    Later,
    /// Within 10 minutes.
    Within10Min,
    /// Within 5 minutes.
    Within5Min,
    /// Within 2 minutes.
    Within2Min,
    /// Within a minute.
    Within1Min,
    /// Within 30 seconds.
    Within30Secs,
    /// Within 10 seconds.
    Within10Secs,
}

impl TimeToFailure {
    /// The classes but [`Self::NotPredicted`], from late to soon, with the longest time that each still covers.
    const CLASSES: [(Self, Duration); 7] = [
        (Self::Later, Duration::MAX),
        (Self::Within10Min, Duration::from_secs(600)),
        (Self::Within5Min, Duration::from_secs(300)),
        (Self::Within2Min, Duration::from_secs(120)),
        (Self::Within1Min, Duration::from_secs(60)),
        (Self::Within30Secs, Duration::from_secs(30)),
        (Self::Within10Secs, Duration::from_secs(10)),
    ];

    /// The class of a failure predicted in `time`.
    pub fn within(time: Duration) -> Self {
        let covering = Self::CLASSES.iter().rev().find(|(_, longest)| time <= *longest);
        covering.map_or(Self::Later, |(class, _)| *class)
    }

    /// The longest time that this class covers; `None` when there is no bound or no prediction.
    pub fn at_most(self) -> Option<Duration> {
        let found = Self::CLASSES.iter().find(|(class, _)| *class == self);
        found.map(|(_, longest)| *longest).filter(|longest| *longest != Duration::MAX)
    }

    const fn from_bits(bits: u16) -> Self {
        match bits & 7 {
            0 => Self::NotPredicted,
            1 => Self::Later,
            2 => Self::Within10Min,
            3 => Self::Within5Min,
            4 => Self::Within2Min,
            5 => Self::Within1Min,
            6 => Self::Within30Secs,
            _ => Self::Within10Secs,
        }
    }
}

/// How often the status has changed lately, as flap damping counts it. More is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Flap {
    /// Not lately.
    #[default]
    Calm,
    /// Once, as a failure or a recovery does.
    Changed,
    /// More than once.
    Unsteady,
    /// So often that the status is held at the worse one.
    Flapping,
}

impl Flap {
    /// The word for it in logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Changed => "changed",
            Self::Unsteady => "unsteady",
            Self::Flapping => "flapping",
        }
    }
}

/// What one observer says about one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observation {
    /// The verdict of the checks.
    pub status: Status,
    /// How well it does.
    pub score: ScoreStep,
    /// Where it is heading.
    pub trend: Trend,
    /// When it is predicted to fail.
    pub time_to_failure: TimeToFailure,
    /// How often it has changed lately.
    pub flap: Flap,
}

impl Observation {
    /// A verdict with the best score, and nothing else to tell.
    pub fn of(status: Status) -> Self {
        Self {
            status,
            score: ScoreStep::BEST,
            trend: Trend::Unknown,
            time_to_failure: TimeToFailure::NotPredicted,
            flap: Flap::Calm,
        }
    }

    pub(super) const fn bits(self) -> u16 {
        self.status as u16
            | ((self.score.0 as u16) << 3)
            | ((self.trend as u16) << 9)
            | ((self.time_to_failure as u16) << 11)
            | ((self.flap as u16) << 14)
    }

    /// `None` when the bits hold no verdict.
    pub(super) fn from_bits(bits: u16) -> Option<Self> {
        let status = status_from_bits(bits & 7)?;
        let trend = match (bits >> 9) & 3 {
            0 => Trend::Unknown,
            1 => Trend::Improving,
            2 => Trend::Stable,
            _ => Trend::Degrading,
        };
        let flap = match bits >> 14 {
            0 => Flap::Calm,
            1 => Flap::Changed,
            2 => Flap::Unsteady,
            _ => Flap::Flapping,
        };
        let score = ScoreStep(((bits >> 3) & 63) as u8);
        Some(Self { status, score, trend, time_to_failure: TimeToFailure::from_bits(bits >> 11), flap })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bits_either_hold_one_observation_or_no_verdict() {
        for bits in 0..=u16::MAX {
            let has_verdict = (1..=4).contains(&(bits & 7));
            let observation = Observation::from_bits(bits);
            assert_eq!(observation.map(Observation::bits), has_verdict.then_some(bits));
        }
    }

    #[test]
    fn the_codes_of_version_1_never_change() {
        let status = [Status::Starting, Status::Passing, Status::Warning, Status::Critical];
        assert_eq!(status.map(|it| it as u16), [1, 2, 3, 4]);
        let trend = [Trend::Unknown, Trend::Improving, Trend::Stable, Trend::Degrading];
        assert_eq!(trend.map(|it| it as u16), [0, 1, 2, 3]);
        let flap = [Flap::Calm, Flap::Changed, Flap::Unsteady, Flap::Flapping];
        assert_eq!(flap.map(|it| it as u16), [0, 1, 2, 3]);
        let soonest_last = TimeToFailure::CLASSES.map(|(class, _)| class as u16);
        assert_eq!((TimeToFailure::NotPredicted as u16, soonest_last), (0, [1, 2, 3, 4, 5, 6, 7]));
    }

    #[test]
    fn a_score_reads_back_within_half_a_step() {
        for percent in 0..=100 {
            let score = f64::from(percent) / 100.0;
            assert!((ScoreStep::nearest(score).score() - score).abs() <= 0.5 / 63.0 + 1e-9, "{score}");
        }
    }

    #[test]
    fn a_score_that_is_no_number_is_the_worst() {
        assert_eq!(ScoreStep::nearest(f64::NAN), ScoreStep::WORST);
        assert_eq!(ScoreStep::nearest(f64::NEG_INFINITY), ScoreStep::WORST);
        assert_eq!(ScoreStep::nearest(7.0), ScoreStep::BEST);
    }

    #[test]
    fn a_time_to_failure_falls_into_the_class_that_just_covers_it() {
        for (seconds, class) in [
            (0, TimeToFailure::Within10Secs),
            (10, TimeToFailure::Within10Secs),
            (11, TimeToFailure::Within30Secs),
            (300, TimeToFailure::Within5Min),
            (601, TimeToFailure::Later),
        ] {
            assert_eq!(TimeToFailure::within(Duration::from_secs(seconds)), class, "{seconds} s");
        }
        assert_eq!(TimeToFailure::within(Duration::MAX), TimeToFailure::Later);
        assert_eq!(TimeToFailure::Within2Min.at_most(), Some(Duration::from_secs(120)));
        assert_eq!(TimeToFailure::Later.at_most(), None);
        assert_eq!(TimeToFailure::NotPredicted.at_most(), None);
    }
}
