//! The last values of something, as far as they were seen.

use std::collections::VecDeque;

use rollcall_api::Timestamp;

/// Values that are kept.
const LENGTH: usize = 60;

/// A ring of values with their times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(VecDeque<(Timestamp, f32)>);

impl Trace {
    pub(crate) fn push(&mut self, at: Timestamp, value: f64) {
        if self.0.len() == LENGTH {
            self.0.pop_front();
        }
        self.0.push_back((at, value as f32));
    }

    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = (Timestamp, f64)> + ExactSizeIterator + '_ {
        self.0.iter().map(|(at, value)| (*at, f64::from(*value)))
    }

    pub(crate) fn last(&self) -> Option<f64> {
        self.0.back().map(|(_, value)| f64::from(*value))
    }
}
