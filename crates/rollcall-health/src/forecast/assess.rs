//! One look at a window: is there a trend, and when does it reach the threshold.

use std::time::Duration;

use super::bucket::Window;
use super::shape::{Fit, Fits, Shape};
use super::signal::{Options, Signal};
use super::trend::{Concordance, Point, Ranks, Slopes, autocorrelation_factor, median, two_sided_p};
use crate::Trend;

/// Buckets whose median is the level: three wild ones of five would be needed to move it.
const LEVEL_BUCKETS: usize = 5;
/// Normal score beyond which a trend is not chance: p < 0.01 on both sides together.
const Z_TREND: f64 = 2.576;
/// Confidence from which on a trend counts.
const CONFIDENCE_MIN: f64 = 0.4;
/// Times further ahead than this many windows are not told: nobody can check them.
const WINDOWS_AHEAD: f64 = 100.0;
/// A shape that is less likely than this does not widen the interval.
const WEIGHT_MIN: f64 = 0.05;
/// Least scatter about a line, in the logarithm: what no probe measures better.
const SCATTER_MIN: f64 = 1e-3;
/// The median of absolute errors, times this, is the deviation of a normal distribution.
const MAD_TO_DEVIATION: f64 = 1.4826;
/// How far below the threshold the line is, in scatters, when the noise carries the signal over it for good.
const CARRIED: f64 = 0.7;
/// Uncertainty of the way that is left, in scatters.
const DOUBT: f64 = 1.3;
/// What the interval adds on both sides of the times of the shapes, as the logarithm of a factor: a part that is always there,
/// since no series has exactly one of the shapes, and a part for each scatter. Chosen on training kinds so that the interval
/// holds the true time in 80 % of the cases or more of each of them; less of one part would need much more of the other.
const MARGIN: f64 = 0.4;
const MARGIN_PER_SCATTER: f64 = 2.5;

/// When the threshold is reached if the trend goes on, counted from the evaluation. All zero when it is reached already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeToThreshold {
    /// The best guess.
    pub likely: Duration,
    /// When it fails no sooner, and below no later, in four cases of five.
    pub earliest: Duration,
    /// `None` when that is too far ahead to be told.
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
    /// How likely it is that the series bends towards failure: 0 a straight line, 1 growth or faster.
    pub curvature: f64,
    /// The likeliest shape.
    pub shape: Shape,
    /// Latest buckets of the window through which the likeliest shape is fitted: all, or half of them.
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
///
/// All is turned so that rising is towards failure: of a signal that fails below, the logarithm is negated.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// Logarithms of multiples of the threshold, a point a bucket.
    log: Vec<Point>,
    /// The same in pairs of neighbours: as much is known of the slope, from a quarter of the pairs of points.
    pairs: Vec<Point>,
    /// The points of one shape.
    shaped: Vec<Point>,
    values: Vec<f64>,
    slopes: Slopes,
    /// Those of the younger half, kept apart.
    younger: Slopes,
    ranks: Ranks,
}

/// The trend of points: the slope of the logarithm with its limits, and how sure it is that there is one.
#[derive(Debug, Clone, Copy, Default)]
struct Climb {
    z: f64,
    slope: f64,
    low: f64,
    high: f64,
    /// How many neighbours count as one, because they resemble each other; at least 1.
    redundancy: f64,
}

/// Looks at the window; `None` when fewer than half of its buckets, or of its younger half, have a sample.
pub(super) fn assess(window: &Window, signal: Signal, scratch: &mut Scratch) -> Option<Assessment> {
    let options = window.options();
    let latest = window.latest();
    let direction = signal.towards_failure();
    scratch.gather(window, direction);
    let younger = scratch.log.partition_point(|point| point.x + (options.window() / 2) as f64 <= latest as f64);
    let in_younger = scratch.log.len() - younger;
    if 2 * window.present() < options.window() || 4 * in_younger < options.window() {
        return None;
    }
    let whole = scratch.climb_of_whole();
    let confidence = whole.confidence() * window.present() as f64 / options.window() as f64;
    let trend = match whole.z {
        z if z > Z_TREND && confidence >= CONFIDENCE_MIN => Trend::Degrading,
        z if z < -Z_TREND && confidence >= CONFIDENCE_MIN => Trend::Improving,
        _ => Trend::Stable,
    };
    let fits = scratch.fits(whole, younger, latest as f64, direction);
    let straight = Shape::Straight.turned(direction);
    let likeliest = fits.likeliest();
    let level = scratch.level(fits.of(Shape::Growth).level);
    let per_minute = 60.0 / options.bucket().as_secs_f64();
    Some(Assessment {
        level: (direction * level).exp() * signal.threshold(),
        threshold: signal.threshold(),
        slope_per_minute: direction * fits.of(straight).slope * signal.threshold() * per_minute,
        growth_per_minute: direction * fits.of(Shape::Growth).slope * per_minute,
        curvature: 1.0 - fits.of(straight).weight,
        shape: likeliest.shape.turned(direction),
        fitted: if likeliest.is_whole { latest + 1 } else { latest + 1 - scratch.place(younger) },
        buckets: window.present(),
        p_value: two_sided_p(whole.z),
        trend,
        confidence,
        time_to_threshold: match trend {
            _ if level >= 0.0 => Some(TimeToThreshold::REACHED),
            Trend::Degrading => scratch.time_to_threshold(&fits, younger, latest as f64, options),
            _ => None,
        },
    })
}

