//! What alarms are worth, as Salfner, Lenk & Malek (2010, §3) measure it.

use anyhow::Result;

use super::method::{HORIZON, Method};
use super::random::Random;
use super::trace::{Kind, Trace};

/// Buckets before a failure from which on an alarm is about it: twice the horizon. An alarm before that is too early.
const PERIOD: usize = 2 * HORIZON as usize;
/// Least warning that is of use, in buckets: a minute.
const WARNING: usize = 6;
/// Time to failure is compared from the horizon down to this many buckets: relative errors of less mean nothing.
const NEAR: usize = 5;

/// Figures of one method on one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Traces that failed.
    pub(crate) failures: usize,
    /// Failures with an alarm standing at some time from 20 min to a minute before.
    pub(crate) predicted: usize,
    /// Failures whose first alarm of the ramp came more than 20 min before.
    pub(crate) early: usize,
    /// Alarms raised where nothing failed within 20 min and no ramp had begun.
    pub(crate) false_alarms: usize,
    /// Days in which such an alarm could be raised.
    pub(crate) days: f64,
    /// Minutes from the first alarm of the ramp to the failure.
    pub(crate) leads: Vec<f64>,
    /// (predicted − true) / true of the time to failure, while an alarm stands.
    pub(crate) errors: Vec<f64>,
    /// How many of those had the true time within their interval.
    pub(crate) covered: usize,
}

impl Figures {
    /// Runs a method over traces of one kind.
    pub(crate) fn measure(method: Method, kind: Kind, traces: usize, seed: u64) -> Result<Self> {
        let mut figures = Self::default();
        for number in 0..traces as u64 {
            // The same traces for every method.
            let mut random = Random::new(seed ^ ((kind as u64) << 40) ^ (number << 8));
            figures.add(method, &Trace::new(kind, &mut random))?;
        }
        Ok(figures)
    }

    fn add(&mut self, method: Method, trace: &Trace) -> Result<()> {
        let mut worker = method.start()?;
        let end = trace.latency_ms.len();
        let calm_until = trace.onset.min(end);
        let (mut stood, mut first, mut is_predicted) = (false, None, false);
        for (bucket, latency_ms) in trace.latency_ms.iter().enumerate() {
            let say = worker.push(*latency_ms)?;
            let left = end - bucket - 1;
            if say.alarm && bucket < calm_until {
                self.false_alarms += usize::from(!stood);
            } else if say.alarm {
                first.get_or_insert(left);
                is_predicted |= (WARNING..=PERIOD).contains(&left);
                self.compare(say.due, left);
            }
            stood = say.alarm;
        }
        self.days += calm_until as f64 / 8640.0;
        self.failures += usize::from(trace.fails);
        self.predicted += usize::from(is_predicted);
        self.early += usize::from(first.is_some_and(|left| left > PERIOD));
        self.leads.extend(first.map(|left| left as f64 / 6.0));
        Ok(())
    }

    fn compare(&mut self, due: Option<(f64, f64, f64)>, left: usize) {
        if !(NEAR..=HORIZON as usize).contains(&left) {
            return;
        }
        if let Some((earliest, likely, latest)) = due {
            let left = left as f64;
            self.errors.push((likely - left) / left);
            self.covered += usize::from((earliest..=latest).contains(&left));
        }
    }
}
