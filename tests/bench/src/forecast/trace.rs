//! Made-up latencies, one a bucket of 10 s: ways to fail, and ways to look as if one would.
//!
//! Every trace has a base of 5 to 50 ms and a noise of its own: autoregressive in the logarithm, with a deviation of 5 to
//! 25 % and a memory of 0, 0.5 or 0.8 from bucket to bucket. A ramp begins after 25 to 50 min and takes 10 to 50 min from
//! base to threshold. What never fails lasts a day.

use std::f64::consts::TAU;

use super::random::Random;

/// The latency at which an instance has failed, in ms: the timeout of its check.
pub(crate) const THRESHOLD_MS: f64 = 1000.0;
/// Buckets in a row at or above the threshold that make the failure.
const FAILURE_BUCKETS: usize = 3;
/// Buckets of a day.
const DAY: usize = 8640;
/// Buckets of a trace that fails: two hours.
const FAILING: usize = 720;

/// What a trace does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ramp: latency of a queue whose load grows evenly, base / (1 − load).
    Queue,
    /// Ramp: latency grows with the power 1.5 of time.
    Power,
    /// Ramp: its logarithm grows in 5 to 12 steps.
    Staircase,
    /// Ramp: an S whose middle is near the threshold.
    Logistic,
    /// Ramp: grows evenly, and three times as fast from its middle on.
    Kinked,
    /// Calm: noise alone.
    White,
    /// Calm: a wandering level that is drawn back, with a memory of about 10 min.
    Wander,
    /// Calm: rises for 5 to 50 min to 10–35 % of the threshold, stays for hours, falls back.
    Plateau,
    /// Calm: a triangle wave of 20 min to 3 h, up to 10–40 % of the threshold.
    Triangle,
    /// Calm: up to 6 buckets at 3 to 20 times the level, 20 to 60 times a day.
    Bursts,
    /// Calm: jumps by 2 to 8 and decays within minutes, 5 to 20 times a day.
    WarmUp,
    /// Calm: its logarithm grows for 10 to 60 min to 15–40 % of the threshold, then it restarts.
    Restarts,
    /// Ramp: latency grows evenly.
    Linear,
    /// Ramp: its logarithm grows evenly.
    Exponential,
    /// Ramp: its logarithm grows with the square of time.
    Accelerating,
    /// Ramp: its logarithm grows evenly, with a wave of 5 to 10 min on it of up to 20 % both ways.
    Swaying,
    /// Fails from one bucket to the next: nothing announces it.
    Step,
    /// Calm: autoregressive noise with more memory than others have, 0.9.
    Calm,
    /// Calm: grows evenly for 10 to 60 min to 15–40 % of the threshold, then restarts.
    Sawtooth,
    /// Calm: a day and its half, by a factor of up to 2.7 both ways.
    Daily,
    /// Calm: 2 to 6 new levels a day, up to 40 % of the threshold.
    LevelShift,
    /// Calm: Student's t with two degrees of freedom in the logarithm.
    HeavyTail,
    /// Calm: 200 to 2000 ms in one or two buckets, every 1 to 10 min.
    GcPauses,
    /// Calm: a wave of 15 to 60 min whose peaks are 1.5 to 4 times its valleys.
    Ripple,
}

/// Ramps by which parameters were chosen.
pub(crate) const TRAINING_RAMPS: &[Kind] = &[Kind::Queue, Kind::Power, Kind::Staircase, Kind::Logistic, Kind::Kinked];
/// Calm kinds by which parameters were chosen.
pub(crate) const TRAINING_CALM: &[Kind] =
    &[Kind::White, Kind::Wander, Kind::Plateau, Kind::Triangle, Kind::Bursts, Kind::WarmUp, Kind::Restarts];
/// Ramps that no choice has seen.
pub(crate) const TEST_RAMPS: &[Kind] = &[Kind::Linear, Kind::Exponential, Kind::Accelerating, Kind::Swaying];
/// Calm kinds that no choice has seen.
pub(crate) const TEST_CALM: &[Kind] =
    &[Kind::Calm, Kind::Sawtooth, Kind::Daily, Kind::LevelShift, Kind::HeavyTail, Kind::GcPauses, Kind::Ripple];

