//! What is watched of instances and of nodes, and where each of them has failed.
//!
//! | of | quantity | failed at | damage begins at | why there |
//! |---|---|---|---|---|
//! | instance | latency | timeout of its check | a fifth of it | beyond the timeout the check fails |
//! | instance | error rate | ½ | 5 % | callers see no difference to more; the score has nothing left of it there either |
//! | instance | CPU, memory, slots | 95 % | 70 % | the score's limits of a resource |
//! | node | fsync latency | shortest election timeout | a fifth of it | a leader that syncs for so long is voted out |
//! | node | apply lag | 5 s | 1 s | readers who wait for their own write give up |
//! | node | lateness | 100 ms | 20 ms | from there on the others count a node as late and its evidence as nothing |
//! | node | free disk | room for one snapshot and its log | four times that | without that room no log can be cut, and the node stops |
//! | node | memory | 95 % of its limit | 70 % | near the limit the kernel ends the process |
//!
//! Not done: descriptors and network errors. They fail without a trend, or at a limit that a restart moves.

use std::fmt;
use std::time::Duration;

use super::signal::{Fails, Options, Signal, ThresholdError};
use crate::check::{ERROR_RATE_WORST, LOAD_DAMAGING, LOAD_FREE};
use crate::detector::Lateness;

/// Error rate from which on an instance is damaged.
pub const ERROR_RATE_DAMAGING: f64 = 0.05;
/// Apply lag at which a node has failed: as long as a reader waits for a revision it has seen elsewhere.
pub const APPLY_LAG_MAX: Duration = Duration::from_secs(5);
/// Least room on the disk of a node that counts as failed, in bytes, however small its snapshots are.
pub const DISK_FREE_MIN: f64 = 256.0 * 1024.0 * 1024.0;
/// Latencies and lags damage from this part of their threshold on.
const DAMAGING_PART: f64 = 5.0;
/// Room on a disk damages below this multiple of its threshold.
const DAMAGING_ROOM: f64 = 4.0;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// Of an instance: how long its check takes, in ms.
    Latency,
    /// Of an instance: share of requests that fail.
    ErrorRate,
    /// Of an instance: share of its CPU in use.
    Cpu,
    /// Of an instance or a node: share of its memory in use.
    Memory,
    /// Of an instance: share of the requests it can take at once that are in flight.
    InFlight,
    /// Of a node: how long its log takes to be on disk, in ms.
    Fsync,
    /// Of a node: time between commit and apply of an entry, in ms.
    ApplyLag,
    /// Of a node: how far it is behind its own schedule, in ms.
    Lateness,
    /// Of a node: free bytes on the disk of its log.
    DiskFree,
}

/// What a quantity counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// A share of 1.
    Share,
    /// Bytes.
    Bytes,
}

impl Quantity {
    /// All of them, in order of their codes.
    pub const ALL: [Self; 9] = [
        Self::Latency,
        Self::ErrorRate,
        Self::Cpu,
        Self::Memory,
        Self::InFlight,
        Self::Fsync,
        Self::ApplyLag,
        Self::Lateness,
        Self::DiskFree,
    ];
    /// Those that a node watches of itself.
    pub const OF_NODE: [Self; 5] = [Self::Fsync, Self::ApplyLag, Self::Lateness, Self::DiskFree, Self::Memory];

