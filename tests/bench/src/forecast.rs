//! Failure prediction on made-up latencies, beside the usual ways: static threshold, Holt, CUSUM. No processes, no peers.
//!
//! Goals on the test kinds: recall ≥ 0.95 on ramps, ≤ 0.1 false alarms per instance-day, median lead ≥ 5 min, time to failure
//! within 35 % (median), and at most 15 µs per evaluation. The constants of the forecaster were compared on the training
//! kinds and seeds; the test kinds have other shapes and other seeds. Not all is blind to them: that a level which was survived
//! is no news was written with sawtooths in mind, the third shape with accelerating ramps. Swaying and ripple are.

mod method;
mod random;
mod score;
mod table;
mod trace;

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use rollcall_health::forecast::{Options, Scratch, Series, Signal};
use rollcall_types::MonoTime;

use self::method::Method;
use self::random::Random;
use self::score::Figures;
use self::table::Findings;
use self::trace::{Kind, TEST_CALM, TEST_RAMPS, THRESHOLD_MS, TRAINING_CALM, TRAINING_RAMPS, Trace};
use crate::report::line;

const TRAINING_SEED: u64 = 0xA11C_E000;
const TEST_SEED: u64 = 0xF4E5_0001_1121;

/// Ours, and each of the usual ways in two settings: none is best at everything.
const METHODS: [Method; 7] = [
    Method::Rollcall,
    Method::Static { share: 0.8 },
    Method::Static { share: 0.5 },
    Method::Holt { level: 0.2, trend: 0.05 },
    Method::Holt { level: 0.1, trend: 0.02 },
    Method::Cusum { slack: 0.5, limit: 8.0 },
    Method::Cusum { slack: 1.0, limit: 20.0 },
];

/// Traces of each kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Of a kind that fails: 2 h each.
    pub(crate) ramps: usize,
    /// Of a kind that does not: a day each.
    pub(crate) days: usize,
}

/// The report.
pub(crate) fn run(size: Size) -> Result<String> {
    let mut text = String::new();
    line(
        &mut text,
        &format!("{} traces of each kind that fails, {} days of each that does not.\n", size.ramps, size.days),
    );
    let test_ramps = [TEST_RAMPS, &[Kind::Step]].concat();
    for (name, ramps, calm, seed) in [
        ("Test: kinds and seeds by which no constant was chosen", &test_ramps[..], TEST_CALM, TEST_SEED),
        ("Training: kinds and seeds by which the constants were chosen", TRAINING_RAMPS, TRAINING_CALM, TRAINING_SEED),
    ] {
        line(&mut text, &format!("### {name}\n"));
        measure(ramps, calm, size, seed)?.write(&mut text);
    }
    line(&mut text, "### Time of an evaluation at 60 buckets\n\n| series | µs |\n|---|---|");
    for (name, kind) in [("without a trend", Kind::White), ("in a ramp", Kind::Exponential)] {
        line(&mut text, &format!("| {name} | {:.1} |", time_of_evaluation(kind)?.as_secs_f64() * 1e6));
    }
    Ok(text)
}

fn measure(ramps: &[Kind], calm: &[Kind], size: Size, seed: u64) -> Result<Findings> {
    let kinds = [ramps, calm].concat();
    let mut figures = Vec::new();
    for method in METHODS {
        crate::progress(&format!("  forecast: {method}"));
        let count = |kind: &Kind| if ramps.contains(kind) { size.ramps } else { size.days };
        let each = kinds.iter().map(|kind| Figures::measure(method, *kind, count(kind), seed));
        figures.push((method, each.collect::<Result<Vec<_>>>()?));
    }
    Ok(Findings { kinds, figures })
}

/// The median time of one evaluation, over the last window of 200 traces.
fn time_of_evaluation(kind: Kind) -> Result<Duration> {
    let options = Options::default();
    let mut scratch = Scratch::default();
    let mut times = Vec::new();
    for seed in 0..200 {
        let trace = Trace::new(kind, &mut Random::new(TEST_SEED ^ (seed << 8)));
        let mut series = Series::new(Signal::above(THRESHOLD_MS)?, options, MonoTime::default());
        let end = trace.latency_ms.len().min(720);
        for (bucket, latency_ms) in trace.latency_ms[..end].iter().enumerate() {
            series.record(*latency_ms, MonoTime::new(options.bucket() * bucket as u32))?;
            let now = MonoTime::new(options.bucket() * (bucket as u32 + 1));
            let begin = Instant::now();
            black_box(series.evaluate(now, &mut scratch));
            if bucket + 30 > end {
                times.push(begin.elapsed());
            }
        }
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}
