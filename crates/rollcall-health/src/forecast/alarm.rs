//! From one look at a time to something worth telling: hysteresis.

use std::f64::consts::LN_2;

use super::assess::Assessment;
use super::signal::Options;

/// Evaluations in a row that set an alarm. Three buckets of 10 s cost half a minute of warning.
const CONFIRMATIONS: u8 = 3;
/// Evaluations in a row that clear it.
const CLEARANCES: u8 = 5;
/// A failure is predicted when it is due within this many windows: eight minutes by default. A whole window would tell straight
/// ramps two minutes sooner, and twice as many of them too early.
const PREDICT_WINDOWS: f64 = 0.8;
/// A standing prediction holds up to this many windows: one that trembles about the limit is told once.
const HOLD_WINDOWS: f64 = 1.5;
/// A trend is worth telling when it reaches the threshold within this many windows: an hour by default.
const DEGRADING_WINDOWS: f64 = 6.0;

/// A failure is predicted from this share of the threshold on, or from its inverse of one that is failed below: further
/// away, ten minutes of trend say little about the way that is left.
const PREDICT_SHARE: f64 = 0.2;
/// A level is new when it is this much nearer to the threshold than what was survived, as a factor.
const NEW_LEVEL: f64 = 1.25;
/// What was survived counts at most as half of the threshold, so that one narrow escape does not silence the next warning.
const SURVIVED_MAX: f64 = -LN_2;
/// Windows in which what was survived is forgotten by half: a day by default.
const FORGET_WINDOWS: f64 = 144.0;

/// What is expected of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Outlook {
    /// Nothing: no alarm stands, or too little was seen.
    #[default]
    Calm,
    /// It is getting worse, and would fail within six windows.
    Degrading,
    /// It fails within a window.
    FailurePredicted,
}

/// Set after [`CONFIRMATIONS`] in a row, cleared after [`CLEARANCES`] in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Latch {
    is_set: bool,
    /// Evaluations in a row that speak against `is_set`.
    against: u8,
}

impl Latch {
    fn turn(&mut self, input: bool) {
        self.against = if input == self.is_set { 0 } else { self.against + 1 };
        if self.against == if self.is_set { CLEARANCES } else { CONFIRMATIONS } {
            *self = Self { is_set: input, against: 0 };
        }
    }
}

/// How near to failure the series has come without failing, as [`Assessment::nearness`] counts it.
///
/// Sawtooth and daily cycle climb again and again; a climb to a level that was survived before is no news. A level counts
/// as survived one to two windows later, so that a slow ramp does not vouch for itself.
#[derive(Debug, Clone, Copy)]
struct Survived {
    nearest: f64,
    /// Of the window before the present one.
    before: f64,
    /// Of the present window, and the evaluations in it.
    now: f64,
    evaluations: u8,
}

impl Survived {
    fn is_new(&self, nearness: f64) -> bool {
        nearness > self.nearest.min(SURVIVED_MAX) + NEW_LEVEL.ln()
    }

    fn learn(&mut self, nearness: f64, window: usize) {
        self.now = self.now.max(nearness);
        self.evaluations += 1;
        if usize::from(self.evaluations) >= window {
            let nearest = (self.nearest - LN_2 / FORGET_WINDOWS).max(self.before);
            *self = Self { nearest, before: self.now, ..Self::default() };
        }
    }
}

impl Default for Survived {
    fn default() -> Self {
        let never = f64::NEG_INFINITY;
        Self { nearest: never, before: never, now: never, evaluations: 0 }
    }
}

/// The alarms of one series.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Alarm {
    degrading: Latch,
    predicted: Latch,
    survived: Survived,
}

impl Alarm {
    /// Takes in one evaluation and says what is expected now. `direction` is 1 when rising leads to failure, else −1.
    pub(super) fn judge(&mut self, assessment: &Assessment, direction: f64, options: Options) -> Outlook {
        let window = options.bucket().as_secs_f64() * options.window() as f64;
        let nearness = assessment.nearness(direction);
        let due = assessment.time_to_threshold.filter(|_| self.survived.is_new(nearness));
        let due = due.map(|time| time.likely.as_secs_f64() / window);
        let within = |windows: f64| due.is_some_and(|due| due <= windows);
        let ahead = if self.predicted.is_set { HOLD_WINDOWS } else { PREDICT_WINDOWS };
        self.degrading.turn(within(DEGRADING_WINDOWS));
        self.predicted.turn(within(ahead) && nearness >= PREDICT_SHARE.ln());
        self.survived.learn(nearness, options.window());
        self.outlook()
    }

    pub(super) fn outlook(&self) -> Outlook {
        match (self.predicted.is_set, self.degrading.is_set) {
            (true, _) => Outlook::FailurePredicted,
            (false, true) => Outlook::Degrading,
            (false, false) => Outlook::Calm,
        }
    }
}
