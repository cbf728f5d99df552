//! A forecast in the numbers that a person checks: `latency +4.1 %/min, 320 ms -> 1 s in 9-14 min, confidence 0.71`.

use std::fmt;
use std::time::Duration;

use super::alarm::Outlook;
use super::assess::{Assessment, TimeToThreshold};
use super::quantity::{Quantity, Unit};
use super::shape::Shape;

/// What one observer expects of one subject, as it travels. Single precision: nobody reads seven digits.
///
/// Invariants:
/// - The outlook is not [`Outlook::Calm`].
/// - Level and threshold are finite and not negative, the threshold above 0; the rate is finite.
/// - The confidence is at most 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    pub(super) quantity: Quantity,
    pub(super) outlook: Outlook,
    pub(super) is_straight: bool,
    pub(super) level: f32,
    pub(super) threshold: f32,
    pub(super) rate_per_minute: f32,
    pub(super) confidence: u8,
    pub(super) due: Option<Due>,
}

/// When the threshold is reached, counted from when it was told, in ms.
///
/// Invariant: earliest ≤ likely ≤ latest, all below [`Due::NEVER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub(super) earliest: u32,
    pub(super) likely: u32,
    /// `None` is never.
    pub(super) latest: Option<u32>,
}

impl Due {
    /// Stands for "never"; the greatest time that is told is one less, 49 days.
    pub(super) const NEVER: u32 = u32::MAX;

    fn of(time: TimeToThreshold) -> Self {
        let millis = |time: Duration| time.as_millis().min(u128::from(Self::NEVER - 1)) as u32;
        let [earliest, likely] = [time.earliest, time.likely].map(millis);
        Self { earliest, likely, latest: time.latest.map(millis) }
    }

    /// With the steepest slope that 95 % confidence allows.
    pub const fn earliest(self) -> Duration {
        Duration::from_millis(self.earliest as u64)
    }

    /// The best guess.
    pub const fn likely(self) -> Duration {
        Duration::from_millis(self.likely as u64)
    }

    /// With the flattest; `None` when that one never gets there.
    pub fn latest(self) -> Option<Duration> {
        self.latest.map(|millis| Duration::from_millis(u64::from(millis)))
    }
}

impl Forecast {
    /// How far the likely time may move, as a part of itself, before a forecast is worth telling anew.
    const MOVED: f64 = 0.2;

    /// The numbers of a quantity; `None` while nothing is expected of it.
    pub fn of(quantity: Quantity, outlook: Outlook, it: &Assessment) -> Option<Self> {
        let is_straight = it.shape == Shape::Straight;
        let rate = if is_straight { it.slope_per_minute } else { it.growth_per_minute };
        let forecast = Self {
            quantity,
            outlook,
            is_straight,
            level: it.level as f32,
            threshold: it.threshold as f32,
            rate_per_minute: rate as f32,
            confidence: (100.0 * it.confidence).round() as u8,
            due: it.time_to_threshold.map(Due::of),
        };
        forecast.is_sound().then_some(forecast)
    }

    pub(super) fn is_sound(&self) -> bool {
        let is_ordered = |due: Due| {
            due.earliest <= due.likely && due.likely <= due.latest.unwrap_or(Due::NEVER) && due.likely < Due::NEVER
        };
        self.outlook > Outlook::Calm
            && self.level.is_finite()
            && self.level.is_sign_positive()
            && self.threshold.is_normal()
            && self.threshold > 0.0
            && self.rate_per_minute.is_finite()
            && self.confidence <= 100
            && self.due.is_none_or(is_ordered)
    }

    /// What is measured.
    pub const fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// What is expected.
    pub const fn outlook(&self) -> Outlook {
        self.outlook
    }

    /// Where the quantity is, in its unit.
    pub fn level(&self) -> f64 {
        f64::from(self.level)
    }

    /// Where it has failed, in its unit.
    pub fn threshold(&self) -> f64 {
        f64::from(self.threshold)
    }

