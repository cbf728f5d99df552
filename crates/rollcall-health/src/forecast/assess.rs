//! One look at a window: is there a trend, and when does it reach the threshold.

use std::time::Duration;

use super::bucket::Window;
use super::signal::{Options, Signal};
use super::trend::{Concordance, Point, Ranks, Slopes, autocorrelation_factor, median, two_sided_p};
use crate::Trend;

/// Buckets whose median is the level: three wild ones of five would be needed to move it.
const LEVEL_BUCKETS: usize = 5;
/// Normal score beyond which a trend is not chance: p < 0.01 on both sides together.
const Z_TREND: f64 = 2.576;
/// Confidence from which on a trend counts.
const CONFIDENCE_MIN: f64 = 0.4;
/// Odds of growth against a straight line before anything was seen. What fails mostly does so faster and faster, and a
/// prediction that comes late costs more than one that comes early.
const GROWTH_ODDS: f64 = 2.0;
/// Times further ahead than this many windows are not told: nobody can check them.
const WINDOWS_AHEAD: f64 = 100.0;
/// Least scatter about a line, in the logarithm: what no probe measures better.
const SCATTER_MIN: f64 = 1e-3;

/// When the threshold is reached if the trend goes on, counted from the evaluation. All zero when it is reached already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeToThreshold {
    /// The best guess.
    pub likely: Duration,
    /// With the steepest slope that 95 % confidence allows.
    pub earliest: Duration,
    /// With the flattest; `None` when that one never gets there.
    pub latest: Option<Duration>,
}

/// What a series says now, in numbers that a person can check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assessment {
    /// Where the signal is, in its unit: the median of the latest five buckets, or the fitted line when that is nearer to
    /// failure.
    pub level: f64,
    /// Where it has failed, in its unit.
    pub threshold: f64,
    /// Theil–Sen slope in units per minute; positive when it rises.
    pub slope_per_minute: f64,
    /// Theil–Sen slope of the natural logarithm per minute: 0.04 is about +4 % per minute.
    pub growth_per_minute: f64,
    /// How much better growth explains the series than a straight line does: 0 straight, 1 growth; ⅔ when both
    /// fit alike, since growth is the likelier way to fail.
    pub curvature: f64,
    /// Latest buckets of the window through which slope and growth are fitted: all, or half of them.
    pub fitted: usize,
    /// Buckets of the window that have a sample.
    pub buckets: usize,
    /// Chance of such a trend in a series without one, two-sided, in [0, 1].
    pub p_value: f64,
    /// Where the subject is heading.
    pub trend: Trend,
    /// How much the trend is to be trusted, in [0, 1]: the share of the slope that 95 % confidence leaves of it, less when
    /// buckets are missing.
    pub confidence: f64,
    /// When it fails, if it is heading there.
    pub time_to_threshold: Option<TimeToThreshold>,
}

impl Assessment {
    /// How near the level is to failure: the logarithm of its share of the threshold, 0 at the threshold, above 0 beyond.
    pub(super) fn nearness(&self, direction: f64) -> f64 {
        direction * (self.level / self.threshold).ln()
    }
}

/// Room for one evaluation at a time, to be used again: nothing is allocated once it has grown.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// Multiples of the threshold.
    raw: Vec<Point>,
    /// Their logarithms.
    log: Vec<Point>,
    values: Vec<f64>,
    slopes: Slopes,
    ranks: Ranks,
}

/// A line by its slope per bucket and its level at the latest bucket.
#[derive(Debug, Clone, Copy)]
struct Line {
    slope: f64,
    level: f64,
}

/// A slope of the logarithm with its limits, turned so that positive is towards failure.
#[derive(Debug, Clone, Copy, Default)]
struct Climb {
    z: f64,
    slope: f64,
    low: f64,
    high: f64,
    /// How many neighbours count as one, because they resemble each other; at least 1.
    redundancy: f64,
}

/// Both lines through the part of the window that counts.
#[derive(Debug, Clone, Copy)]
struct Fit {
    /// The place of the first bucket that they go through.
    from: usize,
    /// The slope of the logarithm, with its limits.
    climb: Climb,
    straight: Line,
    growth: Line,
    curvature: f64,
}