impl Scratch {
    fn gather(&mut self, window: &Window, direction: f64) {
        self.log.clear();
        self.log.extend(window.values().map(|(x, y)| Point { x: x as f64, y: direction * y.ln() }));
        self.pairs.clear();
        let pair_of = |point: &Point| (window.latest() - point.x as usize) / 2;
        for pair in self.log.chunk_by(|a, b| pair_of(a) == pair_of(b)) {
            let x = (window.latest() - 2 * pair_of(&pair[0])) as f64 - 0.5;
            let y = pair.iter().map(|point| point.y).sum::<f64>() / pair.len() as f64;
            self.pairs.push(Point { x, y });
        }
    }

    /// The place of a point, in buckets.
    fn place(&self, point: usize) -> usize {
        self.log.get(point).map_or(0, |point| point.x as usize)
    }

    /// The trend of the whole window. Without one, only the score is known.
    fn climb_of_whole(&mut self) -> Climb {
        let alone = Concordance::of(&self.pairs, &mut self.values);
        // Resemblance only takes away from the score: where there is no trend yet, there is none to be found.
        if alone.z().abs() <= Z_TREND {
            return Climb { z: alone.z(), redundancy: 1.0, ..Climb::default() };
        }
        let slope = self.slopes.median(&self.pairs);
        let redundancy = autocorrelation_factor(&self.pairs, 2.0, slope, &mut self.ranks);
        let together = alone.inflated(redundancy);
        let (low, high) = self.slopes.interval(together.variance);
        Climb { z: together.z(), slope, low, high, redundancy }
    }

    /// The fit of each shape. Without a trend only slopes: nobody asks for more.
    fn fits(&mut self, whole: Climb, younger: usize, latest: f64, direction: f64) -> Fits {
        if whole.slope == 0.0 {
            return Fits(Shape::ALL.map(|shape| self.bare_fit(shape, younger, latest, direction)));
        }
        // What neighbours share does not depend on the shape, and hardly on the slope.
        let alone = Concordance::of(&self.log[younger..], &mut self.values);
        let variance = alone.variance * autocorrelation_factor(&self.log[younger..], 1.0, whole.slope, &mut self.ranks);
        let mut fits = Fits(Shape::ALL.map(|shape| self.fit(shape, whole, younger, variance, latest)));
        self.weigh(&mut fits, whole.redundancy, latest, direction);
        fits
    }

    fn bare_fit(&mut self, shape: Shape, younger: usize, latest: f64, direction: f64) -> Fit {
        self.shape(shape, Some(younger));
        // What nobody reads is not computed.
        let is_told = shape.turned(direction) != Shape::Runaway;
        let slope = if is_told { self.slopes.median(&self.shaped) } else { 0.0 };
        let weight = shape.turned(direction).odds() / Shape::ALL.map(Shape::odds).iter().sum::<f64>();
        Fit { shape, slope, level: self.through(slope, latest), is_whole: false, weight }
    }

    /// The half-window rule: the line goes through the younger half, and through the whole window when its slope lies within
    /// the limits of the half (Lepski 1991). A level that shifted, growth that has ended, a ramp that has just begun: their
    /// slope now is not that of the window. Where the half is too noisy to tell, the whole is the better estimate.
    fn fit(&mut self, shape: Shape, whole: Climb, younger: usize, variance: f64, latest: f64) -> Fit {
        let all = if shape == Shape::Growth {
            whole.slope
        } else {
            self.shape(shape, None);
            self.slopes.median(&self.shaped)
        };
        self.shape(shape, Some(younger));
        self.younger.fill(&self.shaped);
        let is_whole = self.younger.covers(all, variance);
        let slope = if is_whole { all } else { self.younger.middle() };
        Fit { shape, slope, level: self.through(slope, latest), is_whole, weight: 0.0 }
    }

    /// The transformed points: from one on, or the pairs of all.
    fn shape(&mut self, shape: Shape, from: Option<usize>) {
        let points = from.map_or(&self.pairs[..], |first| &self.log[first..]);
        self.shaped.clear();
        self.shaped.extend(points.iter().map(|point| Point { x: point.x, y: shape.of_log(point.y) }));
    }