    /// Its slope in units per minute, when it goes straight.
    pub fn slope_per_minute(&self) -> Option<f64> {
        self.is_straight.then(|| f64::from(self.rate_per_minute))
    }

    /// Its growth, the slope of its natural logarithm, per minute, when it does not go straight.
    pub fn growth_per_minute(&self) -> Option<f64> {
        (!self.is_straight).then(|| f64::from(self.rate_per_minute))
    }

    /// How much it is to be trusted, in [0, 1].
    pub fn confidence(&self) -> f64 {
        f64::from(self.confidence) / 100.0
    }

    /// When it fails; `None` while an alarm stands only until it is cleared.
    pub const fn due(&self) -> Option<Due> {
        self.due
    }

    /// The same, read `by` later: less time is left. What is overdue is due now.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        let by = u32::try_from(by.as_millis()).unwrap_or(u32::MAX);
        let later = |due: Due| Due {
            earliest: due.earliest.saturating_sub(by),
            likely: due.likely.saturating_sub(by),
            latest: due.latest.map(|latest| latest.saturating_sub(by)),
        };
        Self { due: self.due.map(later), ..self }
    }

    /// Of what two observers expect of one subject, the worse: the worse outlook, then what is due sooner, then the surer.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank =
            |it: &Self| (it.outlook, std::cmp::Reverse(it.due.map_or(Due::NEVER, |due| due.likely)), it.confidence);
        if rank(&other) > rank(&self) { other } else { self }
    }

    /// Whether it says something that `told`, `since` ago, does not: another quantity or outlook, or a likely moment that
    /// moved by a fifth of the time that is left. Each telling costs every node bytes.
    pub fn is_news(&self, told: &Self, since: Duration) -> bool {
        if (self.quantity, self.outlook, self.due.is_some()) != (told.quantity, told.outlook, told.due.is_some()) {
            return true;
        }
        let (Some(now), Some(then)) = (self.due, told.due) else { return false };
        let left = then.likely().saturating_sub(since).as_secs_f64();
        (now.likely().as_secs_f64() - left).abs() > Self::MOVED * left.max(now.likely().as_secs_f64())
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.quantity.unit();
        write!(f, "{} ", self.quantity)?;
        if self.is_straight {
            let sign = if self.rate_per_minute < 0.0 { '-' } else { '+' };
            write!(f, "{sign}{}/min", Amount(f64::from(self.rate_per_minute.abs()), unit))?;
        } else {
            write!(f, "{:+.1} %/min", 100.0 * self.rate_per_minute)?;
        }
        write!(f, ", {} -> {}", Amount(self.level(), unit), Amount(self.threshold(), unit))?;
        match self.due {
            None => {}
            Some(due) if due.likely == 0 => write!(f, " now")?,
            Some(due) => write!(f, " in {}", Span(due))?,
        }
        write!(f, ", confidence {:.2}", self.confidence())
    }
}

/// A number with its unit, in three digits.
struct Amount(f64, Unit);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BYTES: [(f64, &str); 5] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")];
        const TIMES: [(f64, &str); 2] = [(1e3, "s"), (1.0, "ms")];
        const SHARES: [(f64, &str); 1] = [(0.01, "%")];
        let scales = match self.1 {
            Unit::Bytes => &BYTES[..],
            Unit::Milliseconds => &TIMES[..],
            Unit::Share => &SHARES[..],
        };
        let fits = |(scale, _): &&(f64, &str)| self.0 >= *scale;
        let (scale, name) = scales.iter().find(fits).or(scales.last()).copied().unwrap_or((1.0, ""));
        let number = self.0 / scale;
        let decimals = if (number - number.round()).abs() < 0.005 {
            0
        } else {
            usize::from(number < 100.0) + usize::from(number < 10.0)
        };
        write!(f, "{number:.decimals$} {name}")
    }
}

