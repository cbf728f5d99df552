//! Ejecting an instance for a while when several callers agree that it fails, in the manner of Envoy's outlier detection.
//!
//! A **witness** is a reporter with [`WITNESS_SAMPLES_MIN`] fresh reports on an instance; it speaks against it when
//! [`FAILURES_AGAINST`] of them failed. [`WITNESSES_NEEDED`] against, and more than half of all witnesses, eject it: for
//! [`EJECTION_BASE`], doubled each time up to [`EJECTION_MAX`]. It comes back by itself and needs new evidence to be ejected
//! again. At most [`EJECTED_PART_MAX`] of a service are ejected at a time, rounded down: with less than ten instances none is, since
//! there the score moves requests away and losing one more would cost too much.

use std::time::Duration;

use rollcall_types::{InstanceId, ServiceKey, UnixMillis};

use super::bounded::Bounded;
use super::{FeedbackTable, INSTANCES_MAX, Key};

/// Fresh reports that make a reporter a witness.
pub const WITNESS_SAMPLES_MIN: f64 = 5.0;
/// Share of failures from which on a witness speaks against an instance.
pub const FAILURES_AGAINST: f64 = 0.5;
/// Witnesses against an instance that it takes to eject it.
pub const WITNESSES_NEEDED: usize = 3;
/// Most of a service that is ejected at a time.
pub const EJECTED_PART_MAX: f64 = 0.10;
/// How long the first ejection lasts.
pub const EJECTION_BASE: Duration = Duration::from_secs(30);
/// How long an ejection lasts at most; so long without one takes back one doubling.
pub const EJECTION_MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, Default)]
struct Ejection {
    until: UnixMillis,
    /// How often in a row; doubles the span.
    times: u32,
}

/// Which instances are ejected, and how often they were.
#[derive(Debug, Clone)]
pub struct Ejections(Bounded<Key, Ejection>);

impl Default for Ejections {
    fn default() -> Self {
        Self(Bounded::new(INSTANCES_MAX))
    }
}

impl Ejections {
    /// Looks at the instances of a service, all that are registered, and returns those that it ejects now. To be called about
    /// once a second for services that were reported on.
    pub fn review(
        &mut self,
        service: &ServiceKey,
        instances: &[InstanceId],
        feedback: &mut FeedbackTable,
        now: UnixMillis,
    ) -> Vec<InstanceId> {
        let allowed = (instances.len() as f64 * EJECTED_PART_MAX) as usize;
        let ejected = instances.iter().filter(|instance| self.until(service, instance, now).is_some()).count();
        let room = allowed.saturating_sub(ejected);
        if room == 0 {
            return Vec::new();
        }
        let here = instances.iter().filter(|instance| self.until(service, instance, now).is_none());
        let accused = here.filter_map(|instance| Some((failures(feedback, service, instance, now)?, instance)));
        let mut accused: Vec<(f64, &InstanceId)> = accused.collect();
        // The worst first; of equals the first by name.
        accused.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let worst = accused.into_iter().take(room).map(|(_, instance)| instance.clone());
        worst.inspect(|instance| self.eject((service.clone(), instance.clone()), feedback, now)).collect()
    }

    /// Until when an instance is ejected, if it is.
    pub fn until(&self, service: &ServiceKey, instance: &InstanceId, now: UnixMillis) -> Option<UnixMillis> {
        let held = self.0.get(&(service.clone(), instance.clone()))?;
        (held.until > now).then_some(held.until)
    }

    fn eject(&mut self, key: Key, feedback: &mut FeedbackTable, now: UnixMillis) {
        if let Some(record) = feedback.records.get_mut(&key) {
            record.witnesses.clear();
        }
        self.0.update(key, |ejection| {
            let calm = now.get().saturating_sub(ejection.until.get()) / EJECTION_MAX.as_millis() as u64;
            ejection.times = ejection.times.saturating_sub(u32::try_from(calm).unwrap_or(u32::MAX)) + 1;
            let span = EJECTION_BASE.saturating_mul(1 << (ejection.times - 1).min(16)).min(EJECTION_MAX);
            ejection.until = UnixMillis::new(now.get().saturating_add(span.as_millis() as u64));
            ejection.until.get()
        });
    }
}

/// The mean share of failures that the witnesses against an instance tell of, when there are enough of them.
fn failures(feedback: &FeedbackTable, service: &ServiceKey, instance: &InstanceId, now: UnixMillis) -> Option<f64> {
    let record = feedback.record_of(service, instance)?;
    let witnesses = || record.witnesses.iter().filter(|mean| mean.samples(now) >= WITNESS_SAMPLES_MIN);
    let against = || witnesses().map(|mean| mean.failures()).filter(|failures| *failures >= FAILURES_AGAINST);
    let (all, many) = (witnesses().count(), against().count());
    (many >= WITNESSES_NEEDED && 2 * many > all).then(|| against().sum::<f64>() / many as f64)
}
