//! The text in which forecasts travel.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use proptest::collection::vec;
use proptest::prelude::*;
use rollcall_health::forecast::{
    Assessment, FORECASTS_TEXT_MAX, Forecast, Forecasts, ForecastsError, Outlook, Quantity, Shape, TimeToThreshold,
    chunk_of_key, key,
};
use rollcall_health::{CHUNK_SLOTS, ChunkId, Slot, Tenancy, Trend};
use rollcall_types::Revision;

/// One entry: place 3, tenancy 0x1234, latency, predicted, growth, 320 of 1000 at 0.041 per min, 71 %, due in 9, 11, 14 min.
const GOLDEN: &str = include_str!("../golden/forecasts-v1.txt");

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn assessment() -> Assessment {
    Assessment {
        level: 320.0,
        threshold: 1000.0,
        slope_per_minute: 11.0,
        growth_per_minute: 0.041,
        curvature: 0.9,
        shape: Shape::Growth,
        fitted: 60,
        buckets: 60,
        p_value: 1e-6,
        trend: Trend::Degrading,
        confidence: 0.71,
        time_to_threshold: Some(TimeToThreshold {
            likely: seconds(660),
            earliest: seconds(540),
            latest: Some(seconds(840)),
        }),
    }
}

fn predicted() -> Forecast {
    Forecast::of(Quantity::Latency, Outlook::FailurePredicted, &assessment()).unwrap()
}

fn tenancy(raw: u64) -> Tenancy {
    Tenancy::began_at(Revision::new(raw))
}

fn slot(raw: u32) -> Slot {
    Slot::new(raw).unwrap()
}

fn chunk() -> ChunkId {
    slot(0).chunk()
}

fn text(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes() -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(GOLDEN.trim()).unwrap()
}

#[test]
fn the_bytes_of_version_1_never_change() {
    let forecasts = Forecasts::of(chunk(), [(slot(3), tenancy(0x1234), predicted())]);
    assert_eq!(forecasts.encode(), GOLDEN.trim());
    let mut expected = vec![1, 3, 0x34, 0x12, 0x20];
    expected.extend([320.0_f32, 1000.0, 0.041].map(f32::to_le_bytes).as_flattened());
    expected.push(71);
    expected.extend([540_000_u32, 660_000, 840_000].map(u32::to_le_bytes).as_flattened());
    assert_eq!(bytes(), expected);
    let read = Forecasts::decode(GOLDEN.trim()).unwrap();
    assert_eq!(read.get(slot(3), tenancy(0x1234)), Some(&predicted()));
    assert_eq!((read.get(slot(3), tenancy(0x1235)), read.get(slot(4), tenancy(0x1234))), (None, None));
}

#[test]
fn a_full_chunk_fits_the_longest_text() {
    let all = (0..CHUNK_SLOTS).map(|raw| (slot(raw), tenancy(1), predicted()));
    let full = Forecasts::of(chunk(), all);
    assert_eq!((full.len(), full.encode().len()), (64, FORECASTS_TEXT_MAX));
    assert_eq!(FORECASTS_TEXT_MAX, 2476, "well below the 8 KiB of a gossip value");
    assert_eq!(Forecasts::decode(&full.encode()), Ok(full));
}

#[test]
fn slots_of_another_chunk_are_left_out() {
    let mixed = Forecasts::of(chunk(), [(slot(64), tenancy(1), predicted()), (slot(0), tenancy(1), predicted())]);
    assert_eq!((mixed.len(), mixed.get(slot(0), tenancy(1))), (1, Some(&predicted())));
}

#[test]
fn of_a_calm_quantity_or_one_without_a_sound_number_there_is_no_forecast() {
    assert_eq!(Forecast::of(Quantity::Latency, Outlook::Calm, &assessment()), None);
    for level in [f64::NAN, f64::INFINITY, 1e300] {
        let strange = Assessment { level, ..assessment() };
        assert_eq!(Forecast::of(Quantity::Latency, Outlook::Degrading, &strange), None, "{level}");
    }
}

