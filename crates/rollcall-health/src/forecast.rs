//! Who is going to fail, and when: trends of measured signals, extrapolated to the level at which their subject has failed.
//!
//! A [`Series`] holds one signal of one subject: the latency of an instance, the fsync latency of a node, its free disk. The
//! shell records samples and evaluates about once a bucket; it gets an [`Event`] when something is worth telling, and the
//! latest [`Assessment`] for everyone who wants to check the numbers. A prediction is advice: it removes nothing.
//!
//! 1. Samples of a **bucket** (default 10 s) become their median; the **window** is the latest 60 buckets. Everything below
//!    is in multiples `u` of the threshold, which makes signals of any unit alike.
//! 2. A **trend** is one when the Mann–Kendall test with the correction of Hamed and Rao says so (p < 0.01), and the lower
//!    limit of the Theil–Sen slope of `ln u` is at least 0.4 of it. That share, times the share of buckets that have a
//!    sample, is the **confidence** in [0, 1]. Formulas and sources: `forecast/trend.rs`.
//! 3. **Shapes**: a straight line, growth, and growth that runs away, each with a Theil–Sen line through the transformed series
//!    ([`Shape`]). They count by how well they fit the whole window (Akaike weights, Burnham & Anderson 2002, §2.9), where a line
//!    starts at the floor from which the ramp rose. **Half-window rule** (Lepski 1991): each line goes through the younger half,
//!    and through the whole window when that slope lies within the 95 % limits of the half. So a level that shifted and growth
//!    that has ended do not go on, and a slow ramp in much noise has all the data there is.
//! 4. **Time to threshold** of a shape is `way / slope`. Noise carries a signal over its threshold before its line gets there, so
//!    the way ends 0.7 scatters below; and it is the mean of what is left, given that some is left, of a way that is known up to
//!    1.3 scatters. All shapes together: `T = Π T_i^w_i`. The **interval** reaches from the smallest of them, divided by
//!    `e^(0.4 + 2.5·s)` for a scatter `s`, to the greatest times that. It is meant to hold the true time in four cases of five.
//! 5. **Alarm**: a failure is predicted when it is due within 0.8 windows, from a fifth of the threshold on, at a level that the
//!    series has not survived before (sawtooth, daily cycle), three evaluations in a row; five against it clear the alarm.
//!    [`Change::Degrading`] is the same within six windows.
//! 6. **Common cause**: when most peers degrade, it is not this instance: [`common_cause`].
//!
//! A worked check without noise: 200 ms of 1 s, +12 ms and +4 % a minute, half straight, half growth: straight 800 / 12 = 67 min,
//! growth ln 5 / 0.04 = 40 min, together √(67 · 40) = 52 min.
//!
//! From many instances and nodes to one answer: [`Watched`] says what is watched of them, [`Prospect`] weighs several series of
//! one subject, [`Forecast`] has the numbers for people, [`Forecasts`] takes them through gossip.
//!
//! Limits. What fails from one bucket to the next announces nothing. A slow wave on a ramp
//! is taken for the ramp itself: the time that is told is off by half. The interval
//! is wide, six to fifteen times from end to end in usual noise: a narrower one would not hold what it promises. A climb that levels off just below the threshold is called a failure, and so may be the teeth of a
//! sawtooth in its first two windows. A straight ramp in much noise may be predicted half an hour ahead instead of ten
//! minutes. A daily rhythm of the load is not modelled. The measures by which all this is judged: Salfner, Lenk & Malek, "A
//! survey of online failure prediction methods", ACM Computing Surveys 42(3), 2010, §3.
//!
//! Memory: a series takes 4 bytes a bucket and [`Series::BYTES`] beside them: half a kilobyte at 60 buckets. An evaluation
//! allocates nothing once its [`Scratch`] has grown; its time is proportional to the square of the window.

mod alarm;
mod assess;
mod bucket;
mod format;
mod node;
mod numbers;
mod peers;
mod prospect;
mod quantity;
mod shape;
mod signal;
mod trend;

use rollcall_types::MonoTime;

use self::alarm::Alarm;
pub use self::alarm::Outlook;
use self::assess::assess;
pub use self::assess::{Assessment, Scratch, TimeToThreshold};
use self::bucket::Window;
pub use self::format::{FORECASTS_TEXT_MAX, Forecasts, ForecastsError, chunk_of_key, key};
pub use self::node::{NODE_KEY, NODE_TEXT_MAX, NodeForecasts};
pub use self::numbers::{Due, Forecast};
pub use self::peers::{CommonCause, PEERS_MIN, common_cause};
pub use self::prospect::{Decisive, Prospect, Seen, WEIGHT_MIN};
pub use self::quantity::{APPLY_LAG_MAX, DISK_FREE_MIN, ERROR_RATE_DAMAGING, Quantity, Unit, Watched};
pub use self::shape::Shape;
pub use self::signal::{Fails, Options, OptionsError, SampleError, Signal, ThresholdError};
use crate::{TimeToFailure, Trend};

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is getting worse, and would fail within six windows; or a prediction was softened to this.
    Degrading,
    /// It fails within one window if this goes on.
    PredictedFailure,
    /// What was told before does not hold any more.
    Recovered,
    /// Nothing was heard for a whole window, so what was told before is not known any more.
    Withdrawn,
}

