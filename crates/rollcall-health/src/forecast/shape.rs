//! How a signal gets to its threshold: evenly, by a rate, or faster and faster.
//!
//! Three members of the family of Box & Cox (1964), `(u^λ − 1) / λ` for λ = 1, 0, −1. A series has a shape when it is a straight
//! line after the transformation. Everything is turned so that rising is towards failure; the mirror image of a straight line
//! is then the shape of λ = −1, which is why the three belong together.

use super::signal::Signal;

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// The same amount in the same time: a leak, a disk that fills.
    Straight,
    /// The same part in the same time: latency under a load that grows.
    Growth,
    /// Its inverse falls evenly: a queue before saturation.
    Runaway,
}

impl Shape {
    pub(super) const ALL: [Self; 3] = [Self::Straight, Self::Growth, Self::Runaway];

    /// The shape of a signal that fails below when it is turned over, and back.
    pub(super) const fn turned(self, direction: f64) -> Self {
        match self {
            _ if direction > 0.0 => self,
            Self::Straight => Self::Runaway,
            Self::Growth => Self::Growth,
            Self::Runaway => Self::Straight,
        }
    }

    /// Odds before anything was seen, of a signal that is not turned over.
    pub(super) const fn odds(self) -> f64 {
        match self {
            Self::Straight | Self::Growth => 1.0,
            Self::Runaway => 0.3,
        }
    }

    /// A logarithm, transformed.
    pub(super) fn of_log(self, log: f64) -> f64 {
        match self {
            Self::Straight => log.exp(),
            Self::Growth => log,
            Self::Runaway => -(-log).exp(),
        }
    }

    /// The logarithm of what was transformed; what a line reaches beyond any value counts as the floor or the ceiling.
    pub(super) fn to_log(self, value: f64) -> f64 {
        match self {
            Self::Straight => value.max(Signal::FLOOR).ln(),
            Self::Growth => value,
            Self::Runaway => -(-value).max(Signal::FLOOR).ln(),
        }
    }
}

/// A line through the transformed series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    pub(super) shape: Shape,
    /// Slope per bucket.
    pub(super) slope: f64,
    /// Where it is at the latest bucket, transformed.
    pub(super) level: f64,
    /// Whether it goes through the whole window.
    pub(super) is_whole: bool,
    /// How likely it is beside the others, in [0, 1].
    pub(super) weight: f64,
}

impl Fit {
    /// The logarithm on the line, `age` buckets ago.
    pub(super) fn log_at(&self, age: f64) -> f64 {
        self.shape.to_log(self.level - self.slope * age)
    }
}

/// The fits of all shapes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fits(pub(super) [Fit; 3]);

impl Fits {
    pub(super) fn of(&self, shape: Shape) -> &Fit {
        match shape {
            Shape::Straight => &self.0[0],
            Shape::Growth => &self.0[1],
            Shape::Runaway => &self.0[2],
        }
    }

    pub(super) fn likeliest(&self) -> &Fit {
        let [first, others @ ..] = &self.0;
        others.iter().fold(first, |best, fit| if fit.weight > best.weight { fit } else { best })
    }

    /// Gives each its Akaike weight (Burnham & Anderson 2002, §2.9): odds before, times the likelihood of errors that follow
    /// Laplace, `(mean absolute error)^−n`. `direction` tells which of them is straight before turning.
    pub(super) fn weigh(&mut self, errors: [f64; 3], count: f64, direction: f64) {
        let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
        for (fit, error) in self.0.iter_mut().zip(errors) {
            fit.weight = fit.shape.turned(direction).odds() * (least / error).powf(count);
        }
        let total: f64 = self.0.iter().map(|fit| fit.weight).sum();
        self.0.iter_mut().for_each(|fit| fit.weight /= total);
    }
}
