//! What was measured or declared behind a factor.

use std::fmt;

use crate::candidate::Performance;
use crate::factor::{Distance, Factor};
use crate::index::performance;
use crate::query::Query;
use crate::score::Scorer;

/// What was measured or declared behind a factor. Prints as a phrase for people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Signal {
    /// Behind load.
    Load {
        /// Requests in flight, reported or expected of this node's picks.
        in_flight: f64,
        /// Requests at once, declared or assumed.
        concurrency: f64,
        /// Share of the resource used most; 0 when not reported.
        used: f64,
        /// Whether the instance reports its load.
        is_reported: bool,
    },
    /// Behind performance; `None`: nobody reports.
    Performance {
        /// What callers report.
        seen: Option<Performance>,
        /// Response time that counts as good, in milliseconds.
        expected_ms: f64,
        /// Age of the latest report, in milliseconds.
        age_ms: f64,
    },
    /// Behind proximity.
    Proximity(Distance),
    /// Behind specialization.
    Specialization {
        /// Preferences that are met.
        met: u32,
        /// All preferences.
        preferred: u32,
    },
    /// Behind cost.
    Cost {
        /// Millionths for one request; `None`: not declared.
        own: Option<u64>,
        /// The lowest of all candidates; `None`: nobody declares one.
        lowest: Option<u64>,
    },
}

/// The signal behind `factor` of the instance at `position`.
pub(super) fn of(scorer: &Scorer<'_>, query: &Query<'_>, position: usize, factor: Factor) -> Signal {
    let (entry, candidate) = (&scorer.index.entries[position], &scorer.index.candidates()[position]);
    match factor {
        Factor::Load => Signal::Load {
            in_flight: scorer.in_flight(position),
            concurrency: entry.concurrency,
            used: entry.used,
            is_reported: entry.is_load_reported,
        },
        Factor::Performance => {
            let past = scorer.past(position);
            let context = query.caller.context.filter(|context| scorer.index.has_context(context));
            let seen = performance(candidate, context);
            Signal::Performance { seen, expected_ms: past.expected, age_ms: scorer.age_of(past) }
        }
        Factor::Proximity => Signal::Proximity(scorer.distance(entry)),
        Factor::Specialization => {
            let (met, preferred) = scorer.asked.preferences(scorer.index, position);
            Signal::Specialization { met, preferred }
        }
        Factor::Cost => Signal::Cost { own: candidate.cost_micros, lowest: scorer.index.lowest_cost },
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { in_flight, concurrency, used, is_reported } => {
                write!(f, "{in_flight:.0} of {concurrency:.0} in flight")?;
                match (*is_reported, *used > 0.0) {
                    (false, _) => write!(f, ", not reported"),
                    (true, true) => write!(f, ", {:.0} % used", used * 100.0),
                    (true, false) => Ok(()),
                }
            }
            Self::Performance { seen: None, .. } => f.write_str("not reported"),
            Self::Performance { seen: Some(seen), expected_ms, age_ms } => {
                let latency = seen.latency.as_secs_f64() * 1e3;
                write!(f, "{latency:.0} ms of {expected_ms:.0} ms, {:.0} % ok", seen.success * 100.0)?;
                write!(f, ", {:.0} samples, {:.0} s ago", seen.samples, age_ms / 1e3)
            }
            Self::Proximity(distance) => match distance {
                Distance::SameHost => f.write_str("same host"),
                Distance::RoundTrip(millis) => write!(f, "round trip of {millis:.1} ms"),
                Distance::SameZone => f.write_str("same zone"),
                Distance::SameRegion => f.write_str("same region"),
                Distance::Elsewhere => f.write_str("another region"),
                Distance::Unknown => f.write_str("not known"),
            },
            Self::Specialization { preferred: 0, .. } => f.write_str("nothing preferred"),
            Self::Specialization { met, preferred } => write!(f, "{met} of {preferred} preferred"),
            Self::Cost { lowest: None, .. } => f.write_str("nobody declares one"),
            Self::Cost { own: None, .. } => f.write_str("not declared"),
            Self::Cost { own: Some(own), lowest: Some(lowest) } => write!(f, "{own} µ, lowest {lowest} µ"),
        }
    }
}