/// Looks at the window; `None` when fewer than half of its buckets, or of its younger half, have a sample.
pub(super) fn assess(window: &Window, signal: Signal, scratch: &mut Scratch) -> Option<Assessment> {
    let options = window.options();
    let latest = window.latest();
    scratch.gather(window);
    let younger = scratch.raw.partition_point(|point| point.x + options.window() / 2 <= latest);
    let in_younger = scratch.raw.len() - younger;
    if 2 * window.present() < options.window() || 4 * in_younger < options.window() {
        return None;
    }
    let direction = signal.towards_failure();
    let whole = scratch.climb_of_whole(direction);
    let fit = scratch.fit(whole, younger, latest, direction);
    let level = scratch.level(fit.growth.level.exp(), direction);
    let confidence = whole.confidence() * window.present() as f64 / options.window() as f64;
    let trend = match whole.z {
        z if z > Z_TREND && confidence >= CONFIDENCE_MIN => Trend::Degrading,
        z if z < -Z_TREND && confidence >= CONFIDENCE_MIN => Trend::Improving,
        _ => Trend::Stable,
    };
    let per_minute = 60.0 / options.bucket().as_secs_f64();
    Some(Assessment {
        level: level * signal.threshold(),
        threshold: signal.threshold(),
        slope_per_minute: fit.straight.slope * signal.threshold() * per_minute,
        growth_per_minute: fit.growth.slope * per_minute,
        curvature: fit.curvature,
        fitted: latest + 1 - fit.from,
        buckets: window.present(),
        p_value: two_sided_p(whole.z),
        trend,
        confidence,
        time_to_threshold: match trend {
            _ if direction * (level - 1.0) >= 0.0 => Some(TimeToThreshold::REACHED),
            Trend::Degrading => fit.time_to_threshold(level, direction, options),
            _ => None,
        },
    })
}

impl Scratch {
    fn gather(&mut self, window: &Window) {
        self.raw.clear();
        self.raw.extend(window.values().map(|(x, y)| Point { x, y }));
        self.log.clear();
        self.log.extend(self.raw.iter().map(|point| Point { x: point.x, y: point.y.ln() }));
    }

    /// The trend of the whole window. Without one, only the score is known.
    fn climb_of_whole(&mut self, direction: f64) -> Climb {
        let alone = Concordance::of(&self.log, &mut self.values);
        // Resemblance only takes away from the score: where there is no trend yet, there is none to be found.
        if alone.z().abs() <= Z_TREND {
            return Climb { z: direction * alone.z(), redundancy: 1.0, ..Climb::default() };
        }
        self.climb(0, alone, direction)
    }

    /// The trend of the logarithm from the point `first` on.
    fn climb(&mut self, first: usize, alone: Concordance, direction: f64) -> Climb {
        let points = &self.log[first..];
        let slope = self.slopes.median(points);
        let redundancy = autocorrelation_factor(points, slope, &mut self.ranks);
        let together = alone.inflated(redundancy);
        let (low, high) = self.slopes.interval(together.variance);
        let (low, high) = if direction > 0.0 { (low, high) } else { (-high, -low) };
        Climb { z: direction * together.z(), slope: direction * slope, low, high, redundancy }
    }

    /// The trend of the younger half; only its slope when the whole window has none.
    fn climb_of_half(&mut self, younger: usize, whole: Climb, direction: f64) -> Climb {
        if whole.slope == 0.0 {
            return Climb { slope: direction * self.slopes.median(&self.log[younger..]), ..Climb::default() };
        }
        let alone = Concordance::of(&self.log[younger..], &mut self.values);
        self.climb(younger, alone, direction)
    }