/// From the earliest to the latest, in the unit that suits the latest.
struct Span(Due);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let due = self.0;
        let seconds = |millis: u32| f64::from(millis) / 1e3;
        let (scale, name) = match seconds(due.latest.unwrap_or(due.likely)) {
            end if end < 120.0 => (1.0, "s"),
            end if end < 7200.0 => (60.0, "min"),
            _ => (3600.0, "h"),
        };
        let earliest = seconds(due.earliest) / scale;
        match due.latest {
            Some(latest) => write!(f, "{earliest:.0}-{:.0} {name}", seconds(latest) / scale),
            None => write!(f, "{earliest:.0} {name} or more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn latency() -> Forecast {
        Forecast {
            quantity: Quantity::Latency,
            outlook: Outlook::FailurePredicted,
            is_straight: false,
            level: 320.0,
            threshold: 1000.0,
            rate_per_minute: 0.041,
            confidence: 71,
            due: Some(Due { earliest: 540_000, likely: 660_000, latest: Some(840_000) }),
        }
    }

    #[test]
    fn numbers_read_as_a_sentence() {
        let disk = Forecast {
            quantity: Quantity::DiskFree,
            is_straight: true,
            level: 54e9,
            threshold: 5e9,
            rate_per_minute: -4.44e6,
            due: Some(Due { earliest: 36_000_000, likely: 40_000_000, latest: None }),
            ..latency()
        };
        let memory = Forecast { quantity: Quantity::Memory, level: 0.825, threshold: 0.95, due: None, ..latency() };
        let crossed = Forecast { due: Some(Due { earliest: 0, likely: 0, latest: Some(0) }), ..latency() };
        for (forecast, text) in [
            (latency(), "latency +4.1 %/min, 320 ms -> 1 s in 9-14 min, confidence 0.71"),
            (disk, "disk_free -4.44 MB/min, 54 GB -> 5 GB in 10 h or more, confidence 0.71"),
            (memory, "memory +4.1 %/min, 82.5 % -> 95 %, confidence 0.71"),
            (crossed, "latency +4.1 %/min, 320 ms -> 1 s now, confidence 0.71"),
        ] {
            assert_eq!(forecast.to_string(), text);
        }
    }

    #[test]
    fn only_what_moved_by_a_fifth_is_news() {
        let told = latency();
        let later = |millis: u32| Forecast { due: Some(Due { earliest: 0, likely: millis, latest: None }), ..told };
        let minute = Duration::from_secs(60);
        assert!(!later(600_000).is_news(&told, minute), "as foretold");
        assert!(!later(500_000).is_news(&told, minute));
        assert!(later(470_000).is_news(&told, minute));
        assert!(later(760_000).is_news(&told, minute));
        assert!(Forecast { outlook: Outlook::Degrading, ..told }.is_news(&told, Duration::ZERO));
        assert!(Forecast { quantity: Quantity::Cpu, ..told }.is_news(&told, Duration::ZERO));
        assert!(Forecast { due: None, ..told }.is_news(&told, Duration::ZERO));
    }

    #[test]
    fn who_reads_later_has_less_time() {
        let due = |forecast: Forecast| forecast.due.map(|due| (due.earliest, due.likely, due.latest));
        assert_eq!(due(latency().later(Duration::from_secs(60))), Some((480_000, 600_000, Some(780_000))));
        assert_eq!(due(latency().later(Duration::from_secs(600))), Some((0, 60_000, Some(240_000))));
        assert_eq!(due(latency().later(Duration::MAX)), Some((0, 0, Some(0))));
    }

    #[test]
    fn of_two_the_worse_outlook_counts_then_the_sooner_failure_then_the_surer() {
        let told = latency();
        let soft = Forecast { outlook: Outlook::Degrading, due: None, confidence: 100, ..told };
        let sooner = Forecast { due: Some(Due { earliest: 0, likely: 1, latest: None }), confidence: 40, ..told };
        let surer = Forecast { confidence: 90, ..told };
        for (better, worse) in [(soft, told), (told, sooner), (told, surer), (surer, sooner)] {
            assert_eq!(better.worse(worse), worse);
            assert_eq!(worse.worse(better), worse);
        }
    }
}