#[test]
fn what_is_no_list_of_forecasts_is_refused_and_named() {
    let good = bytes();
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        text(&bytes)
    };
    let (entry, nan) = (&good[1..], f32::NAN.to_le_bytes());
    for (bad, error) in [
        (String::new(), ForecastsError::WrongLength),
        ("A".repeat(FORECASTS_TEXT_MAX + 1), ForecastsError::TooLong(FORECASTS_TEXT_MAX + 1)),
        ("naïve".to_owned(), ForecastsError::NotBase64),
        (format!("{}==", GOLDEN.trim()), ForecastsError::NotBase64),
        (with(0, &[0]), ForecastsError::UnknownVersion(0)),
        (with(0, &[2]), ForecastsError::UnknownVersion(2)),
        (text(&good[..29]), ForecastsError::WrongLength),
        (text(&[&good[..], entry].concat()), ForecastsError::OutOfOrder),
        (with(1, &[64]), ForecastsError::OutOfOrder),
        (with(4, &[0x00]), ForecastsError::NotSound),
        (with(4, &[0x30]), ForecastsError::NotSound),
        (with(4, &[0x29]), ForecastsError::NotSound),
        (with(4, &[0xa0]), ForecastsError::NotSound),
        (with(5, &nan), ForecastsError::NotSound),
        (with(5, &(-1.0_f32).to_le_bytes()), ForecastsError::NotSound),
        (with(9, &0.0_f32.to_le_bytes()), ForecastsError::NotSound),
        (with(9, &f32::INFINITY.to_le_bytes()), ForecastsError::NotSound),
        (with(13, &nan), ForecastsError::NotSound),
        (with(17, &[101]), ForecastsError::NotSound),
        (with(18, &u32::MAX.to_le_bytes()), ForecastsError::NotSound),
        (with(18, &660_001_u32.to_le_bytes()), ForecastsError::NotSound),
        (with(26, &659_999_u32.to_le_bytes()), ForecastsError::NotSound),
    ] {
        assert_eq!(Forecasts::decode(&bad), Err(error), "{bad}");
    }
}

#[test]
fn a_key_is_read_only_as_it_is_written() {
    assert_eq!(key(slot(130).chunk()), "f/2");
    assert_eq!(chunk_of_key("f/2"), Some(slot(130).chunk()));
    for strange in ["", "f/", "f/+1", "f/01", "h/2", "f/99999999999", "2"] {
        assert_eq!(chunk_of_key(strange), None, "{strange}");
    }
}

fn any_forecast() -> impl Strategy<Value = Forecast> {
    let numbers = (0.0..1e12_f64, 1e-3..1e12_f64, -1e3..1e3_f64, 0.0..=1.0_f64);
    let shape = prop_oneof![Just(Shape::Straight), Just(Shape::Growth), Just(Shape::Runaway)];
    let outlook = prop_oneof![Just(Outlook::Degrading), Just(Outlook::FailurePredicted)];
    let due = proptest::option::of((0..1_u64 << 33, 0..1_u64 << 33, proptest::option::of(0..1_u64 << 33)));
    (0..Quantity::ALL.len(), numbers, shape, outlook, due).prop_map(|(code, numbers, shape, outlook, due)| {
        let (level, threshold, rate, confidence) = numbers;
        let millis = Duration::from_millis;
        let due = due.map(|(earliest, more, most)| TimeToThreshold {
            earliest: millis(earliest),
            likely: millis(earliest + more),
            latest: most.map(|most| millis(earliest + more + most)),
        });
        let it = Assessment { level, threshold, slope_per_minute: rate, growth_per_minute: rate, ..assessment() };
        let it = Assessment { confidence, shape, time_to_threshold: due, ..it };
        Forecast::of(Quantity::ALL[code], outlook, &it).unwrap()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(all in vec((0..CHUNK_SLOTS, any::<u16>(), any_forecast()), 0..80)) {
        let entries = all.iter().map(|(place, tenant, forecast)| (slot(*place), tenancy(u64::from(*tenant)), *forecast));
        let forecasts = Forecasts::of(chunk(), entries);
        let text = forecasts.encode();
        prop_assert!(text.len() <= FORECASTS_TEXT_MAX);
        prop_assert_eq!(Forecasts::decode(&text), Ok(forecasts));
    }

    #[test]
    fn what_is_read_is_written_the_same(bytes in vec(any::<u8>(), 0..200)) {
        let text = text(&bytes);
        if let Ok(forecasts) = Forecasts::decode(&text) {
            prop_assert_eq!(forecasts.encode(), text);
        }
    }

    #[test]
    fn one_byte_changed_is_read_as_written_or_refused(at in 1..30_usize, byte: u8) {
        let mut bytes = bytes();
        bytes[at] = byte;
        if let Ok(forecasts) = Forecasts::decode(&text(&bytes)) {
            prop_assert_eq!(forecasts.encode(), text(&bytes));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,100}") {
        let _ = Forecasts::decode(&text);
    }
}