    /// The half-window rule: the younger half decides when it has a trend of its own, or when the slope of the whole lies
    /// outside its limits. A level that shifted, a ramp that bends or has just begun: their slope now is not that of the
    /// window. Where the younger half is too noisy to tell, the whole window is the better estimate.
    fn fit(&mut self, whole: Climb, younger: usize, latest: usize, direction: f64) -> Fit {
        let half = self.climb_of_half(younger, whole, direction);
        let is_whole = whole.slope != 0.0 && half.z.abs() <= Z_TREND && (half.low..=half.high).contains(&whole.slope);
        let (first, climb) = if is_whole { (0, whole) } else { (younger, half) };
        let (log, raw) = (&self.log[first..], &self.raw[first..]);
        let growth = Line::through(log, latest, direction * climb.slope, &mut self.values);
        let straight = Line::through(raw, latest, self.slopes.median(raw), &mut self.values);
        let curvature = curvature(log, latest, straight, growth, whole.redundancy);
        Fit { from: raw[0].x, climb, straight, growth, curvature }
    }

    /// The median of the latest buckets. It lags behind a steep line, so the line counts where it is nearer to failure,
    /// but not beyond what was seen.
    fn level(&mut self, line: f64, direction: f64) -> f64 {
        self.values.clear();
        self.values.extend(self.raw.iter().rev().take(LEVEL_BUCKETS).map(|point| direction * point.y));
        let median = median(&mut self.values);
        let nearest = self.values.iter().copied().fold(median, f64::max);
        direction * (direction * line).clamp(median, nearest)
    }
}

impl Line {
    /// The line of this slope that has as many points above as below.
    fn through(points: &[Point], latest: usize, slope: f64, values: &mut Vec<f64>) -> Self {
        values.clear();
        values.extend(points.iter().map(|point| point.y + slope * (latest - point.x) as f64));
        Self { slope, level: median(values) }
    }

    fn at(self, x: usize, latest: usize) -> f64 {
        self.level - self.slope * (latest - x) as f64
    }
}

/// The Akaike weight of growth against a straight line (Burnham & Anderson 2002, §2.9), for errors of the logarithm that
/// follow Laplace: the likelihood of a line is the mean of its absolute errors to the power of −n, and of `n` values that
/// resemble each other only `n / redundancy` tell something.
fn curvature(log: &[Point], latest: usize, straight: Line, growth: Line, redundancy: f64) -> f64 {
    let (mut off_straight, mut off_growth) = (0.0, 0.0);
    for point in log {
        off_straight += (point.y - straight.at(point.x, latest).max(Signal::FLOOR).ln()).abs();
        off_growth += (point.y - growth.at(point.x, latest)).abs();
    }
    let n = log.len() as f64;
    let ratio = (off_growth / n + SCATTER_MIN) / (off_straight / n + SCATTER_MIN);
    GROWTH_ODDS / (GROWTH_ODDS + ratio.powf(n / redundancy))
}

impl Climb {
    fn confidence(self) -> f64 {
        let limit = if self.slope > 0.0 { self.low } else { self.high };
        if self.slope == 0.0 { 0.0 } else { (limit / self.slope).clamp(0.0, 1.0) }
    }
}

impl Fit {
    fn time_to_threshold(self, level: f64, direction: f64, options: Options) -> Option<TimeToThreshold> {
        let straight = (1.0 - level) / self.straight.slope;
        let growth = -direction * level.ln() / self.climb.slope;
        if !(straight > 0.0 && growth > 0.0) {
            return None;
        }
        let likely = straight.powf(1.0 - self.curvature) * growth.powf(self.curvature);
        let most = WINDOWS_AHEAD * options.window() as f64;
        // A limit that leads away gives a negative time, one that leads nowhere an infinite one.
        let span = |buckets: f64| (0.0..=most).contains(&buckets).then(|| options.bucket().mul_f64(buckets));
        Some(TimeToThreshold {
            likely: span(likely)?,
            earliest: span(straight.min(growth) * self.climb.slope / self.climb.high)?,
            latest: span(straight.max(growth) * self.climb.slope / self.climb.low),
        })
    }
}

impl TimeToThreshold {
    const REACHED: Self = Self { likely: Duration::ZERO, earliest: Duration::ZERO, latest: Some(Duration::ZERO) };
}
