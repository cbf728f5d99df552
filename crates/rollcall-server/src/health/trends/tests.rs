use super::*;

const CHECK: Checked = Checked { index: 0, timeout: Duration::from_secs(1), interval: Duration::from_secs(1) };

fn at(seconds: u64) -> MonoTime {
    MonoTime::new(Duration::from_secs(seconds))
}

fn forecasting() -> Forecasting {
    Forecasting::new(Options::new(Duration::from_secs(1), 20).unwrap())
}

fn answered(millis: u64) -> Outcome {
    Outcome { answer: Answer::Passed, latency: Duration::from_millis(millis) }
}

/// The numbers of a quantity that grows evenly from a tenth of its threshold, as soon as a failure is predicted.
pub(in super::super) fn foreseen(watched: Watched) -> Forecast {
    let mut series = Series::new(watched.signal(), Options::new(Duration::from_secs(1), 20).unwrap(), at(0));
    let mut scratch = Scratch::default();
    for second in 0..60 {
        series.record(watched.signal().threshold() * (0.1 + 0.02 * second as f64), at(second)).unwrap();
        let event = series.evaluate(at(second), &mut scratch);
        if let Some(event) = event.filter(|event| event.change == Change::PredictedFailure) {
            return Forecast::of(watched.quantity(), Outlook::FailurePredicted, &event.assessment).unwrap();
        }
    }
    panic!("it grows evenly and is not predicted to fail");
}

#[test]
fn what_gets_slower_is_told_once_for_each_change_and_what_is_steady_never() {
    let mut all = forecasting();
    let (mut slow, mut steady) = (Trends::default(), Trends::default());
    let mut told = Vec::new();
    for second in 0..45 {
        slow.latency(CHECK, answered(100 + 20 * second), &mut all, at(second));
        steady.latency(CHECK, answered(100 + second % 3), &mut all, at(second));
        told.extend(slow.evaluate(&mut all, at(second)).map(|news| news.change));
        assert_eq!(steady.evaluate(&mut all, at(second)), None);
    }
    assert_eq!(told, [Change::Degrading, Change::PredictedFailure]);
    assert_eq!((slow.trend(), steady.trend()), (Trend::Degrading, Trend::Stable));
    assert!(slow.time_to_failure() > TimeToFailure::NotPredicted);
    assert_eq!(slow.forecast().map(|forecast| forecast.quantity()), Some(Quantity::Latency));
    assert_eq!(steady.forecast(), None);
}

#[test]
fn an_instance_has_no_series_of_what_it_never_shows_and_gives_its_room_back() {
    let mut all = forecasting();
    let mut trends = Trends::default();
    trends.errors(0.0, CHECK.interval, &mut all, at(0));
    assert_eq!(all.bytes(), 0);
    trends.latency(CHECK, answered(10), &mut all, at(0));
    trends.latency(Checked { index: 1, ..CHECK }, answered(10), &mut all, at(0));
    trends.errors(0.5, CHECK.interval, &mut all, at(0));
    trends.load(&Load { cpu: Some(f64::NAN), memory: Some(0.5), ..Load::default() }, CHECK.interval, &mut all, at(0));
    assert_eq!(all.bytes(), 4 * all.size_of());
    all.release(&trends);
    assert_eq!(all.bytes(), 0);
}

#[test]
fn beyond_the_room_that_there_is_no_series_begins() {
    let mut all = forecasting();
    all.bytes_max = 2 * all.size_of() + 1;
    let mut many: Vec<_> = (0..3).map(|_| Trends::default()).collect();
    many.iter_mut().for_each(|trends| trends.latency(CHECK, answered(10), &mut all, at(0)));
    assert_eq!((all.bytes(), all.without_room()), (2 * all.size_of(), 1));
    all.release(&many.swap_remove(0));
    many[0].errors(0.5, CHECK.interval, &mut all, at(1));
    assert_eq!(all.bytes(), 2 * all.size_of());
}

#[test]
fn a_bucket_is_no_shorter_than_the_time_between_two_samples() {
    let all = forecasting();
    let bucket = |quantity, interval| all.options_of(quantity, Duration::from_secs(interval)).bucket().as_secs();
    assert_eq!(bucket(Quantity::Latency, 1), 1);
    assert_eq!(bucket(Quantity::Latency, 10), 10);
    assert_eq!(bucket(Quantity::Memory, 1), 6);
    assert_eq!(bucket(Quantity::Latency, 86_400), 3_600);
}

#[test]
fn what_refuses_at_once_is_not_fast_and_what_hangs_is_as_slow_as_its_timeout() {
    let mut all = forecasting();
    let mut trends = Trends::default();
    let failed = |failure| Outcome { answer: Answer::Failed(failure), latency: Duration::from_millis(1) };
    trends.latency(CHECK, failed(Failure::Refused), &mut all, at(0));
    assert_eq!(all.bytes(), 0);
    trends.latency(CHECK, failed(Failure::Timeout), &mut all, at(0));
    assert_eq!(all.bytes(), all.size_of());
}
