//! What is expected of a subject with several quantities.

use std::time::Duration;

use rollcall_health::forecast::{CommonCause, Outlook, Prospect, Quantity, Scratch, Seen, Series, WEIGHT_MIN, Watched};
use rollcall_types::MonoTime;

/// A series of these values, one a bucket.
fn series(watched: Watched, value: impl Fn(i32) -> f64, buckets: i32) -> Series {
    let options = watched.options();
    let (mut series, mut scratch) = (Series::new(watched.signal(), options, MonoTime::default()), Scratch::default());
    for bucket in 0..buckets {
        series.record(value(bucket), MonoTime::new(options.bucket() * bucket as u32)).unwrap();
        let _ = series.evaluate(MonoTime::new(options.bucket() * (bucket as u32 + 1)), &mut scratch);
    }
    series
}

fn latency() -> Watched {
    Watched::latency(Duration::from_secs(1)).unwrap()
}

/// 20 ms for ten minutes, then half as much again every minute.
fn growing() -> Series {
    series(latency(), |bucket| 20.0 * 1.07_f64.powi((bucket - 60).max(0)), 105)
}

#[test]
fn the_quantity_with_the_worst_outlook_decides_and_the_greatest_damage_counts() {
    let (latencies, cpus) = (growing(), series(Watched::cpu(), |_| 0.94, 60));
    let seen = [Seen { watched: Watched::cpu(), series: &cpus }, Seen { watched: latency(), series: &latencies }];
    let prospect = Prospect::of(seen);
    let decisive = prospect.decisive.unwrap();
    assert_eq!((prospect.outlook, decisive.quantity), (Outlook::FailurePredicted, Quantity::Latency));
    assert!(prospect.damage > 0.9, "the CPU is nearly used up: {prospect:?}");
    assert!(prospect.hastens());
    let forecast = decisive.forecast().unwrap();
    assert!(forecast.to_string().starts_with("latency +40.6 %/min, "), "{forecast}");
}

#[test]
fn damage_of_a_trend_is_confidence_times_what_is_left_of_the_window() {
    let latencies = growing();
    let it = latencies.assessment().unwrap();
    let time = it.time_to_threshold.unwrap().likely.as_secs_f64();
    let of_trend = it.confidence * (-time / 600.0).exp();
    let of_level = ((it.level / 200.0).ln() / 5.0_f64.ln()).clamp(0.0, 1.0);
    let prospect = Prospect::of([Seen { watched: latency(), series: &latencies }]);
    assert!((prospect.damage - of_trend.max(of_level)).abs() < 1e-9, "{prospect:?}");
    assert!((prospect.weight(None) - (1.0 - prospect.damage).max(WEIGHT_MIN)).abs() < 1e-12);
}

#[test]
fn what_is_calm_and_low_has_its_full_weight_and_no_forecast() {
    let calm = series(latency(), |bucket| 20.0 + f64::from(bucket % 2), 60);
    let prospect = Prospect::of([Seen { watched: latency(), series: &calm }]);
    assert_eq!((prospect.outlook, prospect.damage, prospect.hastens()), (Outlook::Calm, 0.0, false));
    assert_eq!(prospect.decisive.unwrap().forecast(), None);
    assert_eq!(Prospect::of([]).weight(None), 1.0);
}

#[test]
fn what_has_failed_keeps_a_tenth_and_a_common_cause_takes_nothing() {
    let failed = series(latency(), |_| 1500.0, 60);
    let prospect = Prospect::of([Seen { watched: latency(), series: &failed }]);
    assert_eq!((prospect.score(), prospect.weight(None)), (0.0, WEIGHT_MIN));
    assert_eq!(prospect.weight(Some(CommonCause { degrading: 2, compared: 3 })), 1.0);
}