    /// The level at the latest bucket of the line of this slope that has as many of the transformed points above as below, but
    /// not beyond the latest points: across a gap the line is a guess.
    fn through(&mut self, slope: f64, latest: f64) -> f64 {
        self.values.clear();
        self.values.extend(self.shaped.iter().map(|point| point.y + slope * (latest - point.x)));
        let nearest = self.shaped.iter().rev().take(LEVEL_BUCKETS).map(|point| point.y);
        median(&mut self.values).min(nearest.fold(f64::NEG_INFINITY, f64::max))
    }

    /// Tells the shapes apart by the whole window. Before it began, a ramp was at its floor: the lowest median of a quarter.
    fn weigh(&mut self, fits: &mut Fits, redundancy: f64, latest: f64, direction: f64) {
        let quarter = self.pairs.len().div_ceil(4).max(1);
        let mut floor = f64::INFINITY;
        for points in self.pairs.chunks(quarter) {
            self.values.clear();
            self.values.extend(points.iter().map(|point| point.y));
            floor = floor.min(median(&mut self.values));
        }
        let count = self.pairs.len() as f64;
        let errors = fits.0.map(|fit| {
            let off = |point: &Point| (point.y - fit.log_at(latest - point.x).max(floor)).abs();
            self.pairs.iter().map(off).sum::<f64>() / count + SCATTER_MIN
        });
        fits.weigh(errors, count / redundancy, direction);
    }

    /// The median of the latest buckets, as a logarithm. It lags behind a steep line, so the line counts where it is nearer to
    /// failure, but not beyond what was seen.
    fn level(&mut self, line: f64) -> f64 {
        self.values.clear();
        self.values.extend(self.log.iter().rev().take(LEVEL_BUCKETS).map(|point| point.y));
        let median = median(&mut self.values);
        line.clamp(median, self.values.iter().copied().fold(median, f64::max))
    }

    /// Standard deviation about a line in the younger half, of the logarithm.
    fn scatter(&mut self, fit: &Fit, younger: usize, latest: f64) -> f64 {
        self.values.clear();
        self.values.extend(self.log[younger..].iter().map(|point| (point.y - fit.log_at(latest - point.x)).abs()));
        MAD_TO_DEVIATION * median(&mut self.values).max(SCATTER_MIN)
    }

    fn time_to_threshold(
        &mut self,
        fits: &Fits,
        younger: usize,
        latest: f64,
        options: Options,
    ) -> Option<TimeToThreshold> {
        let scatter = self.scatter(fits.likeliest(), younger, latest);
        let (mut likely, mut earliest, mut last) = (0.0, f64::INFINITY, 0.0_f64);
        for fit in fits.0.iter().filter(|fit| fit.weight > WEIGHT_MIN / 10.0) {
            if fit.slope <= 0.0 {
                return None;
            }
            let way = way_left(fit.shape.of_log(-CARRIED * scatter) - fit.level, DOUBT * scatter);
            let time = way / fit.slope;
            likely += fit.weight * time.ln();
            if fit.weight > WEIGHT_MIN {
                (earliest, last) = (earliest.min(time), last.max(time));
            }
        }
        let (likely, margin) = (likely.exp(), (MARGIN + MARGIN_PER_SCATTER * scatter).exp());
        let (earliest, last) = (earliest / margin, last * margin);
        let most = WINDOWS_AHEAD * options.window() as f64;
        let span = |buckets: f64| (0.0..=most).contains(&buckets).then(|| options.bucket().mul_f64(buckets));
        Some(TimeToThreshold {
            likely: span(likely)?,
            earliest: span(earliest.min(likely))?,
            latest: span(last.max(likely)),
        })
    }
}

/// The mean way that is left when `way` is known up to a normal error and it is known that some is left: the mean of a normal
/// distribution cut off at 0 (Greene 2012, theorem 19.2).
fn way_left(way: f64, deviation: f64) -> f64 {
    let z = way / deviation;
    if z < -5.0 {
        return -deviation / z;
    }
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let half = two_sided_p(z) / 2.0;
    let chance = if z > 0.0 { 1.0 - half } else { half };
    way + deviation * density / chance
}

impl Climb {
    fn confidence(self) -> f64 {
        let limit = if self.slope > 0.0 { self.low } else { self.high };
        if self.slope == 0.0 { 0.0 } else { (limit / self.slope).clamp(0.0, 1.0) }
    }
}

impl TimeToThreshold {
    const REACHED: Self = Self { likely: Duration::ZERO, earliest: Duration::ZERO, latest: Some(Duration::ZERO) };
}
