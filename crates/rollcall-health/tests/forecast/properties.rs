//! Properties of any series.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use rollcall_health::Trend;
use rollcall_health::forecast::{Assessment, Options, Outlook, Scratch, Series, Shape, Signal};
use rollcall_types::MonoTime;

use crate::reference;

const WINDOW: usize = 24;

fn options() -> Options {
    Options::new(Duration::from_secs(10), WINDOW).unwrap()
}

fn time(bucket: usize) -> MonoTime {
    MonoTime::new(options().bucket() * bucket as u32)
}

/// Feeds one sample a bucket, none where there is `None`, and evaluates after each.
fn feed(signal: Signal, samples: &[Option<f64>]) -> Series {
    let (mut series, mut scratch) = (Series::new(signal, options(), time(0)), Scratch::default());
    for (bucket, sample) in samples.iter().enumerate() {
        if let Some(value) = sample {
            series.record(*value, time(bucket)).unwrap();
        }
        let _ = series.evaluate(time(bucket + 1), &mut scratch);
    }
    series
}

fn present(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

fn assess(signal: Signal, values: &[f64]) -> Assessment {
    *feed(signal, &present(values)).assessment().unwrap()
}

fn near(a: f64, b: f64) -> bool {
    // Samples are kept in single precision.
    (a - b).abs() <= 1e-5 + 1e-3 * a.abs().max(b.abs())
}

/// Powers of two and small multiples of them, so that single precision keeps them as they are.
fn exact_values() -> impl Strategy<Value = Vec<f64>> {
    vec((1..64_u32).prop_map(|value| f64::from(value) * 8.0), WINDOW)
}

/// Positive, and some missing, but the first and the last.
fn with_gaps() -> impl Strategy<Value = Vec<Option<f64>>> {
    let any = prop_oneof![4 => (1..400_u32).prop_map(|value| Some(f64::from(value))), 1 => Just(None)];
    (vec(any, WINDOW - 2), 1..400_u32, 1..400_u32).prop_map(|(mut samples, first, last)| {
        samples.insert(0, Some(f64::from(first)));
        samples.push(Some(f64::from(last)));
        samples
    })
}

proptest! {
    #[test]
    fn an_evaluation_says_what_the_slow_reference_says(samples in with_gaps()) {
        let series = feed(Signal::above(512.0).unwrap(), &samples);
        let Some(assessment) = series.assessment() else { return Ok(()) };
        let last = samples.len() - 1;
        let places = samples.iter().enumerate().filter_map(|(x, value)| value.map(|value| (x, value / 512.0)));
        let raw: Vec<(usize, f64)> = places.map(|(x, ratio)| (x, f64::from(ratio as f32))).collect();
        let log: Vec<(usize, f64)> = raw.iter().map(|(x, ratio)| (*x, ratio.ln())).collect();
        prop_assert_eq!(assessment.buckets, raw.len());
        let pairs = reference::pairs(&log);
        let p = reference::two_sided_p(reference::mann_kendall(&pairs));
        prop_assert!((assessment.p_value - p).abs() < 1e-6, "{} {}", assessment.p_value, p);
        // A line goes through the younger half or through the pairs of all.
        let slope_of = |of_log: fn(f64) -> f64, log: &[(usize, f64)], step: f64| {
            let shaped: Vec<(usize, f64)> = log.iter().map(|(x, y)| (*x, of_log(*y))).collect();
            reference::theil_sen(&shaped) / step * 6.0
        };
        let younger: Vec<(usize, f64)> = log.iter().copied().filter(|(x, _)| x + WINDOW / 2 > last).collect();
        let either = |of_log: fn(f64) -> f64| [slope_of(of_log, &younger, 1.0), slope_of(of_log, &pairs, 2.0)];
        let is_one_of = |told: f64, slopes: [f64; 2]| slopes.iter().any(|slope| (told - slope).abs() < 1e-9);
        prop_assert!(is_one_of(assessment.slope_per_minute / 512.0, either(f64::exp)), "{assessment:?}");
        prop_assert!(is_one_of(assessment.growth_per_minute, either(|log| log)), "{assessment:?}");
    }

    #[test]
    fn another_unit_changes_the_numbers_by_that_factor_only(values in exact_values(), power in -20..20_i32) {
        let factor = 2.0_f64.powi(power);
        let scaled: Vec<f64> = values.iter().map(|value| value * factor).collect();
        let one = assess(Signal::above(512.0).unwrap(), &values);
        let other = assess(Signal::above(512.0 * factor).unwrap(), &scaled);
        let expected = Assessment {
            level: one.level * factor,
            threshold: one.threshold * factor,
            slope_per_minute: one.slope_per_minute * factor,
            ..one
        };
        prop_assert_eq!(other, expected);
    }

    #[test]
    fn a_shift_of_all_values_leaves_the_slope_as_it_is(values in exact_values(), shift in 1..64_u32) {
        let shifted: Vec<f64> = values.iter().map(|value| value + 8.0 * f64::from(shift)).collect();
        let signal = Signal::above(512.0).unwrap();
        let (one, other) = (assess(signal, &values), assess(signal, &shifted));
        // Through the younger half. The pairs of the whole window are means of logarithms, which a shift bends.
        let is_of_half = |it: &Assessment| it.shape == Shape::Straight && it.fitted == WINDOW / 2;
        if is_of_half(&one) && is_of_half(&other) {
            prop_assert!(near(one.slope_per_minute, other.slope_per_minute), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_series_turned_upside_down_in_the_logarithm_falls_as_fast_as_it_rose(values in exact_values()) {
        let turned: Vec<f64> = values.iter().map(|value| 512.0 * 512.0 / value).collect();
        let above = assess(Signal::above(512.0).unwrap(), &values);
        let below = assess(Signal::below(512.0).unwrap(), &turned);
        // Which part is fitted may differ: equal residuals rank by time, and time is not turned.
        if above.fitted == below.fitted {
            prop_assert!(near(above.growth_per_minute, -below.growth_per_minute), "{above:?} {below:?}");
        }
    }

    #[test]
    fn a_constant_series_below_its_threshold_never_alarms(value in 0.0..999.0_f64, buckets in 1..200_usize) {
        let series = feed(Signal::above(1000.0).unwrap(), &vec![Some(value); buckets]);
        prop_assert_eq!(series.outlook(), Outlook::Calm);
        prop_assert!(matches!(series.trend(), Trend::Stable | Trend::Unknown));
    }

    #[test]
    fn every_number_is_in_its_range_whatever_is_measured(samples in vec(proptest::option::of(0.0..1e12_f64), 1..150)) {
        for signal in [Signal::above(1000.0).unwrap(), Signal::below(1e9).unwrap()] {
            let series = feed(signal, &samples);
            let Some(it) = series.assessment() else { continue };
            for share in [it.confidence, it.p_value, it.curvature] {
                prop_assert!((0.0..=1.0).contains(&share), "{it:?}");
            }
            prop_assert!(it.level.is_finite() && it.slope_per_minute.is_finite() && it.growth_per_minute.is_finite());
            if let Some(due) = it.time_to_threshold {
                prop_assert!(due.earliest <= due.likely && due.latest.is_none_or(|latest| due.likely <= latest), "{it:?}");
            }
        }
    }

    #[test]
    fn the_same_samples_give_the_same_series(samples in vec(proptest::option::of(0.0..1e4_f64), 1..100)) {
        let signal = Signal::above(1000.0).unwrap();
        let (one, other) = (feed(signal, &samples), feed(signal, &samples));
        prop_assert_eq!(one.assessment(), other.assessment());
        prop_assert_eq!(one.outlook(), other.outlook());
    }
}
