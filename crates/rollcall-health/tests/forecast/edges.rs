//! Samples, clocks and options that should not be.

use std::time::Duration;

use rollcall_health::forecast::{Options, OptionsError, Outlook, SampleError, Scratch, Series, Signal, ThresholdError};
use rollcall_health::{TimeToFailure, Trend};
use rollcall_types::MonoTime;

fn seconds(count: u64) -> MonoTime {
    MonoTime::new(Duration::from_secs(count))
}

fn latency() -> Series {
    Series::new(Signal::above(1000.0).unwrap(), Options::default(), seconds(0))
}

#[test]
fn a_sample_that_nothing_can_measure_is_refused_and_changes_nothing() {
    let mut series = latency();
    for (value, error) in [
        (f64::NAN, SampleError::NotFinite),
        (f64::INFINITY, SampleError::NotFinite),
        (f64::NEG_INFINITY, SampleError::NotFinite),
        (-0.001, SampleError::Negative),
    ] {
        assert_eq!(series.record(value, seconds(5000)), Err(error), "{value}");
    }
    // The refused samples did not even move the clock.
    series.record(1.0, seconds(1)).unwrap();
    assert_eq!(series.evaluate(seconds(11), &mut Scratch::default()), None);
}

#[test]
fn zero_and_the_greatest_number_are_samples() {
    let (mut series, mut scratch) = (latency(), Scratch::default());
    for bucket in 0..60 {
        let value = if bucket % 2 == 0 { 0.0 } else { f64::MAX };
        series.record(value, seconds(10 * bucket)).unwrap();
        assert_eq!(series.evaluate(seconds(10 * bucket + 10), &mut scratch), None);
    }
    assert_eq!(series.trend(), Trend::Stable);
}

#[test]
fn a_threshold_is_a_normal_number_above_0() {
    for threshold in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE / 2.0] {
        assert_eq!(Signal::above(threshold), Err(ThresholdError), "{threshold}");
        assert_eq!(Signal::below(threshold), Err(ThresholdError), "{threshold}");
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let second = Duration::from_secs(1);
    assert_eq!(Options::new(Duration::ZERO, 60), Err(OptionsError::Bucket));
    assert_eq!(Options::new(Duration::from_secs(3601), 60), Err(OptionsError::Bucket));
    assert_eq!(Options::new(second, 19), Err(OptionsError::Window));
    assert_eq!(Options::new(second, 241), Err(OptionsError::Window));
    for window in [20, 240] {
        assert_eq!(Options::new(second, window).unwrap().window(), window);
    }
}

#[test]
fn while_the_clock_stands_still_no_bucket_ends_and_memory_does_not_grow() {
    let (mut series, mut scratch) = (latency(), Scratch::default());
    for sample in 0..100_000 {
        series.record(f64::from(sample), seconds(7)).unwrap();
        assert_eq!(series.evaluate(seconds(7), &mut scratch), None);
    }
    assert_eq!(series.assessment(), None);
}

#[test]
fn a_clock_that_goes_back_is_taken_to_stand_still() {
    let (mut series, mut scratch) = (latency(), Scratch::default());
    for bucket in 0..60 {
        series.record(20.0, seconds(10 * bucket)).unwrap();
        let _ = series.evaluate(seconds(10 * bucket + 10), &mut scratch);
    }
    let before = *series.assessment().unwrap();
    series.record(900.0, seconds(3)).unwrap();
    assert_eq!(series.evaluate(seconds(3), &mut scratch), None);
    assert_eq!(*series.assessment().unwrap(), before);
}

#[test]
fn a_jump_to_the_end_of_time_empties_the_window() {
    let (mut series, mut scratch) = (latency(), Scratch::default());
    for bucket in 0..60 {
        series.record(20.0, seconds(10 * bucket)).unwrap();
        let _ = series.evaluate(seconds(10 * bucket + 10), &mut scratch);
    }
    let end = MonoTime::new(Duration::MAX);
    assert_eq!(series.evaluate(end, &mut scratch), None);
    assert_eq!(series.assessment(), None);
    series.record(20.0, end).unwrap();
    assert_eq!(series.evaluate(end, &mut scratch), None);
}

#[test]
fn buckets_that_were_missed_count_as_one_evaluation() {
    let (mut series, mut scratch) = (latency(), Scratch::default());
    for bucket in 0..60 {
        series.record(20.0 * 1.07_f64.powi(bucket), seconds(10 * bucket as u64)).unwrap();
    }
    // One look at a window full of growth is not enough for an alarm.
    assert_eq!(series.evaluate(seconds(600), &mut scratch), None);
    assert_eq!(series.trend(), Trend::Degrading);
    assert_eq!((series.outlook(), series.time_to_failure()), (Outlook::Calm, TimeToFailure::NotPredicted));
}

#[test]
fn wild_samples_do_not_move_the_median_of_their_bucket() {
    let (mut series, mut scratch) = (latency(), Scratch::default());
    for bucket in 0..60 {
        for sample in 0..50 {
            let value = if sample % 5 == 0 { 5000.0 } else { 20.0 };
            series.record(value, seconds(10 * bucket)).unwrap();
        }
        let _ = series.evaluate(seconds(10 * bucket + 10), &mut scratch);
    }
    let level = series.assessment().unwrap().level;
    assert!((level - 20.0).abs() < 0.001, "{level}");
}

#[test]
fn a_series_fits_in_the_memory_it_promises() {
    let window = 4 * Options::default().window();
    assert!(Series::BYTES + window <= 720, "{} + {window} bytes", Series::BYTES);
}