/// A change worth telling, with the numbers behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// What changed.
    pub change: Change,
    /// The latest numbers.
    pub assessment: Assessment,
}

/// One signal of one subject.
///
/// `now` must not go backwards; an older `now` is treated as the latest seen. While the clock stands still, no bucket ends
/// and nothing is evaluated.
///
/// Invariants:
/// - An alarm stands only while the window holds a sample.
/// - `assessment` is of the latest evaluation; it is `None` when that saw too little.
#[derive(Debug, Clone)]
pub struct Series {
    signal: Signal,
    window: Window,
    alarm: Alarm,
    /// Whether a bucket with a sample was closed since the latest evaluation.
    is_due: bool,
    assessment: Option<Assessment>,
}

impl Series {
    /// Size of a series without its window.
    pub const BYTES: usize = size_of::<Self>();

    /// A series without samples, whose first bucket begins `now`.
    pub fn new(signal: Signal, options: Options, now: MonoTime) -> Self {
        let window = Window::new(options, now);
        Self { signal, window, alarm: Alarm::default(), is_due: false, assessment: None }
    }

    /// Adds a sample taken `now`, in the unit of the threshold. The mean of outcomes, 0 or 1, is to be taken before.
    ///
    /// # Errors
    /// When nothing can measure that: NaN, infinite, negative. The sample is not counted then.
    pub fn record(&mut self, value: f64, now: MonoTime) -> Result<(), SampleError> {
        let ratio = self.signal.ratio(value)?;
        self.is_due |= self.window.roll(now);
        self.window.add(ratio);
        Ok(())
    }

    /// Looks at the buckets that are over, and says what changed. To be called once a bucket or more often; when nothing
    /// new was sampled since the last time, it does nothing. Buckets that were missed count as one evaluation.
    pub fn evaluate(&mut self, now: MonoTime, scratch: &mut Scratch) -> Option<Event> {
        self.is_due |= self.window.roll(now);
        if self.window.present() == 0 {
            return self.withdraw();
        }
        if !std::mem::take(&mut self.is_due) {
            return None;
        }
        // With too few samples an alarm stands: there is no evidence against it yet.
        self.assessment = assess(&self.window, self.signal, scratch);
        let assessment = self.assessment?;
        let before = self.alarm.outlook();
        let after = self.alarm.judge(&assessment, self.signal.towards_failure(), self.window.options());
        let change = match after {
            _ if after == before => return None,
            Outlook::Calm => Change::Recovered,
            Outlook::Degrading => Change::Degrading,
            Outlook::FailurePredicted => Change::PredictedFailure,
        };
        Some(Event { change, assessment })
    }

    /// Forgets everything: the subject was restarted, or is another one now.
    pub fn restart(&mut self, now: MonoTime) {
        *self = Self::new(self.signal, self.window.options(), now);
    }

    /// What is watched.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// How finely and how far back it looks.
    pub fn options(&self) -> Options {
        self.window.options()
    }

    /// The latest numbers; `None` before half a window was seen, and after a whole one without samples.
    pub fn assessment(&self) -> Option<&Assessment> {
        self.assessment.as_ref()
    }

    /// What is expected.
    pub fn outlook(&self) -> Outlook {
        self.alarm.outlook()
    }

    /// Where the subject is heading, as digests tell it.
    pub fn trend(&self) -> Trend {
        self.assessment.map_or(Trend::Unknown, |assessment| assessment.trend)
    }

    /// When it is predicted to fail, as digests tell it: only while an alarm stands.
    pub fn time_to_failure(&self) -> TimeToFailure {
        let time = self.assessment.and_then(|assessment| assessment.time_to_threshold);
        match time {
            Some(time) if self.outlook() > Outlook::Calm => TimeToFailure::within(time.likely),
            _ => TimeToFailure::NotPredicted,
        }
    }

    fn withdraw(&mut self) -> Option<Event> {
        let was_told = self.outlook() > Outlook::Calm;
        self.alarm = Alarm::default();
        let assessment = self.assessment.take().filter(|_| was_told)?;
        Some(Event { change: Change::Withdrawn, assessment })
    }
}