    /// The word for it in logs, metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::ErrorRate => "error_rate",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::InFlight => "in_flight",
            Self::Fsync => "fsync",
            Self::ApplyLag => "apply_lag",
            Self::Lateness => "lateness",
            Self::DiskFree => "disk_free",
        }
    }

    /// What it counts.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Latency | Self::Fsync | Self::ApplyLag | Self::Lateness => Unit::Milliseconds,
            Self::ErrorRate | Self::Cpu | Self::Memory | Self::InFlight => Unit::Share,
            Self::DiskFree => Unit::Bytes,
        }
    }

    /// On which side of its threshold it has failed.
    pub const fn fails(self) -> Fails {
        match self {
            Self::DiskFree => Fails::Below,
            _ => Fails::Above,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A quantity of one subject, with its limits.
///
/// Invariant: `damaging` lies before the threshold on the way to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watched {
    quantity: Quantity,
    signal: Signal,
    damaging: f64,
}

impl Watched {
    /// Latency of an instance whose check has this timeout.
    ///
    /// # Errors
    /// When the timeout is 0.
    pub fn latency(timeout: Duration) -> Result<Self, ThresholdError> {
        let threshold = milliseconds(timeout);
        Self::new(Quantity::Latency, threshold, threshold / DAMAGING_PART)
    }

    /// Error rate of an instance.
    pub fn error_rate() -> Self {
        Self::fixed(Quantity::ErrorRate, ERROR_RATE_WORST, ERROR_RATE_DAMAGING)
    }

    /// CPU of an instance, as a share of what it has.
    pub fn cpu() -> Self {
        Self::fixed(Quantity::Cpu, LOAD_DAMAGING, LOAD_FREE)
    }

    /// Memory of an instance or a node, as a share of its limit.
    pub fn memory() -> Self {
        Self::fixed(Quantity::Memory, LOAD_DAMAGING, LOAD_FREE)
    }

    /// Requests in flight at an instance, as a share of those it can take.
    pub fn in_flight() -> Self {
        Self::fixed(Quantity::InFlight, LOAD_DAMAGING, LOAD_FREE)
    }

    /// Fsync latency of a node whose shortest election timeout is this.
    ///
    /// # Errors
    /// When the timeout is 0.
    pub fn fsync(election_timeout_min: Duration) -> Result<Self, ThresholdError> {
        let threshold = milliseconds(election_timeout_min);
        Self::new(Quantity::Fsync, threshold, threshold / DAMAGING_PART)
    }

    /// Apply lag of a node.
    pub fn apply_lag() -> Self {
        let threshold = milliseconds(APPLY_LAG_MAX);
        Self::fixed(Quantity::ApplyLag, threshold, threshold / DAMAGING_PART)
    }

    /// Lateness of a node.
    pub fn lateness() -> Self {
        let threshold = milliseconds(Lateness::THRESHOLD);
        Self::fixed(Quantity::Lateness, threshold, threshold / DAMAGING_PART)
    }

    /// Free disk of a node that needs `room` bytes for its next snapshot and the log beside it; at least
    /// [`DISK_FREE_MIN`].
    pub fn disk_free(room: u64) -> Self {
        let threshold = (room as f64).max(DISK_FREE_MIN);
        Self::fixed(Quantity::DiskFree, threshold, threshold * DAMAGING_ROOM)
    }

    /// What is measured.
    pub const fn quantity(self) -> Quantity {
        self.quantity
    }

    /// Where it has failed.
    pub const fn signal(self) -> Signal {
        self.signal
    }

    /// Where damage begins, in the unit of the quantity.
    pub const fn damaging(self) -> f64 {
        self.damaging
    }

    /// How finely and how far back to look: as far as it takes such a quantity to fail. Disk and memory fill over hours, so
    /// they are looked at by the minute; all else by ten seconds.
    pub fn options(self) -> Options {
        match self.quantity {
            Quantity::DiskFree | Quantity::Memory => Options::SLOW,
            _ => Options::default(),
        }
    }

    /// How much is lost at `level`, in [0, 1], by the way from where damage begins to the threshold in the logarithm.
    pub fn damage_at(self, level: f64) -> f64 {
        let way = (self.signal.threshold() / self.damaging).ln();
        // A level of 0 is as far from failing above as can be, and beyond failing below.
        ((level.max(f64::MIN_POSITIVE) / self.damaging).ln() / way).clamp(0.0, 1.0)
    }

    fn new(quantity: Quantity, threshold: f64, damaging: f64) -> Result<Self, ThresholdError> {
        let signal = match quantity.fails() {
            Fails::Above => Signal::above(threshold)?,
            Fails::Below => Signal::below(threshold)?,
        };
        Ok(Self { quantity, signal, damaging })
    }

    fn fixed(quantity: Quantity, threshold: f64, damaging: f64) -> Self {
        Self::new(quantity, threshold, damaging).expect("the limit of a quantity is a normal number above 0")
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_places_in_the_list_of_all() {
        for (code, quantity) in Quantity::ALL.into_iter().enumerate() {
            assert_eq!(quantity as usize, code);
        }
    }

    #[test]
    fn a_timeout_of_0_is_no_limit() {
        assert_eq!(Watched::latency(Duration::ZERO), Err(ThresholdError));
        assert_eq!(Watched::fsync(Duration::ZERO), Err(ThresholdError));
    }

    #[test]
    fn damage_goes_from_nothing_where_it_begins_to_all_at_the_threshold() {
        let second = Watched::latency(Duration::from_secs(1)).unwrap();
        let all = [
            second,
            Watched::error_rate(),
            Watched::cpu(),
            Watched::memory(),
            Watched::in_flight(),
            Watched::fsync(Duration::from_millis(250)).unwrap(),
            Watched::apply_lag(),
            Watched::lateness(),
            Watched::disk_free(1 << 30),
        ];
        for watched in all {
            assert!(watched.damage_at(watched.damaging()).abs() < 1e-12, "{watched:?}");
            assert!((watched.damage_at(watched.signal().threshold()) - 1.0).abs() < 1e-12, "{watched:?}");
        }
        assert_eq!((second.damage_at(0.0), second.damage_at(1e9)), (0.0, 1.0));
        assert!((second.damage_at(1000.0 / 5.0_f64.sqrt()) - 0.5).abs() < 1e-9);
        let disk = Watched::disk_free(0);
        assert_eq!((disk.damage_at(0.0), disk.damage_at(1e12)), (1.0, 0.0));
        assert_eq!(disk.signal().threshold(), DISK_FREE_MIN);
    }
}