/// Latencies of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    /// ms, one a bucket, up to the failure.
    pub(crate) latency_ms: Vec<f64>,
    /// The bucket in which the ramp begins; that after the last of a trace that never fails.
    pub(crate) onset: usize,
    /// Whether it ends with a failure.
    pub(crate) fails: bool,
}

impl Trace {
    /// A trace of this kind.
    pub(crate) fn new(kind: Kind, random: &mut Random) -> Self {
        let base = random.between(5.0, 50.0).ln();
        let noise = random.between(0.05, 0.25);
        let memory = [0.0, 0.5, 0.8][random.count(0, 3)];
        let fails = TRAINING_RAMPS.contains(&kind) || TEST_RAMPS.contains(&kind) || kind == Kind::Step;
        let len = if fails { FAILING } else { DAY };
        let mut log = match kind {
            Kind::Calm => random.autoregressive(len, 0.9, noise),
            Kind::HeavyTail => (0..len).map(|_| noise * random.student()).collect(),
            _ => random.autoregressive(len, memory, noise),
        };
        let (level, onset) = if fails { ramp(kind, base, len, random) } else { (calm(kind, base, len, random), len) };
        log.iter_mut().zip(level).for_each(|(log, level)| *log += level);
        let is_over = |three: &[f64]| three.iter().all(|log| *log >= THRESHOLD_MS.ln());
        let failure = fails.then(|| log.windows(FAILURE_BUCKETS).position(is_over)).flatten();
        log.truncate(failure.unwrap_or(len));
        Self { latency_ms: log.into_iter().map(f64::exp).collect(), onset, fails: failure.is_some() }
    }
}

/// The logarithm of the level of a ramp, and the bucket in which it begins.
fn ramp(kind: Kind, base: f64, len: usize, random: &mut Random) -> (Vec<f64>, usize) {
    let onset = random.count(150, 300);
    let buckets = random.between(60.0, 300.0);
    let height = THRESHOLD_MS.ln() - base;
    let steps = random.count(5, 13) as f64;
    let least = base.exp();
    let (sway, wave) = (random.between(0.05, 0.2), random.between(30.0, 60.0));
    let shape = |t: usize| {
        // Beyond the threshold it goes on, so that noise does not decide whether it fails.
        let x = (t.saturating_sub(onset) as f64 / buckets).min(3.0);
        let above_base = |share: f64| (least + share * (THRESHOLD_MS - least)).ln();
        match kind {
            Kind::Queue => base - (1.0 - x.min(1.1) * (1.0 - least / THRESHOLD_MS)).max(1e-3).ln(),
            Kind::Power => above_base(x.powf(1.5)),
            Kind::Staircase => base + height * (x * steps).floor() / steps,
            Kind::Logistic => {
                base + 1.6 * height * (1.0 / (1.0 + (-6.0 * (x - 0.917)).exp()) - 1.0 / (1.0 + 5.5_f64.exp()))
            }
            Kind::Kinked => above_base(if x < 0.5 { 0.5 * x } else { 1.5 * x - 0.5 }),
            Kind::Swaying => base + height * x + sway * (TAU * t as f64 / wave).sin(),
            Kind::Linear => above_base(x),
            Kind::Exponential => base + height * x,
            Kind::Accelerating => base + height * x * x,
            _ => base + if x >= 1.0 { height + 0.5 } else { 0.0 },
        }
    };
    ((0..len).map(shape).collect(), onset)
}

