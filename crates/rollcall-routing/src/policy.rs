//! How a service wants its instances to be chosen.
//!
//! A policy is configuration: checked once, when it is made, and then used as it is on every request. A request may bring
//! weights, a tie band or a strategy of its own ([`Query`](crate::Query)).

use std::num::NonZeroU32;

pub use rollcall_types::Strategy;
use rollcall_types::{FactorWeights, Invalid, Millis, Part};

use crate::factor::Factor;

/// Scores this close to the best count as equal, unless the policy says otherwise.
pub const TIE_BAND: f64 = 0.1;
/// Longest slow start, one hour.
pub const SLOW_START_MAX: Millis = Millis::new(3_600_000);

/// What each factor counts for. Each in [0, 1], together 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights([f64; Factor::ALL.len()]);

impl Weights {
    /// Weights in proportion to `raw`, in the order of [`Factor::ALL`].
    ///
    /// # Errors
    /// When one is negative, NaN or infinite, or all are 0.
    pub fn new(raw: [f64; Factor::ALL.len()]) -> Result<Self, Invalid> {
        if let Some(wrong) = raw.into_iter().find(|weight| !weight.is_finite() || *weight < 0.0) {
            return Err(Invalid::new("be numbers from 0 on", wrong));
        }
        let most = raw.into_iter().fold(0.0, f64::max);
        if most <= 0.0 {
            return Err(Invalid::new("not all be 0", "0"));
        }
        // By the greatest first: the sum of great numbers would be infinite, that of tiny ones would lose digits.
        let parts = raw.map(|weight| weight / most);
        let sum: f64 = parts.iter().sum();
        Ok(Self(parts.map(|part| part / sum)))
    }

    /// What `factor` counts for.
    pub const fn of(&self, factor: Factor) -> f64 {
        self.0[factor as usize]
    }
}

impl From<FactorWeights> for Weights {
    fn from(weights: FactorWeights) -> Self {
        let raw = weights.micros().map(f64::from);
        let sum: f64 = raw.iter().sum();
        Self(raw.map(|weight| weight / sum))
    }
}

impl Default for Weights {
    /// Load 0.30, performance 0.25, proximity 0.15, specialization 0.20, cost 0.10.
    fn default() -> Self {
        Self([0.30, 0.25, 0.15, 0.20, 0.10])
    }
}

/// A part of a whole, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = Invalid;

    fn try_from(raw: f64) -> Result<Self, Invalid> {
        if (0.0..=1.0).contains(&raw) { Ok(Self(raw)) } else { Err(Invalid::new("be a number from 0 to 1", raw)) }
    }
}

impl From<Part> for Ratio {
    fn from(part: Part) -> Self {
        Self(f64::from(part.micros()) / f64::from(Part::WHOLE_MICROS))
    }
}

/// When a request wants health not to be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FailOpen {
    /// Never, whatever the policy says.
    Never,
    /// As [`Policy::fail_open`] says.
    Below(Ratio),
}

/// How a service wants its instances to be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// How to choose when the request does not say.
    pub strategy: Strategy,
    /// What the factors of a score count for.
    pub weights: Weights,
    /// How far below the best a score may be and still take part in the draw. 0: only exact ties do. 1: all do.
    pub tie_band: Ratio,
    /// How long a new instance takes to get its full share, at most [`SLOW_START_MAX`]. Zero: at once.
    pub slow_start: Millis,
    /// When less than this part of the instances that fit the request may be selected by their health, all that fit are.
    /// `None`: never, the answer is a refusal when none is left. 0: only when none is left.
    pub fail_open: Option<Ratio>,
    /// How many instances one client gets to see; `None`: all. Takes effect when the client says who it is.
    pub subset: Option<NonZeroU32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            strategy: Strategy::Scored,
            weights: Weights::default(),
            tie_band: Ratio(TIE_BAND),
            slow_start: Millis::default(),
            fail_open: None,
            subset: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_taken_in_proportion() {
        let weights = Weights::new([3.0, 1.0, 0.0, 0.0, 0.0]).unwrap();
        assert_eq!((weights.of(Factor::Load), weights.of(Factor::Performance)), (0.75, 0.25));
        assert_eq!(Weights::from(FactorWeights::try_from([3, 1, 0, 0, 0]).unwrap()), weights);
        assert_eq!(Weights::new([f64::MAX; 5]).unwrap().of(Factor::Cost), 0.2);
        assert_eq!(Weights::new([f64::MIN_POSITIVE; 5]).unwrap().of(Factor::Cost), 0.2);
    }

    #[test]
    fn weights_that_mean_nothing_are_refused() {
        for wrong in [-0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Weights::new([1.0, 1.0, wrong, 1.0, 1.0]).is_err(), "{wrong}");
        }
        assert!(Weights::new([0.0; 5]).is_err());
        assert!(Ratio::try_from(f64::NAN).is_err());
        assert!(Ratio::try_from(1.01).is_err());
    }
}
