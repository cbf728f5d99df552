//! Trend statistics of a short series, by rank and median: one wild value in three changes neither slope nor verdict.
//!
//! - **Theil–Sen slope** (Sen 1968, §2): the median of `(y_j − y_i) / (x_j − x_i)` over all pairs `i < j`.
//! - **Its interval** (Sen 1968, §3; Gilbert 1987, §16.5): of `M` sorted slopes those of rank `(M ∓ z·√Var S) / 2`.
//! - **Mann–Kendall test** (Mann 1945; Kendall 1975, ch. 4): `S = Σ sgn(y_j − y_i)` has mean 0 without a trend and, for `n`
//!   values with groups of `t` equal ones, variance `[n(n−1)(2n+5) − Σ t(t−1)(2t+5)] / 18`;
//!   `z = (S − sgn S) / √Var S` is close to normal from 10 values on.
//! - **Hamed & Rao (1998), eq. 14–15**: neighbours that resemble each other make `S` vary more. The variance is multiplied by
//!   `1 + 2/(n(n−1)(n−2)) · Σ_k (n−k)(n−k−1)(n−k−2) ρ_k`, with `ρ_k` the autocorrelation of the ranks of what the slope
//!   leaves over, where it is significant. Two limits are ours: only lags up to [`LAGS`], since later ones are noise in a
//!   series this short, and never below 1, so that the correction cannot make a trend of nothing.

/// 97.5 % of a normal distribution: the limits of a two-sided interval of 95 %.
const Z_95: f64 = 1.959_964;
/// Longest lag, in buckets, at which values may resemble each other.
const LAGS: usize = 8;

/// A value of the series and its place: `x` counts buckets, so that a missing one leaves a hole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Place in the window, in buckets.
    pub(super) x: f64,
    /// The value, finite.
    pub(super) y: f64,
}

/// What Mann and Kendall say of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Concordance {
    /// Rising pairs less falling pairs.
    pub(super) s: f64,
    /// Variance of `s` when there is no trend.
    pub(super) variance: f64,
}

impl Concordance {
    /// Of these points, as if they did not depend on each other.
    pub(super) fn of(points: &[Point], sorted: &mut Vec<f64>) -> Self {
        let mut s = 0_i32;
        sorted.clear();
        sorted.extend(points.iter().map(|point| point.y));
        for (i, later) in sorted.iter().enumerate() {
            let sign = |earlier: &f64| i32::from(later > earlier) - i32::from(later < earlier);
            s += sorted[..i].iter().map(sign).sum::<i32>();
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let weight = |count: usize| (count * count.saturating_sub(1) * (2 * count + 5)) as f64;
        let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|equal| weight(equal.len())).sum();
        Self { s: f64::from(s), variance: (weight(points.len()) - ties) / 18.0 }
    }

    /// The normal score, 0 when all values are equal.
    pub(super) fn z(&self) -> f64 {
        if self.variance > 0.0 && self.s != 0.0 { (self.s - self.s.signum()) / self.variance.sqrt() } else { 0.0 }
    }

    /// The same with more variance.
    pub(super) fn inflated(self, factor: f64) -> Self {
        Self { variance: self.variance * factor, ..self }
    }
}

/// The slopes of all pairs of points, as keys: selecting among integers takes half the time of selecting among floats.
#[derive(Debug, Clone, Default)]
pub(super) struct Slopes(Vec<i64>);

impl Slopes {
    /// The Theil–Sen slope per bucket; 0 of fewer than two points.
    pub(super) fn median(&mut self, points: &[Point]) -> f64 {
        self.fill(points);
        self.middle()
    }

    /// Takes the slopes of these points.
    pub(super) fn fill(&mut self, points: &[Point]) {
        self.0.clear();
        for (i, later) in points.iter().enumerate() {
            let to = |earlier: &Point| key((later.y - earlier.y) / (later.x - earlier.x));
            self.0.extend(points[..i].iter().map(to));
        }
    }