/// The logarithm of the level of a trace that never fails.
fn calm(kind: Kind, base: f64, len: usize, random: &mut Random) -> Vec<f64> {
    let mut level = vec![base; len];
    match kind {
        Kind::Wander => {
            let deviation = random.between(0.2, 0.5);
            let wander = random.autoregressive(len, 0.983, deviation);
            level.iter_mut().zip(wander).for_each(|(level, wander)| *level += wander);
        }
        Kind::Plateau => {
            let mut t = random.count(100, 500);
            while t < len {
                let (rise, top, stay) = (random.count(30, 300), share(random, 0.10, 0.35), random.count(360, 1800));
                let ends = t + rise + stay;
                for (at, level) in level.iter_mut().enumerate().take(ends).skip(t) {
                    let x = ((at - t) as f64 / rise as f64).min(1.0);
                    *level += (top - base).max(0.0) * x * x * (3.0 - 2.0 * x);
                }
                t = ends + random.count(360, 1800);
            }
        }
        Kind::Triangle => {
            let (period, top) = (random.between(120.0, 1080.0), share(random, 0.10, 0.40).exp());
            for (t, level) in level.iter_mut().enumerate() {
                let x = (2.0 * (t as f64 / period).fract() - 1.0).abs();
                *level = (base.exp() + (top - base.exp()).max(0.0) * x).ln();
            }
        }
        Kind::Bursts | Kind::GcPauses => pauses(kind, &mut level, random),
        Kind::WarmUp => {
            for _ in 0..random.count(5, 20) {
                let (start, jump) = (random.count(0, len), random.between(2.0, 8.0));
                let fade = random.between(6.0, 60.0);
                for (t, level) in level.iter_mut().enumerate().skip(start).take(500) {
                    *level += (1.0 + (jump - 1.0) * (-((t - start) as f64) / fade).exp()).ln();
                }
            }
        }
        Kind::Sawtooth | Kind::Restarts => {
            let (period, top) = (random.between(60.0, 360.0), share(random, 0.15, 0.40).exp());
            let phase = random.between(0.0, 1.0);
            for (t, level) in level.iter_mut().enumerate() {
                let x = (t as f64 / period + phase).fract();
                *level = match kind {
                    Kind::Sawtooth => (base.exp() + (top - base.exp()).max(0.0) * x).ln(),
                    _ => base + (top.ln() - base).max(0.0) * x,
                };
            }
        }
        Kind::Daily => {
            let (day, half) = (random.between(0.2, 0.8), random.between(0.0, 0.2));
            let (phase, other) = (random.between(0.0, 1.0), random.between(0.0, 1.0));
            for (t, level) in level.iter_mut().enumerate() {
                let x = t as f64 / DAY as f64;
                *level += day * (TAU * (x + phase)).sin() + half * (TAU * (2.0 * x + other)).sin();
            }
        }
        Kind::Ripple => {
            let (period, half) = (random.between(90.0, 360.0), random.between(1.5_f64.ln(), 4.0_f64.ln()) / 2.0);
            for (t, level) in level.iter_mut().enumerate() {
                *level += half * (TAU * t as f64 / period).sin();
            }
        }
        Kind::LevelShift => {
            for _ in 0..random.count(2, 7) {
                let (start, to) = (random.count(0, len), share(random, 0.01, 0.40));
                level[start..].fill(to);
            }
        }
        _ => {}
    }
    level
}

/// The logarithm of a level between these shares of the threshold, evenly in the logarithm.
fn share(random: &mut Random, low: f64, high: f64) -> f64 {
    random.between((low * THRESHOLD_MS).ln(), (high * THRESHOLD_MS).ln())
}

fn pauses(kind: Kind, level: &mut [f64], random: &mut Random) {
    let mut t = 0;
    loop {
        let is_burst = kind == Kind::Bursts;
        t += if is_burst { random.count(144, 432) } else { random.count(6, 60) };
        let length = if is_burst { random.count(1, 7) } else { random.count(1, 3) };
        if t + length > level.len() {
            return;
        }
        let times = random.between(3.0_f64.ln(), 20.0_f64.ln());
        let pause = share(random, 0.2, 2.0);
        for level in &mut level[t..t + length] {
            *level = if is_burst { *level + times } else { level.max(pause) };
        }
    }
}