    /// The median of what was taken; to be asked before [`Self::interval`].
    pub(super) fn middle(&mut self) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        let is_even = self.0.len().is_multiple_of(2);
        let middle = self.0.len() / 2;
        let (before, middle, _) = self.0.select_nth_unstable(middle);
        match before.iter().max() {
            Some(below) if is_even => f64::midpoint(unkey(*below), unkey(*middle)),
            _ => unkey(*middle),
        }
    }

    /// Whether a slope lies within [`Self::interval`], by counting: a tenth of the time of selecting.
    pub(super) fn covers(&self, slope: f64, variance: f64) -> bool {
        let Some((low, high)) = self.ranks(variance) else { return false };
        let slope = key(slope);
        let below = self.0.iter().filter(|other| **other < slope).count();
        let up_to = self.0.iter().filter(|other| **other <= slope).count();
        below <= high && up_to > low
    }

    /// The ranks of the limits of 95 %; `None` without slopes.
    fn ranks(&self, variance: f64) -> Option<(usize, usize)> {
        let last = self.0.len().checked_sub(1)?;
        let pairs = self.0.len() as f64;
        let reach = Z_95 * variance.max(0.0).sqrt();
        let rank = |rank: f64| (rank.max(0.0) as usize).min(last);
        Some((rank(((pairs - reach) / 2.0).floor()), rank(((pairs + reach) / 2.0).ceil())))
    }

    /// The limits of 95 % around the latest [`Self::median`], for a concordance of this variance; (0, 0) without slopes.
    pub(super) fn interval(&mut self, variance: f64) -> (f64, f64) {
        let Some((low, high)) = self.ranks(variance) else { return (0.0, 0.0) };
        // The median left the smaller slopes before the middle and the greater ones behind it.
        let middle = self.0.len() / 2;
        let (before, behind) = self.0.split_at_mut(middle);
        let low = if low < middle { *before.select_nth_unstable(low).1 } else { behind[0] };
        let high = *behind.select_nth_unstable(high.max(middle) - middle).1;
        (unkey(low), unkey(high))
    }
}

/// An integer that compares as the number does. IEEE 754 §5.10: of negative numbers all bits but the sign are flipped.
fn key(number: f64) -> i64 {
    let bits = number.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The number of a key: flipping twice changes nothing.
fn unkey(key: i64) -> f64 {
    f64::from_bits((key ^ (((key >> 63) as u64) >> 1) as i64) as u64)
}

/// The factor of Hamed and Rao, at least 1, for what a line of this slope leaves of points that are `step` buckets apart.
pub(super) fn autocorrelation_factor(points: &[Point], step: f64, slope: f64, ranks: &mut Ranks) -> f64 {
    let count = points.len();
    ranks.rank(points, step, slope);
    let squares: f64 = ranks.deviations.iter().map(|deviation| deviation * deviation).sum();
    let n = count as f64;
    if count < 3 || squares <= 0.0 {
        return 1.0;
    }
    let significant = Z_95 / n.sqrt();
    let mut sum = 0.0;
    for lag in 1..=LAGS.min(count.saturating_sub(4)) {
        // A missing bucket deviates by 0, so it adds nothing.
        let products = ranks.deviations.iter().zip(&ranks.deviations[lag..]);
        let rho = products.map(|(a, b)| a * b).sum::<f64>() / squares;
        if rho.abs() > significant {
            let k = lag as f64;
            sum += (n - k) * (n - k - 1.0) * (n - k - 2.0) * rho;
        }
    }
    (1.0 + 2.0 / (n * (n - 1.0) * (n - 2.0)) * sum).max(1.0)
}

/// Room to rank residuals in.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranks {
    /// Residual and place, sorted by residual.
    residuals: Vec<(f64, usize)>,
    /// Rank less mean rank, by place.
    deviations: Vec<f64>,
}

impl Ranks {
    fn rank(&mut self, points: &[Point], step: f64, slope: f64) {
        let first = points.first().map_or(0.0, |point| point.x);
        let place = |point: &Point| ((point.x - first) / step).round() as usize;
        let last = points.last().map_or(0, place);
        self.residuals.clear();
        self.residuals.extend(points.iter().map(|point| (point.y - slope * point.x, place(point))));
        self.residuals.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.deviations.clear();
        self.deviations.resize(last + 1, 0.0);
        let mean = (points.len() as f64 - 1.0) / 2.0;
        for (rank, (_, place)) in self.residuals.iter().enumerate() {
            self.deviations[*place] = rank as f64 - mean;
        }
    }
}

/// The median; 0 of nothing.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count => f64::midpoint(values[(count - 1) / 2], values[count / 2]),
    }
}

/// The chance of a normal score at least this far from 0, on either side: `erfc(|z| / √2)`.
///
/// Press et al., Numerical Recipes §6.2: a Chebyshev fit with a relative error below 1.2 · 10⁻⁷ everywhere.
pub(super) fn two_sided_p(z: f64) -> f64 {
    const FIT: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let fit = FIT.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    (t * (fit - x * x).exp()).min(1.0)
}
